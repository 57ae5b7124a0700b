"""Small answers that are kept under a key."""

from __future__ import annotations

import pytest

from mirror.storage.database.database import Database
from mirror.storage.database.keyed import KeyedTable


@pytest.fixture
def table(tmp_path):
    database = Database.open(tmp_path / "index.duckdb")
    yield KeyedTable(database, "addresses")
    database.close()


async def test_a_text_is_kept_until_it_is_replaced(table):
    assert await table.get("x") is None
    await table.put("x", "one", 2.0)
    await table.put("x", "two", 1.0)
    assert await table.get("x") == ("two", 1.0)


async def test_of_two_mirrors_the_later_text_counts(table):
    await table.put_newer("x", "one", 2.0)
    await table.put_newer("x", "two", 1.0)
    assert await table.get("x") == ("one", 2.0)
    await table.put_newer("x", "three", 3.0)
    assert await table.get("x") == ("three", 3.0)


async def test_rows_are_those_of_keys_or_all(table):
    for key in "cab":
        await table.put(key, key.upper(), 1.0)
    assert await table.rows() == [("a", "A", 1.0), ("b", "B", 1.0), ("c", "C", 1.0)]
    assert await table.rows(["c", "a", "z"]) == [("a", "A", 1.0), ("c", "C", 1.0)]
    assert await table.rows([]) == []
