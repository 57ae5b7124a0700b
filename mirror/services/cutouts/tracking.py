"""Where a place on the Sun's disk is at another time: differential rotation, seen by an observer who moves.

Pure. The rotation is that of magnetic features by Howard, Harvey and Forgach (1990, Solar Physics 130, 295), as sunpy
uses it. Formulas of helioprojective coordinates: Thompson (2006, A&A 449, 791), sections 4 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Radians a second at a latitude: A + B sin^2 + C sin^4, against the stars.
_RATES = (2.894e-6, -0.428e-6, -0.370e-6)
#: Degrees a day of Carrington longitudes, against the stars.
_CARRINGTON = 14.1844
_DAY = 86400.0
_AU, _LIGHT = 149_597_870_700.0, 299_792_458.0
#: The Sun's north pole, and its prime meridian at J2000 (IAU 2009), in degrees.
_POLE, _MERIDIAN = (286.13, 63.87), 84.176
#: Seconds from the epoch of DRMS times (1977.01.01 TAI) to J2000 (2000-01-01T12:00:00 TT), in TAI.
_J2000 = 725_803_167.816
_RADIUS = 696.0e6  #: metres, as HMI and AIA have it


@dataclass(frozen=True, slots=True)
class Observer:
    """Who looks: Carrington longitude and latitude of the centre of the disk in degrees, distance in metres."""

    longitude: float
    latitude: float
    distance: float


def earth(at: float) -> Observer:
    """An observer at the Earth's centre, ``at`` seconds of DRMS; SDO sees the same to an arcsec."""
    import erfa  # noqa: PLC0415  (only tracking needs it)
    import numpy as np  # noqa: PLC0415

    days = (at - _J2000) / _DAY
    place = erfa.epv00(2451545.0, days)[0]["p"] * _AU
    distance = float(np.linalg.norm(place))
    right, declination = (math.radians(angle) for angle in _POLE)
    pole = np.array(
        [math.cos(declination) * math.cos(right), math.cos(declination) * math.sin(right), math.sin(declination)]
    )
    node = np.array([-math.sin(right), math.cos(right), 0.0])
    spin = days - (distance - _RADIUS) / _LIGHT / _DAY
    turned = math.degrees(math.atan2(place @ np.cross(pole, node), place @ node))
    longitude = (turned - _MERIDIAN - _CARRINGTON * spin) % 360.0
    return Observer(longitude, math.degrees(math.asin(place @ pole / distance)), distance)


def tracked(
    place: tuple[float, float], seconds: float, before: Observer, after: Observer, radius: float = _RADIUS
) -> tuple[float, float]:
    """Where what is seen at ``place`` (arcsec) ``before`` is seen ``seconds`` later, ``after``.

    BadRequest if it is not on the disk, or has gone behind it.
    """
    longitude, latitude = _on_the_sun(place, before, radius)
    sine = math.sin(latitude) ** 2
    rate = math.degrees(_RATES[0] + _RATES[1] * sine + _RATES[2] * sine**2) * _DAY
    return _on_the_sky(longitude + (rate - _CARRINGTON) * seconds / _DAY, latitude, after, radius)


def _on_the_sun(place: Sequence[float], observer: Observer, radius: float) -> tuple[float, float]:
    """Carrington longitude in degrees and latitude in radians."""
    x, y = (math.radians(angle / 3600.0) for angle in place)
    along = math.cos(x) * math.cos(y)
    inside = radius**2 - observer.distance**2 * (1 - along**2)
    if inside < 0:
        raise BadRequest(f"{place[0]:g}, {place[1]:g} arcsec is beyond the limb; expected a place on the disk to track")
    length = observer.distance * along - math.sqrt(inside)
    across, up = length * math.cos(y) * math.sin(x), length * math.sin(y)
    towards = observer.distance - length * along
    tilt = math.radians(observer.latitude)
    latitude = math.asin((up * math.cos(tilt) + towards * math.sin(tilt)) / radius)
    east = math.degrees(math.atan2(across, towards * math.cos(tilt) - up * math.sin(tilt)))
    return observer.longitude + east, latitude


def _on_the_sky(longitude: float, latitude: float, observer: Observer, radius: float) -> tuple[float, float]:
    east, tilt = math.radians(longitude - observer.longitude), math.radians(observer.latitude)
    across = radius * math.cos(latitude) * math.sin(east)
    ahead = radius * math.cos(latitude) * math.cos(east)
    up = radius * math.sin(latitude) * math.cos(tilt) - ahead * math.sin(tilt)
    towards = radius * math.sin(latitude) * math.sin(tilt) + ahead * math.cos(tilt)
    if towards * observer.distance < radius**2:  # the limb is where the line of sight touches the sphere
        raise BadRequest("what is tracked is behind the limb at that time; expected a time at which it is on the disk")
    depth = observer.distance - towards
    x = math.atan2(across, depth)
    y = math.atan2(up, math.hypot(across, depth))
    return math.degrees(x) * 3600.0, math.degrees(y) * 3600.0
