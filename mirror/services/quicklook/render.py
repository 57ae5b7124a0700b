"""From a FITS file to a PNG of at most some size, north up: what a quick look shows.

An image is read and averaged in strips, so that 4096 x 4096 pixels never lie in memory at once. astropy
and pillow are imported when they are needed: a mirror without quick looks does without them. They get only files
whose structure ``picturecheck`` has found to be right, and still may fail on them in any way: this belongs into a
process of its own.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mirror.errors import Refused
from mirror.services.quicklook.colours import Look, indices, palette
from mirror.services.quicklook.structure import shown_image

#: Pixels of the longer side of a picture, at most.
MOST_PIXELS = 1024
#: Rows of the picture that are made of one strip.
_STRIP = 64
_MISSING = "quick looks need astropy and pillow where the mirror runs: pip install 'jsoc-mirror[quicklook]'"


def quick_look(file: BinaryIO, look: Look, *, turned: bool, most: int = MOST_PIXELS) -> bytes:
    """The PNG of the first image in an open FITS file; ``turned`` if its north is at the bottom.

    Refused if the file has no image, is no FITS, or the libraries for pictures are not installed.
    """
    return draw(read_image(file, most), look, turned=turned)


def read_image(file: BinaryIO, most: int = MOST_PIXELS) -> NDArray[np.float32]:
    """The first image in an open FITS file, averaged over squares until no side has more than ``most`` pixels.

    In the file's order of rows, the southernmost first. A pixel is NaN if none of its square has a value.
    """
    try:
        from astropy.io import fits  # noqa: PLC0415  (see the module's docstring)
    except ImportError as error:
        raise Refused(_MISSING) from error
    fd = file.fileno()
    shown = shown_image(lambda at, count: os.pread(fd, count, at), os.fstat(fd).st_size)
    try:
        with fits.open(file, memmap=False) as hdus:
            image = hdus[shown.number]
            shape = tuple(image.shape) if image.is_image else None
            pixels = _averaged(image, most) if shape == shown.shape else None
    except Exception as error:  # damaged data make a library raise anything
        raise Refused(f"its data cannot be decoded: {type(error).__name__}: {error}") from error
    if pixels is None:
        raise Refused(f"HDU {shown.number} is an image of {shown.shape} by its header, and of {shape} by astropy")
    return pixels


def draw(values: NDArray[np.float32], look: Look, *, turned: bool) -> bytes:
    """Values as a PNG; the first row is at the bottom, or at the top if ``turned``, and then mirrored too."""
    try:
        from PIL import Image  # noqa: PLC0415  (see the module's docstring)
    except ImportError as error:
        raise Refused(_MISSING) from error
    upright = values[:, ::-1] if turned else values[::-1]
    picture = Image.fromarray(np.ascontiguousarray(indices(upright, look)), mode="L")
    picture.putpalette(palette(look.palette).tobytes())
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=False)
    return out.getvalue()


def _averaged(image: Any, most: int) -> NDArray[np.float32]:
    rows, columns = image.shape
    step = max(1, -(-max(rows, columns) // most))
    section = image.section
    strips = [section[at : at + step * _STRIP, 0:columns] for at in range(0, rows, step * _STRIP)]
    return np.concatenate([_means(np.asarray(strip), step) for strip in strips])


def _means(strip: NDArray[Any], step: int) -> NDArray[np.float32]:
    """The means of squares of ``step`` pixels, over those that have a value; smaller squares at the edges."""
    values = strip.astype(np.float32)
    present = np.isfinite(values)
    total, count = (_sums(each, step) for each in (np.where(present, values, 0), present.astype(np.float32)))
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float32] = (total / np.where(count == 0, np.nan, count)).astype(np.float32)
    return means


def _sums(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    for axis, length in enumerate(values.shape):
        values = np.add.reduceat(values, np.arange(0, length, step), axis=axis)
    return values

