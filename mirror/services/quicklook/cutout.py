"""A part of an archived image as a FITS file of its own: the record's full header, its pointing moved along.

Runs in the process that reads files of others (``worker``): it has no other way to the store than the open file.
Pixels are not resampled. Integers stay the integers that JSOC stored, compressed as they were; of a compressed image
only the tiles are read that the cutout needs. Averaged images, and compressed floating-point ones, become plain
32-bit floats.

Positions are FITS pixel numbers (the centre of the first pixel is 1), or arcsec from disk centre (helioprojective).
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from mirror.errors import BadRequest, MirrorError, Refused
from mirror.fits import ones_complement, read_archive
from mirror.fits.assembly import write_checksums
from mirror.fits.header import (
    Header,
    commentary_cards,
    make_card,
    name_of,
    split_card,
    unquoted,
)
from mirror.fits.integrity import units
from mirror.humanize import utc
from mirror.services.quicklook.render import RICE, means, rice_parameters, shown_image
from mirror.services.quicklook.tiles import RiceRows, Stored, compressed, empty_primary, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mirror.fits.integrity import Read, Unit

Units = Literal["arcsec", "pixels"]

#: Cards that say how the pixels are stored, which depends on the cutout.
_STORAGE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|THEAP|TFIELDS|T(TYPE|FORM)\d+"
    r"|Z(IMAGE|TENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|QUANTIZ|DITHER0|PCOUNT|GCOUNT)"
    r"|ZHECKSUM|ZDATASUM|CHECKSUM|DATASUM"
)
_SCALING = ("BSCALE", "BZERO", "BLANK", "ZBLANK")
_POINTING = re.compile(r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(PC|CD)[12]_[12]|LONPOLE|LATPOLE|PV\d_\d+")
_HELIOPROJECTIVE = ("HPLN", "HPLT")
#: Sums and averages of pixels need so much: a side that is averaged over more is a handful of pixels.
_MOST_SCALE = 1024


@dataclass(frozen=True, slots=True)
class Window:
    """What is wanted of an image: ``size`` (width, height) around ``centre`` (x, y) in ``units``; None for all of it.

    ``scale`` pixels of each axis are averaged to one. ``rigid``: as many pixels for every image of one scale, as
    frames of a film need, instead of all whose centres lie within. ``box``: the units of ``size`` if it is rigid and these
    are others.
    """

    centre: tuple[float, float] | None = None
    size: tuple[float, float] | None = None
    units: Units = "arcsec"
    scale: int = 1
    rigid: bool = False
    box: Units | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """Columns ``left`` to ``right`` and rows ``bottom`` to ``top`` of an image, from 0, the ends left out."""

    left: int
    right: int
    bottom: int
    top: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.top - self.bottom, self.right - self.left


# ---- where it lies ---------------------------------------------------------------------------------


def box_of(window: Window, cards: Sequence[str], shape: tuple[int, int]) -> Box:
    """The pixels of a window in an image of ``shape`` (rows, columns), as far as they are in it.

    BadRequest if none is, if the window is larger than the image, or if its units do not apply to it.
    """
    rows, columns = shape
    if window.centre is None or window.size is None:
        return Box(0, columns, 0, rows)
    (x, y), (width, height) = window.centre, window.size
    if window.units == "pixels":
        (left, right), (bottom, top) = _around(x, width), _around(y, height)
    elif window.box == "pixels":
        column, row = _pixels(_pointing(cards), [(x, y)])[0]
        (left, right), (bottom, top) = _around(column + 1, width), _around(row + 1, height)
    else:
        left, right, bottom, top = _on_the_sky((x, y), (width, height), _pointing(cards), rigid=window.rigid)
    if right - left > columns or top - bottom > rows:
        raise BadRequest(
            f"a cutout of {width:g} x {height:g} {window.units} has {right - left} x {top - bottom} pixels; "
            f"expected at most the {columns} x {rows} of the image"
        )
    box = Box(max(0, left), min(columns, right), max(0, bottom), min(rows, top))
    if box.left >= box.right or box.bottom >= box.top:
        raise BadRequest(
            f"the cutout at {x:g}, {y:g} {window.units} lies outside the image: columns {left + 1} to {right}, rows "
            f"{bottom + 1} to {top}; expected some of columns 1 to {columns}, rows 1 to {rows}"
        )
    return box


def _around(centre: float, length: float) -> tuple[int, int]:
    """The first pixel and the end of so many around a FITS pixel number."""
    count = max(1, round(length))
    first = math.floor(centre - (count - 1) / 2 + 0.5) - 1
    return first, first + count


def _on_the_sky(
    centre: tuple[float, float], size: tuple[float, float], wcs: Any, *, rigid: bool
) -> tuple[int, int, int, int]:
    """Left, right, bottom and top of the pixels whose centres lie in a window of arcsec, as sunpy's submap has them."""
    half = size[0] / 2, size[1] / 2
    if rigid:
        column, row = _pixels(wcs, [centre])[0]
        wide, high = (2 * h / scale.to_value("arcsec") for h, scale in zip(half, wcs.proj_plane_pixel_scales(), strict=True))
        return *_around(column + 1, wide), *_around(row + 1, high)
    corners = [(centre[0] + i * half[0], centre[1] + j * half[1]) for i, j in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
    pixels = _pixels(wcs, corners)
    (left, bottom), (right, top) = pixels.min(axis=0), pixels.max(axis=0)
    return (
        math.floor(left + 0.5), math.ceil(right - 0.5) + 1, math.floor(bottom + 0.5), math.ceil(top - 0.5) + 1,
    )  # fmt: skip


def _pixels(wcs: Any, places: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """Column and row, from 0, of places in arcsec."""
    found: NDArray[np.float64] = wcs.all_world2pix(np.asarray(places) / 3600.0, 0)
    if not np.isfinite(found).all() or np.abs(found).max() > 1e9:
        raise BadRequest(f"{places[0][0]:g}, {places[0][1]:g} arcsec is no place on the sky of this image")
    return found


def _pointing(cards: Sequence[str]) -> Any:
    """The world coordinates of an image; BadRequest if they are not helioprojective."""
    from astropy.io import fits  # noqa: PLC0415  (as in render)
    from astropy.wcs import WCS  # noqa: PLC0415

    header = fits.Header()
    for card in cards:
        name = name_of(card)
        if _POINTING.fullmatch(name) and name not in header:
            value = split_card(card)[0]
            read = unquoted(value) if value.startswith("'") else _number(value)
            if read is not None:
                header[name] = read
    kinds = tuple(str(header.get(f"CTYPE{n}", ""))[:4] for n in (1, 2))
    if kinds != _HELIOPROJECTIVE:
        raise BadRequest(
            f"units=arcsec does not apply to an image in {' and '.join(k or 'no coordinates' for k in kinds)}; "
            "expected units=pixels"
        )
    header["NAXIS"] = 2
    return WCS(header, fix=False)


# ---- the file --------------------------------------------------------------------------------------


def cutout(file: BinaryIO, head: str, window: Window, history: str, at: float) -> bytes:
    """The FITS file of a window of the image in an open file, whose exported header is ``head`` (a character a byte).

    ``history`` says whose it is and who made it, ``at`` is now in Unix seconds. Refused for what is no image of two
    dimensions, BadRequest for a window that does not fit it, or a place on the sky where it has no values.
    """
    archive = read_archive(head.encode("latin-1"))
    if archive is None:
        raise Refused("its header has no end")
    cards, fd = archive.cards, file.fileno()
    shown = shown_image(lambda start, count: os.pread(fd, count, start), os.fstat(fd).st_size)
    box = box_of(window, cards, shown.shape)
    if window.scale > 1:
        box = _divisible(box, window.scale)
    try:
        pixels, kind = _pixels_of(file, shown.number, box)
    except MirrorError:
        raise
    except Exception as error:  # damaged data make a library raise anything
        raise Refused(f"its data cannot be decoded: {type(error).__name__}: {error}") from error
    values = _scaled(cards)
    if window.centre is not None and window.units == "arcsec" and not window.rigid and not values.any(pixels):
        (x, y), (rows, columns) = window.centre, pixels.shape
        raise BadRequest(
            f"the cutout at {x:g}, {y:g} arcsec has no values: all of its {columns} x {rows} pixels are missing, as off the "
            "disk; expected a place where the image has some"
        )
    if window.scale > 1:
        pixels = means(values.physical(pixels), window.scale)
    words = f"columns {box.left + 1}-{box.right}, rows {box.bottom + 1}-{box.top} of {shown.shape[1]} x {shown.shape[0]}"
    if window.scale > 1:
        words += f", averages of {window.scale} x {window.scale} pixels"
    header = _header(cards, box, window.scale, scaling=window.scale == 1 and pixels.dtype.kind != "f")
    header.append(*commentary_cards("HISTORY", f"{history}: {words}"))
    if kind is None or pixels.dtype.kind == "f":
        return _file(plain(pixels, primary=archive.in_primary), header, at, primary=archive.in_primary)
    return _file(compressed(pixels, kind), header, at, primary=False)


def _pixels_of(file: BinaryIO, number: int, box: Box) -> tuple[NDArray[Any], str | None]:
    """The stored numbers in a box of an image that can be shown, and how they are compressed, if they are.

    Plain images, and those of integers whose rows are Rice-compressed, as JSOC archives them, are read here; astropy
    gives the same of all in several times the time.
    """
    fd = file.fileno()

    def read(at: int, count: int) -> bytes:
        return os.pread(fd, count, at)

    unit = next(u for u in units(read, os.fstat(fd).st_size) if u.number == number)
    if unit.text("ZIMAGE") != "T":
        return _plain_pixels(read, unit, box), None
    rows = _rice_rows(unit)
    pixels = None if rows is None else rows.read(read, (box.bottom, box.top), (box.left, box.right))
    if pixels is not None:
        return pixels, RICE[0]
    from astropy.io import fits  # noqa: PLC0415  (as in render)

    with fits.open(file, memmap=False, do_not_scale_image_data=True) as hdus:
        image = hdus[number]
        return np.asarray(image.section[box.bottom : box.top, box.left : box.right]), image.compression_type


def _plain_pixels(read: Read, unit: Unit, box: Box) -> NDArray[Any]:
    bits, columns = unit.integer("BITPIX"), unit.integer("NAXIS1")
    kind = np.dtype(f">f{-bits // 8}" if bits < 0 else f">i{bits // 8}" if bits > 8 else "u1")
    rows, length = box.shape[0], columns * kind.itemsize
    whole = np.frombuffer(read(unit.start + length * box.bottom, length * rows), kind).reshape(rows, columns)
    return whole[:, box.left : box.right].astype(kind.newbyteorder("="))


def _rice_rows(unit: Unit) -> RiceRows | None:
    """None for what is not Rice-compressed row by row. Lengths and offsets have been checked (``shown_image``)."""
    if unit.text("ZCMPTYPE") not in RICE or unit.text("TTYPE1") != "COMPRESSED_DATA":
        return None
    columns, bits = unit.integer("ZNAXIS1"), unit.integer("ZBITPIX")
    block, size = rice_parameters(unit, bits)
    tile = unit.integer("ZTILE1", columns), unit.integer("ZTILE2", 1)
    if tile != (columns, 1) or (unit.integer("NAXIS1"), unit.integer("TFIELDS")) != (8, 1) or size * 8 != bits:
        return None
    return RiceRows(unit.start, unit.start + unit.integer("THEAP", 8 * unit.integer("NAXIS2")), columns, block, size)


def _divisible(box: Box, scale: int) -> Box:
    """The box without the last columns and rows that do not fill a square of ``scale`` pixels."""
    rows, columns = box.shape
    if not 1 <= scale <= _MOST_SCALE or rows < scale or columns < scale:
        raise BadRequest(f"scale is 1/{scale}; expected at most 1/{min(rows, columns, _MOST_SCALE)} for {columns} x {rows} pixels")
    return Box(box.left, box.right - columns % scale, box.bottom, box.top - rows % scale)


@dataclass(frozen=True, slots=True)
class _Scaling:
    """From stored integers to values."""

    factor: float
    zero: float
    blank: int | None

    def any(self, pixels: NDArray[Any]) -> bool:
        """Whether some stored number is a value."""
        if pixels.dtype.kind == "f":
            return bool(np.isfinite(pixels).any())
        return self.blank is None or bool((pixels != self.blank).any())

    def physical(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Values, NaN where there is none; floats have them already."""
        if pixels.dtype.kind == "f":
            return pixels.astype(np.float64)
        values = pixels * self.factor + self.zero
        return values if self.blank is None else np.where(pixels == self.blank, np.nan, values)


def _scaled(cards: Sequence[str]) -> _Scaling:
    numbers = ((name_of(card), _number(split_card(card)[0])) for card in reversed(cards) if name_of(card) in _SCALING)
    found = {name: number for name, number in numbers if number is not None}
    blank = found.get("BLANK", found.get("ZBLANK"))
    return _Scaling(found.get("BSCALE", 1.0), found.get("BZERO", 0.0), None if blank is None else int(blank))


def _header(cards: Sequence[str], box: Box, scale: int, *, scaling: bool) -> Header:
    """The cards of a cutout but for those of its storage."""
    header = Header(c for c in cards if not _STORAGE.fullmatch(name_of(c)) and (scaling or name_of(c) not in _SCALING))
    for axis, first in ((1, box.left), (2, box.bottom)):
        _change(header, f"CRPIX{axis}", lambda pixel, first=first: (pixel - first - 0.5) / scale + 0.5)
        _change(header, f"CDELT{axis}", lambda step: step * scale)
        for other in (1, 2):
            _change(header, f"CD{axis}_{other}", lambda step: step * scale)
    return header


def _change(header: Header, name: str, new: Any) -> None:
    position = header.find(name)
    if position is not None:
        value, comment = split_card(header.cards[position])
        number = _number(value)
        if number is not None:
            header.replace(position, make_card(name, repr(float(new(number))).upper(), comment))


def _number(value: str) -> float | None:
    """The number of a card; None for one that has none, as JSOC writes what is missing, or no finite one."""
    try:
        number = float(value.upper().replace("D", "E"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _file(stored: Stored, header: Header, at: float, *, primary: bool) -> bytes:
    """A file of these data, with more cards in the header of its image, and its checksums."""
    whole = Header([*stored.cards, *header.cards])
    write_checksums(whole, ones_complement(stored.data), utc(at))
    return (b"" if primary else empty_primary()) + whole.to_bytes() + stored.data
