"""The records and files of an export request, and which of the files are online."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mirror.drms.exportrules import Survey, record_sets, with_quality_filter
from mirror.errors import BadRequest, MirrorError, SyntaxProblem, UnknownSeries
from mirror.simulator.cells import chosen_segments, record_names
from mirror.simulator.evaluate import record_limit, select
from mirror.simulator.exports.owners import Owner, owner
from mirror.simulator.exports.staging import OFFLINE
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.export import ExportRequest
    from mirror.drms.recordset import RecordSet, RecordSetQuery
    from mirror.drms.series import Segment, Series
    from mirror.simulator.archive import Archive
    from mirror.simulator.base import Rows


@dataclass(frozen=True)
class Records:
    """The records of a request in order, of one series, and their requested segments."""

    series: Series
    segments: Sequence[Segment]
    rows: Rows

    _printed: dict[str, Sequence[str]] = field(default_factory=dict, init=False)

    @cached_property
    def names(self) -> list[str]:
        """Record queries."""
        return [from_wire(name) for name in record_names(self.rows, self.series)]

    @cached_property
    def recnums(self) -> list[int]:
        numbers: list[int] = self.rows.stored("recnum").values.tolist()
        return numbers

    def printed(self, keyword: str, at: int) -> str:
        """The printed value of a keyword of one record."""
        if keyword not in self._printed:
            self._printed[keyword] = self.rows.printed(keyword, False)
        return from_wire(self._printed[keyword][at])

    def row(self, at: int) -> Rows:
        """One record alone."""
        return self.rows.take(np.array([at], dtype=np.intp))


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file of a request: the record, its place among the records, the segment, and its path.

    ``path`` is None for a file that is offline, or that does not exist at all.
    """

    records: Records
    at: int
    record: str
    segment: Segment
    path: str | None
    offline: bool

    @property
    def row(self) -> Rows:
        return self.records.row(self.at)


@dataclass(frozen=True, slots=True)
class Plan:
    """All records and files of a request, in order."""

    query: RecordSetQuery
    parts: Sequence[Records]
    files: Sequence[WantedFile]

    @property
    def recnums(self) -> list[int]:
        return [recnum for part in self.parts for recnum in part.recnums]

    def survey(self) -> Survey:
        """The extent of the request in numbers; ``size`` in bytes."""
        files = [file for file in self.files if file.path or file.offline]
        return Survey(
            records=sum(len(part.rows) for part in self.parts),
            files=len(files),
            size=sum(map(_size, self.parts)) if files else 0,
            online=not any(file.offline for file in files),
            compressed=any(map(_compressed, self.parts)),
        )


def _compressed(records: Records) -> bool:
    """True if any of the requested files is stored compressed."""
    columns = [records.rows.segment(segment.name).cparms for segment in records.segments]
    return any("compress" in (text or "") for texts in columns for text in texts or ())


def _size(records: Records) -> int:
    """The bytes of the requested files, from the sizes of their units; at least one if they are unknown."""
    own = max(1, len(records.series.segments))
    sizes = [int(size) if size.isdigit() else own for size in records.rows.pseudo("*size*")]
    return sum(sizes) * len(records.segments) // own


def plan(request: ExportRequest, archive: Archive) -> Plan:
    """The plan of a request; BadRequest if there are no such records, or too many."""
    query = _filtered(request, archive)
    parts = [_records(part, str(query), archive, request) for part in query.sets]
    return Plan(query, parts, [file for part in parts for file in _files(part, archive)])


def _filtered(request: ExportRequest, archive: Archive) -> RecordSetQuery:
    try:
        query = record_sets(request)
        return with_quality_filter(query, archive.find(query.sets[0].series).structure)
    except SyntaxProblem as problem:
        raise BadRequest(f"Bad record-set query '{request.ds}'.\n{problem}") from problem
    except UnknownSeries as problem:
        raise BadRequest(f"Cannot export series '{problem.name}' - it does not exist.\n") from problem


def _records(part: RecordSet, query: str, archive: Archive, request: ExportRequest) -> Records:
    try:
        wanted = archive.bind(part, query)
        rows = select(wanted.selection, wanted.data, request.limit)
    except MirrorError as problem:
        raise BadRequest(
            f"Can not open RecordSet, bad query or too many records: {query}\n{problem}"
        ) from problem
    if len(rows) >= record_limit(wanted.structure):
        raise BadRequest(f"Can not open RecordSet {len(rows)} is too many records in one request.")
    return Records(wanted.structure, chosen_segments(wanted.structure, part), rows)


def _files(records: Records, archive: Archive) -> list[WantedFile]:
    columns = [(segment, records.rows.segment(segment.name).paths) for segment in records.segments]
    return [
        _file(records, at, name, segment, from_wire(paths[at]), archive)
        for at, name in enumerate(records.names)
        for segment, paths in columns
    ]


def _file(records: Records, at: int, name: str, segment: Segment, path: str, archive: Archive) -> WantedFile:
    if path == OFFLINE:
        # A search does not always look up the units of linked files.
        found = owner(archive, records.series, records.row(at), segment)
        path = "" if found is None or not _has_unit(found) else _path(found)
    there = path if path.startswith("/SUM") else None
    return WantedFile(records, at, name, segment, there, offline=path == OFFLINE)


def _path(found: Owner) -> str:
    return from_wire(found.row.segment(found.segment.name).paths[0])


def _has_unit(found: Owner) -> bool:
    """False for a record that never had files of its own."""
    return int(found.row.stored("sunum").values[0]) >= 0


def file_owner(file: WantedFile, archive: Archive) -> Owner | None:
    """The owner of the file, through all links."""
    return owner(archive, file.records.series, file.row, file.segment)
