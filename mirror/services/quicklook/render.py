"""From a FITS file to a PNG of at most some size, north up: what a quick look shows.

An image is read and averaged in strips, so that 4096 x 4096 pixels never lie in memory at once. astropy
and Pillow are imported when they are needed, in that process alone; Pillow need not be installed. They get only files
whose structure the check below has found to be right, and still may fail on them in any way: this belongs into a
process of its own.

Which image of a FITS file can be shown, by its structure alone, before any library decodes a byte of it.

What is not known to be harmless is refused, with the reason: only images of two dimensions, as they are or in tiles
of RICE_1, GZIP_1 and GZIP_2 whose every length and offset fits. The decoders of HCOMPRESS_1 and PLIO_1 write where
damaged data say, so files of these are not given to them.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mirror.errors import Refused
from mirror.fits.integrity import NotWhole, Unit, units
from mirror.services.quicklook.colours import Look, indices, palette

if TYPE_CHECKING:
    from mirror.fits.integrity import Read


#: Pixels of a side, and of an image.
MOST_SIDE, MOST_AREA = 65_536, 1 << 28
#: Pixels of a tile: a decoder has all of it in memory.
_MOST_TILE = 1 << 26
#: Bytes of the table of tiles.
_MOST_TABLE = 64 << 20
_PLANE = 2
_BITPIX = (8, 16, 32, 64, -32, -64)
RICE, _GZIP = ("RICE_1", "RICE_ONE"), ("GZIP_1", "GZIP_2")
_COLUMN = re.compile(r"(\d{0,6})([LXBIJKAEDCMPQ])([A-Z]?)(\(\d*\))?")
_WIDTHS = {"L": 1, "X": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
#: The columns of compressed images that are read; a mask of missing pixels may be compressed by PLIO_1.
_COLUMNS = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA", "ZSCALE", "ZZERO", "ZBLANK")
#: Bits that begin each block of Rice, by bytes of a pixel.
_RICE_BITS = {1: 3, 2: 4, 4: 5}
_MOST_DITHER = 10_000


@dataclass(frozen=True, slots=True)
class Shown:
    """An image that can be shown: the number of its header in the file, and its rows and columns."""

    number: int
    shape: tuple[int, int]


def shown_image(read: Read, size: int) -> Shown:
    """The first image of two dimensions in a file of ``size`` bytes. Refused, with the reason, if none can be shown."""
    seen = []
    if read(0, 9) != b"SIMPLE  =":
        raise Refused(f"it is not FITS: it begins with {read(0, 24)!r} instead of SIMPLE")
    try:
        for unit in units(read, size):
            axes = _axes(unit)
            if len(axes) == _PLANE:
                return _checked(read, unit, axes)
            if axes:
                seen.append(" x ".join(map(str, reversed(axes))))
    except NotWhole as problem:
        raise Refused(str(problem)) from problem
    raise Refused(f"no image of two dimensions is in that file; it has {', '.join(seen) or 'none at all'}")


def _axes(unit: Unit) -> list[int]:
    """The lengths of an image's axes, the fastest first; none for what is no image."""
    kind = "IMAGE" if not unit.number else unit.text("XTENSION")
    prefix = "" if kind == "IMAGE" else "Z" if kind == "BINTABLE" and unit.text("ZIMAGE") == "T" else None
    if prefix is None:
        return []
    count = unit.integer(f"{prefix}NAXIS")
    if not 0 <= count <= 999:
        raise NotWhole(f"{unit.where} has {prefix}NAXIS {count}")
    return [unit.integer(f"{prefix}NAXIS{n}") for n in range(1, count + 1)]


def _checked(read: Read, unit: Unit, axes: list[int]) -> Shown:
    columns, rows = axes
    if not (1 <= columns <= MOST_SIDE and 1 <= rows <= MOST_SIDE and rows * columns <= MOST_AREA):
        raise Refused(f"its image has {columns} x {rows} pixels; expected 1 to {MOST_SIDE} a side, {MOST_AREA} in all")
    if unit.text("ZIMAGE") == "T":
        _check_tiles(read, unit, columns, rows)
    return Shown(unit.number, (rows, columns))


# ---- tiles ----------------------------------------------------------------------------------------


def _check_tiles(read: Read, unit: Unit, columns: int, rows: int) -> None:
    kind = unit.text("ZCMPTYPE")
    if kind not in (*RICE, *_GZIP):
        raise Refused(f"its image is compressed by {kind or 'nothing that it names'}; quick looks read {RICE[0]} and GZIP")
    if (bits := unit.integer("ZBITPIX")) not in _BITPIX:
        raise NotWhole(f"{unit.where} has ZBITPIX {bits}")
    if not 1 <= unit.integer("ZDITHER0", 1) <= _MOST_DITHER:
        raise NotWhole(f"{unit.where} has ZDITHER0 {unit.integer('ZDITHER0')}; expected 1 to {_MOST_DITHER}")
    pixels = _pixels_of_tiles(unit, columns, rows)
    block, size = rice_parameters(unit, bits) if kind in RICE else (0, 0)
    lengths = _lengths(read, unit, len(pixels))
    data = lengths["COMPRESSED_DATA"]
    elsewhere = sum((lengths[name] for name in _COLUMNS[1:3] if name in lengths), np.zeros_like(data))
    if (data + elsewhere == 0).any():
        raise NotWhole(f"tile {int(np.argmin(data + elsewhere)) + 1} of {unit.where} has no data")
    if kind in RICE:
        least = size + -(-pixels // block) * _RICE_BITS[size] // 8
        short = (data > 0) & (data < least)
        if short.any():
            n = int(np.argmax(short))
            raise NotWhole(
                f"tile {n + 1} of {unit.where} has {data[n]} bytes for {pixels[n]} pixels; expected {least[n]} at least"
            )
    most = 2 * 8 * pixels + 4096
    if (data > most).any():
        n = int(np.argmax(data > most))
        raise NotWhole(f"tile {n + 1} of {unit.where} has {data[n]} bytes for {pixels[n]} pixels; expected fewer")


def _pixels_of_tiles(unit: Unit, columns: int, rows: int) -> NDArray[np.int64]:
    """The pixels of each tile, in the order of the table."""
    wide, high = unit.integer("ZTILE1", columns), unit.integer("ZTILE2", 1)
    if not (1 <= wide <= columns and 1 <= high <= rows and wide * high <= _MOST_TILE):
        raise NotWhole(f"{unit.where} has tiles of {wide} x {high} pixels in an image of {columns} x {rows}")
    across, down = (
        np.minimum(step, length - np.arange(0, length, step)) for step, length in ((wide, columns), (high, rows))
    )
    return np.outer(down, across).ravel().astype(np.int64)


def rice_parameters(unit: Unit, bits: int) -> tuple[int, int]:
    """Pixels of a block and bytes of a pixel, as a file's ZNAMEn and ZVALn say."""
    given = {unit.text(f"ZNAME{n}"): n for n in range(1, 10) if unit.text(f"ZNAME{n}") is not None}
    block = unit.integer(f"ZVAL{given['BLOCKSIZE']}") if "BLOCKSIZE" in given else 32
    size = unit.integer(f"ZVAL{given['BYTEPIX']}") if "BYTEPIX" in given else 4
    whole = {8: (1, 4), 16: (2, 4), 32: (4,)}.get(bits, (4,))
    if block not in (16, 32) or size not in whole:
        raise NotWhole(f"{unit.where} has Rice blocks of {block} pixels of {size} bytes, with ZBITPIX {bits}")
    return block, size


def _lengths(read: Read, unit: Unit, tiles: int) -> dict[str, NDArray[np.int64]]:
    """The bytes of each tile in each column that has any, all of which lie in the heap."""
    width, count, table = unit.integer("NAXIS1"), unit.integer("NAXIS2"), unit.integer("NAXIS1") * unit.integer("NAXIS2")
    if (unit.integer("BITPIX"), unit.integer("NAXIS"), unit.integer("GCOUNT", 1)) != (8, 2, 1):
        raise NotWhole(f"{unit.where} is no table of tiles")
    if count != tiles or table > _MOST_TABLE:
        raise NotWhole(f"{unit.where} has a table of {count} tiles of {width} bytes; its image has {tiles}")
    heap = unit.integer("THEAP", table)
    if not table <= heap <= unit.length:
        raise NotWhole(f"{unit.where} has THEAP {heap}; expected {table} to {unit.length}")
    found = {}
    rows = np.frombuffer(read(unit.start, table), np.uint8).reshape(count, width)
    for name, start, form, element in _columns(unit, width):
        if form in ("P", "Q"):
            kind, size = (">i4", 4) if form == "P" else (">i8", 8)
            pairs = np.ascontiguousarray(rows[:, start : start + 2 * size]).view(kind).astype(np.int64)
            found[name] = _inside(unit, name, pairs, element, unit.length - heap)
    if "COMPRESSED_DATA" not in found:
        raise NotWhole(f"{unit.where} has no column COMPRESSED_DATA of variable length")
    return found


def _inside(unit: Unit, name: str, pairs: NDArray[np.int64], element: int, heap: int) -> NDArray[np.int64]:
    """The bytes of each tile, by its number of elements and its place in a heap of so many bytes."""
    counts, offsets = pairs[:, 0], pairs[:, 1]
    # Bounded first, so that no product is too large for the numbers.
    wrong = (counts < 0) | (offsets < 0) | (counts > heap) | (offsets > heap)
    wrong |= np.where(wrong, 0, offsets + counts * element) > heap
    if wrong.any():
        n = int(np.argmax(wrong))
        raise NotWhole(
            f"tile {n + 1} of {unit.where} has {counts[n]} values from byte {offsets[n]} on in {name}, whose heap has {heap} bytes"
        )
    return counts * element


def _columns(unit: Unit, width: int) -> list[tuple[str, int, str, int]]:
    """Name, first byte, kind and bytes of an element of each column; they fill a row."""
    at, found = 0, list[tuple[str, int, str, int]]()
    fields = unit.integer("TFIELDS")
    if not 1 <= fields <= len(_COLUMNS):
        raise NotWhole(f"{unit.where} has {fields} columns")
    for n in range(1, fields + 1):
        name, form = unit.text(f"TTYPE{n}") or "", _COLUMN.fullmatch(unit.text(f"TFORM{n}") or "")
        if name not in _COLUMNS or form is None or name in (known for known, *_ in found):
            raise NotWhole(f"{unit.where} has a column {name!r} of {unit.text(f'TFORM{n}')!r}, which is not read")
        repeat, kind, element = int(form[1] or 1), form[2], form[3]
        if repeat != 1 or (kind in "PQ") != (name in _COLUMNS[:3]) or (kind in "PQ" and element not in _WIDTHS):
            raise NotWhole(f"{unit.where} has a column {name} of {form[0]}, which is not read")
        found.append((name, at, kind, _WIDTHS.get(element, 1)))
        at += _WIDTHS[kind]
    if at != width:
        raise NotWhole(f"{unit.where} has rows of {width} bytes, whose columns have {at}")
    return found


#: Pixels of the longer side of a picture, at most.
MOST_PIXELS = 1024
#: Rows of the picture that are made of one strip.
_STRIP = 64
_MISSING = "quick looks need Pillow where the mirror runs: pip install 'jsoc-mirror[quicklook]'"


def quick_look(file: BinaryIO, look: Look, *, turned: bool, most: int = MOST_PIXELS) -> bytes:
    """The PNG of the first image in an open FITS file; ``turned`` if its north is at the bottom.

    Refused if the file has no image, is no FITS, or Pillow is not installed.
    """
    return draw(read_image(file, most), look, turned=turned)


def read_image(file: BinaryIO, most: int = MOST_PIXELS) -> NDArray[np.float32]:
    """The first image in an open FITS file, averaged over squares until no side has more than ``most`` pixels.

    In the file's order of rows, the southernmost first. A pixel is NaN if none of its square has a value.
    """
    from astropy.io import fits  # noqa: PLC0415  (see the module's docstring)

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
    return np.concatenate([means(np.asarray(strip), step) for strip in strips])


def means(strip: NDArray[Any], step: int) -> NDArray[np.float32]:
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

