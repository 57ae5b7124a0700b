"""How much memory DuckDB may use: little while it is only read, more while something is written or needs it.

It keeps what it has read for as long as it may, and grows up to its limit with a large index; the system remembers
the file as well, so searches are as fast with little (benchmarks/README.md). What was written and is not in the file
yet must stay in memory, though, and a checkpoint that runs out of it closes the database.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        with suppress(duckdb.OutOfMemoryException):  # what is in use cannot go now; it stays as it was
            limit.set(cursor)
            self._limit = limit
