"""Checks of a series' tables against what they promise. Every function works on the caller's cursor.

Names are as in ``mirror.storage.index.merge``: a series' table has one record of each name, the newest; the
others are in ``__old``. ``_raw`` has as many fields as its key set, and the typed columns hold what it parses to.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mirror.coverage.axis import coverage_axis
from mirror.storage.index.affected import AffectedRecords, affected_by, span_of, spans_sql
from mirror.storage.index.layout import SEPARATOR, column_name, quoted
from mirror.storage.index.rows import typed_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mirror.storage.database.database import Cursor
    from mirror.storage.index.layout import Layout, TypedColumn


@dataclass(frozen=True, slots=True)
class Damage:
    """Records that must go: which, what is wrong with them, and where they lie."""

    recnums: tuple[int, ...]
    problem: str
    records: AffectedRecords


def exists(cursor: Cursor, layout: Layout) -> bool:
    """True if the series has its two tables."""
    namespace, _, name = layout.series.name.lower().partition(".")
    sql = "SELECT count(*) FROM duckdb_tables() WHERE schema_name = ? AND table_name IN (?, ?)"
    return cursor.execute(sql, [namespace, name, f"{name}__old"]).fetchall() == [(2,)]


def mend_columns(cursor: Cursor, layout: Layout) -> list[str]:
    """Add missing columns; returns their names."""
    missing = set()
    for table in (layout.table, layout.old_table):
        have = {row[0].lower() for row in cursor.execute(f"DESCRIBE {table}").fetchall()}
        for column in (c for c in layout.columns if c.name not in have):
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN {quoted(column.name)} {column.sql_type}")
            missing.add(column.name)
    return sorted(missing)


def mend_versions(cursor: Cursor, layout: Layout) -> list[str]:
    """Make record numbers unique, and names unique among the newest records, without losing any; what was wrong."""
    found = [p for table in (layout.table, layout.old_table) if (p := _mend_numbers(cursor, table))]
    both = f"recnum IN (SELECT recnum FROM {layout.table})"
    if n := _count(cursor, f"FROM {layout.old_table} WHERE {both}"):
        cursor.execute(f"DELETE FROM {layout.old_table} WHERE {both}")
        found.append(f"{n} records were both the newest and old; they are the newest")
    keys = ", ".join(map(quoted, layout.order))
    older = f"SELECT recnum FROM {layout.table} QUALIFY recnum < max(recnum) OVER (PARTITION BY {keys})"
    if _count(cursor, f"FROM {layout.table} GROUP BY {keys} HAVING count(*) > 1"):
        numbers = [row[0] for row in cursor.execute(older).fetchall()]
        chosen = "list_contains(?, recnum)"
        into = f"INSERT INTO {layout.old_table} BY NAME SELECT * FROM {layout.table} WHERE {chosen}"
        cursor.execute(into, [numbers])
        cursor.execute(f"DELETE FROM {layout.table} WHERE {chosen}", [numbers])
        found.append(f"{len(numbers)} records were not the newest of their name; they are old now")
    return found


def outdone(cursor: Cursor, layout: Layout) -> Damage | None:
    """Newest records for whose name an old version has a higher number: JSOC has to say which counts."""
    keys = [quoted(c) for c in layout.order]
    same = " AND ".join(f"new.{k} IS NOT DISTINCT FROM old.{k}" for k in keys)
    highest = (
        f"(SELECT {', '.join(keys)}, max(recnum) AS top FROM {layout.old_table} GROUP BY {', '.join(keys)})"
    )
    sql = (
        f"SELECT recnum, {spans_sql(layout.series)} FROM {layout.table} new "
        f"WHERE EXISTS (FROM {highest} old WHERE {same} AND old.top > new.recnum)"
    )
    rows = cursor.execute(sql).fetchall()
    if not rows:
        return None
    spans = None if any(None in row for row in rows) else [(lo, hi) for _, lo, hi in rows]
    numbers = [row[0] for row in rows]
    return Damage(
        tuple(numbers), "an older version has a higher number", affected_by(layout, [(numbers, spans)])
    )


def damaged(
    cursor: Cursor, layout: Layout, table: str, keysets: Mapping[int, Mapping[str, int]], lo: int, hi: int
) -> tuple[int, int, list[Damage]]:
    """The number of records in rows ``lo`` up to ``hi`` of a table, their bytes, and those that are damaged."""
    rows = cursor.sql(f"SELECT * FROM {table} WHERE rowid >= {lo} AND rowid < {hi}").to_arrow_table()
    records: defaultdict[int, list[tuple[str, list[Any]]]] = defaultdict(list)
    for keyset in pc.unique(rows["_keyset"]).to_pylist():
        group = (
            rows.filter(pc.equal(rows["_keyset"], keyset))
            if keyset is not None
            else rows.filter(pc.is_null(rows["_keyset"]))
        )
        for problem, number, axis in _problems(layout, group, keysets.get(keyset)):
            records[number].append((problem, axis))
    return len(rows), rows.nbytes, list(_damages(layout, records))


def _damages(layout: Layout, records: Mapping[int, Sequence[tuple[str, list[Any]]]]) -> Iterator[Damage]:
    """Records grouped by their problem."""
    alike: defaultdict[str, list[tuple[int, list[Any]]]] = defaultdict(list)
    for number, found in records.items():
        more = f", and {len(found) - 1} more columns" if len(found) > 1 else ""
        alike[found[0][0] + more].append((number, [value for _, axis in found for value in axis]))
    for problem, those in alike.items():
        losses = [([number], _spans(layout, values)) for number, values in those]
        yield Damage(tuple(number for number, _ in those), problem, affected_by(layout, losses))


def _spans(layout: Layout, values: Iterable[Any]) -> list[tuple[int, int]] | None:
    """Where a record lies, from the values that can be read; None if there are none."""
    return [span for value in values if (span := span_of(layout.series, value)) is not None] or None


def _problems(
    layout: Layout, rows: pa.Table, fields: Mapping[str, int] | None
) -> Iterator[tuple[str, int, list[Any]]]:
    """Each problem, the record that has it, and the axis values that the record has or should have."""
    numbers, axis = rows["recnum"].to_pylist(), _axis_values(layout, rows)
    if fields is None:
        yield from (("its key set is not known", n, [a]) for n, a in zip(numbers, axis, strict=True))
        return
    texts = [raw.split(SEPARATOR) if raw is not None else [] for raw in rows["_raw"].to_pylist()]
    whole = [len(text) == len(fields) for text in texts]
    for n, a, good in zip(numbers, axis, whole, strict=True):
        if not good:
            yield "it has not the fields of its key set", n, [a]
    rows, texts = (
        rows.filter(pa.array(whole, pa.bool_())),
        [t for t, good in zip(texts, whole, strict=True) if good],
    )
    yield from _unlike(layout, rows, list(zip(*texts, strict=True)), fields)


def _unlike(
    layout: Layout, rows: pa.Table, texts: list[tuple[str, ...]], fields: Mapping[str, int]
) -> Iterator[tuple[str, int, list[Any]]]:
    """Records whose columns differ from what their printed values parse to."""
    if not texts:
        return
    numbers, stored = rows["recnum"].to_pylist(), _axis_values(layout, rows)
    axis = coverage_axis(layout.series)
    column = layout.columns_by_name.get(column_name(axis.column)) if axis else None
    read = (
        stored
        if column is None or column.keyword not in fields
        else typed_values(column, texts[fields[column.keyword]]).to_pylist()
    )
    for name, expected in _expected(layout, rows, texts, fields):
        for i in _differing(rows[name], expected):
            yield f"{name} is not what is printed", numbers[i], [stored[i], read[i]]


def _expected(
    layout: Layout, rows: pa.Table, texts: list[tuple[str, ...]], fields: Mapping[str, int]
) -> Iterator[tuple[str, pa.Array]]:
    """What each column should hold: NULL in columns that were added after the row's key set."""
    for name in ("recnum", "sunum"):
        yield name, pa.array([_whole(t) for t in texts[fields[f"*{name}*"]]], pa.int64())
    for column in layout.columns:
        if column.keyword in fields and _fits(column, rows):
            yield column.name, typed_values(column, texts[fields[column.keyword]])


def _fits(column: TypedColumn, rows: pa.Table) -> bool:
    """True if the column has the type of the current structure, which may have changed since the table was made."""
    empty = typed_values(column, ())
    return column.name in rows.column_names and rows.schema.field(column.name).type == empty.type


def _differing(stored: pa.ChunkedArray, expected: pa.Array) -> list[int]:
    held = stored.combine_chunks()
    if isinstance(held, pa.ChunkedArray):
        held = pa.concat_arrays(held.chunks)
    if held.equals(expected):
        return []
    pairs = zip(held.to_pylist(), expected.to_pylist(), strict=True)
    return [i for i, (a, b) in enumerate(pairs) if a != b and not (_is_nan(a) and _is_nan(b))]


def _axis_values(layout: Layout, rows: pa.Table) -> list[Any]:
    axis = coverage_axis(layout.series)
    name = None if axis is None else column_name(axis.column)
    return [None if axis else 0] * len(rows) if name not in rows.column_names else rows[name].to_pylist()


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _mend_numbers(cursor: Cursor, table: str) -> str | None:
    twice = f"SELECT rowid FROM {table} QUALIFY row_number() OVER (PARTITION BY recnum ORDER BY rowid) > 1"
    n = _count(cursor, f"FROM {table} GROUP BY recnum HAVING count(*) > 1")
    if n:
        cursor.execute(f"DELETE FROM {table} WHERE rowid IN ({twice})")
    return f"{n} record numbers were there more than once; one of each was kept" if n else None


def _count(cursor: Cursor, rest: str) -> int:
    ((count,),) = cursor.execute(f"SELECT count(*) FROM (SELECT 1 {rest})").fetchall()
    return int(count)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
