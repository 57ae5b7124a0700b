"""AIA: the exposures of aia.lev1, and the two series that name them by slots of 12 and 24 seconds.

In every 24 seconds the four telescopes take 16 exposures: seven EUV wavelengths twice, and 1600 and
1700 once. No two fall into the same second, so T_REC alone distinguishes exposures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mirror.drms.slots import SlotAxis
from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame, observer_columns, stepped, texts
from mirror.simulator.synthetic.ephemeris import AU, DAY, turned_to_ecliptic
from mirror.simulator.synthetic.noise import Floats, Ints, Values
from mirror.simulator.synthetic.population import Grown, Line
from mirror.simulator.synthetic.printing import print_times

PERIOD = 24.0
EUV = (94, 131, 171, 193, 211, 304, 335)
UV = (1600, 1700)

#: Wavelength and seconds after the beginning of the 24, in order; EUV ones come again 12 s later.
_HALF = ((94, 1.12), (335, 2.62), (193, 4.84), (304, 6.12), (131, 8.62), (211, 9.62), (171, 11.34))
_TAKEN = sorted([*_HALF, *((w, t + 12.0) for w, t in _HALF), (1600, 3.72), (1700, 19.71)], key=lambda x: x[1])
_KNOWN_FSN, _KNOWN_TIME = 20781661, parse_time("2011-02-15T00:00:01.34Z")


@dataclass(frozen=True, slots=True)
class Channel:
    """The properties of one wavelength."""

    telescope: int
    wave_str: str
    exposure: float  #: seconds
    area: float  #: effective area, cm2
    mean: float  #: DN, of the image


_CHANNELS = {
    94: Channel(4, "94_THIN", 2.901, 0.31, 5.0),
    131: Channel(1, "131_THIN", 2.901, 1.17, 16.0),
    171: Channel(3, "171_THIN", 2.00019, 2.419, 250.0),
    193: Channel(2, "193_THIN", 2.00021, 1.91, 270.0),
    211: Channel(2, "211_THIN", 2.901, 1.31, 120.0),
    304: Channel(4, "304_THIN", 2.901, 0.063, 40.0),
    335: Channel(1, "335_THIN", 2.901, 0.09, 9.0),
    1600: Channel(3, "1600", 2.901, 0.018, 90.0),
    1700: Channel(3, "1700", 1.0, 0.07, 850.0),
}
LINE = Line(0.0, PERIOD, np.array([t for _, t in _TAKEN]))
_WAVELENGTHS = np.array([w for w, _ in _TAKEN])
PLACES = len(_TAKEN)  #: exposures in 24 s
#: FSN of exposure 0.
FIRST_FSN = _KNOWN_FSN - (int(_KNOWN_TIME // PERIOD) * PLACES + [w for w, _ in _TAKEN].index(171))

_BUILDS = {
    "2010.05.01_TAI": "V5R12X",
    "2013.01.01_TAI": "V8R0X",
    "2014.12.31_TAI": "V8R8X",
    "2018.06.01_TAI": "V9R2X",
    "2022.01.01_TAI": "V9R51X",
}
_PERCENTILES = {"01": 0.0, "10": 0.03, "25": 0.08, "75": 1.44, "90": 2.3, "95": 3.2, "98": 4.5, "99": 5.9}


def cycle(time: float) -> int:
    """The number of the 24 seconds in which a time lies."""
    return int(time // PERIOD)


def halves(axis: SlotAxis) -> int:
    """How many slots of a grid 24 seconds have."""
    return round(PERIOD / axis.step)


def exposure_of(waves: tuple[int, ...], per_cycle: int, strand: Ints, slot: Ints) -> Ints:
    """The exposure of each slot of a grid with so many slots in 24 s, strands by wavelength."""
    places = np.array([[i for i, (w, _) in enumerate(_TAKEN) if w == wave] for wave in waves])
    number, half = np.divmod(slot, per_cycle)
    return np.asarray(number * PLACES + places[strand, half])


def axes(axis: SlotAxis) -> Mapping[str, Grown]:
    """The axes of aia.lev1 that are not simply numbered: its seconds."""

    def to_time(slot: float) -> float:
        return axis.epoch + slot * axis.step

    return {"t_rec_index": Grown(LINE, lambda exposures: _nearest_slot(axis, LINE.times(exposures)), to_time)}


def _nearest_slot(axis: SlotAxis, times: Floats) -> Floats:
    return np.floor((times - axis.epoch) / axis.step + 0.5)


def lev1_columns(axis: SlotAxis) -> Mapping[str, ColumnFunction]:
    """The functions of aia.lev1, whose T_REC is the second nearest to T_OBS."""
    return {
        **AIA_COLUMNS,
        axis.index: lambda frame: _nearest_slot(axis, frame.time),
        axis.key: lambda frame: axis.epoch + _nearest_slot(axis, frame.time) * axis.step,
    }


def mean_of(wavelength: int) -> float:
    """About the mean of the images of a wavelength, in DN; for an unknown one, that of 171."""
    return _CHANNELS.get(wavelength, _CHANNELS[171]).mean


def by_channel(member: str) -> ColumnFunction:
    """A column that depends only on the wavelength."""
    known = {wavelength: getattr(channel, member) for wavelength, channel in _CHANNELS.items()}
    slots = np.array(sorted(known))
    values = np.array([known[wavelength] for wavelength in slots.tolist()])
    return lambda frame: values[np.searchsorted(slots, frame["WAVELNTH"])]


def _exposure_time(frame: Frame) -> Floats:
    """EXPTIME: a little shorter than commanded in a flare."""
    full = frame["*exposure*"] + frame.around("EXPTIME", 0.0, 1e-4)
    return np.where(frame.chance("flare", 0.003), full * 0.3, full)


def _quality(frame: Frame) -> Values:
    return np.where(
        frame.chance("open loop", 0.006), 0x40000000, np.where(frame.chance("QUALITY", 0.004), 0x100, 0)
    )


def _mean(frame: Frame) -> Floats:
    """DATAMEAN: the channel's brightness, with the cycle of activity and the aging of the instrument."""
    years = (frame.time - _KNOWN_TIME) / (365.25 * DAY)
    activity = 1.0 + 0.35 * np.sin((years - 0.6) * 2 * np.pi / 11.0)
    return frame["*mean*"] * activity * np.exp(-0.05 * years) * frame.around("DATAMEAN", 1.0, 0.05)


def _percentile(factor: float) -> ColumnFunction:
    return lambda frame: np.rint(frame["DATAMEAN"] * factor)


def _orbit_record(frame: Frame) -> Values:
    """ORB_REC: the orbit vectors of the minute."""
    minutes = np.array([text[:16] for text in print_times(frame.time, "UTC", 0)], dtype=object)
    return np.asarray("sdo.fds_orbit_vectors[" + minutes + ":00_UTC]")


def _position(at: int) -> ColumnFunction:
    """One coordinate of SDO from the Sun, in the ecliptic."""
    return lambda frame: turned_to_ecliptic(frame.view("sdo").position)[:, at]


def _from_earth(at: int) -> ColumnFunction:
    """One coordinate of SDO from the Earth, in the equatorial frame."""
    return lambda frame: (frame.view("sdo").position - frame.view("earth").position)[:, at]


AIA_COLUMNS: Mapping[str, ColumnFunction] = {
    **observer_columns("sdo"),
    "WAVELNTH": lambda frame: _WAVELENGTHS[frame.ident % PLACES],
    "*exposure*": by_channel("exposure"),
    "*mean*": by_channel("mean"),
    "DATE": lambda frame: np.floor(frame.time) + 7 * DAY + frame.below("DATE", 7200),
    "T_OBS": lambda frame: frame.time,
    "DATE__OBS": lambda frame: frame["T_OBS"] - frame["EXPTIME"] / 2.0,
    "ISPPKTIM": lambda frame: frame["T_OBS"] - 3.84,
    "BLD_VERS": lambda frame: stepped(frame.time, _BUILDS),
    "CAMERA": by_channel("telescope"),
    "INSTRUME": lambda frame: texts("AIA_%d", frame["CAMERA"]),
    "WAVE_STR": by_channel("wave_str"),
    "FSN": lambda frame: frame.ident + FIRST_FSN,
    "ASQFSN": lambda frame: frame["FSN"],
    "AIAHFSN": lambda frame: frame["FSN"] - 8,
    "ASQHDR": lambda frame: frame["FSN"] + (1 << 31),
    "ASQTNUM": lambda frame: frame["CAMERA"] - 1,
    "AIMGFSN": lambda frame: frame.ident % PLACES,
    "AIAWVLEN": lambda frame: np.searchsorted(np.array(EUV + UV), frame["WAVELNTH"]),
    "FID": lambda frame: 0,
    "EXPTIME": _exposure_time,
    "EXPSDEV": lambda frame: np.abs(frame.around("EXPSDEV", 1.5e-4, 1e-4)),
    "INT_TIME": lambda frame: frame["EXPTIME"] + 0.273,
    "AIMGSHCE": lambda frame: frame["EXPTIME"] * 1000.0,
    "AIMGOTS": lambda frame: frame["T_OBS"] + 599615965.0,
    "EFF_AREA": by_channel("area"),
    "QUALITY": _quality,
    "QUALLEV0": lambda frame: 0,
    "ACS_CGT": lambda frame: texts("GT%d", frame["CAMERA"]),
    "TOTVALS": lambda frame: 4096 * 4096,
    "MISSVALS": lambda frame: np.where(frame["QUALITY"] & 0x100, frame.below("MISSVALS", 60000), 0),
    "DATAVALS": lambda frame: frame["TOTVALS"] - frame["MISSVALS"],
    "PERCENTD": lambda frame: 100.0 * frame["DATAVALS"] / frame["TOTVALS"],
    "DATAMEAN": _mean,
    "DATAMEDN": lambda frame: frame["DATAMEAN"] * 0.69,
    "DATACENT": lambda frame: frame["DATAMEAN"] * 0.96,
    "DATARMS": lambda frame: frame["DATAMEAN"] * 1.27,
    "DATAMAX": lambda frame: np.minimum(16383, frame["DATAMEAN"] * frame.around("DATAMAX", 48.0, 30.0)),
    "NSATPIX": lambda frame: np.where(frame["DATAMAX"] > 16000, frame.below("NSATPIX", 4000), 0),
    "NSPIKES": lambda frame: frame.below("NSPIKES", 26000) + 900,
    **{f"DATAP{name}": _percentile(factor) for name, factor in _PERCENTILES.items()},
    "CDELT1": lambda frame: 0.599489 + 0.0002 * (frame["CAMERA"] - 3),
    "CDELT2": lambda frame: frame["CDELT1"],
    "IMSCL_MP": lambda frame: frame["CDELT1"],
    "R_SUN": lambda frame: frame["RSUN_OBS"] / frame["CDELT1"],
    "ORB_REC": _orbit_record,
    "DSUN_REF": lambda frame: AU,
    "HAEX_OBS": _position(0),
    "HAEY_OBS": _position(1),
    "HAEZ_OBS": _position(2),
    "GAEX_OBS": _from_earth(0),
    "GAEY_OBS": _from_earth(1),
    "GAEZ_OBS": _from_earth(2),
    "*dims spikes*": lambda frame: texts("%dx3", frame["NSPIKES"]),
    "*dims bad_pixel*": lambda frame: "1x1037",
}
