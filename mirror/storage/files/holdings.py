"""Holdings: which blob is which file of which storage unit, and of which record and segment.

A row is only written for an existing blob, and deleted with it in one transaction. A lookup checks the file too:
one that somebody has deleted behind the store's back is no longer held. The disk in a path (``SUM12``) is kept as
last seen, and never compared.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.concurrency import Version, to_the_end
from mirror.errors import StorageError
from mirror.storage.database.database import Tables
from mirror.storage.files.table import Blob, find_blob, head
from mirror.wire.paths import UnitFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.blobs import Blobs

_SELECT = (
    "SELECT h.series, h.recnum, h.segment, h.sunum, h.slot, h.file, h.disk, h.link, "
    "b.sha256, b.size, b.kept_at, b.verified_at, b.last_used "
    "FROM mirror.holdings h JOIN mirror.blobs b ON h.head = b.head AND h.sha256 = b.sha256"
)
#: Holdings that are kept in memory: a lookup costs as much as sending some megabytes.
_MOST_KNOWN = 10_000
_ORDER = "ORDER BY h.series, h.recnum, h.segment, h.sunum, h.slot, h.file"
_SAME_FILE = "sunum = ? AND slot = ? AND file = ?"


@dataclass(frozen=True, slots=True, order=True)
class RecordSegment:
    """A segment of a record; series and segment are given in any case, and kept in lower case."""

    series: str
    recnum: int
    segment: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "series", self.series.lower())
        object.__setattr__(self, "segment", self.segment.lower())


@dataclass(frozen=True, slots=True)
class Holding:
    """A held file of a storage unit. ``record`` is None if it was requested by its path."""

    file: UnitFile
    disk: str
    record: RecordSegment | None
    link: str | None
    blob: Blob

    @property
    def path(self) -> str:
        """The path under which it was last seen, ``/SUM12/D123/S00000/image.fits``."""
        return self.file.path(self.disk)


def fingerprint(cursor: Cursor) -> tuple[int, int]:
    """Two numbers that change when a holding comes or goes; much cheaper than counting holdings by anything."""
    row = cursor.execute("SELECT count(*), bit_xor(hash(series, recnum, segment, sunum, head)) FROM mirror.holdings").fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1] or 0))


class Holdings:
    """The holdings of a store."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._tables = Tables(database)
        self._blobs = blobs
        self._known: dict[UnitFile, Holding] = {}
        self._known_since = (0, 0)
        self._version = Version()
        #: Called with each file after it was noted.
        self.on_add: Callable[[Holding], None] | None = None

    # ---- looking up ------------------------------------------------------------------------------

    async def at(self, file: UnitFile) -> Holding | None:
        """The holding of a file of a storage unit, or None; recent ones are in memory."""
        if self._known_since != self._age() or len(self._known) >= _MOST_KNOWN:
            self._known, self._known_since = {}, self._age()
        if file in self._known:
            return next(iter(await self._there([self._known[file]])), None)
        before = self._age()
        found = next(iter(await self._held(_SAME_FILE, _row_of(file))), None)
        if found is not None and before == self._age() == self._known_since:
            self._known[file] = found
        return found

    async def at_all(self, files: Iterable[UnitFile]) -> dict[UnitFile, Holding]:
        """The holdings of those ``files`` that are held."""
        wanted = set(files)
        # The unit almost decides, and comparing one number is quick; the rest is compared here.
        units = list({file.sunum for file in wanted})
        found = await self._select("h.sunum IN (SELECT unnest(?::BIGINT[]))", [units])
        found = await self._there([holding for holding in found if holding.file in wanted])
        return {holding.file: holding for holding in found}

    async def of(self, record: RecordSegment) -> Holding | None:
        """The holding of a segment of a record, or None."""
        where = "h.series = ? AND h.recnum = ? AND h.segment = ?"
        found = await self._held(where, [record.series, record.recnum, record.segment])
        return found[0] if found else None

    async def of_records(self, series: str, recnums: Iterable[int]) -> list[Holding]:
        """Every holding of these records, by record and segment."""
        where = "h.series = ? AND h.recnum IN (SELECT unnest(?::BIGINT[]))"
        return await self._held(where, [series.lower(), list(recnums)])

    async def of_units(self, sunums: Iterable[int]) -> list[Holding]:
        """Every holding of files of these storage units."""
        return await self._select("h.sunum IN (SELECT unnest(?::BIGINT[]))", [list(set(sunums))])

    async def paths(self, hashes: Iterable[str]) -> dict[str, list[str]]:
        """The paths under which blobs were last seen, by hash."""
        found = await self._select("h.sha256 IN (SELECT unnest(?::VARCHAR[]))", [list(hashes)])
        paths: dict[str, list[str]] = {}
        for holding in found:
            known = paths.setdefault(holding.blob.sha256, [])
            if holding.path not in known:  # one file may be a segment of several records
                known.append(holding.path)
        return paths

    async def by_series(self) -> dict[str, tuple[int, int]]:
        """Files and bytes held of each series; "" stands for files requested by path only."""
        sql = (
            "SELECT series, count(*), sum(size) FROM (SELECT DISTINCT coalesce(h.series, '') AS series, "
            "b.sha256, b.size FROM mirror.holdings h JOIN mirror.blobs b ON h.head = b.head AND h.sha256 = b.sha256) "
            "GROUP BY series ORDER BY series"
        )
        rows = await self._tables.read(lambda c: c.execute(sql).fetchall())
        return {name: (count, int(size)) for name, count, size in rows}

    # ---- adding ----------------------------------------------------------------------------------

    async def add(
        self,
        file: UnitFile,
        blob: Blob,
        *,
        disk: str = "SUM0",
        record: RecordSegment | None = None,
        link: str | None = None,
    ) -> Holding:
        """Note that ``blob`` is the file, and the segment of the record if one is given.

        Other holdings of the same file become this blob too. ``link`` is a name in the readable tree
        (``folders.link_name``). NotHeld if the blob is not in the store.
        """
        with self._blobs.reading(blob) as path:
            noted = await to_the_end(self._add(Holding(file, disk, record, link, blob), path))
        if self.on_add is not None:
            self.on_add(noted)
        return noted

    async def forget(self, file: UnitFile) -> None:
        """Delete the holding of a file; its blob stays until it is evicted."""
        await to_the_end(self._forget(file))

    # ---- inside ----------------------------------------------------------------------------------

    def _age(self) -> tuple[int, int]:
        """Changes whenever earlier lookups may be out of date."""
        return self._blobs.departures.number, self._version.number

    async def _held(self, where: str, values: Sequence[object]) -> list[Holding]:
        return await self._there(await self._select(where, values))

    async def _there(self, holdings: list[Holding]) -> list[Holding]:
        lost = await self._blobs.lost(holding.blob for holding in holdings)
        return [holding for holding in holdings if holding.blob.sha256 not in lost] if lost else holdings

    async def _select(self, where: str, values: Sequence[object]) -> list[Holding]:
        sql = f"{_SELECT} WHERE {where} {_ORDER}"
        rows = await self._tables.read(lambda c: c.execute(sql, list(values)).fetchall())
        return [_holding(row) for row in rows]

    async def _add(self, holding: Holding, path: Path) -> Holding:
        tree = self._blobs.tree
        names = [] if holding.link is None else [holding.link]
        for name in names:
            await asyncio.to_thread(tree.place, name, path)
        try:
            noted, replaced, unused = await self._tables.write(lambda c: _note(c, holding))
        except StorageError:
            with suppress(StorageError):  # the first failure is the one to report
                await asyncio.to_thread(tree.remove, names)
            raise
        self._version.advance()
        for name in replaced:
            await asyncio.to_thread(tree.place, name, path)
        await asyncio.to_thread(tree.remove, unused)
        return noted

    async def _forget(self, file: UnitFile) -> None:
        def work(cursor: Cursor) -> list[str]:
            links = [row.link for row in _rows_of(cursor, file) if row.link is not None]
            cursor.execute(f"DELETE FROM mirror.holdings WHERE {_SAME_FILE}", _row_of(file))
            return links

        links = await self._tables.write(work)
        self._version.advance()
        await asyncio.to_thread(self._blobs.tree.remove, links)


def _note(cursor: Cursor, new: Holding) -> tuple[Holding, list[str], list[str]]:
    """Write the row of a holding; the resulting holding, names whose blob changed, names no longer used."""
    if find_blob(cursor, new.blob.sha256) is None:
        raise StorageError(f"the file with sha256 {new.blob.sha256} left the store before {new.path} was noted")
    if new.link is not None:
        cursor.execute("UPDATE mirror.holdings SET link = NULL WHERE link = ?", [new.link])
    rows = _rows_of(cursor, new.file)
    others = [row for row in rows if row.record not in (new.record, None)]
    own = [row.link for row in rows if row not in others]
    noted = replace(new, link=new.link or next(iter(own), None))
    after = [replace(row, disk=new.disk, blob=new.blob) for row in others]
    if noted.record is not None or noted.link is not None or not others:
        after.insert(0, noted)
    cursor.execute(f"DELETE FROM mirror.holdings WHERE {_SAME_FILE}", _row_of(new.file))
    for row in after:
        _insert(cursor, row)
    kept = {row.link for row in after}
    changed = [row.link for row in rows if row.link in kept and row.blob.sha256 != new.blob.sha256]
    unused = [row.link for row in rows if row.link not in kept]
    return after[0], [x for x in changed if x is not None], [x for x in unused if x is not None]


def _insert(cursor: Cursor, holding: Holding) -> None:
    record = holding.record
    of = [None, None, None] if record is None else [record.series, record.recnum, record.segment]
    blob = holding.blob.sha256
    row = [*of, *_row_of(holding.file), holding.disk, holding.link, head(blob), blob]
    cursor.execute("INSERT INTO mirror.holdings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _rows_of(cursor: Cursor, file: UnitFile) -> list[Holding]:
    sql = f"{_SELECT} WHERE {_SAME_FILE} {_ORDER}"
    return [_holding(row) for row in cursor.execute(sql, _row_of(file)).fetchall()]


def _row_of(file: UnitFile) -> list[object]:
    return [file.sunum, file.slot, file.file]


def _holding(row: Sequence[object]) -> Holding:
    series, recnum, segment, sunum, slot, file, disk, link, *blob = row
    record = None if series is None else RecordSegment(series, recnum, segment)  # type: ignore[arg-type]
    return Holding(UnitFile(sunum, slot, file), disk, record, link, Blob(*blob))  # type: ignore[arg-type]
