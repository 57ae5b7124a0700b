"""IRIS: iris.lev1, with an exposure of each of its three cameras every 51 seconds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame, observer_columns
from mirror.simulator.synthetic.ephemeris import DAY
from mirror.simulator.synthetic.noise import Ints, Values
from mirror.simulator.synthetic.population import Grown, Line

FIRST_LIGHT = parse_time("2013.07.20_00:00:00_TAI")
FIRST_FSN = 1_100_000
_NAMES = np.array(["FUV", "NUV", "SJI"], dtype=object)
_PERCENTS = ("01", "10", "25", "75", "90", "95", "98", "99")
_PATHS = np.array(["FUV", "NUV", "SJI_1330"], dtype=object)
LINE = Line(FIRST_LIGHT + 21.0, 51.0, np.array([0.0, 0.07, 0.19]))


def axes() -> Mapping[str, Grown]:
    """The axis of T_OBS."""
    return {"t_obs": Grown(LINE, LINE.times, lambda seconds: seconds)}


def _system(frame: Frame) -> Ints:
    """ISYSN: 0 FUV, 1 NUV, 2 SJI."""
    return frame.ident % 3


def _width(frame: Frame) -> Values:
    return np.where(_system(frame) == 0, 4144, 2072)


def _percentile(factor: float) -> ColumnFunction:
    return lambda frame: frame["DATAMEAN"] * factor


def _listed(values: Values) -> ColumnFunction:
    return lambda frame: values[_system(frame)]


IRIS_COLUMNS: Mapping[str, ColumnFunction] = {
    "RSUN_OBS": observer_columns("earth")["RSUN_OBS"],
    "DSUN_OBS": observer_columns("earth")["DSUN_OBS"],
    "OBS_VR": lambda frame: frame.view("earth").vr + 7500.0 * np.sin(frame.time / 5855.0 * 2 * np.pi),
    "T_OBS": lambda frame: frame.time,
    "DATE": lambda frame: np.floor(frame.time) + 5 * DAY + frame.below("DATE", 3600),
    "DATE__OBS": lambda frame: frame["T_OBS"] - frame["EXPTIME"] / 2.0,
    "IMGFPT": lambda frame: frame["T_OBS"] + 2.5,
    "ISPPKTIM": lambda frame: frame["T_OBS"] - 1.2,
    "FSN": lambda frame: frame.ident + FIRST_FSN,
    "ISQFSN": lambda frame: frame["FSN"],
    "IIHISFSN": lambda frame: frame["FSN"] - 3,
    "FID": lambda frame: 1000 + frame.ident % 192,
    "ISYSN": _system,
    "ISQISYSN": _system,
    "INSTRUME": _listed(_NAMES),
    "CRS_TYPE": _listed(_NAMES),
    "IMG_PATH": _listed(_PATHS),
    "CAMERA": lambda frame: np.minimum(_system(frame) + 1, 2),
    "EXPTIME": lambda frame: frame.around("EXPTIME", 7.9995, 5e-4),
    "INT_TIME": lambda frame: frame["EXPTIME"] + 0.276,
    "IIMGSHCE": lambda frame: 8000,
    "IFUVCEXP": lambda frame: 8000,
    "INUVCEXP": lambda frame: 8000,
    "ISJICEXP": lambda frame: 8000,
    "IIMGOTS": lambda frame: frame["T_OBS"] - FIRST_LIGHT + 1.77e9,
    "QUALITY": lambda frame: np.where(frame.chance("QUALITY", 0.01), 0x400, 0),
    "TOTVALS": lambda frame: _width(frame) * 1096,
    "DATAVALS": lambda frame: frame["TOTVALS"],
    "DATAMEAN": lambda frame: frame.around("DATAMEAN", 30.0, 25.0) * (1.0 + _system(frame)),
    "DATAMEDN": lambda frame: frame["DATAMEAN"] * 0.8,
    "DATAMAX": lambda frame: np.minimum(16383, frame["DATAMEAN"] * frame.around("DATAMAX", 90.0, 60.0)),
    "NSPIKES": lambda frame: frame.below("NSPIKES", 9000),
    "TSR1": lambda frame: 1,
    "TER1": lambda frame: 1096,
    "TSC1": lambda frame: 1,
    "TEC1": _width,
    "*dims image_lev1*": lambda frame: np.where(_system(frame) == 0, "4144x1096", "2072x1096"),
    "*dims bad_pixel*": lambda frame: "1x402",
    "*dims spikes*": lambda frame: np.array([f"{n}x3" for n in frame["NSPIKES"].tolist()], dtype=object),
    **{
        f"DATAP{name}": _percentile(factor)
        for name, factor in zip(_PERCENTS, (0.0, 0.1, 0.3, 1.4, 2.2, 3.0, 4.2, 5.5), strict=True)
    },
}
