"""Checks that the tables of the index can be read, and saves what is still readable of damaged ones.

A DuckDB block holds a stretch of one column, so the other columns of the same records usually still read: they
identify the lost records. A damaged table is written again from the stretches that read completely.

The mirror's own tables are checked in the same way, and for rows about series that do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from mirror.coverage.coverage import AHEAD, Coverage
from mirror.storage.database.index_file import is_damage
from mirror.storage.index.affected import AffectedRecords, affected_by, spans_sql
from mirror.storage.index.answers import AnswerKind
from mirror.storage.index.layout import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.storage.database.database import Cursor, Tables
    from mirror.storage.index.layout import Layout

#: Rows that DuckDB reads at a time.
VECTOR = 2048
#: Rows that one statement looks at.
_STRETCH = 60 * VECTOR

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a table has lost: rows from ``lo`` up to but not including ``hi``, and which records they were."""

    ranges: tuple[Range, ...]
    records: AffectedRecords


def unreadable(cursor: Cursor, table: str) -> tuple[Range, ...]:
    """The stretches of rows that cannot be read completely, in order, in whole units of what DuckDB reads at a time."""
    found: list[Range] = []
    for lo in range(0, rows_of(cursor, table), _STRETCH):
        found += _narrowed(cursor, table, lo, lo + _STRETCH)
    return tuple(_joined(found))


def rows_of(cursor: Cursor, table: str) -> int:
    """One more than the number of the last row."""
    ((rows,),) = cursor.execute(f"SELECT coalesce(max(rowid), -1) + 1 FROM {table}").fetchall()
    return int(rows)


def loss(cursor: Cursor, layout: Layout, table: str) -> Loss:
    """The rows of a table that cannot be read, and which records they are."""
    ranges = unreadable(cursor, table)
    return Loss(ranges, affected_by(layout, [_told(cursor, layout, table, r) for r in ranges]))


def rebuild(cursor: Cursor, table: str, ranges: tuple[Range, ...]) -> None:
    """Write a table again without the rows of ``ranges``, inside the caller's transaction."""
    namespace, _, name = table.partition(".")
    spare = f"{namespace}.{quoted('being saved')}"
    cursor.execute(f"CREATE TABLE {spare} AS FROM {table} LIMIT 0")
    for lo, hi in _between(ranges, rows_of(cursor, table)):
        cursor.execute(f"INSERT INTO {spare} SELECT * FROM {table} WHERE rowid >= {lo} AND rowid < {hi}")
    cursor.execute(f"DROP TABLE {table}")
    cursor.execute(f"ALTER TABLE {spare} RENAME TO {name}")


def reads(cursor: Cursor, sql: str) -> bool:
    """True if a query meets no damaged block; any other error is raised."""
    try:
        cursor.execute(sql).fetchall()
    except duckdb.Error as error:
        if not is_damage(error):
            raise
        return False
    return True


def _narrowed(cursor: Cursor, table: str, lo: int, hi: int) -> list[Range]:
    # Hash the values: DuckDB can count rows without reading them.
    looked_at = f"SELECT bit_xor(hash(COLUMNS(*))) FROM {table} WHERE rowid >= {lo} AND rowid < {hi}"
    if reads(cursor, looked_at):
        return []
    if hi - lo <= VECTOR:
        return [(lo, hi)]
    middle = lo + (hi - lo) // (2 * VECTOR) * VECTOR
    return _narrowed(cursor, table, lo, middle) + _narrowed(cursor, table, middle, hi)


def _joined(ranges: list[Range]) -> Iterator[Range]:
    """The stretches, adjacent ones joined."""
    at: Range | None = None
    for lo, hi in ranges:
        if at is not None and at[1] != lo:
            yield at
            at = None
        at = (lo, hi) if at is None else (at[0], hi)
    if at is not None:
        yield at


def _between(ranges: tuple[Range, ...], end: int) -> Iterator[Range]:
    start = 0
    for lo, hi in (*ranges, (end, end)):
        if start < lo:
            yield start, min(lo, end)
        start = hi


def _told(
    cursor: Cursor, layout: Layout, table: str, rows: Range
) -> tuple[list[int] | None, list[Range] | None]:
    """Record numbers, and their spans on the axis; None for whichever cannot be read either."""
    where = f"FROM {table} WHERE rowid >= {rows[0]} AND rowid < {rows[1]}"
    numbers, spans = f"SELECT recnum {where}", f"SELECT DISTINCT {spans_sql(layout.series)} {where}"
    recnums = [row[0] for row in cursor.execute(numbers).fetchall()] if reads(cursor, numbers) else None
    found = cursor.execute(spans).fetchall() if reads(cursor, spans) else [(None, None)]
    return recnums, None if any(None in row for row in found) else [(lo, hi) for lo, hi in found]


#: Tables of history on which nothing depends, and of answers, which can be asked for again.
_EXPENDABLE = frozenset({"answers", "usage", "findings", "checked_days", "checks", "quarantine"})


def unreadable_tables(cursor: Cursor) -> list[str]:
    """The mirror's own tables that have a damaged block."""
    sql = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'mirror' ORDER BY table_name"
    names = [row[0] for row in cursor.execute(sql).fetchall()]
    return [
        n for n in names if not reads(cursor, f"SELECT bit_xor(hash(COLUMNS(*))) FROM mirror.{quoted(n)}")
    ]


async def save(tables: Tables, name: str) -> bool:
    """Write one of these tables again without what cannot be read; False if the table must not lose rows."""
    if name not in _EXPENDABLE:
        return False
    table = f"mirror.{quoted(name)}"
    # In a transaction of its own: meeting a damaged block ends it.
    ranges = await tables.read(lambda c: unreadable(c, table))
    await tables.write(lambda c: rebuild(c, table, ranges))
    return True


_KINDS = ", ".join(f"'{kind.value}'" for kind in AnswerKind)


def drop_strangers(cursor: Cursor) -> list[tuple[str, int]]:
    """Delete rows about unknown series, and invalid spans. Returns what was deleted, and how many rows."""
    unknown = "series NOT IN (SELECT lower(name) FROM mirror.series)"
    conditions = {
        "coverage": f"{unknown} OR lo > hi OR step < 1 OR NOT json_valid(region)",
        "keysets": unknown,
        "precision": unknown,
        "answers": f"{unknown} OR NOT json_valid(spans) OR kind NOT IN ({_KINDS})",
    }
    found = []
    for table, condition in conditions.items():
        row = cursor.execute(f"SELECT count(*) FROM mirror.{table} WHERE {condition}").fetchone()
        if row and row[0]:
            cursor.execute(f"DELETE FROM mirror.{table} WHERE {condition}")
            found.append((table, row[0]))
    return found


def checked_in_future(coverage: Coverage, now: float) -> bool:
    """True if a check is dated in the future: a clock was wrong, and the span would never be checked again."""
    return any(span.checked_at > now + AHEAD for _, spans in coverage for span in spans)


def dated_back(coverage: Coverage, now: float) -> Coverage:
    """The same coverage, with checks dated in the future marked as never made."""
    return coverage.redated(lambda at: 0.0 if at > now + AHEAD else at)
