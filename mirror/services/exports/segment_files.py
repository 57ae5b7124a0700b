"""The files that an export wants: one for each record and segment, with all that is needed to get it. Pure.

Also their names in the export's directory: each leads to one file, and none out of the directory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from mirror.coverage.axis import coverage_axis
from mirror.drms.series import Series
from mirror.errors import BadRequest
from mirror.readthrough.files import SegmentFile
from mirror.services.search.names import unknown_segment
from mirror.storage.files.holdings import RecordSegment
from mirror.storage.index.layout import NAME_FIELD, SEPARATOR, Layout, Row, segment_field
from mirror.wire.paths import is_plain
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.services.exports.jobs import JobFile
    from mirror.services.exports.planning import Plan

UNDATED = "undated"
_DATED = re.compile(r"\d{4}[.-]\d\d[.-]\d\d")


class FileLocation(Enum):
    """Where the archive has a file."""

    ONLINE = "at its path"
    OFFLINE = "on tape at JSOC; an export stages it"
    NOWHERE = "this record has no such file"


@dataclass(frozen=True, slots=True)
class RequestedFile:
    """One file: ``path`` is where it lies in the archive, "" unless it is online there.

    ``record`` is the record's query, ``segment`` the segment's name in its own case, ``file`` the end of
    the path (the segment's file name); ``day`` the folder in the readable tree.
    """

    record: str
    owner: RecordSegment
    segment: str
    place: FileLocation
    path: str
    file: str
    sunum: int
    day: str

    @property
    def source(self) -> SegmentFile:
        """How to get it, if it is online."""
        return SegmentFile(self.path, self.owner, self.day)

    @property
    def key(self) -> tuple[int, str]:
        """The number of the record that owns it, and the segment there."""
        return self.owner.recnum, self.owner.segment


def requested_files(layout: Layout, rows: Sequence[Row], segments: tuple[str, ...] | None) -> list[RequestedFile]:
    """The files of these records: of the named segments, or of all; UnknownName for an unknown segment."""
    names = segment_names(layout.series, segments)
    return [_wanted(layout, fields, name) for row in rows for fields in (_fields(row),) for name in names]


def segment_names(series: Series, named: tuple[str, ...] | None) -> list[str]:
    """The named segments, or all, as the series writes them; UnknownName for an unknown one."""
    if named is None:
        return [s.name for s in series.segments]
    found = [(name, series.segment(name.strip())) for name in named]
    missing = [name for name, segment in found if segment is None]
    if missing:
        raise unknown_segment(series, missing[0])
    # Recorded: in the series' order, however they were named.
    return [s.name for s in series.segments if any(s is segment for _, segment in found)]


def _fields(row: Row) -> dict[str, str]:
    values = row.raw.split(SEPARATOR)
    return {name: values[position] for name, position in row.fields.items()}


def _wanted(layout: Layout, fields: dict[str, str], segment: str) -> RequestedFile:
    shown = from_wire(fields[segment_field(segment, "values")])
    path = shown if shown.startswith("/SUM") else ""
    owner = RecordSegment(layout.series.name, int(fields["*recnum*"]), segment)
    return RequestedFile(
        record=from_wire(fields[NAME_FIELD]),
        owner=owner,
        segment=segment,
        place=_place(shown, fields),
        path=path,
        file=path.rpartition("/")[2] or f"{segment}.fits",
        sunum=int(fields["*sunum*"]),
        day=_day(layout, fields),
    )


def _place(shown: str, fields: dict[str, str]) -> FileLocation:
    if shown.startswith("/SUM"):
        return FileLocation.ONLINE
    offline = shown == "NoDataDirectory" and int(fields["*sunum*"]) > 0 and fields["*online*"] == "N"
    return FileLocation.OFFLINE if offline else FileLocation.NOWHERE


def _day(layout: Layout, fields: dict[str, str]) -> str:
    """The day of a record, ``YYYYMMDD``."""
    axis = coverage_axis(layout.series)
    keyword = layout.series.keyword(axis.key) if axis else None
    if keyword is None or keyword.type != "time":
        return UNDATED
    text = from_wire(fields.get(keyword.name, ""))
    return re.sub(r"[.-]", "", text[:10]) if _DATED.match(text) else UNDATED


LINKED = "link via "


def label(series: Series, wanted: RequestedFile) -> str:
    """The record with its segment in braces, as JSOC lists an archived file.

    A linked segment has the name of its target there, which is that of the file.
    """
    segment, name = series.segment(wanted.segment), wanted.segment
    if segment is not None and segment.protocol.startswith(LINKED):
        name = wanted.file.rpartition(".")[0] or name
    return f"{wanted.record}{{{name}}}"


def distinct_names(plan: Plan, files: Sequence[RequestedFile], names: Sequence[str]) -> list[tuple[RequestedFile, str]]:
    """The files, each with a name that leads to it: linked files must not have the name of one of the record's own.

    Recorded: an as-is export then lists the record's own file twice. In FITS exports the linked file gets the
    name of its segment, so that neither takes the other's place.
    """
    linked = {s.name for s in plan.series.segments if s.protocol.startswith(LINKED)}
    pairs = list(zip(files, names, strict=True))
    own = {(w.owner.recnum, name): w for w, name in pairs if w.segment not in linked}

    def apart(wanted: RequestedFile, name: str) -> tuple[RequestedFile, str]:
        same = own.get((wanted.owner.recnum, name), wanted)
        if same is wanted:
            return wanted, name
        if plan.request.protocol.as_is:
            return same, name
        before, _, after = name.rpartition(wanted.file)
        return wanted, f"{before}{wanted.segment}.fits{after}" if before or after else f"{wanted.segment}.fits"

    return [apart(*pair) for pair in pairs]


def check_names(template: str, names: Sequence[str]) -> None:
    """BadRequest for a name that would lie outside the export's directory."""
    for name in names:
        if not is_plain(name):
            raise BadRequest(f"filenamefmt {template!r} makes the name {name!r}; expected one of a file, without folders")


def check_files(template: str, files: Sequence[JobFile]) -> None:
    """BadRequest if one file would take another's place."""
    known: dict[str, JobFile] = {}
    for file in files:
        first = known.setdefault(file.name, file)
        if file.sha256 and (first.sha256, first.front) != (file.sha256, file.front):
            raise BadRequest(
                f"filenamefmt {template!r} makes the name {file.name!r} for {first.record} and for {file.record}; "
                f"expected names that differ, by {{recnum:%d}} for example"
            )
