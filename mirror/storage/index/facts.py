"""Small answers that are kept whole; every function works inside the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.storage.database.database import Cursor


def find_fact(cursor: Cursor, kind: str, key: str) -> tuple[str, float] | None:
    """The answer, and when it was fetched."""
    sql = "SELECT value, fetched_at FROM mirror.facts WHERE kind = ? AND key = ?"
    return cursor.execute(sql, [kind, key]).fetchone()


def put_fact(cursor: Cursor, kind: str, key: str, value: str, fetched_at: float) -> None:
    """Keep an answer in place of an earlier one."""
    cursor.execute("DELETE FROM mirror.facts WHERE kind = ? AND key = ?", [kind, key])
    cursor.execute("INSERT INTO mirror.facts VALUES (?, ?, ?, ?)", [kind, key, value, fetched_at])


def facts_of(cursor: Cursor, kind: str) -> list[str]:
    """All answers of a kind."""
    rows = cursor.execute("SELECT value FROM mirror.facts WHERE kind = ? ORDER BY key", [kind]).fetchall()
    return [row[0] for row in rows]


def drop_fact(cursor: Cursor, kind: str, key: str) -> None:
    """Keep an answer no longer."""
    cursor.execute("DELETE FROM mirror.facts WHERE kind = ? AND key = ?", [kind, key])
