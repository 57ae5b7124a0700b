"""HMI: the observables every 45 and 720 seconds, and what the vector field series share with them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import BLANK, ColumnFunction, Frame, observer_columns, stepped, texts
from mirror.simulator.synthetic.ephemeris import AU, DAY, LIGHT
from mirror.simulator.synthetic.noise import Floats, Ints, Values
from mirror.simulator.synthetic.printing import print_times

#: From here on the 720 s observables come from both cameras.
BOTH_CAMERAS = parse_time("2016.04.13_19:12:00_TAI")
FIRST_LIGHT = parse_time("2010.05.01_00:00:00_TAI")
_INSTRUMENTS = {1: "HMI_SIDE1", 2: "HMI_FRONT2", 3: "HMI_COMBINED"}
_PIXELS = 12702939  # within the crop radius
_BLANK_QUALITY = 0x80000200 - (1 << 32)  # bit 31: no image

_POLCAL = {
    "2010.05.01_TAI": "$Id: polcal.c,v 1.3 2010/09/22 18:07:12 couvidat Exp $",
    "2013.12.24_TAI": "$Id: polcal.c,v 1.5 2013/12/22 22:54:08 couvidat Exp $",
    "2016.10.05_TAI": "$Id: polcal.c,v 1.8 2016/10/03 19:11:21 arta Exp $",
}
_INTERPOLATION = {
    "2010.05.01_TAI": "$Id: interpol_code.c,v 1.3 2012/10/23 23:49:48 kehcheng Exp $",
    "2017.09.02_TAI": "$Id: interpol_code.c,v 1.6 2017/08/31 22:17:13 arta Exp $",
}
_OBSERVABLES = {
    "2010.05.01_TAI": "$Id: HMI_observables.c,v 1.40 2013/03/18 19:02:11 couvidat Exp $",
    "2014.01.15_TAI": "$Id: HMI_observables.c,v 1.43 2014/01/14 22:51:34 couvidat Exp $",
    "2018.09.01_TAI": "$Id: HMI_observables.c,v 1.57 2018/08/31 22:42:51 phil Exp $",
}
_CALIBRATION = {
    "2010.05.01_TAI": 0x10,
    "2012.06.01_TAI": 0x1112,
    "2014.01.15_TAI": 0x2112,
    "2016.04.13_TAI": 0x42112,
    "2019.03.13_TAI": 0x10042012,
}


def observed(frame: Frame) -> Floats:
    """T_OBS: the nominal time is that of the light at one astronomical unit."""
    return frame.time + (frame.view("sdo").distance - AU) / LIGHT


def _exposed(frame: Frame) -> Floats:
    """DATE__OBS, to a tenth of a second: the side camera takes longer."""
    half = np.where(frame["CAMERA"] == 1, 67.5, 45.0)
    return np.rint(10.0 * (frame["T_OBS"] - half)) / 10.0


def processed(frame: Frame) -> Floats:
    """DATE: four days later, in order, a day at a time; newer versions two days after that."""
    midnight = np.floor(frame.time / DAY) * DAY
    order = (frame.time - midnight) / frame.blueprint.axis.step
    return midnight + 4 * DAY + 63960.0 + 35.0 + 2.0 * np.floor(order) + 2 * DAY * frame.newer


def calibrated(frame: Frame) -> Values:
    """CALVER64; the calibration of newer versions has one more bit."""
    known: Ints = stepped(frame.time, _CALIBRATION).astype(np.int64)
    return np.asarray(known | (frame.newer.astype(np.int64) << 20))


def quality(frame: Frame) -> Values:
    """QUALITY: zero but for a few records; bit 31 for blank ones."""
    some_missing = np.where(frame.chance("frames missing", 0.02), 0x400, 0)
    eclipse = np.where(frame.chance("eclipse", 0.004), 0x4000, 0)
    return np.where(frame[BLANK], _BLANK_QUALITY, some_missing | eclipse)


def missing_pixels(frame: Frame) -> Values:
    """MISSVALS: some, where frames were missing."""
    return np.where(frame["QUALITY"] & 0x400, frame.below("MISSVALS", 90000), 0)


def _scale(frame: Frame) -> Floats:
    """CDELT: the optics expand and shrink with the seasons."""
    return 0.50421 + 9e-5 * np.sin(frame.time / (365.25 * DAY) * 2 * np.pi) + frame.around("CDELT", 0.0, 4e-6)


def camera_by_time(frame: Frame) -> Values:
    """CAMERA of a series whose records are made from both cameras since 2016."""
    return np.where(frame.time < BOTH_CAMERAS, 1, 3)


def instrument(frame: Frame) -> Values:
    """INSTRUME, by the camera."""
    names = np.array(["", *_INSTRUMENTS.values()], dtype=object)
    return np.asarray(names[np.clip(frame["CAMERA"], 0, 3)])


def stokes_source(frame: Frame) -> Values:
    """SOURCE of what is made from Stokes parameters."""
    names = np.array(print_times(frame.time, "TAI", 0), dtype=object)
    return np.asarray("hmi.S_720s[" + names + "]")


def _mean_velocity(frame: Frame) -> Floats:
    """DATAMEAN of a Dopplergram: the velocity of the spacecraft, and a little of the Sun's."""
    return frame["OBS_VR"] + frame.around("DATAMEAN", -4.0, 9.0)


_FULL_DISK: Mapping[str, ColumnFunction] = {
    **observer_columns("sdo"),
    BLANK: lambda frame: frame.chance("blank", 0.0005),
    "DATE": processed,
    "T_OBS": observed,
    "DATE__OBS": _exposed,
    "CAMERA": camera_by_time,
    "INSTRUME": instrument,
    "QUALITY": quality,
    "QUALLEV1": lambda frame: np.where(frame["QUALITY"] & 0x4000, 0x10, 0),
    "CALVER64": calibrated,
    "CROTA2": lambda frame: frame.around("CROTA2", 179.93, 0.003),
    "CRPIX1": lambda frame: frame.around("CRPIX1", 2043.2, 1.5),
    "CRPIX2": lambda frame: frame.around("CRPIX2", 2049.7, 1.5),
    "DATAVALS": lambda frame: _PIXELS - frame["MISSVALS"],
    "MISSVALS": missing_pixels,
}

#: The vector field of the full disk.
FULL_DISK_FIELD: Mapping[str, ColumnFunction] = {
    **_FULL_DISK,
    "DATE_S": lambda frame: frame["DATE"] - 0.7 * DAY,
    "DATE_ME": lambda frame: frame["DATE"] - 0.3 * DAY,
    "QUAL_S": lambda frame: frame["QUALITY"],
    "QUAL_ME": lambda frame: frame["QUALITY"],
    "SOURCE": stokes_source,
    "CODEVER1": lambda frame: stepped(frame.time, _INTERPOLATION),
    "CODEVER2": lambda frame: stepped(frame.time, _INTERPOLATION),
    "CODEVER3": lambda frame: stepped(frame.time, _POLCAL),
}

_OBSERVABLE: Mapping[str, ColumnFunction] = {
    **_FULL_DISK,
    "CDELT1": _scale,
    "CDELT2": _scale,
    "TOTVALS": lambda frame: _PIXELS,
    "SATVALS": lambda frame: frame.below("SATVALS", 40),
    "CAL_FSN": lambda frame: 22100000 + ((frame.time - FIRST_LIGHT) // (28 * DAY)).astype(np.int64) * 872200,
    "LUTQUERY": lambda frame: texts(
        "hmi.lookup_corrected_expanded[%d][][3][37][51][0][80][6]", frame["CAL_FSN"]
    ),
    "TSEL": lambda frame: frame.around("TSEL", 22.76, 0.03),
    "TFRONT": lambda frame: frame.around("TFRONT", 34.1, 0.4),
    "CODEVER0": lambda frame: stepped(frame.time, _OBSERVABLES),
    "CODEVER1": lambda frame: stepped(frame.time, _INTERPOLATION),
    "CODEVER2": lambda frame: stepped(frame.time, _INTERPOLATION),
    "CODEVER3": lambda frame: stepped(frame.time, _POLCAL),
    "COMMENT": lambda frame: "De-rotation: ON; Un-distortion: ON; Re-centering: ON; Re-sizing: OFF",
}

#: The observables made by two cameras together.
SLOW_OBSERVABLE: Mapping[str, ColumnFunction] = _OBSERVABLE

#: Those of the front camera alone.
FAST_OBSERVABLE: Mapping[str, ColumnFunction] = {
    **_OBSERVABLE,
    "CAMERA": lambda frame: 2,
    "DATE__OBS": lambda frame: np.rint(10.0 * (frame["T_OBS"] - 22.5)) / 10.0,
}

VELOCITY: Mapping[str, ColumnFunction] = {
    "DATAMEAN": _mean_velocity,
    "DATAMEDN": lambda frame: frame["DATAMEAN"] + frame.around("DATAMEDN", 5.0, 6.0),
    "DATAMEA2": lambda frame: frame["DATAMEAN"] + frame.around("DATAMEA2", 2.0, 3.0),
    "DATAMED2": lambda frame: frame["DATAMEAN"] + frame.around("DATAMED2", 6.0, 6.0),
    "DATAMIN": lambda frame: frame["DATAMEAN"] + frame.around("DATAMIN", -5200.0, 900.0),
    "DATAMAX": lambda frame: frame["DATAMEAN"] + frame.around("DATAMAX", 5100.0, 900.0),
}
