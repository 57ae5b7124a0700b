"""How large a file of a segment is, as far as records and the structure of their series tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from mirror.storage.index.layout import segment_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.drms.series import Series
    from mirror.storage.index.layout import Row
    from mirror.wire.rs_list import RsList

#: Bytes of a pixel, by the type of a segment.
_WIDTHS = {"char": 1, "short": 2, "int": 4, "longlong": 8, "float": 4, "double": 8}
_LINK = "link via "


@dataclass(frozen=True, slots=True)
class Typical:
    """The bytes of a file on average, and what says so: "held", "records" or "structure"."""

    size: float
    source: str


def from_rows(series: Series, rows: Sequence[Row], segments: Sequence[str]) -> Typical | None:
    """By what records that are held tell: the sizes of their storage units, else the dimensions of the images."""
    sizes = [row["*size*"] for row in rows if "*size*" in row.fields]
    dims = {
        name: [row[field] for row in rows if field in row.fields]
        for name in segments
        for field in (segment_field(name, "dims"),)
    }
    return _told(series, sizes, dims, segments)


def from_sample(series: Series, answer: RsList, segments: Sequence[str]) -> Typical | None:
    """The same, by an answer to a question for ``*size*`` and these segments."""
    sizes = [str(value) for _, values in answer.keywords or () for value in values]
    dims = {s.name: list(s.dims or ()) for s in answer.segments or ()}
    return _told(series, sizes, dims, segments)


def from_structure(series: Series, segments: Sequence[str]) -> Typical | None:
    """By the dimensions that the series gives its segments: the most that an image without compression has."""
    found = [series.segment(name) for name in segments]
    sizes = [_pixels(s.dims, s.type) for s in found if s is not None]
    return _average(sizes, "structure") if sizes and all(sizes) else None


def _told(
    series: Series, sizes: Iterable[str], dims: dict[str, list[str]], segments: Sequence[str]
) -> Typical | None:
    # A unit has the files of all segments of a record; those behind a link lie in the unit of another.
    own = sum(not s.protocol.startswith(_LINK) for s in series.segments)
    units = [int(size) / max(1, own) for size in sizes if size.isdigit() and int(size)]
    if units:
        return _average(units, "records")
    kinds = {s.name: s.type for s in series.segments}
    images = [_pixels(text, kinds.get(name, "")) for name in segments for text in dims.get(name, ())]
    return _average(images, "structure") if any(images) else None


def _pixels(dims: str, kind: str) -> float:
    """Bytes of an image of these dimensions, ``4096x4096``; 0 if they do not tell."""
    sides = dims.split("x")
    if kind not in _WIDTHS or not all(side.isascii() and side.isdigit() for side in sides):
        return 0.0
    return float(prod(map(int, sides)) * _WIDTHS[kind])


def _average(sizes: Iterable[float], source: str) -> Typical:
    known = [size for size in sizes if size]
    return Typical(sum(known) / len(known), source)
