"""Gives up files of certain records: their holdings, and the contents that no other record has.

As everywhere in the store, rows are deleted first, in one transaction, and files afterwards.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.concurrency import to_the_end
from mirror.storage.files.table import Blob, find_blob, forget, head, lost_exports, lost_files, pinned_now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mirror.storage.database.database import Cursor, Tables
    from mirror.storage.files.eviction import Evictor
    from mirror.storage.files.folders import Folders

#: The tables that say whose file a blob is: as it lies in the archive, or as an export of it.
_OWNERS = ("holdings", "adopted")
_OF_SERIES = "series = ?"
_OF_RECORDS = "series = ? AND recnum IN (SELECT unnest(?::BIGINT[]))"


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """What goes, or would go: ``files`` of the records, and ``blobs``, the contents that no other record has.

    ``pinned`` stay because of a pin, ``shared`` because other records have them too.
    """

    files: int
    blobs: tuple[Blob, ...]
    pinned: int
    shared: int


class Forgetting:
    """Gives up files; ``recnums`` None stands for all records of the series."""

    def __init__(self, tables: Tables, folders: Folders, room: Evictor) -> None:
        self._tables = tables
        self._folders = folders
        self._room = room

    async def plan(
        self, series: str, recnums: Collection[int] | None, now: float, *, force: bool
    ) -> ForgetResult:
        """What ``forget`` would give up; nothing is changed."""
        return await self._tables.read(lambda c: _plan(c, series, recnums, now, force=force))

    async def forget(
        self, series: str, recnums: Collection[int] | None, now: float, *, force: bool
    ) -> ForgetResult:
        """Give the files up; those being read stay, as do pinned ones without ``force``."""
        return await to_the_end(self._forget(series, recnums, now, force=force))

    async def _forget(
        self, series: str, recnums: Collection[int] | None, now: float, *, force: bool
    ) -> ForgetResult:
        async with self._room.changing:
            plan = await self._tables.read(lambda c: _plan(c, series, recnums, now, force=force))
            with self._room.uses.leaving(plan.blobs) as going:
                hashes = [blob.sha256 for blob in going]
                stay = {blob.sha256 for blob in plan.blobs} - set(hashes)
                links = await self._tables.write(
                    lambda c: _give_up(c, series, recnums, hashes, stay, now, force=force)
                )
                self._room.departures.advance()
                self._room.quota.held -= sum(blob.size for blob in going)
                await asyncio.to_thread(self._folders.remove, hashes, links)
        return ForgetResult(plan.files, tuple(going), plan.pinned + len(stay), plan.shared)


def _plan(
    cursor: Cursor, series: str, recnums: Collection[int] | None, now: float, *, force: bool
) -> ForgetResult:
    where, values = _which(series, recnums)
    sql = " UNION ALL ".join(f"SELECT sha256 FROM mirror.{table} WHERE {where}" for table in _OWNERS)
    rows = cursor.execute(sql, values * len(_OWNERS)).fetchall()
    hashes = sorted({row[0] for row in rows})
    pinned = set() if force else pinned_now(cursor, now) & set(hashes)
    shared = _shared(cursor, where, values, hashes)
    blobs = [find_blob(cursor, s) for s in hashes if s not in pinned and s not in shared]
    free = [row[0] for row in rows if row[0] not in pinned]
    return ForgetResult(len(free), tuple(b for b in blobs if b is not None), len(pinned), len(shared - pinned))


def _give_up(
    cursor: Cursor,
    series: str,
    recnums: Collection[int] | None,
    hashes: Iterable[str],
    in_use: Collection[str],
    now: float,
    *,
    force: bool,
) -> list[str]:
    """Delete the rows; the names in the readable tree that go with them are returned."""
    where, values = _which(series, recnums)
    stay = [*in_use, *(() if force else pinned_now(cursor, now))]
    chosen, given = f"{where} AND NOT list_contains(?::VARCHAR[], sha256)", [*values, stay]
    lost = lost_files(cursor, chosen, given) + lost_exports(cursor, chosen, given)
    links = [each.link for each in lost]
    for table in _OWNERS:
        cursor.execute(f"DELETE FROM mirror.{table} WHERE {chosen}", given)
    links += [lost.link for lost in forget(cursor, hashes)]
    return [link for link in links if link is not None]


def _which(series: str, recnums: Collection[int] | None) -> tuple[str, list[object]]:
    name = series.lower()
    return (_OF_SERIES, [name]) if recnums is None else (_OF_RECORDS, [name, list(recnums)])


def _shared(cursor: Cursor, where: str, values: list[object], hashes: list[str]) -> set[str]:
    """The hashes that other records have too; a file known only by its path belongs to none."""
    sql = " UNION ".join(
        f"SELECT sha256 FROM mirror.{table} WHERE head IN (SELECT unnest(?::BIGINT[])) "
        f"AND series IS NOT NULL AND NOT ({where})"
        for table in _OWNERS
    )
    found = cursor.execute(sql, [list(map(head, hashes)), *values] * len(_OWNERS)).fetchall()
    return {row[0] for row in found} & set(hashes)
