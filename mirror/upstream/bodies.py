"""Bodies of answers within bounds: so many bytes after decompression, so long, not slower than so.

What comes from elsewhere may be anything: a megabyte that unpacks to gigabytes, a body without end, one byte a
minute. Nothing is held beyond the bounds, and whatever breaks one is UpstreamBroken.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import UpstreamBroken, UpstreamUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

MB = 1 << 20
#: Bytes that are decompressed at a time: a few milliseconds.
STEP = MB
#: From so many bytes on, an answer that was compressed to less than a ``MOST_RATIO``-th of itself is refused. Answers
#: about records have ratios of 5 to 30, a single value that repeats a thousand.
RATIO_FROM, MOST_RATIO = 16 * MB, 200
#: Bytes a second that must come on average, looked at every so many seconds of waiting.
SLOWEST, WINDOW = 1_000, 30.0
#: What may be asked for, and what is understood.
ENCODINGS = "gzip, deflate"


@dataclass(frozen=True, slots=True)
class Bounds:
    """At most so many bytes, and so many seconds, of a body that is passed on."""

    size: int
    seconds: float


#: The answer of a program that is passed on to whoever asked.
PROGRAM = Bounds(256 * MB, 900.0)
#: Any other page or file; a file of several days of pictures has some 100 GB.
PAGE = Bounds(1 << 40, 7 * 86400.0)


async def whole(pieces: AsyncIterator[bytes], encoding: str, most: int) -> bytes:
    """All of a body, decompressed; UpstreamBroken if that is more than ``most`` bytes."""
    unpack = _unpacker(encoding.strip().lower())
    found, came = bytearray(), 0
    async for piece in pieces:
        came += len(piece)
        for part in unpack(piece):
            found += part
            if len(found) > most:
                raise UpstreamBroken(f"the answer has more than {most:,} bytes; no answer to this question needs so many")
            if len(found) > RATIO_FROM and len(found) > MOST_RATIO * came:
                raise UpstreamBroken(
                    f"{came:,} bytes of the answer unpack to more than {len(found):,}; no answer to a question does so"
                )
            if len(part) >= STEP:
                await asyncio.sleep(0)  # the event loop goes on
    for part in unpack(b""):
        found += part
    return bytes(found)


async def bounded(
    pieces: AsyncIterator[bytes], bounds: Bounds, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[bytes]:
    """The pieces of a body; raises in the middle of one that is too large, too long or too slow.

    The time of whoever takes the pieces does not count.
    """
    came = 0
    waited = in_window = 0.0
    began = clock()
    while True:
        asked = clock()
        try:
            piece = await anext(pieces)
        except StopAsyncIteration:
            return
        waited += clock() - asked
        came, in_window = came + len(piece), in_window + len(piece)
        if came > bounds.size or clock() - began > bounds.seconds:
            raise UpstreamBroken(f"the answer does not end: {came:,} bytes in {clock() - began:,.0f} s")
        if waited > WINDOW:
            if in_window < SLOWEST * waited:
                raise UpstreamUnreachable(f"only {in_window:,.0f} bytes of the answer came in {waited:.0f} s")
            waited = in_window = 0.0
        yield piece


def _unpacker(encoding: str) -> Callable[[bytes], Iterable[bytes]]:
    if encoding in ("", "identity"):
        return lambda piece: [piece] if piece else []
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Parts(encoding)
    raise UpstreamBroken(f"the answer is encoded as {encoding[:40]!r}; expected {ENCODINGS}")


class _Parts:
    """Decompresses a body, at most ``STEP`` bytes at a time. Called with nothing it sees that the body has an end."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._begun = False
        self._packed = self._new(zlib.MAX_WBITS)
        self._piece = b""

    def _new(self, bits: int) -> zlib._Decompress:
        return zlib.decompressobj(bits if self._encoding == "deflate" else 16 + zlib.MAX_WBITS)

    def __call__(self, piece: bytes) -> _Parts:
        self._piece = piece
        return self

    def __iter__(self) -> Iterator[bytes]:
        piece, self._piece = self._piece, b""
        if not piece:
            if self._begun and not self._packed.eof:
                raise UpstreamBroken("the answer is cut short: its compressed body has no end")
            return
        try:
            yield from self._unpacked(piece)
        except zlib.error as problem:
            raise UpstreamBroken(f"the answer is garbled: {problem}") from problem

    def _unpacked(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._packed.eof:  # a gzip file may have several members
                self._packed, self._begun = self._new(zlib.MAX_WBITS), False
            try:
                part = self._packed.decompress(piece, STEP)
            except zlib.error:
                if self._begun or self._encoding != "deflate":
                    raise
                self._packed = self._new(-zlib.MAX_WBITS)  # as some servers write it: without its header
                part = self._packed.decompress(piece, STEP)
            self._begun = True
            piece = self._packed.unconsumed_tail or self._packed.unused_data
            if part:
                yield part
