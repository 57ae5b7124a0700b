"""aia.response: some hundred records, versions of a table of effective areas; they are simply listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame
from mirror.simulator.synthetic.ephemeris import DAY
from mirror.simulator.synthetic.noise import Floats, Ints


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    wavelength: int
    epochs: int  #: how many spans of time it has
    area: float
    electrons_per_dn: float


_CHANNELS = (
    _Channel("131_THIN", 131, 6, 0.8949, 17.6),
    _Channel("1600", 1600, 5, 0.0183, 17.6),
    _Channel("1700", 1700, 4, 0.0706, 17.7),
    _Channel("171_THIN", 171, 4, 1.4406, 17.7),
    _Channel("193_THIN", 193, 4, 1.2103, 18.3),
    _Channel("211_THIN", 211, 5, 0.7661, 18.3),
    _Channel("304_THIN", 304, 7, 0.0631, 18.3),
    _Channel("335_THIN", 335, 6, 0.0501, 17.6),
    _Channel("94_THIN", 94, 4, 0.2071, 18.3),
)
_STARTS = tuple(
    parse_time(text)
    for text in (
        "2010-03-24T00:00:00Z",
        "2011-04-05T00:00:00Z",
        "2012-06-05T00:00:00Z",
        "2013-07-25T00:00:00Z",
        "2014-10-20T00:00:00Z",
        "2015-08-06T00:00:00Z",
        "2016-10-08T00:00:00Z",
    )
)
_OPEN_END = parse_time("2030-05-01T00:00:00Z")
_VERSIONS = tuple(range(3, 11))
_MADE = parse_time("2012-07-01T18:03:04Z")
_YEAR = 365.25 * 86400.0

#: (version, channel, epoch) of every record, in the order in which they were made.
_ROWS = [(v, c, e) for v in _VERSIONS for c, channel in enumerate(_CHANNELS) for e in range(channel.epochs)]
COUNT = len(_ROWS)
_VERSION, _CHANNEL, _EPOCH = (np.array(column) for column in zip(*_ROWS, strict=True))


def _of(member: str) -> ColumnFunction:
    values = np.array([getattr(channel, member) for channel in _CHANNELS])
    return lambda frame: values[_CHANNEL[frame.slot]]


def _stop(frame: Frame) -> Floats:
    starts = np.array([*_STARTS, _OPEN_END])
    last = _EPOCH[frame.slot] + 1 >= _of("epochs")(frame)
    return np.where(last, _OPEN_END, starts[_EPOCH[frame.slot] + 1])


def timing(strand: Ints, slot: Ints) -> tuple[Floats, Ints]:
    """All records are as old as the first."""
    return np.full(len(slot), _STARTS[0]), slot


RESPONSE_COLUMNS: Mapping[str, ColumnFunction] = {
    "DATE": lambda frame: _MADE + (_VERSION[frame.slot] - 3) * _YEAR,
    "T_START": lambda frame: np.array(_STARTS)[_EPOCH[frame.slot]],
    "T_STOP": _stop,
    "VER_NUM": lambda frame: _VERSION[frame.slot],
    "WAVE_STR": _of("name"),
    "WAVELNTH": _of("wavelength"),
    "EPERDN": _of("electrons_per_dn"),
    "DNPERPHT": lambda frame: 12398.4 / frame["WAVELNTH"] / 3.65 / frame["EPERDN"],
    "EFF_AREA": lambda frame: _of("area")(frame) * (1.0 - 0.06 * _EPOCH[frame.slot]),
    "EFF_WVLN": lambda frame: frame["WAVELNTH"] + frame.around("EFF_WVLN", 0.0, 0.4),
    "EFFA_P1": lambda frame: frame.around("EFFA_P1", -2e-4, 1e-4),
    "EFFA_P2": lambda frame: frame.around("EFFA_P2", 0.0, 2e-7),
    "EFFA_P3": lambda frame: frame.around("EFFA_P3", 0.0, 1e-10),
    "RMSE": lambda frame: np.abs(frame.around("RMSE", 0.02, 0.015)),
}


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
