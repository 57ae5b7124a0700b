"""The database file: one owner, migrations in order, transactions that are all or nothing."""

from __future__ import annotations

import asyncio
import os
import threading

import duckdb
import pytest

from mirror.errors import StorageError
from mirror.storage.database import database as module
from mirror.storage.database.connection import Allowance, Memory
from mirror.storage.database.database import SMALL_LOG, Database, KeyedTable
from mirror.storage.database.migrations import migrate, schema_files
from tests import processes
from tests.waiting import PATIENCE


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "index.duckdb"


@pytest.fixture
def database(path):
    opened = Database.open(path)
    yield opened
    opened.close()


async def one(database, sql):
    return await database.read(lambda cursor: cursor.execute(sql).fetchone()[0])


async def test_opening_makes_the_folder_and_the_newest_schema(database):
    numbers = [number for number, _ in schema_files()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert await one(database, "SELECT max(version) FROM schema_version") == numbers[-1]
    assert await one(database, "SELECT count(*) FROM mirror.series") == 0


async def test_opening_again_applies_nothing_twice(path):
    for _ in range(2):
        Database.open(path).close()
    database = Database.open(path)
    try:
        assert await one(database, "SELECT count(*) FROM schema_version") == len(schema_files())
    finally:
        database.close()


def test_a_store_of_a_newer_program_is_refused_with_both_versions(path):
    Database.open(path).close()
    connection = duckdb.connect(str(path))
    connection.execute("INSERT INTO schema_version VALUES (9000, NULL)")
    connection.close()
    with pytest.raises(StorageError, match=rf"schema version 9000, this program knows {len(schema_files())}"):
        Database.open(path)
    duckdb.connect(str(path)).close()


def test_a_file_that_is_no_database_is_refused_by_name(path):
    path.parent.mkdir()
    path.write_bytes(b"GIF89a" * 4000)
    with pytest.raises(StorageError, match=r"index\.duckdb .*is damaged"):
        Database.open(path)


def test_a_second_process_is_refused_and_told_who_has_it(path, database):
    script = f"""
from pathlib import Path
from mirror.storage.database.database import Database
from mirror.errors import StorageError
try:
    Database.open(Path({str(path)!r}))
except StorageError as problem:
    print(problem)
"""
    told = processes.run("-c", script)
    assert told.stderr == ""
    assert f"is in use by process {os.getpid()}; a store can be used by one mirror at a time" in told.stdout


# ---- transactions -------------------------------------------------------------------------------


async def test_a_write_that_fails_changes_nothing(database):
    def work(cursor):
        cursor.execute("INSERT INTO mirror.addresses VALUES ('b', 'c', 0)")
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        await database.write(work)
    assert await one(database, "SELECT count(*) FROM mirror.addresses") == 0


async def test_reads_go_on_beside_a_write_and_do_not_see_it_before_its_end(database):
    began, go_on = threading.Event(), threading.Event()

    def slow(cursor):
        cursor.execute("INSERT INTO mirror.addresses VALUES ('b', 'c', 0)")
        began.set()
        assert go_on.wait(PATIENCE)

    writing = asyncio.ensure_future(database.write(slow))
    await asyncio.to_thread(began.wait, 10)
    assert await one(database, "SELECT count(*) FROM mirror.addresses") == 0
    go_on.set()
    await writing
    assert await one(database, "SELECT count(*) FROM mirror.addresses") == 1


async def test_what_was_written_is_there_when_opened_again(path):
    database = Database.open(path)
    await database.write(lambda c: c.execute("INSERT INTO mirror.addresses VALUES ('b', 'c', 0)"))
    await database.checkpoint()
    await database.write(lambda c: c.execute("INSERT INTO mirror.addresses VALUES ('e', 'f', 0)"))
    database.close()
    again = Database.open(path)
    try:
        assert await one(again, "SELECT count(*) FROM mirror.addresses") == 2
    finally:
        again.close()


def limit(cursor):
    """The limit that holds: DuckDB tells it in GiB with one digit."""
    size, unit = cursor.execute("SELECT current_setting('memory_limit')").fetchone()[0].split()
    told = float(size) * {"MiB": 2**20, "GiB": 2**30}[unit] / 1e6
    return min(Memory, key=lambda one: abs(one - told))


async def test_work_that_needs_more_memory_than_usual_gets_it_once(tmp_path):
    database = Database.open(tmp_path / "index.duckdb")
    for ask in (database.write, database.read):
        limits = []

        def work(cursor, limits=limits):
            limits.append(limit(cursor))
            if len(limits) == 1:
                raise duckdb.OutOfMemoryException("a large answer")

        await ask(work)
        assert limits == [Memory.WRITING, Memory.MUCH]
    assert await database.read(limit) == Memory.WRITING
    database.close()


async def test_little_memory_is_used_while_nothing_is_to_be_written_to_the_file(tmp_path):
    path = tmp_path / "index.duckdb"
    database = Database.open(path)
    await database.rest()
    assert await database.read(limit) == Memory.READING
    assert await database.write(limit) == Memory.WRITING
    await database.rest()
    assert await database.read(limit) == Memory.READING
    many = f"INSERT INTO mirror.addresses SELECT repeat('x', {SMALL_LOG // 10_000}), i, 0 FROM range(10_000) t(i)"
    await database.write(lambda c: c.execute(many))
    await database.rest()
    assert await database.read(limit) == Memory.WRITING  # it is all in the log
    await database.checkpoint()
    await database.rest()
    assert await database.read(limit) == Memory.READING
    database.close()


def test_the_limit_stays_while_somebody_needs_much():
    allowance = Allowance()
    with duckdb.connect() as cursor:
        with allowance.at_least(cursor, Memory.WRITING):
            with allowance.at_least(cursor, Memory.MUCH):
                allowance.rest(cursor)
                allowance.for_writing(cursor)
                assert limit(cursor) == Memory.MUCH
            allowance.rest(cursor)
            assert limit(cursor) == Memory.WRITING
        assert limit(cursor) == Memory.WRITING
        allowance.rest(cursor)
        assert limit(cursor) == Memory.READING


def test_what_is_in_use_keeps_its_memory():
    allowance = Allowance()
    with duckdb.connect(config={"temp_directory": ""}) as cursor:
        Memory.WRITING.set(cursor)
        cursor.execute("CREATE TABLE kept AS SELECT random() AS x FROM range(30_000_000)")
        allowance.rest(cursor)
        assert limit(cursor) == Memory.WRITING
        cursor.execute("DROP TABLE kept")
        allowance.rest(cursor)
        assert limit(cursor) == Memory.READING


async def test_an_index_made_before_texts_could_be_packed_opens_and_packs_new_ones(path):
    path.parent.mkdir(parents=True)
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.0.0"}) as old:
        migrate(old, schema_files())
        old.execute("CREATE TABLE main.kept AS SELECT range AS n FROM range(10)")
    for _ in range(2):
        database = Database.open(path)
        try:
            await database.write(lambda cursor: cursor.execute("CREATE OR REPLACE TABLE t (x VARCHAR USING COMPRESSION zstd)"))
            await database.write(lambda cursor: cursor.execute("INSERT INTO t SELECT repeat('text ', 300) || range FROM range(9000)"))
            await database.checkpoint()
            packed = "SELECT count(*) FROM pragma_storage_info('t') WHERE compression ILIKE 'zstd'"
            assert await one(database, packed)
            assert await one(database, "SELECT sum(n) FROM kept") == 45
        finally:
            database.close()


def test_a_copy_stands_by_while_the_version_of_a_file_is_raised(path, monkeypatch):
    path.parent.mkdir(parents=True)
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.0.0"}) as old:
        migrate(old, schema_files())
    copy, seen = path.with_name(f"{path.name}.before"), []

    def torn(_):
        seen.append((copy / path.name).exists())
        path.write_bytes(path.read_bytes()[:20_000])
        raise StorageError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_raise_version", torn)
        with pytest.raises(StorageError, match="killed"):
            Database.open(path)
    assert seen == [True]
    Database.open(path).close()
    assert not copy.exists()


def tidying(cursor, fail):
    """A batch that fails, and is taken away all the same, which a transaction that has ended refuses."""
    cursor.register("batch", duckdb.query("SELECT 1 AS n").to_arrow_table())
    try:
        fail(cursor)
    finally:
        cursor.unregister("batch")


async def test_a_failed_statement_is_told_not_that_its_transaction_ended(database):
    with pytest.raises(duckdb.ConversionException, match="Could not convert"):
        await database.write(lambda cursor: tidying(cursor, lambda c: c.execute("SELECT CAST('x' AS INTEGER) FROM batch")))


async def test_a_batch_that_needs_more_memory_gets_it_though_it_is_taken_away_first(database):
    tries = []

    def fail(cursor):
        tries.append(1)
        if len(tries) == 1:
            with pytest.raises(duckdb.ConversionException):
                cursor.execute("SELECT CAST('x' AS INTEGER) FROM batch")
            raise duckdb.OutOfMemoryException("a large batch")

    await database.write(lambda cursor: tidying(cursor, fail))
    assert len(tries) == 2


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
