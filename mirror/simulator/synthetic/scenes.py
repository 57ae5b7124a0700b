"""What an image shows at its time: active regions where HARPs are, known flares, oscillations of the surface.

For ``mirror simulate --side``: every image of the whole disk, and every patch, is painted by its record. It is a signal
to try methods on, not a model of the Sun:

- Regions are those of the HARPs, turned with the Sun: bipoles in magnetograms, spots in continuum, bright in the corona.
- Flares are at the times that GOES recorded, with a light curve for each wavelength, and a front that leaves the place of
  each at 600 km/s: brighter in 193, 211 and 335, darker in 171.
- Dopplergrams have the rotation, the motion of the spacecraft, and plane waves that follow the dispersion of f and p modes.
- Noise is as large as that of the instruments, roughly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mirror.drms.times import parse_time
from mirror.errors import UnknownName
from mirror.simulator.exports.pixels import look
from mirror.simulator.synthetic.aia import mean_of
from mirror.simulator.synthetic.columns import load_suite_facts
from mirror.simulator.synthetic.ephemeris import RSUN
from mirror.simulator.synthetic.harps import make_harps
from mirror.simulator.synthetic.structure import load

if TYPE_CHECKING:
    from mirror.drms.series import Segment
    from mirror.drms.slots import SlotAxis
    from mirror.simulator.base import Rows
    from mirror.simulator.synthetic.harps import Harps

Picture = NDArray[np.float32]
_DISK, _PATCH = frozenset({"corona", "field", "velocity", "light"}), frozenset({"field", "light", "mask"})
_MEMBER = {"magnetogram": 1.0, "Br": 1.0, "field": 1.0, "Bp": 0.35, "Bt": -0.25}


@dataclass(frozen=True, slots=True)
class Flare:
    """``start`` and ``peak`` in X-rays, in seconds after 1977.01.01_TAI; ``size`` in W/m2 / 1e-4, as of X1."""

    start: float
    peak: float
    size: float


def _flare(day: str, start: str, peak: str, size: float) -> Flare:
    return Flare(parse_time(f"{day}_{start}:00_UTC"), parse_time(f"{day}_{peak}:00_UTC"), size)


#: Flares of GOES by HARP.
FLARES: Mapping[int, Flare] = {
    377: _flare("2011.02.15", "01:44", "01:56", 2.2),
    401: _flare("2011.03.09", "23:13", "23:23", 1.5),
    1449: _flare("2012.03.07", "00:02", "00:24", 5.4),
    4698: _flare("2014.10.24", "21:07", "21:41", 3.1),
    7115: _flare("2017.09.06", "11:53", "12:02", 9.3),
}
#: By wavelength: minutes by which a flare peaks later than in X-rays, minutes until it has decayed by e, brightness.
_RESPONSES: Mapping[int, tuple[float, float, float]] = {
    94: (6.0, 18.0, 110.0),
    131: (2.0, 11.0, 130.0),
    171: (12.0, 9.0, 10.0),
    193: (4.0, 12.0, 16.0),
    211: (10.0, 12.0, 12.0),
    304: (-2.0, 7.0, 40.0),
    335: (9.0, 16.0, 45.0),
    1600: (-3.0, 4.0, 9.0),
    1700: (-3.0, 4.0, 3.0),
}
#: Of the front: metres a second, its width in radians, seconds until it has faded by e, and how it shows.
FRONT_SPEED, _FRONT_WIDTH, _FRONT_FADES = 600e3, 0.055, 1500.0
_FRONT: Mapping[int, float] = {193: 0.45, 211: 0.5, 335: 0.3, 171: -0.2}


@dataclass(frozen=True, slots=True)
class Region:
    """A HARP at the time of an image; degrees."""

    number: int
    longitude: float
    latitude: float
    width: float
    height: float
    strength: float


@dataclass(frozen=True, slots=True)
class Scene:
    """The content of an image. Disk centre (counted from 0) and radius are in pixels; None for a patch.

    ``velocity`` is the spacecraft's, away from the Sun in m/s; ``member`` is the component of the field that a patch
    shows.
    """

    kind: str
    time: float
    regions: tuple[Region, ...]
    centre: tuple[float, float] | None = None
    radius: float = 1.0
    turned: bool = False
    b0: float = 0.0
    wavelength: int = 0
    velocity: float = 0.0
    member: float = 1.0

    def picture(self, shape: tuple[int, int], chance: np.random.Generator) -> Picture:
        """The image in physical units; NaN off the disk where there is nothing to show."""
        made = _patch(self, shape, chance) if self.centre is None else _disk(self, shape, chance)
        return made.astype(np.float32)


# ---- which scene ----------------------------------------------------------------------------------------


def scene_of(segment: Segment, rows: Rows) -> Scene | None:
    """What a segment's file shows for one record; None for what is not painted by its time."""
    kind, time = look(segment), _value(rows, "t_rec")
    if time is None:
        return None
    if _value(rows, "harpnum") is not None:
        return _patch_scene(segment, kind, time, rows) if kind in _PATCH else None
    return _disk_scene(kind, time, rows) if kind in _DISK else None


def _value(rows: Rows, name: str) -> float | None:
    """A number of the first row; None if it is missing, or there is no such keyword."""
    try:
        found = float(rows.stored(name).values[0])
    except (KeyError, UnknownName):
        return None
    return found if np.isfinite(found) else None


def _disk_scene(kind: str, time: float, rows: Rows) -> Scene | None:
    x, y, step, radius = (_value(rows, name) for name in ("crpix1", "crpix2", "cdelt1", "rsun_obs"))
    if x is None or y is None or not step or not radius:
        return None
    angle = _value(rows, "crota2") or 0.0
    return Scene(
        kind, time, regions_at(time), (x - 1.0, y - 1.0), radius / step, turned=abs(angle) > 90.0,
        b0=_value(rows, "crlt_obs") or 0.0, wavelength=round(_value(rows, "wavelnth") or 0), velocity=_value(rows, "obs_vr") or 0.0,
    )  # fmt: skip


def _patch_scene(segment: Segment, kind: str, time: float, rows: Rows) -> Scene:
    number, flux = round(_value(rows, "harpnum") or 0), _value(rows, "usflux") or 0.0
    latitude, angle = _value(rows, "lat_fwt") or 0.0, _value(rows, "crota2") or 0.0
    region = Region(number, 0.0, latitude, 1.0, 1.0, min(1.5, max(0.15, flux / 2.5e22)))
    return Scene(kind, time, (region,), turned=abs(angle) > 90.0, member=_MEMBER.get(segment.name, 0.5))


@cache
def _harps() -> tuple[Harps, SlotAxis]:
    axis = load("hmi.sharp_720s").axis
    return make_harps(load_suite_facts(), axis), axis


def regions_at(time: float) -> tuple[Region, ...]:
    """The HARPs present at a time."""
    harps, axis = _harps()
    slot = (time - axis.epoch) / axis.step
    there = np.flatnonzero((harps.first <= slot) & (slot < harps.stop))
    longitudes = harps.centre(there, np.full(len(there), slot))
    return tuple(
        Region(
            int(n) + 1, float(lon), float(harps.latitude[n]), float(harps.width[n]), float(harps.height[n]),
            float(harps.strength[n]),
        )
        for n, lon in zip(there, longitudes, strict=True)
    )  # fmt: skip


# ---- the disk ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plane:
    """The pixels' positions on the disk, in radii: x to the west, (1, nx); y to the north, (ny, 1)."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def squared(self) -> NDArray[np.float64]:
        return self.x**2 + self.y**2


def _disk(scene: Scene, shape: tuple[int, int], chance: np.random.Generator) -> NDArray[np.float64]:
    assert scene.centre is not None
    sign = -1.0 if scene.turned else 1.0
    x, y = (
        (sign / scene.radius) * (np.arange(n, dtype=np.float64) - at)
        for n, at in zip(shape[::-1], scene.centre, strict=True)
    )
    plane = _Plane(x[None, :], y[:, None])
    made = {"corona": _corona, "field": _field, "velocity": _velocity, "light": _light}[scene.kind](scene, plane, chance)
    if scene.kind != "corona":
        made[plane.squared > 1] = np.nan
    return made


def _place(scene: Scene, region: Region) -> tuple[float, float, float] | None:
    """A region's centre: west, north, and towards the observer, in radii; None behind the limb."""
    lon, lat, b0 = np.radians([region.longitude, region.latitude, scene.b0])
    x, y = np.cos(lat) * np.sin(lon), np.sin(lat) * np.cos(b0) - np.cos(lat) * np.cos(lon) * np.sin(b0)
    z = np.sin(lat) * np.sin(b0) + np.cos(lat) * np.cos(lon) * np.cos(b0)
    return (float(x), float(y), float(z)) if z > 0 else None


def _spot(plane: _Plane, x: float, y: float, wide: float, high: float) -> NDArray[np.float64]:
    across, along = ((plane.x - x) / wide) ** 2, ((plane.y - y) / high) ** 2
    made: NDArray[np.float64] = np.exp(-0.5 * along) * np.exp(-0.5 * across)
    return made


def _corona(scene: Scene, plane: _Plane, chance: np.random.Generator) -> NDArray[np.float64]:
    r = np.sqrt(plane.squared)
    mean = mean_of(scene.wavelength)
    made = mean * np.where(r < 1, 0.55 + 0.45 * r**8, np.exp(-6 * (r - 1)))
    for region in scene.regions:
        place = _place(scene, region)
        if place is None:
            continue
        x, y, z = place
        wide, high = np.radians(region.width) / 7 * max(0.25, z), np.radians(region.height) / 6
        steady = np.random.default_rng([region.number, 5])
        for _ in range(5):  # loops, each flickering at its own rate
            off, size, period = steady.uniform(-1, 1, 2), steady.uniform(0.35, 0.9), steady.uniform(900, 4000)
            phase = steady.uniform(0, 2 * np.pi)
            flicker = 1 + 0.25 * np.sin(2 * np.pi * scene.time / period + phase)
            made = made + 3.5 * mean * region.strength * flicker * _spot(
                plane, x + off[0] * wide, y + off[1] * high, size * wide, size * high
            )
        flare = FLARES.get(region.number)
        if flare is not None:
            made = _flaring(scene, plane, made, flare, place)
    return np.maximum(0, made + chance.standard_normal(made.shape) * (1.0 + 0.4 * np.sqrt(made)))


def light_curve(flare: Flare, wavelength: int, time: float) -> float:
    """How bright a flare is in a wavelength, relative to the mean of its images."""
    delay, decay, brightness = (60.0 * _RESPONSES[wavelength][0], 60.0 * _RESPONSES[wavelength][1], _RESPONSES[wavelength][2])
    since, rise = time - flare.peak - delay, (flare.peak - flare.start) / 2.5
    shape = np.exp(-0.5 * (since / rise) ** 2) if since < 0 else np.exp(-since / decay)
    return float(brightness * flare.size**0.5 * shape)


def _flaring(
    scene: Scene, plane: _Plane, made: NDArray[np.float64], flare: Flare, place: tuple[float, float, float]
) -> NDArray[np.float64]:
    if scene.wavelength not in _RESPONSES or not flare.start - 1800 < scene.time < flare.peak + 4 * 3600:
        return made
    since, strength = scene.time - flare.peak, _FRONT.get(scene.wavelength, 0.0)
    if since > 0 and strength:
        z = np.sqrt(np.maximum(0, 1 - plane.squared))
        apart = np.arccos(np.clip(place[0] * plane.x + place[1] * plane.y + place[2] * z, -1, 1))
        front = np.exp(-(((apart - FRONT_SPEED / RSUN * since) / _FRONT_WIDTH) ** 2)) * np.exp(-since / _FRONT_FADES)
        made = made * (1 + strength * front * (plane.squared < 1))
    bright = mean_of(scene.wavelength) * light_curve(flare, scene.wavelength, scene.time)
    return made + bright * (_spot(plane, place[0], place[1], 0.02, 0.012) + 0.5 * _spot(plane, place[0], place[1], 0.045, 0.006))


def _polarity(latitude: float) -> float:
    """The polarity of the leading, western spot, as in cycle 24."""
    return -1.0 if latitude > 0 else 1.0


def _field(scene: Scene, plane: _Plane, chance: np.random.Generator) -> NDArray[np.float64]:
    made = np.zeros(np.broadcast_shapes(plane.x.shape, plane.y.shape))
    for region in scene.regions:
        place = _place(scene, region)
        if place is not None:
            x, y, z = place
            wide, high = np.radians(region.width) * max(0.2, z), np.radians(region.height)
            tilt = -0.12 * high if region.latitude > 0 else 0.12 * high
            for side in (1, -1):
                peak = side * _polarity(region.latitude) * 1800 * region.strength * z
                made += peak * _spot(plane, x + side * wide / 5, y + side * tilt, wide / (10 if side > 0 else 8), high / 8)
    return made + 8.0 * chance.standard_normal(made.shape)


def _light(scene: Scene, plane: _Plane, chance: np.random.Generator) -> NDArray[np.float64]:
    made = 58000 * (0.4 + 0.6 * np.sqrt(np.maximum(0, 1 - plane.squared)))
    for region in scene.regions:
        place = _place(scene, region)
        if place is not None:
            x, y, z = place
            wide, high = np.radians(region.width) * max(0.2, z), np.radians(region.height)
            for side in (1, -1):
                made = made * (1 - min(0.85, 0.9 * region.strength) * _spot(plane, x + side * wide / 5, y, wide / 18, high / 14))
    return np.asarray(made * (1 + 0.01 * chance.standard_normal(made.shape)))


# ---- oscillations ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Waves:
    """Plane waves: their numbers in 1/radius, radians a second, amplitudes in m/s, and phases."""

    kx: NDArray[np.float64]
    ky: NDArray[np.float64]
    rate: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    phase: NDArray[np.float64]


def frequency(degree: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.float64]:
    """The frequency of modes, in microhertz: f for order 0, else p."""
    ridge = 101.5**2 * (degree + 0.5) * (1.0 + order / 1.5)
    return np.asarray(np.sqrt(ridge + np.where(order > 0, 135.0 * (order + 1.45), 0.0) ** 2))


@cache
def _waves() -> _Waves:
    """Waves between 2 and 4.6 mHz, the strongest at 3.1; some 300 m/s in all."""
    chance = np.random.default_rng(45)
    degree, order = chance.uniform(30, 340, 4000), chance.integers(0, 12, 4000)
    nu = frequency(degree, order)
    kept = np.flatnonzero((nu > 2000) & (nu < 4600))[:500]
    degree, nu = degree[kept], nu[kept]
    amplitude = np.exp(-(((nu - 3100.0) / 550.0) ** 2))
    amplitude *= 300.0 / np.sqrt(np.sum(amplitude**2) / 2)
    angle, phase = chance.uniform(0, 2 * np.pi, (2, len(nu)))
    k = np.sqrt(degree * (degree + 1))
    return _Waves(k * np.cos(angle), k * np.sin(angle), 2e-6 * np.pi * nu, amplitude, phase)


def _along(k: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.complex128]:
    """exp(i k x) for each wave, (waves, pixels), at equal steps: by products, since exponentials take ten times as long."""
    steps = np.tile(np.exp(1j * k * (at[1] - at[0]))[:, None], (1, len(at)))
    steps[:, 0] = np.exp(1j * k * at[0])
    return np.cumprod(steps, axis=1)


def _velocity(scene: Scene, plane: _Plane, chance: np.random.Generator) -> NDArray[np.float64]:
    """Away from the observer, as JSOC counts it."""
    waves = _waves()
    turn = waves.amplitude * np.exp(1j * (waves.phase - waves.rate * scene.time))
    across, along = _along(waves.kx, plane.x[0]), _along(waves.ky, plane.y[:, 0]) * turn[:, None]
    swing = along.real.T @ across.real - along.imag.T @ across.imag
    up = np.sqrt(np.maximum(0, 1 - plane.squared))
    made = 1900 * plane.x + 0 * plane.y + scene.velocity - swing * up
    return np.asarray(made + 25.0 * chance.standard_normal(made.shape))


# ---- patches -----------------------------------------------------------------------------------------------


def _patch(scene: Scene, shape: tuple[int, int], chance: np.random.Generator) -> NDArray[np.float64]:
    """A region that fills its box."""
    sign, region = (-1.0 if scene.turned else 1.0), scene.regions[0]
    x, y = ((sign / n) * (np.arange(n, dtype=np.float64) - (n - 1) / 2) for n in shape[::-1])
    plane = _Plane(x[None, :], y[:, None])
    if scene.kind == "mask":
        return np.where((plane.x / 0.42) ** 2 + (plane.y / 0.4) ** 2 < 1, 34.0, 2.0)
    steady, made = np.random.default_rng([region.number, 9]), np.zeros(shape)
    for side in (1, -1):
        peak = side * _polarity(region.latitude) * 2400 * region.strength
        made += peak * _spot(plane, side * 0.17, side * 0.04, 0.05, 0.09)
        for _ in range(6):  # smaller, drifting flux around it
            (dx, dy), size, share = steady.uniform(-0.16, 0.16, 2), steady.uniform(0.012, 0.04), steady.uniform(0.1, 0.4)
            drift = 0.03 * np.sin(2 * np.pi * scene.time / 86400 / steady.uniform(2, 9))
            made += share * peak * _spot(plane, side * 0.19 + dx + drift, dy, size, 1.6 * size)
    if scene.kind == "light":
        return 58000 * np.clip(1 - np.abs(made) / 2600, 0.15, 1) * (1 + 0.01 * chance.standard_normal(shape))
    return made * scene.member + 20.0 * chance.standard_normal(shape)
