"""Blocks that were cut ahead, while nobody waited, in a file beside the index: ``blocks.sqlite``.

The index unpacks two thousand records to return one, and must still cut it. A block of this file is cut already,
and takes a tenth of the time to read. The file has nothing that the index lacks: if it is lost, it is made again.

Three rules ensure that no block is ever older than the index:

1. Only the thread that writes the index puts and drops blocks, within its transactions: ``put`` gets what such a
   transaction reads, ``drop`` comes before a change of those records is committed. Both are on disk when they return.
2. Each ``put`` gives the file a new token, and then the index the same one. If the index was restored from a copy, or
   lost its last transaction, the two differ when the file is opened, and all blocks are given up.
3. If ``drop`` fails, the whole file is deleted.
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

#: The format of the tables and of a block's bytes (``packed`` in ``blocks``); a file of another format is given up.
FORMAT = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS state (format INTEGER, token TEXT);
CREATE TABLE IF NOT EXISTS block (series TEXT, slots INTEGER, number INTEGER, size INTEGER, checksum INTEGER, data BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS place ON block (series, number, slots);
"""


class Packed(NamedTuple):
    """The block ``number`` of a series, and its bytes when unpacked; without ``data`` no block can be made there."""

    number: int
    size: int
    data: bytes | None


class BlockFile:
    """The file at ``path``, made by the first ``put``; without a path there never is one.

    Series are named in lower case. All blocks of a series have the same number of ``slots``.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()  #: guards ``_reads``; no other lock is taken inside
        self._reads: sqlite3.Connection | None = None
        self._writes: sqlite3.Connection | None = None
        self._slots: dict[str, int] = {}

    def open(self, token: str | None) -> None:
        """Open the file, if there is one; it is deleted unless it has this token, the index's.

        StorageError if it should be deleted but cannot be.
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
        """Close the file."""
        with self._lock:
            for connection in (self._reads, self._writes):
                if connection is not None:
                    connection.close()
            self._reads = self._writes = None

    @property
    def slots(self) -> dict[str, int]:
        """How many slots the blocks of each series have; read-only."""
        return self._slots

    # ---- reading, from any thread ----------------------------------------------------------------

    def get(self, series: str, slots: int, first: int, last: int) -> list[Packed]:
        """The blocks from ``first`` to ``last`` that exist, in order; damaged ones are left out."""
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
        """The numbers of the blocks of a series."""
        with suppress(sqlite3.Error):
            found = self._read("SELECT number FROM block WHERE series = ? AND slots = ?", series, slots)
            return frozenset(number for (number,) in found)
        return frozenset()

    # ---- writing, by the thread that writes the index --------------------------------------------

    def put(self, series: str, slots: int, blocks: Iterable[Packed], token: str) -> None:
        """Keep blocks; the index must get ``token`` in the same transaction. StorageError if they cannot be written."""
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
        """Remove the blocks of a series that touch some stretches of its axis; all of them for None.

        StorageError if that is impossible: then nothing may change in the index.
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
        writes = sqlite3.connect(path, check_same_thread=False)
        writes.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
        writes.execute("PRAGMA synchronous = FULL")  # a dropped block never comes back
        writes.executescript(_TABLES)  # those that are missing: a full disk may have ended this before
        with writes:
            writes.execute("INSERT INTO state SELECT ?, NULL WHERE NOT EXISTS (SELECT 1 FROM state)", (FORMAT,))
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


#: Larger than any block number, but small enough for SQLite.
_FAR = 2**62
