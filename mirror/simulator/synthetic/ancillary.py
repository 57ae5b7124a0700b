"""Auxiliary series: the orbit of SDO, and NOAA's list of active regions.

Names and units of the orbit vectors are those of JSOC's own programs; the keyword ORB_REC of aia.lev1 shows that there
is one per minute. Names of the columns of jsoc.noaa_active_regions are those of the trigger that fills it. Values are
invented: the orbit is that of the other series, the regions are those of the HARPs (so each begins and ends with its
HARP), their classes are random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame, texts
from mirror.simulator.synthetic.ephemeris import DAY, turned_to_ecliptic
from mirror.simulator.synthetic.harps import Harps
from mirror.simulator.synthetic.noise import Floats, Ints, Values, uniform
from mirror.simulator.synthetic.population import UtcGrid

# ---- orbit ---------------------------------------------------------------------------------------------

ORBIT = UtcGrid(60.0)
ORBIT_FIRST = parse_time("2010.03.24_00:00:00_UTC")
ORBIT_AHEAD = 3 * DAY  #: orbits are predicted


def _from_sun(member: str, at: int) -> ColumnFunction:
    """A coordinate of place or velocity from the Sun, in the ecliptic; km or km/s."""
    return lambda frame: turned_to_ecliptic(getattr(frame.view("sdo"), member))[:, at] / 1000.0


def _from_earth(member: str, at: int) -> ColumnFunction:
    """The same from the Earth, in the equatorial frame."""

    def column(frame: Frame) -> Floats:
        sdo, earth = (getattr(frame.view(place), member)[:, at] for place in ("sdo", "earth"))
        return np.asarray((sdo - earth) / 1000.0)

    return column


def _product(form: str) -> ColumnFunction:
    """The file of the week from which vectors are taken."""
    return lambda frame: texts(form, (frame.time // (7 * DAY)).astype(np.int64))


ORBIT_COLUMNS: Mapping[str, ColumnFunction] = {
    "OBS_DATE": lambda frame: frame.time,
    "DATE": lambda frame: np.floor(frame.time / DAY) * DAY - 4 * DAY + 50000.0,
    **{f"HCIEC_{axis}": _from_sun("position", at) for at, axis in enumerate("XYZ")},
    **{f"HCIEC_V{axis}": _from_sun("velocity", at) for at, axis in enumerate("XYZ")},
    **{f"GCIEC_{axis}": _from_earth("position", at) for at, axis in enumerate("XYZ")},
    **{f"GCIEC_V{axis}": _from_earth("velocity", at) for at, axis in enumerate("XYZ")},
    "id_HELIO": _product("ORBIT_HELIO_%d"),
    "id_GEO": _product("ORBIT_GEO_%d"),
}


# ---- regions -------------------------------------------------------------------------------------------

REGION_DAY = UtcGrid(DAY)
_ZURICH = np.array(["Axx", "Hsx", "Bxo", "Cro", "Cso", "Dai", "Dki", "Eki", "Fkc"], dtype=object)
_MAGNETIC = np.array(["Alpha", "Beta", "Beta-Gamma", "Beta-Gamma-Delta"], dtype=object)


@dataclass(frozen=True)
class Regions:
    """Regions of NOAA by number; ``first`` and ``stop`` are days of ``REGION_DAY``, ``harp`` an index."""

    number: Ints
    harp: Ints
    first: Ints
    stop: Ints
    harps: Harps
    epoch: float  #: of slot 0 of the HARPs

    def slot(self, time: Floats) -> Floats:
        """The slot of the HARPs at a time, with its fraction."""
        return (time - self.epoch) / self.harps.step


def make_regions(harps: Harps, epoch: float) -> Regions:
    """The regions of all HARPs, in the order of their numbers."""
    harp = np.repeat(np.arange(len(harps.first)), harps.regions)
    listed = [int(text) for several in harps.listed[harps.regions > 0] for text in several.split(",")]
    number = np.array(listed, dtype=np.int64)
    order = np.argsort(number, kind="stable")
    order = order[np.concatenate([[True], np.diff(number[order]) > 0])]
    number, harp = number[order], harp[order]
    begin, end = (
        epoch + slots[harp] * harps.step for slots in (harps.first + harps.pad, harps.stop - harps.pad)
    )
    first, stop = (REGION_DAY.slots(times) + 1 for times in (begin, end))
    return Regions(number, harp, first, np.maximum(stop, first + 1), harps, epoch)


def region_columns(regions: Regions) -> Mapping[str, ColumnFunction]:
    """The functions of jsoc.noaa_active_regions; a region keeps its place within its HARP."""

    def size(frame: Frame) -> Values:
        whole = regions.harps.width * regions.harps.height / regions.harps.regions.clip(1)
        return np.asarray(whole[regions.harp[frame.strand]] * frame.around("size", 1.0, 0.2))

    def within(frame: Frame, stream: str, spread: Floats) -> Floats:
        """Degrees from the centre of the HARP."""
        alone = regions.harps.regions[regions.harp[frame.strand]] < 2
        return np.where(alone, 0.0, 0.6 * spread[regions.harp[frame.strand]] * (_share(frame, stream) - 0.5))

    def _share(frame: Frame, stream: str) -> Floats:
        return uniform(regions.number[frame.strand], stream)

    def meridian(frame: Frame) -> Values:
        centre = regions.harps.centre(regions.harp[frame.strand], regions.slot(frame.time))
        return np.rint(centre + within(frame, "longitude", regions.harps.width))

    def latitude(frame: Frame) -> Values:
        middle = regions.harps.latitude[regions.harp[frame.strand]]
        return np.rint(middle + within(frame, "latitude", regions.harps.height))

    return {
        "ObservationTime": lambda frame: frame.time,
        "RegionNumber": lambda frame: regions.number[frame.strand],
        "*size*": size,
        "ZurichClass": lambda frame: _ZURICH[
            np.clip(frame["*size*"] / 18.0, 0, len(_ZURICH) - 1).astype(np.int64)
        ],
        "MagneticType": lambda frame: _MAGNETIC[np.clip(frame["*size*"] / 45.0, 0, 3).astype(np.int64)],
        "SpotCount": lambda frame: 1 + np.rint(frame["*size*"] / 9.0),
        "Area": lambda frame: 10.0 * np.rint(0.3 * frame["*size*"]) + 10.0,
        "LatitudeHG": latitude,
        "LongitudeCM": meridian,
        "LongitudeHG": lambda frame: (
            np.rint((frame["LongitudeCM"] + frame.view("earth").longitude) % 360.0) % 360.0
        ),
        "LongitudinalExtent": lambda frame: np.rint(np.sqrt(frame["*size*"])),
    }
