"""Images drawn as JPEG or PNG, and several of them as a film.

An MP4 film has JPEG frames: players accept it, and no encoder is needed. An MPG film is MPEG-1 video whose frames are
all coded separately, in grey. Real ones are compressed by the changes between frames.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np

from mirror.errors import BadRequest
from mirror.simulator.exports.loading import pillow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mirror.drms.export import Protocol
    from mirror.simulator.exports.rice import Image

    Grey = NDArray[np.uint8]  #: rows from the top of what is shown
    Numbers = NDArray[np.int64]

#: What Pillow calls them, by protocol.
PICTURES = {"jpg": "JPEG", "png": "PNG"}
FILMS = ("mp4", "mpg")
_SMALLER = frozenset({1, 2, 4, 8})
_CUT = (0.5, 99.5)  #: percentiles that become black and white
_FRAMES_A_SECOND = 10


def shrink_of(protocol: Protocol) -> int:
    """How many pixels become one, from ``size=`` in the options of a protocol; BadRequest for an invalid one."""
    options = dict(option.partition("=")[::2] for option in protocol.options.split(","))
    text = options.get("size", "1").strip() or "1"
    if not text.isdigit() or int(text) not in _SMALLER:
        raise BadRequest(f"size={text} is not simulated; expected one of 1, 2, 4, 8")
    return int(text)


def picture(image: Image, kind: str) -> bytes:
    """An image in grey, north up; missing pixels are black."""
    return _drawn(_grey(image), kind)


def film(images: Sequence[Image], kind: str) -> bytes:
    """A film of images, as large as the first; others are cut, or padded with black."""
    first, *others = map(_grey, images)
    frames = [first, *(_as_large(frame, first) for frame in others)]
    if kind == "mpg":
        return _mpeg(frames)
    height, width = first.shape
    return _mp4([_drawn(frame, "jpg") for frame in frames], width, height)


def _grey(image: Image) -> Grey:
    turned = image[::-1].astype(np.float64)
    there = turned != np.iinfo(image.dtype).min
    low, high = np.percentile(turned[there], _CUT) if there.any() else (0.0, 1.0)
    grey = np.clip((turned - low) / max(high - low, 1e-9), 0, 1) * 255 * there
    made: Grey = grey.astype(np.uint8)
    return made


def _as_large(frame: Grey, other: Grey) -> Grey:
    made = np.zeros_like(other)
    part = frame[: other.shape[0], : other.shape[1]]
    made[: part.shape[0], : part.shape[1]] = part
    return made


def _drawn(grey: Grey, kind: str) -> bytes:
    out = io.BytesIO()
    pillow().fromarray(grey).save(out, PICTURES[kind])
    return out.getvalue()


# ---- MP4 ----------------------------------------------------------------------------------------


def _mp4(frames: Sequence[bytes], width: int, height: int) -> bytes:
    """An MP4 file of JPEG frames, all of one size in pixels."""
    kind = _box(b"ftyp", b"isom\0\0\2\0isommp41")
    data = _box(b"mdat", b"".join(frames))
    sizes = [len(frame) for frame in frames]
    starts = [len(kind) + 8 + sum(sizes[:at]) for at in range(len(sizes))]
    return kind + data + _movie(sizes, starts, width, height)


def _box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + name + body


def _full(name: bytes, layout: str, *values: int, flags: int = 0) -> bytes:
    """A box that begins with a version, 0, and flags."""
    return _box(name, struct.pack(">I", flags) + struct.pack(">" + layout, *values))


_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def _movie(sizes: Sequence[int], starts: Sequence[int], width: int, height: int) -> bytes:
    count = len(sizes)
    head = struct.pack(">5IIH10x", 0, 0, 0, _FRAMES_A_SECOND, count, 0x10000, 0x100)
    movie = _box(b"mvhd", head, _UNITY, bytes(24), struct.pack(">I", 2))
    head = struct.pack(">6I8xhhHH", 7, 0, 0, 1, 0, count, 0, 0, 0, 0)
    track = _box(b"tkhd", head, _UNITY, struct.pack(">II", width << 16, height << 16))
    media = _full(b"mdhd", "IIIIHH", 0, 0, _FRAMES_A_SECOND, count, 0x55C4, 0)
    handler = _box(b"hdlr", bytes(8), b"vide", bytes(12), b"film\0")
    source = _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), _full(b"url ", "", flags=1)))
    info = _box(
        b"minf", _full(b"vmhd", "HHHH", 0, 0, 0, 0, flags=1), source, _samples(sizes, starts, width, height)
    )
    return _box(b"moov", movie, _box(b"trak", track, _box(b"mdia", media, handler, info)))


def _samples(sizes: Sequence[int], starts: Sequence[int], width: int, height: int) -> bytes:
    count = len(sizes)
    look = struct.pack(">6xH16xHHIIIH32sHh", 1, width, height, 0x480000, 0x480000, 0, 1, b"", 24, -1)
    return _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), _box(b"jpeg", look)),
        _full(b"stts", "III", 1, count, 1),
        _full(b"stsc", "IIII", 1, 1, 1, 1),
        _full(b"stsz", f"II{count}I", 0, count, *sizes),
        _full(b"stco", f"I{count}I", count, *starts),
    )


# ---- MPG (ISO 11172-2) --------------------------------------------------------------------------

#: Places of the coefficients in the order in which they are written: along diagonals, to and fro.
_ZIGZAG = sorted(range(64), key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8))
#: The divisors of all but the first, in addition to ``_COARSE``: the default matrix of files without one.
_WEIGHTS = np.array(
    [8, 16, 19, 22, 26, 27, 29, 34, 16, 16, 22, 24, 27, 29, 34, 37, 19, 22, 26, 27, 29, 34, 34, 38, 22, 22, 26, 27, 29, 34, 37, 40,
     22, 26, 27, 29, 32, 35, 40, 48, 26, 27, 29, 32, 35, 40, 48, 58, 26, 27, 29, 34, 38, 46, 56, 69, 27, 29, 35, 38, 46, 56, 69, 83]
)[_ZIGZAG[1:]]  # fmt: skip
_COARSE = 10
_COSINES = np.sqrt([[0.125], *[[0.25]] * 7]) * np.cos(
    np.pi / 16 * np.arange(8)[:, None] * (2 * np.arange(8) + 1)
)
#: From the 64 pixels of a block to its coefficients, in the order in which they are written.
_SPECTRUM = np.kron(_COSINES, _COSINES)[_ZIGZAG].T
#: The code words for the number of bits of a difference in brightness, and their lengths.
_SIZES = np.array([0b100, 0b00, 0b01, 0b101, 0b110, 0b1110, 0b11110, 0b111110, 0b1111110])
_LENGTHS = np.array([3, 2, 2, 3, 3, 4, 5, 6, 7])
_MIDDLE = 128  #: the reference for the first brightness of a row
_LONGEST_SIDE = 2800  #: in pixels: rows of 16 are numbered up to 175
_START, _FRAMES, _FRAME, _END = b"\0\0\1\xb3", b"\0\0\1\xb8", b"\0\0\1\0", b"\0\0\1\xb7"
_RATE_24, _UNLIMITED = 2, (1 << 18) - 1


def _mpeg(frames: Sequence[Grey]) -> bytes:
    """An MPEG-1 video; frames that are too large for one are made smaller."""
    step = -(-max(frames[0].shape) // _LONGEST_SIDE)
    frames = [frame[::step, ::step] for frame in frames]
    height, width = frames[0].shape
    head = _bits((width, 12), (height, 12), (1, 4), (_RATE_24, 4), (_UNLIMITED, 18), (1, 1), (20, 10), (0, 3))
    parts = [_START, head]
    for number, frame in enumerate(frames):
        second, rest = divmod(number, 24)
        minute, second = divmod(second, 60)
        parts += [_FRAMES, _bits((0, 6), (minute % 60, 6), (1, 1), (second, 6), (rest, 6), (1, 1), (0, 1))]
        parts += [_FRAME, _bits((0, 10), (1, 3), (0xFFFF, 16), (0, 1))]
        whole = np.pad(frame, [(0, -side % 16) for side in frame.shape], mode="edge").astype(np.float64)
        rows = whole.reshape(len(whole) // 16, 2, 8, -1, 2, 8).transpose(0, 3, 1, 4, 2, 5)
        for at, row in enumerate(rows):
            parts += [b"\0\0\1" + bytes([at + 1]), _row(row.reshape(-1, 64) @ _SPECTRUM)]
    return b"".join([*parts, _END])


def _row(spectra: NDArray[np.float64]) -> bytes:
    """16 lines of a frame, from the spectra of their blocks of 8 by 8 pixels, four of which form a square."""
    levels = np.rint(spectra[:, 1:] * 8 / (_COARSE * _WEIGHTS)).astype(np.int64).clip(-255, 255)
    light = np.rint(spectra[:, 0] / 8).astype(np.int64)
    numbers = np.arange(len(spectra))
    change = np.diff(light, prepend=_MIDDLE)
    size = np.array([int(each).bit_length() for each in np.abs(change).tolist()])
    words = (_SIZES[size] << size) | np.where(change < 0, change + (1 << size) - 1, change)
    at, place, level, run = _coefficients(levels)
    short = np.abs(level) < 128
    coded = np.where(short, level & 0xFF, np.where(level > 0, level, 1 << 15 | level & 0xFF))
    escape = (1 << 6 | run) << np.where(short, 8, 16) | coded
    first, last = numbers[::4], numbers[3::4]
    # By a key that sorts them: each square has a beginning, each block its brightness, its coefficients and an end, and
    # each square ends with two empty blocks of colour.
    keys = np.concatenate([first * 100, numbers * 100 + 1, at * 100 + 2 + place, numbers * 100 + 90, last * 100 + 91])
    codes = np.concatenate([np.full(len(first), 3), words, escape, np.full(len(numbers), 2), np.full(len(last), 0b00100010)])
    widths = np.concatenate(
        [np.full(len(first), 2), _LENGTHS[size] + size, np.where(short, 20, 28), np.full(len(numbers), 2), np.full(len(last), 8)]
    )
    order = np.argsort(keys)
    return _packed(np.concatenate([[_COARSE << 1], codes[order]]), np.concatenate([[6], widths[order]]))


def _coefficients(levels: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """The coefficients other than 0: block, place, level, and the number of zeros before."""
    at, place = np.nonzero(levels)
    before = np.concatenate([[-1], place])[:-1]
    before[np.concatenate([[True], at[1:] != at[:-1]])[: len(at)]] = -1
    return at, place, levels[at, place], place - before - 1


def _bits(*fields: tuple[int, int]) -> bytes:
    values, widths = zip(*fields, strict=True)
    return _packed(np.array(values), np.array(widths))


def _packed(values: Numbers, widths: Numbers) -> bytes:
    """Numbers of so many bits each, one after the other; the last byte is padded with zeros."""
    ends = np.cumsum(widths)
    of = np.repeat(np.arange(len(values)), widths)
    return np.packbits((values[of] >> (ends[of] - 1 - np.arange(ends[-1]))) & 1).tobytes()
