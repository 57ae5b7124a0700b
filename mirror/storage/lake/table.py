"""Files of the lake: the table that lists them, the counts that show whether they are current, how they are written.

Every column gets an encoding that is small and quickly read for its kind. Whole numbers and times grow evenly, so
they are stored as differences, which need no compression; repeating values are numbered in a dictionary; texts are
LZ4. Floats that differ are stored plainly: LZ4 would save a sixth of the file, and make statements over all years up
to 1.7 times slower (benchmarks/README.md). pandas, polars and DuckDB read these encodings, which a test shows; Spark
does from 3.5 on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import pyarrow as pa

from mirror.drms.where.exact import quote
from mirror.storage.index.layout import quoted, whole

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.storage.database.database import Cursor
    from mirror.storage.lake.columns import LakeColumn

#: Records in a row group, which a reader reads or skips as a whole. Smaller groups are skipped more often (the hundred
#: largest values of all years are in a few), but cost more where all are read.
ROW_GROUP = 32_768
#: Bytes of distinct values up to which a dictionary is smaller than the values themselves.
_DICTIONARY = 32_768


def write_file(reader: pa.RecordBatchReader, path: Path) -> None:
    """Write a file with one row group for each batch of ``reader``. OSError if the disk refuses."""
    import pyarrow.parquet as pq  # noqa: PLC0415  (it takes a while to load, and the process that runs statements never writes)

    first = next(reader, None)
    even = [field.name for field in reader.schema if _is_even(field.type)]
    floats = [field.name for field in reader.schema if pa.types.is_floating(field.type)]
    plain = [name for name in floats if first is not None and _differ(first.column(name))]
    others = [name for name in reader.schema.names if name not in {*even, *plain}]
    with pq.ParquetWriter(
        path,
        reader.schema,
        compression={**dict.fromkeys(others, "lz4"), **dict.fromkeys(even + floats, "none")},
        column_encoding={**dict.fromkeys(even, "DELTA_BINARY_PACKED"), **dict.fromkeys(plain, "PLAIN")},
        use_dictionary=others,
        dictionary_pagesize_limit=_DICTIONARY,
        store_schema=False,
    ) as writer:
        for batch in chain(() if first is None else (first,), reader):
            writer.write_batch(batch, row_group_size=ROW_GROUP)


def _is_even(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind))


def _differ(values: pa.Array) -> bool:
    """True if a dictionary of these values would be too large; most columns are alike in all row groups."""
    return bool(len(values.unique()) * values.type.byte_width > _DICTIONARY)


ALL, NONE = "all", "none"
_EPOCH = date(1977, 1, 1)
_DAY = 86_400
#: All months before the first of these are one file, as are all after the last: such times are typing errors.
_FIRST, _LAST = date(1900, 1, 1), date(2100, 1, 1)
BEFORE, AFTER = "before", "beyond"


class Print(NamedTuple):
    """The number of some records, and a hash; equal for equal records."""

    records: int
    hash: int


def month_of(day: int | None, *, timed: bool) -> str:
    """The name of the month of a day, which is counted from 1977.01.01."""
    if day is None:
        return NONE if timed else ALL
    if day < (_FIRST - _EPOCH).days:
        return BEFORE
    if day >= (_LAST - _EPOCH).days:
        return AFTER
    return f"{_EPOCH + timedelta(days=day):%Y-%m}"


def bounds(month: str) -> tuple[float, float] | None:
    """A month's first second, and the first second after it, as DRMS times; None for ``NONE``."""
    if month == NONE:
        return None
    if month == BEFORE:
        return float("-1e300"), _seconds(_FIRST)
    if month == AFTER:
        return _seconds(_LAST), float("1e300")
    first = date.fromisoformat(f"{month}-01")
    return _seconds(first), _seconds((first + timedelta(days=31)).replace(day=1))


def together(parts: Iterable[tuple[str, Print]]) -> dict[str, Print]:
    """Prints of months, from prints of their days."""
    months: dict[str, Print] = {}
    for month, part in parts:
        whole = months.get(month, Print(0, 0))
        months[month] = Print(whole.records + part.records, whole.hash ^ part.hash)
    return months


def _seconds(day: date) -> float:
    return float((day - _EPOCH).days * _DAY)


class Sealed(NamedTuple):
    """A file of the lake: its table and month, what it holds, and its form."""

    table: str
    month: str
    file: str
    shape: str
    print: Print
    bytes: int
    sha256: str


def sealed(cursor: Cursor, table: str | None = None) -> list[Sealed]:
    """The files of one table, or all files, by table and month."""
    where = "" if table is None else "WHERE series = ?"
    columns = "series, month, file, shape, records, print, bytes, sha256"
    sql = f"SELECT {columns} FROM mirror.lake {where} ORDER BY series, month"
    rows = cursor.execute(sql, [] if table is None else [table]).fetchall()
    return [
        Sealed(t, m, file, shape, Print(n, int(p)), size, sha) for t, m, file, shape, n, p, size, sha in rows
    ]


def note(cursor: Cursor, row: Sealed, at: float) -> None:
    """Record a file in place of the one for the same month."""
    cursor.execute("DELETE FROM mirror.lake WHERE series = ? AND month = ?", [row.table, row.month])
    held = (row.print.records, str(row.print.hash))
    values = [row.table, row.month, row.file, row.shape, *held, row.bytes, at, row.sha256]
    cursor.execute("INSERT INTO mirror.lake VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def forget(cursor: Cursor, table: str, months: Iterable[str]) -> None:
    """Delete the rows of the files of these months."""
    sql = "DELETE FROM mirror.lake WHERE series = ? AND month IN (SELECT unnest(?::VARCHAR[]))"
    cursor.execute(sql, [table, list(months)])


def distrust(cursor: Cursor, series: str) -> None:
    """Have all files of a series written again, since records in them are replaced under the same numbers."""
    names = [series.lower(), f"{series.lower()}__old"]
    cursor.execute("UPDATE mirror.lake SET print = '0' WHERE list_contains(?, series)", [names])


def prints(cursor: Cursor, table: str, time: str | None) -> dict[str, Print]:
    """How many records each month of a table of the index has, and a hash of their numbers and key sets."""
    day = "NULL" if time is None else whole(f"floor({quoted(time)} / 86400)")
    # hash(recnum, _keyset) is the xor of two hashes: over an even number of records the second would cancel out.
    each = "hash(xor(hash(recnum), coalesce(_keyset, 0)::UBIGINT))"
    sql = f"SELECT {day}, count(*), bit_xor({each}) FROM {table} GROUP BY ALL HAVING count(*) > 0"
    return together(
        (month_of(day, timed=time is not None), Print(n, h)) for day, n, h in cursor.execute(sql).fetchall()
    )


def where_month(time: str | None, month: str) -> str:
    """The condition that a record belongs to a month."""
    if time is None or month == ALL:
        return "TRUE"
    column, span = quoted(time), bounds(month)
    return f"{column} IS NULL" if span is None else f"{column} >= {span[0]} AND {column} < {span[1]}"


def where_months(time: str | None, months: Iterable[str]) -> str:
    """The condition that a record belongs to one of some months; consecutive months make one range."""
    names = set(months)
    spans: list[tuple[float, float]] = []
    for span in sorted(found for name in names - {ALL, NONE} if (found := bounds(name)) is not None):
        if spans and spans[-1][1] == span[0]:
            spans[-1] = spans[-1][0], span[1]
        else:
            spans.append(span)
    if time is None or ALL in names:
        return "TRUE"
    column = quoted(time)
    parts = [f"({column} >= {first} AND {column} < {after})" for first, after in spans]
    return " OR ".join([*parts, *([f"{column} IS NULL"] if NONE in names else [])]) or "FALSE"


def keysets(cursor: Cursor, series: str) -> dict[int, dict[str, int]]:
    """The position of each field in ``_raw``, for each key set of a series."""
    rows = cursor.execute("SELECT id, fields FROM mirror.keysets WHERE series = ?", [series]).fetchall()
    return {number: {field: at for at, field in enumerate(json.loads(fields))} for number, fields in rows}


def manifest(rows: Iterable[Sealed]) -> str:
    """The lake's tables, and the files of each by month, as JSON for other programs."""
    tables: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        file = {"file": row.file, "month": row.month, "records": row.print.records, "bytes": row.bytes}
        tables.setdefault(row.table, []).append(file | {"sha256": row.sha256})
    return json.dumps({"version": 1, "tables": tables}, indent=1)


# ---- the catalogue -------------------------------------------------------------------------------
# The lake as a DuckDB file, ``lake/catalog.duckdb``: a view of each table, for whatever opens such files.
#
# 1. It has no data: a view reads the current files of its table by their absolute paths, since DuckDB resolves relative
#    ones from where a program was started.
# 2. It is never changed, but replaced when files have changed. Whoever has the old one open goes on with that, and the
#    files that it names stay for an hour.
# 3. Every cached series is in it; one without files yet is a view without rows.
# 4. Any DuckDB from 1.0 on opens it.


CATALOGUE = "catalog.duckdb"
#: The format of the file.
_FORMAT = "v1.0.0"


@dataclass(frozen=True, slots=True)
class CatalogueTable:
    """A table of the lake: ``name`` is the series' in lower case, with ``__old`` for old versions."""

    name: str
    note: str
    columns: tuple[LakeColumn, ...]
    files: tuple[Path, ...]


def write_catalogue(place: Path, tables: Iterable[CatalogueTable]) -> None:
    """Write a new file with a view of each table; duckdb.Error if it cannot be written."""
    with duckdb.connect(config={"threads": 1, "memory_limit": "100MB"}) as connection:
        connection.execute(f"ATTACH {quote(str(place))} AS made (STORAGE_VERSION '{_FORMAT}')")
        connection.execute("USE made")
        for table in tables:
            schema, _, name = table.name.partition(".")
            full = f"{quoted(schema)}.{quoted(name)}"
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            connection.execute(f"CREATE VIEW {full} AS {_select(table)}")
            connection.execute(f"COMMENT ON VIEW {full} IS {quote(table.note)}")
        connection.execute("USE memory")
        connection.execute("DETACH made")


def _select(table: CatalogueTable) -> str:
    if table.files:
        return f"SELECT * FROM read_parquet([{', '.join(quote(str(file)) for file in table.files)}])"
    columns = ", ".join(f"NULL::{c.type} AS {quoted(c.name)}" for c in table.columns)
    return f"SELECT {columns} WHERE false"
