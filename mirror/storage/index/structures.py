"""Structures of series as they are kept, and tables that follow when a structure changes.

A keyword whose type changed gets its column anew from what the records print: ``_raw`` has it all.
Every function works inside the caller's transaction.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror.storage.index.layout import SEPARATOR, Layout, TypedColumn, quoted
from mirror.storage.index.precision import Tolerance, tolerance
from mirror.storage.index.rows import typed_values
from mirror.wire.structure import encode_series_struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.storage.database.database import Cursor

_BATCH = "incoming_column"


def all_tables(cursor: Cursor) -> set[str]:
    """The qualified names of all tables: those of a series are there if records of it were ever kept."""
    rows = cursor.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()").fetchall()
    return {name for (name,) in rows}


def store_series(
    cursor: Cursor, layout: Layout, keyset: int, fetched_at: float, *, is_new: bool
) -> dict[str, Tolerance]:
    """Write down a structure and the key set of its new rows, and bring the tables up to it.

    Gives the tolerances of columns that were made anew. A series that ``is_new`` has no tables.
    """
    name = layout.series.name
    text = encode_series_struct(layout.series, runtime=0.0).decode("latin-1")
    cursor.execute("DELETE FROM mirror.series WHERE lower(name) = ?", [name.lower()])
    cursor.execute("INSERT INTO mirror.series VALUES (?, ?, ?)", [name, text, fetched_at])
    if cursor.execute("SELECT 1 FROM mirror.keysets WHERE id = ?", [keyset]).fetchone() is None:
        store_keyset(cursor, name, keyset, layout.fields)
    widened: dict[str, Tolerance] = {}
    if not is_new and name.lower() in all_tables(cursor):
        for table in (layout.table, layout.old_table):
            for column, t in _follow(cursor, layout, table):
                widened[column] = widened.get(column, Tolerance()) | t
    add_tolerances(cursor, layout, widened)
    return widened


def store_keyset(cursor: Cursor, series: str, number: int, fields: Sequence[str]) -> None:
    """Write down what the fields of the rows with this key set are."""
    cursor.execute(
        "INSERT INTO mirror.keysets VALUES (?, ?, ?)", [number, series.lower(), json.dumps(fields)]
    )


def narrow_keysets(cursor: Cursor, layout: Layout) -> tuple[int, ...]:
    """The key sets of a series that lack one of its fields."""
    sql = "SELECT id, fields FROM mirror.keysets WHERE series = ?"
    rows = cursor.execute(sql, [layout.series.name.lower()]).fetchall()
    return tuple(number for number, fields in rows if not layout.is_whole(json.loads(fields)))


def find_keyset(cursor: Cursor, series: str, fields: Sequence[str]) -> int | None:
    """The number of the key set of a series that has these fields, or None."""
    sql = "SELECT id FROM mirror.keysets WHERE series = ? AND fields = ?"
    row = cursor.execute(sql, [series.lower(), json.dumps(fields)]).fetchone()
    return None if row is None else int(row[0])


def add_tolerances(cursor: Cursor, layout: Layout, tolerances: dict[str, Tolerance]) -> None:
    """Rows are only added, the widest counts: of two answers that are kept at a time none is lost."""
    if tolerances:
        columns = zip(*((keyword, t.absolute, t.relative) for keyword, t in tolerances.items()), strict=True)
        sql = "INSERT INTO mirror.precision SELECT ?, unnest(?::VARCHAR[]), unnest(?::DOUBLE[]), unnest(?::DOUBLE[])"
        cursor.execute(sql, [layout.series.name.lower(), *map(list, columns)])


def _follow(cursor: Cursor, layout: Layout, table: str) -> Iterator[tuple[str, Tolerance]]:
    """Give a table the columns of the structure, each of its type; the tolerances of those made anew."""
    have = {row[0].lower(): row[1] for row in cursor.execute(f"DESCRIBE {table}").fetchall()}
    for column in layout.columns:
        if column.name not in have:
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN {quoted(column.name)} {column.sql_type}")
        elif have[column.name] != column.sql_type:
            for t in _retyped(cursor, layout, table, column):
                yield column.name, t


def _retyped(cursor: Cursor, layout: Layout, table: str, column: TypedColumn) -> Iterator[Tolerance]:
    name, kind = quoted(column.name), column.sql_type
    cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET DATA TYPE {kind} USING NULL::{kind}")
    for keyset, position in _positions(cursor, layout, column.keyword):
        part = f"split_part(_raw, chr({ord(SEPARATOR)}), {position + 1})"
        rows = cursor.execute(f"SELECT recnum, {part} FROM {table} WHERE _keyset = {keyset}").fetchall()
        texts: Sequence[str] = [text for _, text in rows]
        if not rows:
            continue
        values = pa.table({"recnum": [n for n, _ in rows], "value": typed_values(column, texts)})
        cursor.register(_BATCH, values)
        try:
            cursor.execute(
                f"UPDATE {table} SET {name} = new.value FROM {_BATCH} new WHERE {table}.recnum = new.recnum"
            )
        finally:
            cursor.unregister(_BATCH)
        if column.inexact:
            yield tolerance(column, texts)


def _positions(cursor: Cursor, layout: Layout, keyword: str) -> list[tuple[int, int]]:
    """The key sets that have a keyword, and where."""
    sql = "SELECT id, fields FROM mirror.keysets WHERE series = ?"
    rows = [(n, json.loads(text)) for n, text in cursor.execute(sql, [layout.series.name.lower()]).fetchall()]
    return [(keyset, fields.index(keyword)) for keyset, fields in rows if keyword in fields]
