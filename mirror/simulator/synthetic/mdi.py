"""MDI on SOHO, 1996 to 2011: full disk images of every minute and of every 96 minutes.

The keywords of mdi.fd_M_96m_lev182 are those of a real header, except for the time of its slot 0, which is half a
minute later there than its slot times imply. Those of mdi.fd_Ic_interp are mdi.fd_Ic's, also from a header; INTERP is
invented.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame, observer_columns
from mirror.simulator.synthetic.ephemeris import DAY, LIGHT
from mirror.simulator.synthetic.noise import Values

FIRST_LIGHT = parse_time("1996.05.01_00:00:00_TAI")
LAST_LIGHT = parse_time("2011.04.11_23:00:00_TAI")
#: SOHO was lost, and then spun without gyroscopes.
OUTAGES = (
    (parse_time("1998.06.24_23:00:00_TAI"), parse_time("1998.10.22_00:00:00_TAI")),
    (parse_time("1998.12.21_00:00:00_TAI"), parse_time("1999.02.02_00:00:00_TAI")),
)
_INGESTED = parse_time("2012.03.01_00:00:00_TAI")
_SCALE = 1.985993  # arcseconds a pixel


def _centre(stream: str, mean: float) -> ColumnFunction:
    return lambda frame: frame.around(stream, mean, 0.05)


def _quality(frame: Frame) -> Values:
    """QUALITY: 512 while the roll angle is not nominal, as often in later years."""
    rolled = (frame.time // (90 * DAY)).astype(np.int64) % 2 == 1
    return np.where(rolled & (frame.time > parse_time("2003.07.01_TAI")), 512, 0)


def _rolled(frame: Frame) -> Values:
    return np.where(frame["QUALITY"] & 512, 180.0, 0.0)


MDI_COLUMNS: Mapping[str, ColumnFunction] = {
    **observer_columns("l1"),
    "T_OBS": lambda frame: frame.time + np.rint(frame.around("T_OBS", 0.0, 1.0)),
    "DATE__OBS": lambda frame: frame["T_OBS"] - 15.0,
    "DATE": lambda frame: _INGESTED + (frame.time - FIRST_LIGHT) * 0.01,
    "RUNTIME": lambda frame: np.floor(frame.time / DAY) * DAY + 21 * DAY + 76600.0,
    "TBLXYUPD": lambda frame: np.floor(frame.time / DAY) * DAY + 20 * DAY + 65500.0,
    "EARTH_DT": lambda frame: (frame.view("earth").distance - frame["DSUN_OBS"]) / LIGHT,
    "X0": _centre("X0", 511.59),
    "Y0": _centre("Y0", 511.15),
    "CRPIX1": lambda frame: frame["X0"] + 1.0,
    "CRPIX2": lambda frame: frame["Y0"] + 1.0,
    "CROTA2": _rolled,
    "R_SUN": lambda frame: frame["RSUN_OBS"] / _SCALE,
    "QUALITY": _quality,
    "MISSVALS": lambda frame: 1024 * 1024 - frame["DATAVALS"],
    "RSUN_REF": lambda frame: 696000000.0,
}

#: Those of averages over five minutes, which begin with the slot.
EVERY_96_MINUTES: Mapping[str, ColumnFunction] = {
    **MDI_COLUMNS,
    "T_OBS": lambda frame: frame.time + 210.0,
    "DATE__OBS": lambda frame: frame.time + 60.0,
}

#: What the Dopplergrams have in addition.
VELOCITY: Mapping[str, ColumnFunction] = {
    "DATAMEAN": lambda frame: frame["OBS_VR"] + frame.around("DATAMEAN", 12.0, 20.0),
    "DATAMEDN": lambda frame: frame["DATAMEAN"] + frame.around("DATAMEDN", 3.0, 5.0),
}
