"""rs_list: the records of every set of a query as columns, set after set.

Names are echoed as typed, also repeated ones; ``**ALL**`` stands for the columns of the first set's series.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from mirror.errors import BadRequest, Refused
from mirror.simulator.cells import (
    BAD_SEGMENT_LINK,
    chosen_segments,
    keyword_cells,
    link_cells,
    online,
    record_names,
    segment_cells,
)
from mirror.simulator.evaluate import known_count, record_limit, select
from mirror.wire.info import ALL, expand_names
from mirror.wire.rs_list import RsList, SegmentColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.series import Segment, Series
    from mirror.simulator.archive import Archive, Wanted
    from mirror.simulator.base import Rows, SegmentCells
    from mirror.wire.info import RsListRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """The selected records of one record set, in order."""

    series: Series
    segments: Sequence[Segment]  #: those that the set's braces select
    rows: Rows


def rs_list(request: RsListRequest, archive: Archive) -> RsList:
    """The answer; a kind of BadRequest if the request is not understood or has too many records."""
    parts = read_parts(request, archive)
    count = sum(len(part.rows) for part in parts)
    if count == 0:
        return RsList(0)
    series = parts[0].series
    keys = expand_names(request.keys, series.all_keywords)
    links = expand_names(request.links, [link.name for link in series.links])
    segments = _Segments(request, parts)
    return RsList(
        count,
        keywords=[(name, _keyword(name, parts, "M" in request.flags)) for name in keys],
        segments=segments.columns(),
        links=[(name, _chained([link_cells(p.rows, p.series, name) for p in parts])) for name in links],
        recinfo=_recinfo(parts, segments) if request.recinfo else None,
    )


def read_parts(request: RsListRequest, archive: Archive) -> list[Part]:
    """Every set's records, each cut to ``n``."""
    wanted = archive.wanted(request.ds)
    lists = (request.keys, request.segments, request.links)
    if len(wanted) > 1 and (request.n or 0) < 0:
        raise Refused("the last records of several sets are not served; expected n above 0, or one record set")
    if len(wanted) > 1 and any(ALL in (names or ()) for names in lists):
        raise BadRequest(
            f"invalid record-set specification `{request.ds}`; the records must belong to a single data series "
            f"where {ALL} is asked for"
        )
    return [_read_part(each, request.n or 0) for each in wanted]


def _read_part(wanted: Wanted, n: int) -> Part:
    limit = record_limit(wanted.structure)
    known = known_count(wanted.selection, wanted.data) if n == 0 else None
    if known is not None and known >= limit:
        raise _too_many()
    rows = select(wanted.selection, wanted.data, n)
    if len(rows) >= limit:
        raise _too_many()
    return Part(wanted.structure, chosen_segments(wanted.structure, wanted.selection.source), rows)


def _too_many() -> Refused:
    """The real server's own words, which do not say that there are too many: clients have to guess."""
    return Refused(" jsoc_info: series not found.")


def _keyword(name: str, parts: Sequence[Part], precise: bool) -> Sequence[str | int]:
    return _chained([keyword_cells(part.rows, part.series, name, precise) for part in parts])


def _chained(columns: Sequence[Sequence[T]]) -> Sequence[T]:
    return columns[0] if len(columns) == 1 else list(chain.from_iterable(columns))


class _Segments:
    """The segments of an answer: their cells by name and set, read once."""

    def __init__(self, request: RsListRequest, parts: Sequence[Part]) -> None:
        self.names = expand_names(request.segments, [s.name for s in parts[0].segments])
        self.cells = [[segment_cells(p.rows, p.segments, name) for name in self.names] for p in parts]
        # Under **ALL** a linked segment that does not resolve is left out, otherwise its name is BadSegLink.
        self.skips_bad_links = ALL in (request.segments or ())

    def columns(self) -> list[SegmentColumn]:
        return [
            self._column(name, [of_part[at] for of_part in self.cells]) for at, name in enumerate(self.names)
        ]

    def _column(self, name: str, cells: Sequence[SegmentCells]) -> SegmentColumn:
        paths = _chained([c.paths for c in cells])
        kept = [path != BAD_SEGMENT_LINK for path in paths] if self.skips_bad_links else None
        columns = (paths, _chained([c.dims for c in cells]))
        texts = [c if kept is None else [x for x, k in zip(c, kept, strict=True) if k] for c in columns]
        return SegmentColumn(name, *texts, *(_given(cells, part) for part in ("cparms", "bzeros", "bscales")))

    def online(self, part: int) -> list[int]:
        """1 for each record of a set whose last segment is a file that is online."""
        last: Sequence[str] = ()
        for cells in self.cells[part]:
            if self.skips_bad_links and last:
                pairs = zip(cells.paths, last, strict=True)
                last = [before if path == BAD_SEGMENT_LINK else path for path, before in pairs]
            else:
                last = cells.paths
        return [int(online(path)) for path in last]


def _given(cells: Sequence[SegmentCells], part: str) -> list[str]:
    """The texts that exist: records without such a parameter leave no gap."""
    return [text for c in cells for text in (getattr(c, part) or ()) if text is not None]


def _recinfo(parts: Sequence[Part], segments: _Segments) -> list[tuple[str, int]]:
    infos: list[tuple[str, int]] = []
    for at, part in enumerate(parts):
        names = record_names(part.rows, part.series)
        infos += zip(names, segments.online(at) or [0] * len(names), strict=True)
    return infos
