"""Blocks that were cut while nobody waited, in a file of their own beside the index: ``blocks.sqlite``.

The index unpacks two thousand records to give one, and they are still to be cut then. A block of this file is cut, and takes
a tenth of the time to read. The file has nothing that the index does not have: without it, it is made again.

That no block is ever older than the index, three rules see to:

1. Blocks are put here, and dropped, by the thread that writes the index, within its transactions: ``put`` is given what
   such a transaction reads, ``drop`` comes before a change of those records is committed. Both are on the disk when they return.
2. With each ``put`` the file gets a new token, and then the index the same. Where an index was put back from a copy, or its
   last transaction was lost, the two differ when the file is opened: all blocks are given up.
3. Where ``drop`` cannot do its work, the whole file is deleted.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from mirror.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

#: Of the tables here, and of a block's bytes (``packed`` in ``blocks``): a file of another one is given up.
FORMAT = 1
_TABLES = """
CREATE TABLE state (format INTEGER, token TEXT);
CREATE TABLE block (series TEXT, slots INTEGER, number INTEGER, size INTEGER, checksum INTEGER, data BLOB);
CREATE UNIQUE INDEX place ON block (series, number, slots);
"""


class Packed(NamedTuple):
    """The block ``number`` of a series, and how many bytes it has when it is unpacked; no ``data``: there cannot be one."""

    number: int
    size: int
    data: bytes | None


class BlockFile:
    """The file at ``path``, which is made by the first ``put``; without a path there never is one.

    Series go by their names in lower case. All blocks of a series have as many ``slots``.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()  #: of ``_reads``; no other is taken inside
        self._reads: sqlite3.Connection | None = None
        self._writes: sqlite3.Connection | None = None
        self._slots: dict[str, int] = {}

    def open(self, token: str | None) -> None:
        """Open the file, if there is one; it is deleted unless its token is this one of the index.

        StorageError if it should be deleted, and cannot.
        """
        if self._path is None or not self._path.exists():
            return
        try:
            self._connect(self._path)
            if self._read("SELECT format, token FROM state") == [(FORMAT, token)]:
                self._slots = dict(self._read("SELECT DISTINCT series, slots FROM block"))
                return
            log.info("the blocks are of another state of the index, and are made again file=%s", self._path)
        except sqlite3.Error as error:
            log.warning("the blocks cannot be read, and are made again file=%s problem=%s", self._path, error)
        self._delete()

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            for connection in (self._reads, self._writes):
                if connection is not None:
                    connection.close()
            self._reads = self._writes = None

    @property
    def slots(self) -> dict[str, int]:
        """How many slots the blocks of each series have; look, do not change it."""
        return self._slots

    # ---- reading, from any thread ----------------------------------------------------------------

    def get(self, series: str, slots: int, first: int, last: int) -> list[Packed]:
        """The blocks that there are of ``first`` to ``last``, in order; one that was damaged is left out."""
        sql = (
            "SELECT number, size, data, checksum FROM block "
            "WHERE series = ? AND number BETWEEN ? AND ? AND slots = ? ORDER BY number"
        )
        try:
            rows = self._read(sql, series, first, last, slots)
        except sqlite3.Error as error:
            log.warning("blocks cannot be read file=%s problem=%s", self._path, error)
            return []
        return [Packed(*row) for *row, checksum in rows if zlib.crc32(row[2] or b"") == checksum]

    def numbers(self, series: str, slots: int) -> frozenset[int]:
        """The blocks that there are of a series."""
        with suppress(sqlite3.Error):
            found = self._read("SELECT number FROM block WHERE series = ? AND slots = ?", series, slots)
            return frozenset(number for (number,) in found)
        return frozenset()

    # ---- writing, by the thread that writes the index --------------------------------------------

    def put(self, series: str, slots: int, blocks: Iterable[Packed], token: str) -> None:
        """Keep blocks; the index must get the token with its transaction. StorageError if they cannot be written."""
        if self._path is None:
            return
        rows = [(series, slots, b.number, b.size, zlib.crc32(b.data or b""), b.data) for b in blocks]
        try:
            with self._writes or self._connect(self._path) as connection:
                if self._slots.get(series) != slots:
                    connection.execute("DELETE FROM block WHERE series = ?", (series,))
                connection.executemany("REPLACE INTO block VALUES (?, ?, ?, ?, ?, ?)", rows)
                connection.execute("UPDATE state SET token = ?", (token,))
        except sqlite3.Error as error:
            raise StorageError(f"blocks cannot be written to {self._path}: {error}") from error
        self._slots[series] = slots

    def drop(self, series: str, stretches: Iterable[tuple[int, int]] | None) -> None:
        """Take away the blocks of a series in which some stretches of its axis lie; all of them for None.

        StorageError if that is impossible: nothing may change in the index then.
        """
        slots = self._slots.get(series)
        if self._writes is None or slots is None:
            return
        everywhere = [(-_FAR, _FAR)] if stretches is None else stretches
        places = [(series, max(lo // slots, -_FAR), min(hi // slots, _FAR)) for lo, hi in everywhere if lo <= hi]
        try:
            with self._writes as connection:
                connection.executemany("DELETE FROM block WHERE series = ? AND number BETWEEN ? AND ?", places)
        except sqlite3.Error as error:
            log.warning("blocks cannot be taken away, all are made again file=%s problem=%s", self._path, error)
            self._delete()

    # ---- inside ----------------------------------------------------------------------------------

    def _connect(self, path: Path) -> sqlite3.Connection:
        is_new = not path.exists()
        writes = sqlite3.connect(path, check_same_thread=False)
        writes.execute("PRAGMA journal_mode = WAL")  # who reads does not wait for who writes
        writes.execute("PRAGMA synchronous = FULL")  # what was dropped never comes back
        if is_new:
            writes.executescript(_TABLES)
            with writes:
                writes.execute("INSERT INTO state VALUES (?, NULL)", (FORMAT,))
        with self._lock:
            self._writes = writes
            self._reads = sqlite3.connect(path, check_same_thread=False)
        return writes

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return [] if self._reads is None else self._reads.execute(sql, values).fetchall()

    def _delete(self) -> None:
        assert self._path is not None
        self._slots = {}
        with suppress(sqlite3.Error):
            self.close()
        try:
            for end in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot delete {self._path}, which is out of date: {error.strerror}") from error


#: A number that no block has, and SQLite can hold.
_FAR = 2**62
