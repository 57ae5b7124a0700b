"""The HARPs: when each active region patch begins and ends, where it is and how large.

Numbers and birth times of some HARPs are known; the others are born evenly in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror.drms.slots import SlotAxis
from mirror.simulator.synthetic.columns import Facts
from mirror.simulator.synthetic.noise import Floats, Ints, around, below, uniform

MOST = 24_000  #: HARPs, enough for some twenty years
_A_DAY = 3.4  # HARPs born a day after the last known one
_PAD = 120  # slots before the detection and after the end
_DEGREES_A_SLOT = 13.2 / 120  # rotation of the Sun in 720 s


@dataclass(frozen=True)
class Harps:
    """All HARPs, HARP number i + 1 at index i; ``stop`` is the slot after the last one."""

    first: Ints
    stop: Ints
    latitude: Floats  #: degrees, of the centre
    longitude: Floats  #: degrees: Stonyhurst, of the centre half-way through its life
    width: Floats  #: degrees
    height: Floats  #: degrees
    strength: Floats  #: of the field, about 1
    region: Ints  #: number of the NOAA region, 0 for none

    @property
    def numbers(self) -> Ints:
        return np.arange(1, len(self.first) + 1, dtype=np.int64)

    @property
    def pad(self) -> Ints:
        """Slots of padding at either end."""
        return np.asarray(np.minimum(_PAD, (self.stop - self.first) // 8))

    def centre(self, harp: Ints, slot: Ints) -> Floats:
        """Stonyhurst longitude of the centre of each HARP (by index) at a slot, in degrees."""
        middle = (self.first[harp] + self.stop[harp]) / 2.0
        return np.asarray(self.longitude[harp] + (slot - middle) * _DEGREES_A_SLOT)


def make_harps(facts: Facts, axis: SlotAxis) -> Harps:
    """The same HARPs at every start."""
    numbers = np.arange(1, MOST + 1)
    first = _births(facts, axis, numbers)
    length = 40 + (1380 * uniform(numbers, "harp length") ** 2.6).astype(np.int64)
    for number, (time, slots) in facts.harps.items():
        first[number - 1], length[number - 1] = axis.slot(time), slots
    first, stop = _crowd(facts, axis, first, first + length)
    return _placed(numbers, first, stop)


def _births(facts: Facts, axis: SlotAxis, numbers: Ints) -> Ints:
    known = sorted(facts.harps.items())
    at = [float(number) for number, _ in known] + [float(MOST)]
    births = [float(axis.slot(time)) for _, (time, _) in known]
    births.append(births[-1] + (MOST - at[-2]) / _A_DAY * 120)
    return np.asarray(np.interp(numbers, at, births) + below(numbers, "harp birth", 90), dtype=np.int64)


def _crowd(facts: Facts, axis: SlotAxis, first: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Stretches and shifts HARPs around one span so that each has the number of records that is known."""
    begin = axis.slot(facts.crowd_first)
    end = begin + facts.crowd_slots
    there = np.flatnonzero((first < end) & (stop > begin))
    for place, harp in enumerate(there.tolist()):
        wanted = facts.crowd_records[place] if place < len(facts.crowd_records) else 0
        if wanted == facts.crowd_slots:
            first[harp], stop[harp] = min(first[harp], begin), max(stop[harp], end)
        elif wanted and place % 2:
            first[harp], stop[harp] = end - wanted, max(stop[harp], end + 40)
        elif wanted:
            first[harp], stop[harp] = min(first[harp], begin - 40), begin + wanted
        else:
            first[harp], stop[harp] = first[harp] - (stop[harp] - begin), begin
    return first, stop


def _placed(numbers: Ints, first: Ints, stop: Ints) -> Harps:
    side = np.where(uniform(numbers, "harp side") < 0.5, -1.0, 1.0)
    lasting = (stop - first) / 1200.0
    room = np.maximum(0.0, 78.0 - (stop - first) / 2.0 * _DEGREES_A_SLOT)
    wide = 2.0 + 14.0 * np.minimum(1.0, lasting) * (0.3 + 0.7 * uniform(numbers, "harp size"))
    named = lasting > 0.35
    return Harps(
        first,
        stop,
        side * around(numbers, "harp latitude", 17.0, 11.0),
        room * (2.0 * uniform(numbers, "harp longitude") - 1.0),
        wide,
        wide * around(numbers, "harp shape", 0.5, 0.15),
        around(numbers, "harp strength", 1.0, 0.5),
        np.where(named, 11064 + np.cumsum(named), 0),
    )
