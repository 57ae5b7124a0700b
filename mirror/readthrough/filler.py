"""Fetches what is missing, once however many ask; ``rechecks`` checks what is old.

A *flight* is one box being fetched. Whoever needs a part of it waits for it, and only the rest is requested.
Flights run in tasks of their own: a client that hangs up does not stop one. Each chunk's records and coverage
are committed in one transaction, so a crash loses only what was not committed, and claims nothing.

A flight is never more than a chunk: where records end is found out first, and open ends are cut off. So whoever needs
a part of something large waits only for its chunk, and gets only the errors of that chunk. A person who needs little
of a chunk that is fetched in the background does not wait for it, but requests that little separately.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from mirror.concurrency import SingleFlight, cancel, to_the_end
from mirror.coverage.coverage import Box, Coverage, Freshness
from mirror.coverage.intervals import MAX
from mirror.coverage.plan import box_query
from mirror.errors import UpstreamRefused
from mirror.readthrough.chunks import SMALL, Backlog, Sizes, chunks, halves
from mirror.readthrough.rechecks import CHECK_FACTOR, Rechecks, split
from mirror.readthrough.shared import Alone
from mirror.storage.index.rows import fill_request
from mirror.upstream.budget import person
from mirror.upstream.pacing import Claim, Priority
from mirror.wire.rs_list import RsList

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from mirror.config.loading import Fill
    from mirror.drms.series import Series
    from mirror.readthrough.chunks import Extent
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.readthrough.shared import Shared
    from mirror.storage.index.index import Index
    from mirror.upstream.budget import Budget

#: A chunk fetched in the background is this many times smaller than one that people wait for: reading and keeping
#: it delays what people ask meanwhile, so it must not take long.
BACKGROUND = 10


@dataclass(slots=True, eq=False)
class _Flight:
    """A fetch under way: its box, what it will cover, the task to wait for, and how urgent it is.

    ``may_end``: only background work waits for it, so that it may be cancelled.
    """

    box: Box
    covers: Coverage
    task: asyncio.Task[int]
    claim: Claim
    may_end: bool = False


@dataclass(slots=True)
class Progress:
    """Fetches of one series since it last had none, at ``since``: how many there were, how many are done, for whom."""

    since: float
    total: int = 0
    done: int = 0
    who: dict[str, None] = field(default_factory=dict)  #: in the order in which they came; "" is the mirror itself

    def seconds_left(self, now: float) -> float | None:
        """The time left at the present rate; None if it is unknown."""
        return (now - self.since) / self.done * (self.total - self.done) if self.done and now > self.since else None


class Filler:
    """Fills and checks boxes of any series."""

    def __init__(
        self,
        index: Index,
        upstream: JsocInfo,
        rules: Rules,
        settings: Fill,
        *,
        queries: int = 2,
        budget: Budget | None = None,
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared or Alone()
        self._index = index
        self._upstream = upstream
        self._rules = rules
        self._settings = settings
        self._sizes = Sizes(upstream, settings)
        # One more than upstream answers at a time, so that it stays busy while one is kept.
        self._backlog = Backlog(queries + 1, settings.chunk_records, budget)
        self._checks = Rechecks(index, upstream, rules, settings, self._sizes, self._backlog, self._fetch_again)
        self._flights: dict[str, list[_Flight]] = {}
        self._capped: SingleFlight[str, int | None] = SingleFlight()
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

        What is already being fetched at a lower priority is raised to this one. ``freshness`` says how old
        checks of what is ``stale`` may be; None: as the rules say.
        """
        claim = Claim(priority)
        missing, stale = tuple(missing), tuple(stale)
        missing = [part for box in missing for part in await self._closed(series, box, claim)]
        room = await self._sizes.room(series, tuple(missing), claim)
        # Others may have fetched some of it during the count upstream.
        coverage, freshness = self._index.coverage(series), freshness or self._rules.freshness(series)
        gaps = tuple(gap for box in missing for gap in coverage.gaps(box))
        stale = tuple(old for box in stale for old in coverage.stale(box, freshness))
        waits = self._take_off(series, gaps, self._fetch, room, priority)
        light = self._sizes.slots(series) * CHECK_FACTOR
        check = partial(self._check, freshness=freshness)
        waits += self._take_off(series, stale, check, light, priority)
        await _all_finished(waits)

    async def fetch(self, series: Series, chunk: Box, priority: Priority) -> int:
        """Return when a box of at most a chunk of records is held; how many records had to be fetched.

        If the caller is cancelled, what nobody else waits for is no longer fetched.
        """
        before = {id(flight) for flight in self._flights.get(series.name.lower(), ())}
        gaps = self._index.coverage(series).gaps(chunk)
        flights = self._take_off(series, gaps, self._fetch, MAX, priority)
        own = [flight for flight in flights if id(flight) not in before]
        for flight in own:
            flight.may_end = True
        try:
            return await _all_finished(flights)
        except asyncio.CancelledError:
            for flight in own:
                self._abandon(series, flight)
            raise

    async def fetch_within(
        self, series: Series, missing: Iterable[Box], stale: Iterable[Box], most: int
    ) -> int | None:
        """Fetch and check boxes if that takes fewer than ``most`` records from upstream.

        How many it took; None if ``most`` did not suffice: something is still missing or unchecked.
        """
        taken = 0
        for box, look in (*((b, self._fetch_capped) for b in missing), *((b, self._check_capped) for b in stale)):
            took = await look(series, box, most - taken) if taken < most else None
            if took is None:
                return None
            taken += took
        return taken

    async def extent(self, series: Series, box: Box, priority: Priority) -> Extent:
        """How many records a box has upstream, and if that is more than a chunk, where they are.

        What lies beside them is then known to be empty. Refused for what cannot be fetched in parts.
        """
        asked_at = self._rules.timestamp()
        extent = await self._sizes.extent(series, box, Claim(priority))
        if extent.first is not None and extent.last is not None:
            outer = split(box, extent.first, extent.last)[1]
            if self._index.coverage(series).gaps(outer):
                # Kept, not confirmed: records that came by number may lie there, and are gone.
                await self._index.keep(series, RsList(0), complete=(outer,), checked_at=asked_at)
        return extent

    def background_records(self) -> int:
        """How many records are fetched at a time in the background."""
        return max(1, self._settings.chunk_records // BACKGROUND)

    async def size(self, series: Series, boxes: Iterable[Box]) -> float:
        """About how many records the boxes hold; upstream is asked if slots cannot tell."""
        return await self._sizes.size(series, boxes, Claim())

    def guess(self, series: Series, box: Box) -> float:
        """How many records a box may hold, estimated without asking."""
        return self._sizes.guess(series, box)

    def slots(self, series: Series) -> int:
        """How many axis values one request asks for, as presently estimated."""
        return self._sizes.slots(series)

    def progress(self) -> dict[str, Progress]:
        """The progress of each series with fetches under way, by lower-case name."""
        return {name: p for name, p in self._progress.items() if p.done < p.total}

    async def stop(self) -> None:
        """End all flights; what is committed stays."""
        tasks = [f.task for flights in self._flights.values() for f in flights]
        await cancel(*tasks)

    # ---- flights ---------------------------------------------------------------------------------

    async def _closed(self, series: Series, box: Box, claim: Claim) -> tuple[Box, ...]:
        """The part of a box that has records, with closed ends; a small box with open ends is left as it is."""
        if box.bounded:
            return (box,)
        extent = await self.extent(series, box, claim.priority)
        if extent.first is None or extent.last is None:
            return (box,)
        inner = split(box, extent.first, extent.last)[0]
        self._sizes.room_for(series, extent.count, inner.slots())
        return (inner,) if inner.steps else ()

    def _take_off(
        self,
        series: Series,
        boxes: Iterable[Box],
        fetch: Callable[[Series, Box, Claim], Coroutine[None, None, int]],
        slots: int,
        priority: Priority,
    ) -> list[_Flight]:
        """Start a flight for every part of the boxes that none covers yet; the flights to wait for."""
        name = series.name.lower()
        flights = self._flights.setdefault(name, [])
        waits: list[_Flight] = []
        for box in boxes:
            rest = [box]
            for flight in tuple(flights):
                left = [gap for piece in rest for gap in flight.covers.gaps(piece)]
                if left == rest or _better_apart(box, flight, priority):
                    continue
                flight.claim.raise_to(priority)
                flight.may_end = False
                self._progress[name].who[person()] = None
                waits.append(flight)
                rest = left
            parts = (part for piece in rest for part in chunks(piece, slots))
            for part, claim in ((part, Claim(priority)) for part in parts):
                waits.append(self._start(name, part, fetch(series, part, claim), claim))
        return waits

    def _start(
        self, name: str, box: Box, work: Coroutine[None, None, int], claim: Claim
    ) -> _Flight:
        covers = Coverage()
        covers.add(box, 0.0)
        flight, flights = _Flight(box, covers, asyncio.ensure_future(work), claim), self._flights[name]
        if not flights:
            self._progress[name] = Progress(self._rules.timestamp())
        flights.append(flight)
        progress = self._progress[name]
        progress.total += 1
        progress.who[person()] = None

        def landed(task: asyncio.Task[int]) -> None:
            if flight in flights:
                flights.remove(flight)
            progress.done += 1
            if not task.cancelled():
                task.exception()  # retrieved here, since everybody who waited may have gone

        flight.task.add_done_callback(landed)
        return flight

    def _abandon(self, series: Series, flight: _Flight) -> None:
        """End a flight that nobody else waits for; a write that has begun is finished."""
        if flight.may_end and not flight.task.done():
            self._flights[series.name.lower()].remove(flight)  # first: nobody may begin to wait for it
            flight.task.cancel()

    # ---- one box ---------------------------------------------------------------------------------

    async def _fetch(self, series: Series, box: Box, claim: Claim) -> int:
        """Fetch what is missing of a box of about a chunk; how many records had to be fetched."""
        # The place first: a fetch that waits for the budget must not make other mirrors wait for its flight.
        async with self._backlog.place(self._sizes.guess(series, box), claim):
            return await self._shared.fetch(series, box, lambda part: self._ask(series, part, claim)) or 0

    async def _fetch_again(self, series: Series, box: Box, claim: Claim) -> int:
        """Fetch a box of about a chunk again, although it is held; how many records it has."""
        async with self._backlog.place(self._sizes.guess(series, box), claim):
            return await self._ask(series, box, claim)

    async def _ask(self, series: Series, box: Box, claim: Claim) -> int:
        """The same, once there is a place for it."""
        try:
            return await self._ask_whole(series, box, claim)
        except UpstreamRefused:
            # The server says "series not found" if a set is too large: ask for less.
            parts = halves(box)
            if parts is None:
                raise
        return sum([await self._ask(series, part, claim) for part in parts])

    async def _ask_whole(self, series: Series, box: Box, claim: Claim) -> int:
        layout, asked_at = self._index.layout(series), self._rules.timestamp()
        answer = await self._upstream.rs_list(fill_request(layout, str(box_query(series, box))), claim)
        count, checked_at = answer.count, asked_at - answer.age
        keeping = self._index.keep(series, answer, complete=(box,), checked_at=checked_at)
        del answer  # it is large, and needed no longer than until it is converted
        await to_the_end(keeping)
        if box.bounded and count:
            self._sizes.learn(series, count / box.slots())
        return count

    async def _check(self, series: Series, box: Box, claim: Claim, *, freshness: Freshness) -> int:
        async def check(part: Box) -> int:
            await self._checks.check(series, part, claim)
            return 0

        await self._shared.check(series, box, freshness, check)
        return 0

    async def _fetch_capped(self, series: Series, box: Box, most: int) -> int | None:
        """Fetch a box of fewer than ``most`` records; of a larger box the first are kept, and None is returned."""
        key = f"{most} {box_query(series, box)}"
        return await self._capped.run(key, lambda: self._fetch_less(series, box, most))

    async def _fetch_less(self, series: Series, box: Box, most: int) -> int | None:
        return await self._shared.fetch(series, box, lambda part: self._ask_less(series, part, most))

    async def _ask_less(self, series: Series, box: Box, most: int) -> int | None:
        asked_at = self._rules.timestamp()
        request = fill_request(self._index.layout(series), str(box_query(series, box)), n=most)
        answer = await self._upstream.rs_list(request)
        whole = answer.count < most
        await self._index.keep(
            series, answer, complete=(box,) if whole else (), checked_at=asked_at - answer.age
        )
        if box.bounded and answer.count:
            self._sizes.learn(series, answer.count / box.slots())
        return answer.count if whole else None

    async def _check_capped(self, series: Series, box: Box, most: int) -> int | None:
        return await self._checks.check_within(series, box, most)


async def _all_finished(flights: Iterable[_Flight]) -> int:
    """Wait for flights, which go on if the caller is cancelled; their records, or the first error."""
    tasks = dict.fromkeys(flight.task for flight in flights)
    results = await asyncio.gather(*map(asyncio.shield, tasks), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return sum(result for result in results if not isinstance(result, BaseException))


def _better_apart(box: Box, flight: _Flight, priority: Priority) -> bool:
    """True if a person needs so little of a background flight that a separate request is quicker."""
    background = priority is Priority.PEOPLE and flight.claim.priority > Priority.PEOPLE
    return background and box.bounded and (not flight.box.bounded or box.slots() * SMALL <= flight.box.slots())
