"""What a download consists of, in order: bytes in memory, fronts of exported files, and stretches of blobs.

A ``Content`` is pure: nothing is read. Its tag is made from the hashes of its parts, so that it is the same after a
restart, and when a blob has left the store and come back. ``FileHeaders`` reads the fronts that are kept.
"""

from __future__ import annotations

import hashlib
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.concurrency import Bounded
from mirror.errors import StorageError
from mirror.storage.database.database import Tables
from mirror.storage.files.table import head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.table import Blob


@dataclass(frozen=True, slots=True)
class Stretch:
    """``size`` bytes of a blob, from its byte ``start`` on."""

    blob: Blob
    start: int
    size: int

    @property
    def whole(self) -> bool:
        """True if that is all of it."""
        return (self.start, self.size) == (0, self.blob.size)


PRINTED = "printed"


@dataclass(frozen=True, slots=True)
class Content:
    """The parts of a download, and when it was made (Unix seconds).

    ``values`` is PRINTED where keywords have only the digits that print, None where all are as at JSOC.
    """

    parts: tuple[ContentPart, ...]
    modified: float
    values: str | None = None

    @property
    def size(self) -> int:
        """The total number of bytes."""
        return sum(map(length, self.parts))

    @property
    def tag(self) -> str:
        """Equal for equal bytes made of the same parts; for a whole blob, its hash."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Stretch) and self.parts[0].whole:
            return self.parts[0].blob.sha256
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(_described(part))
        return digest.hexdigest()

    def cut(self, start: int, end: int) -> Iterator[tuple[ContentPart, int, int]]:
        """The parts of the bytes ``start`` to ``end``, each with the range of its own bytes."""
        at = 0
        for part in self.parts:
            size = length(part)
            lo, hi = max(start - at, 0), min(end - at, size)
            at += size
            if lo < hi:
                yield part, lo, hi


def content_of(blob: Blob, front: ReplacedHeader | None = None, *, modified: float | None = None) -> Content:
    """The content of a file: a blob, or a front and the end of the blob."""
    when = blob.kept_at if modified is None else modified
    if front is None:
        return Content((Stretch(blob, 0, blob.size),), when)
    return Content((front, Stretch(blob, front.start, front.rest)), when)


def blobs_of(content: Content) -> list[Blob]:
    """The blobs from which a content has bytes."""
    return [part.blob for part in content.parts if isinstance(part, Stretch)]


def length(part: ContentPart) -> int:
    """The number of bytes of a part."""
    return len(part) if isinstance(part, bytes) else part.size


def _described(part: ContentPart) -> bytes:
    if isinstance(part, bytes):
        return hashlib.sha256(part).digest()
    if isinstance(part, ReplacedHeader):
        return bytes.fromhex(part.sha256)
    return f"{part.blob.sha256}:{part.start}:{part.size};".encode()


#: The quickest compression already shrinks headers to a fifth.
_LEVEL = 1
#: Fronts in memory: some megabytes.
_MOST_KNOWN = 128


@dataclass(frozen=True, slots=True)
class ReplacedHeader:
    """The first ``size`` bytes of a file, followed by ``rest`` bytes of a blob from its byte ``start`` on.

    ``packed`` has its bytes while it is new; ``FileHeaders.read`` reads those of one that is kept.
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


class FileHeaders:
    """Reads the fronts of a store; recent ones stay in memory, since clients request files piece by piece."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)
        self._known: Bounded[str, bytes] = Bounded(_MOST_KNOWN)

    async def read(self, front: ReplacedHeader) -> bytes:
        """The bytes of a front; StorageError if they are missing or have changed."""
        data = self._known.recall(front.sha256)
        if data is None:
            packed = await self._tables.read(lambda c: _find(c, front.sha256))
            data = self._known[front.sha256] = _unpacked(packed, front)
        return data


def put_headers(cursor: Cursor, fronts: Iterable[ReplacedHeader]) -> None:
    """Keep those of these fronts that are not kept yet; StorageError for a new one without its bytes."""
    wanted = {f.sha256: f.packed for f in fronts}
    new = {sha256: packed for sha256, packed in wanted.items() if packed is not None}
    for sha256 in wanted.keys() - new.keys():
        if _find(cursor, sha256) is None:
            raise StorageError(f"the headers with sha256 {sha256} are missing from the store")
    if new:
        rows = "SELECT unnest(?::BIGINT[]) AS head, unnest(?::VARCHAR[]) AS sha256, unnest(?::BLOB[]) AS data"
        known = "SELECT 1 FROM mirror.fronts f WHERE f.head = new.head AND f.sha256 = new.sha256"
        sql = f"INSERT INTO mirror.fronts SELECT head, sha256, data FROM ({rows}) new WHERE NOT EXISTS ({known})"
        cursor.execute(sql, [list(map(head, new)), list(new), list(new.values())])


def drop_unused_headers(cursor: Cursor) -> None:
    """Delete the fronts that no file of a job names."""
    named = "SELECT front FROM mirror.job_files WHERE front IS NOT NULL"
    cursor.execute(f"DELETE FROM mirror.fronts WHERE sha256 NOT IN ({named})")


def _find(cursor: Cursor, sha256: str) -> bytes | None:
    sql = "SELECT data FROM mirror.fronts WHERE head = ? AND sha256 = ?"
    row = cursor.execute(sql, [head(sha256), sha256]).fetchone()
    return None if row is None else row[0]


def _unpacked(packed: bytes | None, front: ReplacedHeader) -> bytes:
    if packed is None:
        raise StorageError(f"the headers with sha256 {front.sha256} are missing; request the export again")
    with suppress(zlib.error):
        data = zlib.decompressobj().decompress(packed, front.size)
        if hashlib.sha256(data).hexdigest() == front.sha256:
            return data
    raise StorageError(f"the headers with sha256 {front.sha256} are damaged; request the export again")


#: What a download consists of.
ContentPart = bytes | ReplacedHeader | Stretch
