"""Fetching what is missing, once however many ask, and checking what is old.

A *flight* is one box being fetched. Whoever needs a part of it waits for it; only the rest is asked
for. Flights run in tasks of their own: a client that hangs up does not stop one. Each chunk's records
and coverage are one transaction, so a crash loses only what was not committed, and claims nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.drms.axis import Kind, coverage_axis
from mirror.drms.coverage import Box, Coverage
from mirror.drms.errors import MirrorError, UpstreamBroken, UpstreamRefused
from mirror.drms.intervals import MAX, MIN, Steps
from mirror.drms.plan import RECNUMS, box_query
from mirror.drms.recordset import Bracket
from mirror.drms.times import parse_time
from mirror.engine.chunks import chunks, halves
from mirror.engine.singleflight import SingleFlight
from mirror.storage.batch import fill_request
from mirror.storage.sql import box_predicate
from mirror.wire.info import RsListRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from mirror.config import Fill
    from mirror.drms.series import Series
    from mirror.engine.policy import Rules
    from mirror.engine.upstream import Upstream
    from mirror.storage.index import Index

log = logging.getLogger(__name__)

#: Records a slot that a count may be off by, since it is an average.
HEADROOM = 1.25
#: No gap is so dense that fewer slots than this share of a chunk need counting first.
MOST_PER_SLOT = 8
#: A gap of more requests than this is counted even where the density is known: it may be sparse.
FEW_REQUESTS = 10
#: A check asks for record numbers only, which are this much lighter than whole records.
CHECK_FACTOR = 5


@dataclass(frozen=True, slots=True)
class _Flight:
    """A fetch under way: what it will cover, and the task to wait for."""

    covers: Coverage
    task: asyncio.Task[None]


@dataclass(slots=True)
class Progress:
    """Fetches of one series since none was under way: how many there were, and are done."""

    total: int = 0
    done: int = 0


class Filler:
    """Fills and checks boxes of any series."""

    def __init__(self, index: Index, upstream: Upstream, rules: Rules, settings: Fill) -> None:
        self._index = index
        self._upstream = upstream
        self._rules = rules
        self._settings = settings
        self._flights: dict[str, list[_Flight]] = {}
        self._background: dict[tuple[str, tuple[Box, ...]], asyncio.Task[None]] = {}
        self._density: dict[str, float] = {}
        self._progress: dict[str, Progress] = {}
        self._counts: SingleFlight[str, int] = SingleFlight()

    async def fill(self, series: Series, missing: Iterable[Box], stale: Iterable[Box] = ()) -> None:
        """Return when every record of the boxes is held and checked; raises UpstreamError otherwise."""
        room = await self._room(series, missing := tuple(missing))
        # Others may have fetched some of it while this was counted upstream.
        coverage, freshness = self._index.coverage(series), self._rules.freshness(series)
        missing = tuple(gap for box in missing for gap in coverage.gaps(box))
        stale = tuple(old for box in stale for old in coverage.stale(box, freshness))
        waits = self._take_off(series, missing, lambda box: self._fetch(series, box), room)
        light = self._slots(series) * CHECK_FACTOR
        waits |= self._take_off(series, stale, lambda box: self._check(series, box), light)
        results = await asyncio.gather(*map(asyncio.shield, waits), return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException):
                raise error

    def fill_later(self, series: Series, missing: tuple[Box, ...]) -> None:
        """Fill in the background, a chunk at a time, so that whoever needs a part can wait for just that."""
        key = (series.name.lower(), missing)
        if key not in self._background:
            task = asyncio.ensure_future(self._fill_slowly(series, missing))
            self._background[key] = task
            task.add_done_callback(lambda _: self._background.pop(key, None))

    async def size(self, series: Series, boxes: Iterable[Box]) -> float:
        """About how many records the boxes hold, asked from upstream where slots cannot tell."""
        boxes = tuple(boxes)
        density = self._density.get(series.name.lower())
        if density is not None and all(box.bounded for box in boxes):
            guess = sum(box.slots() for box in boxes) * density
            if guess <= self._settings.waiting_limit:
                return guess
        parts = [part for box in boxes for part in chunks(box, MAX)]
        return sum([await self._count(series, part) for part in parts])

    def progress(self) -> dict[str, Progress]:
        """The fetches of each series that has some under way, by lower-case name."""
        return {name: p for name, p in self._progress.items() if p.done < p.total}

    async def stop(self) -> None:
        """End everything that is under way; what is committed stays."""
        tasks = [f.task for flights in self._flights.values() for f in flights] + list(self._background.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- flights ---------------------------------------------------------------------------------

    def _take_off(
        self,
        series: Series,
        boxes: Iterable[Box],
        fetch: Callable[[Box], Coroutine[None, None, None]],
        slots: int,
    ) -> set[asyncio.Task[None]]:
        """Start a flight for every part of the boxes that none covers yet; the tasks to wait for."""
        name = series.name.lower()
        flights = self._flights.setdefault(name, [])
        waits: set[asyncio.Task[None]] = set()
        for box in boxes:
            rest = [box]
            for flight in flights:
                left = [gap for piece in rest for gap in flight.covers.gaps(piece)]
                if left != rest:
                    waits.add(flight.task)
                rest = left
            parts = (part for piece in rest for part in chunks(piece, slots))
            waits |= {self._start(name, part, fetch(part)) for part in parts}
        return waits

    def _start(self, name: str, box: Box, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        covers = Coverage()
        covers.add(box, 0.0)
        flight, flights = _Flight(covers, asyncio.ensure_future(work)), self._flights[name]
        if not flights:
            self._progress[name] = Progress()
        flights.append(flight)
        self._progress[name].total += 1

        def landed(task: asyncio.Task[None]) -> None:
            flights.remove(flight)
            self._progress[name].done += 1
            if not task.cancelled():
                task.exception()  # looked at here, since everybody who waited may have gone

        flight.task.add_done_callback(landed)
        return flight.task

    async def _fill_slowly(self, series: Series, missing: tuple[Box, ...]) -> None:
        try:
            for box in missing:
                room = await self._room(series, (box,))
                for part in [box] if not box.bounded else chunks(box, room):
                    # What somebody fetched in the meantime is not asked for again.
                    await self.fill(series, self._index.coverage(series).gaps(part))
        except MirrorError as error:
            log.warning("background fill ended series=%s error=%s", series.name, error)

    # ---- one box ---------------------------------------------------------------------------------

    async def _fetch(self, series: Series, box: Box) -> None:
        if not box.bounded:
            await self._fetch_open(series, box)
            return
        try:
            await self._fetch_whole(series, box)
        except UpstreamRefused:
            # The server says "series not found" when a set is too large: ask for less.
            parts = halves(box)
            if parts is None:
                raise
            for part in parts:
                await self._fetch(series, part)

    async def _fetch_whole(self, series: Series, box: Box) -> None:
        asked_at = self._rules.timestamp()
        layout = self._index.layout(series)
        answer = await self._upstream.rs_list(fill_request(layout, str(box_query(series, box))))
        await self._index.keep(series, answer, complete=(box,), checked_at=asked_at)
        if box.bounded and answer.count:
            self._learn_density(series, answer.count / box.slots())

    async def _fetch_open(self, series: Series, box: Box) -> None:
        """A box with open ends: whole if it is small, else between its first and last record."""
        asked_at = self._rules.timestamp()
        count = await self._count(series, box)
        if count <= self._settings.chunk_records:
            await self._fetch_whole(series, box)
            return
        first, last = await self._edge(series, box, "^"), await self._edge(series, box, "$")
        room = self._room_for(series, count, last - first + 1)
        inner = [cut for s in box.steps if (cut := s.cut(first, last))]
        for part in chunks(replace(box, steps=tuple(inner)), room):
            for gap in self._index.coverage(series).gaps(part):
                await self._fetch(series, gap)
        outer = [
            cut for s in box.steps for lo, hi in ((MIN, first - 1), (last + 1, MAX)) if (cut := s.cut(lo, hi))
        ]
        await self._index.confirm(series, (replace(box, steps=tuple(outer)),), asked_at)

    async def _edge(self, series: Series, box: Box, mark: str) -> int:
        """The first or last axis value among the records of a box, or beyond it by less than a second."""
        axis = coverage_axis(series)
        if axis is None:
            raise UpstreamBroken(f"{series.name} has no axis to cut a large request along")
        query = box_query(series, replace(box, steps=(Steps(MIN, MAX),)))
        ds = str(replace(query, filters=(*query.filters, Bracket(mark, axis.key))))
        answer = await self._upstream.rs_list(RsListRequest(ds, keys=(axis.column,), n=1))
        if not answer.count or not answer.keywords:
            raise UpstreamBroken(f"{ds}: no record, although rs_summary counts some")
        text = str(answer.keywords[0][1][0])
        if axis.kind is not Kind.MILLISECONDS:
            return int(text)
        return int(parse_time(text) * 1000) + (-1000 if mark == "^" else 1000)

    # ---- checks ----------------------------------------------------------------------------------

    async def _check(self, series: Series, box: Box) -> None:
        """Ask for the record numbers of a box; fetch it again only if they are not those held."""
        if box.region == RECNUMS:  # a record never changes under its number
            await self._index.confirm(series, (box,), self._rules.timestamp())
            return
        if box.region.all_versions:
            await self._fetch(series, box)
            return
        asked_at = self._rules.timestamp()
        request = RsListRequest(str(box_query(series, box)), keys=("*recnum*",))
        try:
            answer = await self._upstream.rs_list(request)
        except UpstreamRefused:
            await self._fetch(series, box)
            return
        theirs = set(map(int, answer.keywords[0][1])) if answer.count and answer.keywords else set()
        ours = await self._index.recnums(series, box_predicate(series, box))
        if theirs == ours:
            await self._index.confirm(series, (box,), asked_at)
        else:
            await self._fetch(series, box)

    # ---- sizes -----------------------------------------------------------------------------------

    async def _count(self, series: Series, box: Box) -> int:
        """How many records a box has upstream; asked once however many want to know."""
        ds = str(box_query(series, box))
        return await self._counts.run(ds, lambda: self._upstream.rs_summary(ds))

    async def _room(self, series: Series, missing: tuple[Box, ...]) -> int:
        """Axis values in one request for these gaps; where they would make many, their records are counted."""
        slots, usual = sum(box.slots() for box in missing if box.bounded), self._slots(series)
        few = FEW_REQUESTS if series.name.lower() in self._density else 1
        if slots <= usual * few:
            return usual
        sample = next(chunks(next(box for box in missing if box.bounded), MAX))
        return self._room_for(series, await self._count(series, sample), sample.slots())

    def _room_for(self, series: Series, count: int, slots: int) -> int:
        """Axis values in one request, where so many slots hold so many records."""
        if not count:
            return slots
        self._learn_density(series, count / slots * HEADROOM)
        return max(1, int(self._settings.chunk_records * slots / (count * HEADROOM)))

    def _slots(self, series: Series) -> int:
        """Axis values in one request."""
        density = self._density.get(series.name.lower(), MOST_PER_SLOT)
        return max(1, int(self._settings.chunk_records / density))

    def _learn_density(self, series: Series, density: float) -> None:
        """Remember the densest answer of late; sparse ones only lower it slowly."""
        name = series.name.lower()
        before = self._density.get(name, density)
        self._density[name] = max(density, before * 0.9, 1e-6)
