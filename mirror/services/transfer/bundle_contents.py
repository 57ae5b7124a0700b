"""What is in a bundle: its files, and tables as Parquet of records, holdings, adopted exports and facts (small answers).

Tables are written from the index, and read for it. Rule: a bundle comes from elsewhere. What is read here has the right
form and names nothing outside the store; the importer checks the bytes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mirror.api.transfer import FailedFile, Progress
from mirror.errors import MirrorError, NotHeld, StorageError, UpstreamError
from mirror.readthrough.files import SegmentFile
from mirror.services.exports.segment_files import FileLocation, requested_files
from mirror.storage.disk import is_sha256
from mirror.storage.files.folders import link_name
from mirror.storage.files.holdings import RecordSegment
from mirror.storage.index.records_file import batches
from mirror.wire.paths import UnitFile, unit_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mirror.drms.recordset import Selection
    from mirror.readthrough.files import Files
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.exports.staging import Elsewhere
    from mirror.services.transfer.backup import Report
    from mirror.services.transfer.manifests import Bundle
    from mirror.services.transfer.pool import Pool
    from mirror.storage.database.database import KeyedTable
    from mirror.storage.files.adopted_exports import Adopted, Export
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holding, Holdings
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Row

HOLDINGS = pa.schema(
    [
        ("series", pa.string()), ("recnum", pa.int64()), ("segment", pa.string()), ("day", pa.string()),
        ("sunum", pa.int64()), ("slot", pa.int32()), ("file", pa.string()), ("disk", pa.string()),
        ("sha256", pa.string()), ("size", pa.int64()),
    ]
)  # fmt: skip
#: Adopted exports, with the names that the files had.
EXPORTS = pa.schema(
    [
        ("series", pa.string()), ("recnum", pa.int64()), ("segment", pa.string()), ("day", pa.string()),
        ("name", pa.string()), ("sha256", pa.string()), ("size", pa.int64()),
    ]
)  # fmt: skip
FACTS = pa.schema(
    [("kind", pa.string()), ("key", pa.string()), ("value", pa.string()), ("fetched_at", pa.float64())]
)


def write_table(rows: Sequence[Sequence[Any]], schema: pa.Schema, path: Path) -> None:
    """Write rows as a Parquet file."""
    columns = list(zip(*rows, strict=True)) or [() for _ in schema]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), path, compression="zstd")


def read_table(path: Path, schema: pa.Schema, count: int) -> list[tuple[Any, ...]]:
    """The rows of a table that must have so many; StorageError if it is anything else."""
    found = [
        row
        for batch in batches(path, schema, count)
        for row in zip(*batch.to_pydict().values(), strict=True)
    ]
    if any(value is None for row in found for value in row):
        raise StorageError(f"{path} is damaged: a value is missing")
    return found


_DISK = re.compile(r"SUM\d{0,9}", re.ASCII)
_SEGMENT = re.compile(r"\w{1,64}", re.ASCII)
#: The most characters of an adopted export's name.
_LONGEST_NAME = 1000


@dataclass(frozen=True, slots=True)
class Carried:
    """A file of the archive in a bundle, and its record; ``day`` is its folder in the readable tree, or ""."""

    file: UnitFile
    disk: str
    record: RecordSegment
    day: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class CarriedExport:
    """An adopted export in a bundle; ``name`` is the name that the file had."""

    record: RecordSegment
    day: str
    name: str
    sha256: str
    size: int


def carried_files(folder: Path, bundle: Bundle) -> list[Carried]:
    """The files in the bundle, later tables first: the last entry counts."""
    found: dict[tuple[UnitFile, RecordSegment], Carried] = {}
    for table in (t for t in bundle.tables if t.kind == "holdings"):
        for row in read_table(folder / table.file, HOLDINGS, table.rows):
            each = _one_carried(folder, *row)
            found[each.file, each.record] = each
    return list(found.values())


def carried_exports(folder: Path, bundle: Bundle) -> list[CarriedExport]:
    """The adopted exports in the bundle, one per segment of a record."""
    found: dict[RecordSegment, CarriedExport] = {}
    for table in (t for t in bundle.tables if t.kind == "exports"):
        for row in read_table(folder / table.file, EXPORTS, table.rows):
            each = _one_export(folder, *row)
            found[each.record] = each
    return list(found.values())


def carried_facts(folder: Path, bundle: Bundle) -> list[Fact]:
    """The small answers of the bundle that a mirror keeps; StorageError for an invalid one."""
    found: dict[tuple[str, str], Fact] = {}
    for table in (t for t in bundle.tables if t.kind == "facts"):
        for kind, key, value, fetched_at in read_table(folder / table.file, FACTS, table.rows):
            if not is_fact(kind, key, value):
                raise StorageError(
                    f"{folder / table.file} is damaged: {kind[:20]!r} {key[:80]!r} is nothing to keep"
                )
            before = found.get((kind, key))
            if before is None or before[3] <= fetched_at:
                found[kind, key] = (kind, key, value, fetched_at)
    return list(found.values())


def _one_carried(
    folder: Path, series: str, recnum: int, segment: str, day: str,
    sunum: int, slot: int, file: str, disk: str, sha256: str, size: int,
) -> Carried:  # fmt: skip
    path = UnitFile(sunum, slot, file).path(disk) if sunum >= 0 and slot >= 0 else ""
    unit = unit_file(path) if _DISK.fullmatch(disk) else None
    right = unit is not None and _is_right(sha256, size, segment)
    if unit is None or not right or not _may_be_linked(series, day, f"{recnum}.{file.rpartition('/')[2]}"):
        raise StorageError(f"{folder} is damaged: {path[:100]!r} cannot be a file of {series[:80]!r}")
    return Carried(unit, disk, RecordSegment(series, recnum, segment), day, sha256, size)


def _one_export(
    folder: Path, series: str, recnum: int, segment: str, day: str, name: str, sha256: str, size: int
) -> CarriedExport:
    right = _is_right(sha256, size, segment) and 0 < len(name) <= _LONGEST_NAME
    if not right or not _may_be_linked(series, day, f"{recnum}.export.{segment}.fits"):
        raise StorageError(f"{folder} is damaged: {name[:100]!r} cannot be an export of {series[:80]!r}")
    return CarriedExport(RecordSegment(series, recnum, segment), day, name, sha256, size)


def _is_right(sha256: str, size: int, segment: str) -> bool:
    return is_sha256(sha256) and size >= 0 and _SEGMENT.fullmatch(segment) is not None


def _may_be_linked(series: str, day: str, name: str) -> bool:
    try:
        link_name(series, day, name)
    except StorageError:
        return False
    return True


#: A small answer: its kind, its key, its value, and when it was fetched in Unix seconds.
Fact = tuple[str, str, str, float]

#: The kinds of these answers in a bundle.
LIST, ADDRESS, PRECISE, LINKED = "list", "address", "precise", "linked texts"
#: Where a mirror keeps the answers of each kind.
FactTables = Mapping[str, "KeyedTable"]

_LISTS = frozenset({"show_series", "showextseries", "showextseries notes"})
_PRECISE = re.compile(r"[a-z_]\w*\.[a-z_]\w*:\d{1,18}", re.ASCII)
_QUERY = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*\[[^\x00-\x1f]{0,500}\]", re.ASCII)


async def select_facts(
    tables: FactTables, precise: Iterable[str], links: Iterable[str], address: str
) -> list[Fact]:
    """The kept answers among these: records by ``series:recnum``, records at the ends of links, an address; all lists."""
    wanted = {ADDRESS: [address], LINKED: links, LIST: None, PRECISE: precise}
    return [(kind, *row) for kind, keys in wanted.items() for row in await tables[kind].rows(keys)]


def is_fact(kind: str, key: str, value: str) -> bool:
    """True for an answer that a mirror may keep, wherever it comes from."""
    if kind == ADDRESS:
        return "@" in key
    try:
        answer = json.loads(value)
    except (ValueError, RecursionError):
        return False
    if kind in (PRECISE, LINKED):
        form = _PRECISE if kind == PRECISE else _QUERY
        right = isinstance(answer, dict) and all(isinstance(v, str) for v in answer.values())
        return right and form.fullmatch(key) is not None
    return kind == LIST and key in _LISTS and isinstance(answer, list) and all(map(_is_entry, answer))


def _is_entry(entry: Any) -> bool:
    """True for a series as ``mirror.readthrough.structures`` keeps it: name, prime keys, note."""
    if not isinstance(entry, list) or len(entry) != 3:
        return False
    name, keys, note = entry
    return (
        isinstance(name, str)
        and isinstance(keys, list)
        and all(isinstance(k, str) for k in keys)
        and isinstance(note, str)
    )


# ---- files ---------------------------------------------------------------------------------------
# Found among cached ones, fetched where that is wanted, and copied.

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
