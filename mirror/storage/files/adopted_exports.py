"""Adopted exports: FITS files with a record's keywords, as JSOC once made them for somebody who had them.

They are not the archive's files and never replace them, so they have a table of their own. A row is only
written for an existing blob, and deleted with it in one transaction.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.concurrency import to_the_end
from mirror.errors import StorageError
from mirror.storage.database.database import Tables
from mirror.storage.files.folders import link_name
from mirror.storage.files.holdings import RecordSegment
from mirror.storage.files.table import Blob, find_blob, head

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.blobs import Blobs

FITS = "fits"
_SELECT = (
    "SELECT a.series, a.recnum, a.segment, a.name, b.sha256, b.size, b.kept_at, b.verified_at, b.last_used "
    "FROM mirror.adopted a JOIN mirror.blobs b ON a.head = b.head AND a.sha256 = b.sha256 "
    "WHERE a.series = ? AND a.recnum IN (SELECT unnest(?::BIGINT[]))"
)
_SAME = "series = ? AND recnum = ? AND segment = ? AND kind = ?"


@dataclass(frozen=True, slots=True)
class Export:
    """An adopted export; ``name`` is the file's name when it was adopted."""

    record: RecordSegment
    name: str
    blob: Blob


def export_link(record: RecordSegment, segment: str, day: str) -> str:
    """The name of an adopted export in the readable tree.

    ``segment`` is the segment's name in its own case, ``day`` the record's folder in the tree.
    """
    return link_name(record.series, day, f"{record.recnum}.export.{segment}.fits")


class Adopted:
    """The adopted exports of a store; ``now`` of ``add`` is Unix seconds."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._tables = Tables(database)
        self._blobs = blobs

    async def of(self, record: RecordSegment) -> Blob | None:
        """The export of a segment of a record, or None."""
        return (await self.of_records(record.series, [record.recnum])).get(record)

    async def of_records(self, series: str, recnums: Iterable[int]) -> dict[RecordSegment, Blob]:
        """Every adopted export of these records."""
        return {export.record: export.blob for export in await self.exports(series, recnums)}

    async def exports(self, series: str, recnums: Iterable[int]) -> list[Export]:
        """The same, with the names that the files had."""
        values = [series.lower(), list(recnums)]
        rows = await self._tables.read(lambda c: c.execute(_SELECT, values).fetchall())
        return [Export(RecordSegment(*row[:3]), row[3], Blob(*row[4:])) for row in rows]

    async def names(self, hashes: Iterable[str]) -> dict[str, list[str]]:
        """Which exports blobs are, in words, by hash."""
        wanted = "sha256 IN (SELECT unnest(?::VARCHAR[]))"
        values = [list(hashes)]
        sql = f"SELECT sha256, series, recnum, segment FROM mirror.adopted WHERE {wanted} ORDER BY ALL"
        found: dict[str, list[str]] = {}
        for sha256, *owner in await self._tables.read(lambda c: c.execute(sql, values).fetchall()):
            found.setdefault(sha256, []).append("export of {}[:#{}]{{{}}}".format(*owner))
        return found

    async def add(
        self, record: RecordSegment, blob: Blob, *, name: str, link: str | None, now: float
    ) -> None:
        """Note that ``blob`` is an export of the segment, in place of an earlier one.

        ``name`` is the file's name, ``link`` its name in the readable tree. NotHeld if the blob is not in
        the store.
        """
        with self._blobs.reading(blob) as path:
            await to_the_end(self._add(record, blob, (name, link, now), path))

    async def _add(
        self, record: RecordSegment, blob: Blob, values: tuple[str, str | None, float], path: Path
    ) -> None:
        name, link, now = values
        key = [record.series, record.recnum, record.segment, FITS]
        tree = self._blobs.tree
        if link is not None:
            await asyncio.to_thread(tree.place, link, path)

        def work(cursor: Cursor) -> list[str]:
            if find_blob(cursor, blob.sha256) is None:
                raise StorageError(
                    f"the file with sha256 {blob.sha256} left the store before {name} was noted"
                )
            sql = f"SELECT link FROM mirror.adopted WHERE {_SAME} AND link IS NOT NULL"
            before = [row[0] for row in cursor.execute(sql, key).fetchall()]
            cursor.execute(f"DELETE FROM mirror.adopted WHERE {_SAME}", key)
            row = [*key, name, link, now, head(blob.sha256), blob.sha256]
            cursor.execute("INSERT INTO mirror.adopted VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            return [old for old in before if old != link]

        try:
            unused = await self._tables.write(work)
        except StorageError:
            if link is not None:
                with suppress(StorageError):  # the first failure is the one to report
                    await asyncio.to_thread(tree.remove, [link])
            raise
        await asyncio.to_thread(tree.remove, unused)
