"""Coverage as people look at it: days or hours in a row, each with how much of it is held. Pure.

Cells are of the TAI clock, as record sets name them: cell ``n`` of a width in seconds begins at ``n * width``
after 1977.01.01_TAI.
"""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mirror.coverage.axis import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from mirror.coverage.axis import Axis

    Counts = npt.NDArray[np.int64]

DAY, HOUR = 86400, 3600
_EPOCH = date(1977, 1, 1)
#: Longer runs of cells that are not held lie between two things that somebody wanted; shorter ones are gaps.
LONGEST_HOLE = 7
#: What a cell is.
FULL, PART, GAP, NONE = "f", "p", "g", "-"


def day_number(day: date) -> int:
    """The cell of a day."""
    return (day - _EPOCH).days


def bounds(axis: Axis, first: int, count: int, width: int) -> Counts | None:
    """The first axis value of each of ``count`` cells from ``first`` on, and the one after; None: no time axis."""
    starts = (first + np.arange(count + 1, dtype=np.float64)) * width
    if axis.kind is Kind.MILLISECONDS:
        return (starts * 1000).astype(np.int64)
    if axis.slots is None or not axis.slots.timed:
        return None
    # A slot that begins within a thousandth of its width before a cell does is meant to begin with it.
    return np.ceil((starts - axis.slots.epoch) / axis.slots.step - 1e-3).astype(np.int64)


def held_of(edges: Counts, spans: Iterable[tuple[int, int]]) -> Counts:
    """How many axis values of each cell lie in the union of ``spans``, whose both ends are included."""
    first, end = int(edges[0]), int(edges[-1])
    inside = sorted((max(lo, first), min(hi, end - 1)) for lo, hi in spans if hi >= first and lo < end)
    lows, highs = _united(inside)
    if not len(lows):
        return np.zeros(len(edges) - 1, dtype=np.int64)
    sums = np.concatenate(([0], np.cumsum(highs - lows)))
    before = np.searchsorted(lows, edges, side="left")
    over = np.where(before > 0, np.maximum(highs[before - 1] - edges, 0), 0)
    return np.diff(sums[before] - over)


def states(expected: Counts, held: Counts, touched: Counts, wanted: Sequence[bool]) -> str:
    """A letter a cell. ``held`` counts values with every record, ``touched`` those with some of them.

    A gap is a cell of which nothing is held, and that a subscription wants or that lies in a short hole.
    """
    full = (held >= expected) & (expected > 0)
    something = touched > 0
    gap = ~something & (np.asarray(wanted, dtype=bool) | _in_hole(something))
    letters = np.where(full, FULL, np.where(something, PART, np.where(gap, GAP, NONE)))
    return "".join(letters.tolist())


def _united(spans: Sequence[tuple[int, int]]) -> tuple[Counts, Counts]:
    """Disjoint spans in order, as first values and first values after."""
    lows: list[int] = []
    highs: list[int] = []
    for lo, hi in spans:
        if highs and lo <= highs[-1]:
            highs[-1] = max(highs[-1], hi + 1)
        else:
            lows.append(lo)
            highs.append(hi + 1)
    return np.asarray(lows, dtype=np.int64), np.asarray(highs, dtype=np.int64)


def _in_hole(something: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The cells between two that have something, not too far from each other."""
    hole = np.zeros(len(something), dtype=bool)
    places = np.flatnonzero(something)
    for left, right in pairwise(places.tolist()):
        if 1 < right - left <= LONGEST_HOLE + 1:
            hole[left + 1 : right] = True
    return hole
