"""Reprocessing on command: records get a new version, as when JSOC runs its pipeline again, or are withdrawn.

``Reprocessed`` stands between the core and a series, and adds the new versions to its rows: the same values under
record numbers above all others. Of withdrawn records it gives no version, and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mirror.drms.recordset import RecnumFilter
from mirror.simulator.base import Column, SegmentCells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.simulator.base import Rows, SeriesData

T = TypeVar("T")

#: Record numbers reserved for new records of a series.
HEADWAY = 1_000_000


class Reprocessed:
    """A series some of whose records were processed again (``mirror.simulator.base.SeriesData``)."""

    def __init__(self, data: SeriesData) -> None:
        self._data = data
        self._newer: list[Rows] = []
        self._highest = 0
        self._withdrawn: set[int] = set()

    @property
    def structure(self) -> Series:
        if not self._newer:
            return self._data.structure
        told = self._data.structure
        return replace(told, extent=replace(told.extent, max_recnum=self._highest))

    def process(self, rows: Rows) -> list[int]:
        """Give each of the rows a new version; returns their record numbers."""
        first = max(self._highest, self._data.structure.extent.max_recnum + HEADWAY) + 1
        numbers = list(range(first, first + len(rows)))
        if numbers:
            self._newer.append(_Renumbered(rows, np.array(numbers, dtype=np.int64)))
            self._highest = numbers[-1]
        return numbers

    def withdraw(self, rows: Rows) -> list[int]:
        """Have these rows no more; their record numbers. What ``[^]`` and ``[$]`` mean does not change by it."""
        numbers = [int(number) for number in rows.stored("recnum").values.tolist()]
        self._withdrawn.update(numbers)
        return numbers

    def _left(self, rows: Rows) -> Rows:
        if not self._withdrawn:
            return rows
        gone = np.isin(rows.stored("recnum").values, np.array(sorted(self._withdrawn), dtype=np.int64))
        return rows.take(np.flatnonzero(~gone)) if gone.any() else rows

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:
        if n is not None and self._withdrawn:
            n += len(self._withdrawn) if n > 0 else -len(self._withdrawn)
        rows = self._data.candidates(selection, n)
        return self._left(_Joined([rows, *self._newer]) if self._newer else rows)

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
