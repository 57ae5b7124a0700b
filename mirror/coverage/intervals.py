"""Sets of integers as sorted closed intervals, and the moments at which each was last checked.

Coverage is made of these: integers are slots (or values of an integer prime key), ``MIN`` and ``MAX`` stand for
open ends. They are plain lists with ``bisect``: a general interval library was measured at ten to several
thousand times the cost.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIN = -(2**62)
MAX = 2**62
#: Seconds by which a check may be dated back so that spans can be joined.
GRAIN = 600.0


class Span(NamedTuple):
    """Integers ``lo..hi``, both included, known as of ``checked_at`` (Unix seconds)."""

    lo: int
    hi: int
    checked_at: float


class SpanMap:
    """Disjoint spans in ascending order; a later ``add`` replaces what it overlaps.

    Adjacent spans whose ``checked_at`` differ by at most ``grain`` seconds are joined, with the older
    time, so that many small fills do not leave many small spans.
    """

    def __init__(self, spans: Iterable[Span] = (), *, grain: float = GRAIN) -> None:
        self._grain = grain
        self._lo: list[int] = []
        self._hi: list[int] = []
        self._at: list[float] = []
        for span in spans:
            self.add(*span)

    def __iter__(self) -> Iterator[Span]:
        return map(Span, self._lo, self._hi, self._at)

    def __len__(self) -> int:
        return len(self._lo)

    def add(self, lo: int, hi: int, checked_at: float) -> None:
        """Cover ``lo..hi`` as of ``checked_at``, whatever was known there before."""
        if lo > hi:
            raise ValueError(f"span {lo}..{hi} is empty")
        first, last = self._touching(lo, hi)
        kept: list[Span] = []
        for i in range(first, last):
            kept += _outside(Span(self._lo[i], self._hi[i], self._at[i]), lo, hi)
        merged = self._joined(sorted([*kept, Span(lo, hi, checked_at)]))
        # Joining may have given a span an older time, with which it can be joined to the next one too.
        while first > 0 and self._are_one(self._at_index(first - 1), merged[0]):
            first -= 1
            merged = self._joined([self._at_index(first), *merged])
        while last < len(self._lo) and self._are_one(merged[-1], self._at_index(last)):
            merged = self._joined([*merged, self._at_index(last)])
            last += 1
        self._lo[first:last] = [s.lo for s in merged]
        self._hi[first:last] = [s.hi for s in merged]
        self._at[first:last] = [s.checked_at for s in merged]

    def remove(self, lo: int, hi: int) -> None:
        """Forget ``lo..hi``."""
        first, last = bisect_left(self._hi, lo), bisect_right(self._lo, hi)
        kept: list[Span] = []
        for i in range(first, last):
            kept += _outside(Span(self._lo[i], self._hi[i], self._at[i]), lo, hi)
        self._lo[first:last] = [s.lo for s in kept]
        self._hi[first:last] = [s.hi for s in kept]
        self._at[first:last] = [s.checked_at for s in kept]

    def within(self, lo: int, hi: int) -> Iterator[Span]:
        """The spans that overlap ``lo..hi``, cut to it."""
        for i in range(bisect_left(self._hi, lo), bisect_right(self._lo, hi)):
            yield Span(max(lo, self._lo[i]), min(hi, self._hi[i]), self._at[i])

    def gaps(self, lo: int, hi: int) -> Iterator[tuple[int, int]]:
        """The maximal intervals of ``lo..hi`` that no span covers, ascending."""
        at = lo
        for span in self.within(lo, hi):
            if at < span.lo:
                yield at, span.lo - 1
            at = span.hi + 1
        if at <= hi:
            yield at, hi

    def _touching(self, lo: int, hi: int) -> tuple[int, int]:
        """Index range of the spans that overlap ``lo..hi`` or lie directly beside it."""
        return bisect_left(self._hi, lo - 1), bisect_right(self._lo, hi + 1)

    def _at_index(self, i: int) -> Span:
        return Span(self._lo[i], self._hi[i], self._at[i])

    def _joined(self, spans: list[Span]) -> list[Span]:
        joined: list[Span] = []
        for span in spans:
            joined.append(span)
            while len(joined) > 1 and self._are_one(joined[-2], joined[-1]):
                after, before = joined.pop(), joined.pop()
                joined.append(Span(before.lo, after.hi, min(before.checked_at, after.checked_at)))
        return joined

    def _are_one(self, before: Span, after: Span) -> bool:
        return before.hi + 1 == after.lo and abs(before.checked_at - after.checked_at) <= self._grain


def _outside(span: Span, lo: int, hi: int) -> Iterator[Span]:
    """The parts of ``span`` before ``lo`` and after ``hi``."""
    if span.lo < lo:
        yield Span(span.lo, min(span.hi, lo - 1), span.checked_at)
    if span.hi > hi:
        yield Span(max(span.lo, hi + 1), span.hi, span.checked_at)


@dataclass(frozen=True, slots=True)
class Steps:
    """The integers ``lo, lo + step, ... <= hi``; a plain interval when ``step`` is 1."""

    lo: int
    hi: int
    step: int = 1

    def __len__(self) -> int:
        return max(0, (self.hi - self.lo) // self.step + 1)

    def __bool__(self) -> bool:
        """True if it has members; ``len`` would overflow with open ends."""
        return self.lo <= self.hi

    def cut(self, lo: int, hi: int) -> Steps | None:
        """The members within ``lo..hi``, or None."""
        first = self.lo if lo <= self.lo else self.lo + -(-(lo - self.lo) // self.step) * self.step
        last = min(self.hi, hi)
        if first > last:
            return None
        return Steps(first, first + (last - first) // self.step * self.step, self.step)

    def intervals(self) -> Iterator[tuple[int, int]]:
        """The members as maximal closed intervals."""
        if self.step == 1:
            yield self.lo, self.hi
        else:
            yield from ((x, x) for x in range(self.lo, self.hi + 1, self.step))
