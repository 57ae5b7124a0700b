"""FITS files as JSOC exports them, made here: the archived data, with the record's keywords in the header.

Values at full precision are asked for once, when files of a record are wanted, and kept. Where they cannot
be had, files are made of the values as they print, and the log says so.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
from typing import TYPE_CHECKING

from mirror.errors import UpstreamBroken, UpstreamError
from mirror.fits import Exporter, RecordValues, ones_complement, read_archive
from mirror.fits.filenames import NamedFile, file_name
from mirror.services.exports.content import ReplacedHeader
from mirror.services.exports.linked_keywords import LinkedTexts
from mirror.storage.index.layout import SEPARATOR
from mirror.upstream.pacing import Priority
from mirror.wire.info import RsListRequest
from mirror.wire.rs_list import RsList
from mirror.wire.text import from_wire, to_wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from mirror.drms.series import Series
    from mirror.readthrough.archive import Upstream
    from mirror.readthrough.policy import Rules
    from mirror.readthrough.records import Records
    from mirror.services.exports.planning import Plan
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.search.search import Search
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row

log = logging.getLogger(__name__)

#: Records in one question for values at full precision.
AT_ONCE = 200
#: Bytes of an archived file that hold its headers; more is read if they do not.
HEAD = 64 * 1024
PRECISE = "precise"
#: Segments whose treatment is remembered.
_MOST_EXPORTERS = 32
#: Records whose values are at hand: a file needs them several times on its way, and so do other segments.
_MOST_RECENT = 256


class Assembler:
    """Makes exported files."""

    def __init__(self, index: Index, blobs: Blobs, upstream: Upstream, rules: Rules) -> None:
        self._index = index
        self._blobs = blobs
        self._upstream = upstream
        self._rules = rules
        self._linked = LinkedTexts(index, upstream, rules)
        self._exporters: dict[tuple[str, str], tuple[Series, Exporter]] = {}
        self._recent: dict[str, dict[str, str]] = {}

    async def prepare(self, plan: Plan) -> None:
        """See that the values of all records of a plan are kept at full precision, if they can be had."""
        if not self._rules.may_ask:
            return
        try:
            await self.keep_precise(plan.layout, plan.rows)
        except UpstreamError as problem:
            log.warning("values as printed are used series=%s error=%s", plan.series.name, problem)

    async def keep_precise(
        self, layout: Layout, rows: Sequence[Row], priority: Priority = Priority.PEOPLE
    ) -> None:
        """Ask for the values at full precision of those records whose are not kept yet, and keep them."""
        missing = [row for row in rows if await self._precise(layout.series, row.recnum) is None]
        for start in range(0, len(missing), AT_ONCE):
            await self._ask(layout, missing[start : start + AT_ONCE], priority)

    async def keep_names(self, layout: Layout, rows: Sequence[Row]) -> None:
        """Have what the names of linked files usually ask for, so that they can be named without JSOC."""
        await self._linked.keep(layout, rows)

    async def file_names(self, plan: Plan, files: Sequence[RequestedFile]) -> list[str]:
        """The names of files in the export's directory, by the request's filenamefmt; one for each, in order."""
        counter = itertools.count()
        rows = {row.recnum: row for row in plan.rows}
        targets = await self._linked.of(plan, files)
        names = []
        for wanted in files:
            recnum = wanted.owner.recnum
            printed = _printed(plan, rows[recnum])
            precise = await self._precise(plan.series, recnum)
            target = targets.get(wanted.owner)
            source = NamedFile(plan.series, recnum, wanted.file, printed, precise or {}, target)
            names.append(file_name(plan.request.filenamefmt, source, counter))
        return names

    async def front(self, plan: Plan, wanted: RequestedFile, archived: Blob) -> ReplacedHeader | None:
        """What the exported file has in place of the archived one's headers; None where that is no FITS.

        The data stay where they are: the file is put together whenever it is sent.
        """
        segment = plan.series.segment(wanted.segment)
        if segment is None or not wanted.file.lower().endswith(".fits"):
            return None
        record = await self._values(plan, wanted.owner.recnum)
        now = self._rules.now()
        with self._blobs.reading(archived) as path:
            return await asyncio.to_thread(_front, path, record, self._exporter(plan.series, segment.name), now)

    async def kept(self, series: Series, recnum: int) -> dict[str, str] | None:
        """The values of a record at full precision, by keyword; None if they are not kept."""
        return await self._precise(series, recnum)

    async def exact(self, series: Series, recnum: int) -> bool:
        """True if the values of a record are kept at full precision, so that its files are as JSOC's."""
        return await self._precise(series, recnum) is not None

    def _exporter(self, series: Series, segment: str) -> Exporter:
        """The one that has made such files before, unless the structure of the series is another by now."""
        before, exporter = self._exporters.pop((series.name, segment), (None, None))
        if exporter is None or before is not series:
            exporter = Exporter(series, segment)
        self._exporters[series.name, segment] = series, exporter
        while len(self._exporters) > _MOST_EXPORTERS:
            del self._exporters[next(iter(self._exporters))]
        return exporter

    async def _values(self, plan: Plan, recnum: int) -> RecordValues:
        precise = await self._precise(plan.series, recnum)
        if precise is not None:
            return RecordValues(recnum, precise)
        row = next(row for row in plan.rows if row.recnum == recnum)
        log.warning("assembled from values as printed series=%s recnum=%s", plan.series.name, recnum)
        return RecordValues(recnum, _printed(plan, row), exact=False)

    async def _precise(self, series: Series, recnum: int) -> dict[str, str] | None:
        key = f"{series.name.lower()}:{recnum}"
        # The series may have more keywords now than when this was asked for.
        names = [k.name for k in self._index.layout(series).keywords]
        texts = self._recent.pop(key, None)
        if texts is None or not all(name in texts for name in names):
            kept = await self._index.fact(PRECISE, key)
            texts = {} if kept is None else json.loads(kept[0])
            if not all(name in texts for name in names):
                return None
        self._recent[key] = texts
        while len(self._recent) > _MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        return texts

    async def _ask(self, layout: Layout, rows: Sequence[Row], priority: Priority) -> None:
        names, series = tuple(k.name for k in layout.keywords), layout.series.name
        numbers = ",".join(f"#{row.recnum}" for row in rows)
        request = RsListRequest(
            f"{series}[:{numbers}]", keys=("*recnum*", *names), flags={"M": "1"}
        )
        answer = await self._upstream.rs_list(request, priority)
        columns = answer.keywords or ()
        for i, recnum in enumerate(columns[0][1] if columns else ()):
            texts = {name: from_wire(str(values[i])) for name, values in columns[1:]}
            key = f"{series.lower()}:{recnum}"
            self._recent.pop(key, None)
            await self._index.keep_fact(PRECISE, key, json.dumps(texts), self._rules.timestamp())


def _printed(plan: Plan, row: Row) -> dict[str, str]:
    values = row.raw.split(SEPARATOR)
    return {
        k.name: from_wire(values[row.fields[k.name]]) for k in plan.layout.keywords if k.name in row.fields
    }


def _front(path: Path, record: RecordValues, exporter: Exporter, now: datetime) -> ReplacedHeader:
    with path.open("rb", buffering=0) as file:
        head = file.read(HEAD)
        while (archive := read_archive(head)) is None:
            more = file.read(HEAD)
            if not more:
                raise UpstreamBroken(f"{path.name}: the headers of the archived file have no end")
            head += more
        total = archive.stated_sum
        if total is None:
            file.seek(archive.data_start)
            total = ones_complement(file.read(archive.data_size))
        patch = exporter.assemble(archive, record, now=now, data_sum=total)
        size = os.fstat(file.fileno()).st_size
    if patch.copy_start + patch.copy_size > size:
        raise UpstreamBroken(f"{path.name}: the archived file ends before its data")
    return ReplacedHeader.of(patch.head, patch.copy_start, patch.copy_size)


RECNUM = "*recnum*"
_FLAGS = {"M": "1"}


class FullPrecision:
    """Answers questions for keywords of records by number, as ``mirror.services.exports.assembling`` asks them."""

    def __init__(self, search: Search, records: Records, index: Index, assembler: Assembler) -> None:
        self._search = search
        self._records = records
        self._index = index
        self._assembler = assembler

    async def answer(self, request: RsListRequest) -> RsList | None:
        """The answer; None for what only the archive itself can tell."""
        if request.flags != _FLAGS or request.segments or request.links or request.recinfo or request.n:
            return None
        selections = await self._search.selections(request.ds)
        if len(selections) != 1 or "[:#" not in request.ds:
            return None
        selection, keys = selections[0], request.keys or ()
        layout = self._index.layout(selection.series)
        if keys[:1] != (RECNUM,) or set(keys[1:]) - {k.name for k in layout.keywords}:
            return None
        rows = (await self._records.read(selection)).rows
        await self._assembler.keep_precise(layout, rows)
        values = [await self._assembler.kept(selection.series, row.recnum) for row in rows]
        if any(kept is None for kept in values):
            return None
        columns: list[tuple[str, Sequence[str | int]]] = [(RECNUM, [row.recnum for row in rows])]
        columns += [(name, [to_wire(kept[name]) for kept in values if kept is not None]) for name in keys[1:]]
        return RsList(len(rows), keywords=columns)
