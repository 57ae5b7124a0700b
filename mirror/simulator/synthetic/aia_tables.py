"""AIA's tables of calibration: aia.response and aia.master_pointing3h.

aia.response has some hundred records, versions of a table of effective areas; they are simply listed. The columns of
aia.master_pointing3h for each channel are those that aiapy and JSOC's own programs read; VERSION and the values are
invented. Two facts that aiapy's own tests check are as at JSOC: how much of its first area the channel at 94 angstroms
has in 2015, while that at 4500 never loses any; and that the span of 2021-01-01T06:00 was not fitted, and belongs
to the record before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame
from mirror.simulator.synthetic.ephemeris import DAY
from mirror.simulator.synthetic.noise import Floats, Ints
from mirror.simulator.synthetic.population import Stretches, UtcGrid


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    wavelength: int
    epochs: int  #: how many spans of time it has
    area: float
    electrons_per_dn: float
    last_version: int = 10
    loss: float = 0.06  #: of the first area, from one epoch to the next
    drifts: bool = True  #: whether it changes within an epoch


_CHANNELS = (
    _Channel("131_THIN", 131, 6, 0.8949, 17.6),
    _Channel("1600", 1600, 5, 0.0183, 17.6),
    _Channel("1700", 1700, 4, 0.0706, 17.7),
    _Channel("171_THIN", 171, 4, 1.4406, 17.7),
    _Channel("193_THIN", 193, 4, 1.2103, 18.3),
    _Channel("211_THIN", 211, 5, 0.7661, 18.3),
    _Channel("304_THIN", 304, 7, 0.0631, 18.3),
    _Channel("335_THIN", 335, 6, 0.0501, 17.6),
    _Channel("4500", 4500, 1, 0.0162, 17.7, last_version=3, drifts=False),  # left out of all later versions
    _Channel("94_THIN", 94, 5, 0.2071, 18.3, loss=(1.0 - 0.86288462) / 4, drifts=False),
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
_ROWS = [
    (version, place, epoch)
    for version in _VERSIONS
    for place, channel in enumerate(_CHANNELS)
    for epoch in range(channel.epochs if version <= channel.last_version else 0)
]
COUNT = len(_ROWS)
_VERSION, _CHANNEL, _EPOCH = (np.array(column) for column in zip(*_ROWS, strict=True))


def _of(member: str) -> ColumnFunction:
    values = np.array([getattr(channel, member) for channel in _CHANNELS])
    return lambda frame: values[_CHANNEL[frame.slot]]


def _drift(name: str, mean: float, spread: float) -> ColumnFunction:
    """A coefficient of how the area changes within an epoch."""
    return lambda frame: np.where(_of("drifts")(frame), frame.around(name, mean, spread), 0.0)


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
    "EFF_AREA": lambda frame: _of("area")(frame) * (1.0 - _of("loss")(frame) * _EPOCH[frame.slot]),
    "EFF_WVLN": lambda frame: frame["WAVELNTH"] + frame.around("EFF_WVLN", 0.0, 0.4),
    "EFFA_P1": _drift("EFFA_P1", -2e-4, 1e-4),
    "EFFA_P2": _drift("EFFA_P2", 0.0, 2e-7),
    "EFFA_P3": _drift("EFFA_P3", 0.0, 1e-10),
    "RMSE": lambda frame: np.abs(frame.around("RMSE", 0.02, 0.015)),
}


# ---- pointing ---------------------------------------------------------------------------------------

POINTING_FIRST = parse_time("2010-05-13T00:00:00Z")
POINTING_LAG = 10 * DAY
POINTING = UtcGrid(3 * 3600.0)
POINTING_LOST = parse_time("2021-01-01T06:00:00Z")
_POINTED = ("094", "131", "171", "193", "211", "304", "335", "1600", "1700", "4500")
#: The centre of the Sun in the images of each telescope, the scale, and the rotation.
_TELESCOPES = {
    1: (2053.3, 2047.7, 0.600109, -0.0192),
    2: (2053.0, 2046.8, 0.600698, -0.0191),
    3: (2052.6, 2049.2, 0.599489, -0.0195),
    4: (2047.4, 2047.5, 0.599758, -0.1336),
}
_TELESCOPE = {
    "094": 4,
    "131": 1,
    "171": 3,
    "193": 2,
    "211": 2,
    "304": 4,
    "335": 1,
    "1600": 3,
    "1700": 3,
    "4500": 3,
}


def _pointing(channel: str) -> Mapping[str, ColumnFunction]:
    """The four columns of a channel; a fit fails now and then, and then all four are missing."""
    x, y, scale, rotation = _TELESCOPES[_TELESCOPE[channel]]

    def fitted(member: str, value: float, spread: float, drift: float) -> ColumnFunction:
        def column(frame: Frame) -> Floats:
            years = (frame.time - POINTING_FIRST) / _YEAR
            made = value + drift * years + frame.around(f"{channel} {member}", 0.0, spread)
            return np.where(frame.chance(f"{channel} fit", 0.002), np.nan, made)

        return column

    return {
        f"A_{channel}_X0": fitted("X0", x, 0.8, 0.35),
        f"A_{channel}_Y0": fitted("Y0", y, 0.8, 0.12),
        f"A_{channel}_INSTROT": fitted("INSTROT", rotation, 2e-4, 0.0),
        f"A_{channel}_IMSCALE": fitted("IMSCALE", scale, 4e-6, 0.0),
    }


def pointing_columns(gaps: Stretches) -> Mapping[str, ColumnFunction]:
    """The columns of aia.master_pointing3h, where a record is valid until the next: over the spans in ``gaps``."""

    def stop(frame: Frame) -> Floats:
        following = frame.slot + 1
        while (lost := gaps.holds(following)).any():
            following = following + lost
        return POINTING.times(following)

    return {
        "T_START": lambda frame: frame.time,
        "T_STOP": stop,
        "DATE": lambda frame: frame.time + 8 * DAY + frame.below("DATE", 40000),
        "VERSION": lambda frame: 1,
        **{name: function for channel in _POINTED for name, function in _pointing(channel).items()},
    }
