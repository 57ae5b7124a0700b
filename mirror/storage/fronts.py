"""Fronts of files that are put together while they are sent: new headers before the data of a blob.

A front belongs to the jobs whose files name it: it is written in one transaction with them, and goes
once none of them is left. The same bytes are kept once.
"""

from __future__ import annotations

import hashlib
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.drms.errors import StorageError
from mirror.storage.blobtable import head
from mirror.storage.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from mirror.storage.database import Cursor, Database

#: Headers shrink to a fifth by the quickest packing already.
_LEVEL = 1
#: Fronts at hand: some megabytes.
_MOST_KNOWN = 128


@dataclass(frozen=True, slots=True)
class Front:
    """The first ``size`` bytes of a file, followed by ``rest`` bytes of a blob from its byte ``start`` on.

    ``packed`` has its bytes while it is new; those of one that is kept are asked for by ``Fronts.read``.
    """

    sha256: str
    size: int
    start: int
    rest: int
    packed: bytes | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, data: bytes, start: int, rest: int) -> Self:
        """A new front with these bytes."""
        return cls(hashlib.sha256(data).hexdigest(), len(data), start, rest, zlib.compress(data, _LEVEL))

    @property
    def whole(self) -> int:
        """Bytes of the file."""
        return self.size + self.rest


class Fronts:
    """Reads the fronts of a store; the last ones stay at hand, as clients ask for files piece by piece."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)
        self._known: dict[str, bytes] = {}

    async def read(self, front: Front) -> bytes:
        """The bytes of a front; StorageError if they are not there, or not what they were."""
        data = self._known.pop(front.sha256, None)
        if data is None:
            packed = await self._tables.read(lambda c: _find(c, front.sha256))
            data = _unpacked(packed, front)
        self._known[front.sha256] = data
        while len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return data


def put_fronts(cursor: Cursor, fronts: Iterable[Front]) -> None:
    """Keep what of these is not kept yet; StorageError for one without its bytes that is not."""
    wanted = {f.sha256: f.packed for f in fronts}
    new = {sha256: packed for sha256, packed in wanted.items() if packed is not None}
    for sha256 in wanted.keys() - new.keys():
        if _find(cursor, sha256) is None:
            raise StorageError(f"the headers with sha256 {sha256} are missing; expected them with the file")
    if new:
        rows = "SELECT unnest(?::BIGINT[]) AS head, unnest(?::VARCHAR[]) AS sha256, unnest(?::BLOB[]) AS data"
        known = "SELECT 1 FROM mirror.fronts f WHERE f.head = new.head AND f.sha256 = new.sha256"
        sql = f"INSERT INTO mirror.fronts SELECT head, sha256, data FROM ({rows}) new WHERE NOT EXISTS ({known})"
        cursor.execute(sql, [list(map(head, new)), list(new), list(new.values())])


def drop_unused_fronts(cursor: Cursor) -> None:
    """Delete the fronts that no file of a job names."""
    named = "SELECT front FROM mirror.job_files WHERE front IS NOT NULL"
    cursor.execute(f"DELETE FROM mirror.fronts WHERE sha256 NOT IN ({named})")


def _find(cursor: Cursor, sha256: str) -> bytes | None:
    sql = "SELECT data FROM mirror.fronts WHERE head = ? AND sha256 = ?"
    row = cursor.execute(sql, [head(sha256), sha256]).fetchone()
    return None if row is None else row[0]


def _unpacked(packed: bytes | None, front: Front) -> bytes:
    if packed is None:
        raise StorageError(f"the headers with sha256 {front.sha256} are missing; ask for the export anew")
    with suppress(zlib.error):
        data = zlib.decompressobj().decompress(packed, front.size)
        if hashlib.sha256(data).hexdigest() == front.sha256:
            return data
    raise StorageError(f"the headers with sha256 {front.sha256} are damaged; ask for the export anew")
