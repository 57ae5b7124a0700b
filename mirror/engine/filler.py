"""Fetching what is missing, once however many ask; what is old is looked after by ``checks``.

A *flight* is one box being fetched. Whoever needs a part of it waits for it; only the rest is asked
for. Flights run in tasks of their own: a client that hangs up does not stop one. Each chunk's records
and coverage are one transaction, so a crash loses only what was not committed, and claims nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.coverage import Box, Coverage, Freshness
from mirror.drms.errors import MirrorError, UpstreamRefused
from mirror.drms.plan import box_query
from mirror.engine.backlog import Backlog
from mirror.engine.checks import CHECK_FACTOR, Checks, split
from mirror.engine.chunks import chunks, halves
from mirror.engine.sizes import Sizes
from mirror.storage.batch import fill_request
from mirror.upstream.pacing import Claim, Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from mirror.config import Fill
    from mirror.drms.series import Series
    from mirror.engine.policy import Rules
    from mirror.engine.upstream import Upstream
    from mirror.storage.index import Index
    from mirror.upstream.budget import Budget

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Flight:
    """A fetch under way: what it will cover, the task to wait for, and how urgent it is."""

    covers: Coverage
    task: asyncio.Task[None]
    claim: Claim


@dataclass(slots=True)
class Progress:
    """Fetches of one series since none was under way: how many there were, and are done."""

    total: int = 0
    done: int = 0


class Filler:
    """Fills and checks boxes of any series."""

    def __init__(
        self,
        index: Index,
        upstream: Upstream,
        rules: Rules,
        settings: Fill,
        *,
        queries: int = 2,
        budget: Budget | None = None,
    ) -> None:
        self._index = index
        self._upstream = upstream
        self._rules = rules
        self._settings = settings
        self._sizes = Sizes(upstream, settings)
        # One answer more than upstream gives at a time, so that it has something to do while one is kept.
        self._backlog = Backlog(queries + 1, settings.chunk_records, budget)
        self._checks = Checks(index, upstream, rules, settings, self._sizes, self._backlog, self._fetch)
        self._flights: dict[str, list[_Flight]] = {}
        self._background: dict[tuple[str, tuple[Box, ...]], asyncio.Task[None]] = {}
        self._progress: dict[str, Progress] = {}

    async def fill(
        self,
        series: Series,
        missing: Iterable[Box],
        stale: Iterable[Box] = (),
        priority: Priority = Priority.PEOPLE,
        freshness: Freshness | None = None,
    ) -> None:
        """Return when every record of the boxes is held and checked; raises UpstreamError otherwise.

        What is being fetched already at a lower priority goes on at this one. ``freshness`` says how old
        the checks may be of what is ``stale``; None: as the rules say.
        """
        room = await self._sizes.room(series, missing := tuple(missing), Claim(priority))
        # Others may have fetched some of it while this was counted upstream.
        coverage, freshness = self._index.coverage(series), freshness or self._rules.freshness(series)
        missing = tuple(gap for box in missing for gap in coverage.gaps(box))
        stale = tuple(old for box in stale for old in coverage.stale(box, freshness))
        waits = self._take_off(series, missing, self._fetch, room, priority)
        light = self._sizes.slots(series) * CHECK_FACTOR
        waits |= self._take_off(series, stale, self._checks.check, light, priority)
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
        return await self._sizes.size(series, boxes, Claim())

    def slots(self, series: Series) -> int:
        """How many axis values one request asks for, as far as is known."""
        return self._sizes.slots(series)

    def progress(self) -> dict[str, Progress]:
        """The fetches of each series that has some under way, by lower-case name."""
        return {name: p for name, p in self._progress.items() if p.done < p.total}

    async def stop(self) -> None:
        """End everything that is under way; what is committed stays."""
        tasks = [f.task for flights in self._flights.values() for f in flights] + list(
            self._background.values()
        )
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- flights ---------------------------------------------------------------------------------

    def _take_off(
        self,
        series: Series,
        boxes: Iterable[Box],
        fetch: Callable[[Series, Box, Claim], Coroutine[None, None, None]],
        slots: int,
        priority: Priority,
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
                    flight.claim.raise_to(priority)
                    waits.add(flight.task)
                rest = left
            parts = (part for piece in rest for part in chunks(piece, slots))
            for part, claim in ((part, Claim(priority)) for part in parts):
                waits.add(self._start(name, part, fetch(series, part, claim), claim))
        return waits

    def _start(
        self, name: str, box: Box, work: Coroutine[None, None, None], claim: Claim
    ) -> asyncio.Task[None]:
        covers = Coverage()
        covers.add(box, 0.0)
        flight, flights = _Flight(covers, asyncio.ensure_future(work), claim), self._flights[name]
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
                room = await self._sizes.room(series, (box,), Claim(Priority.SUBSCRIPTION))
                for part in [box] if not box.bounded else chunks(box, room):
                    # What somebody fetched in the meantime is not asked for again.
                    gaps = self._index.coverage(series).gaps(part)
                    await self.fill(series, gaps, priority=Priority.SUBSCRIPTION)
        except MirrorError as error:
            log.warning("background fill ended series=%s error=%s", series.name, error)

    # ---- one box ---------------------------------------------------------------------------------

    async def _fetch(self, series: Series, box: Box, claim: Claim) -> None:
        if not box.bounded:
            await self._fetch_open(series, box, claim)
            return
        try:
            await self._fetch_whole(series, box, claim)
        except UpstreamRefused:
            # The server says "series not found" when a set is too large: ask for less.
            parts = halves(box)
            if parts is None:
                raise
            for part in parts:
                await self._fetch(series, part, claim)

    async def _fetch_whole(self, series: Series, box: Box, claim: Claim) -> None:
        layout = self._index.layout(series)
        async with self._backlog.place(self._sizes.guess(series, box), claim):
            asked_at = self._rules.timestamp()
            answer = await self._upstream.rs_list(fill_request(layout, str(box_query(series, box))), claim)
            await self._index.keep(series, answer, complete=(box,), checked_at=asked_at - answer.age)
        if box.bounded and answer.count:
            self._sizes.learn(series, answer.count / box.slots())

    async def _fetch_open(self, series: Series, box: Box, claim: Claim) -> None:
        """A box with open ends: whole if it is small, else between its first and last record."""
        asked_at = self._rules.timestamp()
        count = await self._sizes.count(series, box, claim)
        if count <= self._settings.chunk_records:
            await self._fetch_whole(series, box, claim)
            return
        first, last = await self._sizes.ends(series, box, claim)
        room = self._sizes.room_for(series, count, last - first + 1)
        inner, outer = split(box, first, last)
        for part in chunks(inner, room):
            for gap in self._index.coverage(series).gaps(part):
                await self._fetch(series, gap, claim)
        await self._index.confirm(series, (outer,), asked_at)
