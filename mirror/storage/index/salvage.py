"""The index's tables, checked, and saved as far as they can still be read.

A block holds a stretch of one column, so that most columns of the records in it can still be read: they
tell which records are lost. The table is written again from the stretches that read whole.

Checking the index's own tables: that they can be read, and speak of series that there are.
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

#: DuckDB reads so many rows at a time.
VECTOR = 2048
#: Rows that are looked at in one go.
_STRETCH = 60 * VECTOR

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Loss:
    """What is lost of a table: rows from ``lo`` up to but not including ``hi``, and which records these were."""

    ranges: tuple[Range, ...]
    records: AffectedRecords


def unreadable(cursor: Cursor, table: str) -> tuple[Range, ...]:
    """The stretches of rows that do not read whole, in order; each begins and ends with what DuckDB reads at once."""
    found: list[Range] = []
    for lo in range(0, rows_of(cursor, table), _STRETCH):
        found += _narrowed(cursor, table, lo, lo + _STRETCH)
    return tuple(_joined(found))


def rows_of(cursor: Cursor, table: str) -> int:
    """One more than the number of the last row."""
    ((rows,),) = cursor.execute(f"SELECT coalesce(max(rowid), -1) + 1 FROM {table}").fetchall()
    return int(rows)


def loss(cursor: Cursor, layout: Layout, table: str) -> Loss:
    """What of a table cannot be read, and which records that are."""
    ranges = unreadable(cursor, table)
    return Loss(ranges, affected_by(layout, [_told(cursor, layout, table, r) for r in ranges]))


def rebuild(cursor: Cursor, table: str, ranges: tuple[Range, ...]) -> None:
    """Write a table again  without the rows of ``ranges``, inside the caller's transaction."""
    namespace, _, name = table.partition(".")
    spare = f"{namespace}.{quoted('being saved')}"
    cursor.execute(f"CREATE TABLE {spare} AS FROM {table} LIMIT 0")
    for lo, hi in _between(ranges, rows_of(cursor, table)):
        cursor.execute(f"INSERT INTO {spare} SELECT * FROM {table} WHERE rowid >= {lo} AND rowid < {hi}")
    cursor.execute(f"DROP TABLE {table}")
    cursor.execute(f"ALTER TABLE {spare} RENAME TO {name}")


def reads(cursor: Cursor, sql: str) -> bool:
    """True if a query meets no damaged block; raises what else is wrong with it."""
    try:
        cursor.execute(sql).fetchall()
    except duckdb.Error as error:
        if not is_damage(error):
            raise
        return False
    return True


def _narrowed(cursor: Cursor, table: str, lo: int, hi: int) -> list[Range]:
    # Each value must be looked at: how many there are is known without them.
    looked_at = f"SELECT bit_xor(hash(COLUMNS(*))) FROM {table} WHERE rowid >= {lo} AND rowid < {hi}"
    if reads(cursor, looked_at):
        return []
    if hi - lo <= VECTOR:
        return [(lo, hi)]
    middle = lo + (hi - lo) // (2 * VECTOR) * VECTOR
    return _narrowed(cursor, table, lo, middle) + _narrowed(cursor, table, middle, hi)


def _joined(ranges: list[Range]) -> Iterator[Range]:
    """Stretches that touch, as one."""
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
    """The numbers of records, and their spans on the axis; None for what cannot be read either."""
    where = f"FROM {table} WHERE rowid >= {rows[0]} AND rowid < {rows[1]}"
    numbers, spans = f"SELECT recnum {where}", f"SELECT DISTINCT {spans_sql(layout.series)} {where}"
    recnums = [row[0] for row in cursor.execute(numbers).fetchall()] if reads(cursor, numbers) else None
    found = cursor.execute(spans).fetchall() if reads(cursor, spans) else [(None, None)]
    return recnums, None if any(None in row for row in found) else [(lo, hi) for lo, hi in found]


#: Tables that tell of the past, and on which nothing rests; and answers, which are asked for again.
_EXPENDABLE = frozenset({"answers", "usage", "findings", "checked_days", "checks", "quarantine"})


def unreadable_tables(cursor: Cursor) -> list[str]:
    """The tables of the mirror's own that have a damaged block."""
    sql = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'mirror' ORDER BY table_name"
    names = [row[0] for row in cursor.execute(sql).fetchall()]
    return [
        n for n in names if not reads(cursor, f"SELECT bit_xor(hash(COLUMNS(*))) FROM mirror.{quoted(n)}")
    ]


async def save(tables: Tables, name: str) -> bool:
    """Write one of these tables again  without what cannot be read; False for one of which no row may be missing."""
    if name not in _EXPENDABLE:
        return False
    table = f"mirror.{quoted(name)}"
    # By itself: to meet a damaged block ends a transaction.
    ranges = await tables.read(lambda c: unreadable(c, table))
    await tables.write(lambda c: rebuild(c, table, ranges))
    return True


_KINDS = ", ".join(f"'{kind.value}'" for kind in AnswerKind)


def drop_strangers(cursor: Cursor) -> list[tuple[str, int]]:
    """Delete rows about series that nobody knows, and spans that are none; what was deleted, and how much."""
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
    """True if a check is dated after now: a clock was wrong, and the span would never be checked again."""
    return any(span.checked_at > now + AHEAD for _, spans in coverage for span in spans)


def dated_back(coverage: Coverage, now: float) -> Coverage:
    """The same coverage; what is dated after now was never checked."""
    return coverage.redated(lambda at: 0.0 if at > now + AHEAD else at)
