"""A store as an older version of the program left it, and its migration killed at any moment.

What is in it was put there by this version and carried over, table by table, into the schema of the older one.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import duckdb

from mirror.storage.database.database import STORAGE_VERSION, Database
from mirror.storage.database.migrations import migrate, schema_files
from mirror.storage.index.index import Index
from tests.filelab import file_lab

if TYPE_CHECKING:
    from pathlib import Path

#: The schema of the first mirrors that kept files.
VERSION = 2
INDEX = "index.duckdb"


def old_store(path: Path) -> None:
    """Make a store of version 2 with records, a file and an export."""
    asyncio.run(_filled(path / "new"))
    config = {"storage_compatibility_version": STORAGE_VERSION}
    with duckdb.connect(str(path / INDEX), config=config) as old:
        migrate(old, schema_files()[:VERSION])
        old.execute(f"ATTACH '{path / 'new' / INDEX}' AS new (READ_ONLY)")
        for schema, table in old.execute(_TABLES, ["new"]).fetchall():
            _carry(old, schema, table)
        old.execute("DETACH new")
    for name in ("blobs", "by-record"):
        (path / "new" / name).rename(path / name)
    shutil.rmtree(path / "new")


_TABLES = """
    SELECT schema_name, table_name FROM duckdb_tables()
    WHERE database_name = ? AND schema_name <> 'main' ORDER BY ALL
"""
_COLUMNS = (
    "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ?"
)


def _carry(old: duckdb.DuckDBPyConnection, schema: str, table: str) -> None:
    """Copy what the older schema has of a table; tables of series are as they were."""
    name = f'"{schema}"."{table}"'
    own = old.execute("SELECT current_database()").fetchall()[0][0]
    columns = [row[0] for row in old.execute(_COLUMNS, [own, schema, table]).fetchall()]
    if columns:
        old.execute(f"INSERT INTO {name} BY NAME SELECT {', '.join(columns)} FROM new.{name}")
    elif schema != "mirror":
        old.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        old.execute(f"CREATE TABLE {name} AS FROM new.{name}")


async def _filled(path: Path) -> None:
    async with file_lab(path) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/2h]")
        await made.exported("hmi.sharp_cea_720s[3536][2014.01.01_TAI]{bitmap}")


def rows_of(path: Path) -> dict[str, tuple[int, int]]:
    """How many rows each table of version 2 has, and a hash of their values; the store is brought up to date."""
    database = Database.open(path / INDEX)
    try:
        index = asyncio.run(Index.load(database))
        assert index.all_series()
        return asyncio.run(database.read(_sums))
    finally:
        database.close()


def _sums(cursor: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, int]]:
    tables = {"mirror.blobs": "*", "mirror.holdings": "*", "mirror.pins": "*", "mirror.series": "*"}
    tables |= {
        "mirror.jobs": "id, identity, request, state",
        "mirror.job_files": "job, position, name, sha256",
    }
    tables |= {"hmi.v_45s": "*", "hmi.v_45s__old": "*", "mirror.coverage": "* EXCLUDE (id)"}
    found = {}
    for table, columns in tables.items():
        sql = f"SELECT count(*), coalesce(bit_xor(hash(t)), 0) FROM (SELECT {columns} FROM {table}) t"
        found[table] = cursor.execute(sql).fetchall()[0]
    return found


def kill_migration(path: Path, after: float) -> tuple[int | None, float]:
    """Open a store in a process of its own, killed after so many seconds; its version then, and what opening takes.

    The version is None where the kill tore the file, so that it does not open as it is.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, b".")
        with suppress(BaseException):
            Database.open(path / INDEX)
            os.write(writing, b"!")
            time.sleep(60)
        os._exit(1)
    os.read(reading, 1)
    began = time.monotonic()
    select.select([reading], [], [], after)
    took = time.monotonic() - began
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)
    return version_of(path), took


def version_of(path: Path) -> int | None:
    """The schema version of a store that nobody has open."""
    try:
        with duckdb.connect(str(path / INDEX)) as store:
            return int(store.execute("SELECT max(version) FROM schema_version").fetchall()[0][0])
    except duckdb.Error:
        return None
