"""The read-through for JSOC's plain files: what lies below /data and /doc/data on its web server.

Unlike files of storage units they change in place. So each is checked with JSOC when its last check is older than
its rule allows (``[[plain_file]]`` in config.toml): by ETag and Last-Modified, so that unchanged files are not
downloaded again. If JSOC does not answer, the held file is served as stale.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mirror.coverage.coverage import AHEAD
from mirror.errors import NotHeld, StorageError, UpstreamError
from mirror.fits.integrity import page_problem
from mirror.readthrough.downloads import Manner, Unchanged
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus
from mirror.storage.database.database import Tables
from mirror.storage.files.table import Blob, find_blob, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.readthrough.downloads import Download, Downloads
    from mirror.readthrough.policy import Rules
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.blobs import Blobs

# ---- the table -----------------------------------------------------------------------------------

# Like a holding, a row is only written for an existing blob, and deleted with it in one transaction.

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
        """Note that JSOC reported the file unchanged. A later check stays, unless it is dated in the future."""
        sql = "UPDATE mirror.plain_files SET checked_at = ? WHERE path = ? AND checked_at NOT BETWEEN ? AND ?"
        await self._tables.write(lambda c: c.execute(sql, [at, path, at, at + AHEAD]))

    async def usage(self) -> tuple[int, int]:
        """The number of files, and their bytes."""
        sql = f"SELECT count(*), coalesce(sum(size), 0) FROM ({_SELECT})"  # noqa: S608  (a constant)
        row = await self._tables.read(lambda c: c.execute(sql).fetchone())
        return (int(row[0]), int(row[1])) if row else (0, 0)


#: Seconds that a client waits for the check of a held file; after that it gets the stale file, and the check goes on.
PATIENCE = 15.0
#: Attempts at a file that is not held.
ATTEMPTS = 3
#: Seconds for which JSOC is not asked about held files after it did not answer.
AWAY_FOR = 30.0
#: Most characters of a kept header.
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Cached:
    """A held plain file, how it was answered, and if it is stale, when it was last checked."""

    file: PlainFile
    origin: CacheStatus
    checked_at: float | None = None


class PlainFiles:
    """Plain files. ``max_age`` gives the seconds that a check of a path lasts, None if the path is not kept."""

    def __init__(
        self,
        table: PlainFileTable,
        downloads: Downloads,
        rules: Rules,
        max_age: Callable[[str], float | None],
    ) -> None:
        self._table = table
        self._downloads = downloads
        self._rules = rules
        self.max_age = max_age
        self._away_until = 0.0

    def keeps(self, path: str) -> bool:
        """True if the plain file at a path, in its one spelling, is kept."""
        return self.max_age(path) is not None and "\ufffd" not in unquote(path)

    async def held(self, path: str) -> PlainFile | None:
        """The held file, however old."""
        return await self._table.at(path)

    @property
    def may_be_stale(self) -> bool:
        """True if held files are served when JSOC does not answer."""
        return self._rules.stale_on_failure

    def stale(self, held: PlainFile) -> Cached:
        """A held file, about which JSOC could not be asked."""
        return Cached(held, CacheStatus.STALE, held.checked_at)

    async def open(
        self, path: str, demand: CacheDemand = CacheDemand.DEFAULT, host: str | None = None
    ) -> Cached | Download:
        """The file at a path if it is held, else its download, which is running then.

        ``host`` is which of JSOC's names to ask. NotHeld if JSOC may not be asked, OtherAnswer if it answers with
        something other than a file, UpstreamError if it does not answer.
        """
        held = await self._downloads.ends.steady(lambda: self._table.at(path))  # one that ended meanwhile may have brought it
        now = self._rules.timestamp()
        if held is not None and (local := self._without_asking(held, demand, now)) is not None:
            return local
        if not self._rules.asks(demand):
            raise NotHeld(f"{path} is not cached, and {self._rules.why_not(demand)}", (path,))
        return await self._asked(path, held, host)

    def _without_asking(self, held: PlainFile, demand: CacheDemand, now: float) -> Cached | None:
        age = self.max_age(held.path) or 0.0
        young = abs(now - held.checked_at) < age
        if young and demand is not CacheDemand.REVALIDATE:
            return Cached(held, CacheStatus.LOCAL)
        waits = 0 < self._away_until - now <= AWAY_FOR and demand is CacheDemand.DEFAULT and self._rules.stale_on_failure
        if waits or not self._rules.asks(demand):
            return self.stale(held)
        return None

    async def _asked(self, path: str, held: PlainFile | None, host: str | None) -> Cached | Download:
        asked_at = self._rules.timestamp()

        async def kept(blob: Blob) -> None:
            await self._table.put(_described(path, download, blob, asked_at))

        manner = Manner(headers=_conditions(held), host=host, check=page_problem, attempts=ATTEMPTS if held is None else 1, pages=True)
        download = self._downloads.start(unquote(path), kept, manner=manner)
        try:
            async with asyncio.timeout(None if held is None else PATIENCE):
                size = await download.begun()
                if download.written >= size:  # small and complete: whether it is right is known in a moment
                    await download.kept()
        except Unchanged:
            await self._table.checked(path, asked_at)
            same = await self._table.at(path)
            if same is None:  # it was evicted meanwhile
                return await self._asked(path, None, host)
            return Cached(same, CacheStatus.FILLED)
        except (UpstreamError, NotHeld, TimeoutError):
            if held is None or not self._rules.stale_on_failure:
                raise
            self._away_until = self._rules.timestamp() + AWAY_FOR
            return self.stale(held)
        came = await self._table.at(path) if download.blob.done() else None
        return download if came is None else Cached(came, CacheStatus.FILLED)


def _conditions(held: PlainFile | None) -> dict[str, str]:
    """The headers by which JSOC may say that a file has not changed."""
    if held is None:
        return {}
    row = {"If-None-Match": held.tag, "If-Modified-Since": held.modified}
    return {name: value for name, value in row.items() if value}


def _described(path: str, download: Download, blob: Blob, checked_at: float) -> PlainFile:
    def said(name: str) -> str:
        return download.headers.get(name, "")[:_LONGEST]

    return PlainFile(
        path,
        kind=said("Content-Type"),
        encoding=said("Content-Encoding"),
        tag=said("ETag"),
        modified=said("Last-Modified"),
        checked_at=checked_at,
        blob=blob,
    )
