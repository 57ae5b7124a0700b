"""Statements that are kept under a name; names are told apart in any case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.storage.database.database import Cursor, Database


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A statement with its name, who saved it, and when, in Unix seconds."""

    name: str
    sql: str
    saved_by: str
    saved_at: float


class SavedQueries:
    """The statements that are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[SavedQuery]:
        """All of them, by name."""
        sql = "SELECT name, sql, saved_by, saved_at FROM mirror.queries ORDER BY lower(name)"
        rows = await self._database.read(lambda cursor: cursor.execute(sql).fetchall())
        return [SavedQuery(*row) for row in rows]

    async def save(self, query: SavedQuery) -> None:
        """Keep a statement, in place of the one that has its name."""

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.queries WHERE lower(name) = lower(?)", [query.name])
            values = [query.name, query.sql, query.saved_by, query.saved_at]
            cursor.execute("INSERT INTO mirror.queries VALUES (?, ?, ?, ?)", values)

        await self._database.write(work)

    async def remove(self, name: str) -> bool:
        """Forget a statement; False if there is none of that name."""
        sql = "DELETE FROM mirror.queries WHERE lower(name) = lower(?) RETURNING 1"
        return bool(await self._database.write(lambda cursor: cursor.execute(sql, [name]).fetchall()))
