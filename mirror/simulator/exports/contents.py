"""Contents of files: how many bytes they have, and any part of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


class Content(Protocol):
    """The bytes behind one address."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to ``stop``; it may take a while."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """Bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, stop: int) -> bytes:
        return self.data[start:stop]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of something longer: its size, and what makes its bytes when they are read."""

    size: int
    make: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Chained:
    """Parts one after the other, none made before it is read."""

    parts: Sequence[Part]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def read(self, start: int, stop: int) -> bytes:
        pieces, at = [], 0
        for part in self.parts:
            first, last = max(start - at, 0), min(stop - at, part.size)
            if first < last:
                pieces.append(part.make()[first:last])
            at += part.size
        return b"".join(pieces)
