"""Which of one mirror's claims go along when records are carried to another. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mirror.coverage.coverage import Between, Box, Coverage, Freshness, Region, Restriction
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS

if TYPE_CHECKING:
    from collections.abc import Iterable

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
