"""Patches of active regions: the space weather keywords of HMI's (SHARPs, HARPs) and of MDI's (SMARPs).

The structures of mdi.smarp_cea_96m and hmi.sharp_cea_720s are known keyword by keyword, and the latter's segments as
printed in 2021 (BUNIT of a segment comes from files, and differs from the structure). The keywords of mdi.smarp_96m
are those of mdi.smarp_cea_96m, and those of hmi.Mharp_720s the part of hmi.sharp_720s' that is about the HARP: this
is an assumption. Near-real-time series have the structure of the definitive ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Frame, texts
from mirror.simulator.synthetic.ephemeris import DAY
from mirror.simulator.synthetic.harps import Harps
from mirror.simulator.synthetic.hmi import FULL_DISK_FIELD
from mirror.simulator.synthetic.mdi import EVERY_96_MINUTES
from mirror.simulator.synthetic.noise import Floats, Values
from mirror.simulator.synthetic.population import Population
from mirror.simulator.synthetic.structure import Blueprint

_MICROHEMISPHERE = 1e6 / 20626.5  # in square degrees
_FLUX_A_MICROHEMISPHERE = 8.0e18  # maxwell
_SMARPS_MADE = parse_time("2021.05.20_00:00:00_TAI")


@dataclass(frozen=True)
class Camera:
    """The observer of patches: from where, arcseconds per pixel, and degrees per pixel of projected ones."""

    place: str
    scale: float
    cea_scale: float
    centre: tuple[float, float]  #: the disk centre in pixels
    upside_down: bool


HMI = Camera("sdo", 0.504042, 0.03, (2043.2, 2049.7), upside_down=True)
MDI = Camera("l1", 1.985993, 0.12, (512.5, 512.0), upside_down=False)


def sharp_columns(
    blueprint: Blueprint, harps: Harps, population: Population, *, cea: bool
) -> Mapping[str, ColumnFunction]:
    """The functions of hmi.sharp_720s and its like, or with ``cea`` of hmi.sharp_cea_720s'."""
    return {
        **FULL_DISK_FIELD,
        **_patch(harps, population),
        **_shape(HMI, cea=cea),
        **_of_segments(blueprint),
        "DATE_B": lambda frame: frame["DATE"] - 0.2 * DAY,
    }


#: Near real time is made within two hours.
QUICK: Mapping[str, ColumnFunction] = {
    "DATE": lambda frame: frame.time + 5400.0 + frame.below("DATE", 900),
    "DATE_S": lambda frame: frame["DATE"] - 2400.0,
    "DATE_B": lambda frame: frame["DATE"] - 600.0,
}


def smarp_columns(
    blueprint: Blueprint, harps: Harps, population: Population, *, cea: bool
) -> Mapping[str, ColumnFunction]:
    """The functions of mdi.smarp_96m, or with ``cea`` of mdi.smarp_cea_96m."""
    return {
        **EVERY_96_MINUTES,
        **_patch(harps, population),
        **_shape(MDI, cea=cea),
        **_of_segments(blueprint),
        "DATE": lambda frame: (
            _SMARPS_MADE + frame["TARPNUM"] * 40.0 + (frame.slot - harps.first[frame.strand])
        ),
        "TARPNUM": lambda frame: frame["HARPNUM"],
        "T_MID1": lambda frame: (frame["T_FRST1"] + frame["T_LAST1"]) / 2.0,
        "T_MAXPIX": lambda frame: frame["T_MID1"],
        "T_CMPASS": lambda frame: frame.time - frame["*lon*"] / 13.2 * DAY,
        "NPIX": lambda frame: np.rint(frame["SIZE"] * 0.73),
        "NACR": lambda frame: np.rint(frame["SIZE_ACR"] * 0.73),
        "NPIX_SPT": lambda frame: np.rint(frame["SIZE_SPT"] * 0.73),
        "SIZE_SPT": lambda frame: frame["SIZE_ACR"] * frame.around("spot", 0.12, 0.08),
        "AREA_SPT": lambda frame: frame["AREA_ACR"] * frame.around("spot", 0.12, 0.08),
        "CMASKL": lambda frame: np.rint(frame["AREA"] * 1.4),
    }


def _patch(harps: Harps, population: Population) -> Mapping[str, ColumnFunction]:
    return {
        **_of_the_harp(harps, population),
        **_STRENGTH,
        **_AREA,
        "*lon*": lambda frame: harps.centre(frame.strand, frame.slot),
        "*lat*": lambda frame: harps.latitude[frame.strand] + frame.around("lat", 0.0, 0.05),
        "*width*": lambda frame: harps.width[frame.strand] * _trembling(frame),
        "*height*": lambda frame: harps.height[frame.strand] * _trembling(frame),
        "*strength*": lambda frame: harps.strength[frame.strand] * frame.around("strength", 1.0, 0.04),
    }


def _trembling(frame: Frame) -> Floats:
    """Patches keep their box, except for small changes at its edge."""
    return frame.around("box", 1.0, 0.01)


def _of_the_harp(harps: Harps, population: Population) -> Mapping[str, ColumnFunction]:
    """What stays the same during the life of a HARP."""

    def at(slots: Callable[[], Values]) -> ColumnFunction:
        return lambda frame: frame.blueprint.axis.epoch + slots()[frame.strand] * frame.blueprint.axis.step

    def missing(frame: Frame) -> Values:
        first, stop = harps.first + harps.pad, harps.stop - harps.pad
        return (population.gaps.before(stop) - population.gaps.before(first))[frame.strand]

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
        "NOAA_NUM": lambda frame: harps.regions[frame.strand],
        "NOAA_ARS": lambda frame: harps.listed[frame.strand],
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
    "R_VALUE": lambda frame: np.where(frame["USFLUX"] > 3e21, 3.3 + np.log10(frame["USFLUX"] / 1e21), 0.0),
    "MEANGBL": lambda frame: 55.0 * frame["*strength*"] * frame.around("MEANGBL", 1.0, 0.2),
    "MTOT": lambda frame: frame["USFLUX"] * 6.2e-16,
    "MNET": lambda frame: frame["MTOT"] * frame.around("MNET", 0.0, 0.05),
    "MPOS_TOT": lambda frame: (frame["MTOT"] + frame["MNET"]) / 2.0,
    "MNEG_TOT": lambda frame: (frame["MTOT"] - frame["MNET"]) / 2.0,
    "MMEAN": lambda frame: frame["MNET"] / np.maximum(1.0, frame["AREA"]) * 0.033,
}


# ---- the shape of a patch ----------------------------------------------------------------------------


def _shape(camera: Camera, *, cea: bool) -> Mapping[str, ColumnFunction]:
    """Its pixels: cut out of the image, or projected with ``cea``."""
    across = (_projected if cea else _cut_out)(camera, "*width*", "*lon*")
    along = (_projected if cea else _cut_out)(camera, "*height*", "*lat*")
    return {
        "*across*": across,
        "*along*": along,
        "*dims*": lambda frame: texts("%dx%d", frame["*across*"], frame["*along*"]),
        "IMCRPIX1": lambda frame: frame.around("CRPIX1", camera.centre[0], 1.5),
        "IMCRPIX2": lambda frame: frame.around("CRPIX2", camera.centre[1], 1.5),
        **(_PROJECTED_CENTRE[camera.place] if cea else _cut_out_centre(camera)),
    }


def _cut_out(camera: Camera, degrees: str, along: str) -> ColumnFunction:
    """Pixels of the patch in the image along one side."""

    def pixels(frame: Frame) -> Values:
        shrunk = frame[degrees] * np.cos(np.radians(frame[along]))
        count = np.rint(shrunk * np.radians(1.0) * frame.view(camera.place).radius / camera.scale)
        return np.asarray(np.maximum(20, count).astype(np.int64))

    return pixels


def _projected(camera: Camera, degrees: str, _along: str) -> ColumnFunction:
    return lambda frame: np.maximum(20, np.rint(frame[degrees] / camera.cea_scale)).astype(np.int64)


def _cut_out_centre(camera: Camera) -> Mapping[str, ColumnFunction]:
    """The disk centre in pixels of the patch."""
    sign = -1.0 if camera.upside_down else 1.0

    def column(frame: Frame) -> Floats:
        lon, lat = np.radians(frame["*lon*"]), np.radians(frame["*lat*"])
        return np.asarray(sign * frame.view(camera.place).radius / camera.scale * np.cos(lat) * np.sin(lon))

    def row(frame: Frame) -> Floats:
        view = frame.view(camera.place)
        lat = np.radians(frame["*lat*"])
        return np.asarray(sign * view.radius / camera.scale * np.sin(lat - np.radians(view.latitude)))

    return {
        "CRPIX1": lambda frame: frame["*across*"] / 2.0 - column(frame),
        "CRPIX2": lambda frame: frame["*along*"] / 2.0 - row(frame),
    }


def _carrington(place: str) -> ColumnFunction:
    return lambda frame: (frame["*lon*"] + frame.view(place).longitude) % 360.0


_PROJECTED_CENTRE: Mapping[str, Mapping[str, ColumnFunction]] = {
    place: {
        "CROTA2": lambda frame: 0.0,
        "CRPIX1": lambda frame: (frame["*across*"] + 1) / 2.0,
        "CRPIX2": lambda frame: (frame["*along*"] + 1) / 2.0,
        "CRVAL1": _carrington(place),
        "CRVAL2": lambda frame: frame["*lat*"],
    }
    for place in ("sdo", "l1")
}


# ---- keywords that each segment has its own of ---------------------------------------------------------

_MEMBERS = ("DATAMIN", "DATAMAX", "DATAMEDN", "DATAMEAN", "DATARMS")
#: Typical pixels of a segment: unit, then roughly the minimum, maximum, median, mean and RMS.
_PIXELS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "magnetogram": ("Mx/cm^2", (-1850.0, 1700.0, -0.1, 0.5, 200.0)),
    "bitmap": ("", (0.0, 34.0, 1.0, 15.0, 16.0)),
    "Dopplergram": ("cm/s", (2100.0, 4900.0, 3440.0, 3450.0, 350.0)),
    "continuum": ("DN/s", (9300.0, 69900.0, 61800.0, 60800.0, 5500.0)),
    "Bp": ("Mx/cm^2", (-2250.0, 1550.0, 4.7, -15.0, 200.0)),
    "Bt": ("Mx/cm^2", (-1300.0, 1800.0, 5.4, 18.0, 180.0)),
    "Br": ("Mx/cm^2", (-2500.0, 2600.0, 0.9, 1.2, 270.0)),
    "conf_disambig": ("", (0.0, 90.0, 60.0, 63.0, 16.0)),
    "inclination": ("degree", (2.0, 178.0, 90.0, 90.0, 24.0)),
    "azimuth": ("degree", (0.0, 180.0, 90.0, 91.0, 52.0)),
    "field": ("Mx/cm^2", (2.0, 2900.0, 110.0, 190.0, 230.0)),
    "disambig": ("", (0.0, 7.0, 3.0, 3.4, 3.0)),
}
_ERROR = (4.5, 1400.0, 35.0, 38.0, 19.0)
_NORMAL = (0.44, 1.035, 1.0, 0.999, 0.017)
_OTHER = (0.0, 1000.0, 300.0, 320.0, 120.0)


def _of_segments(blueprint: Blueprint) -> Mapping[str, ColumnFunction]:
    """DATAMIN_000, DATAMIN_001 and so on, and the bare names, which are those of the first segment."""
    columns: dict[str, ColumnFunction] = {"*pixels*": lambda frame: frame["*across*"] * frame["*along*"]}
    for at, segment in reversed(list(enumerate(blueprint.series.segments))):
        unit, figures = _PIXELS.get(segment.name, (segment.units, _OTHER))
        if segment.name.endswith("_err"):
            unit, figures = "Mx/cm^2" if segment.units == "Gauss" else segment.units, _ERROR
        elif segment.units == "Normalized":
            unit, figures = segment.units, _NORMAL
        mine = {
            "BUNIT": _same(unit),
            "DATAVALS": lambda frame: frame["*pixels*"],
            "MISSVALS": _same(0),
            **{
                name: _near(f"{name} {segment.name}", figure, figures[4])
                for name, figure in zip(_MEMBERS, figures, strict=True)
            },
        }
        columns |= {f"{name}_{at:03d}": function for name, function in mine.items()} | mine
    return columns


def _same(value: str | int) -> ColumnFunction:
    return lambda frame: value


def _near(stream: str, figure: float, spread: float) -> ColumnFunction:
    return lambda frame: frame.around(stream, figure, min(0.3 * abs(figure) + 0.1, 0.3 * spread))
