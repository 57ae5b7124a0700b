"""The tables of a bundle: records, files, exports that people had, small answers.

Rule: a bundle comes from elsewhere. What is read here is of the right form and names nothing outside the
store; whether the bytes are what they should be is for the importer to see.

The tables of a bundle: Parquet files of records, holdings and facts, written from and read for the index.

Records have the typed columns for whoever reads them with other tools. An import takes nothing from these:
it makes all columns from ``_raw``, so that a bundle cannot say one thing and hold another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mirror.errors import StorageError, UpstreamBroken
from mirror.storage.disk import is_sha256
from mirror.storage.files.folders import link_name
from mirror.storage.files.holdings import RecordSegment
from mirror.storage.files.unit_path import UnitFile, unit_file
from mirror.storage.index.layout import ABSENT, SEPARATOR, quoted
from mirror.storage.index.rows import typed_values
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mirror.services.transfer.manifests import Bundle
    from mirror.storage.database.database import Cursor
    from mirror.storage.database.keyed import KeyedTable
    from mirror.storage.index.layout import Layout


#: Records that are converted at a time.
AT_ONCE = 20_000
#: Bytes of a table, unpacked; a packed file may say that it is much more than anyone would carry.
MOST_BYTES = 16 << 30

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
_RECORDS = pa.schema([("_keyset", pa.int32()), ("_raw", pa.string()), ("_old", pa.bool_())])
#: What a value may hold: no bare quote, and no control character but the mark for "not there".
_WIRE = re.compile(r'(?:[^"\\\x00-\x1d\x1f]|\\.)*', re.DOTALL)


def write_records(cursor: Cursor, layout: Layout, where: str, path: Path) -> tuple[int, list[int]]:
    """Write the records that satisfy an SQL condition, old versions too; how many, and their key sets."""
    order = ", ".join(quoted(name) for name in dict.fromkeys((*layout.order, "recnum")))
    parts = (
        f"SELECT *, {old} AS _old FROM {table} WHERE {where}"
        for table, old in ((layout.table, "FALSE"), (layout.old_table, "TRUE"))
    )
    file = str(path).replace("'", "''")
    source = f"SELECT * FROM ({' UNION ALL BY NAME '.join(parts)}) ORDER BY _old, {order}"
    cursor.execute(f"COPY ({source}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
    sql = "SELECT _keyset, count(*) FROM read_parquet(?) GROUP BY _keyset ORDER BY _keyset"
    found = cursor.execute(sql, [str(path)]).fetchall()
    return sum(count for _, count in found), [keyset for keyset, _ in found]


def write_table(rows: Sequence[Sequence[Any]], schema: pa.Schema, path: Path) -> None:
    """Write rows as a Parquet file."""
    columns = list(zip(*rows, strict=True)) or [() for _ in schema]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), path, compression="zstd")


def read_table(path: Path, schema: pa.Schema, count: int) -> list[tuple[Any, ...]]:
    """The rows of a table that is to have so many; StorageError if it is anything else."""
    found = [
        row
        for batch in _batches(path, schema, count)
        for row in zip(*batch.to_pydict().values(), strict=True)
    ]
    if any(value is None for row in found for value in row):
        raise StorageError(f"{path} is damaged: a value is missing")
    return found


def read_records(
    path: Path, layout: Layout, keysets: Mapping[int, tuple[int, tuple[str, ...]]], count: int
) -> Iterator[tuple[bool, pa.Table]]:
    """The records as rows for the index, and whether they are old versions.

    ``keysets`` gives for each key set of the file the number that it has here, and its fields.
    """
    for batch in _batches(path, _RECORDS, count):
        columns = batch.to_pydict()
        groups: dict[tuple[bool, int], list[str]] = {}
        for keyset, raw, old in zip(columns["_keyset"], columns["_raw"], columns["_old"], strict=True):
            if keyset not in keysets or raw is None or old is None:
                raise StorageError(
                    f"{path} is damaged: a record has the key set {keyset!r}, which the bundle has not"
                )
            groups.setdefault((old, keyset), []).append(raw)
        for (old, keyset), raws in groups.items():
            yield old, _rows(path, layout, *keysets[keyset], raws)


def _rows(path: Path, layout: Layout, number: int, fields: tuple[str, ...], raws: list[str]) -> pa.Table:
    split = [raw.split(SEPARATOR) for raw in raws]
    if any(len(values) != len(fields) for values in split):
        raise StorageError(f"{path} is damaged: a record has not as many values as its key set")
    columns = dict(zip(fields, zip(*split, strict=True), strict=True))
    try:
        _check_values(columns)
        numbers = [list(map(int, columns[name])) for name in ("*recnum*", "*sunum*")]
        typed = {c.name: typed_values(c, columns[c.keyword]) for c in layout.columns if c.keyword in columns}
        missing = [name for name in layout.order if name not in typed and name != "recnum"]
        if missing:
            raise StorageError(f"{path} is damaged: records without their prime key {missing[0]}")
        return pa.table(
            {
                "recnum": pa.array(numbers[0], pa.int64()),
                "sunum": pa.array(numbers[1], pa.int64()),
                **typed,
                "_keyset": pa.array([number] * len(raws), pa.int32()),
                "_raw": pa.array(raws, pa.string()),
            }
        )
    except (ValueError, KeyError, OverflowError, UpstreamBroken, pa.ArrowException) as error:
        raise StorageError(f"{path} is damaged: a value of a record cannot be read: {error}") from error


def _check_values(columns: Mapping[str, Sequence[str]]) -> None:
    """Raise if a value would break the answer in which it is sent."""
    for texts in columns.values():
        for text in set(texts):
            if text != ABSENT and ("\\" in text or _WIRE.fullmatch(text) is None or not text.isascii()):
                text.encode("latin-1")
                if _WIRE.fullmatch(text) is None:
                    raise UpstreamBroken(f"{text[:50]!r} is no value")
                from_wire(text)


def _batches(path: Path, schema: pa.Schema, count: int) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow
            wrong = [
                f.name for f in schema if f.name not in found.names or found.field(f.name).type != f.type
            ]
            if wrong or file.metadata.num_rows != count:
                raise StorageError(f"{path} is damaged: {_mismatch(wrong, file.metadata.num_rows, count)}")
            groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > MOST_BYTES:
                raise StorageError(
                    f"{path} would be more than {MOST_BYTES:,} bytes unpacked, and is not read"
                )
            yield from file.iter_batches(AT_ONCE, columns=schema.names)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{path} is damaged: {error}") from error


def _mismatch(wrong: list[str], rows: int, count: int) -> str:
    return (
        f"the column {wrong[0]} is not what it should be"
        if wrong
        else f"it has {rows} rows instead of {count}"
    )


_DISK = re.compile(r"SUM\d{0,9}", re.ASCII)
_SEGMENT = re.compile(r"\w{1,64}", re.ASCII)
#: Characters of the name that an export had.
_LONGEST_NAME = 1000


@dataclass(frozen=True, slots=True)
class Carried:
    """A file of the archive in a bundle, and whose it is; ``day`` is its folder in the readable tree, or ""."""

    file: UnitFile
    disk: str
    record: RecordSegment
    day: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class CarriedExport:
    """An adopted export in a bundle; ``name`` is what the file was called."""

    record: RecordSegment
    day: str
    name: str
    sha256: str
    size: int


def carried_files(folder: Path, bundle: Bundle) -> list[Carried]:
    """The files that the bundle holds, later tables first: what is noted last counts."""
    found: dict[tuple[UnitFile, RecordSegment], Carried] = {}
    for table in (t for t in bundle.tables if t.kind == "holdings"):
        for row in read_table(folder / table.file, HOLDINGS, table.rows):
            each = _one_carried(folder, *row)
            found[each.file, each.record] = each
    return list(found.values())


def carried_exports(folder: Path, bundle: Bundle) -> list[CarriedExport]:
    """The adopted exports that the bundle holds, one a segment of a record."""
    found: dict[RecordSegment, CarriedExport] = {}
    for table in (t for t in bundle.tables if t.kind == "exports"):
        for row in read_table(folder / table.file, EXPORTS, table.rows):
            each = _one_export(folder, *row)
            found[each.record] = each
    return list(found.values())


def carried_facts(folder: Path, bundle: Bundle) -> list[Fact]:
    """The small answers of the bundle that a mirror keeps; StorageError for what is none."""
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


#: A small answer: its kind, its key, what it says, and when it was asked for in Unix seconds.
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
    """What is kept of these: records by ``series:recnum``, records at the ends of links, an address; all lists."""
    wanted = {ADDRESS: [address], LINKED: links, LIST: None, PRECISE: precise}
    return [(kind, *row) for kind, keys in wanted.items() for row in await tables[kind].rows(keys)]


def is_fact(kind: str, key: str, value: str) -> bool:
    """True for what a mirror may keep, however it came."""
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
    """True for a series as ``mirror.readthrough.lists`` keeps it: name, prime keys, note."""
    if not isinstance(entry, list) or len(entry) != 3:
        return False
    name, keys, note = entry
    return (
        isinstance(name, str)
        and isinstance(keys, list)
        and all(isinstance(k, str) for k in keys)
        and isinstance(note, str)
    )
