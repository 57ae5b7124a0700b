"""Reprocessing on command: records get a new version, as when JSOC runs its pipeline again, or are withdrawn.

``Reprocessed`` stands between the core and a series, and adds the new versions to its rows: the same values under
record numbers above all others. Of withdrawn records it gives no version, and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mirror.drms.recordset import Extreme, FloatRange, IntRange, KeyFilter, RecnumFilter, RecordSet, Selection
from mirror.simulator.base import Column, SegmentCells
from mirror.simulator.cells import record_names
from mirror.simulator.evaluate import select

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mirror.drms.recordset import BoundFilter
    from mirror.drms.series import Extent, Series
    from mirror.simulator.base import Rows, SeriesData

T = TypeVar("T")

#: Record numbers reserved for new records of a series.
HEADWAY = 1_000_000
#: Powers of two up to which a range grows that looks for a record that is left.
_WIDEST = 40


class Reprocessed:
    """A series some of whose records were processed again (``mirror.simulator.base.SeriesData``)."""

    def __init__(self, data: SeriesData) -> None:
        self._data = data
        self._newer: list[Rows] = []
        self._highest = 0
        self._withdrawn: set[int] = set()
        self._ends: Extent | None = None  #: of what is left; None: not known yet

    @property
    def structure(self) -> Series:
        told = self._data.structure
        extent = self._left_extent(told) if self._withdrawn else told.extent
        if self._newer:
            extent = replace(extent, max_recnum=self._highest)
        return told if extent is told.extent else replace(told, extent=extent)

    def _left_extent(self, series: Series) -> Extent:
        """The first and the last record that are left."""
        if self._ends is None:
            every = Selection(series, RecordSet(series.name), ())
            (first, first_number), (last, last_number) = (_end(series, select(every, self, n)) for n in (1, -1))
            self._ends = replace(
                series.extent, first_record=first, first_recnum=first_number, last_record=last, last_recnum=last_number
            )
        return self._ends

    def process(self, rows: Rows) -> list[int]:
        """Give each of the rows a new version; returns their record numbers."""
        first = max(self._highest, self._data.structure.extent.max_recnum + HEADWAY) + 1
        numbers = list(range(first, first + len(rows)))
        if numbers:
            self._newer.append(_Renumbered(rows, np.array(numbers, dtype=np.int64)))
            self._highest = numbers[-1]
            self._ends = None
        return numbers

    def withdraw(self, rows: Rows) -> list[int]:
        """Have these rows no more; their record numbers."""
        numbers = [int(number) for number in rows.stored("recnum").values.tolist()]
        self._withdrawn.update(numbers)
        self._ends = None
        return numbers

    def _left(self, rows: Rows) -> Rows:
        if not self._withdrawn:
            return rows
        gone = np.isin(rows.stored("recnum").values, np.array(sorted(self._withdrawn), dtype=np.int64))
        return rows.take(np.flatnonzero(~gone)) if gone.any() else rows

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:
        if n is not None and self._withdrawn:
            n += len(self._withdrawn) if n > 0 else -len(self._withdrawn)
        wider = self._past_withdrawn(selection) if self._withdrawn else selection
        rows = self._data.candidates(wider, n if wider is selection else None)
        return self._left(_Joined([rows, *self._newer]) if self._newer else rows)

    def _past_withdrawn(self, selection: Selection) -> Selection:
        """A selection that includes the first or last record that is left, where all of its own are withdrawn."""
        rows = self._data.candidates(_keys_of(selection)) if any(map(_is_extreme, selection.filters)) else None
        if rows is None or not len(rows) or len(self._left(rows)):
            return selection
        return next(
            (wider for wider in _wider(selection, rows) if len(self._left(self._data.candidates(_keys_of(wider))))), selection
        )

    def print_format(self, keyword: str) -> str | None:
        return self._data.print_format(keyword)

    def count(self, selection: Selection) -> int | None:
        numbered = any(isinstance(each, RecnumFilter) for each in selection.filters)
        if self._withdrawn or (self._newer and (selection.all_versions or numbered)):
            return None
        return self._data.count(selection)

    def unit(self, sunum: int) -> Rows:
        rows = self._data.unit(sunum)
        mine = [part.take(np.flatnonzero(part.stored("sunum").values == sunum)) for part in self._newer]
        return self._left(_Joined([rows, *mine]) if mine else rows)


def _end(series: Series, rows: Rows) -> tuple[str, int]:
    """Name and number of the only row; those of no record if there is none."""
    if not len(rows):
        return "", -1
    (name,) = record_names(rows, series)
    return name, int(rows.stored("recnum").values[0])


def _is_extreme(each: BoundFilter) -> bool:
    return isinstance(each, KeyFilter) and any(isinstance(term, Extreme) for term in each.terms)


def _keys_of(selection: Selection) -> Selection:
    """The selection by prime keys alone."""
    return replace(selection, filters=tuple(each for each in selection.filters if isinstance(each, KeyFilter)))


def _wider(selection: Selection, rows: Rows) -> Iterator[Selection]:
    """Selections with more and more of what comes before the last record, or after the first, that ``rows`` have.

    The last ``[$]`` or ``[^]`` becomes a range, then the one before it too.
    """
    filters = list(selection.filters)
    for at in reversed(range(len(filters))):
        each = filters[at]
        extreme = next((t for t in each.terms if isinstance(t, Extreme)), None) if isinstance(each, KeyFilter) else None
        if extreme is None or not isinstance(each, KeyFilter):
            continue
        values = rows.stored(each.column.lower()).values
        if values.dtype.kind not in "if":
            continue
        end = values.max() if extreme.last else values.min()
        for power in range(0, _WIDEST, 2):
            filters[at] = replace(each, terms=(_range(end, 1 << power, last=extreme.last), *each.terms))
            yield replace(selection, filters=tuple(filters))


def _range(end: np.generic, length: int, *, last: bool) -> IntRange | FloatRange:
    """The values up to one, or from it on."""
    value = end.item()
    first, until = (value - length, value) if last else (value, value + length)
    return IntRange(first, until) if isinstance(value, int) else FloatRange(float(first), float(until))


@dataclass(frozen=True)
class _Renumbered:
    """Rows under other record numbers."""

    rows: Rows
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: NDArray[np.intp]) -> Rows:
        return _Renumbered(self.rows.take(positions), self.numbers[positions])

    def stored(self, column: str) -> Column:
        return Column(self.numbers) if column == "recnum" else self.rows.stored(column)

    def printed(self, keyword: str, precise: bool) -> Sequence[str]:
        return self.rows.printed(keyword, precise)

    def pseudo(self, name: str) -> Sequence[str]:
        return self.rows.pseudo(name)

    def segment(self, name: str) -> SegmentCells:
        return self.rows.segment(name)

    def link(self, name: str) -> Sequence[str]:
        return self.rows.link(name)


class _Joined:
    """Rows of several sources as one."""

    def __init__(self, parts: Sequence[Rows], order: NDArray[np.intp] | None = None) -> None:
        self._parts = parts
        self._order = order  #: positions in the concatenated parts; None: in order

    def __len__(self) -> int:
        return sum(map(len, self._parts)) if self._order is None else len(self._order)

    def take(self, positions: NDArray[np.intp]) -> Rows:
        return _Joined(*self._cut(positions if self._order is None else self._order[positions]))

    def stored(self, column: str) -> Column:
        cells = [part.stored(column) for part in self._parts]
        values = np.concatenate([c.values for c in cells])
        nulls = [np.zeros(len(c.values), dtype=bool) if c.null is None else c.null for c in cells]
        null = None if all(c.null is None for c in cells) else np.concatenate(nulls)
        if self._order is None:
            return Column(values, null)
        return Column(values[self._order], None if null is None else null[self._order])

    def printed(self, keyword: str, precise: bool) -> Sequence[str]:
        return self._each(lambda part: part.printed(keyword, precise))

    def pseudo(self, name: str) -> Sequence[str]:
        return self._each(lambda part: part.pseudo(name))

    def link(self, name: str) -> Sequence[str]:
        return self._each(lambda part: part.link(name))

    def segment(self, name: str) -> SegmentCells:
        cells = [part.segment(name) for part in self._parts]
        optional = [
            self._optional([getattr(c, what) for c in cells]) for what in ("cparms", "bzeros", "bscales")
        ]
        return SegmentCells(
            self._ordered([c.paths for c in cells]), self._ordered([c.dims for c in cells]), *optional
        )

    def _optional(self, columns: Sequence[Sequence[str | None] | None]) -> Sequence[str | None] | None:
        if all(column is None for column in columns):
            return None
        lengths = map(len, self._parts)
        return self._ordered([c or [None] * n for c, n in zip(columns, lengths, strict=True)])

    def _each(self, column: Callable[[Rows], Sequence[str]]) -> Sequence[str]:
        return self._ordered([column(part) for part in self._parts])

    def _ordered(self, columns: Sequence[Sequence[T]]) -> list[T]:
        values = [value for column in columns for value in column]
        return values if self._order is None else [values[at] for at in self._order.tolist()]

    def _cut(self, wanted: NDArray[np.intp]) -> tuple[Sequence[Rows], NDArray[np.intp]]:
        """The parts with only the wanted rows, and the new positions of these."""
        parts, start = [], 0
        order = np.empty(len(wanted), dtype=np.intp)
        made = 0
        for part in self._parts:
            mine = np.flatnonzero((wanted >= start) & (wanted < start + len(part)))
            parts.append(part.take(wanted[mine] - start))
            order[mine] = np.arange(made, made + len(mine))
            made, start = made + len(mine), start + len(part)
        return parts, order
