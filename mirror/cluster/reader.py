"""Reads the journal, and takes over what this server does not know.

Of a series' journal, the rows that may still be useful are remembered, and the sum of all rows. It is read again from
the beginning when records were removed here, or when PostgreSQL was restored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from mirror.cluster.chunks import read_chunk
from mirror.cluster.journal import add_entry, bounds, dropped, is_there, lacking, space_of, tail
from mirror.concurrency import SingleFlight
from mirror.coverage.claims import without
from mirror.coverage.coverage import Box, Coverage
from mirror.coverage.intervals import GRAIN, Steps
from mirror.errors import ObjectDamaged, ObjectMissing
from mirror.storage.index.affected import delete_records
from mirror.storage.index.index import Committed
from mirror.storage.index.merge import ForeignRecords
from mirror.storage.index.select_sql import box_predicate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from pathlib import Path

    from mirror.cluster.check import Mark
    from mirror.cluster.database import ClusterDatabase
    from mirror.cluster.journal import Entry
    from mirror.cluster.objects import Objects
    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor, KeyedTable
    from mirror.storage.index.index import Index

log = logging.getLogger(__name__)

#: The prefix of a series' key: how far this server has followed what was given up.
GIVEN_UP = "given up: "
#: Rows that are processed before other tasks get a turn.
ROWS_AT_ONCE = 100
#: Attempts at an object that comes damaged, and seconds after which an unusable one is tried again.
TRIES, AGAIN = 2, 600.0


@dataclass
class SeriesJournal:
    """What is remembered of one series' journal; ``told`` is the sum of its rows."""

    space: str
    removals: int
    position: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)
    told: Coverage = field(default_factory=Coverage)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class _Broken:
    """A row whose object could not be used, and when."""

    series: str
    entry: Entry
    problem: str
    since: float


class JournalReader:
    """Follows the journal; ``folder`` is for objects in transit, ``state`` for what survives a restart."""

    def __init__(
        self,
        index: Index,
        cluster: tuple[ClusterDatabase, Objects, Mark],
        folder: Path,
        state: KeyedTable,
        counts: Counter[str],
    ) -> None:
        self._index = index
        self._database, self._objects, self._mark = cluster
        self._folder = folder
        self._state = state
        self._counts = counts
        self._broken: dict[int, _Broken] = {}  #: by the number of the row
        self._journals: dict[str, SeriesJournal] = {}
        self._absorbing: SingleFlight[int, None] = SingleFlight()

    @property
    def broken(self) -> list[str]:
        """The chunks that could not be used in the last AGAIN seconds, or that nobody has asked for since."""
        for name in {each.series for each in self._broken.values()}:
            if (held := self._index.series(name)) is not None:
                self._take_back(held[0], self.journal(held[0]))
        return [each.problem for each in self._broken.values()]

    def journal(self, series: Series) -> SeriesJournal:
        """What is remembered of a series."""
        name, space = series.name.lower(), space_of(series)
        journal = self._journals.get(name)
        if journal is None or journal.space != space or journal.removals != self._index.removals.number:
            journal = self._journals[name] = SeriesJournal(space, self._index.removals.number)
        return journal

    @property
    def highest(self) -> int:
        """The number of the last row that was read."""
        return max((journal.position for journal in self._journals.values()), default=0)

    def begin_again(self) -> None:
        """Forget what is remembered of the journal."""
        self._journals.clear()
        self._broken.clear()

    async def take_over(self, series: Series, boxes: tuple[Box, ...]) -> bool:
        """Read on in the journal, and take over rows that say more about the boxes; True if there were any."""
        took = False
        while True:
            await self.read_on(series)
            found = self.telling(series, boxes)
            if not found:
                return took
            for entry in found:
                await self._absorbing.run(entry.id, partial(self._absorb, series, entry))
                took = True

    async def read_on(self, series: Series) -> SeriesJournal:
        """Read new rows of the journal, and follow what was given up."""
        name, journal = series.name.lower(), self.journal(series)
        async with journal.reading:
            while True:
                async with self._database.transaction() as cursor:
                    entries, position = await tail(cursor, name, journal.space, journal.position)
                for number, entry in enumerate(entries, start=1):
                    if number % ROWS_AT_ONCE == 0:
                        await asyncio.sleep(0)  # a new server may read 1e5 rows, in some ten seconds
                    if entry.id in self._broken:
                        continue
                    journal.told = add_entry(journal.told, entry)
                    if entry.kind == "drop":
                        _cut(journal, entry)
                        await self._give_up(series, journal, entry)
                    else:
                        journal.entries[entry.id] = entry
                at_end, journal.position = position == journal.position, max(position, journal.position)
                if at_end:
                    return journal

    def telling(self, series: Series, boxes: Sequence[Box]) -> list[Entry]:
        """The rows that say more about the boxes than is known here, in order; rows that say no more are forgotten."""
        journal, coverage = self.journal(series), self._index.coverage(series)
        self._take_back(series, journal)
        lo, hi = bounds(boxes)
        found = []
        for entry in tuple(journal.entries.values()):
            first, last = bounds(entry.boxes)
            if first > hi or last < lo:
                continue
            if entry.tells(coverage, boxes):
                found.append(entry)
            elif not entry.tells(coverage, entry.boxes):
                del journal.entries[entry.id]
        return found

    def _take_back(self, series: Series, journal: SeriesJournal) -> None:
        """Let chunks that could not be used be tried again after a while, if they are still news."""
        for number, each in tuple(self._broken.items()):
            if each.series == series.name.lower() and time.monotonic() > each.since + AGAIN:
                del self._broken[number]
                journal.entries[number] = each.entry

    async def unpublished(self, series: Series) -> list[Committed]:
        """What is held here, but not in the journal."""
        while (journal := await self.read_on(series)) is not self.journal(series):
            pass  # records were removed meanwhile
        held = [(Box(region, (Steps(s.lo, s.hi),)), s.checked_at) for region, spans in self._index.coverage(series) for s in spans]
        self.telling(series, [box for box, _ in held])
        return [
            Committed(series, tuple(parts), at)
            for box, at in held
            if at > 0.0 and (parts := lacking(journal.told, box, at - GRAIN))
        ]

    async def follow_from(self, series: Series, number: int) -> None:
        """Follow only from this row on: what was given up before concerns nothing that is held here."""
        await self._state.put(GIVEN_UP + series.name.lower(), str(number), 0.0)

    # ---- one row ---------------------------------------------------------------------------------

    async def _absorb(self, series: Series, entry: Entry) -> None:
        """Take one row over; one whose object cannot be used is skipped for a while, and JSOC asked instead."""
        journal, coverage = self.journal(series), self._index.coverage(series)
        if entry.id not in journal.entries:
            return
        if entry.kind == "same":
            for part, at in entry.news(coverage, entry.boxes):
                await self._index.confirm(series, (part,), at, is_shared=True)
        else:
            try:
                await self._try_chunk(series, entry)
            except (ObjectDamaged, ObjectMissing) as problem:
                if isinstance(problem, ObjectMissing):
                    await self._mark.insist()  # raises if the folder is not mounted, and all only seems gone
                    if not await self._is_there(entry):
                        journal.entries.pop(entry.id, None)  # it was folded into a row that is read next
                        return
                self._broken[entry.id] = _Broken(series.name.lower(), entry, f"{series.name}: {problem}", time.monotonic())
                log.warning("a chunk cannot be used, and is asked for again series=%s problem=%r", series.name, str(problem))
                journal.entries.pop(entry.id, None)
                return
        journal.entries.pop(entry.id, None)
        self._counts["absorbed"] += 1
        self._counts["absorbed_records"] += entry.rows

    async def _is_there(self, entry: Entry) -> bool:
        async with self._database.transaction() as cursor:
            return await is_there(cursor, entry.id)

    async def _try_chunk(self, series: Series, entry: Entry) -> None:
        """Try a damaged object again: it may only have been truncated on the way."""
        for number in range(1, TRIES + 1):
            try:
                return await self._absorb_chunk(series, entry)
            except ObjectDamaged:
                if number == TRIES:
                    raise
        return None

    async def _absorb_chunk(self, series: Series, entry: Entry) -> None:
        if entry.object is None:
            share = ForeignRecords(claims=entry.claims)
            await self._index.absorb(series, share, is_shared=True)
            return
        path = self._folder / f"{entry.id}.parquet"
        try:
            await self._objects.get_to(entry.object, path, sha256=entry.sha256)
            share = await read_chunk(self._index, series, path, entry.rows, entry.claims)
            await self._index.absorb(series, share, is_shared=True)
        finally:
            path.unlink(missing_ok=True)

    async def _give_up(self, series: Series, journal: SeriesJournal, entry: Entry) -> None:
        """Give up records here, once, that were given up elsewhere."""
        name = series.name.lower()
        fact = await self._state.get(GIVEN_UP + name)
        if fact is not None and int(fact[0]) >= entry.id:
            return
        boxes = entry.boxes or None
        layout = self._index.layout(series)
        numbers: frozenset[int] | None = None
        if boxes is not None and self._index.has_records(series):
            where = " OR ".join(f"({box_predicate(series, box)})" for box in boxes)
            numbers = await self._index.recnums(series, where, all_versions=True)

        def uncover(coverage: Coverage) -> Coverage:
            return Coverage() if boxes is None else without(coverage, boxes)

        def work(cursor: Cursor) -> None:
            if self._index.has_records(series):
                delete_records(cursor, layout, numbers)

        await self._index.drop(series, uncover, work)
        journal.removals = self._index.removals.number
        await self._state.put(GIVEN_UP + name, str(entry.id), 0.0)


def _cut(journal: SeriesJournal, gone: Entry) -> None:
    left = {n: dropped(entry, gone) for n, entry in journal.entries.items()}
    journal.entries = {n: entry for n, entry in left.items() if entry is not None}
