"""How much one request asks for, and how many answers may wait to be kept.

``chunks`` and its neighbours cut gaps into requests of a good size; they are pure.

``Sizes`` estimates how many records a box has, and how many axis values one request may ask for. It learns from the
answers, and asks upstream if slots cannot tell.

``Backlog`` bounds the answers that are fetched but not yet kept, since the one writer is slower than upstream: those
of a large fill would otherwise all wait in memory. Small fetches need no place, so that a person's question does
not queue behind the chunks of a fill in the background.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.concurrency import SingleFlight
from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS, box_query
from mirror.drms.recordset import Bracket
from mirror.drms.times import parse_time
from mirror.errors import Refused, SyntaxProblem, UpstreamBroken
from mirror.upstream.budget import Need
from mirror.upstream.pacing import Claim, Turnstile
from mirror.upstream.verification import identifying
from mirror.wire.info import RsListRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from mirror.config.loading import Fill
    from mirror.coverage.coverage import Box
    from mirror.drms.series import Series
    from mirror.readthrough.policy import JsocInfo
    from mirror.upstream.budget import Budget
    from mirror.upstream.pacing import Claim


#: Ranges in one bracket; more would make the server's SQL long.
MAX_RANGES = 100


def chunks(box: Box, slots: int) -> Iterator[Box]:
    """The box in parts of at most ``slots`` axis values and ``MAX_RANGES`` ranges each, in order.

    A box with an open end stays whole: its slots cannot be counted.
    """
    if not box.bounded:
        yield box
        return
    part: list[Steps] = []
    room = slots
    for steps in box.steps:
        rest: Steps | None = steps
        while rest is not None:
            head, rest = _head(rest, room)
            part.append(head)
            room -= len(head)
            if room == 0 or len(part) == MAX_RANGES:
                yield replace(box, steps=tuple(part))
                part, room = [], slots
    if part:
        yield replace(box, steps=tuple(part))


def head_and_rest(box: Box, slots: int) -> tuple[Box, Box | None]:
    """The first chunk of a box, and what is left (None: nothing)."""
    head = next(chunks(box, slots))
    if not box.bounded:
        return head, None
    whole = len(head.steps) - 1  # its last range may be only the beginning of one
    last, steps = head.steps[-1], box.steps[whole:]
    _, cut = _head(steps[0], len(last))
    rest = ((cut,) if cut else ()) + steps[1:]
    return head, replace(box, steps=rest) if rest else None


def halves(box: Box) -> tuple[Box, Box] | None:
    """The box in two halves; None if it is a single slot or has an open end."""
    if not box.bounded or box.slots() < 2:
        return None
    parts = tuple(chunks(box, -(-box.slots() // 2)))
    first, rest = parts[0], parts[1:]
    return first, replace(box, steps=tuple(s for part in rest for s in part.steps))


def _head(steps: Steps, room: int) -> tuple[Steps, Steps | None]:
    if len(steps) <= room:
        return steps, None
    last = steps.lo + (room - 1) * steps.step
    return replace(steps, hi=last), replace(steps, lo=last + steps.step)


#: Factor by which records per slot may exceed a count, which is an average.
HEADROOM = 1.25
#: Records per slot that are assumed until a series' density is known; few series are denser.
MOST_PER_SLOT = 8
#: A gap of more requests than this is counted even if the density is known: it may be sparse.
FEW_REQUESTS = 10


@dataclass(frozen=True, slots=True)
class Extent:
    """How many records a box has upstream, and between which axis values (None: nobody needed to know)."""

    count: int
    first: int | None = None
    last: int | None = None


class Sizes:
    """The density of each series, in records per axis value, and counts of larger boxes."""

    def __init__(self, upstream: JsocInfo, settings: Fill) -> None:
        self._upstream = upstream
        self._settings = settings
        self._density: dict[str, float] = {}
        self._counts: SingleFlight[str, int] = SingleFlight()
        self._extents: SingleFlight[str, Extent] = SingleFlight()

    async def size(self, series: Series, boxes: Iterable[Box], claim: Claim) -> float:
        """About how many records the boxes hold; upstream is asked if slots cannot tell."""
        boxes = tuple(boxes)
        if series.name.lower() in self._density and all(box.bounded for box in boxes):
            guess = sum(self.guess(series, box) for box in boxes)
            if guess <= self._settings.waiting_limit:
                return guess
        parts = [part for box in boxes for part in chunks(box, MAX)]
        return sum([await self.count(series, part, claim) for part in parts])

    def guess(self, series: Series, box: Box) -> float:
        """How many records a box may hold, estimated without asking; a chunk for one with open ends."""
        if not box.bounded:
            return self._settings.chunk_records
        return box.slots() * self._density.get(series.name.lower(), MOST_PER_SLOT)

    async def count(self, series: Series, box: Box, claim: Claim) -> int:
        """How many records a box has upstream; asked once, however many want to know."""
        ds = str(box_query(series, box))
        # Per priority: people must not wait for a count that a subscription has queued.
        key = f"{claim.priority:d} {ds}"
        return await self._counts.run(key, lambda: self._upstream.rs_summary(ds, claim))

    async def room(self, series: Series, missing: tuple[Box, ...], claim: Claim) -> int:
        """Axis values in one request for these gaps; if there would be many requests, records are counted first."""
        slots, usual = sum(box.slots() for box in missing if box.bounded), self.slots(series)
        few = FEW_REQUESTS if series.name.lower() in self._density else 1
        if slots <= usual * few:
            return usual
        sample = next(chunks(next(box for box in missing if box.bounded), MAX))
        return self.room_for(series, await self.count(series, sample, claim), sample.slots())

    def room_for(self, series: Series, count: int, slots: int) -> int:
        """Axis values in one request, if ``slots`` slots have ``count`` records."""
        if not count:
            return slots
        self.learn(series, count / slots * HEADROOM)
        return max(1, int(self._settings.chunk_records * slots / (count * HEADROOM)))

    def slots(self, series: Series) -> int:
        """Axis values in one request."""
        density = self._density.get(series.name.lower(), MOST_PER_SLOT)
        return max(1, int(self._settings.chunk_records / density))

    def learn(self, series: Series, density: float) -> None:
        """Remember the densest recent answer; sparse ones lower it only slowly."""
        name = series.name.lower()
        before = self._density.get(name, density)
        self._density[name] = max(density, before * 0.9, 1e-6)

    async def extent(self, series: Series, box: Box, claim: Claim) -> Extent:
        """The size of a box; if it has more than a chunk of records, also where they lie on the axis.

        Refused for such a box of a series without an axis: it could only be fetched in one piece.
        """
        key = f"{claim.priority:d} {box_query(series, box)}"
        return await self._extents.run(key, lambda: self._extent(series, box, claim))

    async def _extent(self, series: Series, box: Box, claim: Claim) -> Extent:
        count = await self.count(series, box, claim)
        if count <= self._settings.chunk_records or box.region == RECNUMS:
            return Extent(count)
        if coverage_axis(series) is None:
            raise Refused(
                f"{series.name} has {count:,} records and no prime key along which they can be fetched in parts; "
                f"expected a series of at most {self._settings.chunk_records:,}"
            )
        return Extent(count, *await self.ends(series, box, count, claim))

    async def ends(self, series: Series, box: Box, count: int, claim: Claim) -> tuple[int, int]:
        """The axis values between which all ``count`` records of a box lie, according to upstream.

        UpstreamBroken if rs_summary counts fewer records between them than in the box.
        """
        first = await self._edge(series, box, "^", claim)
        last = await self._edge(series, box, "$", claim)
        inner = tuple(cut for s in box.steps if (cut := s.cut(first, last)))
        found = await self.count(series, replace(box, steps=inner), claim) if inner else 0
        if found < count:
            raise UpstreamBroken(
                f"{box_query(series, box)} has {count:,} records by rs_summary, but {found:,} between its first and last"
            )
        return first, last

    async def _edge(self, series: Series, box: Box, mark: str, claim: Claim) -> int:
        """The first or last axis value of a box's records, or a value beyond it by less than a second."""
        axis = coverage_axis(series)
        if axis is None:
            raise UpstreamBroken(f"{series.name} has no axis to cut a large request along")
        query = box_query(series, replace(box, steps=(Steps(MIN, MAX),)))
        ds = str(replace(query, filters=(*query.filters, Bracket(mark, axis.key))))
        # The other keys are requested too, to verify that they are those of the box.
        keys = dict.fromkeys((axis.column, *identifying(series)))
        answer = await self._upstream.rs_list(RsListRequest(ds, keys=tuple(keys), n=1), claim)
        if not answer.count or not answer.keywords:
            raise UpstreamBroken(f"{ds}: no record, although rs_summary counts some")
        text = str(answer.keywords[0][1][0])
        try:
            if axis.kind is not Kind.MILLISECONDS:
                return int(text)
            return int(parse_time(text) * 1000) + (-1000 if mark == "^" else 1000)
        except (ValueError, SyntaxProblem) as problem:
            raise UpstreamBroken(f"{ds}: {axis.column} = {text[:60]!r}") from problem


#: A fetch is small up to a chunk divided by this.
SMALL = 10


class Backlog:
    """Lets ``places`` large fetches run at a time, from their request to their commit."""

    def __init__(self, places: int, chunk_records: int, budget: Budget | None = None) -> None:
        self._budget = budget
        self._turnstile = Turnstile(places)
        self._small = chunk_records / SMALL

    @asynccontextmanager
    async def place(self, records: float, claim: Claim) -> AsyncIterator[None]:
        """A place for a fetch of about so many records; never requested while holding one.

        A fetch waits for the budget before it gets a place: otherwise it might keep others from theirs for an hour.
        """
        turn = nullcontext() if self._budget is None else self._budget.turn(claim, Need(round(records)))
        async with turn, self._of_large(records, claim):
            yield

    @asynccontextmanager
    async def _of_large(self, records: float, claim: Claim) -> AsyncIterator[None]:
        if records <= self._small:
            yield
            return
        async with self._turnstile.turn(claim):
            yield
