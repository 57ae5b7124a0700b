"""The axis of a series: the prime key along which coverage is kept, as a line of integers.

It is the first slotted key, in slots; else the first time key, in milliseconds; else the first integer key. A
series without any of these is covered as a whole or not at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.drms.recordset import Bracket, FloatRange, IntRange
from mirror.drms.series import INTEGER_TYPES
from mirror.drms.slots import SlotAxis, slot_axis
from mirror.drms.times import format_time

if TYPE_CHECKING:
    from mirror.drms.recordset import Term
    from mirror.drms.series import Series

#: No slot is further from 0.
_BEYOND_INDEX = 10**12
#: The bits of each integer type.
_BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
#: Milliseconds by which a query for an unslotted time reaches beyond what it claims: a printed time has lost its
#: last digits, so that a record at the very end could be missed.
_MARGIN = 1
#: The years 1601 to 9999, in milliseconds: times that every server prints as dates.
_FIRST_MS, _LAST_MS = -11_865_398_400_000, 253_181_376_000_000
_SLOT_LIMITS = (-_BEYOND_INDEX, _BEYOND_INDEX)


class Kind(Enum):
    """What the integers of an axis are."""

    SLOTS = "slots"
    MILLISECONDS = "milliseconds"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: ``key`` is the prime key, ``column`` the database column with its integers.

    For a time key the column has seconds since 1977.01.01_TAI instead, as printed.
    """

    key: str
    column: str
    kind: Kind
    zone: str = ""  #: of the key's printed times
    slots: SlotAxis | None = None
    limits: tuple[int, int] = (MIN, MAX)  #: the smallest and the largest integer that the key can have

    def steps(self, term: Term) -> Steps:
        """The integers that a term of the key needs, rounded outwards; none (``lo > hi``) if no value satisfies it.

        Steps that reach a limit of the key are open there.
        """
        if isinstance(term, FloatRange):
            first = MIN if term.first is None else math.floor(term.first * 1000)
            last = MAX if term.last is None else math.ceil(term.last * 1000)
            return self.opened(Steps(first, max(first, last)))
        assert isinstance(term, IntRange), "^ and $ are resolved before anything is planned"
        if term.first is None or term.last is None:
            first, last = (MIN if term.first is None else term.first, MAX if term.last is None else term.last)
            return self.opened(Steps(first, last))
        last = term.first + (term.last - term.first) // term.step * term.step
        return self.opened(Steps(term.first, last, term.step if last > term.first else 1))

    def opened(self, steps: Steps) -> Steps:
        """The same steps, with an open end where they reach a limit of the key."""
        return opened(steps, self.limits)

    def bracket(self, steps: tuple[Steps, ...]) -> Bracket:
        """The bracket that asks for all of ``steps``; an open end becomes a value beyond any of the key's."""
        if self.kind is Kind.MILLISECONDS:
            return Bracket(",".join(map(self._times, steps)), self.key)
        return numbers_bracket(self.column, steps, self.limits)

    def _times(self, s: Steps) -> str:
        ends = (max(s.lo - _MARGIN, _FIRST_MS), min(s.hi + _MARGIN, _LAST_MS))
        return "-".join(format_time(end / 1000, "TAI", 3) for end in ends)

    def place(self, seconds: float) -> int | None:
        """The place of a time on the axis; None if it is not a time axis."""
        if self.kind is Kind.MILLISECONDS:
            return math.floor(seconds * 1000)
        return self.slots.slot(seconds) if self.slots is not None and self.slots.timed else None

    def text(self, value: int) -> str:
        """A place on the axis as the key prints it."""
        if self.kind is Kind.MILLISECONDS:
            return format_time(value / 1000, self.zone, 3)
        if self.slots is not None and self.slots.timed:
            return format_time(self.slots.start(value), self.zone, 0)
        return str(value)


def coverage_axis(series: Series) -> Axis | None:
    """The axis of a series, or None if it has none."""
    return series.derived("axis", lambda: _axis_of(series))


def _axis_of(series: Series) -> Axis | None:
    kinds: dict[Kind, Axis] = {}
    for prime in series.primekeys:
        keyword = series.keyword(prime.name)
        slots = slot_axis(series, prime.name) if prime.slotted else None
        if keyword is None:
            continue
        if slots is not None:
            return Axis(prime.name, slots.index, Kind.SLOTS, keyword.units, slots, _SLOT_LIMITS)
        if keyword.type == "time" and not prime.slotted:
            kinds.setdefault(Kind.MILLISECONDS, Axis(prime.name, prime.name, Kind.MILLISECONDS, keyword.units))
        if keyword.type in INTEGER_TYPES and not prime.slotted:
            limits = limits_of(series, prime.name)
            kinds.setdefault(Kind.NUMBERS, Axis(prime.name, prime.name, Kind.NUMBERS, limits=limits))
    return kinds.get(Kind.MILLISECONDS) or kinds.get(Kind.NUMBERS)


def limits_of(series: Series, key: str) -> tuple[int, int]:
    """The smallest and the largest integer that an integer key, or the slots of a slotted one, can have."""
    keyword = series.keyword(key)
    if slot_axis(series, key) is not None or keyword is None or keyword.type not in _BITS:
        return _SLOT_LIMITS
    half = 1 << (_BITS[keyword.type] - 1)
    return max(MIN, -half), min(MAX, half - 1)


def opened(steps: Steps, limits: tuple[int, int]) -> Steps:
    """Steps with an open end where they reach a limit; none, with ``lo > hi``, if they lie beyond one.

    Otherwise subtracting a range that ends at a limit would leave steps beyond all values, which cannot be asked for.
    """
    inside = steps.cut(*limits)
    if inside is None:
        return Steps(MAX, MIN)
    lo = MIN if inside.lo <= limits[0] and inside.step == 1 else inside.lo
    hi = MAX if inside.hi >= limits[1] and inside.step == 1 else inside.hi
    return Steps(lo, hi, inside.step if hi > lo else 1)


def key_bracket(series: Series, key: str, steps: Steps) -> Bracket:
    """``[KEY=a-b]`` for an integer key that is not the axis, or ``[X_index=a-b]`` for a slotted one."""
    slots = slot_axis(series, key)
    return numbers_bracket(slots.index if slots else key, (steps,), limits_of(series, key))


def numbers_bracket(column: str, steps: tuple[Steps, ...], limits: tuple[int, int]) -> Bracket:
    """``[column=a-b@k,...]``; an open end becomes the limit of the key.

    The forms with ``#`` have open ends, but no negative numbers.
    """
    closed = (Steps(max(s.lo, limits[0]), min(s.hi, limits[1]), s.step) for s in steps)
    return Bracket(",".join(map(_range_text, closed)), column)


def _range_text(s: Steps) -> str:
    return str(s.lo) if s.lo == s.hi else f"{s.lo}-{s.hi}" + (f"@{s.step}" if s.step > 1 else "")
