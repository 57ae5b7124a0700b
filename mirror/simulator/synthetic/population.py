"""Which records a synthetic series has, and their numbers: arithmetic on slots, nothing is listed.

A series consists of *strands*. In a strand the slots of one key run from a first to a last, and all other prime keys
stay the same: the two cameras of hmi.M_720s, the seven wavelengths of aia.lev1_euv_12s, the thousands of HARPs. Strand,
slot and version of a record can be computed from its recnum, so the rows of an answer are made from recnums alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mirror.drms.calendar import LEAP_CLOCKS
from mirror.drms.recordset import FloatRange, IntRange, Term
from mirror.errors import Refused
from mirror.simulator.synthetic.noise import Floats, Ints, Mask, below, uniform

#: More rows than this are never listed; a real server would exceed its time limit.
MOST_ROWS = 20_000_000
_MANY = 100  # strands: so many do not have all their slots in common, and are listed one by one
_LEAP_CLOCKS = np.array(LEAP_CLOCKS)


class Span(NamedTuple):
    """Slots first, first + step, ... below ``stop``."""

    first: int
    stop: int
    step: int = 1

    def cut(self, first: int, stop: int) -> Span:
        """The part in first <= slot < stop; its ``first`` is a slot of the span."""
        skipped = max(0, -((self.first - first) // self.step))
        return Span(self.first + skipped * self.step, min(self.stop, stop), self.step)

    @property
    def slots(self) -> Ints:
        return np.arange(self.first, max(self.first, self.stop), self.step, dtype=np.int64)


def list_slots(spans: Iterable[Span]) -> Ints:
    """The slots of some spans, each once, ascending; Refused if there are far too many."""
    spans = list(spans)
    _refuse_above(sum(max(0, s.stop - s.first) // s.step for s in spans))
    parts = [span.slots for span in spans]
    if len(parts) == 1:
        return parts[0]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


def _refuse_above(count: int) -> None:
    if count > MOST_ROWS:
        raise Refused(f"{count} records to go through are too many for one query; narrow its prime keys")


class Stretches:
    """At most one stretch in each block of slots, by chance: where records are missing, or redone.

    ``share`` of the blocks have one, at most ``longest`` slots long. Blocks that meet one of the spans
    ``never`` have none, those that meet one of ``always`` are a stretch from end to end.
    """

    def __init__(
        self,
        stream: str,
        *,
        slots: tuple[int, int],
        block: int,
        share: float,
        longest: int,
        never: Iterable[tuple[int, int]] = (),
        always: Iterable[tuple[int, int]] = (),
    ) -> None:
        self._block, self._base = block, slots[0] // block
        numbers = np.arange(self._base, slots[1] // block + 2, dtype=np.int64)
        self._start = below(numbers, f"{stream} start", max(1, block - longest))
        self._length = 1 + below(numbers, f"{stream} length", longest)
        self._length[uniform(numbers, f"{stream} block") >= share] = 0
        for first, last in always:
            inside = self._blocks(first, last)
            self._start[inside], self._length[inside] = 0, block
        for first, last in never:
            self._length[self._blocks(first, last)] = 0
        self._before = np.concatenate([[0], np.cumsum(self._length)])

    def scaled(self, factor: int) -> Stretches:
        """The same for a grid with ``factor`` slots for each one of this."""
        finer = copy(self)
        for name in ("_block", "_start", "_length", "_before"):
            setattr(finer, name, getattr(self, name) * factor)
        return finer

    def _blocks(self, first: int, last: int) -> slice:
        low = max(0, first // self._block - self._base)
        return slice(low, max(low, last // self._block - self._base + 1))

    def holds(self, slots: Ints) -> Mask:
        """Whether each slot is in a stretch."""
        block, place = self._place(slots)
        start = self._start[block]
        return (place >= start) & (place < start + self._length[block])

    def before(self, slots: Ints) -> Ints:
        """How many slots below each one are in a stretch."""
        block, place = self._place(slots)
        here = np.clip(place - self._start[block], 0, self._length[block])
        return np.asarray(self._before[block] + here)

    def _place(self, slots: Ints) -> tuple[Ints, Ints]:
        block = np.clip(slots // self._block - self._base, 0, len(self._start) - 1)
        return block, slots - (block + self._base) * self._block


@dataclass(frozen=True)
class Strands:
    """Strand i has the slots first[i] <= slot < stop[i], every ``every``-th of them.

    ``keys``: the other prime keys by lower-case column, one value a strand, strands in ascending order.
    ``alike``: further columns that are the same all along a strand, which conditions may ask for.
    ``interleaved``: records are ordered by slot and then by strand, else by strand and then by slot.
    """

    first: Ints
    stop: Ints
    keys: Mapping[str, Ints]
    interleaved: bool
    every: int = 1
    alike: Mapping[str, Ints] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def columns(self) -> Mapping[str, Ints]:
        """Every column that is the same all along a strand."""
        return {**self.alike, **self.keys}


@dataclass(frozen=True)
class Population:
    """The records of a series: ``strands`` up to the slot ``end()``, without the slots of ``gaps``.

    Slots in ``redone`` hold two versions. Record numbers start at ``base``; the numbers of newer
    versions are ``generation`` higher.
    """

    strands: Strands
    gaps: Stretches
    end: Callable[[], int]
    redone: Stretches | None = None
    base: int = 1
    generation: int = 1 << 40
    _offsets: Ints = field(init=False)

    def __post_init__(self) -> None:
        lengths = self.strands.stop - self.strands.first
        object.__setattr__(self, "_offsets", np.concatenate([[0], np.cumsum(lengths)]))

    # ---- records and their numbers ---------------------------------------------------------------

    def recnums(self, strand: Ints, slot: Ints) -> Ints:
        """The numbers of the newest versions of some records."""
        old = self.first_recnums(strand, slot)
        return old if self.redone is None else old + self.generation * self.redone.holds(slot)

    def first_recnums(self, strand: Ints, slot: Ints) -> Ints:
        """The numbers of the first versions of some records."""
        if self.strands.interleaved:
            return self.base + (slot - self._origin) * len(self.strands) + strand
        return self.base + self._offsets[strand] + slot - self.strands.first[strand]

    def located(self, recnums: Ints) -> tuple[Ints, Ints, Mask]:
        """Strand, slot, and "is a newer version" of each number; see ``exist``."""
        newer = recnums - self.base >= self.generation
        number = recnums - self.base - self.generation * newer
        if self.strands.interleaved:
            strand = number % len(self.strands)
            return strand, number // len(self.strands) + self._origin, newer
        strand = np.clip(np.searchsorted(self._offsets, number, side="right") - 1, 0, len(self.strands) - 1)
        return strand, number - self._offsets[strand] + self.strands.first[strand], newer

    def exist(self, recnums: Ints) -> Mask:
        """Whether there is a record of each number."""
        strand, slot, newer = self.located(recnums)
        if self.redone is not None:
            newer = newer & ~self.redone.holds(slot)
        return np.asarray((recnums >= self.base) & self.present(strand, slot) & ~newer)

    def present(self, strand: Ints, slot: Ints) -> Mask:
        """Whether there is a record of each strand and slot."""
        first, stop = self.strands.first[strand], np.minimum(self.strands.stop[strand], self.end())
        inside = (slot >= first) & (slot < stop) & ((slot - first) % self.strands.every == 0)
        return np.asarray(inside & ~self.gaps.holds(slot))

    @property
    def _origin(self) -> int:
        return int(self.strands.first.min())

    @property
    def bounds(self) -> Span:
        """All slots that may have a record, gaps included."""
        return Span(self._origin, min(int(self.strands.stop.max()), self.end()))

    @property
    def number_spans(self) -> list[Span]:
        """All numbers that may be a record's, ascending."""
        first = Span(self.base, self.base + self._capacity)
        if self.redone is None:
            return [first]
        return [first, Span(first.first + self.generation, first.stop + self.generation)]

    @property
    def _capacity(self) -> int:
        if self.strands.interleaved:
            return max(0, self.bounds.stop - self._origin) * len(self.strands)
        begun = np.flatnonzero(self.strands.first < self.end())
        return int(self._offsets[begun[-1] + 1]) if len(begun) else 0

    # ---- counts and ends -------------------------------------------------------------------------

    def counts(self, strands: Ints, spans: list[Span]) -> Ints:
        """How many records each of the strands has within the spans, which must not overlap."""
        total = np.zeros(len(strands), dtype=np.int64)
        for span in spans:
            total += self._count(strands, span)
        return total

    def _count(self, strands: Ints, span: Span) -> Ints:
        if span.step != 1 or self.strands.every != 1:
            return self._count_one_by_one(strands, span)
        first = np.maximum(self.strands.first[strands], span.first)
        stop = np.minimum(np.minimum(self.strands.stop[strands], span.stop), self.end())
        stop = np.maximum(first, stop)
        return np.asarray(stop - first - (self.gaps.before(stop) - self.gaps.before(first)))

    def _count_one_by_one(self, strands: Ints, span: Span) -> Ints:
        inside = self.bounds
        slots = span.cut(inside.first, inside.stop).slots
        meeting = np.isin(strands, self._meeting(strands, slots))
        total = np.zeros(len(strands), dtype=np.int64)
        total[meeting] = [self.present(np.full(len(slots), s), slots).sum() for s in strands[meeting]]
        return total

    def outermost(self, strands: Ints, spans: list[Span], *, last: bool) -> int | None:
        """The last (first) slot of the spans at which one of the strands has a record."""
        found = [self._outermost(strands, span, last) for span in spans]
        slots = [slot for slot in found if slot is not None]
        return (max(slots) if last else min(slots)) if slots else None

    def _outermost(self, strands: Ints, span: Span, last: bool) -> int | None:
        """Searches ever longer ends of the span: gaps are short, but a span may begin before them."""
        inside = self.bounds
        slots = span.cut(inside.first, inside.stop)
        length = 4096 * slots.step
        while slots.first < slots.stop:
            tip = slots.cut(slots.stop - length, slots.stop) if last else slots.cut(0, slots.first + length)
            held = self._held(strands, tip.slots)
            if len(held):
                return int(held[-1] if last else held[0])
            slots = Span(slots.first, tip.first, slots.step) if last else slots.cut(tip.stop, slots.stop)
            length *= 8
        return None

    def _held(self, strands: Ints, slots: Ints) -> Ints:
        """Those of the ascending slots at which one of the strands has a record."""
        if self.strands.every != 1:
            some = np.zeros(len(slots), dtype=bool)
            for strand in self._meeting(strands, slots):
                some |= self.present(np.full(len(slots), strand), slots)
            return slots[some]
        change = np.zeros(len(slots) + 1, dtype=np.int64)
        np.add.at(change, np.searchsorted(slots, self.strands.first[strands]), 1)
        np.add.at(change, np.searchsorted(slots, self.strands.stop[strands]), -1)
        there = np.cumsum(change)[:-1] > 0
        return np.asarray(slots[there & (slots < self.end()) & ~self.gaps.holds(slots)])

    def _meeting(self, strands: Ints, slots: Ints) -> Ints:
        """The strands that may have one of the slots, or one between them."""
        if not len(slots):
            return strands[:0]
        first, last = slots.min(), slots.max()
        return np.asarray(
            strands[(self.strands.stop[strands] > first) & (self.strands.first[strands] <= last)]
        )

    # ---- listing ---------------------------------------------------------------------------------

    def list_records(self, strands: Ints, spans: list[Span]) -> tuple[Ints, Ints]:
        """Strand and slot of every record of the strands within the spans, in the order of the series."""
        if not len(strands):
            return strands, strands
        inside = self.bounds
        spans = [span.cut(inside.first, inside.stop) for span in spans]
        if self.strands.interleaved and len(strands) < _MANY:
            slots = list_slots(spans)
            _refuse_above(len(slots) * len(strands))
            slot, strand = np.repeat(slots, len(strands)), np.tile(strands, len(slots))
        else:
            strand, slot = self._list_by_strand(strands, spans)
            if self.strands.interleaved:
                order = np.lexsort((strand, slot))
                strand, slot = strand[order], slot[order]
        held = self.present(strand, slot)
        return strand[held], slot[held]

    def _list_by_strand(self, strands: Ints, spans: list[Span]) -> tuple[Ints, Ints]:
        edges = np.array([[span.first, span.stop - 1] for span in spans], dtype=np.int64)
        strands = self._meeting(strands, edges.ravel())
        ends = zip(strands.tolist(), self.strands.first[strands], self.strands.stop[strands], strict=True)
        lists = {s: list_slots(_cut_all(spans, int(first), int(stop))) for s, first, stop in ends}
        sizes = [len(slots) for slots in lists.values()]
        _refuse_above(sum(sizes))
        empty = np.empty(0, dtype=np.int64)
        return np.repeat(strands, sizes), np.concatenate([empty, *lists.values()])


def _cut_all(spans: list[Span], first: int, stop: int) -> list[Span]:
    cut = (span.cut(first, stop) for span in spans)
    return [span for span in cut if span.first < span.stop]


_MARGIN = 40  # exposures searched on either side of the expected one

#: The value of a key, never falling from one exposure to the next.
KeyOf = Callable[[Ints], Floats]


@dataclass(frozen=True)
class Line:
    """Exposures in cycles: exposure i is number i % len(offsets) of cycle i // len(offsets).

    ``start``: the time of cycle 0; ``period``: seconds per cycle; ``offsets``: when in a cycle, ascending.
    """

    start: float
    period: float
    offsets: Floats

    def times(self, exposures: Ints) -> Floats:
        """When each exposure is due."""
        cycle, place = np.divmod(exposures, len(self.offsets))
        # To a hundredth of a second, which is what is stored.
        return np.rint((self.start + cycle * self.period + self.offsets[place]) * 100.0) / 100.0

    def timing(self, _strand: Ints, exposures: Ints) -> tuple[Floats, Ints]:
        """The timing of a design: chance depends on the exposure."""
        return self.times(exposures), exposures

    def about(self, time: float) -> int:
        """An exposure within a cycle of a time."""
        return int((time - self.start) / self.period * len(self.offsets))


@dataclass(frozen=True)
class UtcGrid:
    """Times every ``step`` seconds of a clock that shows UTC; slot n is n steps after 1977.01.01_00:00:00."""

    step: float

    def times(self, slots: Ints) -> Floats:
        """Seconds of TAI: a leap second more with each one that the clock has passed."""
        clock = slots * self.step
        return np.asarray(clock + np.searchsorted(_LEAP_CLOCKS, clock, side="right"))

    def slots(self, times: Floats) -> Ints:
        """The slot at or before each time."""
        near = np.floor_divide(times, self.step).astype(np.int64)
        return near - (self.times(near) > times)

    def slot(self, time: float) -> int:
        """The slot at or before a time."""
        return int(self.slots(np.array([time]))[0])

    def timing(self, _strand: Ints, slots: Ints) -> tuple[Floats, Ints]:
        """The timing of a design: chance depends on the slot."""
        return self.times(slots), slots

    @property
    def axis(self) -> Grown:
        """The axis of a key with these times."""
        return Grown(Line(0.0, self.step, np.zeros(1)), self.times, lambda seconds: seconds)


@dataclass(frozen=True)
class Grown:
    """The axis of a key that grows along a line; ``to_time`` turns a value of the key into a time."""

    line: Line
    key_of: KeyOf
    to_time: Callable[[float], float]
    steps: bool = False

    def span(self, term: Term) -> Span | None:
        """The exposures whose key has a value of the term; steps are left to the evaluator."""
        if not isinstance(term, FloatRange | IntRange):
            return None
        beyond = isinstance(term, FloatRange) and term.open_end
        low = -(1 << 60) if term.first is None else self._first(float(term.first), beyond=False)
        high = 1 << 60 if term.last is None else self._first(float(term.last), beyond=not beyond)
        return Span(low, high)

    def _first(self, value: float, *, beyond: bool) -> int:
        """The first exposure whose key is at least (``beyond``: above) a value."""
        guess = self.line.about(self.to_time(value))
        margin = _MARGIN + 2 * len(self.line.offsets)
        near = np.arange(guess - margin, guess + margin, dtype=np.int64)
        return int(near[0]) + int(
            np.searchsorted(self.key_of(near), value, side="right" if beyond else "left")
        )
