"""Units that an export has brought online: searches then see their files, on another disk.

``StagedSeries`` stands between the core and a series, and shows ``NoDataDirectory`` for files that are still
offline only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mirror.simulator.exports.owners import Owner
from mirror.simulator.exports.shelf import file_name
from mirror.wire.text import to_wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mirror.drms.recordset import Selection
    from mirror.drms.series import Segment, Series
    from mirror.simulator.base import Column, Rows, SegmentCells, SeriesData

OFFLINE = "NoDataDirectory"
_DISKS, _OTHER_DISK = 90, 37

#: Finds the owner of the file of a record, which is the only row, and of one of its segments.
FindOwner = Callable[["Series", "Rows", "Segment"], "Owner | None"]


def _nobody(series: Series, row: Rows, segment: Segment) -> Owner | None:
    return Owner(series, row, segment)


@dataclass
class Staging:
    """The numbers of the units that were brought online; ``find_owner`` is set once there is an archive."""

    units: set[int] = field(default_factory=set)
    find_owner: FindOwner = _nobody

    def directory(self, row: Rows) -> str | None:
        """Where the files of a record that came online lie, None if they did not."""
        sunum, place = (int(row.stored(name).values[0]) for name in ("sunum", "slotnum"))
        if sunum not in self.units:
            return None
        return f"/SUM{(sunum + _OTHER_DISK) % _DISKS}/D{sunum}/S{place:05d}"

    def path(self, series: Series, row: Rows, segment: Segment) -> str | None:
        """The path of a file that came online, None if it did not, or has no name."""
        owner = self.find_owner(series, row, segment)
        directory = owner and self.directory(owner.row)
        name = owner and file_name(owner.row, owner.series.segments.index(owner.segment))
        return f"{directory}/{name}" if directory and name else None


class StagedSeries:
    """A series after some units came online (``mirror.simulator.base.SeriesData``)."""

    def __init__(self, data: SeriesData, staging: Staging) -> None:
        self._data, self._staging = data, staging

    @property
    def structure(self) -> Series:
        return self._data.structure

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:
        return self._staged(self._data.candidates(selection, n))

    def print_format(self, keyword: str) -> str | None:
        return self._data.print_format(keyword)

    def count(self, selection: Selection) -> int | None:
        return self._data.count(selection)

    def unit(self, sunum: int) -> Rows:
        return self._staged(self._data.unit(sunum))

    def _staged(self, rows: Rows) -> Rows:
        return _StagedRows(rows, self._data.structure, self._staging) if self._staging.units else rows


class _StagedRows:
    """Rows whose files may have come online."""

    def __init__(self, rows: Rows, series: Series, staging: Staging) -> None:
        self._rows, self._series, self._staging = rows, series, staging

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, positions: NDArray[np.intp]) -> Rows:
        return _StagedRows(self._rows.take(positions), self._series, self._staging)

    def stored(self, column: str) -> Column:
        return self._rows.stored(column)

    def printed(self, keyword: str, precise: bool) -> Sequence[str]:
        return self._rows.printed(keyword, precise)

    def link(self, name: str) -> Sequence[str]:
        return self._rows.link(name)

    def pseudo(self, name: str) -> Sequence[str]:
        cells = self._rows.pseudo(name)
        if name == "*online*":
            return [cell if self._directory(at) is None else "Y" for at, cell in enumerate(cells)]
        if name == "*recdir*":
            return [self._recdir(at) if cell == OFFLINE else cell for at, cell in enumerate(cells)]
        return cells

    def _directory(self, at: int) -> str | None:
        return self._staging.directory(self._row(at))

    def _recdir(self, at: int) -> str:
        return to_wire(self._directory(at) or OFFLINE)

    def segment(self, name: str) -> SegmentCells:
        cells, segment = self._rows.segment(name), self._series.segment(name)
        if segment is None or OFFLINE not in cells.paths:
            return cells
        offline = [at for at, path in enumerate(cells.paths) if path == OFFLINE]
        staged = {at: self._staging.path(self._series, self._row(at), segment) for at in offline}
        return replace(cells, paths=[to_wire(staged.get(at) or path) if at in staged else path
                                     for at, path in enumerate(cells.paths)])  # fmt: skip

    def _row(self, at: int) -> Rows:
        return self._rows.take(np.array([at], dtype=np.intp))
