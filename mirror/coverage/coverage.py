"""Coverage: what the mirror holds completely, and what a query needs beyond that. Pure.

A series' prime keys span a space of integers: one of them is the *axis* (the slots of a slotted key, or an integer
key), the others restrict. A ``Box`` is a part of that space: steps along the axis, under a restriction of each
other key. Coverage is a set of boxes of which the mirror holds every record. A query needs boxes; what remains
after subtracting the coverage are gaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from mirror.coverage.intervals import MAX, MIN, Span, SpanMap, Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Between(NamedTuple):
    """An integer key within ``lo..hi``, both included."""

    lo: int
    hi: int


#: One key's restriction: None (any value), integers, or the exact text of another kind of value.
Restriction = Between | str | None

#: A subtraction that would leave more boxes than this is not made: fetching a few records again costs less than
#: many requests.
MAX_PIECES = 16


class Region(NamedTuple):
    """Where a span map applies: the restriction of each key but the axis, and which versions.

    ``all_versions`` coverage also vouches for records that newer versions have replaced.
    """

    others: tuple[Restriction, ...]
    all_versions: bool = False

    def covers(self, other: Region) -> bool:
        """True if every record of ``other`` lies in this region."""
        versions = self.all_versions or not other.all_versions
        return versions and all(map(_includes, self.others, other.others))


@dataclass(frozen=True, slots=True)
class Box:
    """Records of ``region`` whose axis value is among ``steps``."""

    region: Region
    steps: tuple[Steps, ...]

    @property
    def bounded(self) -> bool:
        """True if the axis is bounded at both ends."""
        return all(s.lo > MIN and s.hi < MAX for s in self.steps)

    def slots(self) -> int:
        """The number of its axis values."""
        return sum(map(len, self.steps))


#: Seconds by which a check may be dated in the future: clocks of two machines differ, but one a day off is wrong.
AHEAD = 86400.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a check may be, in seconds, before a span must be checked again.

    Axis values up to ``settled`` are old enough that they normally do not change any more. A check dated more than
    ``ahead`` seconds after ``now`` does not count: a clock was wrong.
    """

    now: float
    young_age: float
    settled_age: float
    settled: int
    ahead: float = AHEAD

    def stale(self, span: Span) -> Iterator[tuple[int, int]]:
        """The parts of ``span`` that must be checked again."""
        age = self.now - span.checked_at
        if age < -self.ahead:  # the date is wrong, and the true one unknown
            age = math.inf
        if age > self.settled_age and span.lo <= self.settled:
            yield span.lo, min(span.hi, self.settled)
        if age > self.young_age and span.hi > self.settled:
            yield max(span.lo, self.settled + 1), span.hi


class Coverage:
    """The boxes that one series holds; persisted by the index in the transaction of the records."""

    def __init__(self) -> None:
        self._maps: dict[Region, SpanMap] = {}

    def __iter__(self) -> Iterator[tuple[Region, SpanMap]]:
        return iter(self._maps.items())

    def add(self, box: Box, checked_at: float) -> None:
        """Note that everything in ``box`` is held, as of ``checked_at``."""
        spans = self._maps.setdefault(box.region, SpanMap())
        for steps in box.steps:
            for lo, hi in steps.intervals():
                spans.add(lo, hi, checked_at)

    def gaps(self, need: Box) -> list[Box]:
        """The parts of ``need`` that are not held."""
        return self._subtract(need, lambda spans: spans)

    def stale(self, need: Box, freshness: Freshness) -> list[Box]:
        """The parts of ``need`` that are held, but were checked too long ago."""
        held = [need]
        for gap in self.gaps(need):
            held = [rest for piece in held for rest in _minus(piece, gap.region, _as_spans(gap))]
        return [rest for box in held for rest in self._subtract(box, _only_fresh(box, freshness))]

    def is_fresh(self, need: Box, freshness: Freshness) -> bool:
        """True if a single region holds all between the ends of ``need``, checked recently enough.

        Nearly always one does, which is found out much sooner than that there are neither gaps nor stale parts.
        """
        return any(
            region.covers(need.region) and all(_is_fresh(spans, s.lo, s.hi, freshness) for s in need.steps)
            for region, spans in self._maps.items()
        )

    def redated(self, when: Callable[[float], float]) -> Coverage:
        """The same boxes, with ``when`` applied to the times of their checks."""
        coverage = Coverage()
        for region, spans in self:
            for span in spans:
                coverage.add(Box(region, (Steps(span.lo, span.hi),)), when(span.checked_at))
        return coverage

    def checked(self, need: Box) -> Iterator[float]:
        """The check times of the spans that hold a part of ``need``."""
        for region, spans in self._maps.items():
            if region.covers(need.region):
                for s in need.steps:
                    yield from (span.checked_at for span in spans.within(s.lo, s.hi))

    def _subtract(self, need: Box, view: Callable[[SpanMap], SpanMap]) -> list[Box]:
        covering = [(r, m) for r, m in self._maps.items() if r.covers(need.region)]
        whole = _minus_all([need], ((r, view(m)) for r, m in covering))
        if not whole:
            return []
        # Other regions only matter if they hold a part: [..][171] held, [..] asked.
        partial = ((r, view(m)) for r, m in self._maps.items() if _overlaps(r, need.region))
        pieces = whole
        for region, spans in partial:
            pieces = _minus_all(pieces, [(region, spans)])
            if len(pieces) > MAX_PIECES:
                return whole
        return pieces


def _is_fresh(spans: SpanMap, lo: int, hi: int, freshness: Freshness) -> bool:
    for span in spans.within(lo, hi):
        if span.lo > lo or next(freshness.stale(span), None) is not None:
            return False
        lo = span.hi + 1
    return lo > hi


def _includes(have: Restriction, want: Restriction) -> bool:
    if have is None or have == want:
        return True
    return (
        isinstance(have, Between) and isinstance(want, Between) and have.lo <= want.lo and want.hi <= have.hi
    )


def _overlaps(have: Region, want: Region) -> bool:
    """True if ``have`` covers only a part of ``want``, and that part can be cut out as boxes."""
    if have.covers(want) or (want.all_versions and not have.all_versions):
        return False
    return all(_includes(h, w) or _cuttable(h, w) for h, w in zip(have.others, want.others, strict=True))


def _cuttable(have: Restriction, want: Restriction) -> bool:
    if not isinstance(have, Between) or isinstance(want, str):
        return False
    wide = want if want is not None else Between(MIN, MAX)
    return have.lo <= wide.hi and wide.lo <= have.hi


def _minus_all(pieces: list[Box], regions: Iterable[tuple[Region, SpanMap]]) -> list[Box]:
    for region, spans in regions:
        pieces = [rest for piece in pieces for rest in _minus(piece, region, spans)]
        if not pieces:
            break
    return pieces


def _minus(piece: Box, region: Region, spans: SpanMap) -> list[Box]:
    """``piece`` without what ``region`` holds on ``spans``."""
    if region.covers(piece.region):
        steps = tuple(_uncovered(piece.steps, spans))
        return [replace(piece, steps=steps)] if steps else []
    touched = any(True for s in piece.steps for _ in spans.within(s.lo, s.hi))
    if not touched or not _overlaps(region, piece.region):
        return [piece]
    outside, inside = _split(piece, region)
    return outside + _minus(inside, region, spans)


def _uncovered(steps: Iterable[Steps], spans: SpanMap) -> Iterator[Steps]:
    for s in steps:
        for lo, hi in spans.gaps(s.lo, s.hi):
            if cut := s.cut(lo, hi):
                yield cut


def _split(piece: Box, region: Region) -> tuple[list[Box], Box]:
    """The parts of ``piece`` outside ``region`` in the first key that needs splitting, and the part within."""
    for i, (have, want) in enumerate(zip(region.others, piece.region.others, strict=True)):
        if _includes(have, want):
            continue
        assert isinstance(have, Between)
        assert not isinstance(want, str)
        wide = want if want is not None else Between(MIN, MAX)
        inner = Between(max(have.lo, wide.lo), min(have.hi, wide.hi))
        beside = [Between(wide.lo, inner.lo - 1), Between(inner.hi + 1, wide.hi)]
        return [_with(piece, i, b) for b in beside if b.lo <= b.hi], _with(piece, i, inner)
    raise AssertionError("a covering region needs no split")


def _with(box: Box, i: int, restriction: Restriction) -> Box:
    others = (*box.region.others[:i], restriction, *box.region.others[i + 1 :])
    return replace(box, region=box.region._replace(others=others))


def _as_spans(box: Box) -> SpanMap:
    return SpanMap(Span(lo, hi, 0.0) for s in box.steps for lo, hi in s.intervals())


def _only_fresh(box: Box, freshness: Freshness) -> Callable[[SpanMap], SpanMap]:
    """A view of a span map with only what is fresh, within the range of ``box``."""
    lo, hi = min(s.lo for s in box.steps), max(s.hi for s in box.steps)

    def view(spans: SpanMap) -> SpanMap:
        fresh = SpanMap(spans.within(lo, hi))
        for span in spans.within(lo, hi):
            for stale_lo, stale_hi in freshness.stale(span):
                fresh.remove(stale_lo, stale_hi)
        return fresh

    return view
