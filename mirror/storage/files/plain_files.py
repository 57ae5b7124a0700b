"""Cached plain files of JSOC: which blob is at which path, and what JSOC said about it.

Like a holding, a row is only written for an existing blob, and deleted with it in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import StorageError
from mirror.storage.database.database import Tables
from mirror.storage.files.table import Blob, find_blob, head

if TYPE_CHECKING:
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.blobs import Blobs

_SELECT = (
    "SELECT p.path, p.kind, p.encoding, p.tag, p.modified, p.checked_at, "
    "b.sha256, b.size, b.kept_at, b.verified_at, b.last_used "
    "FROM mirror.plain_files p JOIN mirror.blobs b ON p.head = b.head AND p.sha256 = b.sha256"
)


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A plain file as JSOC last sent it; a header that was missing is "".

    ``kind`` is its Content-Type, ``encoding`` its Content-Encoding, ``tag`` its ETag as written there, ``modified``
    its Last-Modified; ``checked_at`` is in Unix seconds.
    """

    path: str
    kind: str
    encoding: str
    tag: str
    modified: str
    checked_at: float
    blob: Blob


class PlainFileTable:
    """The plain files of a store."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._tables = Tables(database)
        self._blobs = blobs

    async def at(self, path: str) -> PlainFile | None:
        """The file at a path, with its content checked; None if it is not cached."""
        while True:
            row = await self._tables.read(lambda c: c.execute(f"{_SELECT} WHERE p.path = ?", [path]).fetchone())
            if row is None:
                return None
            place, kind, encoding, tag, modified, checked_at, *blob = row
            found = PlainFile(place, kind, encoding, tag, modified, checked_at, Blob(*blob))
            if await self._blobs.lost([found.blob]):
                return None
            if await self._blobs.is_sound(found.blob):
                return found
            # It was set aside, with its row: the next lookup finds none.

    async def put(self, file: PlainFile) -> None:
        """Note the file at a path; the one that was there before is evicted when room is needed."""

        def work(cursor: Cursor) -> None:
            if find_blob(cursor, file.blob.sha256) is None:
                raise StorageError(f"{file.path} left the store before it was noted")
            cursor.execute("DELETE FROM mirror.plain_files WHERE path = ?", [file.path])
            values = [file.path, file.kind, file.encoding, file.tag, file.modified, file.checked_at]
            row = [*values, head(file.blob.sha256), file.blob.sha256]
            cursor.execute("INSERT INTO mirror.plain_files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

        with self._blobs.reading(file.blob):
            await self._tables.write(work)

    async def checked(self, path: str, at: float) -> None:
        """Note that JSOC reported the file unchanged."""
        sql = "UPDATE mirror.plain_files SET checked_at = greatest(checked_at, ?) WHERE path = ?"
        await self._tables.write(lambda c: c.execute(sql, [at, path]))

    async def usage(self) -> tuple[int, int]:
        """The number of files, and their bytes."""
        sql = f"SELECT count(*), coalesce(sum(size), 0) FROM ({_SELECT})"
        row = await self._tables.read(lambda c: c.execute(sql).fetchone())
        return (int(row[0]), int(row[1])) if row else (0, 0)
