"""FITS files as JSOC exports them, made here: the archived data, with the record's keywords in the header.

Values at full precision are fetched once, when files of a record are requested, and kept. Where they are not available,
headers are made from printed values, and the log says so. JSOC names linked files by keywords of the records in which
they lie, if a layout is given; these keywords, too, are fetched once, for many records together, and kept.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
from typing import TYPE_CHECKING

from mirror.concurrency import Bounded
from mirror.errors import UpstreamBroken, UpstreamError
from mirror.fits import Exporter, RecordValues, ones_complement, read_archive
from mirror.fits.filenames import NamedFile, file_name, laid_out_keywords
from mirror.fits.keyword import BROKEN_LINK
from mirror.services.exports.content import ReplacedHeader
from mirror.storage.database.database import KeyedTable
from mirror.storage.index.layout import SEPARATOR, link_field
from mirror.upstream.pacing import Priority
from mirror.wire.info import RsListRequest
from mirror.wire.rs_list import RsList
from mirror.wire.text import from_wire, to_wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from mirror.drms.series import Series
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.readthrough.records import Records
    from mirror.services.exports.planning import Plan
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.search.search import Search
    from mirror.storage.database.database import Database
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import RecordSegment
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row
    Texts = dict[str, str]


log = logging.getLogger(__name__)

#: Records in one question.
LINKED_AT_ONCE = 100
LINK_VIA = "link via "
_NO_LINK = "Invalid_Link"


class LinkedTexts:
    """Finds the texts of records at the ends of links."""

    def __init__(self, database: Database, upstream: JsocInfo, rules: Rules) -> None:
        self.kept = KeyedTable(database, "linked_keywords")
        self._upstream = upstream
        self._rules = rules

    async def of(self, plan: Plan, files: Sequence[RequestedFile]) -> dict[RecordSegment, Texts]:
        """For each linked file the printed texts that the names of files may need.

        Empty where names need none. Texts that JSOC cannot be asked for are left out, and the log says so: such a file
        is named by its own record.
        """
        names = wanted_names(plan)
        records = linked_records(plan, files) if names else {}
        known = {query: await self._kept(query, names) for query in dict.fromkeys(records.values())}
        missing = [query for query, texts in known.items() if texts is None]
        if missing and self._rules.may_ask:
            try:
                for start in range(0, len(missing), LINKED_AT_ONCE):
                    known |= await self._ask(missing[start : start + LINKED_AT_ONCE], names)
            except UpstreamError as problem:
                log.warning(
                    "files are named without their links series=%s error=%s", plan.series.name, problem
                )
        return {
            owner: _there(texts) for owner, query in records.items() if (texts := known[query]) is not None
        }

    async def keep(self, layout: Layout, rows: Sequence[Row]) -> None:
        """Fetch the texts that names of linked files usually need: clients use times among the prime keys.

        Raises UpstreamError if JSOC cannot be asked for them.
        """
        names = usual_names(layout)
        queries = link_queries(layout.series, rows) if names else []
        missing = [query for query in queries if await self._kept(query, names) is None]
        for start in range(0, len(missing), LINKED_AT_ONCE):
            await self._ask(missing[start : start + LINKED_AT_ONCE], names)

    async def _kept(self, query: str, names: Sequence[str]) -> Texts | None:
        texts = await self._known(query)
        return texts if all(name in texts for name in names) else None

    async def _known(self, query: str) -> Texts:
        fact = await self.kept.get(query)
        return {} if fact is None else dict(json.loads(fact[0]))

    async def _ask(self, queries: Sequence[str], names: Sequence[str]) -> dict[str, Texts | None]:
        answer = await self._upstream.rs_list(
            RsListRequest(",".join(queries), keys=tuple(names), recinfo=True)
        )
        found: dict[str, Texts | None] = {}
        for i, (record, _) in enumerate(answer.recinfo or ()):
            query = from_wire(record)
            reply = {name: from_wire(str(values[i])) for name, values in answer.keywords or ()}
            found[query] = texts = await self._known(query) | reply
            await self.kept.put(query, json.dumps(texts), self._rules.timestamp())
        return {query: found.get(query) for query in queries}


def _there(texts: Texts) -> Texts:
    return {name: text for name, text in texts.items() if text != BROKEN_LINK}


def wanted_names(plan: Plan) -> list[str]:
    """The keywords that names of linked files take from the record at the end of the link."""
    found = (plan.series.keyword(name) for name in laid_out_keywords(plan.request.filenamefmt))
    own = [k for k in found if k is not None and k.linkinfo is None]
    return list(dict.fromkeys(plan.layout.aliases.get(k.name.lower(), k.name) for k in own))


def usual_names(layout: Layout) -> list[str]:
    """The series' own times among its prime keys, under the names that they have in its records."""
    keys = (layout.series.keyword(key.name) for key in layout.series.primekeys)
    own = [k.name for k in keys if k is not None and k.type == "time" and k.linkinfo is None]
    return [layout.aliases.get(name.lower(), name) for name in own]


def link_queries(series: Series, rows: Sequence[Row]) -> list[str]:
    """The queries of the records at the ends of the links of these, each once."""
    names = {s.protocol.removeprefix(LINK_VIA) for s in series.segments if s.protocol.startswith(LINK_VIA)}
    links = [link for name in sorted(names) if (link := series.link(name)) is not None]
    found = (from_wire(row[link_field(link.name)]) for row in rows for link in links)
    return [query for query in dict.fromkeys(found) if query != _NO_LINK]


def linked_records(plan: Plan, files: Sequence[RequestedFile]) -> dict[RecordSegment, str]:
    """The query of the record at the end of the link of each linked file."""
    rows = {row.recnum: row for row in plan.rows}
    found = {}
    for wanted in files:
        segment = plan.series.segment(wanted.segment)
        if segment is None or not segment.protocol.startswith(LINK_VIA):
            continue
        link = plan.series.link(segment.protocol.removeprefix(LINK_VIA))
        query = _NO_LINK if link is None else from_wire(rows[wanted.owner.recnum][link_field(link.name)])
        if query != _NO_LINK:
            found[wanted.owner] = query
    return found


#: Records in one question for values at full precision.
AT_ONCE = 200
#: Bytes of an archived file that hold its headers; more is read if they do not.
HEAD = 64 * 1024
#: Segments whose exporter is cached.
_MOST_EXPORTERS = 32
#: Records whose values are in memory: a file needs them several times, and so do other segments.
_MOST_RECENT = 256


class Assembler:
    """Makes exported files."""

    def __init__(self, database: Database, index: Index, blobs: Blobs, upstream: JsocInfo, rules: Rules) -> None:
        self.precise = KeyedTable(database, "precise_keywords")
        self._index = index
        self._blobs = blobs
        self._upstream = upstream
        self._rules = rules
        self.linked = LinkedTexts(database, upstream, rules)
        self._exporters: Bounded[tuple[str, str], tuple[Series, Exporter]] = Bounded(_MOST_EXPORTERS)
        self._recent: Bounded[str, dict[str, str]] = Bounded(_MOST_RECENT)
        self._fronts: Bounded[tuple[object, ...], tuple[tuple[object, ...], ReplacedHeader]] = Bounded(_MOST_RECENT)

    async def prepare(self, plan: Plan) -> None:
        """Fetch and keep the values of all records of a plan at full precision, if they are available."""
        if not self._rules.may_ask:
            return
        try:
            await self.keep_precise(plan.layout, plan.rows)
        except UpstreamError as problem:
            log.warning("values as printed are used series=%s error=%s", plan.series.name, problem)

    async def keep_precise(
        self, layout: Layout, rows: Sequence[Row], priority: Priority = Priority.PEOPLE
    ) -> None:
        """Fetch the missing values at full precision of these records, and keep them."""
        missing = [row for row in rows if await self._precise(layout.series, row.recnum) is None]
        for start in range(0, len(missing), AT_ONCE):
            await self._ask(layout, missing[start : start + AT_ONCE], priority)

    async def keep_names(self, layout: Layout, rows: Sequence[Row]) -> None:
        """Fetch what the names of linked files usually need, so that they can be named without JSOC."""
        await self.linked.keep(layout, rows)

    async def file_names(self, plan: Plan, files: Sequence[RequestedFile]) -> list[str]:
        """The names of files in the export's directory, by the request's filenamefmt; one for each, in order."""
        counter = itertools.count()
        rows = {row.recnum: row for row in plan.rows}
        targets = await self.linked.of(plan, files)
        names = []
        for wanted in files:
            recnum = wanted.owner.recnum
            printed = _printed(plan, rows[recnum])
            precise = await self._precise(plan.series, recnum)
            target = targets.get(wanted.owner)
            source = NamedFile(plan.series, recnum, wanted.file, printed, precise or {}, target)
            names.append(file_name(plan.request.filenamefmt, source, counter))
        return names

    async def front(
        self, plan: Plan, wanted: RequestedFile, archived: Blob, *, now: datetime | None = None
    ) -> ReplacedHeader | None:
        """What the exported file has in place of the archived one's headers; None where that is not FITS.

        The data are not copied: the file is assembled whenever it is sent. Its checksums are dated ``now``; recent
        headers with a date stay in memory.
        """
        segment = plan.series.segment(wanted.segment)
        if segment is None or not wanted.file.lower().endswith(".fits"):
            return None
        record, exporter = await self._values(plan, wanted.owner.recnum), self._exporter(plan.series, segment.name)
        key, made_of = (segment.name, record.recnum, archived.sha256, now), (exporter, record.texts)
        with self._blobs.reading(archived) as path:
            made = self._fronts.recall(key)
            if made is not None and all(one is other for one, other in zip(made[0], made_of, strict=True)):
                return made[1]
            front = await asyncio.to_thread(_front, path, record, exporter, now or self._rules.now())
        if now is not None:  # it is asked for again: another part of the file, and at each look at a link
            self._fronts[key] = made_of, front
        return front

    async def kept(self, series: Series, recnum: int) -> dict[str, str] | None:
        """The values of a record at full precision, by keyword; None if they are not kept."""
        return await self._precise(series, recnum)

    async def exact(self, series: Series, recnum: int) -> bool:
        """True if the values of a record are kept at full precision, so that its files equal JSOC's."""
        return await self._precise(series, recnum) is not None

    def _exporter(self, series: Series, segment: str) -> Exporter:
        """The cached exporter of such files, unless the structure of the series has changed."""
        known = self._exporters.recall((series.name, segment))
        if known is None or known[0] is not series:
            known = self._exporters[series.name, segment] = series, Exporter(series, segment)
        return known[1]

    async def _values(self, plan: Plan, recnum: int) -> RecordValues:
        precise = await self._precise(plan.series, recnum)
        if precise is not None:
            return RecordValues(recnum, precise)
        row = next(row for row in plan.rows if row.recnum == recnum)
        log.warning("assembled from values as printed series=%s recnum=%s", plan.series.name, recnum)
        return RecordValues(recnum, _printed(plan, row), exact=False)

    async def _precise(self, series: Series, recnum: int) -> dict[str, str] | None:
        key = f"{series.name.lower()}:{recnum}"
        # The series may have more keywords now than when these values were fetched.
        names = [k.name for k in self._index.layout(series).keywords]
        texts = self._recent.recall(key)
        if texts is None or not all(name in texts for name in names):
            kept = await self.precise.get(key)
            texts = {} if kept is None else json.loads(kept[0])
            if not all(name in texts for name in names):
                return None
            self._recent[key] = texts
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
            await self.precise.put(key, json.dumps(texts), self._rules.timestamp())


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
    """Answers questions for keywords of records by number, as this module asks them."""

    def __init__(self, search: Search, records: Records, index: Index, assembler: Assembler) -> None:
        self._search = search
        self._records = records
        self._index = index
        self._assembler = assembler

    async def answer(self, request: RsListRequest) -> RsList | None:
        """The answer; None for what only the archive itself knows."""
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
