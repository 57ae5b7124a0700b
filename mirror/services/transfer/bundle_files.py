"""The files of a bundle: found among cached ones, fetched where that is wanted, and copied."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mirror.api.transfer import FailedFile, Progress
from mirror.errors import MirrorError, NotHeld, StorageError, UpstreamError
from mirror.readthrough.files import SegmentFile
from mirror.services.exports.segment_files import FileLocation, requested_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.recordset import Selection
    from mirror.readthrough.files import Files
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.exports.staging import Elsewhere
    from mirror.services.transfer.backup import Report
    from mirror.services.transfer.pool import Pool
    from mirror.storage.files.adopted_exports import Adopted, Export
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holding, Holdings, RecordSegment
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Row

#: Files between two reports of progress, and records in one question to the index.
FEW, MANY = 20, 1000


@dataclass(frozen=True, slots=True)
class Came:
    """The current content of the bundle: rows of its tables of files, their sizes by hash, and the bytes written."""

    holdings: list[tuple[Any, ...]]
    exports: list[tuple[Any, ...]]
    sizes: dict[str, int]
    written: int


@dataclass
class FileLoad:
    """The files to include, each with its day in the readable tree, and those that are not available.

    ``exports`` are adopted ones.
    """

    holdings: dict[tuple[object, ...], tuple[Holding, str]] = field(default_factory=dict)
    exports: dict[RecordSegment, tuple[Export, str]] = field(default_factory=dict)
    failed: list[FailedFile] = field(default_factory=list)


class BundleFiles:
    """Gathers files of records. Files in ``elsewhere``, which need no question to JSOC, count as cached."""

    def __init__(
        self,
        index: Index,
        files: Files,
        holdings: Holdings,
        adopted: Adopted,
        blobs: Blobs,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._adopted = adopted
        self._index = index
        self._files = files
        self._holdings = holdings
        self._blobs = blobs

    async def gather(
        self, selection: Selection, rows: Sequence[Row], load: FileLoad, report: Report, *, fetch: bool
    ) -> None:
        """Find the files of these records, fetched first if ``fetch``; unavailable ones are noted."""
        layout = self._index.layout(selection.series)
        wanted = requested_files(layout, rows, selection.source.segments)
        if fetch:
            await self._fetch(wanted, load, report)
        elif self._elsewhere is not None:
            await self._take(self._elsewhere, selection.series.name, wanted)
        days = {w.owner: w for w in wanted}
        recnums = list(dict.fromkeys(row.recnum for row in rows))
        for start in range(0, len(recnums), MANY):
            found = await self._holdings.of_records(selection.series.name, recnums[start : start + MANY])
            for holding in found:
                if holding.record in days:
                    load.holdings[holding.record, holding.file] = holding, days[holding.record].day
            for export in await self._adopted.exports(selection.series.name, recnums[start : start + MANY]):
                if export.record in days:
                    load.exports[export.record] = export, days[export.record].day
        have = {holding.record for holding, _ in load.holdings.values()}
        answer = {failed.file for failed in load.failed}
        load.failed += [
            FailedFile(file=w.path or w.record, error=_why_not(w, load))
            for w in wanted
            if w.owner not in have and w.place is not FileLocation.NOWHERE and w.path not in answer
        ]

    async def _fetch(self, wanted: Sequence[RequestedFile], load: FileLoad, report: Report) -> None:
        """Fetch the files into the store, if they are online; failures are reported at the end."""
        online = [w for w in wanted if w.place is FileLocation.ONLINE]
        for number, each in enumerate(online):
            if number % FEW == 0:
                await report(Progress(step="fetching", done=number, total=len(online)))
            try:
                await self._files.get(SegmentFile(each.path, each.owner, each.day))
            except StorageError:
                raise
            except MirrorError as problem:
                load.failed.append(FailedFile(file=each.path, error=str(problem)))

    async def _take(self, elsewhere: Elsewhere, series: str, wanted: Sequence[RequestedFile]) -> None:
        """Fetch files that are only among the cluster's objects into the store; those that fail count as not cached."""
        for start in range(0, len(wanted), MANY):
            some = {w.owner: w for w in wanted[start : start + MANY]}
            found = await self._holdings.of_records(series, {owner.recnum for owner in some})
            missing = some.keys() - {holding.record for holding in found}
            for owner, path in (await elsewhere({owner: some[owner].path or "" for owner in missing})).items():
                with suppress(UpstreamError, NotHeld):
                    await self._files.get(SegmentFile(path, owner, some[owner].day))

    async def put(self, pool: Pool, load: FileLoad, report: Report) -> Came:
        """Put the files into the bundle, as far as they are still cached."""
        came = Came([], [], {}, 0)
        total = len(load.holdings) + len(load.exports)
        for number, (holding, day) in enumerate(load.holdings.values()):
            await _told(came, number, total, report)
            came = await self._put(pool, holding.blob, holding.path, load, came)
            if holding.blob.sha256 in came.sizes:
                came.holdings.append(_holding_row(holding, day))
        for number, (export, day) in enumerate(load.exports.values(), len(load.holdings)):
            await _told(came, number, total, report)
            came = await self._put(pool, export.blob, export.name, load, came)
            if export.blob.sha256 in came.sizes:
                came.exports.append(_export_row(export, day))
        return came

    async def _put(self, pool: Pool, blob: Blob, name: str, load: FileLoad, came: Came) -> Came:
        """Put one content into the bundle; one that is no longer cached is noted as failed."""
        if not await self._blobs.is_sound(blob):
            why = "it was damaged in the store and is quarantined"
            load.failed.append(FailedFile(file=name, error=why))
            return came
        try:
            with self._blobs.reading(blob) as path:
                put = await asyncio.to_thread(pool.put, path, blob.sha256, blob.size)
        except (NotHeld, FileNotFoundError) as problem:
            load.failed.append(FailedFile(file=name, error=str(problem)))
            return came
        came.sizes[blob.sha256] = blob.size
        return replace(came, written=came.written + put.copied)


async def _told(came: Came, number: int, total: int, report: Report) -> None:
    if number % FEW == 0:
        await report(Progress(step="files", done=number, total=total, bytes=came.written))


def _why_not(wanted: RequestedFile, load: FileLoad) -> str:
    why = "it is not cached" if wanted.path else "it is on tape"
    return f"{why}; an export of it goes along" if wanted.owner in load.exports else why


def _holding_row(holding: Holding, day: str) -> tuple[Any, ...]:
    """A row of the bundle's table of holdings."""
    record, file, blob = holding.record, holding.file, holding.blob
    assert record is not None
    return (
        record.series, record.recnum, record.segment, day, file.sunum, file.slot, file.file, holding.disk,
        blob.sha256, blob.size,
    )  # fmt: skip


def _export_row(export: Export, day: str) -> tuple[Any, ...]:
    """A row of the bundle's table of adopted exports."""
    record, blob = export.record, export.blob
    return record.series, record.recnum, record.segment, day, export.name, blob.sha256, blob.size
