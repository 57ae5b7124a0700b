"""A synthetic series, its rows, and where their files lie, by the protocol of ``mirror.simulator.base``.

Files lie in storage units, on disks, some of them not online.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mirror.drms.recordset import RecordSet, Selection
from mirror.drms.series import Extent, Keyword, Link, Segment, Series
from mirror.errors import UnknownName
from mirror.simulator.base import Column, Rows, SegmentCells
from mirror.simulator.cells import record_names
from mirror.simulator.evaluate import select
from mirror.simulator.synthetic import selecting
from mirror.simulator.synthetic.columns import Frame, Pins, texts
from mirror.simulator.synthetic.design import Design
from mirror.simulator.synthetic.noise import Ints, Mask, Values, below, uniform
from mirror.simulator.synthetic.printing import print_column, print_times
from mirror.wire.text import to_wire

_LINKED = "link via "
_NO_DIRECTORY = "NoDataDirectory"
_DISKS = 90
_HIGHEST = 1 << 40  #: above every record's number
_OFFLINE = 0.01  #: share of units that are on tape only
_MEGABYTES = 16  # of a storage unit's slot, roughly


# ---- storage -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Units:
    """The storage units of some records: number, disk, and the record's place in it."""

    sunum: Ints
    disk: Ints
    place: Ints
    online: Mask

    def directories(self) -> Values:
        """Wire text of ``/SUM1/D2/S00003`` for each record."""
        return texts("\\/SUM%d\\/D%d\\/S%05d", self.disk, self.sunum, self.place)


def find_units(frame: Frame, number: Ints, first: int, pins: Pins) -> Units:
    """The units of records; ``number`` counts the records of the series, ``first`` is its first unit."""
    size = max(1, frame.blueprint.series.unitsize)
    sunum, place = first + number // size, number % size
    disk = below(sunum, "disk", _DISKS)
    for name, values in (("sunum", sunum), ("disk", disk), ("place", place)):
        pins.apply(name, frame.slot, values)
    return Units(sunum, disk, place, (uniform(sunum, "offline") >= _OFFLINE) | frame.quiet)


def unit_recnums(design: Design, sunum: int) -> Ints:
    """The numbers of the records whose files are in a unit."""
    first, population = design.blueprint.first_unit, design.population
    size = max(1, design.blueprint.series.unitsize)
    if first is None:
        return np.empty(0, dtype=np.int64)
    number = (sunum - first) * size
    number = number if 0 <= number < _HIGHEST else _HIGHEST  # beyond all records
    usual = np.arange(number, number + size, dtype=np.int64)
    recnums = np.unique(np.concatenate([usual + population.base, _pinned(design, sunum)]))
    recnums = recnums[population.exist(recnums)]
    units = find_units(design.frame(recnums), recnums - population.base, first, design.pins)
    return np.asarray(recnums[units.sunum == sunum])


def _pinned(design: Design, sunum: int) -> Ints:
    """Records that are known to be in a unit, wherever their number would put them."""
    known = zip(design.pins.slots.tolist(), design.pins.members, strict=True)
    slots = np.array([slot for slot, members in known if members.get("sunum") == sunum], dtype=np.int64)
    strands = np.arange(len(design.population.strands), dtype=np.int64)
    slot, strand = np.repeat(slots, len(strands)), np.tile(strands, len(slots))
    return design.population.recnums(strand, slot)


def no_units(count: int) -> Units:
    """The units of records that have none of their own, since their files are linked."""
    nothing = np.zeros(count, dtype=np.int64)
    return Units(nothing - 1, nothing, nothing, np.zeros(count, dtype=bool))


# ---- rows ----------------------------------------------------------------------------------------


class SyntheticRows:
    """Some records of a design by their numbers; columns are computed once, on request."""

    def __init__(self, design: Design, recnums: Ints) -> None:
        self._design, self._recnums = design, recnums
        self._series = design.blueprint.series

    def __len__(self) -> int:
        return len(self._recnums)

    def take(self, positions: NDArray[np.intp]) -> Rows:
        """These rows, in this order; all rows in order are the same object."""
        if len(positions) == len(self) and np.array_equal(positions, np.arange(len(self))):
            return self
        return SyntheticRows(self._design, self._recnums[positions])

    @cached_property
    def _frame(self) -> Frame:
        return self._design.frame(self._recnums)

    @cached_property
    def _units(self) -> Units:
        if self._design.blueprint.first_unit is None:
            return no_units(len(self))
        number = self._recnums - self._design.population.base
        return find_units(self._frame, number, self._design.blueprint.first_unit, self._design.pins)

    @cached_property
    def _directories(self) -> Values:
        """Wire text of the records' directories, empty for units that are offline."""
        return np.where(self._units.online, self._units.directories(), "")

    # ---- keywords --------------------------------------------------------------------------------

    def stored(self, column: str) -> Column:
        """A database column; UnknownName for a name that the series does not have."""
        if column == "recnum":
            return Column(self._recnums)
        if column == "sunum":
            return Column(self._units.sunum)
        if column == "slotnum":
            return Column(self._units.place)
        if column.startswith("sg_") and column.endswith("_file"):
            return Column(np.full(len(self), self._file_name(column), dtype=object))
        return Column(self._frame[self._keyword(column).name])

    def printed(self, keyword: str, precise: bool) -> Sequence[str]:
        """Wire text of a keyword."""
        found = self._keyword(keyword)
        form = self._design.blueprint.formats[found.name]
        return print_column(self._frame[found.name], found.type, form, found.units, precise=precise)

    def _file_name(self, column: str) -> str:
        number = column.removeprefix("sg_").removesuffix("_file")
        if not number.isdigit() or int(number) >= len(self._series.segments):
            raise UnknownName(f"series {self._series.name} has no column {column!r}")
        return self._design.blueprint.file_names[self._series.segments[int(number)].name]

    def _keyword(self, name: str) -> Keyword:
        keyword = self._series.keyword(name)
        if keyword is None:
            raise UnknownName(f"series {self._series.name} has no keyword {name!r}")
        return keyword

    # ---- storage ---------------------------------------------------------------------------------

    def pseudo(self, name: str) -> Sequence[str]:
        """Values about the storage unit; ``NA`` where there is none."""
        units = self._units
        if name == "*recdir*":
            return [directory or _NO_DIRECTORY for directory in self._directories.tolist()]
        if self._design.blueprint.first_unit is None:
            return ["NA"] * len(self)
        told: dict[str, Callable[[], list[str]]] = {
            "*size*": lambda: [f"{n}" for n in below(units.sunum, "size", 1 << 20) + (_MEGABYTES << 20)],
            "*online*": lambda: ["Y" if online else "N" for online in units.online.tolist()],
            "*retain*": self._retained,
            "*archive*": lambda: ["Y" if self._series.archive == 1 else "N"] * len(self),
            "*logdir*": lambda: ["NO_LOG"] * len(self),
            "*dirmtime*": lambda: [f"{text}_UT" for text in self._made_at()],
        }
        return told[name]()

    def _made_at(self) -> list[str]:
        made = self._frame["DATE"] if self._series.keyword("DATE") else self._frame.time
        return [text.removesuffix("_UTC") for text in print_times(made, "UTC", 0)]

    def _retained(self) -> list[str]:
        return [
            text[:10] for text in print_times(self._frame.time + self._series.retention * 86400.0, "UTC", 0)
        ]

    # ---- segments and links ------------------------------------------------------------------------

    def segment(self, name: str) -> SegmentCells:
        """A segment; a linked one is the target's."""
        segment = self._series.segment(name)
        if segment is None:
            raise UnknownName(f"series {self._series.name} has no segment {name!r}")
        return self._linked(segment) if segment.protocol.startswith(_LINKED) else self._own(segment)

    def _own(self, segment: Segment) -> SegmentCells:
        file = self._design.blueprint.file_names[segment.name]
        paths = [f"{each}\\/{file}" if each else _NO_DIRECTORY for each in self._directories.tolist()]
        cparms, bzeros, bscales = (
            self._implicit(name) for name in _implicit_names(self._series.segments, segment)
        )
        return SegmentCells(
            paths,
            self._dims(segment),
            cparms,
            bzeros,
            bscales,
        )

    def _implicit(self, name: str) -> Sequence[str] | None:
        if self._series.keyword(name) is None:
            return None
        # An uncompressed segment has parameters, which are empty.
        return ["" if text == "MISSING" else text for text in self.printed(name, precise=False)]

    def _dims(self, segment: Segment) -> Sequence[str]:
        if not segment.dims.startswith("VAR"):
            return [to_wire(segment.dims)] * len(self)
        own = f"*dims {segment.name}*"
        dims: list[str] = self._frame[own if own in self._frame else "*dims*"].tolist()
        return dims

    def _linked(self, segment: Segment) -> SegmentCells:
        target = self._design.targets[segment.protocol.removeprefix(_LINKED)]
        rows = SyntheticRows(target.design, target.recnums(self._frame))
        file = self._design.blueprint.file_names[segment.name]
        name = next(name for name, its in target.design.blueprint.file_names.items() if its == file)
        cells = rows.segment(name)
        return SegmentCells(cells.paths, cells.dims, cells.cparms)

    def link(self, name: str) -> Sequence[str]:
        """The target's record query: by number for a static link, by prime keys for a dynamic one."""
        link = self._series.link(name)
        if link is None:
            raise UnknownName(f"series {self._series.name} has no link {name!r}")
        if link.kind == "STATIC":
            return [f"{link.target}[:#{number}]" for number in self._target_numbers(link).tolist()]
        columns = [self.printed(key.name, precise=False) for key in self._series.primekeys]
        return [link.target + "".join(f"[{cell}]" for cell in row) for row in zip(*columns, strict=True)]

    def _target_numbers(self, link: Link) -> Ints:
        target = self._design.targets.get(link.name)
        if target is not None:
            return target.recnums(self._frame)
        return self._recnums  # to a series that does not exist here: any stable number will do


def _implicit_names(segments: Sequence[Segment], segment: Segment) -> tuple[str, str, str]:
    number = [each.name for each in segments].index(segment.name)
    return f"cparms_sg{number:03d}", f"{segment.name}_bzero", f"{segment.name}_bscale"


# ---- series ------------------------------------------------------------------------------------------


class SyntheticSeries:
    """The records of a design; new ones appear as the clock behind its population advances."""

    def __init__(self, design: Design) -> None:
        self._design = design
        self._everything = Selection(design.blueprint.series, RecordSet(design.blueprint.series.name), ())
        self._known: tuple[int, Series] | None = None

    @property
    def structure(self) -> Series:
        """The structure with the current extent."""
        end = self._design.population.bounds.stop
        if self._known is None or self._known[0] != end:
            series = replace(self._design.blueprint.series, extent=self._extent())
            self._known = (end, series)
        return self._known[1]

    def print_format(self, keyword: str) -> str | None:
        """As the blueprint has it."""
        return self._design.blueprint.formats.get(keyword)

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:
        """The rows that the prime keys of a selection leave; Refused if they are far too many."""
        return SyntheticRows(self._design, self._recnums(selection, n))

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
        if self._design.listed:
            rows = select(self._everything, self, n)
        else:
            rows = SyntheticRows(self._design, selecting.end_recnum(self._design.population, last=n < 0))
        (name,) = record_names(rows, self._design.blueprint.series)
        return name, int(rows.stored("recnum").values[0])


class ListedSeries:
    """A series that is listed and described, but has no records here."""

    def __init__(self, design: Design) -> None:
        self._design = design

    @property
    def structure(self) -> Series:
        """The structure, without an extent."""
        return self._design.blueprint.series

    def print_format(self, keyword: str) -> str | None:
        """As the blueprint has it."""
        return self._design.blueprint.formats.get(keyword)

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:  # noqa: ARG002
        """No rows."""
        return SyntheticRows(self._design, np.empty(0, dtype=np.int64))

    def count(self, selection: Selection) -> int | None:  # noqa: ARG002
        """None at all."""
        return 0

    def unit(self, sunum: int) -> Rows:  # noqa: ARG002
        """No rows."""
        return SyntheticRows(self._design, np.empty(0, dtype=np.int64))
