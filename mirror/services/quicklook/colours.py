"""The colours and scales of quick looks: those in which people know the pictures of SDO. Pure.

The tables of AIA are mixtures of one ramp, the "red temperature" of IDL, with bent grey ramps, as the
instrument's team defined them. Index 0 of every table is black, and stands for pixels without a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Stretch = Literal["linear", "sqrt", "log"]
Ramp = NDArray[np.float64]

#: Gauss at which a magnetogram is black or white, m/s at which a Dopplergram is blue or red.
FIELD, VELOCITY = 1500.0, 2500.0
#: Percentiles of the values at which a scale begins and ends where no limits are given.
PERCENTILES = (0.5, 99.9)

_FIELD_SEGMENTS = frozenset({"magnetogram", "br", "bt", "bp", "blos"})
_SERIES = (
    (re.compile(r"^(hmi\.m_|mdi\.fd_m)"), "magnetogram"),
    (re.compile(r"^(hmi\.v_|mdi\.fd_v)"), "dopplergram"),
    (re.compile(r"^(hmi\.ic_|mdi\.fd_ic)"), "continuum"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """How values become colours: ``palette`` names the table; limits that are None come from the values."""

    palette: str
    stretch: Stretch = "linear"
    low: float | None = None
    high: float | None = None


#: How bright and dark parts of a channel are told apart, as on SDO's own pages; the rest are linear.
_STRETCHES: dict[int, Stretch] = {
    94: "sqrt", 131: "log", 171: "sqrt", 193: "log", 211: "log", 304: "log", 335: "log",
    1600: "linear", 1700: "linear", 4500: "linear",
}  # fmt: skip
_KINDS = {
    "magnetogram": Look("grey", low=-FIELD, high=FIELD),
    "dopplergram": Look("blue-red", low=-VELOCITY, high=VELOCITY),
    "continuum": Look("orange"),
}


def look_of(series: str, segment: str, wavelength: int | None) -> Look:
    """How an image is shown: by its wavelength for AIA, else by what it is an image of; grey if unknown.

    ``wavelength`` in angstrom, None where the series has none.
    """
    name, part = series.lower(), segment.lower()
    if name.startswith("aia.") and wavelength in _STRETCHES:
        return Look(f"aia {wavelength}", _STRETCHES[wavelength])
    if part in _FIELD_SEGMENTS:
        return _KINDS["magnetogram"]
    if part in _KINDS:
        return _KINDS[part]
    plain = part in ("image", "data")  # the one segment of its series says nothing by its name
    kinds = [kind for pattern, kind in _SERIES if plain and pattern.match(name)]
    return _KINDS[kinds[0]] if kinds else Look("grey")


def indices(values: NDArray[np.float32], look: Look) -> NDArray[np.uint8]:
    """The place of each value in its table, 1 to 255; 0 where there is no value."""
    finite = np.isfinite(values)
    low, high = _limits(values[finite], look)
    share = np.clip((np.where(finite, values, low) - low) / (high - low), 0.0, 1.0)
    return np.where(finite, 1 + np.rint(254 * _stretched(share, look.stretch)), 0).astype(np.uint8)


def palette(name: str) -> NDArray[np.uint8]:
    """The table of that name: 256 rows of red, green and blue. KeyError if there is none."""
    table = np.stack(_ramps(name), axis=1)
    table[0] = 0
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)


def _limits(values: NDArray[np.float32], look: Look) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    first, last = (float(v) for v in np.percentile(values, PERCENTILES))
    low = first if look.low is None else look.low
    high = last if look.high is None else look.high
    return (low, high) if high > low else (low, low + 1.0)


def _stretched(share: NDArray[np.float64], stretch: Stretch) -> NDArray[np.float64]:
    """Both ends stay where they are; the logarithm covers three powers of ten."""
    if stretch == "sqrt":
        return np.sqrt(share)
    return np.log10(1 + 999 * share) / 3 if stretch == "log" else share


def _ramps(name: str) -> tuple[Ramp, Ramp, Ramp]:
    grey = np.arange(256.0)
    if name == "grey":
        return grey, grey, grey
    if name == "orange":
        return _through((0, 0, 0), (150, 60, 0), (255, 150, 30), (255, 230, 170))
    if name == "blue-red":
        return _through((0, 0, 110), (40, 90, 255), (240, 240, 240), (255, 60, 30), (110, 0, 0))
    instrument, _, wavelength = name.partition(" ")
    if instrument != "aia":
        raise KeyError(name)
    return _aia(grey)[int(wavelength)]


def _through(*colours: tuple[int, int, int]) -> tuple[Ramp, Ramp, Ramp]:
    """A table that runs through these colours at equal distances."""
    at, places = np.arange(256.0), np.linspace(0, 255, len(colours))
    red, green, blue = (np.interp(at, places, channel) for channel in zip(*colours, strict=True))
    return red, green, blue


def _aia(grey: Ramp) -> dict[int, tuple[Ramp, Ramp, Ramp]]:
    """The tables of AIA by wavelength."""
    r, g, b = (np.clip((grey - start) * 255 / (end - start), 0, 255) for start, end in _TEMPERATURE)
    bright, dark = np.sqrt(grey * 255), grey**2 / 255
    middle = (bright + dark / 2) * 255 / (bright + dark / 2).max()
    return {
        94: (dark, middle, grey), 131: (g, r, r), 171: (r, grey, b), 193: (bright, grey, dark),
        211: (bright, grey, middle), 304: (r, g, b), 335: (dark, grey, bright),
        1600: (middle, middle, dark), 1700: (bright, grey, grey), 4500: (grey, grey, b / 2),
    }  # fmt: skip


#: Where red, green and blue of the "red temperature" begin and end.
_TEMPERATURE = ((0, 176), (120, 255), (190, 255))
