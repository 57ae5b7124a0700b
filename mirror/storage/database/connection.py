"""The one connection to a database, reopened after DuckDB gave it up, and how much memory DuckDB may use.

A checkpoint that meets a full disk, or an error inside DuckDB, makes the connection refuse everything that follows.
What was committed is safe in the log, so the file is closed and opened again once nobody uses it any more.

DuckDB gets little memory while it only reads, more while something is written or needs it. It keeps what it has read
for as long as it can, and with a large index grows to its limit; but the system caches the file too, so that searches
are as fast with little memory (benchmarks/README.md). What was written and is not in the file yet must stay in
memory, though, and a checkpoint that runs out of memory closes the database.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

import duckdb

from mirror.errors import StorageError
from mirror.storage.database.index_file import given_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class ReopeningConnection:
    """Gives cursors, from any thread. Without ``reopen`` a database that was given up stays closed."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        reopen: Callable[[], duckdb.DuckDBPyConnection] | None = None,
    ) -> None:
        self._connection: duckdb.DuckDBPyConnection | None = connection
        self._reopen = reopen
        self._inside = 0
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        self._changed = threading.Condition()
        self._closed = False

    def through(self, attempt: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Call ``attempt`` with a cursor of its own, and once more if DuckDB gave the database up meanwhile.

        Calling it again must be right after a first call has raised. StorageError after a second failure.
        """
        connection = self._enter()
        try:
            return self._once(connection, attempt)
        except duckdb.FatalException:
            self._give_up(connection)
        again = self._enter()
        try:
            return self._once(again, attempt)
        except duckdb.FatalException as error:
            self._give_up(again)
            raise StorageError(given_up(error)) from error

    def interrupt(self) -> None:
        """Interrupt what runs: it raises duckdb.InterruptException, and its transaction is rolled back."""
        for cursor in list(self._cursors):
            cursor.interrupt()

    def close(self) -> None:
        """Write everything to the file and close it, once nobody uses it."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._inside)
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    # ---- inside ----------------------------------------------------------------------------------

    def _enter(self) -> duckdb.DuckDBPyConnection:
        """Count a user. After the database was given up, the first one reopens it when all others have left."""
        with self._changed:
            self._changed.wait_for(lambda: self._connection is not None or not self._inside)
            if self._connection is None:
                if self._reopen is None or self._closed:
                    raise StorageError("the index is closed; expected the mirror to be started again")
                self._connection = self._reopen()
            self._inside += 1
            return self._connection

    def _once(
        self, connection: duckdb.DuckDBPyConnection, attempt: Callable[[duckdb.DuckDBPyConnection], T]
    ) -> T:
        try:
            with connection.cursor() as cursor, self._interruptible(cursor):
                return attempt(cursor)
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def _interruptible(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        self._cursors.add(cursor)
        try:
            yield
        finally:
            self._cursors.discard(cursor)

    def _give_up(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let nobody use this connection any more."""
        with self._changed:
            if self._connection is connection and self._reopen is not None:
                self._connection = None
                connection.close()


class Memory(IntEnum):
    """Limits, in MB."""

    READING = 200
    WRITING = 2_000
    MUCH = 8_000  #: for a second attempt at what needs more

    def set(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Set the database's limit; duckdb.OutOfMemoryException if more is in use."""
        cursor.execute(f"SET memory_limit = '{self}MB'")


class Allowance:
    """The limit of one database, which several threads raise; it begins with that for writing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limit = Memory.WRITING
        self._needed: list[Memory] = []

    def for_writing(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Allow what writing needs, until ``rest``."""
        with self._lock:
            if self._limit < Memory.WRITING:
                self._set(cursor, Memory.WRITING)

    @contextmanager
    def at_least(self, cursor: duckdb.DuckDBPyConnection, limit: Memory) -> Iterator[None]:
        """Allow ``limit`` inside, and afterwards what writing needs."""
        with self._lock:
            self._needed.append(limit)
            self._set(cursor, max(self._needed))
        try:
            yield
        finally:
            with self._lock:
                self._needed.remove(limit)
                self._set(cursor, max([Memory.WRITING, *self._needed]))

    def rest(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Allow little, since nothing is to be written any more, unless somebody needs more at the moment."""
        with self._lock:
            if not self._needed:
                self._set(cursor, Memory.READING)

    def _set(self, cursor: duckdb.DuckDBPyConnection, limit: Memory) -> None:
        try:
            limit.set(cursor)
            self._limit = limit
        except duckdb.OutOfMemoryException:  # memory in use cannot be freed now; DuckDB 1.5 sets the new limit anyway
            self._limit.set(cursor)
