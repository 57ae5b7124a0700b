"""Blocks that were cut ahead, while nobody waited, in files beside the index: ``blocks.sqlite`` and ``blocks.zst``.

The index unpacks two thousand records to return one, and must still cut it. A block of these files is cut already,
and takes a tenth of the time to read. They have nothing that the index lacks: if they are lost, they are made again.
The second has the blocks one after the other, the first says where each of them lies. So a block that the system has
in memory can be read at once, without a thread to wait for the disk.

Three rules ensure that no block is ever older than the index:

1. Only the thread that writes the index puts and drops blocks, within its transactions: ``put`` gets what such a
   transaction reads, ``drop`` comes before a change of those records is committed. Both are on disk when they return.
2. Each ``put`` gives the files a new token, and then the index the same one. If the index was restored from a copy, or
   lost its last transaction, the two differ when the file is opened, and all blocks are given up.
3. If ``drop`` fails, both files are deleted.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import zlib
from contextlib import closing, suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from mirror.errors import StorageError
from mirror.storage.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

#: The format of the tables and of a block's bytes (``packed`` in ``blocks``); a file of another format is given up.
FORMAT = 3
_TABLES = """
CREATE TABLE IF NOT EXISTS state (format INTEGER, token TEXT, bytes INTEGER);
CREATE TABLE IF NOT EXISTS block (series TEXT, number INTEGER, slots INTEGER, size INTEGER,
    offset INTEGER, length INTEGER, checksum INTEGER, PRIMARY KEY (series, number)) WITHOUT ROWID;
"""
#: Bytes of dropped blocks that may remain, beyond as many as there are of others, until all are made again.
SPARE = 64 << 20
#: For a read that fails where it would have to wait for the disk; Linux has it.
_IN_MEMORY: int | None = getattr(os, "RWF_NOWAIT", None)


class Packed(NamedTuple):
    """The block ``number`` of a series, and its bytes when unpacked; without ``data`` no block can be made there."""

    number: int
    size: int
    data: bytes | bytearray


class BlockFile:
    """The file at ``path`` and the one beside it, made by the first ``put``; without a path there never are any.

    Series are named in lower case. All blocks of a series have the same number of ``slots``.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()  #: guards ``_reads``; no other lock is taken inside
        self._reads: sqlite3.Connection | None = None
        self._writes: sqlite3.Connection | None = None
        self._data: int | None = None  #: descriptor of the blocks themselves
        self._slots: dict[str, int] = {}
        self._full = SPARE  #: size from which on the blocks may be mostly dropped ones
        self.given_up = 0  #: how often all blocks were: those of every series are made again then

    def open(self, token: str | None) -> None:
        """Open the files, if there are any; they are deleted unless they have this token, the index's.

        StorageError if they should be deleted but cannot be.
        """
        if self._path is None or not self._path.exists():
            return
        try:
            self._connect(self._path)
            state = self._read("SELECT * FROM state")
            if state and state[0][:2] == (FORMAT, token) and state[0][2] <= self._blocks_path.stat().st_size:
                self._slots = dict(self._read("SELECT DISTINCT series, slots FROM block"))
                return
            log.info("the blocks are of another state of the index, and are made again file=%s", self._path)
        except (sqlite3.Error, OSError) as error:
            log.warning("the blocks cannot be read, and are made again file=%s problem=%s", self._path, error)
        self._delete()

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for connection in (self._reads, self._writes):
                if connection is not None:
                    connection.close()
            self._reads = self._writes = None
            # Who reads at this moment gets an error, or bytes that do not have the checksum.
            if self._data is not None:
                os.close(self._data)
            self._data = None

    @property
    def slots(self) -> dict[str, int]:
        """How many slots the blocks of each series have; read-only."""
        return self._slots

    # ---- reading, from any thread ----------------------------------------------------------------

    def get(self, series: str, slots: int, wanted: Sequence[int]) -> list[Packed]:
        """Those of the blocks ``wanted``, in ascending order, that exist; damaged ones are left out."""
        try:
            return self._found(series, slots, wanted)
        except (sqlite3.Error, OSError) as error:
            log.warning("blocks cannot be read file=%s problem=%s", self._path, error)
            return []

    def get_at_once(self, series: str, slots: int, wanted: Sequence[int]) -> list[Packed] | None:
        """The same; None if the system does not have all of them in memory, so that the disk must be waited for."""
        with suppress(sqlite3.Error, OSError):
            return None if _IN_MEMORY is None else self._found(series, slots, wanted, _IN_MEMORY)
        return None

    def _found(self, series: str, slots: int, wanted: Sequence[int], flags: int = 0) -> list[Packed]:
        sql = (
            "SELECT number, size, offset, length, checksum FROM block "
            "WHERE series = ? AND number BETWEEN ? AND ? AND slots = ? ORDER BY number"
        )
        rows = self._read(sql, series, wanted[0], wanted[-1], slots)
        found = []
        for number, size, offset, length, checksum in (row for row in rows if row[0] in wanted):
            data = bytearray(length)
            read = os.preadv(-1 if self._data is None else self._data, [data], offset, flags) if length else 0
            if read < length and flags:
                raise BlockingIOError
            if zlib.crc32(data) == checksum:
                found.append(Packed(number, size, data))
        return found

    def numbers(self, series: str, slots: int) -> frozenset[int]:
        """The numbers of the blocks of a series."""
        if self._path is None or self._reads is None:
            return frozenset()
        # On a connection of its own: there may be a million, and nobody else is to wait for them.
        address = f"{self._path.resolve().as_uri()}?mode=ro"
        with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as connection:
            found = connection.execute("SELECT number FROM block WHERE series = ? AND slots = ?", (series, slots))
            return frozenset(number for (number,) in found)
        return frozenset()

    # ---- writing, by the thread that writes the index --------------------------------------------

    def put(self, series: str, slots: int, blocks: Iterable[Packed], token: str) -> None:
        """Keep blocks; the index must get ``token`` in the same transaction. StorageError if they cannot be written."""
        if self._path is None:
            return
        found = list(blocks)
        try:
            connection = self._writes or self._connect(self._path)
            start, end = self._append([each.data for each in found])
            offsets = accumulate((len(each.data) for each in found), initial=start)
            rows = [
                (series, each.number, slots, each.size, offset, len(each.data), zlib.crc32(each.data))
                for each, offset in zip(found, offsets, strict=False)
            ]
            with connection:
                if self._slots.get(series) != slots:
                    connection.execute("DELETE FROM block WHERE series = ?", (series,))
                connection.executemany("REPLACE INTO block VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
                connection.execute("UPDATE state SET token = ?, bytes = ?", (token, end))
        except (sqlite3.Error, OSError) as error:
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
            if self._is_mostly_dropped(connection):
                log.info("most blocks are out of date, and all are made again file=%s", self._path)
                self._delete()
        except (sqlite3.Error, OSError) as error:
            log.warning("blocks cannot be taken away, all are made again file=%s problem=%s", self._path, error)
            self._delete()

    # ---- inside ----------------------------------------------------------------------------------

    @property
    def _blocks_path(self) -> Path:
        assert self._path is not None
        return self._path.with_suffix(".zst")

    def _connect(self, path: Path) -> sqlite3.Connection:
        if not path.exists():
            self._blocks_path.unlink(missing_ok=True)
        writes = sqlite3.connect(path, check_same_thread=False)
        writes.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
        writes.execute("PRAGMA synchronous = FULL")  # a dropped block never comes back
        writes.executescript(_TABLES)  # those that are missing: a full disk may have ended this before
        with writes:
            writes.execute("INSERT INTO state SELECT ?, NULL, 0 WHERE NOT EXISTS (SELECT 1 FROM state)", (FORMAT,))
        reads = sqlite3.connect(path, check_same_thread=False)
        with self._lock:
            self._data = os.open(self._blocks_path, os.O_RDONLY | os.O_CREAT, 0o644)
            self._writes, self._reads = writes, reads
        return writes

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return [] if self._reads is None else self._reads.execute(sql, values).fetchall()

    def _append(self, blocks: Sequence[bytes | bytearray]) -> tuple[int, int]:
        """Write blocks to the disk behind all others; where they begin and end."""
        with self._blocks_path.open("ab") as file:
            start = file.tell()
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
            return start, file.tell()

    def _is_mostly_dropped(self, connection: sqlite3.Connection) -> bool:
        size = self._blocks_path.stat().st_size
        if size > self._full:
            ((kept,),) = connection.execute("SELECT coalesce(sum(length), 0) FROM block")
            self._full = 2 * kept + SPARE
        return size > self._full

    def _delete(self) -> None:
        """Delete the files. StorageError if that is impossible: then they remain in use, so that the next change tries again."""
        assert self._path is not None
        try:
            self._path.unlink(missing_ok=True)
            Disk().sync_folder(self._path.parent)  # nothing of it comes back in a crash, least of all without its log
            for path in (*(self._path.with_name(self._path.name + end) for end in ("-wal", "-shm")), self._blocks_path):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot delete {self._path}, which is out of date: {error.strerror}") from error
        self._slots, self._full, self.given_up = {}, SPARE, self.given_up + 1
        with suppress(sqlite3.Error):
            self.close()


#: Larger than any block number, but small enough for SQLite.
_FAR = 2**62
