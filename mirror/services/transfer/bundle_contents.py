"""The tables of a bundle: Parquet files of records, holdings, adopted exports and facts (small answers).

They are written from the index, and read for it. Rule: a bundle comes from elsewhere. What is read here has the right
form and names nothing outside the store; the importer checks the bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mirror.errors import StorageError
from mirror.storage.disk import is_sha256
from mirror.storage.files.folders import link_name
from mirror.storage.files.holdings import RecordSegment
from mirror.storage.index.records_file import batches
from mirror.wire.paths import UnitFile, unit_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mirror.services.transfer.manifests import Bundle
    from mirror.storage.database.database import KeyedTable



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
