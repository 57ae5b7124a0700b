"""The processing steps that the simulator knows: ``im_patch`` cuts out, ``rebin`` and ``resize`` make smaller.

They work on stored values; what they do to an image's coordinates is told as keywords by FITS name.
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
    from mirror.drms.export import ProcessStep
    from mirror.simulator.exports.archived import ArchivedFile
    from mirror.simulator.exports.rice import Image

Keywords = Mapping[str, float]

_ROTATION = 0.0026  #: arcsec a second by which what is in the middle of the disk moves westward
_LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Frame:
    """An image on its way: stored values, the keywords that place it, and when it was taken (seconds)."""

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
    if step.name not in _STEPS:
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
    """A box around a place in arcsec from the middle of the disk; without ``t=1`` it follows the rotation."""
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
    """The pixels at both edges are inside."""
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
    """To a plate scale of ``scale_to`` arcsec, as near as whole blocks come."""
    wanted = _number(arguments, "scale_to", frame.keyword("CDELT1", 1.0))
    every = max(1, round(wanted / frame.keyword("CDELT1", 1.0)))
    return _rebin({"scale": str(1 / every)}, frame)


_STEPS: Mapping[str, Callable[[Arguments, Frame], Frame]] = {
    "im_patch": _im_patch,
    "rebin": _rebin,
    "resize": _resize,
}

# ---- files ------------------------------------------------------------------------------------------


def stored_values(data: bytes) -> Image:
    """The image of a file of the archive, as it is stored."""
    with fits().open(io.BytesIO(data), do_not_scale_image_data=True) as hdus:
        image: Image = np.asarray(hdus[-1].data)
    return image.astype(image.dtype.newbyteorder("="))


def processed_file(file: ArchivedFile, image: Image) -> bytes:
    """A file of the same kind with another image."""
    ny, nx = image.shape
    unit = compressed_unit(replace(file, shape=(ny, nx)), compress(image))
    return bytes(empty_primary()) + bytes(sealed(unit))
