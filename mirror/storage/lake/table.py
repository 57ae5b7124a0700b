"""The table of the lake's files, and what is counted to see whether they are still right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from mirror.storage.index.layout import quoted
from mirror.storage.lake.parquet import ALL, Print, bounds, month_of, together

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.storage.database.database import Cursor


class Sealed(NamedTuple):
    """A file of the lake: a month of a table, what it holds, and what it looks like."""

    table: str
    month: str
    file: str
    shape: str
    print: Print
    bytes: int
    sha256: str


def sealed(cursor: Cursor, table: str | None = None) -> list[Sealed]:
    """The files that hold what a table holds, or all; by table and month."""
    where = "" if table is None else "WHERE series = ?"
    columns = "series, month, file, shape, records, print, bytes, sha256"
    sql = f"SELECT {columns} FROM mirror.lake {where} ORDER BY series, month"
    rows = cursor.execute(sql, [] if table is None else [table]).fetchall()
    return [
        Sealed(t, m, file, shape, Print(n, int(p)), size, sha) for t, m, file, shape, n, p, size, sha in rows
    ]


def note(cursor: Cursor, row: Sealed, at: float) -> None:
    """A file takes the place of that of the same month."""
    cursor.execute("DELETE FROM mirror.lake WHERE series = ? AND month = ?", [row.table, row.month])
    held = (row.print.records, str(row.print.hash))
    values = [row.table, row.month, row.file, row.shape, *held, row.bytes, at, row.sha256]
    cursor.execute("INSERT INTO mirror.lake VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def forget(cursor: Cursor, table: str, months: Iterable[str]) -> None:
    """Let nothing speak of the files of these months any more."""
    sql = "DELETE FROM mirror.lake WHERE series = ? AND month IN (SELECT unnest(?::VARCHAR[]))"
    cursor.execute(sql, [table, list(months)])


def distrust(cursor: Cursor, series: str) -> None:
    """Have all files of a series written anew: records that they hold come again, under the same numbers."""
    names = [series.lower(), f"{series.lower()}__old"]
    cursor.execute("UPDATE mirror.lake SET print = '0' WHERE list_contains(?, series)", [names])


def prints(cursor: Cursor, table: str, time: str | None) -> dict[str, Print]:
    """How many records each month of a table of the index has, and a hash of their numbers and key sets."""
    day = "NULL" if time is None else f"CAST(floor({quoted(time)} / 86400) AS INTEGER)"
    # hash(recnum, _keyset) is the exclusive or of two hashes: of an even number of records the second would vanish.
    each = "hash(xor(hash(recnum), coalesce(_keyset, 0)::UBIGINT))"
    sql = f"SELECT {day}, count(*), bit_xor({each}) FROM {table} GROUP BY ALL"
    return together(
        (month_of(day, timed=time is not None), Print(n, h)) for day, n, h in cursor.execute(sql).fetchall()
    )


def where_month(time: str | None, month: str) -> str:
    """The condition that a record belongs to a month."""
    if time is None or month == ALL:
        return "TRUE"
    column, span = quoted(time), bounds(month)
    return f"{column} IS NULL" if span is None else f"{column} >= {span[0]} AND {column} < {span[1]}"


def keysets(cursor: Cursor, series: str) -> dict[int, dict[str, int]]:
    """The position of each field in ``_raw``, for each key set of a series."""
    rows = cursor.execute("SELECT id, fields FROM mirror.keysets WHERE series = ?", [series]).fetchall()
    return {number: {field: at for at, field in enumerate(json.loads(fields))} for number, fields in rows}


def manifest(rows: Iterable[Sealed]) -> str:
    """What the lake has, as JSON for readers that are not ours: tables, and for each its files by month."""
    tables: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        file = {"file": row.file, "month": row.month, "records": row.print.records, "bytes": row.bytes}
        tables.setdefault(row.table, []).append(file | {"sha256": row.sha256})
    return json.dumps({"version": 1, "tables": tables}, indent=1)
