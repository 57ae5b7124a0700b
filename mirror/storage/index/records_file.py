"""Records of one series as a Parquet file, as bundles carry them and mirrors of a cluster share them.

The typed columns are there for other tools. Reading a file here ignores them and makes all columns from ``_raw``, so
that the two cannot contradict each other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mirror.errors import StorageError, UpstreamBroken
from mirror.storage.index.layout import ABSENT, SEPARATOR, quoted
from mirror.storage.index.rows import typed_values
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mirror.storage.database.database import Cursor
    from mirror.storage.index.layout import Layout

#: The metadata key of the text that accompanies records.
FOOTER = "mirror"
#: Records that are converted at a time.
AT_ONCE = 20_000
#: Most bytes of an unpacked table; a small packed file may claim to be absurdly large.
MOST_BYTES = 16 << 30
_RECORDS = pa.schema([("_keyset", pa.int32()), ("_raw", pa.string()), ("_old", pa.bool_())])
#: What a value may hold: no bare quote, and no control character but the mark for "not there".
_WIRE = re.compile(r'(?:[^"\\\x00-\x1d\x1f]|\\.)*', re.DOTALL)


def write_records(
    cursor: Cursor, layout: Layout, where: str, path: Path, footer: str | None = None
) -> tuple[int, list[int]]:
    """Write the records that satisfy an SQL condition, old versions too; returns how many, and their key sets.

    ``footer`` is a text to accompany them: see ``read_footer``.
    """
    order = ", ".join(quoted(name) for name in dict.fromkeys((*layout.order, "recnum")))
    parts = (
        f"SELECT *, {old} AS _old FROM {table} WHERE {where}"
        for table, old in ((layout.table, "FALSE"), (layout.old_table, "TRUE"))
    )
    file = str(path).replace("'", "''")
    metadata = "" if footer is None else f", KV_METADATA {{{FOOTER}: '{footer.replace(chr(39), chr(39) * 2)}'}}"
    source = f"SELECT * FROM ({' UNION ALL BY NAME '.join(parts)}) ORDER BY _old, {order}"
    cursor.execute(f"COPY ({source}) TO '{file}' (FORMAT parquet, COMPRESSION zstd{metadata})")
    sql = "SELECT _keyset, count(*) FROM read_parquet(?) GROUP BY _keyset ORDER BY _keyset"
    found = cursor.execute(sql, [str(path)]).fetchall()
    return sum(count for _, count in found), [keyset for keyset, _ in found]


def read_footer(path: Path) -> str | None:
    """The text that accompanies records; None if there is none."""
    try:
        found = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{path} is damaged: {error}") from error
    text = found.get(FOOTER.encode())
    return None if text is None else text.decode()


def count_records(path: Path) -> int:
    """The number of records in a file."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{path} is damaged: {error}") from error


def read_records(
    path: Path, layout: Layout, keysets: Mapping[int, tuple[int, tuple[str, ...]]], count: int
) -> Iterator[tuple[bool, pa.Table]]:
    """The records as rows for the index, with whether they are old versions.

    ``keysets`` gives, for each key set of the file, its number here and its fields.
    """
    for batch in batches(path, _RECORDS, count):
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
    """Raise if a value would break an answer that contains it."""
    for texts in columns.values():
        for text in set(texts):
            if text != ABSENT and ("\\" in text or _WIRE.fullmatch(text) is None or not text.isascii()):
                text.encode("latin-1")
                if _WIRE.fullmatch(text) is None:
                    raise UpstreamBroken(f"{text[:50]!r} is no value")
                from_wire(text)


def batches(path: Path, schema: pa.Schema, count: int) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file in batches; StorageError unless it has ``count`` rows of this schema."""
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
