"""Plain files in the store: a row for each path, which goes with its blob."""

from dataclasses import replace

import pytest
import pytest_asyncio

from mirror.errors import NotHeld
from mirror.readthrough.plain_files import PlainFile, PlainFiles, PlainFileTable
from mirror.readthrough.policy import CacheDemand, Rules
from mirror.readthrough.records import CacheStatus
from mirror.storage.files.verification import mend_references
from tests.storage.filestore import assert_whole, empty, memory_database, open_store

PATH = "/data/hmi/synoptic/map.fits"


@pytest.fixture(scope="module")
def database():
    opened = memory_database()
    yield opened
    opened.close()


@pytest_asyncio.fixture(autouse=True)
async def nothing_held(database):
    await empty(database)


async def kept(store, data=b"a map", path=PATH, at=5.0):
    blob = await store.keep(data)
    file = PlainFile(path, "image/fits", "", '"tag"', "Tue, 01 Nov 2022 10:00:00 GMT", at, blob)
    await PlainFileTable(store.database, store.blobs).put(file)
    return file


async def test_what_was_put_at_a_path_is_there_until_something_else_is(tmp_path, database):
    store = await open_store(tmp_path, database)
    table = PlainFileTable(database, store.blobs)
    assert await table.at(PATH) is None
    first = await kept(store)
    assert await table.at(PATH) == first
    await table.checked(PATH, 9.0)
    await table.checked(PATH, 7.0)  # an answer that came late
    assert await table.at(PATH) == replace(first, checked_at=9.0)
    second = await kept(store, b"a newer map")
    await kept(store, b"another", "/data/other")
    assert await table.at(PATH) == second
    assert await table.usage() == (2, len(b"a newer map") + len(b"another"))
    await assert_whole(store)


async def test_what_nothing_refers_to_any_more_is_evicted_first_and_rows_go_with_blobs(tmp_path, database):
    store = await open_store(tmp_path, database)
    table = PlainFileTable(database, store.blobs)
    old = await kept(store, b"1" * 100)
    new = await kept(store, b"2" * 100)
    gone = await store.blobs.evict(1)
    assert [blob.sha256 for blob in gone.blobs] == [old.blob.sha256]
    assert (await table.at(PATH)).blob.sha256 == new.blob.sha256
    await store.blobs.evict(1)
    assert await table.at(PATH) is None
    with pytest.raises(NotHeld):
        await table.put(new)
    await assert_whole(store)


async def test_a_file_that_was_damaged_or_deleted_is_not_there(tmp_path, database):
    store = await open_store(tmp_path, database)
    table = PlainFileTable(database, store.blobs)
    damaged, deleted = await kept(store, b"3" * 50), await kept(store, b"4" * 50, "/data/other")
    store.file_of(damaged.blob).chmod(0o600)
    store.file_of(damaged.blob).write_bytes(b"x" * 50)
    store.file_of(deleted.blob).unlink()
    assert await table.at(PATH) is None
    assert await table.at("/data/other") is None
    assert await table.usage() == (0, 0)


async def test_a_row_without_its_blob_is_taken_away_by_a_check(tmp_path, database):
    store = await open_store(tmp_path, database)
    file = await kept(store)
    await database.write(lambda c: c.execute("DELETE FROM mirror.blobs WHERE sha256 = ?", [file.blob.sha256]))
    (found,) = await database.write(mend_references)
    assert (found.kind, found.place) == ("plain file", PATH)
    assert await database.write(mend_references) == []


async def test_a_check_dated_in_the_future_gives_way_to_one_of_today(tmp_path, database):
    store = await open_store(tmp_path, database)
    table = PlainFileTable(database, store.blobs)
    await kept(store, at=1e10)
    await table.checked(PATH, 1.7e9)
    assert (await table.at(PATH)).checked_at == 1.7e9


async def test_a_clock_that_was_set_back_makes_nobody_wait_longer_for_jsoc(tmp_path, database):
    store = await open_store(tmp_path, database)
    rules = Rules("fallback", lambda _: None, lambda: None)
    files = PlainFiles(PlainFileTable(database, store.blobs), None, rules, lambda _: 10.0)
    held, now = await kept(store), 1.7e9
    files._away_until = now + 5.0
    assert files._without_asking(held, CacheDemand.DEFAULT, now).origin is CacheStatus.STALE
    assert files._without_asking(held, CacheDemand.DEFAULT, now - 3600.0) is None
