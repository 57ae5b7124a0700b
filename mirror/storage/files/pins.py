"""Pins: who wants a blob to stay, and why. A job pins its files while they may be fetched, people what they like.

A pin speaks of a hash. It may be set before the blob comes, and stays when a damaged blob is taken away,
so that the content is held back again once it has been fetched anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import StorageError
from mirror.storage.database.database import Tables
from mirror.storage.disk import is_sha256
from mirror.storage.files.table import drop_old_pins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mirror.storage.database.database import Cursor, Database


@dataclass(frozen=True, slots=True)
class Pin:
    """A wish of ``owner`` ("job:JSOC_20140101_001", "person:ada"); ``until`` None: with no end."""

    sha256: str
    owner: str
    reason: str
    since: float
    until: float | None


class Pins:
    """The pins of a store; ``now`` gives Unix seconds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._tables = Tables(database)
        self._now = now

    async def pin(self, hashes: Iterable[str], owner: str, reason: str, *, until: float | None = None) -> None:
        """Hold these blobs back from eviction, until a time in Unix seconds; replaces the owner's earlier pins on them."""
        wanted = list(dict.fromkeys(hashes))
        for sha256 in wanted:
            if not is_sha256(sha256):
                raise StorageError(f"{sha256[:80]!r} names no blob; expected 64 hexadecimal digits")
        since = self._now()

        def work(cursor: Cursor) -> None:
            _delete(cursor, owner, wanted)
            drop_old_pins(cursor, since)
            sql = "INSERT INTO mirror.pins SELECT unnest(?::VARCHAR[]), ?, ?, ?, ?"
            cursor.execute(sql, [wanted, owner, reason, since, until])

        await self._tables.write(work)

    async def unpin(self, owner: str, hashes: Iterable[str] | None = None) -> int:
        """Take pins of an owner away, those on ``hashes`` or all; how many there were."""
        wanted = None if hashes is None else list(hashes)
        return await self._tables.write(lambda c: _delete(c, owner, wanted))

    async def pins(self, owner: str | None = None) -> list[Pin]:
        """The pins that hold now, of one owner or of all, oldest first."""
        sql = (
            "SELECT sha256, owner, reason, since, until FROM mirror.pins WHERE (until IS NULL OR until > ?) "
            "AND (owner = ? OR ? IS NULL) ORDER BY since, owner, sha256"
        )
        values = [self._now(), owner, owner]
        rows = await self._tables.read(lambda c: c.execute(sql, values).fetchall())
        return [Pin(*row) for row in rows]


def _delete(cursor: Cursor, owner: str, hashes: list[str] | None) -> int:
    where, values = "owner = ?", [owner]
    if hashes is not None:
        where, values = f"{where} AND sha256 IN (SELECT unnest(?::VARCHAR[]))", [owner, hashes]  # type: ignore[list-item]
    row = cursor.execute(f"SELECT count(*) FROM mirror.pins WHERE {where}", values).fetchone()
    cursor.execute(f"DELETE FROM mirror.pins WHERE {where}", values)
    return row[0] if row else 0
