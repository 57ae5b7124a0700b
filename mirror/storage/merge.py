"""Merging a batch of records into the tables of its series, inside the caller's transaction.

The rule: of the records with one name (prime-key values) the one with the highest recnum is in the
series' table, the others are in its ``__old``. No table has a primary key or an index: order alone
gives the speed, and secondary indexes of DuckDB 1.5 can lose rows after a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.drms.axis import Kind, coverage_axis
from mirror.drms.plan import RECNUMS
from mirror.storage.layout import Layout, quoted
from mirror.storage.sql import box_predicate

if TYPE_CHECKING:
    import pyarrow as pa

    from mirror.drms.coverage import Box
    from mirror.drms.series import Series
    from mirror.storage.database import Cursor

_BATCH = "incoming_batch"


def create_tables(cursor: Cursor, layout: Layout) -> None:
    """The two tables of a series, if they are not there yet."""
    columns = ["recnum BIGINT", "sunum BIGINT"]
    columns += [f"{quoted(c.name)} {c.sql_type}" for c in layout.columns]
    columns += ["_keyset INTEGER", "_raw VARCHAR"]
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {layout.namespace}")
    for table in (layout.table, layout.old_table):
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})")


def add_columns(cursor: Cursor, layout: Layout) -> None:
    """Columns for keywords that the structure did not have when the tables were made."""
    for table in (layout.table, layout.old_table):
        have = {row[0].lower() for row in cursor.execute(f"DESCRIBE {table}").fetchall()}
        for column in layout.columns:
            if column.name not in have:
                cursor.execute(f"ALTER TABLE {table} ADD COLUMN {quoted(column.name)} {column.sql_type}")


def merge(cursor: Cursor, layout: Layout, rows: pa.Table | None, complete: tuple[Box, ...]) -> None:
    """Put ``rows`` where they belong, and retire what they replace or no longer are.

    In the boxes ``complete`` the rows are all there is: other records there become old versions.
    """
    within = " OR ".join(f"({box_predicate(layout.series, box)})" for box in complete)
    if rows is None:
        if within:
            _retire(cursor, layout, within)
        return
    cursor.register(_BATCH, rows)
    try:
        certain = bool(complete) and all(_finds_all(layout.series, box) for box in complete)
        if not certain or not _untouched(cursor, layout, within):
            _merge_into(cursor, layout, within)
        elif _without_versions(layout, rows):
            # In the server's order, which is that of the prime keys.
            cursor.execute(f"INSERT INTO {layout.table} BY NAME FROM {_BATCH}")
        else:
            cursor.execute(f"INSERT INTO {layout.table} BY NAME FROM {_newest(layout)}")
            cursor.execute(f"INSERT INTO {layout.old_table} BY NAME FROM {_replaced(layout)}")
    finally:
        cursor.unregister(_BATCH)


def _finds_all(series: Series, box: Box) -> bool:
    """True if the box's predicate finds whatever is held under the names of its records.

    Record numbers do not tell names, and the request for a span of plain times reaches beyond the span.
    """
    axis = coverage_axis(series)
    return box.region != RECNUMS and (axis is None or axis.kind is not Kind.MILLISECONDS)


def _untouched(cursor: Cursor, layout: Layout, within: str) -> bool:
    """True if nothing that is held can meet the batch: the usual case of a first fill."""
    sql = f"SELECT 1 FROM {layout.table} WHERE {within} LIMIT 1"
    old = f"SELECT 1 FROM {layout.old_table} WHERE {within} LIMIT 1"
    return cursor.execute(sql).fetchone() is None and cursor.execute(old).fetchone() is None


def _without_versions(layout: Layout, rows: pa.Table) -> bool:
    """True if no two rows have the same name; to tell this is much quicker than to rank them."""
    names = rows.select(layout.order).group_by(list(layout.order)).aggregate([])
    return bool(len(names) == len(rows))


def _merge_into(cursor: Cursor, layout: Layout, within: str) -> None:
    for table in (layout.table, layout.old_table):
        cursor.execute(f"DELETE FROM {table} WHERE recnum IN (SELECT recnum FROM {_BATCH})")
    if within:
        _retire(cursor, layout, within)
    same = " AND ".join(f"held.{quoted(c)} IS NOT DISTINCT FROM new.{quoted(c)}" for c in layout.order)
    newest = _newest(layout)
    older_held = f"SELECT held.recnum FROM {layout.table} held, {newest} new WHERE {same}"
    replaced = f"recnum IN ({older_held} AND held.recnum < new.recnum)"
    outdated = f"EXISTS (FROM {layout.table} held WHERE {same} AND held.recnum > new.recnum)"
    # Which of the batch are older than what is held must be known before the batch goes in.
    older = cursor.execute(f"SELECT recnum FROM {newest} new WHERE {outdated}").fetchall()
    _retire(cursor, layout, replaced)
    numbers = ", ".join(str(row[0]) for row in older) or "NULL"
    into, old = f"INSERT INTO {layout.table} BY NAME", f"INSERT INTO {layout.old_table} BY NAME"
    cursor.execute(
        f"{into} SELECT * FROM {newest} WHERE recnum NOT IN ({numbers})" if older else f"{into} FROM {newest}"
    )
    cursor.execute(f"{old} FROM {_replaced(layout)}")
    if older:
        cursor.execute(f"{old} SELECT * FROM {_BATCH} WHERE recnum IN ({numbers})")


def _retire(cursor: Cursor, layout: Layout, predicate: str) -> None:
    cursor.execute(f"INSERT INTO {layout.old_table} BY NAME SELECT * FROM {layout.table} WHERE {predicate}")
    cursor.execute(f"DELETE FROM {layout.table} WHERE {predicate}")


def _newest(layout: Layout) -> str:
    """The rows of the batch that are the newest of their name, in the batch's order."""
    keys = ", ".join(map(quoted, layout.order))
    return f"(FROM {_BATCH} QUALIFY recnum = max(recnum) OVER (PARTITION BY {keys}) ORDER BY {keys})"


def _replaced(layout: Layout) -> str:
    keys = ", ".join(map(quoted, layout.order))
    return f"(FROM {_BATCH} QUALIFY recnum < max(recnum) OVER (PARTITION BY {keys}) ORDER BY {keys})"
