"""A full disk at any operation, a death at any operation, a kill -9: the store is whole afterwards."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.errors import StorageError
from mirror.storage.database.database import Database
from mirror.storage.files.folders import link_name
from mirror.storage.files.holdings import Holdings, RecordSegment
from mirror.storage.files.table import all_blobs
from mirror.wire.paths import UnitFile
from tests.storage.filestore import (
    Died,
    DyingDisk,
    FailingDatabase,
    FaultyDisk,
    RecordingDisk,
    assert_claims,
    assert_nothing_extra,
    assert_whole,
    empty,
    expect_storage_error,
    memory_database,
    open_store,
)

ROOT = Path(__file__).parents[3]
OLD, NEW = b"old" * 300, b"new" * 500
RECORD = RecordSegment("hmi.V_45s", 7, "Dopplergram")
FILE = UnitFile(11, 0, "Dopplergram.fits")
LINK = link_name("hmi.v_45s", "2014-01-01", "a.fits")


@pytest.fixture(scope="module")
def database():
    opened = memory_database()
    yield opened
    opened.close()


@pytest_asyncio.fixture(autouse=True)
async def nothing_held(database):
    await empty(database)


async def keep_and_note(store):
    """A newer record of the same name, which takes the link."""
    async with store.blobs.incoming(len(NEW)) as sink:
        await sink.write(NEW[:100])
        await sink.write(NEW[100:])
        blob = await sink.keep()
        record = RecordSegment("hmi.V_45s", 12, "Dopplergram")
        await store.holdings.add(UnitFile(12, 0, "a.fits"), blob, record=record, link=LINK)


async def evict(store):
    await store.blobs.evict(1)


async def resume(store):
    """A download that breaks off, goes on, and is kept."""
    await break_off(store)
    async with store.blobs.incoming(resume="key") as sink:
        await sink.write(NEW[sink.written :])
        blob = await sink.keep()
        assert await store.bytes_of(blob) == NEW


async def begin_again(store):
    """The source does not continue the parked part."""
    await break_off(store)
    async with store.blobs.incoming(resume="key") as sink:
        await sink.restart()
        await sink.write(NEW)
        await sink.keep()


async def break_off(store):
    async with store.blobs.incoming(resume="key") as sink:
        await sink.write(NEW[sink.written : 700])


async def verify_damaged(store):
    """A blob is found to be damaged; then its content comes again."""
    for blob in await store.database.read(all_blobs):
        await store.blobs.verify(blob.sha256)
    await store.keep(OLD)


async def forget(store):
    await store.holdings.forget(FILE)


#: A damaged file goes before its rows, for nobody may read it; a link changes hands before its row does.
REPAIRED_LATER = (verify_damaged, keep_and_note)
FLOWS = (keep_and_note, evict, resume, begin_again, verify_damaged, forget)


async def reopened(root, database, flow):
    """The store after a restart, whole; damage that was not found before is found now."""
    store = await open_store(root, database)
    if flow is verify_damaged:
        for blob in await database.read(all_blobs):
            await store.blobs.verify(blob.sha256)
    await assert_whole(store)
    return store


async def prepared(root, database, flow=None, disk=None):
    """A store with one file held, noted and linked; damaged if the flow is about that."""
    await empty(database)
    store = await open_store(root, database, disk=disk)
    blob = await store.keep(OLD)
    await store.holdings.add(FILE, blob, record=RECORD, link=LINK)
    if flow is verify_damaged:
        store.file_of(blob).chmod(0o600)
        store.file_of(blob).write_bytes(b"?" * blob.size)
        store.file_of(blob).chmod(0o444)
    return store


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_disk_that_is_full_at_any_operation_leaves_the_store_whole(tmp_path, database, flow):
    step, opened = 0, True
    while opened:
        step += 1
        disk = FaultyDisk(None)
        store = await prepared(tmp_path / str(step), database, flow, disk)
        disk.fails_at = len(disk.steps) + step
        await expect_storage_error(flow(store))
        if flow not in REPAIRED_LATER:
            await assert_claims(store)
        opened = len(disk.steps) >= disk.fails_at
        again = await reopened(store.root, database, flow)
        await flow(again)  # and goes on working
        await assert_whole(again)
    assert step > 1


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_death_at_any_operation_leaves_a_store_that_opens_whole(tmp_path, database, flow):
    step, died = 0, True
    while died:
        disk = DyingDisk(10**9)
        store = await prepared(tmp_path / str(step), database, flow, disk)
        disk.left = step
        with suppress(Died):
            await flow(store)
        died, step = disk.died, step + 1
        if flow not in REPAIRED_LATER:
            await assert_claims(store)
        again = await reopened(store.root, database, flow)
        await flow(again)
        await assert_whole(again)
    assert step > 1


@pytest.mark.parametrize("flow", FLOWS)
async def test_an_index_that_cannot_be_written_leaves_the_store_whole(tmp_path, database, flow):
    for failing in range(1, 6):
        root = tmp_path / str(failing)
        await prepared(root, database, flow)
        broken = FailingDatabase(database, 0)
        store = await open_store(root, broken)
        broken.fails_at = broken.writes + failing
        failed = await expect_storage_error(flow(store))
        assert failed == (broken.writes >= broken.fails_at)
        if flow is keep_and_note:
            await assert_nothing_extra(replace(store, database=database))
        again = await reopened(root, database, flow)
        await flow(again)
        await assert_whole(again)


async def test_bytes_last_before_a_name_speaks_of_them_and_the_name_before_the_row(tmp_path, database):
    disk = RecordingDisk()
    store = await open_store(tmp_path, database, disk=disk)
    disk.steps.clear()
    blob = await store.keep(NEW)
    folder = blob.sha256[:2]
    expected = [("write", ".tmp"), ("protect", ".tmp"), ("sync", ".tmp"), ("create", folder), ("sync", "blobs")]
    expected += [("rename", blob.sha256), ("sync", folder), ("sync", "incoming")]
    assert [step for step in disk.steps if step[0] != "look at"][1 : 1 + len(expected)] == expected


async def test_a_mark_is_written_after_the_bytes_it_speaks_of_last_and_goes_before_they_change(tmp_path, database):
    disk = RecordingDisk()
    store = await open_store(tmp_path, database, disk=disk)
    await break_off(store)
    last = [step for step in disk.steps if step[0] in {"write", "sync", "rename"}][-6:]
    assert last == [
        ("write", ".part"),
        ("sync", ".part"),
        ("write", ".tmp"),
        ("sync", ".tmp"),
        ("rename", ".mark"),
        ("sync", "incoming"),
    ]
    async with store.blobs.incoming(resume="key") as sink:
        disk.steps.clear()
        await sink.restart()
        assert disk.steps == [("remove", ".mark"), ("sync", "incoming"), ("shorten", ".part")]


async def test_a_disk_that_is_full_when_the_mirror_starts_does_not_lose_what_is_held(tmp_path, database):
    store = await prepared(tmp_path, database)
    blob = (await store.database.read(all_blobs))[0]
    for step in range(1, 12):
        disk = FaultyDisk(step)
        (tmp_path / "incoming" / "left.tmp").write_bytes(b"left by a crash")
        await expect_storage_error(open_store(tmp_path, database, disk=disk))
        again = await open_store(tmp_path, database)
        assert await again.bytes_of(blob) == OLD
        await assert_whole(again)


async def test_files_of_a_disk_that_is_not_mounted_are_not_forgotten(tmp_path, database):
    store = await prepared(tmp_path / "store", database)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").mkdir()
    with pytest.raises(StorageError, match="is its disk mounted"):
        await open_store(store.root, database)
    (tmp_path / "store").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    again = await open_store(store.root, database)
    assert (await again.holdings.at(FILE)) is not None


async def test_a_store_that_lost_its_index_takes_its_files_in_again(tmp_path, database):
    store = await prepared(tmp_path, database)
    held = store.blobs.usage().held
    await empty(database)
    again = await open_store(tmp_path, database)
    assert again.blobs.usage().held == held
    (blob,) = await database.read(all_blobs)
    assert blob.verified_at == 0
    await assert_whole(again)


async def test_files_of_strangers_in_the_folders_are_left_alone(tmp_path, database):
    store = await prepared(tmp_path, database)
    for name in ("README", "ab/notes.txt", f"ab/{'c' * 64}", "z" * 64):
        path = tmp_path / "blobs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not a blob")
    again = await open_store(tmp_path, database)
    assert again.blobs.usage() == store.blobs.usage()
    assert (tmp_path / "blobs" / "README").exists()


WRITER = """
import asyncio, sys
from pathlib import Path
from mirror.storage.database.database import Database
from mirror.storage.disk import Disk
from mirror.storage.files.holdings import RecordSegment
from mirror.wire.paths import UnitFile
from tests.storage.filestore import open_store

async def main(root):
    store = await open_store(root, Database.open(root / "index.duckdb"), disk=Disk())
    async def one(n):
        data = (b"%08d" % n) * 4000
        async with store.blobs.incoming(len(data), resume=f"key {n}") as sink:
            for i in range(sink.written, len(data), 4000):
                await sink.write(data[i : i + 4000])
            blob = await sink.keep()
            record = RecordSegment("hmi.V_45s", n, "Dopplergram")
            link = f"hmi.v_45s/2014-01-01/{n % 5}.fits"
            await store.holdings.add(UnitFile(n, 0, "a.fits"), blob, record=record, link=link)
        print("kept", n, blob.sha256, flush=True)
        if n % 7 == 0:
            await store.blobs.evict(1)
            print("evicted", flush=True)
    first = int(sys.argv[2])
    await asyncio.gather(*(lane(one, range(first + k, first + 10**6, 3)) for k in range(3)))

async def lane(one, numbers):
    for n in numbers:
        await one(n)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_kill_at_any_moment_loses_nothing_that_was_kept(tmp_path):
    kept, evictions = {}, 0
    for turn, lines in enumerate((1, 14, 37)):
        evictions += _killed_after(lines, [str(tmp_path), str(turn * 1000)], kept)
        evictions += 3  # of which the last words were not heard
        database = Database.open(tmp_path / "index.duckdb")
        try:
            store = await open_store(tmp_path, database)
            await assert_whole(store)
            held = {blob.sha256 for blob in await database.read(all_blobs)}
            assert len(kept.keys() - held) <= evictions
            await _assert_noted(database, store, kept, held)
        finally:
            database.close()


def _killed_after(lines, arguments, kept):
    command = [sys.executable, "-c", WRITER, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        evictions = sum(_read_line(writer, kept) for _ in range(lines))
        os.kill(writer.pid, signal.SIGKILL)
        return evictions + sum(_take(line, kept) for line in writer.stdout)


def _read_line(writer, kept):
    line = writer.stdout.readline()
    assert line, "the writer ended by itself"
    return _take(line, kept)


def _take(line, kept):
    word, *rest = line.split()
    if word == "kept":
        kept[rest[1]] = int(rest[0])
    return word == "evicted"


async def _assert_noted(database, store, kept, held):
    holdings = Holdings(database, store.blobs)
    for hash_, number in kept.items():
        found = await holdings.at(UnitFile(number, 0, "a.fits"))
        assert (found is not None) == (hash_ in held)
        assert found is None or await store.bytes_of(found.blob) == b"%08d" % number * 4000
