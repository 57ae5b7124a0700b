"""A synthetic series, as the simulator's core asks for it (``mirror.simulator.base.SeriesData``)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mirror.drms.recordset import RecordSet, Selection
from mirror.drms.series import Extent, Series
from mirror.simulator.base import Rows
from mirror.simulator.cells import record_names
from mirror.simulator.evaluate import select
from mirror.simulator.synthetic import selecting
from mirror.simulator.synthetic.design import Design
from mirror.simulator.synthetic.noise import Ints
from mirror.simulator.synthetic.rows import SyntheticRows
from mirror.simulator.synthetic.storage import unit_recnums


class SyntheticSeries:
    """The records of a design; new ones appear as the clock behind its population goes on."""

    def __init__(self, design: Design) -> None:
        self._design = design
        self._everything = Selection(design.blueprint.series, RecordSet(design.blueprint.series.name), ())
        self._known: tuple[int, Series] | None = None

    @property
    def structure(self) -> Series:
        """The structure with the extent of the moment."""
        end = self._design.population.bounds.stop
        if self._known is None or self._known[0] != end:
            series = replace(self._design.blueprint.series, extent=self._extent())
            self._known = (end, series)
        return self._known[1]

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:
        """The rows that the prime keys of a selection leave; Refused if they are absurdly many."""
        return SyntheticRows(self._design, self._recnums(selection, n))

    def print_format(self, keyword: str) -> str | None:
        """As the blueprint has it."""
        return self._design.blueprint.formats.get(keyword)

    def count(self, selection: Selection) -> int | None:
        """By arithmetic on slots, for selections by prime keys alone."""
        if self._design.listed:
            return None
        return selecting.count(selection, self._design.population, self._design.axes)

    def unit(self, sunum: int) -> Rows:
        """The records of a storage unit, by arithmetic on its number."""
        return SyntheticRows(self._design, unit_recnums(self._design, sunum))

    def _recnums(self, selection: Selection, n: int | None) -> Ints:
        n = None if self._design.listed else n
        return selecting.list_recnums(selection, self._design.population, self._design.axes, n)

    def _extent(self) -> Extent:
        highest = selecting.highest(self._design.population)
        if highest is None:
            return Extent()
        ends = [self._end(n) for n in (1, -1)]
        return Extent(*ends[0], *ends[1], max_recnum=highest)

    def _end(self, n: int) -> tuple[str, int]:
        """Name and number of the first (1) or last (-1) record."""
        rows = select(self._everything, self, n)
        (name,) = record_names(rows, self._design.blueprint.series)
        return name, int(rows.stored("recnum").values[0])


class ListedSeries:
    """A series that is listed and described, and holds no records here."""

    def __init__(self, design: Design) -> None:
        self._design = design

    @property
    def structure(self) -> Series:
        """The structure, without an extent."""
        return self._design.blueprint.series

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:  # noqa: ARG002
        """No rows."""
        return SyntheticRows(self._design, np.empty(0, dtype=np.int64))

    def print_format(self, keyword: str) -> str | None:
        """As the blueprint has it."""
        return self._design.blueprint.formats.get(keyword)

    def count(self, selection: Selection) -> int | None:  # noqa: ARG002
        """None at all."""
        return 0

    def unit(self, sunum: int) -> Rows:  # noqa: ARG002
        """No rows."""
        return SyntheticRows(self._design, np.empty(0, dtype=np.int64))
