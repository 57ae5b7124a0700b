"""Positions of the Sun, the Earth and SDO, from which the keywords CRLT_OBS, CAR_ROT, DSUN_OBS, OBS_VR are computed.

The Earth comes from ``erfa`` (the routines below astropy) on a grid of four days, between which a cubic
interpolation is good to ten kilometres. SDO flies a circle around the Earth, inclined and geosynchronous,
whose elements were fitted to observed velocities: they come out within some 10 m/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirror.simulator.synthetic.noise import Floats, Ints

Vectors = NDArray[np.float64]  #: shape (n, 3), or (3,) for one

AU = 149597870691.0  #: metres, the value of DSUN_REF
RSUN = 696000000.0  #: metres, the value of RSUN_REF
LIGHT = 299792458.0
DAY = 86400.0

_JD_1977 = 2443144.5  # Julian day of 1977.01.01_00:00:00, the zero of DRMS times
_TT_TAI = 32.184
_J2000 = 2451545.0
_GRID = 4 * DAY
_FIRST, _LAST = 15 * 365.25 * DAY, 69 * 365.25 * DAY  # 1992 to 2045: what the grid spans
_YEAR_2016 = 14244 * DAY  # 2016.01.01, the zero of SDO's elements
_RADIUS, _RATE = 42164170.0, 7.2921150e-5  # of a geosynchronous orbit: metres, radians a second
#: Inclination and its change a year; node, its change and the change of that; longitude over the Earth:
#: degrees, at the beginning of 2016.
SDO_ELEMENTS = (28.253257, 0.067083, 150.052378, -6.439417, 0.050365, -102.164209)
_POLE = np.radians([286.13, 63.87])  # right ascension and declination of the Sun's north pole
_CARRINGTON_YEAR_0 = 2398167.4  # Julian day at which rotation 1 began
_CARRINGTON_PERIOD = 27.2752316
_COS_TILT, _SIN_TILT = (float(f(np.radians(23.4392911))) for f in (np.cos, np.sin))  # of the ecliptic
_LATITUDE_BIAS = -1.3e-4  # degrees, against JSOC's own CRLT_OBS


@dataclass(frozen=True)
class View:
    """The Sun as seen by observers at some times; arrays of equal length, in the units of the keywords."""

    distance: Floats  #: metres to the Sun's centre
    latitude: Floats  #: degrees: heliographic latitude of the observer
    longitude: Floats  #: degrees: Carrington longitude of the observer, in [0, 360)
    rotation: Ints  #: Carrington rotation number
    vr: Floats  #: m/s, away from the Sun
    vw: Floats  #: m/s, westward
    vn: Floats  #: m/s, northward
    position: Vectors  #: metres from the Sun, equatorial
    velocity: Vectors  #: m/s, equatorial

    @property
    def radius(self) -> Floats:
        """Angular radius of the Sun in arcseconds."""
        return np.degrees(np.arcsin(RSUN / self.distance)) * 3600.0


class Ephemeris:
    """Views of the Sun at any time from 1992 to 2045; times are seconds after 1977.01.01_TAI."""

    def from_earth(self, seconds: Floats) -> View:
        """As seen from the centre of the Earth."""
        return _view(seconds, *self._earth(seconds))

    def from_l1(self, seconds: Floats) -> View:
        """As seen from a hundredth of the way to the Sun, where SOHO is."""
        position, velocity = self._earth(seconds)
        return _view(seconds, 0.99 * position, 0.99 * velocity)

    def from_sdo(self, seconds: Floats) -> View:
        """As seen from SDO."""
        position, velocity = self._earth(seconds)
        offset, drift = _sdo(seconds)
        return _view(seconds, position + offset, velocity + drift)

    def _earth(self, seconds: Floats) -> tuple[Vectors, Vectors]:
        """Heliocentric position (m) and velocity (m/s) of the Earth, equatorial, shape (n, 3)."""
        place = (np.asarray(seconds, dtype=np.float64) - _FIRST) / _GRID
        cell = np.clip(place.astype(np.int64), 0, len(self._grid[0]) - 2)
        return _hermite(*self._grid, cell, place - cell)

    @cached_property
    def _grid(self) -> tuple[Vectors, Vectors]:
        import erfa  # noqa: PLC0415 - a simulator that serves recorded worlds only does without it

        days = np.arange(_FIRST, _LAST, _GRID) / DAY + _TT_TAI / DAY
        heliocentric, _ = erfa.epv00(_JD_1977, days)
        au = 149597870700.0
        return heliocentric["p"] * au, heliocentric["v"] * au / DAY


def _hermite(places: Vectors, speeds: Vectors, cell: Ints, part: Floats) -> tuple[Vectors, Vectors]:
    """Cubic interpolation of a grid of places and speeds, and its derivative."""
    t = part[:, None]
    p0, p1, m0, m1 = places[cell], places[cell + 1], speeds[cell] * _GRID, speeds[cell + 1] * _GRID
    rise = p1 - p0
    c2, c3 = 3 * rise - 2 * m0 - m1, m0 + m1 - 2 * rise
    return p0 + t * (m0 + t * (c2 + t * c3)), (m0 + t * (2 * c2 + 3 * t * c3)) / _GRID


def _sdo(seconds: Floats) -> tuple[Vectors, Vectors]:
    """SDO's place (m) and speed (m/s) from the centre of the Earth, equatorial."""
    years = (seconds - _YEAR_2016) / (365.25 * DAY)
    tilt = np.radians(SDO_ELEMENTS[0] + SDO_ELEMENTS[1] * years)
    node = np.radians(SDO_ELEMENTS[2] + SDO_ELEMENTS[3] * years + SDO_ELEMENTS[4] * years**2)
    days = (seconds - 35.0) / DAY + _JD_1977 - _J2000
    along = np.radians(280.46061837 + 360.98564736629 * days + SDO_ELEMENTS[5]) - node
    towards = np.stack([np.cos(node), np.sin(node), np.zeros_like(node)], axis=-1)
    across = np.stack([-np.sin(node) * np.cos(tilt), np.cos(node) * np.cos(tilt), np.sin(tilt)], axis=-1)
    c, s = np.cos(along)[:, None], np.sin(along)[:, None]
    return _RADIUS * (c * towards + s * across), _RADIUS * _RATE * (c * across - s * towards)


def _axes() -> tuple[Vectors, Vectors, Vectors]:
    """The Sun's axes: along the node of its equator, across it, and north."""
    right_ascension, declination = _POLE
    node = np.array([-np.sin(right_ascension), np.cos(right_ascension), 0.0])
    flat = np.cos(declination)
    north = np.array([flat * np.cos(right_ascension), flat * np.sin(right_ascension), np.sin(declination)])
    return node, _cross(north, node), north


def _view(seconds: Floats, position: Vectors, velocity: Vectors) -> View:
    node, across, north = _axes()
    distance = np.sqrt(_dot(position, position))
    outward = position / distance[:, None]
    westward = _cross(north, outward)
    westward /= np.sqrt(_dot(westward, westward))[:, None]
    inertial = np.degrees(np.arctan2(_dot(outward, across), _dot(outward, node)))
    days = (seconds + _TT_TAI - distance / LIGHT) / DAY + _JD_1977
    longitude = (inertial - (84.176 + 14.1844 * (days - _J2000))) % 360.0
    return View(
        distance,
        np.degrees(np.arcsin(_dot(outward, north))) + _LATITUDE_BIAS,
        longitude,
        _rotation(days, longitude),
        _dot(velocity, outward),
        _dot(velocity, westward),
        _dot(velocity, _cross(outward, westward)),
        position,
        velocity,
    )


def _dot(one: Vectors, other: Vectors) -> Floats:
    """The scalar product of vectors in the last axis.

    Written out, because ``@`` and ``einsum`` add in another order for one record than for many, and a
    record's last bits must not depend on the other records of a request.
    """
    product = one * other
    return np.asarray(product[..., 0] + product[..., 1] + product[..., 2])


def _cross(one: Vectors, other: Vectors) -> Vectors:
    """The vector product in the last axis, written out as ``_dot`` is."""
    (a, b, c), (x, y, z) = (np.moveaxis(vectors, -1, 0) for vectors in (one, other))
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)


def turned_to_ecliptic(equatorial: Vectors) -> Vectors:
    """Vectors in the ecliptic instead of the equatorial frame of J2000."""
    x, y, z = np.moveaxis(equatorial, -1, 0)
    return np.stack([x, _COS_TILT * y + _SIN_TILT * z, _COS_TILT * z - _SIN_TILT * y], axis=-1)


def rotation_start(rotation: NDArray[np.floating[Any]]) -> Floats:
    """When a Carrington rotation begins on average; ``rotation`` may have a fraction."""
    days = _CARRINGTON_YEAR_0 + (rotation - 1.0) * _CARRINGTON_PERIOD - _JD_1977
    return np.asarray(days * DAY - _TT_TAI, dtype=np.float64)


def _rotation(days: Floats, longitude: Floats) -> Ints:
    """The rotation number: the mean one, corrected to agree with the longitude, which falls from 360."""
    mean = (days - _CARRINGTON_YEAR_0) / _CARRINGTON_PERIOD + 1.0
    return np.rint(mean - (1.0 - longitude / 360.0)).astype(np.int64)
