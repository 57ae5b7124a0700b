"""A disk that fills up under the index: one clear error, reads go on, and afterwards everything is as committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mirror.errors import StorageError
from mirror.storage.database.database import Database
from tests.storage.filestore import full

if TYPE_CHECKING:
    from pathlib import Path

ROWS = "SELECT range AS a, hash(range)::VARCHAR AS b FROM range(20000)"


async def count(database: Database) -> int:
    return (await database.read(lambda c: c.execute("SELECT count(*) FROM t").fetchall()))[0][0]


async def insert(database: Database) -> None:
    await database.write(lambda c: c.execute(f"INSERT INTO t {ROWS}").fetchall())


@pytest.fixture
async def place(tmp_path):
    path = tmp_path / "index.duckdb"
    database = Database.open(path)
    await database.write(lambda c: c.execute(f"CREATE TABLE t AS {ROWS}").fetchall())
    await database.checkpoint()
    await insert(database)
    yield path, database
    database.close()


async def test_a_transaction_that_has_no_room_changes_nothing_and_says_so(place):
    path, database = place
    with full(path.with_name("index.duckdb.wal").stat().st_size + 1000):
        for _ in range(2):
            with pytest.raises(StorageError, match=r"nothing was changed .*is the disk full\?"):
                await insert(database)
        assert await count(database) == 40_000
    await insert(database)
    assert await count(database) == 60_000


@pytest.mark.parametrize("room", [0, 1000, 300_000])
async def test_a_checkpoint_that_has_no_room_costs_nobody_else_anything(place, room):
    path, database = place
    with full(path.stat().st_size + room):
        with pytest.raises(StorageError, match="disk full"):
            await database.checkpoint()
        assert await asyncio.gather(*(count(database) for _ in range(6))) == [40_000] * 6
    await insert(database)
    await database.checkpoint()
    assert await count(database) == 60_000


async def test_after_a_checkpoint_without_room_the_next_start_has_everything(place, tmp_path):
    path, database = place
    with full(path.stat().st_size):
        with pytest.raises(StorageError):
            await database.checkpoint()
        database.close()
    reopened = Database.open(path)
    assert await count(reopened) == 40_000
    reopened.close()


def test_a_store_that_cannot_be_made_for_want_of_room_is_an_error_of_the_store(tmp_path: Path):
    with full(5000), pytest.raises(StorageError, match="cannot be opened"):
        Database.open(tmp_path / "index.duckdb")
    Database.open(tmp_path / "index.duckdb").close()
