"""Images drawn as JPEG or PNG, and several of them as a film.

A film is an MP4 file of JPEG frames: players take it, and no encoder is needed. Real ones are compressed
by what changes between frames; ``mpg`` files cannot be had without that, and are not simulated.
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

    from mirror.drms.export import Protocol
    from mirror.simulator.exports.rice import Image

#: What Pillow calls them, by protocol.
PICTURES = {"jpg": "JPEG", "png": "PNG"}
FILM = "mp4"
_SMALLER = frozenset({1, 2, 4, 8})
_CUT = (0.5, 99.5)  #: percentiles that become black and white
_FRAMES_A_SECOND = 10


def shrink_of(protocol: Protocol) -> int:
    """How many pixels become one, as ``size=`` among the options of a protocol says; BadRequest for what is none."""
    options = dict(option.partition("=")[::2] for option in protocol.options.split(","))
    text = options.get("size", "1").strip() or "1"
    if not text.isdigit() or int(text) not in _SMALLER:
        raise BadRequest(f"size={text} is not simulated; expected one of 1, 2, 4, 8")
    return int(text)


def picture(image: Image, kind: str, shrink: int = 1) -> bytes:
    """An image in grey, north up; missing pixels are black."""
    small = image[::shrink, ::shrink][::-1].astype(np.float64)
    there = small != np.iinfo(image.dtype).min
    low, high = np.percentile(small[there], _CUT) if there.any() else (0.0, 1.0)
    grey = np.clip((small - low) / max(high - low, 1e-9), 0, 1) * 255 * there
    out = io.BytesIO()
    pillow().fromarray(grey.astype(np.uint8)).save(out, PICTURES[kind])
    return out.getvalue()


# ---- films --------------------------------------------------------------------------------------


def film(frames: Sequence[bytes], width: int, height: int) -> bytes:
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
