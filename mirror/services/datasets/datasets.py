"""Data sets to cite: chosen by record sets or by SQL, then kept unchanged.

1. A data set has records by number, and so by version, each with a hash of its printed values; and the sha256 of files.
2. It is made whole or not at all: if something is not available, an error says what.
3. Its files are pinned. Its records stay when others are forgotten (``mirror.services.maintenance.retention``).
4. Later reprocessing by JSOC does not change it: the index keeps every version that it has had.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror import __version__
from mirror.api import datasets as api
from mirror.api.transfer import Progress
from mirror.drms.recordset import RecnumRange, Recnums, RecordSet
from mirror.errors import BadRequest, MirrorError, NotHeld, Refused, StorageError, TooLarge, UnknownName
from mirror.humanize import counted, stamp
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.rechecks import runs
from mirror.readthrough.records import CacheStatus
from mirror.services.datasets.crate import bibtex, fresh_folder, read_crate, write_crate
from mirror.services.datasets.tables import Contents, KeptFile, KeptRecord, taken
from mirror.services.exports.segment_files import FileLocation, requested_files
from mirror.services.search.names import check_segments
from mirror.storage.index.layout import NAME_FIELD, SEPARATOR
from mirror.storage.lake.columns import lake_columns, select_sql
from mirror.storage.lake.table import keysets
from mirror.wire.paths import unit_file
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from mirror.drms.series import Series
    from mirror.readthrough.files import Files
    from mirror.readthrough.policy import Rules
    from mirror.readthrough.records import Records
    from mirror.services.datasets.tables import DatasetTable
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.search.search import Search
    from mirror.services.sql.service import Analytics
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holdings
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row

    Report = Callable[[Progress], Awaitable[None]]

#: Records, and files, of one data set.
MOST_RECORDS, MOST_FILES = 100_000, 500_000
#: Records in one question by number, or by name; files fetched at a time; problems that an error names.
BY_NUMBER, BY_NAME, AT_ONCE, NAMED = 500, 20, 4, 10
_UNKNOWN = "no data set {!r}; `mirror dataset list` shows them"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True, slots=True)
class Finding:
    """How records are found: searched for, read, by SQL, and in the index."""

    search: Search
    records: Records
    analytics: Analytics
    index: Index
    database: Database
    rules: Rules


@dataclass(frozen=True, slots=True)
class FileStore:
    """How files are found and fetched; ``root`` is the folder of the store."""

    files: Files
    holdings: Holdings
    blobs: Blobs
    root: Path


@dataclass
class _Chosen:
    """Records of one series in their order, each with its segments (None: all)."""

    series: Series
    rows: dict[int, Row]
    segments: dict[int, tuple[str, ...] | None]


class Datasets:
    """The data sets of a mirror."""

    def __init__(self, table: DatasetTable, finding: Finding, store: FileStore) -> None:
        self._table = table
        self._find = finding
        self._store = store

    async def all(self) -> list[api.DatasetLine]:
        """All of them, newest first."""
        return [
            api.DatasetLine(
                name=s.name, title=s.title, created=stamp(s.created), records=s.records, files=s.files, bytes=s.bytes,
                sha256=s.sha256,
            )
            for s in await self._table.all()
        ]  # fmt: skip

    async def show(self, name: str) -> api.Dataset:
        """One of them."""
        return _shown(await self._contents(name))

    async def records(self, name: str) -> list[api.DatasetRecord]:
        """Its records with their files."""
        found = await self._contents(name)
        files: dict[tuple[str, int], list[api.DatasetFile]] = {}
        for f in found.files:
            files.setdefault((f.series, f.recnum), []).append(
                api.DatasetFile(segment=f.segment, path=f.path, size=f.size, sha256=f.sha256)
            )
        return [
            api.DatasetRecord(
                series=r.series, recnum=r.recnum, record=r.record, sha256=r.sha256, files=files.get((r.series, r.recnum), [])
            )
            for r in found.records
        ]

    async def delete(self, name: str) -> api.DatasetLine:
        """Remove it; its records and files stay until they are evicted or forgotten."""
        found = next((line for line in await self.all() if line.name.lower() == name.lower()), None)
        if found is None:
            raise UnknownName(_UNKNOWN.format(name[:100]))
        await self._table.remove(found.name)  # also one that cannot be read
        return found

    # ---- making ----------------------------------------------------------------------------------

    async def create(self, wanted: api.CreateBody, principal: str, report: Report) -> api.Dataset:
        """Make one, after fetching what is missing."""
        await self._check_new(wanted.name)
        if bool(wanted.ds) == bool(wanted.sql):
            raise BadRequest("expected record sets, or a statement in SQL, and not both")
        chosen = await (self._by_statement(wanted.sql, principal) if wanted.sql else self._by_sets(wanted.ds, report))
        count = sum(len(each.rows) for each in chosen)
        if not count:
            raise BadRequest(f"no records match {wanted.sql or ', '.join(wanted.ds)}; expected at least one")
        for each in chosen:
            each.rows = await self._held(each.series, list(each.rows), report)
        files = await self._files_of(chosen, report) if wanted.files else []
        made = Contents(
            wanted.name, wanted.title.strip(), self._find.rules.timestamp(), f"jsoc-mirror {__version__}",
            wanted.ds, wanted.sql, {c.series.name: _keywords(self._find.index.layout(c.series)) for c in chosen},
            tuple(self._kept(c.series, row) for c in chosen for row in c.rows.values()), tuple(files),
        )  # fmt: skip
        await self._table.add(made)
        return _shown(made)

    async def _check_new(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise BadRequest(f"name is {name[:100]!r}; expected letters, digits, dots, dashes and underscores, at most 80")
        if await self._table.find(name) is not None:
            raise Refused(taken(name))

    async def _by_sets(self, texts: Sequence[str], report: Report) -> list[_Chosen]:
        chosen: dict[str, _Chosen] = {}
        for text in texts:
            await report(Progress(step="records", series=text))
            for selection in await self._find.search.selections(text):
                check_segments(selection.series, selection.source.segments)  # without files too
                rows = (await self._find.records.read(selection)).rows
                each = chosen.setdefault(selection.series.name, _Chosen(selection.series, {}, {}))
                for row in rows:
                    each.rows[row.recnum] = row
                    each.segments[row.recnum] = _together(each.segments.get(row.recnum, ()), selection.source.segments)
                _check_size(len(each.rows))
        return list(chosen.values())

    async def _by_statement(self, sql: str, principal: str) -> list[_Chosen]:
        """The records of a statement: its column recnum, of the series that it reads or that its column series has."""
        read, data = await self._find.analytics.numbered(sql, principal)
        table = pa.ipc.open_stream(io.BytesIO(data)).read_all()
        columns = {name.lower(): name for name in table.column_names}
        if "recnum" not in columns or not pa.types.is_integer(table.schema.field(columns["recnum"]).type):
            raise BadRequest("the statement gives no recnum; expected a column of that name, such as SELECT recnum FROM hmi.v_45s")
        _check_size(table.num_rows)
        numbers = table[columns["recnum"]].to_pylist()
        if "series" in columns:
            names = [str(name) for name in table[columns["series"]].to_pylist()]
        elif len(read) == 1:
            names = [read[0].name] * len(numbers)
        else:
            several = ", ".join(series.name for series in read) or "no series"
            raise BadRequest(f"the statement reads {several}; expected a column series that says whose recnum it is")
        chosen: dict[str, _Chosen] = {}
        for name, number in zip(names, numbers, strict=True):
            if number is None or number <= 0:
                raise BadRequest(f"recnum is {'NULL' if number is None else number}; expected numbers above 0")
            if name.lower() not in chosen:
                chosen[name.lower()] = _Chosen(await self._find.search.structure(name), {}, {})
            each = chosen[name.lower()]
            each.rows.setdefault(number, None)  # type: ignore[arg-type]  # read below, by number
            each.segments[number] = None
        return list(chosen.values())

    async def _held(self, series: Series, recnums: Sequence[int], report: Report) -> dict[int, Row]:
        """The records with these numbers, in this order, read from the index; NotHeld if some cannot be cached."""
        rows = await self._numbered(series, recnums, report)
        if lacking := [number for number in recnums if number not in rows]:
            gone = tuple(f"{series.name}[:#{number}]" for number in lacking)
            raise NotHeld(f"{counted(len(lacking), 'record')} of {series.name} not available from JSOC: {_listed(gone)}", gone)
        return {number: rows[number] for number in recnums}

    async def _numbered(self, series: Series, recnums: Sequence[int], report: Report) -> dict[int, Row]:
        """The records with these numbers that are in the index, after JSOC was asked for the others."""
        index = self._find.index
        rows = {row.recnum: row for row in await index.rows(series, pa.array(recnums, pa.int64()))}
        missing = sorted(number for number in set(recnums) if number not in rows)
        for start in range(0, len(missing), BY_NUMBER):
            await report(Progress(step="asking", series=series.name, done=start, total=len(missing)))
            some = missing[start : start + BY_NUMBER]
            ranges = tuple(RecnumRange(each.lo, each.hi) for each in runs(some))
            for selection in await self._find.search.selections(str(RecordSet(series.name, (Recnums(ranges),)))):
                await self._find.records.read(selection)
            rows |= {row.recnum: row for row in await index.rows(series, pa.array(some, pa.int64()))}
        return rows

    def _kept(self, series: Series, row: Row) -> KeptRecord:
        names = _keywords(self._find.index.layout(series))
        return KeptRecord(series.name, row.recnum, from_wire(row[NAME_FIELD]), digest(row, names))

    # ---- files -----------------------------------------------------------------------------------

    async def _files_of(self, chosen: Sequence[_Chosen], report: Report) -> list[KeptFile]:
        """The files of these records, in the store; NotHeld names those that are not available."""
        wanted = [(each.series.name, file) for each in chosen for file in self._requested(each)]
        if len(wanted) > MOST_FILES:
            raise TooLarge(f"{len(wanted):,} files are too many for one data set; expected at most {MOST_FILES:,}: name segments")
        kept: list[KeptFile] = []
        problems: list[str] = []
        for start in range(0, len(wanted), AT_ONCE):
            await report(Progress(step="files", done=start, total=len(wanted)))
            some = wanted[start : start + AT_ONCE]
            blobs = await asyncio.gather(*(self._blob_of(file) for _, file in some))
            for (series, file), blob in zip(some, blobs, strict=True):
                if isinstance(blob, str):
                    problems.append(f"{file.record}{{{file.segment}}}: {blob}")
                elif blob is not None:
                    kept.append(KeptFile(series, file.owner.recnum, file.segment, file.path, blob.size, blob.sha256))
        if problems:
            what = f"{counted(len(problems), 'file')} not available, so no data set was made; all else stays cached"
            raise NotHeld(f"{what}: {_listed(problems)}", tuple(problems))
        return kept

    def _requested(self, chosen: _Chosen) -> list[RequestedFile]:
        layout = self._find.index.layout(chosen.series)
        return [f for n, row in chosen.rows.items() for f in requested_files(layout, [row], chosen.segments[n])]

    async def _blob_of(self, wanted: RequestedFile) -> Blob | str | None:
        """The content of a file, fetched if need be, or what prevents that; None for a record without one."""
        holding = await self._store.holdings.of(wanted.owner)
        if holding is not None and await self._store.blobs.is_sound(holding.blob):
            return holding.blob
        if wanted.place is FileLocation.NOWHERE:
            return None
        if wanted.place is FileLocation.OFFLINE:
            return "it is on tape at JSOC; `mirror fetch` has it staged"
        try:
            return await self._store.files.get(wanted.source)
        except StorageError:
            raise
        except MirrorError as problem:
            return str(problem)

    # ---- comparing -------------------------------------------------------------------------------

    async def verify(self, name: str, report: Report) -> api.Verified:
        """Compare the store with it; JSOC is not asked, and all bytes of its files are read."""
        found = await self._contents(name)
        names = {(r.series, r.recnum): r.record for r in found.records}
        problems: list[api.RecordProblem] = []
        for series, records in _by_series(found):
            await report(Progress(step="records", series=series))
            rows = await self._in_index(series, [r.recnum for r in records])
            for r in records:
                row = rows.get(r.recnum)
                wrong = "it is not in the store" if row is None else "its values are others"
                if row is None or digest(row, found.keywords[series]) != r.sha256:
                    problems.append(api.RecordProblem(record=r.record, recnum=r.recnum, segment="", problem=wrong))
        for number, f in enumerate(found.files):
            if number % 20 == 0:
                await report(Progress(step="files", done=number, total=len(found.files)))
            if wrong := await self._file_problem(f):
                record = names.get((f.series, f.recnum), f.path)
                problems.append(api.RecordProblem(record=record, recnum=f.recnum, segment=f.segment, problem=wrong))
        return api.Verified(
            name=found.name, ok=not problems, records=len(found.records), files=len(found.files), problems=problems
        )

    async def _in_index(self, series: str, recnums: Sequence[int]) -> dict[int, Row]:
        held = self._find.index.series(series)
        if held is None:
            return {}
        return {row.recnum: row for row in await self._find.index.rows(held[0], pa.array(recnums, pa.int64()))}

    async def _file_problem(self, file: KeptFile) -> str:
        try:
            verdict = await self._store.blobs.verify(file.sha256)
        except NotHeld:
            return "its file is not in the store"
        return f"its file is damaged: {verdict.problem}" if verdict.problem else ""

    async def diff(self, name: str, report: Report) -> api.Difference:
        """Compare it with what JSOC has now."""
        found = await self._contents(name)
        current, added = await self._current(found, report)
        changed: list[api.ChangedRecord] = []
        withdrawn: list[str] = []
        for series, records in _by_series(found):
            names = found.keywords[series]
            before = await self._in_index(series, [r.recnum for r in records])
            for r in records:
                row = current.get(r.record)
                if row is None:
                    withdrawn.append(r.record)
                elif row.recnum != r.recnum or digest(row, names) != r.sha256:
                    changes = _changes(before.get(r.recnum), row, names)
                    changed.append(api.ChangedRecord(record=r.record, old=r.recnum, new=row.recnum, keywords=changes))
        unchanged = len(found.records) - len(changed) - len(withdrawn)
        return api.Difference(name=found.name, unchanged=unchanged, reprocessed=changed, withdrawn=withdrawn, added=added)

    async def _current(self, found: Contents, report: Report) -> tuple[dict[str, Row], list[str]]:
        """The newest version of each of its records, by name; and the names that its record sets have besides."""
        current: dict[str, Row] = {}
        for text in found.ds:
            await report(Progress(step="asking", series=text))
            current |= await self._newest(text)
        names = [r.record for r in found.records]
        added = sorted(current.keys() - set(names))
        rest = [name for name in dict.fromkeys(names) if name not in current]
        for start in range(0, len(rest), BY_NAME):
            await report(Progress(step="asking", done=start, total=len(rest)))
            current |= await self._newest(",".join(rest[start : start + BY_NAME]))
        return current, added

    async def _newest(self, ds: str) -> dict[str, Row]:
        """The records of a record set by name, the newest version of each; NotHeld if JSOC cannot say which."""
        rules = self._find.rules
        rows: dict[str, Row] = {}
        for selection in await self._find.search.selections(ds):
            read = await self._find.records.read(selection, None, CacheDemand.REVALIDATE)
            if read.origin is CacheStatus.STALE or not rules.may_ask:
                why = "JSOC is not responding" if rules.may_ask else rules.why_not(CacheDemand.REVALIDATE)
                raise NotHeld(f"{why}; what JSOC has of {ds} now is not known")
            for row in read.rows:
                name = from_wire(row[NAME_FIELD])
                if name not in rows or rows[name].recnum < row.recnum:
                    rows[name] = row
        return rows

    # ---- crates ----------------------------------------------------------------------------------

    async def export(self, name: str, to: Path, report: Report, *, files: bool) -> api.Crate:
        """Write its crate into the folder ``to``, which must be new or empty."""
        found = await self._contents(name)
        await asyncio.to_thread(fresh_folder, to, self._store.root)
        if files and not found.files:
            raise BadRequest(f"{found.name} was made without files; expected an export without, or a data set with files")
        tables: dict[str, pa.Table] = {}
        for series, records in _by_series(found):
            await report(Progress(step="records", series=series))
            tables[series] = await self._typed(series, [r.recnum for r in records])
            if tables[series].num_rows < len({r.recnum for r in records}):
                raise NotHeld(f"records of {series} are not in the store any more; `mirror dataset verify {found.name}` names them")
        blobs = await self._store.blobs.find_all({f.sha256 for f in found.files}) if files else {}
        if files and (gone := [f.path for f in found.files if f.sha256 not in blobs]):
            raise NotHeld(f"{counted(len(gone), 'file')} of {found.name} are not in the store any more: {_listed(gone)}")
        await report(Progress(step="writing"))
        count, size = await asyncio.to_thread(write_crate, to, found, tables, blobs, self._store.blobs.reading)
        return api.Crate(name=found.name, crate=str(to), files=count, bytes=size, sha256=found.sha256)

    async def _typed(self, series: str, recnums: Sequence[int]) -> pa.Table:
        """All keywords of these records with types, as the lake has them, in the order of their prime keys."""
        held = self._find.index.series(series)
        if held is None:
            return pa.table({"recnum": pa.array([], pa.int64())})
        layout, numbers = self._find.index.layout(held[0]), pa.array(recnums, pa.int64())
        return await self._find.database.read(lambda cursor: _typed(cursor, layout, numbers))

    async def take(self, folder: Path, report: Report) -> api.Dataset:
        """Make the data set of a crate here: JSOC is asked for the records by number, and for files that the crate lacks."""
        crate = await asyncio.to_thread(read_crate, folder)
        wanted, known = crate.contents, await self._table.find(crate.contents.name)
        if known is not None and known.sha256 == wanted.sha256:
            return _shown(known)
        await self._check_new(wanted.name)
        lost: list[str] = []
        files: dict[tuple[str, int], list[KeptFile]] = {}
        for f in wanted.files:
            files.setdefault((f.series, f.recnum), []).append(f)
        for name, records in _by_series(wanted):
            series = await self._find.search.structure(name)
            rows = await self._numbered(series, [r.recnum for r in records], report)
            for number, r in enumerate(records):
                row = rows.get(r.recnum)
                if row is None:
                    lost.append(f"{r.record} (recnum {r.recnum}): JSOC no longer has this version")
                elif digest(row, wanted.keywords[name]) != r.sha256:
                    lost.append(f"{r.record} (recnum {r.recnum}): JSOC has other values under this number now")
                else:
                    if number % 20 == 0:
                        await report(Progress(step="files", done=number, total=len(records)))
                    kept = files.get((name, r.recnum), ())
                    taken_in = [(f, await self._take_file(series, row, f, crate.files.get(f.sha256))) for f in kept]
                    lost += [f"{r.record}{{{f.segment}}}: {wrong}" for f, wrong in taken_in if wrong]
        if lost:
            what = f"{counted(len(lost), 'item')} of {wanted.name} not available, so no data set was made; all else stays cached"
            raise NotHeld(f"{what}: {_listed(lost)}", tuple(lost))
        made = replace(wanted, created=self._find.rules.timestamp())
        await self._table.add(made)
        return _shown(made)

    async def _take_file(self, series: Series, row: Row, file: KeptFile, place: Path | None) -> str:
        """Put a file into the store, from the crate or from JSOC; what is wrong, "" if nothing is."""
        layout = self._find.index.layout(series)
        try:
            wanted = requested_files(layout, [row], (file.segment,))[0]
        except UnknownName as problem:
            return str(problem)
        wanted = wanted if wanted.path else replace(wanted, path=file.path)
        blob = await self._store.blobs.find(file.sha256)
        unit = unit_file(wanted.path)
        if unit is None:
            return f"{wanted.path!r} is no path at JSOC"
        if blob is None and place is not None:
            async with self._store.blobs.taking(place, file.size, file.sha256, link=False) as sink:
                blob = await sink.keep(size=file.size)
        if blob is not None:
            await self._store.files.note(wanted.source, unit, blob)
            return ""
        try:
            blob = await self._store.files.get(wanted.source)
        except StorageError:
            raise
        except MirrorError as problem:
            return f"JSOC no longer has its file: {problem}"
        return "" if blob.sha256 == file.sha256 else "JSOC has another file now"

    async def _contents(self, name: str) -> Contents:
        found = await self._table.find(name)
        if found is None:
            raise UnknownName(_UNKNOWN.format(name[:100]))
        return found


def digest(row: Row, names: Sequence[str]) -> str:
    """The hash of the values of a record's keywords, as they print."""
    values = row.raw.split(SEPARATOR)
    texts = [from_wire(values[row.fields[name]]) if name in row.fields else None for name in names]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _typed(cursor: Cursor, layout: Layout, numbers: pa.Array) -> pa.Table:
    """The records with these numbers, of any version; the fields say their units and notes."""
    columns = lake_columns(layout, keysets(cursor, layout.series.name.lower()))
    where = "recnum IN (SELECT n FROM asked)"
    parts = (f"SELECT * FROM ({select_sql(table, layout, columns, where)})" for table in (layout.table, layout.old_table))
    cursor.register("asked", pa.table({"n": numbers}))
    try:
        made = cursor.sql(" UNION ALL BY NAME ".join(parts)).to_arrow_table()
    finally:
        cursor.unregister("asked")
    comments = {column.name: column.comment for column in columns}
    fields = [field.with_metadata({"comment": comments.get(field.name, "")}) for field in made.schema]
    return made.cast(pa.schema(fields))


def _keywords(layout: Layout) -> tuple[str, ...]:
    return tuple(keyword.name for keyword in layout.keywords)


def _changes(old: Row | None, new: Row, names: Sequence[str]) -> list[api.ChangedKeyword]:
    every = dict.fromkeys([*names, *(n for n in new.fields if n[0] not in "*{<")])
    pairs = [(name, None if old is None else _value(old, name), _value(new, name)) for name in every]
    return [api.ChangedKeyword(keyword=name, old=a, new=b) for name, a, b in pairs if a != b]


def _value(row: Row, name: str) -> str | None:
    return from_wire(row[name]) if name in row.fields else None


def _together(known: tuple[str, ...] | None, more: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The segments of a record that two record sets name together; None for all."""
    return None if known is None or more is None else tuple(dict.fromkeys([*known, *more]))


def _check_size(records: int) -> None:
    if records > MOST_RECORDS:
        raise TooLarge(f"{records:,} records are too many for one data set; expected at most {MOST_RECORDS:,}: make several")


def _listed(things: Sequence[object]) -> str:
    more = f"; and {len(things) - NAMED:,} more" if len(things) > NAMED else ""
    return "; ".join(map(str, things[:NAMED])) + more


def _by_series(found: Contents) -> list[tuple[str, list[KeptRecord]]]:
    groups: dict[str, list[KeptRecord]] = {}
    for record in found.records:
        groups.setdefault(record.series, []).append(record)
    return list(groups.items())


def _shown(found: Contents) -> api.Dataset:
    files: Mapping[str, int] = Counter(f.series for f in found.files)
    series = [
        api.DatasetSeries(series=name, records=len(records), files=files.get(name, 0)) for name, records in _by_series(found)
    ]
    return api.Dataset(
        name=found.name, title=found.title, created=stamp(found.created), records=len(found.records), files=len(found.files),
        bytes=sum(f.size for f in found.files), sha256=found.sha256, software=found.software, ds=list(found.ds), sql=found.sql,
        series=series, bibtex=bibtex(found),
    )  # fmt: skip
