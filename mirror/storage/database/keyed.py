"""Tables of small answers that are kept whole: a key, a text, and when it was noted.

Each such table (most are in ``schema/0015_facts.sql``) has one owner, the module that makes its ``KeyedTable`` and
alone writes to it. Others go through that owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.storage.database.database import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mirror.storage.database.database import Cursor, Database

#: A row: its key, its text, and when it was noted in Unix seconds.
Kept = tuple[str, str, float]


class KeyedTable:
    """One table; methods that take a cursor work in the caller's transaction, the others in one of their own."""

    def __init__(self, database: Database, name: str) -> None:
        self._tables = Tables(database)
        self._table = f"mirror.{name}"
        #: Called with what was put, to share it.
        self.on_put: Callable[[str, str, float], None] | None = None

    async def get(self, key: str) -> tuple[str, float] | None:
        """The text of a key, and when it was noted."""
        return await self._tables.read(lambda cursor: self._find(cursor, key))

    async def rows(self, keys: Iterable[str] | None = None) -> list[Kept]:
        """The rows of these keys, or all rows, in the order of their keys."""
        where, values = ("", []) if keys is None else ("WHERE key IN (SELECT unnest(?::VARCHAR[]))", [list(keys)])
        sql = f"SELECT key, value, noted_at FROM {self._table} {where} ORDER BY key"
        return await self._tables.read(lambda cursor: cursor.execute(sql, values).fetchall())

    async def put(self, key: str, value: str, noted_at: float) -> None:
        """Keep a text in place of an earlier one."""
        await self._tables.write(lambda cursor: self.write(cursor, key, value, noted_at))
        if self.on_put is not None:
            self.on_put(key, value, noted_at)

    async def put_newer(self, key: str, value: str, noted_at: float) -> None:
        """Keep a text unless the present one was noted then or later."""

        def work(cursor: Cursor) -> None:
            before = self._find(cursor, key)
            if before is None or before[1] < noted_at:
                self.write(cursor, key, value, noted_at)

        await self._tables.write(work)

    def _find(self, cursor: Cursor, key: str) -> tuple[str, float] | None:
        sql = f"SELECT value, noted_at FROM {self._table} WHERE key = ?"
        return cursor.execute(sql, [key]).fetchone()

    def write(self, cursor: Cursor, key: str, value: str, noted_at: float) -> None:
        """Keep a text in place of an earlier one."""
        self.drop(cursor, key)
        cursor.execute(f"INSERT INTO {self._table} VALUES (?, ?, ?)", [key, value, noted_at])

    def drop(self, cursor: Cursor, key: str) -> None:
        """Delete a key."""
        cursor.execute(f"DELETE FROM {self._table} WHERE key = ?", [key])
