"""Where the Sun, the Earth and SDO are: what the keywords CRLT_OBS, CAR_ROT, DSUN_OBS, OBS_VR are made of.

The Earth comes from ``erfa`` (the routines below astropy) on a grid of four days, between which a cubic
interpolation is good to ten kilometres. SDO flies a circle around the Earth, inclined and geosynchronous,
whose elements were fitted to observed velocities: they come out within some 10 m/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mirror.simulator.synthetic.noise import Floats, Ints

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
    position: NDArray[np.float64]  #: metres from the Sun, equatorial, shape (n, 3)

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

    def _earth(self, seconds: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Heliocentric position (m) and velocity (m/s) of the Earth, equatorial, shape (n, 3)."""
        place = (np.asarray(seconds, dtype=np.float64) - _FIRST) / _GRID
        cell = np.clip(place.astype(np.int64), 0, len(self._grid[0]) - 2)
        return _hermite(*self._grid, cell, place - cell)

    @cached_property
    def _grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import erfa  # noqa: PLC0415 - a simulator that serves recorded worlds only does without it

        days = np.arange(_FIRST, _LAST, _GRID) / DAY + _TT_TAI / DAY
        heliocentric, _ = erfa.epv00(_JD_1977, days)
        au = 149597870700.0
        return heliocentric["p"] * au, heliocentric["v"] * au / DAY


def _hermite(
    places: NDArray[np.float64], speeds: NDArray[np.float64], cell: Ints, part: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cubic interpolation of a grid of places and speeds, and its derivative."""
    t = part[:, None]
    p0, p1, m0, m1 = places[cell], places[cell + 1], speeds[cell] * _GRID, speeds[cell + 1] * _GRID
    rise = p1 - p0
    c2, c3 = 3 * rise - 2 * m0 - m1, m0 + m1 - 2 * rise
    return p0 + t * (m0 + t * (c2 + t * c3)), (m0 + t * (2 * c2 + 3 * t * c3)) / _GRID


def _sdo(seconds: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def _axes() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The Sun's axes: along the node of its equator, across it, and north."""
    right_ascension, declination = _POLE
    node = np.array([-np.sin(right_ascension), np.cos(right_ascension), 0.0])
    flat = np.cos(declination)
    north = np.array([flat * np.cos(right_ascension), flat * np.sin(right_ascension), np.sin(declination)])
    return node, np.cross(north, node), north


def _view(seconds: Floats, position: NDArray[np.float64], velocity: NDArray[np.float64]) -> View:
    node, across, north = _axes()
    distance = np.sqrt(np.einsum("ij,ij->i", position, position))
    outward = position / distance[:, None]
    westward = np.cross(north, outward)
    westward /= np.sqrt(np.einsum("ij,ij->i", westward, westward))[:, None]
    inertial = np.degrees(np.arctan2(outward @ across, outward @ node))
    days = (seconds + _TT_TAI - distance / LIGHT) / DAY + _JD_1977
    longitude = (inertial - (84.176 + 14.1844 * (days - _J2000))) % 360.0
    return View(
        distance,
        np.degrees(np.arcsin(outward @ north)) + _LATITUDE_BIAS,
        longitude,
        _rotation(days, longitude),
        np.einsum("ij,ij->i", velocity, outward),
        np.einsum("ij,ij->i", velocity, westward),
        np.einsum("ij,ij->i", velocity, np.cross(outward, westward)),
        position,
    )


def _rotation(days: Floats, longitude: Floats) -> Ints:
    """The rotation number: the mean one, corrected to agree with the longitude, which falls from 360."""
    mean = (days - _CARRINGTON_YEAR_0) / _CARRINGTON_PERIOD + 1.0
    return np.rint(mean - (1.0 - longitude / 360.0)).astype(np.int64)
