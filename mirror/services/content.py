"""What a download consists of, in order: bytes at hand, fronts of exported files, and stretches of blobs.

Pure: nothing is read here. The tag is made of the hashes of what is in it, so that it is the same after a
restart, and when a blob has left the store and come back.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.storage.fronts import Front

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.storage.blobtable import Blob


@dataclass(frozen=True, slots=True)
class Stretch:
    """``size`` bytes of a blob, from its byte ``start`` on."""

    blob: Blob
    start: int
    size: int

    @property
    def whole(self) -> bool:
        """True if that is all of it."""
        return (self.start, self.size) == (0, self.blob.size)


Part = bytes | Front | Stretch


PRINTED = "printed"


@dataclass(frozen=True, slots=True)
class Content:
    """The parts of a download, and when it was made (Unix seconds).

    ``values`` is PRINTED where keywords in it have only the digits that print, None where all is as at JSOC.
    """

    parts: tuple[Part, ...]
    modified: float
    values: str | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return sum(map(length, self.parts))

    @property
    def tag(self) -> str:
        """Equal for equal bytes made of the same parts: of a whole blob its hash."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Stretch) and self.parts[0].whole:
            return self.parts[0].blob.sha256
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(_described(part))
        return digest.hexdigest()

    def cut(self, start: int, end: int) -> Iterator[tuple[Part, int, int]]:
        """What the bytes ``start`` to ``end`` consist of: parts, each with the range of its own bytes."""
        at = 0
        for part in self.parts:
            size = length(part)
            lo, hi = max(start - at, 0), min(end - at, size)
            at += size
            if lo < hi:
                yield part, lo, hi


def content_of(blob: Blob, front: Front | None = None, *, modified: float | None = None) -> Content:
    """A file: a blob, or a front and what follows of the blob."""
    when = blob.kept_at if modified is None else modified
    if front is None:
        return Content((Stretch(blob, 0, blob.size),), when)
    return Content((front, Stretch(blob, front.start, front.rest)), when)


def blobs_of(content: Content) -> list[Blob]:
    """The blobs that a content has bytes of."""
    return [part.blob for part in content.parts if isinstance(part, Stretch)]


def length(part: Part) -> int:
    """Bytes of a part."""
    return len(part) if isinstance(part, bytes) else part.size


def _described(part: Part) -> bytes:
    if isinstance(part, bytes):
        return hashlib.sha256(part).digest()
    if isinstance(part, Front):
        return bytes.fromhex(part.sha256)
    return f"{part.blob.sha256}:{part.start}:{part.size};".encode()
