"""series_struct: the structure of a series, with the flags l and o."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.drms.parser import parse_query
from mirror.drms.recordset import RecordSet, Selection
from mirror.errors import Refused
from mirror.wire.structure import encode_series_struct

if TYPE_CHECKING:
    from mirror.drms.series import Segment, Series
    from mirror.simulator.archive import Archive
    from mirror.simulator.base import SeriesData
    from mirror.wire.info import SeriesStructRequest

#: The owner of every series here, given with the flag o.
OWNER = "production"


def structure_answer(request: SeriesStructRequest, archive: Archive, *, runtime: float) -> bytes:
    """The bytes of the answer; ``runtime`` is in seconds."""
    answer = encode_series_struct(described(request, archive), runtime=runtime)
    return _with_shadow(answer) if "o" in request.flags else answer


def _with_shadow(answer: bytes) -> bytes:
    """With the owner, the answer says whether there is a shadow table: a member for the server's own scripts."""
    return re.sub(rb'("MaxRecnum": \d+)', rb'\1,\n\t\t"HasShadow": "no"', answer)


def described(request: SeriesStructRequest, archive: Archive) -> Series:
    """The structure to return; UnknownSeries, or SyntaxProblem for anything but a single record set."""
    if "f" in request.flags:
        raise Refused("the flag f is not for series_struct; expected it with op=rs_list")
    data = archive.find(series_name(request.ds))
    series = data.structure
    if "l" in request.flags:
        series = _followed(data, archive)
    if "o" in request.flags:
        series = replace(series, owner=OWNER)
    return series


def series_name(ds: str) -> str:
    """The series of a record set, whose filters are parsed but not used."""
    sets = parse_query(ds).sets
    if len(sets) != 1:
        raise Refused(f"a structure is that of one series; expected one record set, found {len(sets)}")
    return sets[0].series


def _followed(data: SeriesData, archive: Archive) -> Series:
    """The structure with linked segments described by their target segments."""
    segments = tuple(_target(segment, data, archive) for segment in data.structure.segments)
    return replace(data.structure, segments=segments)


def _target(segment: Segment, data: SeriesData, archive: Archive) -> Segment:
    """No structure says to which segment a link leads, but the name of its file does."""
    series = data.structure
    link = series.link(segment.protocol.rpartition(" ")[2]) if " via " in segment.protocol else None
    if link is None:
        return segment
    rows = data.candidates(Selection(series, RecordSet(series.name), ()), n=1)
    files = {path.rpartition("/")[2].partition(".")[0] for path in rows.segment(segment.name).paths}
    targets = archive.find(link.target).structure.segments
    found = next((t for t in targets if t.name in files), targets[0] if targets else segment)
    return replace(found, name=segment.name)
