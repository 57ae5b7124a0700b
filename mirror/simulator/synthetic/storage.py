"""Where the files of synthetic records lie: storage units, disks, and what is not online."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror.simulator.synthetic.columns import Frame, Pins, texts
from mirror.simulator.synthetic.design import Design
from mirror.simulator.synthetic.noise import Ints, Mask, Values, below, uniform

_DISKS = 90
_HIGHEST = 1 << 40  #: above every record's number
_OFFLINE = 0.01  #: share of the units that are on tape only


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
    """The numbers of the records whose files lie in a unit."""
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
    """Records that are known to lie in a unit, wherever their number would put them."""
    known = zip(design.pins.slots.tolist(), design.pins.members, strict=True)
    slots = np.array([slot for slot, members in known if members.get("sunum") == sunum], dtype=np.int64)
    strands = np.arange(len(design.population.strands), dtype=np.int64)
    slot, strand = np.repeat(slots, len(strands)), np.tile(strands, len(slots))
    return design.population.recnums(strand, slot)


def no_units(count: int) -> Units:
    """Those of records without a unit of their own, whose files are linked."""
    nothing = np.zeros(count, dtype=np.int64)
    return Units(nothing - 1, nothing, nothing, np.zeros(count, dtype=bool))
