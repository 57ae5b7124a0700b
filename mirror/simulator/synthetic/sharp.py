"""SHARPs: the space weather keywords of each HARP, on the CCD and in cylindrical equal area."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mirror.simulator.synthetic.columns import ColumnFunction, Frame, texts
from mirror.simulator.synthetic.ephemeris import DAY
from mirror.simulator.synthetic.harps import Harps
from mirror.simulator.synthetic.hmi import FULL_DISK_FIELD
from mirror.simulator.synthetic.noise import Floats, Values
from mirror.simulator.synthetic.population import Population

_MICROHEMISPHERE = 1e6 / 20626.5  # in square degrees
_FLUX_A_MICROHEMISPHERE = 8.0e18  # maxwell
_SCALE = 0.504042  # arcseconds a pixel
_CEA_SCALE = 0.03  # degrees a pixel


def sharp_columns(harps: Harps, population: Population, *, cea: bool) -> Mapping[str, ColumnFunction]:
    """The functions of hmi.sharp_720s, or with ``cea`` of hmi.sharp_cea_720s."""
    shape = _cea_shape if cea else _ccd_shape
    return {
        **FULL_DISK_FIELD,
        **_of_the_harp(harps, population),
        **_STRENGTH,
        **_AREA,
        **shape,
        "DATE_B": lambda frame: frame["DATE"] - 0.2 * DAY,
        "*lon*": lambda frame: harps.centre(frame.strand, frame.slot),
        "*lat*": lambda frame: harps.latitude[frame.strand] + frame.around("lat", 0.0, 0.05),
        "*width*": lambda frame: harps.width[frame.strand] * _trembling(frame),
        "*height*": lambda frame: harps.height[frame.strand] * _trembling(frame),
        "*strength*": lambda frame: harps.strength[frame.strand] * frame.around("strength", 1.0, 0.04),
    }


def _trembling(frame: Frame) -> Floats:
    """Patches keep their box; only its edge trembles a little."""
    return frame.around("box", 1.0, 0.01)


def _of_the_harp(harps: Harps, population: Population) -> Mapping[str, ColumnFunction]:
    """What stays the same through the life of a HARP."""

    def at(slots: Callable[[], Values]) -> ColumnFunction:
        return lambda frame: frame.blueprint.axis.epoch + slots()[frame.strand] * frame.blueprint.axis.step

    def missing(frame: Frame) -> Values:
        first, stop = harps.first + harps.pad, harps.stop - harps.pad
        return (population.gaps.before(stop) - population.gaps.before(first))[frame.strand]

    def region_text(frame: Frame) -> Values:
        numbers = harps.region[frame.strand]
        return np.where(numbers > 0, texts("%d", numbers), "")

    half = harps.width / 2.0
    return {
        "HARPNUM": lambda frame: harps.numbers[frame.strand],
        "T_FRST": at(lambda: harps.first),
        "T_FRST1": at(lambda: harps.first + harps.pad),
        "T_LAST1": at(lambda: harps.stop - 1 - harps.pad),
        "T_LAST": at(lambda: harps.stop - 1),
        "N_PATCH": lambda frame: (harps.stop - harps.first)[frame.strand],
        "N_PATCH1": lambda frame: (harps.stop - harps.first - 2 * harps.pad)[frame.strand],
        "N_PATCHM": missing,
        "NOAA_AR": lambda frame: harps.region[frame.strand],
        "NOAA_NUM": lambda frame: (harps.region[frame.strand] > 0).astype(np.int64),
        "NOAA_ARS": region_text,
        "LATDTMIN": lambda frame: (harps.latitude - harps.height / 2.0)[frame.strand],
        "LATDTMAX": lambda frame: (harps.latitude + harps.height / 2.0)[frame.strand],
        "LONDTMIN": lambda frame: (harps.longitude - half)[frame.strand],
        "LONDTMAX": lambda frame: (harps.longitude + half)[frame.strand],
        "OMEGA_DT": lambda frame: 14.05 - 2.0 * np.sin(np.radians(harps.latitude[frame.strand])) ** 2,
        "H_MERGE": lambda frame: frame.chance("H_MERGE", 0.002).astype(np.int64),
        "H_FAINT": lambda frame: frame.chance("H_FAINT", 0.004).astype(np.int64),
    }


def _projection(frame: Frame) -> Floats:
    """The cosine of the angle between the line of sight and the vertical at the patch."""
    lon, lat = np.radians(frame["*lon*"]), np.radians(frame["*lat*"])
    return np.asarray(np.maximum(0.05, np.cos(lon) * np.cos(lat)))


def _longitude(offset: float) -> ColumnFunction:
    return lambda frame: frame["*lon*"] + offset * frame["*width*"]


def _latitude(offset: float) -> ColumnFunction:
    return lambda frame: frame["*lat*"] + offset * frame["*height*"]


_AREA: Mapping[str, ColumnFunction] = {
    "AREA": lambda frame: frame["*width*"] * frame["*height*"] * _MICROHEMISPHERE * 0.6,
    "SIZE": lambda frame: 2.0 * frame["AREA"] * _projection(frame),
    "AREA_ACR": lambda frame: frame["AREA"] * np.clip(frame.around("active", 0.2, 0.03), 0.0, 1.0),
    "SIZE_ACR": lambda frame: 2.0 * frame["AREA_ACR"] * _projection(frame),
    "NPIX": lambda frame: frame["SIZE"] * 11.0,
    "NACR": lambda frame: frame["SIZE_ACR"] * 11.0,
    "CMASK": lambda frame: np.rint(frame["AREA"] * 8.4),
    "CMASKL": lambda frame: np.rint(frame["AREA"] * 22.0),
    "LAT_MIN": _latitude(-0.5),
    "LAT_MAX": _latitude(0.5),
    "LON_MIN": _longitude(-0.5),
    "LON_MAX": _longitude(0.5),
    "LAT_FWT": _latitude(0.02),
    "LON_FWT": _longitude(0.01),
    "LAT_FWTPOS": _latitude(-0.04),
    "LON_FWTPOS": _longitude(0.14),
    "LAT_FWTNEG": _latitude(0.05),
    "LON_FWTNEG": _longitude(-0.13),
}

_STRENGTH: Mapping[str, ColumnFunction] = {
    "USFLUX": lambda frame: frame["AREA"] * frame["*strength*"] * _FLUX_A_MICROHEMISPHERE,
    "USFLUXL": lambda frame: frame["USFLUX"] * 0.62,
    "ERRVF": lambda frame: frame["USFLUX"] * 6e-4,
    "TOTUSJZ": lambda frame: frame["USFLUX"] * 2.3e-9,
    "ERRUSI": lambda frame: frame["TOTUSJZ"] * 0.006,
    "TOTUSJH": lambda frame: frame["USFLUX"] * 1.15e-19,
    "ERRTUI": lambda frame: frame["TOTUSJH"] * 0.008,
    "ABSNJZH": lambda frame: np.abs(frame["TOTUSJH"] * frame.around("twist", 0.08, 0.16)),
    "ERRTAI": lambda frame: frame["ERRTUI"],
    "SAVNCPP": lambda frame: frame["TOTUSJZ"] * np.abs(frame.around("net", 0.12, 0.2)),
    "ERRJHT": lambda frame: frame["SAVNCPP"] * 0.03,
    "MEANPOT": lambda frame: 4.5e3 * frame["*strength*"] ** 2,
    "ERRMPOT": lambda frame: frame["MEANPOT"] * 2e-3,
    "TOTPOT": lambda frame: frame["MEANPOT"] * frame["CMASK"] * 1.3e15,
    "ERRTPOT": lambda frame: frame["TOTPOT"] * 2e-3,
    "R_VALUE": lambda frame: np.where(frame["USFLUX"] > 3e21, 2.8 + np.log10(frame["USFLUX"] / 1e21), 0.0),
    "MTOT": lambda frame: frame["USFLUX"] * 6.2e-16,
    "MNET": lambda frame: frame["MTOT"] * frame.around("MNET", 0.0, 0.05),
    "MPOS_TOT": lambda frame: (frame["MTOT"] + frame["MNET"]) / 2.0,
    "MNEG_TOT": lambda frame: (frame["MTOT"] - frame["MNET"]) / 2.0,
    "MMEAN": lambda frame: frame["MNET"] / np.maximum(1.0, frame["AREA"]) * 0.033,
}


def _pixels(frame: Frame, degrees: str, along: str) -> Values:
    """Pixels of the patch on the CCD along one side."""
    shrunk = frame[degrees] * np.cos(np.radians(frame[along]))
    pixels = np.rint(shrunk * np.radians(1.0) * frame.view("sdo").radius / _SCALE)
    return np.asarray(np.maximum(20, pixels).astype(np.int64))


def _ccd_centre(frame: Frame) -> tuple[Floats, Floats]:
    """The patch's centre in pixels from the disk centre; the camera is upside down."""
    lon, lat = np.radians(frame["*lon*"]), np.radians(frame["*lat*"])
    radius = frame.view("sdo").radius / _SCALE
    return -radius * np.cos(lat) * np.sin(lon), -radius * np.sin(lat - np.radians(frame.view("sdo").latitude))


def _ccd_columns(frame: Frame) -> Values:
    return _pixels(frame, "*width*", "*lon*")


def _ccd_rows(frame: Frame) -> Values:
    return _pixels(frame, "*height*", "*lat*")


def _cea_columns(frame: Frame) -> Values:
    return np.maximum(20, np.rint(frame["*width*"] / _CEA_SCALE)).astype(np.int64)


def _cea_rows(frame: Frame) -> Values:
    return np.maximum(20, np.rint(frame["*height*"] / _CEA_SCALE)).astype(np.int64)


_ccd_shape: Mapping[str, ColumnFunction] = {
    "*dims*": lambda frame: texts("%dx%d", _ccd_columns(frame), _ccd_rows(frame)),
    "DATAVALS": lambda frame: _ccd_columns(frame) * _ccd_rows(frame),
    "IMCRPIX1": lambda frame: frame.around("CRPIX1", 2043.2, 1.5),
    "IMCRPIX2": lambda frame: frame.around("CRPIX2", 2049.7, 1.5),
    "CRPIX1": lambda frame: _ccd_columns(frame) / 2.0 - _ccd_centre(frame)[0],
    "CRPIX2": lambda frame: _ccd_rows(frame) / 2.0 - _ccd_centre(frame)[1],
}

_cea_shape: Mapping[str, ColumnFunction] = {
    "*dims*": lambda frame: texts("%dx%d", _cea_columns(frame), _cea_rows(frame)),
    "DATAVALS": lambda frame: _cea_columns(frame) * _cea_rows(frame),
    "IMCRPIX1": lambda frame: frame.around("CRPIX1", 2043.2, 1.5),
    "IMCRPIX2": lambda frame: frame.around("CRPIX2", 2049.7, 1.5),
    "CROTA2": lambda frame: 0.0,
    "CRPIX1": lambda frame: (_cea_columns(frame) + 1) / 2.0,
    "CRPIX2": lambda frame: (_cea_rows(frame) + 1) / 2.0,
    "CRVAL1": lambda frame: (frame["*lon*"] + frame.view("sdo").longitude) % 360.0,
    "CRVAL2": lambda frame: frame["*lat*"],
}
