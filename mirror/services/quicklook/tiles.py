"""Images as FITS stores them: plain, or compressed with their rows as tiles, as JSOC archives them (FITS standard 4.0, section 10).

astropy does the same in several times the time, most of which goes into the objects of its headers and tables. Its
codec of Rice is used, which is not public: where it is not found, or does not do what it did, nothing is read here and
astropy's own writer takes the place of this one.
"""

from __future__ import annotations

import ctypes
import gzip
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from mirror.fits.header import BLOCK, make_card, quoted, read_archive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mirror.fits.integrity import Read

_CODEC = "astropy.io.fits.hdu.compressed._compression"
#: The functions of CFITSIO in it that decode Rice, by the bytes of a pixel, and the versions of astropy that have them so.
_DECODERS, _KNOWN = {1: "fits_rdecomp_byte", 2: "fits_rdecomp_short", 4: "fits_rdecomp"}, range(7, 9)
#: Pixels of a block of Rice, as everybody writes them; the sizes of pixels in bytes that it knows.
_BLOCK_PIXELS, _RICE_SIZES = 32, (1, 2, 4)
#: Higher ones take twice the time to save a hundredth of the bytes.
_GZIP_LEVEL = 6
#: Five pixels, and the tile that they are by the standard.
_PIXELS, _TILE = np.array([3, -1, 70_000, 0, -(2**31)], np.int32), bytes.fromhex("00000003d0000000000000003800111710001116fffffffff8")
_AT_ONCE = 1 << 20  #: bytes of tiles after which another read begins
_TABLE = 8  #: bytes of a row of the table of tiles: how many bytes a tile has, and where they begin


@dataclass(frozen=True, slots=True)
class Stored:
    """How pixels are stored: the cards that say so, and the data, padded to whole blocks."""

    cards: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Rice:
    """``encode(pixels, block, size)`` gives the bytes of a tile, ``decode(tile, block, size, count)`` those of its pixels.

    ``begin(tile, length, pixels, count, block)``, by size, only decodes the first ``count`` pixels of a tile, to an address;
    it raises ``problem`` in the end, as there are more. None where that function of CFITSIO is not available.
    """

    encode: Callable[[Any, int, int], bytes]
    decode: Callable[[bytes, int, int, int], bytes]
    begin: Mapping[int, Callable[[bytes, int, int, int, int], object]]
    problem: type[Exception]

    def works(self) -> bool:
        """Whether all still do what the standard says."""
        try:
            return (
                self.encode(_PIXELS, 32, 4) == _TILE
                and self.decode(_TILE, 32, 4, len(_PIXELS)) == _PIXELS.tobytes()
                and (4 not in self.begin or self.beginning(32, np.zeros(5, np.int32))(_TILE + _TILE).tolist() == _PIXELS.tolist())
            )
        except Exception:  # noqa: BLE001  (whatever it is, these are not the functions that are known here)
            return False

    def beginning(self, block: int, pixels: NDArray[Any]) -> Callable[[bytes], NDArray[Any]]:
        """What fills ``pixels`` with the first ones of a tile and returns them; ``problem`` if that has fewer."""
        decode, address, count = self.begin[pixels.itemsize], pixels.ctypes.data, pixels.size

        def filled(tile: bytes) -> NDArray[Any]:
            try:
                decode(tile, len(tile), address, count, block)
            except self.problem as found:
                if "unused" not in str(found):
                    raise
            return pixels

        return filled


@cache
def rice() -> Rice | None:
    """The codec of astropy, None if it has none that is known."""
    try:
        module = import_module(_CODEC)
        found = Rice(module.compress_rice_1_c, module.decompress_rice_1_c, _beginnings(module), module.CfitsioException)
    except (ImportError, AttributeError):
        return None
    return found if found.works() else None


def _beginnings(module: Any) -> dict[int, Callable[[bytes, int, int, int, int], object]]:
    """The decoders of CFITSIO that a module of a known version of astropy is built with, by the size of a pixel."""
    from astropy import __version__  # noqa: PLC0415  (a mirror may lack it)

    if int(__version__.split(".")[0]) not in _KNOWN:
        return {}
    try:
        library = ctypes.PyDLL(module.__file__)
        found = {size: getattr(library, name) for size, name in _DECODERS.items()}
    except (OSError, AttributeError):
        return {}
    for function in found.values():
        function.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    return found


# ---- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RiceRows:
    """A Rice-compressed image of integers, each row a tile: where its table and its heap begin in the file, in bytes.

    ``columns`` pixels of ``size`` bytes are a row, in blocks of ``block``. Every length and offset must lie in the file.
    """

    table: int
    heap: int
    columns: int
    block: int
    size: int

    def read(self, read: Read, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[Any] | None:
        """The pixels of some rows and columns, from 0, ends left out; None without a codec.

        Only those rows are read. Raises what the codec raises for damaged data.
        """
        codec = rice()
        if codec is None:
            return None
        (bottom, top), (left, right) = rows, columns
        places = np.frombuffer(read(self.table + _TABLE * bottom, _TABLE * (top - bottom)), ">i4").reshape(-1, 2).tolist()
        decoded = self._decoder(codec, right)
        pixels = np.empty((top - bottom, right - left), self._kind)
        tiles = _together(lambda at, count: read(self.heap + at, count), places)
        for row, tile in zip(pixels, tiles, strict=True):
            row[:] = decoded(tile)[left:right]
        return pixels

    @property
    def _kind(self) -> np.dtype[Any]:
        return np.dtype(f"i{self.size}" if self.size > 1 else "u1")

    def _decoder(self, codec: Rice, count: int) -> Callable[[bytes], NDArray[Any]]:
        """What gives at least ``count`` pixels of a tile, until it is called again."""
        if count < self.columns and self.size in codec.begin:
            return codec.beginning(self.block, np.empty(count, self._kind))
        return lambda tile: np.frombuffer(codec.decode(tile, self.block, self.size, self.columns), self._kind)


def _together(read: Read, places: Sequence[Sequence[int]]) -> Iterator[bytes]:
    """The bytes at these places, each a count and an offset: many that follow each other are read at once."""
    start = 0
    while start < len(places):
        end, first = start + 1, places[start][1]
        until = first + places[start][0]
        while end < len(places) and places[end][1] == until and until - first < _AT_ONCE:
            until, end = until + places[end][0], end + 1
        piece = read(first, until - first)
        for count, at in places[start:end]:
            yield piece[at - first : at - first + count]
        start = end


# ---- writing ---------------------------------------------------------------------------------------


def empty_primary() -> bytes:
    """The first header of a file whose image is in an extension."""
    cards = (
        make_card("SIMPLE", "T", "conforms to FITS standard"),
        make_card("BITPIX", "8", "array data type"),
        make_card("NAXIS", "0", "number of array dimensions"),
        make_card("EXTEND", "T"),
        "END",
    )
    return "".join(card.ljust(80) for card in cards).ljust(BLOCK).encode("ascii")


def plain(pixels: NDArray[Any], *, primary: bool) -> Stored:
    """Pixels of two dimensions as they are, in the first header of a file or in an extension."""
    kind = make_card("SIMPLE", "T", "conforms to FITS standard") if primary else make_card("XTENSION", quoted("IMAGE"), "Image extension")
    cards = [kind, *_shape_cards("", pixels)]
    cards += [make_card("EXTEND", "T")] if primary else _no_parameters("")
    return Stored(tuple(cards), _padded(pixels.astype(pixels.dtype.newbyteorder(">"), copy=False).tobytes()))


def compressed(pixels: NDArray[Any], kind: str) -> Stored:
    """Integers of two dimensions, compressed row by row: ``kind`` is RICE_1, GZIP_1 or GZIP_2."""
    size = pixels.dtype.itemsize
    if kind.startswith("GZIP"):
        tiles = [_zipped(row, shuffled=kind == "GZIP_2") for row in pixels.astype(pixels.dtype.newbyteorder(">"), copy=False)]
        return _tiled(pixels, kind, tiles, {})
    codec = rice()
    if codec is None or size not in _RICE_SIZES:
        return _by_astropy(pixels, kind)
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    tiles = [codec.encode(row, _BLOCK_PIXELS, size) for row in native]
    return _tiled(pixels, "RICE_1", tiles, {"BLOCKSIZE": _BLOCK_PIXELS, "BYTEPIX": size})


def _zipped(row: NDArray[Any], *, shuffled: bool) -> bytes:
    data = np.ascontiguousarray(row).view(np.uint8)
    ordered = data.reshape(-1, row.itemsize).T.tobytes() if shuffled else data.tobytes()
    return gzip.compress(ordered, _GZIP_LEVEL, mtime=0)


def _tiled(pixels: NDArray[Any], kind: str, tiles: Sequence[bytes], parameters: dict[str, int]) -> Stored:
    rows, columns = pixels.shape
    table = np.empty((rows, 2), ">i4")
    table[:, 0] = [len(tile) for tile in tiles]
    ends = table[:, 0].cumsum(dtype=np.int64)
    table[:, 1] = ends - table[:, 0]
    cards = [
        make_card("XTENSION", quoted("BINTABLE"), "binary table extension"),
        make_card("BITPIX", "8", "array data type"),
        make_card("NAXIS", "2", "number of array dimensions"),
        make_card("NAXIS1", str(_TABLE), "width of table in bytes"),
        make_card("NAXIS2", str(rows), "number of rows in table"),
        make_card("PCOUNT", str(ends[-1]), "bytes of the compressed rows"),
        make_card("GCOUNT", "1", "number of groups"),
        make_card("TFIELDS", "1", "number of fields in each row"),
        make_card("TTYPE1", quoted("COMPRESSED_DATA")),
        make_card("TFORM1", quoted(f"1PB({table[:, 0].max()})")),
        make_card("ZIMAGE", "T", "extension contains compressed image"),
        make_card("ZTENSION", quoted("IMAGE"), "Image extension"),
        *_shape_cards("Z", pixels),
        *_no_parameters("Z"),
        make_card("ZTILE1", str(columns), "size of tiles to be compressed"),
        make_card("ZTILE2", "1", "size of tiles to be compressed"),
        make_card("ZCMPTYPE", quoted(kind), "compression algorithm"),
    ]
    for n, (name, value) in enumerate(parameters.items(), 1):
        cards += [make_card(f"ZNAME{n}", quoted(name)), make_card(f"ZVAL{n}", str(value))]
    return Stored(tuple(cards), _padded(b"".join((table.tobytes(), *tiles))))


def _shape_cards(prefix: str, pixels: NDArray[Any]) -> list[str]:
    rows, columns = pixels.shape
    bits = 8 * pixels.dtype.itemsize * (-1 if pixels.dtype.kind == "f" else 1)
    return [
        make_card(f"{prefix}BITPIX", str(bits), "array data type"),
        make_card(f"{prefix}NAXIS", "2", "number of array dimensions"),
        make_card(f"{prefix}NAXIS1", str(columns)),
        make_card(f"{prefix}NAXIS2", str(rows)),
    ]


def _no_parameters(prefix: str) -> list[str]:
    return [make_card(f"{prefix}PCOUNT", "0", "number of parameters"), make_card(f"{prefix}GCOUNT", "1", "number of groups")]


def _by_astropy(pixels: NDArray[Any], kind: str) -> Stored:
    from astropy.io import fits  # noqa: PLC0415  (a mirror may lack it, and needs it only here)

    whole = io.BytesIO()
    image = fits.CompImageHDU(pixels, compression_type=kind, tile_shape=(1, pixels.shape[1]))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(whole)
    archive = read_archive(whole.getvalue())
    assert archive is not None
    return Stored(archive.cards, whole.getvalue()[archive.data_start : archive.data_start + archive.data_size])


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")
