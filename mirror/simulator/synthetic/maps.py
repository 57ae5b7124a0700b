"""Maps and tables made of many HMI (and MDI) images: synoptic charts, polar fields, flows, averages, modes.

The charts have the keywords of real headers (of small charts, with the numbers of large ones), and the segments
``synopMr``, ``Mr_polfil``, ``Br``, ``Bt`` and ``Bp`` that scripts ask for. The mean polar fields have the segments of
the program that writes them, and CAPN2, CAPS2 and the like as scripts ask for them. The segments of hmi.v_avg120 are
known; of hmi.rdVflows_fd15_frame their names are, and that they are directories of text files, here one text file
each. Everything else is invented: all other keywords, ``epts``, and all values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame, observer_columns
from mirror.simulator.synthetic.design import Timing
from mirror.simulator.synthetic.ephemeris import DAY, Ephemeris, rotation_start
from mirror.simulator.synthetic.hmi import processed, quality
from mirror.simulator.synthetic.noise import Floats, Ints

# ---- synoptic charts ----------------------------------------------------------------------------------

FIRST_ROTATION = 2096  #: of HMI
CHART_LAG = 12 * DAY  #: from the end of a rotation to its chart
_ROTATION = 27.2752316 * DAY  # as seen from the Earth, on average


def middle(sky: Ephemeris, rotation: Ints) -> Floats:
    """When the Earth faces the middle of a Carrington rotation."""
    time = rotation_start(rotation + 0.5)
    for _ in range(2):
        time = time + (sky.from_earth(time).longitude - 180.0) / 360.0 * _ROTATION
    return np.rint(time)


def rotation_at(time: float) -> int:
    """The rotation at a time."""
    near = int((time - rotation_start(np.zeros(1))[0]) / _ROTATION)
    return near if rotation_start(np.array([near]))[0] <= time else near - 1


def chart_timing(_strand: Ints, rotation: Ints) -> tuple[Floats, Ints]:
    """The timing of charts: the middle of the rotation, roughly."""
    return rotation_start(rotation + 0.5), rotation


def _latitude(half: float) -> ColumnFunction:
    return lambda frame: frame.sky.from_earth(frame["*middle*"] + half * _ROTATION).latitude


CHART: Mapping[str, ColumnFunction] = {
    "CAR_ROT": lambda frame: frame.slot,
    "*middle*": lambda frame: middle(frame.sky, frame.slot),
    "DATE": lambda frame: np.floor(frame.time / DAY) * DAY + 24 * DAY,
    "T_OBS": lambda frame: frame["*middle*"],
    "T_ROT": lambda frame: frame["*middle*"],
    "T_START": lambda frame: np.rint(frame["*middle*"] - _ROTATION / 2),
    "T_STOP": lambda frame: np.rint(frame["*middle*"] + _ROTATION / 2),
    "CARRTIME": lambda frame: frame.slot * 360.0 - 180.0,
    "CRVAL1": lambda frame: frame["CARRTIME"],
    "LON_FRST": lambda frame: frame["CARRTIME"] - 179.96,
    "LON_LAST": lambda frame: frame["CARRTIME"] + 179.94,
    "B0_ROT": _latitude(0.0),
    "B0_FRST": _latitude(0.5),
    "B0_LAST": _latitude(-0.5),
    "IMG_FRST": lambda frame: np.floor(frame["T_START"] / DAY) * DAY,
    "IMG_LAST": lambda frame: np.floor(frame["T_STOP"] / DAY) * DAY + 23 * 3600.0,
    "IMG_ROT": lambda frame: np.rint(frame["*middle*"] / 720.0) * 720.0,
    "DATAVALS": lambda frame: frame["TOTVALS"] - frame["MISSVALS"],
    "CALVER64": lambda frame: 270610,
}


# ---- mean polar field -----------------------------------------------------------------------------------

_CYCLE = 22.1 * 365.25 * DAY
_REVERSALS = {"N": parse_time("2012.11.01_TAI"), "S": parse_time("2014.02.01_TAI")}


def _cap(pole: str, strength: float) -> ColumnFunction:
    """The mean field of a cap: it reverses with the cycle, and varies with the tilt of the Sun's axis."""
    sign = 1.0 if pole == "N" else -1.0

    def column(frame: Frame) -> Floats:
        cycle = np.sin((frame.time - _REVERSALS[pole]) / _CYCLE * 2.0 * np.pi)
        tilt = 1.0 - 0.02 * sign * frame["CRLT_OBS"]
        return np.asarray(sign * strength * cycle * tilt + frame.around(f"CAP{pole}", 0.0, 0.15))

    return column


_POLAR: Mapping[str, ColumnFunction] = {
    "CAPN1": _cap("N", 1.9),
    "CAPS1": _cap("S", 1.9),
    "CAPN2": _cap("N", 3.1),
    "CAPS2": _cap("S", 3.1),
    "BANDN": lambda frame: frame.around("BANDN", 0.0, 0.8),
    "BANDS": lambda frame: frame.around("BANDS", 0.0, 0.8),
}
POLAR_FIELD: Mapping[str, ColumnFunction] = {
    **observer_columns("sdo"),
    **_POLAR,
    "*blank*": lambda frame: np.zeros(len(frame), dtype=bool),
    "DATE": processed,
    "QUALITY": quality,
    "T_OBS": lambda frame: frame.time,
}
MDI_POLAR_FIELD: Mapping[str, ColumnFunction] = {
    **POLAR_FIELD,
    **observer_columns("l1"),
    "DATE": lambda frame: parse_time("2015.09.01_TAI") + (frame.time - parse_time("1996.05.01_TAI")) * 0.001,
}


# ---- flows and averages ---------------------------------------------------------------------------------

FLOW_MERIDIANS = np.arange(5, 365, 5)  #: of the central meridians of frames of ring diagrams
AVERAGE_MERIDIANS = np.array([60, 180, 300])  #: three averages a rotation


def meridian_timing(meridians: Ints) -> Timing:
    """The timing of records by rotation and central meridian: when that meridian faces the observer."""

    def timing(strand: Ints, rotation: Ints) -> tuple[Floats, Ints]:
        return rotation_start(rotation + 1.0 - meridians[strand] / 360.0), rotation * 1000 + meridians[strand]

    return timing


def carrington_columns(meridians: Ints) -> Mapping[str, ColumnFunction]:
    """The functions of a series named by rotation and central meridian."""
    return {
        "CarrRot": lambda frame: frame.slot,
        "CMLon": lambda frame: meridians[frame.strand],
        "MidTime": lambda frame: np.rint(frame.time / 45.0) * 45.0,
        "T_START": lambda frame: np.rint((frame.time - _ROTATION / 6) / 45.0) * 45.0,
        "T_STOP": lambda frame: np.rint((frame.time + _ROTATION / 6) / 45.0) * 45.0,
        "DATE": lambda frame: np.floor(frame.time / DAY) * DAY + 20 * DAY + 4321.0,
    }


# ---- modes ------------------------------------------------------------------------------------------------

FIRST = parse_time("2010.04.30_00:00:00_TAI")
LENGTH_DAYS = 72
LAG_DAYS = LENGTH_DAYS + 22  #: from the start of a time series to its fit
_POINTS = LENGTH_DAYS * 1920  # of a series with 45 s between them

#: The prime keys other than T_START, a strand each.
MODES: Mapping[str, Ints] = {
    "lmin": np.array([0, 0]),
    "lmax": np.array([200, 300]),
    "ndt": np.array([_POINTS, _POINTS]),
}
ROTATION: Mapping[str, Ints] = {
    "lmin": np.array([0, 0, 0]),
    "lmax": np.array([200, 200, 200]),
    "ndt": np.array([_POINTS, _POINTS, _POINTS]),
    "nacoeff": np.array([6, 18, 36]),
}


def mode_columns(keys: Mapping[str, Ints]) -> Mapping[str, ColumnFunction]:
    """The functions of a series with these strands."""

    def key(name: str) -> ColumnFunction:
        return lambda frame: keys[name][frame.strand]

    def stop(frame: Frame) -> Ints:
        return np.asarray(frame.time + LENGTH_DAYS * DAY)

    return {
        **{name.upper(): key(name) for name in keys},
        "T_STOP": stop,
        "T_OBS": lambda frame: frame.time + LENGTH_DAYS * DAY / 2.0,
        "DATE": lambda frame: stop(frame) + 20 * DAY + 34567.0 + 60.0 * frame.strand,
    }
