"""Global helioseismology: the fits of hmi.v_sht_modes, and the rotation that hmi.v_sht_2drls makes of them.

Both have records every 72 days, the span of one time series.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame
from mirror.simulator.synthetic.ephemeris import DAY
from mirror.simulator.synthetic.noise import Ints

FIRST = parse_time("2010.04.30_00:00:00_TAI")
LENGTH_DAYS = 72
LAG_DAYS = LENGTH_DAYS + 22  #: from the start of a time series to its fit
_POINTS = LENGTH_DAYS * 1920  # of a series with 45 s between them

#: The prime keys beside T_START, a strand each.
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
