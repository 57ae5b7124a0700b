"""The one connection to a database, through which everybody goes; opened again after DuckDB gave it up.

A checkpoint that meets a full disk, or an error inside DuckDB, makes it refuse everything that comes later. What
was committed is safe in its log, so the file is closed and opened again, once nobody is inside any more.

How much memory DuckDB may use: little while it is only read, more while something is written or needs it.

It keeps what it has read for as long as it may, and grows up to its limit with a large index; the system remembers
the file as well, so searches are as fast with little (benchmarks/README.md). What was written and is not in the file
yet must stay in memory, though, and a checkpoint that runs out of it closes the database.
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
    """Gives cursors, from any thread. Without ``reopen`` what was given up stays so."""

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
        """``attempt`` with a cursor of its own; once more if DuckDB gave the database up meanwhile.

        It must be such that a second call is right where the first raised. StorageError after a second failure.
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
        """End what runs: it raises duckdb.InterruptException, and a transaction has not happened."""
        for cursor in list(self._cursors):
            cursor.interrupt()

    def close(self) -> None:
        """Write everything down and let the file go, once nobody is inside."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._inside)
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    # ---- inside ----------------------------------------------------------------------------------

    def _enter(self) -> duckdb.DuckDBPyConnection:
        """Go inside; the first after the database was given up opens it, when all others have left."""
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
        """Let nobody in with this connection any more."""
        with self._changed:
            if self._connection is connection and self._reopen is not None:
                self._connection = None
                connection.close()


class Memory(IntEnum):
    """Limits, in MB."""

    READING = 200
    WRITING = 2_000
    MUCH = 8_000  #: for a second try at what needs more

    def set(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let this be the limit of the database; duckdb.OutOfMemoryException if more is in use."""
        cursor.execute(f"SET memory_limit = '{self}MB'")


class Allowance:
    """The limit of one database, which several threads raise; it begins with what is set for writing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limit = Memory.WRITING
        self._needed: list[Memory] = []

    def for_writing(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let as much be used as writing needs, until ``rest``."""
        with self._lock:
            if self._limit < Memory.WRITING:
                self._set(cursor, Memory.WRITING)

    @contextmanager
    def at_least(self, cursor: duckdb.DuckDBPyConnection, limit: Memory) -> Iterator[None]:
        """Let so much be used inside, and then as much as for writing."""
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
        """Nothing is to be written any more: little is enough, unless somebody needs more just now."""
        with self._lock:
            if not self._needed:
                self._set(cursor, Memory.READING)

    def _set(self, cursor: duckdb.DuckDBPyConnection, limit: Memory) -> None:
        try:
            limit.set(cursor)
            self._limit = limit
        except duckdb.OutOfMemoryException:  # what is in use cannot go now; DuckDB 1.5 has the new limit all the same
            self._limit.set(cursor)
