"""The files of the archive below /SUM, made from the numbers of the storage unit.

An image is one of a few templates, compressed once, with a random patch in its corner that is unique to the file: a
file of 4096 x 4096 is made in some hundredths of a second, and no two are alike. With ``mirror simulate --side`` it is
painted by its record instead (``mirror.simulator.synthetic.scenes``).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mirror.simulator.exports.hdus import Hdu, card, empty_primary, image_primary, sealed
from mirror.simulator.exports.ledger import Kept
from mirror.simulator.exports.pixels import Picture, look, paint
from mirror.simulator.exports.rice import Rows, compress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.series import Segment
    from mirror.simulator.exports.rice import Image
    from mirror.simulator.synthetic.scenes import Scene

_VARIANTS = 2
_PATCH = (16, 64)  #: rows and columns of the unique corner
_TEMPLATE_BYTES = 200_000_000
_FITS_PROTOCOLS = frozenset({"fits", "fitsz", "tas"})
_IMAGE_TYPES = {
    "char": "i1",
    "short": "i2",
    "int": "i4",
    "longlong": "i8",
    "float": "f4",
    "double": "f8",
}
_LINES = 400  #: of a file that is text


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file of a storage unit. ``shape`` is rows, columns; a stored value v means bzero + bscale * v."""

    sunum: int
    place: int  #: the number of the slot in the unit
    name: str
    segment: Segment
    shape: tuple[int, int]
    bzero: float = 0.0
    bscale: float = 1.0
    compressed: bool = True
    is_line: bool = False  #: one axis only: a row of numbers
    scene: Scene | None = None  #: what it shows, if that depends on the record

    @property
    def axes(self) -> tuple[int, ...]:
        """The length of each axis, columns first."""
        return self.shape[1:] if self.is_line else self.shape[::-1]

    @property
    def is_image(self) -> bool:
        """True for a FITS file."""
        return self.segment.protocol in _FITS_PROTOCOLS and self.segment.type in _IMAGE_TYPES

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(_IMAGE_TYPES[self.segment.type])

    def chance(self) -> np.random.Generator:
        """Random numbers that are unique to this file."""
        return np.random.default_rng([self.sunum, self.place, zlib.crc32(self.name.encode("latin-1"))])


def make_file(file: ArchivedFile, templates: Templates) -> bytes:
    """The bytes of a file: the same at every call and every start."""
    if not file.is_image:
        return _text(file)
    if not file.compressed or file.dtype.kind == "f" or file.dtype.itemsize == 8:
        return bytes(sealed(_plain(file)))
    rows = templates.rows(file) if file.scene is None else compress(_unsigned(_painted(file, file.scene)))
    return bytes(empty_primary()) + bytes(sealed(compressed_unit(file, rows)))


def _text(file: ArchivedFile) -> bytes:
    coefficients = _MODE_TABLES.get(file.segment.name)
    if coefficients is not None:
        return _mode_table(file, coefficients)
    numbers = file.chance().normal(size=(_LINES, 4))
    lines = ("".join(f"{value:14.6e}" for value in row) for row in numbers)
    return (f"# {file.segment.name}: {file.segment.note}\n" + "\n".join(lines) + "\n").encode(
        "latin-1", "replace"
    )


# ---- tables of modes ----------------------------------------------------------------------------------

#: By segment, how many coefficients of the splitting each mode has.
_MODE_TABLES = {"m6": 6, "m18": 18, "m36": 36}
_HIGHEST_DEGREE = 200
_BAND = (1000.0, 4600.0)  # of the frequencies that are fitted, in microhertz


def _mode_table(file: ArchivedFile, coefficients: int) -> bytes:
    """Degree, order, five parameters with their errors, and the coefficients with theirs: one mode per line."""
    degree, order, frequency = _modes()
    chance = file.chance()
    count = len(degree)
    width = 0.4 + 0.9 * (frequency / 3000.0) ** 4
    parameters = (
        frequency,
        60.0 * np.exp(-(((frequency - 3100.0) / 700.0) ** 2)) + 1.0,
        width,
        2.0 / width,
        0.01 * width,
    )
    jitter = 1.0 + 0.001 * chance.normal(size=(len(parameters), count))
    jitter[0] = 1.0 + 1e-6 * chance.normal(size=count)
    errors = (0.004 + 0.02 * width, *(0.02 * np.abs(each) + 1e-4 for each in parameters[1:]))
    falling = np.array(
        [440.0 if at == 0 else 22.0 if at == 2 else 2.0 / (at + 1) for at in range(coefficients)]
    )
    splitting = falling[:, None] * (1.0 + 0.02 * chance.normal(size=(coefficients, count)))
    doubt = np.full((coefficients, count), 0.05) * (1.0 + np.arange(coefficients)[:, None] * 0.1)
    columns = np.vstack([np.array(parameters) * jitter, errors, splitting, doubt])
    lines = (
        f"{ell:4d}{n:4d}" + "".join(f"{value:15.6e}" for value in column)
        for ell, n, column in zip(degree.tolist(), order.tolist(), columns.T, strict=True)
    )
    return ("\n".join(lines) + "\n").encode("ascii")


def _modes() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Degrees, orders and frequencies of the modes in the band: roughly those of the Sun."""
    degree, order = (
        axis.ravel() for axis in np.meshgrid(np.arange(_HIGHEST_DEGREE + 1), np.arange(26), indexing="ij")
    )
    ridge = 101.5**2 * (degree + 0.5) * (1.0 + order / 1.5)
    frequency = np.sqrt(ridge + np.where(order > 0, 135.0 * (order + 1.45), 0.0) ** 2)
    fitted = (frequency > _BAND[0]) & (frequency < _BAND[1])
    return degree[fitted], order[fitted], frequency[fitted]


# ---- images -----------------------------------------------------------------------------------------


def stored(file: ArchivedFile, variant: int) -> Image:
    """The template of an image as stored values; missing ones are the lowest value."""
    return _scaled(file, paint(look(file.segment), file.shape, variant))


def _painted(file: ArchivedFile, scene: Scene) -> Image:
    """The image of a record of its own."""
    return _scaled(file, scene.picture(file.shape, file.chance()))


def _scaled(file: ArchivedFile, picture: Picture) -> Image:
    limits = np.iinfo(file.dtype)
    scaled = np.rint((picture - np.float32(file.bzero)) / np.float32(file.bscale))
    # The lowest value means missing; the highest that a single-precision float has exactly is below the limit.
    highest = limits.max - 127 if limits.bits == 32 else limits.max
    image: Image = np.clip(np.nan_to_num(scaled), limits.min + 1, highest).astype(file.dtype)
    image[np.isnan(picture)] = limits.min
    return image


def patched(file: ArchivedFile, first_rows: Image) -> Image:
    """The first rows of the template with this file's own corner; positions of spikes stay unchanged."""
    rows, columns = (min(most, size) for most, size in zip(_PATCH, file.shape, strict=True))
    first = 1 if look(file.segment) == "spikes" else 0
    image = first_rows.copy()
    image[first:rows, :columns] = file.chance().integers(1, 100, (rows, columns))[first:]
    return image


def compressed_unit(file: ArchivedFile, rows: Rows) -> Hdu:
    """The table that holds a compressed image of this file's kind, without checksums."""
    return Hdu((*_table_cards(file, rows), *_scale_cards(file)), rows.table())


def _table_cards(file: ArchivedFile, rows: Rows) -> Sequence[str]:
    size, lengths = file.dtype.itemsize, list(enumerate(file.axes, 1))
    longest = int(rows.lengths.max(initial=0))
    return (
        card("XTENSION", "BINTABLE", "binary table extension"),
        card("BITPIX", 8, "8-bit bytes"),
        card("NAXIS", 2, "2-dimensional binary table"),
        card("NAXIS1", 8, "width of table in bytes"),
        card("NAXIS2", file.shape[0], "number of rows in table"),
        card("PCOUNT", len(rows.data), "size of special data area"),
        card("GCOUNT", 1, "one data group (required keyword)"),
        card("TFIELDS", 1, "number of fields in each row"),
        card("TTYPE1", "COMPRESSED_DATA", "label for field   1"),
        card("TFORM1", f"1PB({longest})", "data format of field: variable length array"),
        card("ZIMAGE", True, "extension contains compressed image"),
        card("ZSIMPLE", True, "file does conform to FITS standard"),
        card("ZBITPIX", 8 * size, "data type of original image"),
        card("ZNAXIS", len(lengths), "dimension of original image"),
        *(card(f"ZNAXIS{at}", length, "length of original image axis") for at, length in lengths),
        *(
            card(f"ZTILE{at}", length if at == 1 else 1, "size of tiles to be compressed")
            for at, length in lengths
        ),
        card("ZCMPTYPE", "RICE_1", "compression algorithm"),
        card("ZNAME1", "BLOCKSIZE", "compression block size"),
        card("ZVAL1", 32, "pixels per block"),
        card("ZNAME2", "BYTEPIX", "bytes per pixel (1, 2, 4, or 8)"),
        card("ZVAL2", size, "bytes per pixel (1, 2, 4, or 8)"),
    )


def _scale_cards(file: ArchivedFile) -> Sequence[str]:
    """What stored values mean; bytes are stored without a sign."""
    if file.dtype.kind == "f":
        return ()
    if file.dtype.itemsize == 1:
        zero, scale = (_whole(value) for value in (file.bzero - 128 * file.bscale, file.bscale))
        return card("BZERO", zero), card("BSCALE", scale), card("BLANK", 0)
    blank = card("BLANK", int(np.iinfo(file.dtype).min))
    if file.bzero == 0 and file.bscale == 1:
        return (blank,)
    return blank, card("BZERO", file.bzero), card("BSCALE", file.bscale)


def _whole(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _plain(file: ArchivedFile) -> Hdu:
    """An image that is not compressed, in the primary unit."""
    if file.scene is not None:
        made = file.scene.picture(file.shape, file.chance())
        image: NDArray[Any] = made.astype(file.dtype) if file.dtype.kind == "f" else _scaled(file, made)
    elif file.dtype.kind == "f":
        image = paint(look(file.segment), file.shape, 0).astype(file.dtype)
        image[0, :1] = file.chance().normal()
    else:
        image = patched(file, stored(file, 0))
    bitpix = (-8 if file.dtype.kind == "f" else 8) * file.dtype.itemsize
    cards = (*image_primary(bitpix, file.axes), *_scale_cards(file))
    return Hdu(cards, _unsigned(image).astype(image.dtype.newbyteorder(">")).tobytes())


def _unsigned(image: NDArray[Any]) -> NDArray[Any]:
    """Bytes as the archive stores them: 128 higher, without a sign."""
    if image.dtype != np.int8:
        return image
    return (image.astype(np.int16) + 128).astype(np.uint8)


# ---- templates -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Template:
    first_rows: Image
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows.data)


class Templates:
    """Compressed pictures by kind, type, shape and scale, made at the first use and kept."""

    def __init__(self) -> None:
        self._kept: Kept[_Template] = Kept(_TEMPLATE_BYTES)
        self._lock = Lock()

    def rows(self, file: ArchivedFile) -> Rows:
        """The compressed rows of this file's image."""
        template = self._template(file)
        return template.rows.with_first(compress(_unsigned(patched(file, template.first_rows))))

    def _template(self, file: ArchivedFile) -> _Template:
        variant = file.sunum % _VARIANTS
        key = (look(file.segment), file.segment.type, file.shape, file.bzero, file.bscale, variant)
        with self._lock:
            return self._kept.get(key, lambda: _template(stored(file, variant)))


@cache
def templates() -> Templates:
    """The templates shared by all archives of this process: they depend only on the kind of a file."""
    return Templates()


def _template(image: Image) -> _Template:
    return _Template(image[: _PATCH[0]].copy(), compress(_unsigned(image)))
