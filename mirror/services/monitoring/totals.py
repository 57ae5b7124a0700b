"""How many files a store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.storage.database.database import Tables

if TYPE_CHECKING:
    from mirror.storage.database.database import Database


class Totals:
    """Counts rows of the store."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)

    async def files(self) -> int:
        """How many blobs there are."""
        row = await self._tables.read(lambda c: c.execute("SELECT count(*) FROM mirror.blobs").fetchone())
        return int(row[0]) if row else 0

    async def adopted(self) -> int:
        """How many adopted exports there are."""
        row = await self._tables.read(lambda c: c.execute("SELECT count(*) FROM mirror.adopted").fetchone())
        return int(row[0]) if row else 0

    async def jobs(self) -> dict[str, int]:
        """How many exports there are in each state."""
        sql = "SELECT state, count(*) FROM mirror.jobs GROUP BY state ORDER BY state"
        return dict(await self._tables.read(lambda c: c.execute(sql).fetchall()))

    async def by_series(self) -> dict[str, tuple[int, int]]:
        """Segment files and their bytes of each series, by lower-case name; what records share counts for each."""
        sql = (
            "SELECT series, count(*), sum(size)::BIGINT FROM mirror.holdings JOIN mirror.blobs USING (head, sha256) "
            "WHERE series IS NOT NULL GROUP BY series"
        )
        found = await self._tables.read(lambda c: c.execute(sql).fetchall())
        return {name: (count, size) for name, count, size in found}
