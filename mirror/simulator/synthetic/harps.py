"""Active region patches, of HMI (HARPs) and of MDI (TARPs): when each begins and ends, where it is, how large.

Numbers, birth times and NOAA regions of some HARPs are known; the others are spread evenly in between, and their
regions are invented. At JSOC near real time has patches and numbers of its own; here they are those of the definitive
series, counted from the first day of near real time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mirror.drms.slots import SlotAxis
from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import Facts
from mirror.simulator.synthetic.ephemeris import DAY
from mirror.simulator.synthetic.noise import Floats, Ints, Mask, Values, around, below, uniform

_MOST = 24_000  # HARPs, enough for some twenty years
_A_DAY = 3.4  # HARPs born a day after the last known one
_PAD = 1.0  # days before the detection and after the end
_DEGREES_A_DAY = 13.2  # rotation of the Sun
_TARPS = 13_700  #: from 1996 to 2010
#: The TARP whose header is known: its first day, and its days.
_KNOWN_TARP, _KNOWN_TARP_AT, _KNOWN_TARP_DAYS, _KNOWN_TARP_REGION = (
    13_520,
    "2010.07.07_17:36_TAI",
    206 / 15,
    11_087,
)

#: The NOAA regions of some HARPs, the first one as NOAA_AR. From searches of hmi.sharp_cea_720s that were printed
#: in public notebooks (those of several regions, and 4698), and from papers on the flares of these regions.
REGIONS: Mapping[int, tuple[int, ...]] = {
    377: (11158,),
    401: (11166,),
    1449: (11429, 11430),
    1834: (11519, 11520, 11521),
    1879: (11529, 11530, 11532, 11533, 11536),
    1907: (11538, 11539, 11540, 11541, 11544, 11545),
    2040: (11575, 11577, 11583),
    2696: (11732, 11734),
    2748: (11748,),
    2852: (11769, 11770, 11771, 11772, 11774, 11775),
    3563: (11943, 11944),
    3647: (11958, 11959, 11960, 11963, 11964),
    3784: (11987, 11989, 11993, 11994, 12001),
    3856: (12008, 12010, 12012, 12015, 12019, 12023),
    4000: (12035, 12038, 12043, 12046),
    4396: (12127, 12128, 12130, 12131, 12132),
    4678: (12187, 12191),
    4698: (12192,),
    4920: (12235, 12237, 12238, 12242),
    5298: (12297,),
    7115: (12673,),
    11149: (13664, 13668),
}
#: Numbers of NOAA at some times; in between they are spread evenly over the patches that have one.
_NOAA = {
    "1996.05.01_TAI": 7962,
    "2000.01.01_TAI": 8812,
    "2002.06.15_TAI": 10001,
    "2007.01.01_TAI": 10933,
    "2010.05.01_TAI": 11064,
    "2011.02.11_TAI": 11157,
    "2012.03.03_TAI": 11429,
    "2012.07.02_TAI": 11519,
    "2013.05.12_TAI": 11745,
    "2013.12.31_TAI": 11943,
    "2014.10.17_TAI": 12192,
    "2015.03.04_TAI": 12296,
    "2017.08.29_TAI": 12673,
    "2021.01.01_TAI": 12793,
    "2024.05.01_TAI": 13664,
    "2026.01.01_TAI": 14325,
    "2045.01.01_TAI": 20000,
}


@dataclass(frozen=True)
class Harps:
    """All patches, number i + 1 at index i; ``stop`` is the slot after the last one."""

    first: Ints
    stop: Ints
    step: float  #: seconds a slot
    latitude: Floats  #: degrees, of the centre
    longitude: Floats  #: degrees: Stonyhurst, of the centre half-way through its life
    width: Floats  #: degrees
    height: Floats  #: degrees
    strength: Floats  #: of the field, about 1
    region: Ints  #: number of the first NOAA region, 0 for none
    regions: Ints  #: how many NOAA regions it has
    listed: Values  #: the numbers of all of them, with commas

    @property
    def numbers(self) -> Ints:
        return np.arange(1, len(self.first) + 1, dtype=np.int64)

    @property
    def pad(self) -> Ints:
        """Slots of padding at either end."""
        return np.asarray(np.minimum(round(_PAD * DAY / self.step), (self.stop - self.first) // 8))

    def centre(self, harp: Ints, slot: Ints | Floats) -> Floats:
        """Stonyhurst longitude of the centre of each patch (by index) at a slot, in degrees."""
        middle = (self.first[harp] + self.stop[harp]) / 2.0
        return np.asarray(self.longitude[harp] + (slot - middle) * (_DEGREES_A_DAY * self.step / DAY))

    def since(self, slot: int) -> Harps:
        """Those that begin at a slot or later, counted from 1 again."""
        later = np.flatnonzero(self.first >= slot)
        columns = (
            "first",
            "stop",
            "latitude",
            "longitude",
            "width",
            "height",
            "strength",
            "region",
            "regions",
            "listed",
        )
        return replace(self, **{name: getattr(self, name)[later] for name in columns})


def make_harps(facts: Facts, axis: SlotAxis) -> Harps:
    """The same HARPs at every start."""
    numbers = np.arange(1, _MOST + 1)
    first = _births(facts, axis, numbers)
    length = 40 + (1380 * uniform(numbers, "harp length") ** 2.6).astype(np.int64)
    for number, (time, slots) in facts.harps.items():
        first[number - 1], length[number - 1] = axis.slot(time), slots
    first, stop = _crowd(facts, axis, first, first + length)
    harps = _placed("harp", numbers, first, stop, axis, REGIONS)
    for number, shape in facts.shapes.items():
        for member, value in shape.items():
            getattr(harps, member)[number - 1] = value
    return harps


def make_tarps(axis: SlotAxis) -> Harps:
    """The patches of MDI."""
    numbers = np.arange(1, _TARPS + 1)
    known = axis.slot(parse_time(_KNOWN_TARP_AT))
    ends = [axis.slot(parse_time("1996.05.01_TAI")), known, axis.slot(parse_time("2010.10.10_TAI"))]
    born = np.interp(numbers, [1, _KNOWN_TARP, _TARPS], ends) + below(numbers, "tarp birth", 11)
    first: Ints = born.astype(np.int64)
    a_day = DAY / axis.step
    length = np.rint(a_day * (1.0 + 12.0 * uniform(numbers, "tarp length") ** 2.6)).astype(np.int64)
    first[_KNOWN_TARP - 1], length[_KNOWN_TARP - 1] = known, round(_KNOWN_TARP_DAYS * a_day)
    return _placed("tarp", numbers, first, first + length, axis, {_KNOWN_TARP: (_KNOWN_TARP_REGION,)})


def _births(facts: Facts, axis: SlotAxis, numbers: Ints) -> Ints:
    known = sorted(facts.harps.items())
    at = [float(number) for number, _ in known] + [float(_MOST)]
    births = [float(axis.slot(time)) for _, (time, _) in known]
    births.append(births[-1] + (_MOST - at[-2]) / _A_DAY * 120)
    return np.asarray(np.interp(numbers, at, births) + below(numbers, "harp birth", 90), dtype=np.int64)


def _crowd(facts: Facts, axis: SlotAxis, first: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Stretches and shifts HARPs around one span so that each has the known number of records."""
    begin = axis.slot(facts.crowd_first)
    end = begin + facts.crowd_slots
    there = np.flatnonzero((first < end) & (stop > begin))
    # Those whose times are known stay unchanged: they are present all the time, and so come first.
    known = [harp for harp in there.tolist() if harp + 1 in facts.harps]
    counts = sorted(facts.crowd_records, reverse=True)
    for place, harp in enumerate([*known, *(harp for harp in there.tolist() if harp not in known)]):
        wanted = counts[place] if place < len(counts) else 0
        if wanted == facts.crowd_slots:
            first[harp], stop[harp] = min(first[harp], begin), max(stop[harp], end)
        elif wanted and place % 2:
            first[harp], stop[harp] = end - wanted, max(stop[harp], end + 40)
        elif wanted:
            first[harp], stop[harp] = min(first[harp], begin - 40), begin + wanted
        else:
            first[harp], stop[harp] = first[harp] - (stop[harp] - begin), begin
    return first, stop


def _placed(
    kind: str, numbers: Ints, first: Ints, stop: Ints, axis: SlotAxis, known: Mapping[int, tuple[int, ...]]
) -> Harps:
    days = (stop - first) * axis.step / DAY
    side = np.where(uniform(numbers, f"{kind} side") < 0.5, -1.0, 1.0)
    lasting = days / 10.0
    room = np.maximum(0.0, 78.0 - days / 2.0 * _DEGREES_A_DAY)
    wide = 2.0 + 14.0 * np.minimum(1.0, lasting) * (0.3 + 0.7 * uniform(numbers, f"{kind} size"))
    region, count, listed = _regions(numbers, first, axis, lasting > 0.35, known)
    return Harps(
        first,
        stop,
        axis.step,
        side * around(numbers, f"{kind} latitude", 17.0, 11.0),
        room * (2.0 * uniform(numbers, f"{kind} longitude") - 1.0),
        wide,
        wide * around(numbers, f"{kind} shape", 0.5, 0.15),
        around(numbers, f"{kind} strength", 1.0, 0.5),
        region,
        count,
        listed,
    )


def _regions(
    numbers: Ints, first: Ints, axis: SlotAxis, named: Mask, known: Mapping[int, tuple[int, ...]]
) -> tuple[Ints, Ints, Values]:
    """First NOAA number, count and list of each patch: known ones, else by the time of birth."""
    at = [axis.slot(parse_time(text)) for text in _NOAA]
    order = np.argsort(first, kind="stable")
    order = order[named[order]]
    # Numbers grow with time, and no two patches share one: those in between have none.
    rising = np.floor(np.interp(first[order], at, list(_NOAA.values()))).astype(np.int64)
    new = np.diff(np.maximum.accumulate(rising), prepend=0) > 0
    region = np.zeros(len(numbers), dtype=np.int64)
    region[order[new]] = rising[new]
    region[np.isin(region, [noaa for several in known.values() for noaa in several])] = 0
    listed = np.where(region > 0, region.astype(str), "").astype(object)
    count = (region > 0).astype(np.int64)
    for number, several in known.items():
        region[number - 1], count[number - 1] = several[0], len(several)
        listed[number - 1] = ",".join(map(str, several))
    return region, count, listed
