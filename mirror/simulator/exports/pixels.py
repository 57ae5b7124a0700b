"""What the pixels of a segment show: a quiet Sun by formulas, in the segment's own physical units.

Every picture is a smooth part times its shape plus fine structure from one small random tile that is
repeated, so that a picture of 4096 x 4096 takes a fraction of a second. ``look`` names what a segment
shows, by its name and type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.drms.series import Segment

Picture = NDArray[np.float32]
#: Columns and rows as they vary over the picture: x of shape (1, nx), y of shape (ny, 1), both in radii.
Grid = tuple[Picture, Picture]

TILE = 128
_DISK = 0.465  #: the Sun's radius as a share of the shorter side


def look(segment: Segment) -> str:
    """The kind of picture: a key of ``LOOKS``."""
    name = segment.name.lower()
    if name == "spikes":
        return "spikes"
    if _is_map(segment.dims):
        return "map"
    for part, kind in (("image", "corona"), ("doppler", "velocity"), ("vlos", "velocity"), ("mag", "field"),
                       ("bp", "field"), ("bt", "field"), ("br", "field"), ("continuum", "light")):  # fmt: skip
        if part in name and not name.endswith("_err"):
            return kind
    return "mask" if segment.type == "char" else "plain"


def _is_map(dims: str) -> bool:
    """True for a whole Sun unrolled, which is wider than it is high."""
    sides = [int(side) for side in dims.split("x") if side.isdigit()]
    return len(sides) == 2 and sides[0] > sides[1]


def grid(shape: tuple[int, int]) -> Grid:
    """The coordinates of a picture's pixels; the centre of the picture is that of the Sun."""
    ny, nx = shape
    radius = _DISK * min(nx, ny)
    x = (np.arange(nx, dtype=np.float32) - (nx - 1) / 2) / radius
    y = (np.arange(ny, dtype=np.float32) - (ny - 1) / 2) / radius
    return x[None, :], y[:, None]


def paint(kind: str, shape: tuple[int, int], variant: int) -> Picture:
    """The picture in physical units; NaN off the disk, if the kind has nothing to show there."""
    at = grid(shape)
    smooth, grain, everywhere = LOOKS[kind](at, np.random.default_rng([7, variant, len(kind)]))
    picture = smooth + grain * _tiled(shape, variant)
    if not everywhere and min(shape) >= TILE:
        picture[at[0] ** 2 + at[1] ** 2 > 1] = np.nan
    return picture


def _tiled(shape: tuple[int, int], variant: int) -> Picture:
    """One random tile between -1 and 1, repeated over the picture."""
    tile = np.random.default_rng([11, variant]).uniform(-1, 1, (TILE, TILE)).astype(np.float32)
    repeats = [-(-size // TILE) for size in shape]
    return np.tile(tile, repeats)[: shape[0], : shape[1]]


# ---- the kinds: a smooth picture, how strong the grain is, and whether it goes beyond the limb ------

_Painted = tuple[Picture, float, bool]


def _velocity(at: Grid, chance: np.random.Generator) -> _Painted:
    x, y = at
    return (2000 * x + 150 * y * y + np.float32(chance.uniform(-300, 300))).astype(np.float32), 12.0, False


def _field(at: Grid, chance: np.random.Generator) -> _Painted:
    total = np.zeros((at[1].shape[0], at[0].shape[1]), dtype=np.float32)
    for _ in range(4):
        x, y = chance.uniform(-0.6, 0.6, 2)
        for sign, shift in ((1, -0.03), (-1, 0.03)):
            total += sign * 900 * _spot(at, x + shift, y, 0.025)
    return total, 6.0, False


def _light(at: Grid, chance: np.random.Generator) -> _Painted:
    r2 = np.minimum(at[0] ** 2 + at[1] ** 2, np.float32(1))
    disk = 58000 * (0.4 + 0.6 * np.sqrt(1 - r2))
    x, y = chance.uniform(-0.5, 0.5, 2)
    return (disk * (1 - 0.7 * _spot(at, x, y, 0.02))).astype(np.float32), 150.0, False


def _corona(at: Grid, chance: np.random.Generator) -> _Painted:
    r = np.sqrt(at[0] ** 2 + at[1] ** 2)
    halo = np.where(r < 1, 180 + 120 * r**8, 300 * np.exp(-6 * (r - 1))).astype(np.float32)
    for _ in range(3):
        x, y = chance.uniform(-0.7, 0.7, 2)
        halo += 2500 * _spot(at, x, y, 0.06)
    return halo, 8.0, True


def _mask(at: Grid, chance: np.random.Generator) -> _Painted:
    x, y = chance.uniform(-0.3, 0.3, 2)
    spot = _spot(at, x, y, 0.25)
    return (spot > 0.3).astype(np.float32) * 32 + 2, 0.0, True


def _map(at: Grid, chance: np.random.Generator) -> _Painted:
    total = 2 * at[1] + np.zeros_like(at[0])
    for _ in range(8):
        x, y = chance.uniform(-2, 2), chance.uniform(-0.5, 0.5)
        for sign, shift in ((1, -0.03), (-1, 0.03)):
            total += sign * 700 * _spot(at, x + shift, y, 0.025)
    return total.astype(np.float32), 3.0, True


def _spikes(at: Grid, chance: np.random.Generator) -> _Painted:
    """Rows of positions in an image of 4096 x 4096, all different, and of values before and after."""
    count = at[0].shape[1]
    drawn = np.unique(chance.integers(1, 4096 * 4096, 2 * count + 64))
    places = drawn[np.linspace(0, len(drawn) - 1, count).astype(np.int64)]
    before, after = chance.integers(300, 16000, count), chance.integers(0, 300, count)
    rows = np.array([places, before, after], dtype=np.float32)
    return np.resize(rows, (at[1].shape[0], count)), 0.0, True


def _plain(at: Grid, chance: np.random.Generator) -> _Painted:
    x, y = at
    return (90 + 40 * x + 30 * y + np.float32(chance.uniform(-5, 5))).astype(np.float32), 0.5, False


def _spot(at: Grid, x: float, y: float, width: float) -> Picture:
    across = np.exp(-((at[0] - np.float32(x)) ** 2) / np.float32(2 * width * width))
    along = np.exp(-((at[1] - np.float32(y)) ** 2) / np.float32(2 * width * width))
    spot: Picture = along * across
    return spot


LOOKS: dict[str, Callable[[Grid, np.random.Generator], _Painted]] = {
    "velocity": _velocity,
    "field": _field,
    "light": _light,
    "corona": _corona,
    "mask": _mask,
    "map": _map,
    "spikes": _spikes,
    "plain": _plain,
}
