"""Slots of real series, and which of them a record set picks: the parser and the binding of the mirror say it."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.drms.parser import parse_query
from mirror.drms.recordset import IntRange, KeyFilter
from mirror.drms.selection import bind
from mirror.drms.series import Series
from mirror.drms.slots import SlotAxis, slot_axis
from mirror.drms.times import format_time, parse_time
from mirror.simulator.synthetic.structure import load


@dataclass(frozen=True)
class Axis:
    """A row of neighbouring slots of a series."""

    series: Series
    axis: SlotAxis
    slots: range

    @property
    def step(self) -> float:
        """Seconds from one slot to the next."""
        return self.axis.step

    def picked(self, query: str) -> set[int]:
        """The slots of this row that a record set picks."""
        return self._matching(query, self.axis.key, self.slots)

    def cells(self, query: str, values: tuple[int, ...]) -> set[tuple[int, int]]:
        """Slot and value of the second prime key, for each pair that a record set picks."""
        second = self.series.primekeys[1].name
        return {(s, v) for s in self.picked(query) for v in self._matching(query, second, values)}

    def _matching(self, query: str, key: str, values: range | tuple[int, ...]) -> set[int]:
        bound = bind(parse_query(query).sets[0], self.series)
        found = set(values)
        for part in bound.filters:
            if isinstance(part, KeyFilter) and part.key == key:
                found &= {
                    v for v in found for term in part.terms if isinstance(term, IntRange) and _has(term, v)
                }
        return found

    def place(self, moment: str) -> float:
        """Where a time lies in the row, in slots from the middle of its first."""
        return (parse_time(moment) - self.axis.start(self.slots[0])) / self.step

    def clock(self, slot: int, *, seconds: bool = False) -> str:
        """The time of a slot, as 06:00, or 06:00:45 where steps are short."""
        told = format_time(self.axis.start(slot), "TAI").split("_")[1]
        return told if seconds or self.step < 60 else told[:5]


def _has(term: IntRange, value: int) -> bool:
    first = value if term.first is None else term.first
    last = value if term.last is None else term.last
    return first <= value <= last and (value - first) % term.step == 0


def row(series: str, start: str, length: int) -> Axis:
    """So many slots of a series that the simulator has, from a time on."""
    structure = load(series).series
    axis = slot_axis(structure, "T_REC")
    assert axis is not None
    first = axis.slot(parse_time(start))
    return Axis(structure, axis, range(first, first + length))
