"""What is sealed before somebody asks: a month at a time, and only while that may go on."""

from __future__ import annotations

import pytest
import pytest_asyncio

from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from mirror.errors import StorageError
from mirror.storage.database.database import Database
from mirror.storage.disk import Disk
from mirror.storage.index.index import Index
from mirror.storage.lake.lake import AHEAD_EVERY, Lake
from tests.storage.archive import SERIES, Record, answer

EVERYTHING = Box(Region((None, None)), (Steps(0, 9),))


class World:
    """An index, its lake, and a clock."""

    def __init__(self, index, database, root):
        self.now = 1_000_000.0
        self.index = index
        self.lake = Lake(root, database, index, Disk(), lambda: self.now)

    async def keep(self, *records):
        await self.index.keep(SERIES, answer(records), complete=(EVERYTHING,), checked_at=self.now)

    async def files(self):
        return sorted(row.file for row in await self.lake.files())


@pytest_asyncio.fixture
async def world(tmp_path):
    database = Database.open(tmp_path / "index.duckdb")
    index = await Index.load(database)
    await index.keep_series(SERIES, 0.0)
    yield World(index, database, tmp_path / "lake")
    database.close()


async def test_what_came_is_sealed_before_a_statement_asks_for_it(world):
    await world.keep(Record(1, 1))
    await world.lake.seal_ahead(lambda: True)
    sealed = await world.files()
    assert sealed == ["lab.small/all.1.parquet"]
    (table, _) = await world.lake.tables(SERIES)
    assert list(table.files) == sealed


async def test_nothing_is_sealed_while_that_may_not_go_on(world):
    await world.keep(Record(1, 1))
    await world.lake.seal_ahead(lambda: False)
    assert await world.files() == []


async def test_it_stops_between_two_files_and_goes_on_later(world):
    await world.keep(Record(1, 1), Record(2, 1))  # the older of one name is in the table of old versions
    turns = iter([True, True, False])
    await world.lake.seal_ahead(lambda: next(turns))
    assert await world.files() == ["lab.small/all.1.parquet"]
    await world.lake.seal_ahead(lambda: True)
    assert await world.files() == ["lab.small/all.1.parquet", "lab.small__old/all.1.parquet"]


async def test_a_series_that_changes_all_the_time_is_sealed_once_in_a_while(world):
    await world.keep(Record(1, 1))
    await world.lake.seal_ahead(lambda: True)
    await world.keep(Record(1, 1), Record(2, 2))
    await world.lake.seal_ahead(lambda: True)
    assert await world.files() == ["lab.small/all.1.parquet"]
    world.now += AHEAD_EVERY
    await world.lake.seal_ahead(lambda: True)
    assert await world.files() == ["lab.small/all.2.parquet"]


async def test_of_replaced_files_nothing_is_remembered(world):
    for number in range(1, 6):
        await world.keep(Record(1, 1), Record(number + 1, 2))
        await world.lake.tables(SERIES)
    assert len(world.lake._sizes) == len(await world.files())
    (found, _) = await world.lake.as_of_now(SERIES)
    assert list(found.files) == ["lab.small/all.5.parquet"]


async def test_a_file_that_cannot_be_read_once_it_is_written_is_an_error_in_words(world, monkeypatch):
    def refused(path):
        raise OSError(5, "Input/output error", str(path))

    await world.keep(Record(1, 1))
    monkeypatch.setattr("mirror.storage.lake.lake.digest_of", refused)
    with pytest.raises(StorageError, match=r"all\.1\.parquet\.part: the disk reports an input"):
        await world.lake.tables(SERIES)
