"""Structures in the index: the tables and key sets of a series, and how both follow when its structure changes.

The column of a keyword with a new type is computed again from ``_raw``, which has everything that the records
print. All functions work inside the caller's transaction.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror.storage.index.layout import SEPARATOR, Layout, Tolerance, TypedColumn, quoted, tolerance
from mirror.storage.index.rows import typed_values
from mirror.wire.structure import encode_series_struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.storage.database.database import Cursor

_BATCH = "incoming_column"


def all_tables(cursor: Cursor) -> set[str]:
    """The qualified names of all tables; a series has its tables once records of it were kept."""
    rows = cursor.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()").fetchall()
    return {name for (name,) in rows}


def store_series(
    cursor: Cursor, layout: Layout, keyset: int, fetched_at: float, *, is_new: bool
) -> dict[str, Tolerance]:
    """Store a structure and the key set of its new rows, and bring the tables up to date with it.

    Returns the tolerances of columns that were computed again. A series that ``is_new`` has no tables.
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
    """Store the fields of the rows with this key set."""
    cursor.execute(
        "INSERT INTO mirror.keysets VALUES (?, ?, ?)", [number, series.lower(), json.dumps(fields)]
    )


def fields_of(text: str) -> tuple[str, ...]:
    """The fields of a key set; none if it is unreadable, so that its rows lack all."""
    try:
        names = json.loads(text)
    except ValueError:
        return ()
    whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if whole else ()


def narrow_keysets(cursor: Cursor, layout: Layout) -> tuple[int, ...]:
    """The key sets of a series that lack one of its fields."""
    sql = "SELECT id, fields FROM mirror.keysets WHERE series = ?"
    rows = cursor.execute(sql, [layout.series.name.lower()]).fetchall()
    return tuple(number for number, fields in rows if not layout.is_whole(fields_of(fields)))


def find_keyset(cursor: Cursor, series: str, fields: Sequence[str]) -> int | None:
    """The number of the key set of a series that has these fields, or None."""
    sql = "SELECT id FROM mirror.keysets WHERE series = ? AND fields = ?"
    row = cursor.execute(sql, [series.lower(), json.dumps(fields)]).fetchone()
    return None if row is None else int(row[0])


def add_tolerances(cursor: Cursor, layout: Layout, tolerances: dict[str, Tolerance]) -> None:
    """Add tolerances. Rows are never changed and the widest counts, so that no concurrent write is lost."""
    if tolerances:
        columns = zip(*((keyword, t.absolute, t.relative) for keyword, t in tolerances.items()), strict=True)
        sql = "INSERT INTO mirror.precision SELECT ?, unnest(?::VARCHAR[]), unnest(?::DOUBLE[]), unnest(?::DOUBLE[])"
        cursor.execute(sql, [layout.series.name.lower(), *map(list, columns)])


def _follow(cursor: Cursor, layout: Layout, table: str) -> Iterator[tuple[str, Tolerance]]:
    """Give a table the structure's columns with their types; yields the tolerances of recomputed ones."""
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
    for keyset, position in _keyset_positions(cursor, layout, column.keyword):
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


def _keyset_positions(cursor: Cursor, layout: Layout, keyword: str) -> list[tuple[int, int]]:
    """The key sets that have a keyword, and its position in each."""
    sql = "SELECT id, fields FROM mirror.keysets WHERE series = ?"
    rows = [(n, fields_of(text)) for n, text in cursor.execute(sql, [layout.series.name.lower()]).fetchall()]
    return [(keyset, fields.index(keyword)) for keyset, fields in rows if keyword in fields]
