"""Withdraws claims of coverage: what is still certainly held once some records are gone. Pure.

A claim that cannot be cut exactly around those records is given up entirely at their steps: asking again costs a
request, while a wrong claim would give wrong answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.coverage.axis import coverage_axis
from mirror.coverage.coverage import Between, Box, Coverage, Region, Restriction
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
