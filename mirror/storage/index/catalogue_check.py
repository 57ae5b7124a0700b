"""Checking the index's own tables: that they can be read, and speak of series that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.coverage.coverage import AHEAD, Coverage
from mirror.storage.index.layout import quoted
from mirror.storage.index.salvage import reads, rebuild, unreadable

if TYPE_CHECKING:
    from mirror.storage.database.database import Cursor, Tables

#: Tables that tell of the past, and on which nothing rests.
_EXPENDABLE = frozenset({"usage", "findings", "checked_days", "checks", "quarantine"})


def unreadable_tables(cursor: Cursor) -> list[str]:
    """The tables of the mirror's own that have a damaged block."""
    sql = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'mirror' ORDER BY table_name"
    names = [row[0] for row in cursor.execute(sql).fetchall()]
    return [
        n for n in names if not reads(cursor, f"SELECT bit_xor(hash(COLUMNS(*))) FROM mirror.{quoted(n)}")
    ]


async def save(tables: Tables, name: str) -> bool:
    """Write one of these tables anew without what cannot be read; False for one of which no row may be missing."""
    if name not in _EXPENDABLE:
        return False
    table = f"mirror.{quoted(name)}"
    # By itself: to meet a damaged block ends a transaction.
    ranges = await tables.read(lambda c: unreadable(c, table))
    await tables.write(lambda c: rebuild(c, table, ranges))
    return True


def drop_strangers(cursor: Cursor) -> list[tuple[str, int]]:
    """Delete rows about series that nobody knows, and spans that are none; what was deleted, and how much."""
    unknown = "series NOT IN (SELECT lower(name) FROM mirror.series)"
    conditions = {
        "coverage": f"{unknown} OR lo > hi OR step < 1 OR NOT json_valid(region)",
        "keysets": unknown,
        "precision": unknown,
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
