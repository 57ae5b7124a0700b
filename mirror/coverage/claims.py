"""Claims of coverage: withdrawn where records are gone, cut, and carried to another mirror. Pure.

A claim that cannot be cut exactly around those records is given up entirely at their steps: asking again costs a
request, while a wrong claim would give wrong answers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mirror.coverage.axis import coverage_axis
from mirror.coverage.coverage import Between, Box, Coverage, Freshness, Region, Restriction
from mirror.coverage.intervals import MAX, MIN, SpanMap, Steps
from mirror.coverage.plan import RECNUMS, other_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.coverage.intervals import Span
    from mirror.drms.series import Series


def without(coverage: Coverage, boxes: Iterable[Box]) -> Coverage:
    """``coverage`` without any claim on records of ``boxes``, of whichever versions."""
    left = coverage
    for box in boxes:
        left = _cut(left, box)
    return left


def whole(series: Series) -> Box:
    """The box of all records of a series, apart from claims by record number."""
    return Box(Region((None,) * len(other_keys(series))), (Steps(MIN, MAX),))


def at_places(series: Series, places: Iterable[tuple[int, int]]) -> Box:
    """The records within intervals of the axis, whatever their other keys; all records if there is no axis."""
    everything = whole(series)
    if coverage_axis(series) is None:
        return everything
    return Box(everything.region, tuple(runs_of(places)))


def numbered(recnums: Iterable[int]) -> Box:
    """The records with these numbers."""
    return Box(RECNUMS, tuple(runs_of((n, n) for n in recnums)))


def overlap(have: Region, gone: Region) -> bool:
    """True if a record of ``gone`` may lie in ``have``."""
    if (have == RECNUMS) != (gone == RECNUMS):
        return False
    return have == RECNUMS or all(map(_meet, have.others, gone.others))


def _cut(coverage: Coverage, box: Box) -> Coverage:
    left = Coverage()
    for region, spans in coverage:
        if not overlap(region, box.region):
            _add(left, region, spans)
            continue
        _add(left, region, _minus(spans, box.steps))
        for beside in _beside(region, box.region):
            _add(
                left,
                beside,
                [cut for s in box.steps for lo, hi in s.intervals() for cut in spans.within(lo, hi)],
            )
    return left


def _add(coverage: Coverage, region: Region, spans: Iterable[Span]) -> None:
    for span in spans:
        coverage.add(Box(region, (Steps(span.lo, span.hi),)), span.checked_at)


def _minus(spans: SpanMap, steps: Iterable[Steps]) -> SpanMap:
    left = SpanMap(spans)
    for s in steps:
        for lo, hi in s.intervals():
            left.remove(lo, hi)
    return left


def _beside(region: Region, gone: Region) -> Iterator[Region]:
    """The parts of ``region`` outside ``gone``, key by key; none once a key's values cannot be split."""
    if region == RECNUMS:
        return
    others = list(region.others)
    for i, (have, out) in enumerate(zip(region.others, gone.others, strict=True)):
        if out is None or have == out:
            continue
        if not isinstance(out, Between) or isinstance(have, str):
            return
        wide = have if have is not None else Between(MIN, MAX)
        for rest in (Between(wide.lo, out.lo - 1), Between(out.hi + 1, wide.hi)):
            if rest.lo <= rest.hi:
                yield region._replace(others=(*others[:i], rest, *others[i + 1 :]))
        others[i] = Between(max(wide.lo, out.lo), min(wide.hi, out.hi))


def _meet(have: Restriction, gone: Restriction) -> bool:
    if have is None or gone is None:
        return True
    if isinstance(have, Between) and isinstance(gone, Between):
        return have.lo <= gone.hi and gone.lo <= have.hi
    return have == gone or isinstance(have, Between) or isinstance(gone, Between)


def runs_of(intervals: Iterable[tuple[int, int]]) -> Iterator[Steps]:
    """The fewest intervals with the same members, ascending."""
    spans = SpanMap()
    for lo, hi in intervals:
        spans.add(lo, hi, 0.0)
    return (Steps(span.lo, span.hi) for span in spans)


# ---- what goes along to another mirror -----------------------------------------------------------

#: A box that is held completely, and when it was last checked (Unix seconds).
CoverageClaim = tuple[Box, float]

#: No value: two restrictions that exclude each other.
_NEITHER = Between(1, 0)


def held_parts(coverage: Coverage, boxes: Iterable[Box]) -> list[CoverageClaim]:
    """The held parts of ``boxes``, by time of check: where parts overlap, the last counts."""
    found = [
        (Box(region, (cut,)), span.checked_at)
        for box in boxes
        for have, spans in coverage
        if (region := both(have, box.region)) is not None
        for steps in box.steps
        for span in spans.within(steps.lo, steps.hi)
        if (cut := steps.cut(span.lo, span.hi))
    ]
    return sorted(dict.fromkeys(found), key=lambda claim: claim[1])


def both(one: Region, other: Region) -> Region | None:
    """The records that lie in both regions; None if none can."""
    if (one == RECNUMS) != (other == RECNUMS) or len(one.others) != len(other.others):
        return None
    others = tuple(map(_both, one.others, other.others))
    return None if _NEITHER in others else Region(others, one.all_versions and other.all_versions)


def _both(one: Restriction, other: Restriction) -> Restriction:
    if one is None or other is None or one == other:
        return other if one is None else one
    if isinstance(one, Between) and isinstance(other, Between):
        lo, hi = max(one.lo, other.lo), min(one.hi, other.hi)
        return Between(lo, hi) if lo <= hi else _NEITHER
    return _NEITHER


def split_by_age(coverage: Coverage, claims: Iterable[CoverageClaim]) -> tuple[list[CoverageClaim], list[Box]]:
    """Another mirror's claims that tell more than ``coverage``, and the parts where ours is at least as recent."""
    theirs: list[CoverageClaim] = []
    ours: list[Box] = []
    for box, checked_at in claims:
        before = Freshness(checked_at, 0.0, 0.0, MIN, ahead=math.inf)
        more = [*coverage.gaps(box), *coverage.stale(box, before)]
        fields = Coverage()
        for part in more:
            fields.add(part, checked_at)
        theirs += [(part, checked_at) for part in more]
        ours += fields.gaps(box)
    return theirs, ours


def with_edges(box: Box, by: int) -> Box:
    """The box with each of its spans extended by ``by`` at both ends, for rounded printed values."""
    wider = (Steps(s.lo if s.lo <= MIN else s.lo - by, s.hi if s.hi >= MAX else s.hi + by) for s in box.steps)
    return Box(box.region, tuple(wider))


def oldest_check(coverage: Coverage, boxes: Iterable[Box]) -> float | None:
    """The oldest last check of any part of ``boxes``; None if nothing is held."""
    boxes = tuple(boxes)
    for moment in sorted({checked_at for _, checked_at in held_parts(coverage, boxes)}):
        # A later check of a wider region may supersede this one.
        after = Freshness(math.nextafter(moment, math.inf), 0.0, 0.0, MAX, ahead=math.inf)
        if any(coverage.stale(box, after) for box in boxes):
            return moment
    return None
