"""Adopted exports in the store, and files of this machine that are taken in: whole or not at all."""

from contextlib import suppress

import pytest
import pytest_asyncio

from mirror.errors import StorageError
from mirror.storage.disk import Disk
from mirror.storage.files.adopted_exports import Adopted
from mirror.storage.files.holdings import RecordSegment
from tests.storage.filestore import (
    Died,
    DyingDisk,
    FaultyDisk,
    assert_claims,
    assert_nothing_extra,
    assert_whole,
    empty,
    memory_database,
    open_store,
    sha256,
)

DATA = b"an export" * 1000
RECORD = RecordSegment("hmi.V_45s", 7, "Dopplergram")
LINK = "hmi.v_45s/20140101/7.export.Dopplergram.fits"


@pytest.fixture(scope="module")
def database():
    opened = memory_database()
    yield opened
    opened.close()


@pytest_asyncio.fixture(autouse=True)
async def nothing_held(database):
    await empty(database)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "mine.fits"
    path.write_bytes(DATA)
    return path


async def taken(store, source, *, link, data=DATA):
    async with store.blobs.taking(source, len(data), sha256(data), link=link) as sink:
        blob = await sink.keep(size=len(data))
        await Adopted(store.database, store.blobs).add(RECORD, blob, name=source.name, link=LINK, now=1.0)
        return blob


@pytest.mark.parametrize("link", [False, True])
async def test_a_file_is_taken_in_and_found_by_its_record(tmp_path, database, source, link):
    store = await open_store(tmp_path / "store", database)
    blob = await taken(store, source, link=link)
    assert await store.bytes_of(blob) == source.read_bytes() == DATA
    assert source.samefile(store.file_of(blob)) == link
    assert await Adopted(database, store.blobs).of(RECORD) == blob
    assert await store.holdings.of(RECORD) is None  # it is not the archive's file
    await assert_whole(store)
    await assert_whole(await open_store(tmp_path / "store", database))


async def test_taking_in_does_not_touch_the_time_of_a_linked_file(tmp_path, database, source):
    before = source.stat().st_mtime_ns
    await taken(await open_store(tmp_path / "store", database), source, link=True)
    assert source.stat().st_mtime_ns == before


@pytest.mark.parametrize("link", [False, True])
async def test_a_file_that_is_another_by_now_is_not_taken(tmp_path, database, source, link):
    store = await open_store(tmp_path / "store", database)
    source.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(StorageError, match="changed"):
        await taken(store, source, link=link)
    await assert_whole(store)
    assert source.read_bytes() == DATA[:-1] + b"x"


async def test_eviction_takes_row_and_link_with_the_blob(tmp_path, database, source):
    store = await open_store(tmp_path / "store", database)
    await taken(store, source, link=False)
    assert (await store.blobs.evict(1)).freed == len(DATA)
    assert await Adopted(database, store.blobs).of(RECORD) is None
    await assert_whole(store)


@pytest.mark.parametrize("link", [False, True])
async def test_a_death_at_any_operation_leaves_the_file_adopted_or_not(tmp_path, database, source, link):
    for steps in range(200):
        await empty(database)
        root = tmp_path / str(steps)
        disk = DyingDisk(10**9)
        store = await open_store(root, database, disk=disk)
        disk.left = steps
        with suppress(Died, StorageError):
            await taken(store, source, link=link)
        await assert_claims(store)
        assert source.read_bytes() == DATA
        again = await open_store(root, database)
        await assert_whole(again)
        found = await Adopted(database, again.blobs).of(RECORD)
        assert found is None or found.sha256 == sha256(DATA)
        if not disk.died:
            assert found is not None
            return
    raise AssertionError("it never came to its end")


async def test_a_refusal_at_any_operation_leaves_nothing_behind(tmp_path, database, source):
    for fails_at in range(1, 200):
        await empty(database)
        disk = FaultyDisk(None)
        store = await open_store(tmp_path / str(fails_at), database, disk=disk)
        disk.fails_at = len(disk.steps) + fails_at
        failed = True
        with suppress(StorageError):
            await taken(store, source, link=False)
            failed = False
        await assert_nothing_extra(store)
        assert source.read_bytes() == DATA
        if len(disk.steps) < disk.fails_at:
            assert not failed
            return
    raise AssertionError("it never came to its end")


def test_a_copy_is_made_also_where_the_kernel_cannot(tmp_path, source, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.copy_file_range", refuse)
    Disk().copy(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA
