"""Where the files of synthetic records lie: storage units, disks, and what is not online."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror.simulator.synthetic.columns import Frame, texts
from mirror.simulator.synthetic.facts import Pins
from mirror.simulator.synthetic.noise import Ints, Mask, Values, below, uniform

_DISKS = 90
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


def no_units(count: int) -> Units:
    """Those of records without a unit of their own, whose files are linked."""
    nothing = np.zeros(count, dtype=np.int64)
    return Units(nothing - 1, nothing, nothing, np.zeros(count, dtype=bool))
