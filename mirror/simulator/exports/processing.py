"""The processing steps that the simulator knows: ``im_patch`` cuts out, ``rebin`` and ``resize`` make smaller, and
``aia_scale`` turns and scales images of AIA to level 1.5. ``HmiB2ptr`` makes components of the field out of field,
inclination and azimuth.

They work on stored values; their effect on an image's coordinates is given as keywords by FITS name.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mirror.drms.times import parse_time
from mirror.errors import BadRequest, SyntaxProblem
from mirror.simulator.exports.archived import compressed_unit
from mirror.simulator.exports.hdus import empty_primary, sealed
from mirror.simulator.exports.loading import fits
from mirror.simulator.exports.rice import compress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mirror.drms.export import ProcessStep
    from mirror.simulator.exports.archived import ArchivedFile
    from mirror.simulator.exports.rice import Image

Keywords = Mapping[str, float]

_ROTATION = 0.0026  #: arcsec per second by which the centre of the disk moves westward
_LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Frame:
    """An image being processed: stored values, the keywords that place it, and when it was taken (seconds)."""

    image: Image
    keywords: Keywords
    time: float | None = None

    def keyword(self, name: str, instead: float) -> float:
        return self.keywords.get(name, instead)


Arguments = Mapping[str, str | None]


def process(step: ProcessStep, frame: Frame) -> Frame:
    """The frame after a step; BadRequest for one that is not simulated."""
    known = _STEPS.get(step.name)
    if known is None:
        raise BadRequest(
            f"processing step {step.name!r} is not simulated; expected one of {', '.join(_STEPS)}"
        )
    return known(dict(step.arguments), frame)


def check(step: ProcessStep) -> None:
    """BadRequest for a step that is not simulated."""
    if step.name not in _STEPS and step.name != VECTORS:
        raise BadRequest(
            f"processing step {step.name!r} is not simulated; expected one of {', '.join(_STEPS)}"
        )


def _number(arguments: Arguments, name: str, instead: float) -> float:
    text = arguments.get(name)
    try:
        return instead if text is None else float(text)
    except ValueError as problem:
        raise BadRequest(f"{name}={text} is not a number") from problem


# ---- cutting out ------------------------------------------------------------------------------------


def _im_patch(arguments: Arguments, frame: Frame) -> Frame:
    """A box around a place in arcsec from disk centre; without ``t=1`` it follows the rotation."""
    scale = frame.keyword("CDELT1", 1.0)
    unit = 1.0 if arguments.get("boxunits") == "pixels" else scale
    nx, ny = (_side(_number(arguments, name, 100.0) / unit) for name in ("width", "height"))
    x, y = _number(arguments, "x", 0.0), _number(arguments, "y", 0.0)
    if not _number(arguments, "t", 0.0):
        x += _ROTATION * _elapsed(arguments.get("t_ref"), frame.time)
    middles = [
        (frame.keyword(f"CRPIX{axis}", _middle(frame, axis)), place) for axis, place in ((1, x), (2, y))
    ]
    left, bottom = (
        round(crpix - 1 + (place - frame.keyword(f"CRVAL{axis}", 0.0)) / scale - (size - 1) / 2)
        for axis, ((crpix, place), size) in enumerate(zip(middles, (nx, ny), strict=True), start=1)
    )
    placed = {"CRPIX1": middles[0][0] - left, "CRPIX2": middles[1][0] - bottom}
    return replace(
        frame, image=_window(frame.image, bottom, left, ny, nx), keywords={**frame.keywords, **placed}
    )


def _middle(frame: Frame, axis: int) -> float:
    return (float(frame.image.shape[2 - axis]) + 1) / 2


def _side(pixels: float) -> int:
    """The number of pixels, including those at both edges."""
    size = round(pixels) + 1 if math.isfinite(pixels) else 0
    if not 1 <= size <= _LARGEST:
        raise BadRequest(f"a box of {size} pixels cannot be cut out; expected 1 to {_LARGEST}")
    return size


def _elapsed(reference: str | None, time: float | None) -> float:
    try:
        return 0.0 if reference is None or time is None else time - float(parse_time(reference))
    except SyntaxProblem as problem:
        raise BadRequest(f"t_ref is not a time: {problem}") from problem


def _window(image: Image, bottom: int, left: int, ny: int, nx: int) -> Image:
    """Pixels beyond the image are missing."""
    box = np.full((ny, nx), np.iinfo(image.dtype).min, dtype=image.dtype)
    rows, columns = (
        slice(max(0, start), max(0, min(start + size, whole)))
        for start, size, whole in zip((bottom, left), (ny, nx), image.shape, strict=True)
    )
    part = image[rows, columns]
    at = max(0, -bottom), max(0, -left)
    box[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
    return box


# ---- making smaller -----------------------------------------------------------------------------------


def _rebin(arguments: Arguments, frame: Frame) -> Frame:
    """Blocks of pixels become one; ``scale`` is 1 over a whole number."""
    every = round(1 / max(_number(arguments, "scale", 1.0), 1 / _LARGEST))
    if every < 1 or min(frame.image.shape) < every:
        raise BadRequest(f"scale={arguments.get('scale')} is not simulated; expected 1, 0.5, 0.25 and so on")
    ny, nx = (size // every for size in frame.image.shape)
    blocks = frame.image[: ny * every, : nx * every].reshape(ny, every, nx, every).astype(np.float64)
    blocks[blocks == np.iinfo(frame.image.dtype).min] = np.nan
    total, there = np.nansum(blocks, axis=(1, 3)), np.sum(~np.isnan(blocks), axis=(1, 3))
    mean = np.where(there, np.rint(total / np.maximum(there, 1)), np.iinfo(frame.image.dtype).min)
    placed = {
        f"CRPIX{axis}": (frame.keyword(f"CRPIX{axis}", _middle(frame, axis)) - 0.5) / every + 0.5
        for axis in (1, 2)
    }
    scaled = {f"CDELT{axis}": frame.keyword(f"CDELT{axis}", 1.0) * every for axis in (1, 2)}
    return replace(
        frame, image=mean.astype(frame.image.dtype), keywords={**frame.keywords, **placed, **scaled}
    )


def _resize(arguments: Arguments, frame: Frame) -> Frame:
    """To a plate scale of ``scale_to`` arcsec, as closely as whole blocks allow."""
    wanted = _number(arguments, "scale_to", frame.keyword("CDELT1", 1.0))
    every = max(1, round(wanted / frame.keyword("CDELT1", 1.0)))
    return _rebin({"scale": str(1 / every)}, frame)


# ---- level 1.5 ----------------------------------------------------------------------------------------

_AIA_SCALE, _AIA_ROWS = 0.6, 256  #: arcsec a pixel; rows worked on at a time
_FEWEST_ROWS = 4  #: of an image


def _aia_scale(arguments: Arguments, frame: Frame) -> Frame:
    """North up, 0.6 arcsec a pixel, the Sun centred: each pixel is the nearest one of the image.

    A table, such as the spikes of an image, is unchanged.
    """
    if frame.image.shape[0] < _FEWEST_ROWS:
        return frame
    turn, ratio = np.radians(frame.keyword("CROTA2", 0.0)), _AIA_SCALE / frame.keyword("CDELT1", _AIA_SCALE)
    ny, nx = frame.image.shape
    middle = (nx - 1) / 2, (ny - 1) / 2
    origin = [frame.keyword(f"CRPIX{axis}", _middle(frame, axis)) - 1 for axis in (1, 2)]
    missing = np.iinfo(frame.image.dtype).min
    made = np.full(frame.image.shape, missing, dtype=frame.image.dtype)
    for start in range(0, ny, _AIA_ROWS):
        rows, columns = np.ogrid[start : min(start + _AIA_ROWS, ny), :nx]
        x, y = (columns - middle[0]) * ratio, (rows - middle[1]) * ratio
        at_x = np.rint(origin[0] + x * np.cos(turn) + y * np.sin(turn)).astype(np.intp)
        at_y = np.rint(origin[1] - x * np.sin(turn) + y * np.cos(turn)).astype(np.intp)
        inside = (at_x >= 0) & (at_x < nx) & (at_y >= 0) & (at_y < ny)
        made[start : start + len(rows)][inside] = frame.image[at_y[inside], at_x[inside]]
    placed = {"CDELT1": _AIA_SCALE, "CDELT2": _AIA_SCALE, "CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2}
    turned = {"CROTA2": 0.0, "LVL_NUM": 1.5}
    return replace(frame, image=made, keywords={**frame.keywords, **placed, **turned})


_STEPS: Mapping[str, Callable[[Arguments, Frame], Frame]] = {
    "im_patch": _im_patch,
    "rebin": _rebin,
    "resize": _resize,
    **dict.fromkeys(("aia_scale_aialev1", "aia_scale_orig", "aia_scale_other"), _aia_scale),
}

# ---- components of the field ---------------------------------------------------------------------------
# Simpler than the real program: the observer is in the plane of the equator, and the azimuth is used unchanged.

VECTORS = "HmiB2ptr"
INPUTS = ("field", "inclination", "azimuth")
_COMPONENTS, _PLACES = ("Bp", "Bt", "Br"), ("latitude", "longitude")
_ROWS = 256  #: worked on at a time: a whole disk in doubles is too much


@dataclass(frozen=True, slots=True)
class Stored:
    """An image as it is stored, and how to make it physical: ``value * scale + zero``."""

    image: Image
    scale: float
    zero: float

    def rows(self, part: slice) -> NDArray[np.float64]:
        """Some rows in physical units, NaN where a pixel is missing."""
        values = self.image[part].astype(np.float64)
        values[self.image[part] == np.iinfo(self.image.dtype).min] = np.nan
        return values * self.scale + self.zero


def outputs(steps: tuple[ProcessStep, ...]) -> tuple[str, ...]:
    """The resulting segments: three components and, with ``l=1``, the position of each pixel. None without the step."""
    step = next((step for step in steps if step.name == VECTORS), None)
    if step is None:
        return ()
    if len(steps) > 1:
        raise BadRequest(f"{VECTORS} is simulated by itself; expected no other processing step beside it")
    places = dict(step.arguments).get("l", "0") not in (None, "", "0")
    return _COMPONENTS + (_PLACES if places else ())


def made_from(name: str) -> str:
    """The segment whose file type an output has: gauss like the field, degrees like the inclination."""
    return "inclination" if name in _PLACES else "field"


def component(name: str, inputs: Mapping[str, Stored], keywords: Mapping[str, float]) -> Image:
    """One of ``outputs``, stored like the segment from which it is made; off the disk pixels are missing."""
    like = inputs[made_from(name)]
    made = np.full(like.image.shape, np.iinfo(like.image.dtype).min, dtype=like.image.dtype)
    limits = np.iinfo(like.image.dtype)
    height, _ = _shape(like.image)
    for start in range(0, height, _ROWS):
        part = slice(start, min(start + _ROWS, height))
        values = (_physical(name, inputs, keywords, part) - like.zero) / like.scale
        there = np.isfinite(values)
        made[part][there] = np.clip(np.rint(values[there]), limits.min + 1, limits.max).astype(made.dtype)
    return made


def _physical(
    name: str, inputs: Mapping[str, Stored], keywords: Mapping[str, float], part: slice
) -> NDArray[np.float64]:
    latitude, longitude = _places(_shape(inputs["field"].image), keywords, part)
    if name in _PLACES:
        return np.degrees(latitude if name == "latitude" else longitude)
    field, inclination, azimuth = (inputs[each].rows(part) for each in INPUTS)
    across = field * np.sin(np.radians(inclination))
    x, y = -across * np.sin(np.radians(azimuth)), across * np.cos(np.radians(azimuth))
    z = field * np.cos(np.radians(inclination))
    outward = x * np.sin(longitude) + z * np.cos(longitude)  # in the plane of the parallel
    if name == "Bp":
        return np.asarray(x * np.cos(longitude) - z * np.sin(longitude))
    if name == "Bt":
        return np.asarray(outward * np.sin(latitude) - y * np.cos(latitude))
    return np.asarray(outward * np.cos(latitude) + y * np.sin(latitude))


def _shape(image: Image) -> tuple[int, int]:
    rows, columns = image.shape
    return int(rows), int(columns)


def _places(
    shape: tuple[int, int], keywords: Mapping[str, float], part: slice
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitude and longitude from disk centre in radians, NaN off the disk."""
    radius = keywords.get("RSUN_OBS", 960.0) / keywords.get("CDELT1", 0.5)
    middle = [
        keywords.get(f"CRPIX{axis}", (size + 1) / 2) - 1 for axis, size in ((1, shape[1]), (2, shape[0]))
    ]
    rows, columns = np.ogrid[part, : shape[1]]
    x, y = (columns - middle[0]) / radius, (rows - middle[1]) / radius
    with np.errstate(invalid="ignore"):
        latitude = np.arcsin(y + 0 * x)
        return latitude, np.arcsin(x / np.cos(latitude))


# ---- files ------------------------------------------------------------------------------------------


def stored_values(data: bytes, every: int = 1) -> Image:
    """The image of an archived file, as it is stored; only every n-th row and column."""
    rows = None if every == 1 else _every_row(data, every)
    with fits().open(io.BytesIO(rows or data), do_not_scale_image_data=True) as hdus:
        image: Image = np.asarray(hdus[-1].data)
    image = image[:, ::every] if rows else image[::every, ::every]
    return image.astype(image.dtype.newbyteorder("="))


def _every_row(data: bytes, every: int) -> bytes | None:
    """A file with only those rows, so that no others are decompressed; None for one not compressed by rows."""
    with fits().open(io.BytesIO(data), disable_image_compression=True) as hdus:
        header, start = hdus[-1].header.copy(), hdus[-1].fileinfo()["datLoc"]
    if not header.get("ZIMAGE") or header.get("ZNAXIS") != 2 or header.get("ZTILE2", 1) != 1 or "THEAP" in header:
        return None
    width, height = header["NAXIS1"], header["NAXIS2"]
    rows = np.frombuffer(data, np.uint8, width * height, start).reshape(height, width)[::every]
    heap = data[start + width * height :]  # omitted rows stay in it, unread
    header["NAXIS2"] = header["ZNAXIS2"] = len(rows)
    cards: str = header.tostring()
    body: bytes = rows.tobytes() + heap[: header["PCOUNT"]]
    return bytes(empty_primary()) + cards.encode("ascii") + body + bytes(-len(body) % 2880)


def processed_file(file: ArchivedFile, image: Image) -> bytes:
    """A file of the same kind with another image."""
    ny, nx = image.shape
    unit = compressed_unit(replace(file, shape=(ny, nx)), compress(image))
    return bytes(empty_primary()) + bytes(sealed(unit))
