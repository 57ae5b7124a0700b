"""Rechecks of what is held: by record numbers first, then only the records that changed.

JSOC is asked for the record numbers of a box. Records that are not held, or were kept before their series got another
keyword, are fetched by number, those that are gone become old versions, and the box counts as checked, all in one
transaction. If so much changed that fetching by number would cost more than the box, the box is fetched as if it
were missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.coverage.claims import with_edges
from mirror.coverage.conditions import can_be_cut
from mirror.coverage.coverage import Box
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS, box_query
from mirror.errors import UpstreamRefused
from mirror.readthrough.chunks import MAX_RANGES, chunks, halves
from mirror.storage.index.rows import fill_request
from mirror.storage.index.select_sql import box_predicate
from mirror.upstream.pacing import Claim
from mirror.upstream.verification import Question
from mirror.wire.info import RsListRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator

    from mirror.config.loading import Fill
    from mirror.drms.series import Series
    from mirror.readthrough.chunks import Backlog, Sizes
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.storage.index.index import Index
    from mirror.wire.rs_list import RsList

#: A check asks for record numbers only, which cost this many times less than whole records.
CHECK_FACTOR = 5
#: What a request costs upstream, in records of an answer.
REQUEST_COST = 500
#: Milliseconds around a span of plain times within which its records may be held.
EDGE = 3000


@dataclass(frozen=True, slots=True)
class Difference:
    """What a check found: record numbers that are not held, and held ones that are gone upstream."""

    new: frozenset[int]
    gone: frozenset[int]


def compare(ours: Collection[int], known: Collection[int], theirs: Collection[int]) -> Difference:
    """Compare: ``ours`` are held and certainly in the box; ``known`` are those of ``theirs`` held with all fields."""
    return Difference(frozenset(theirs) - frozenset(known), frozenset(ours) - frozenset(theirs))


def runs(numbers: Iterable[int]) -> Iterator[Steps]:
    """The numbers as ascending, maximal intervals."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None:
            first = last = number
        elif number <= last + 1:
            last = number
        else:
            yield Steps(first, last)
            first = last = number
    if first is not None and last is not None:
        yield Steps(first, last)


def by_number(new: Collection[int], there: int, chunk: int) -> tuple[Box, ...] | None:
    """The boxes of record numbers to fetch, or None if fetching the whole box of ``there`` records costs less.

    Never more than a chunk of changed records by number, since they are kept in one transaction.
    """
    if len(new) > chunk:
        return None
    ranges = tuple(runs(new))
    boxes = tuple(Box(RECNUMS, ranges[i : i + MAX_RANGES]) for i in range(0, len(ranges), MAX_RANGES))
    whole = there + REQUEST_COST * max(1, -(-there // chunk))
    return boxes if len(new) + REQUEST_COST * len(boxes) <= whole else None


class Rechecks:
    """Rechecks boxes of any series; ``fetch`` fetches a box as if it were missing."""

    def __init__(
        self,
        index: Index,
        upstream: JsocInfo,
        rules: Rules,
        settings: Fill,
        sizes: Sizes,
        backlog: Backlog,
        fetch: Callable[[Series, Box, Claim], Awaitable[object]],
    ) -> None:
        self._index = index
        self._upstream = upstream
        self._rules = rules
        self._chunk = settings.chunk_records
        self._sizes = sizes
        self._backlog = backlog
        self._fetch = fetch

    async def check(self, series: Series, box: Box, claim: Claim) -> None:
        """Return when the held box is as it is upstream; raises UpstreamError otherwise."""
        if box.region == RECNUMS:  # records never change under their numbers, but the series may get keywords
            if await self._index.lacking(series, box_predicate(series, box), all_versions=True):
                await self._fetch(series, box, claim)
            # What was removed meanwhile is not claimed again.
            elif not self._index.coverage(series).gaps(box):
                await self._index.confirm(series, (box,), self._rules.timestamp())
            return
        asked_at = self._rules.timestamp()
        try:
            theirs, age = await self._numbers(series, box, claim)
        except UpstreamRefused:
            await self._check_halves(series, box, claim)
            return
        if theirs is None:
            await self._check_open(series, box, claim)
        else:
            await self._settle(series, box, theirs, asked_at - age, claim)

    async def check_within(self, series: Series, box: Box, most: int) -> int | None:
        """As ``check``, if that takes fewer than ``most`` records from upstream; how many, None if it was not done."""
        claim = Claim()
        if box.region == RECNUMS:
            if box.slots() >= most:
                return None
            await self.check(series, box, claim)
            return box.slots()
        asked_at = self._rules.timestamp()
        # A record may be requested three times: as a number, as a change, and with its box if that changed again.
        theirs, age = await self._numbers(series, box, claim, max(1, most // 3))
        if theirs is None:
            return None
        await self._settle(series, box, theirs, asked_at - age, claim)
        return 3 * len(theirs)

    async def _numbers(
        self, series: Series, box: Box, claim: Claim, most: int | None = None
    ) -> tuple[frozenset[int] | None, float]:
        """The record numbers of a box upstream, and the age of that answer in seconds.

        None if there are ``most`` or more; without ``most``, if there are too many, as only open ends can have.
        """
        if most is None and not box.bounded:
            most = self._chunk * CHECK_FACTOR + 1
        request = RsListRequest(str(box_query(series, box)), keys=("*recnum*",), n=most)
        answer = await self._upstream.rs_list(request, claim)
        if not answer.count or not answer.keywords:
            return frozenset(), answer.age
        numbers = None if answer.count == most else frozenset(map(int, answer.keywords[0][1]))
        return numbers, answer.age

    async def _check_halves(self, series: Series, box: Box, claim: Claim) -> None:
        """Check a box with too many records for one answer, for which the server says "series not found"."""
        parts = halves(box)
        if not box.bounded:
            await self._check_open(series, box, claim)
        elif parts is None:
            await self._fetch(series, box, claim)
        else:
            for part in parts:
                await self.check(series, part, claim)

    async def _check_open(self, series: Series, box: Box, claim: Claim) -> None:
        """Check a large box with open ends, in parts between its first and last record."""
        asked_at = self._rules.timestamp()
        count = await self._sizes.count(series, box, claim)
        if not count:
            await self._settle(series, box, frozenset(), asked_at, claim)
            return
        first, last = await self._sizes.ends(series, box, count, claim)
        inner, outer = split(box, first, last)
        for part in chunks(inner, self._sizes.slots(series) * CHECK_FACTOR) if inner.steps else ():
            await self.check(series, part, claim)
        await self._settle(series, outer, frozenset(), asked_at, claim)

    async def _settle(
        self, series: Series, box: Box, theirs: frozenset[int], asked_at: float, claim: Claim
    ) -> None:
        """Make what is held of a box match these record numbers."""
        found = await self._compare(series, box, theirs)
        parts = by_number(found.new, len(theirs), self._chunk)
        if parts is not None:
            async with self._backlog.place(len(found.new), claim):
                answers = [await self._records(series, part, claim) for part in parts]
                # Verify the box, since they came by number: a list for another box would put its records into this one.
                inside = Question.of(fill_request(self._index.layout(series), str(box_query(series, box))), lambda _: series)
                for answer in answers:
                    inside.check(answer)
                if sum(answer.count for answer in answers) == len(found.new):
                    await self._index.amend(series, answers, box, gone=found.gone, checked_at=asked_at)
                    return
        # Much has changed, or something has changed again meanwhile.
        if not box.bounded and len(theirs) > self._chunk:
            await self._check_open(series, box, claim)
            return
        for part in chunks(box, self._sizes.slots(series)):
            await self._fetch(series, part, claim)

    async def _records(self, series: Series, numbers: Box, claim: Claim) -> RsList:
        layout = self._index.layout(series)
        return await self._upstream.rs_list(fill_request(layout, str(box_query(series, numbers))), claim)

    async def _compare(self, series: Series, box: Box, theirs: frozenset[int]) -> Difference:
        versions, predicate = box.region.all_versions, box_predicate(series, box)
        ours = await self._index.recnums(series, predicate, all_versions=versions)
        # Records held elsewhere are fetched again, to see whether they belong here: otherwise a list of other records
        # would be taken for this one. At the ends of a span of plain times more is held than is certain.
        near = predicate if can_be_cut(series) else box_predicate(series, with_edges(box, EDGE))
        known = await self._index.recnums(series, near, all_versions=versions)
        lacking = await self._index.lacking(series, near, all_versions=versions)
        return compare(ours, (ours | known) - lacking, theirs)


def split(box: Box, first: int, last: int) -> tuple[Box, Box]:
    """The parts of a box within ``first..last`` and beyond."""
    inner = [cut for s in box.steps if (cut := s.cut(first, last))]
    outer = [
        cut for s in box.steps for lo, hi in ((MIN, first - 1), (last + 1, MAX)) if (cut := s.cut(lo, hi))
    ]
    return replace(box, steps=tuple(inner)), replace(box, steps=tuple(outer))
