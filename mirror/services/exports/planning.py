"""What an export request needs: its records and its files; and the rows that a job keeps of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.coverage.plan import extreme_position
from mirror.drms.export import AppliedStep, ExportFile, ExportRequest, Finished
from mirror.drms.exportrules import index_of, record_sets, with_quality_filter
from mirror.drms.recordset import RecordSetQuery
from mirror.drms.selection import bind
from mirror.errors import BadRequest, NotHeld, StorageError, TooLarge
from mirror.humanize import utc
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus, Read
from mirror.services.exports.segment_files import RequestedFile, requested_files
from mirror.wire.export import decode_fetch, encode_fetch
from mirror.wire.info import SummaryRequest

if TYPE_CHECKING:
    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.readthrough.records import Records
    from mirror.readthrough.structures import Catalogue
    from mirror.services.exports.jobs import Job
    from mirror.services.search.search import Search
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row

#: Records of one export; JSOC accepts some ten thousand.
MOST_RECORDS = 100_000
#: The folder of the directories of our exports.
EXPORTS = "/export"


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with its records and files, as far as the archive shows them.

    ``origin`` says how the records were found, ``checked_at`` when stale ones were last checked.
    """

    request: ExportRequest
    query: RecordSetQuery
    layout: Layout
    rows: list[Row]
    files: list[RequestedFile]
    origin: CacheStatus = CacheStatus.LOCAL
    checked_at: float | None = None

    @property
    def series(self) -> Series:
        return self.layout.series


class ExportPlanner:
    """Finds the records and files of requests."""

    def __init__(self, index: Index, catalogue: Catalogue, records: Records, search: Search) -> None:
        self._index = index
        self._catalogue = catalogue
        self._records = records
        self._search = search

    async def plan(
        self, request: ExportRequest, demand: CacheDemand = CacheDemand.DEFAULT, *, images_only: bool = True
    ) -> Plan:
        """The records and files of a request; raises for a query that is wrong or cannot be answered.

        With ONLY_IF_CACHED those that are cached, even if others may be missing.
        Exports silently leave out records without an image; with ``images_only`` false these are included.
        """
        query = record_sets(request)
        series = await self._catalogue.series(query.sets[0].series, demand)
        for part in query.sets:
            bind(part, series, text=request.ds)  # what is wrong is shown in the text that was given
        if demand is not CacheDemand.ONLY_IF_CACHED:
            await self._check_size(request, query)
        query = with_quality_filter(query, series) if images_only else query
        layout = self._index.layout(series)
        rows: list[Row] = []
        files: list[RequestedFile] = []
        reads: list[Read] = []
        for part in query.sets:
            read = await self._read(bind(part, series), request.limit or None, demand)
            reads.append(read)
            rows += read.rows
            files += requested_files(layout, read.rows, part.segments)
        origin = max((read.origin for read in reads), default=CacheStatus.LOCAL)
        checked = [read.checked_at for read in reads if read.checked_at is not None]
        return Plan(request, query, layout, rows, files, origin, min(checked, default=None))

    async def _read(self, selection: Selection, n: int | None, demand: CacheDemand) -> Read:
        try:
            return await self._records.read(selection, n, demand)
        except NotHeld:
            if demand is not CacheDemand.ONLY_IF_CACHED or extreme_position(selection) is not None:
                raise
            found = await self._index.select(selection, n)
            if found.undecided:
                raise
            return Read(found.rows, CacheStatus.STALE)

    async def _check_size(self, request: ExportRequest, query: RecordSetQuery) -> None:
        """TooLarge for more records than one export may have, before any of them is fetched."""
        if 0 < abs(request.limit) * len(query.sets) <= MOST_RECORDS:
            return
        sets = RecordSetQuery(tuple(replace(part, segments=None) for part in query.sets))
        counted = (await self._search.rs_summary(SummaryRequest(str(sets), request.limit or None))).value
        if counted > MOST_RECORDS:
            raise TooLarge(
                f"{counted:,} records are too many for one export; expected at most {MOST_RECORDS:,}: "
                f"split the request, for example by time"
            )


def request_text(request: ExportRequest) -> str:
    """A request as a job keeps it."""
    return json.dumps(encode_fetch(request))


def request_of(job: Job) -> ExportRequest:
    """The request of a job; StorageError if its row is unreadable, damaged or of a newer version."""
    if job.problem:
        raise StorageError(f"job {job.id} cannot be read: {job.problem}")
    try:
        given = json.loads(job.request)
        if not isinstance(given, dict):
            raise StorageError(f"job {job.id} cannot be read: its request is {job.request[:80]!r}; expected a JSON object")
        request = decode_fetch(given)
    except (ValueError, TypeError, AttributeError, RecursionError, BadRequest) as problem:
        raise StorageError(f"job {job.id} cannot be read: {problem}") from problem
    if not isinstance(request, ExportRequest):
        raise StorageError(f"job {job.id} cannot be read: it is not for an export")
    return request


def is_readable(job: Job) -> bool:
    """True for a job that can be continued, or given again."""
    try:
        request_of(job)
    except StorageError:
        return False
    return True


def finished(job: Job) -> Finished:
    """The index of a job that is done."""
    files = tuple(ExportFile(f.record, f.name) for f in job.files)
    made = utc(job.updated)
    size = sum(f.size or 0 for f in job.files)
    request, directory = request_of(job), f"{EXPORTS}/{job.id}"
    steps = [AppliedStep(s.name, tuple((k, v or "") for k, v in s.arguments)) for s in request.process.steps]
    return index_of(job.id, request, files, directory=directory, size=size, made=made, processing=steps)
