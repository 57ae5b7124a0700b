"""Reading the journal, and taking over what of it tells more than this server knows.

What is remembered of a series' journal are the rows that may still tell something, and what all rows come to. It is
read again from its beginning when records were taken away here, or when PostgreSQL was restored.
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
from mirror.coverage.coverage import Box, Coverage
from mirror.coverage.intervals import GRAIN, Steps
from mirror.coverage.subtraction import without
from mirror.errors import ObjectDamaged, ObjectMissing
from mirror.storage.index.affected import delete_records
from mirror.storage.index.index import Committed
from mirror.storage.index.merge import ForeignRecords
from mirror.storage.index.select_sql import box_predicate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from pathlib import Path

    from mirror.cluster.database import ClusterDatabase
    from mirror.cluster.journal import Entry
    from mirror.cluster.mark import Mark
    from mirror.cluster.objects import Objects
    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor
    from mirror.storage.database.keyed import KeyedTable
    from mirror.storage.index.index import Index

log = logging.getLogger(__name__)

#: What is kept of a series: how far this server has followed what was given up.
GIVEN_UP = "given up: "
#: Rows that are looked at before others have their turn.
ROWS_AT_ONCE = 100
#: Times that an object is read which comes damaged, and seconds after which one that could not be used is tried again.
TRIES, AGAIN = 2, 600.0


@dataclass
class SeriesJournal:
    """What is remembered of the journal of one series; ``told`` is what its rows come to."""

    space: str
    removals: int
    position: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)
    told: Coverage = field(default_factory=Coverage)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class _Broken:
    """A row whose object could not be used, and when that was found."""

    series: str
    entry: Entry
    problem: str
    since: float


class JournalReader:
    """Follows the journal; ``folder`` is for objects that are on their way, ``state`` for what outlives a restart."""

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
        """The chunks that could not be used, within the last AGAIN seconds or since nobody has asked for them."""
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
        """Remember nothing of the journal."""
        self._journals.clear()
        self._broken.clear()

    async def take_over(self, series: Series, boxes: tuple[Box, ...]) -> bool:
        """Read on in the journal, and take over what tells more of the boxes; True if anything did."""
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
        """Read what came to the journal, and follow what was given up."""
        name, journal = series.name.lower(), self.journal(series)
        async with journal.reading:
            while True:
                async with self._database.transaction() as cursor:
                    entries, position = await tail(cursor, name, journal.space, journal.position)
                for number, entry in enumerate(entries, start=1):
                    if number % ROWS_AT_ONCE == 0:
                        await asyncio.sleep(0)  # a new server reads 1e5 rows, which takes some ten seconds
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
        """The rows that say more of the boxes than is known here, in order; what says nothing more is forgotten."""
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
        """A chunk that could not be used is tried again after a while, if it tells anything new then."""
        for number, each in tuple(self._broken.items()):
            if each.series == series.name.lower() and time.monotonic() > each.since + AGAIN:
                del self._broken[number]
                journal.entries[number] = each.entry

    async def unpublished(self, series: Series) -> list[Committed]:
        """What is held here, and the journal does not say."""
        while (journal := await self.read_on(series)) is not self.journal(series):
            pass  # records were taken away meanwhile
        held = [(Box(region, (Steps(s.lo, s.hi),)), s.checked_at) for region, spans in self._index.coverage(series) for s in spans]
        self.telling(series, [box for box, _ in held])
        return [
            Committed(series, tuple(parts), at)
            for box, at in held
            if at > 0.0 and (parts := lacking(journal.told, box, at - GRAIN))
        ]

    async def follow_from(self, series: Series, number: int) -> None:
        """What was given up before this row of the journal concerns nothing that is held here."""
        await self._state.put(GIVEN_UP + series.name.lower(), str(number), 0.0)

    # ---- one row ---------------------------------------------------------------------------------

    async def _absorb(self, series: Series, entry: Entry) -> None:
        """Take one row over; one whose object cannot be used is passed over for a while, and JSOC asked instead."""
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
                    await self._mark.insist()  # or the folder is not mounted, and all would seem to be gone
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
        """What came damaged may be whole the next time: something on the way may have cut it off."""
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
        """Records that were given up elsewhere are given up here too, once."""
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
