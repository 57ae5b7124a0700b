"""The one DuckDB file of the store: who may open it, in which threads it runs, how it migrates.

One process owns the file; within it one thread writes and two read. Functions that are handed to
``read`` and ``write`` get a cursor; ``write`` wraps them in one transaction. Nothing else in the
program holds a connection.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import duckdb

from mirror.drms.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.resources.abc import Traversable
    from typing import Self

#: Row conversion holds the GIL: more readers were measured to add latency, not throughput.
READERS = 2

#: Files of this version open in every DuckDB release the mirror supports; later ones store strings slower.
STORAGE_VERSION = "v1.0.0"

#: What DuckDB may keep in memory; by itself it would take most of the machine's. Searches need 200 MB, but a
#: checkpoint of a million records failed for good with that little.
MEMORY = "2GB"
#: For a second try at what needs more.
MUCH_MEMORY = "8GB"

Cursor = duckdb.DuckDBPyConnection

T = TypeVar("T")


class Database:
    """The store's database; use ``open`` to make one, ``close`` when done."""

    def __init__(self, connection: Cursor) -> None:
        self._connection = connection
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-write")
        self._much = threading.Lock()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="index-read")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file at ``path`` and bring its schema up to date.

        Raises StorageError if another process owns it or it was written by a newer version.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(path)
        try:
            connection.execute("SET wal_autocheckpoint = '1GB'")  # else writers stall for a second at 16 MB
            connection.execute("SET preserve_insertion_order = true")
            connection.execute(f"SET memory_limit = '{MEMORY}'")
            migrate(connection, schema_files())
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def read(self, work: Callable[[Cursor], T]) -> T:
        """Run ``work`` with a cursor of its own, beside a running write; it must not change anything."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._with_cursor, work)

    async def write(self, work: Callable[[Cursor], T]) -> T:
        """Run ``work`` in one transaction, after the writes asked for before it; all or nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._in_transaction, work)

    async def checkpoint(self) -> None:
        """Fold the write-ahead log into the file."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, lambda: self._with_cursor(lambda c: c.execute("CHECKPOINT")))

    def close(self) -> None:
        """Finish what is running, write everything down, and release the file."""
        self._readers.shutdown()
        self._writer.shutdown()
        self._connection.close()

    def _with_cursor(self, work: Callable[[Cursor], T]) -> T:
        with self._connection.cursor() as cursor:
            return self._with_room(cursor, lambda: work(cursor))

    def _in_transaction(self, work: Callable[[Cursor], T]) -> T:
        with self._connection.cursor() as cursor:
            return self._with_room(cursor, lambda: _committed(cursor, work))

    def _with_room(self, cursor: Cursor, attempt: Callable[[], T]) -> T:
        """``attempt``, once more with much memory if it needs more than usual: a large answer, kept at once."""
        try:
            return attempt()
        except duckdb.OutOfMemoryException:
            with self._much:
                cursor.execute(f"SET memory_limit = '{MUCH_MEMORY}'")
                try:
                    return attempt()
                finally:
                    cursor.execute(f"SET memory_limit = '{MEMORY}'")


def _committed(cursor: Cursor, work: Callable[[Cursor], T]) -> T:
    cursor.begin()
    try:
        result = work(cursor)
        cursor.commit()
    except BaseException:
        with suppress(duckdb.Error):  # the first failure is the one to tell of
            cursor.rollback()
        raise
    return result


def _connect(path: Path) -> Cursor:
    try:
        return duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION})
    except duckdb.IOException as error:
        if "lock" not in str(error).lower():
            raise StorageError(f"{path} cannot be opened: {error}") from error
        owner = re.search(r"PID (\d+)", str(error))
        who = f"process {owner[1]}" if owner else "another process"
        raise StorageError(f"{path} is in use by {who}; one mirror at a time may own a store") from error
    except duckdb.Error as error:
        raise StorageError(f"{path} cannot be opened: {error}") from error


def schema_files() -> list[tuple[int, Traversable]]:
    """The numbered SQL files that ship with the program, in order."""
    folder = importlib.resources.files("mirror") / "schema"
    if not folder.is_dir():  # a checkout: schema/ lies beside the package
        folder = Path(__file__).parents[2] / "schema"
    names = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [(int(f.name.split("_")[0]), f) for f in names]


def migrate(connection: Cursor, files: list[tuple[int, Traversable]]) -> None:
    """Apply the files above the store's version, each in a transaction of its own."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, applied_at TIMESTAMP)"
    )
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    version, newest = row[0] if row else 0, files[-1][0]
    if version > newest:
        raise StorageError(
            f"the store has schema version {version}, this program knows {newest}; use a newer jsoc-mirror"
        )
    for number, file in _newer(files, version):
        connection.begin()
        try:
            connection.execute(file.read_text())
            connection.execute("INSERT INTO schema_version VALUES (?, now()::TIMESTAMP)", [number])
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        connection.execute("CHECKPOINT")


def _newer(files: list[tuple[int, Traversable]], version: int) -> Iterator[tuple[int, Traversable]]:
    return ((number, file) for number, file in files if number > version)
