"""FITS files as JSOC exports them, made here: the archived data, with the record's keywords in the header.

Values at full precision are asked for once, when files of a record are wanted, and kept. Where they cannot
be had, files are made of the values as they print, and the log says so.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from typing import TYPE_CHECKING

from mirror.drms.errors import UpstreamBroken, UpstreamError
from mirror.drms.fits import FitsPatch, RecordValues, assemble, ones_complement, read_archive
from mirror.drms.fits.filenames import NamedFile, file_name
from mirror.storage.layout import SEPARATOR
from mirror.wire.info import RsListRequest
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from mirror.drms.series import Series
    from mirror.engine.policy import Rules
    from mirror.engine.upstream import Upstream
    from mirror.services.exportplan import Plan
    from mirror.services.wanted import Wanted
    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob
    from mirror.storage.index import Index
    from mirror.storage.layout import Row

log = logging.getLogger(__name__)

#: Records in one question for values at full precision.
AT_ONCE = 200
#: Bytes of an archived file that hold its headers; more is read if they do not.
HEAD = 64 * 1024
PIECE = 1024 * 1024
PRECISE = "precise"


class Assembler:
    """Makes exported files."""

    def __init__(self, index: Index, blobs: Blobs, upstream: Upstream, rules: Rules) -> None:
        self._index = index
        self._blobs = blobs
        self._upstream = upstream
        self._rules = rules

    async def prepare(self, plan: Plan) -> None:
        """See that the values of all records of a plan are kept at full precision, if they can be had."""
        missing = [row for row in plan.rows if await self._precise(plan.series, row.recnum) is None]
        if not missing or not self._rules.may_ask:
            return
        try:
            for start in range(0, len(missing), AT_ONCE):
                await self._ask(plan, missing[start : start + AT_ONCE])
        except UpstreamError as problem:
            log.warning("values as printed are used series=%s error=%s", plan.series.name, problem)

    async def file_names(self, plan: Plan, files: Sequence[Wanted]) -> list[str]:
        """The names of files in the export's directory, by the request's filenamefmt; one for each, in order."""
        counter = itertools.count()
        rows = {row.recnum: row for row in plan.rows}
        names = []
        for wanted in files:
            recnum = wanted.owner.recnum
            printed = _printed(plan, rows[recnum])
            precise = await self._precise(plan.series, recnum)
            source = NamedFile(plan.series, recnum, wanted.file, printed, precise or {})
            names.append(file_name(plan.request.filenamefmt, source, counter))
        return names

    async def assembled(self, plan: Plan, wanted: Wanted, archived: Blob) -> Blob:
        """The exported file of an archived one; the archived one itself where it is no FITS."""
        segment = plan.series.segment(wanted.segment)
        if segment is None or not wanted.file.lower().endswith(".fits"):
            return archived
        record = await self._values(plan, wanted.owner.recnum)
        now = self._rules.now()
        with self._blobs.reading(archived) as path:
            patch = await asyncio.to_thread(_patched, path, record, plan.series, segment.name, now)
            async with self._blobs.incoming(patch.size) as sink:
                await sink.write(patch.head)
                await _copy(path, patch.copy_start, patch.copy_size, sink.write)
                return await sink.keep(size=patch.size)

    async def _values(self, plan: Plan, recnum: int) -> RecordValues:
        precise = await self._precise(plan.series, recnum)
        if precise is not None:
            return RecordValues(recnum, precise)
        row = next(row for row in plan.rows if row.recnum == recnum)
        log.warning("assembled from values as printed series=%s recnum=%s", plan.series.name, recnum)
        return RecordValues(recnum, _printed(plan, row), exact=False)

    async def _precise(self, series: Series, recnum: int) -> dict[str, str] | None:
        kept = await self._index.fact(PRECISE, f"{series.name.lower()}:{recnum}")
        return None if kept is None else json.loads(kept[0])

    async def _ask(self, plan: Plan, rows: list[Row]) -> None:
        names = tuple(k.name for k in plan.layout.keywords)
        numbers = ",".join(f"#{row.recnum}" for row in rows)
        request = RsListRequest(
            f"{plan.series.name}[:{numbers}]", keys=("*recnum*", *names), flags={"M": "1"}
        )
        answer = await self._upstream.rs_list(request)
        columns = answer.keywords or ()
        for i, recnum in enumerate(columns[0][1] if columns else ()):
            texts = {name: from_wire(str(values[i])) for name, values in columns[1:]}
            key = f"{plan.series.name.lower()}:{recnum}"
            await self._index.keep_fact(PRECISE, key, json.dumps(texts), self._rules.timestamp())


def _printed(plan: Plan, row: Row) -> dict[str, str]:
    values = row.raw.split(SEPARATOR)
    return {
        k.name: from_wire(values[row.fields[k.name]]) for k in plan.layout.keywords if k.name in row.fields
    }


def _patched(path: Path, record: RecordValues, series: Series, segment: str, now: datetime) -> FitsPatch:
    with path.open("rb") as file:
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
    return assemble(archive, record, series, segment, now=now, data_sum=total)


async def _copy(path: Path, start: int, size: int, write: Callable[[bytes], Awaitable[None]]) -> None:
    with path.open("rb") as file:
        file.seek(start)
        left = size
        while left and (piece := await asyncio.to_thread(file.read, min(PIECE, left))):
            await write(piece)
            left -= len(piece)
