"""Backups while serving, and stores made from them: whole or not there, each file once, every byte checked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from datetime import UTC, datetime

import duckdb
import pytest

from mirror.errors import BadRequest, StorageError
from mirror.services.transfer.backup import Backups, describe, generations
from mirror.services.transfer.manifests import decode_sums
from mirror.services.transfer.restore import restore
from mirror.storage.database.database import Database
from mirror.storage.files.table import all_blobs
from tests import processes
from tests.carrylab import Refusal, task
from tests.carrylab import told as everything
from tests.filelab import file_lab
from tests.storage.filestore import Died, DyingDisk, FaultyDisk, QuickDisk, assert_whole, open_store, sha256

SPAN = "hmi.V_45s[2014.01.01_TAI/3m]"
NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
FILES = [b"one" * 100, b"two" * 200, b"three" * 300]


async def quiet(_):
    pass


class Small:
    """A store with a few files, and what makes backups of it."""

    def __init__(self, path, opened):
        self.path, self.opened = path, opened

    def backups(self, disk=None):
        return Backups(self.opened.database, self.path / "store", lambda: NOW, disk or QuickDisk())

    async def backup(self, to="backups", disk=None, **options):
        return await self.backups(disk).make(self.path / to, quiet, **options)


@pytest.fixture
async def small(tmp_path):
    database = Database.open(tmp_path / "store" / "index.duckdb")
    opened = await open_store(tmp_path / "store", database)
    for data in FILES:
        await opened.keep(data)
    yield Small(tmp_path, opened)
    database.close()


def pool(to):
    return sorted(p.name for p in (to / "blobs").rglob("*") if p.is_file())


def checked_by_sha256sum(backup):
    done = subprocess.run(
        ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=backup, capture_output=True, text=True, check=False
    )
    return done.returncode == 0


async def assert_store(path, files=FILES):
    """The folder is a store that opens, is whole, and has these files."""
    database = Database.open(path / "index.duckdb")
    try:
        store = await open_store(path, database)
        await assert_whole(store)
        assert {b.sha256 for b in await database.read(all_blobs)} == set(map(sha256, files))
    finally:
        database.close()


# ---- making -------------------------------------------------------------------------------------


async def test_a_backup_has_the_index_and_every_file_and_sha256sum_agrees(small):
    made = await small.backup()
    folder = small.path / "backups" / "2026-11-22T10-00-00Z"
    assert made.path == str(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["SHA256SUMS", "index.duckdb", "manifest.json"]
    assert checked_by_sha256sum(folder)
    assert pool(small.path / "backups") == sorted(map(sha256, FILES))
    assert (made.files, made.linked, made.copied, made.size) == (3, 3, 0, sum(map(len, FILES)))


async def test_files_on_one_file_system_are_linked_and_stay_when_the_store_loses_them(small):
    await small.backup()
    name = sha256(FILES[0])
    linked = small.path / "backups" / "blobs" / name[:2] / name
    assert linked.stat().st_nlink == 2
    await small.opened.blobs.evict(10**6)
    assert linked.read_bytes() == FILES[0]


async def test_a_second_backup_takes_only_what_is_new_and_both_restore(small):
    await small.backup()
    await small.opened.keep(b"four" * 50)
    made = await small.backup()
    assert made.path.endswith("Z-2")
    assert (made.files, made.linked, made.copied) == (4, 1, 0)
    for number, folder in enumerate(generations(small.path / "backups")):
        restore(folder, small.path / f"new{number}", disk=QuickDisk())
        await assert_store(small.path / f"new{number}", [*FILES, b"four" * 50][: 3 + number])


async def test_the_index_alone(small):
    made = await small.backup(index_only=True)
    assert made.files == 0
    assert not (small.path / "backups" / "blobs").exists()


async def test_only_the_last_are_kept_with_the_files_that_they_need(small):
    await small.backup()
    await small.opened.blobs.evict(1)
    rest = {b.sha256 for b in await small.opened.database.read(all_blobs)}
    made = await small.backup(keep=1)
    assert len(made.removed) == 1
    assert len(generations(small.path / "backups")) == 1
    assert set(pool(small.path / "backups")) == rest
    assert checked_by_sha256sum(made.path)


async def test_a_file_that_leaves_while_the_backup_runs_is_not_told_of(small):
    async def evict(word):
        if word.step == "index":
            await small.opened.blobs.evict(1)

    # The index is copied after the word, so the file must leave later: behind the copy's back.
    name = sha256(FILES[1])
    (small.path / "store" / "blobs" / name[:2] / name).unlink()
    made = await small.backups().make(small.path / "backups", evict)
    assert made.skipped == [name]
    restore(small.path / "backups", small.path / "new", disk=QuickDisk())
    database = Database.open(small.path / "new" / "index.duckdb")
    try:
        await assert_whole(await open_store(small.path / "new", database))
    finally:
        database.close()


async def test_the_copy_is_of_the_storage_version_that_every_duckdb_reads(small):
    made = await small.backup()
    connection = duckdb.connect(f"{made.path}/index.duckdb", read_only=True)
    tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'index'").fetchone()
    connection.close()
    assert tags[0]["storage_version"].startswith("v1.2.0")


@pytest.mark.parametrize("to", ["store", "store/inside", "."])
async def test_a_folder_in_the_store_or_around_it_is_refused(small, to):
    with pytest.raises(BadRequest, match="overlap"):
        await small.backup(to)


async def test_a_second_backup_at_the_same_time_is_refused(small):
    async def again(word):
        if word.step == "index":
            with pytest.raises(StorageError, match="another program is writing"):
                await small.backup()

    await small.backups().make(small.path / "backups", again)


# ---- deaths and full disks ----------------------------------------------------------------------


async def test_wherever_a_backup_dies_what_has_a_name_is_whole(small):
    other = small.path / "before"
    await small.backup("before")
    steps, died = 0, True
    while died:
        disk = DyingDisk(steps)
        with contextlib.suppress(Died):
            await small.backup("before", disk, keep=2)
        died, steps = disk.died, steps + 2
        for folder in generations(other):
            assert checked_by_sha256sum(folder)
        await small.opened.keep(str(steps).encode() * 9)
    assert steps > 10


async def test_on_a_full_disk_there_is_no_backup_or_a_whole_one(small):
    other = small.path / "backups"
    await small.backup()
    told = []
    for fails_at in range(2, 30, 2):
        before = generations(other)
        try:
            made = await small.backup(disk=CopyingDisk(fails_at), keep=3)
        except StorageError as problem:
            told.append(str(problem))
            assert set(generations(other)) <= set(before)
        else:
            assert checked_by_sha256sum(made.path)
        await small.opened.keep(str(fails_at).encode() * 9)
    assert len(told) > 5
    assert all("disk is full" in words for words in told)
    await small.backup(keep=1)
    assert not list(other.rglob("*unfinished*"))
    assert len(generations(other)) == 1


class CopyingDisk(FaultyDisk):
    """One that knows no links, so that files are copied."""

    def link(self, source, target):
        raise StorageError("no links here")


# ---- restoring ----------------------------------------------------------------------------------


async def test_a_store_that_is_there_is_left_alone(small):
    await small.backup()
    with pytest.raises(StorageError, match="already exists; expected an empty folder, or --force"):
        restore(small.path / "backups", small.path / "store")


async def test_an_index_in_use_is_never_replaced(small):
    await small.backup()
    script = (
        "from pathlib import Path; from mirror.services.transfer.restore import restore\n"
        f"restore(Path({str(small.path / 'backups')!r}), Path({str(small.path / 'store')!r}), force=True)"
    )
    done = await asyncio.to_thread(processes.run, "-c", script)
    assert "is in use; stop the mirror that owns it first" in done.stderr


async def test_with_force_the_old_index_keeps_another_name(small):
    await small.backup()
    restore(small.path / "backups", small.path / "new", disk=QuickDisk())
    done = restore(small.path / "backups", small.path / "new", force=True, disk=QuickDisk())
    assert done.replaced == str(small.path / "new" / "index.duckdb.before-1")
    await assert_store(small.path / "new")


async def test_a_damaged_index_list_or_manifest_is_refused(small):
    await small.backup()
    folder = generations(small.path / "backups")[0]
    for name, words in (
        ("index.duckdb", "damaged"),
        ("SHA256SUMS", "damaged"),
        ("manifest.json", "damaged|no JSON"),
    ):
        path = folder / name
        data = path.read_bytes()
        path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
        if name == "manifest.json":
            path.write_bytes(data[: len(data) // 2])
        with pytest.raises(StorageError, match=words):
            restore(folder, small.path / "new", disk=QuickDisk())
        path.write_bytes(data)
    assert not (small.path / "new" / "index.duckdb").exists()


async def test_damaged_files_are_named_and_the_rest_restored_if_wanted(small):
    await small.backup(disk=CopyingDisk(0))
    name = sha256(FILES[2])
    path = small.path / "backups" / "blobs" / name[:2] / name
    path.chmod(0o600)
    path.write_bytes(b"x" * len(FILES[2]))
    with pytest.raises(StorageError, match=f"missing or damaged: .*{name}.*Nothing was replaced"):
        restore(small.path / "backups", small.path / "new", disk=QuickDisk())
    assert not (small.path / "new" / "index.duckdb").exists()
    done = restore(small.path / "backups", small.path / "new", skip_damaged=True, disk=QuickDisk())
    assert done.damaged == [name]
    await assert_store(small.path / "new", FILES[:2])


async def test_wherever_a_restore_dies_there_is_no_store_or_a_whole_one_and_again_succeeds(small):
    await small.backup()
    steps, died = 0, True
    while died:
        disk, target = DyingDisk(steps), small.path / f"new{steps}"
        with contextlib.suppress(Died):
            restore(small.path / "backups", target, disk=disk)
        if not (target / "index.duckdb").exists():
            restore(small.path / "backups", target, disk=QuickDisk())
        await assert_store(target)
        died, steps = disk.died, steps + 7
    assert steps > 20


async def test_a_backup_of_a_newer_program_is_refused(small):
    await small.backup()
    path = generations(small.path / "backups")[0] / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 9000}))
    with pytest.raises(StorageError, match="schema version 9000"):
        restore(small.path / "backups", small.path / "new")


def test_a_folder_without_backups_is_none(tmp_path):
    with pytest.raises(StorageError, match="is not a backup"):
        restore(tmp_path, tmp_path / "new")
    assert describe(tmp_path) == []


# ---- the whole mirror ---------------------------------------------------------------------------


async def test_a_restored_mirror_answers_as_the_one_that_was_backed_up(tmp_path):
    async with file_lab(tmp_path / "store") as mirror:
        await mirror.recnums(SPAN)
        show_estimate = await everything(mirror, SPAN)
        path = (await mirror.ask(SPAN, None, seg="Dopplergram")).json["segments"][0]["values"][0]
        data = (await mirror.get(path)).body
        await mirror.settled()  # what was sent is noted a moment later
        made = await task(mirror, "/api/backup", to=str(tmp_path / "backups"))
        assert made["files"] == 1
        assert (await mirror.ask(SPAN)).plan == "local"  # it went on serving
        _index, hashes = decode_sums((tmp_path / "backups" / made["path"] / "SHA256SUMS").read_bytes(), "x")
        assert hashes == [sha256(data)]
        restore(tmp_path / "backups", tmp_path / "new")
        await mirror.restart(MIRROR_STORAGE__PATH=str(tmp_path / "new"), MIRROR_UPSTREAM__POLICY="offline")
        assert await everything(mirror, SPAN) == show_estimate
        assert (await mirror.get(path)).body == data


async def test_a_wish_that_cannot_be_is_an_error_of_the_api(tmp_path):
    async with file_lab(tmp_path / "store") as mirror:
        for body in (
            {"to": "here"},
            {"to": ""},
            {},
            {"to": str(tmp_path / "b"), "keep": 0},
            {"to": 3},
            {"x": 1},
        ):
            answer = await mirror.request("POST", "/api/backup", json=body)
            assert answer.code == 400, body
            assert answer.json["error"]
        with pytest.raises(Refusal, match="overlap"):
            await task(mirror, "/api/backup", to=str(tmp_path / "store" / "x"))


async def test_a_store_that_was_restored_is_found_to_be_whole(tmp_path):
    async with file_lab(tmp_path / "a") as mirror:
        await everything(mirror, SPAN)
        await mirror.exported("hmi.sharp_720s[3563][2014.01.01_TAI/24m]{bitmap}", protocol="fits")
        made = await task(mirror, "/api/backup", to=str(tmp_path / "backups"))
        await asyncio.to_thread(restore, tmp_path / "backups", tmp_path / "b")
        assert made["files"] > 0
        await mirror.restart(MIRROR_STORAGE__PATH=str(tmp_path / "b"), MIRROR_UPSTREAM__POLICY="offline")
        mirror.clock.forward(days=1)
        await mirror.request("POST", "/api/check", json={"scope": "all"})
        await mirror.running.upkeep.checker.wait()
        told = (await mirror.get("/api/check")).json
        assert (told["ok"], told["findings"]) == (True, [])
        assert told["run"]["files"] == made["files"]
