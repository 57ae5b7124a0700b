"""Who used the mirror how much, a row a day and address: added to in batches, and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.storage.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.storage.database import Cursor, Database

#: Addresses of a day that are told apart; what comes on top counts as ``OTHERS``.
MOST = 5_000
OTHERS = "others"
#: Days that are kept.
DAYS = 400

_SELECT = "SELECT day, who, requests, records, bytes, upstream_bytes FROM mirror.usage"


@dataclass(frozen=True, slots=True)
class Used:
    """Requests, records told, bytes sent, and bytes that JSOC had to send for it."""

    requests: int = 0
    records: int = 0
    bytes: int = 0
    upstream_bytes: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(
            self.requests + other.requests,
            self.records + other.records,
            self.bytes + other.bytes,
            self.upstream_bytes + other.upstream_bytes,
        )


Key = tuple[str, str]  #: day and who


def added(used: dict[Key, Used], key: Key, more: Used, most: int = MOST) -> None:
    """Add to what somebody used on a day; a new name beyond ``most`` of them counts as one of the others."""
    if key not in used and len(used) >= most:
        key = key[0], OTHERS
    used[key] = used.get(key, Used()) + more


class UsageTable:
    """The rows of usage."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)

    async def add(self, used: Mapping[Key, Used], *, oldest: str) -> None:
        """Add what was used to what is known of these days, and forget days before ``oldest``."""

        def work(cursor: Cursor) -> None:
            for day in {day for day, _ in used}:
                _merge(cursor, day, [(who, u) for (d, who), u in used.items() if d == day])
            cursor.execute("DELETE FROM mirror.usage WHERE day < ?", [oldest])

        if used:
            await self._tables.write(work)

    async def since(self, day: str) -> list[tuple[str, str, Used]]:
        """Day, who, and how much, from a day on; the newest day and whoever used most come first."""
        sql = f"{_SELECT} WHERE day >= ? ORDER BY day DESC, bytes DESC, who"
        rows = await self._tables.read(lambda c: c.execute(sql, [day]).fetchall())
        return [(row[0], row[1], Used(*row[2:])) for row in rows]


def _merge(cursor: Cursor, day: str, used: Iterable[tuple[str, Used]]) -> None:
    known: dict[Key, Used] = {
        (row[0], row[1]): Used(*row[2:])
        for row in cursor.execute(f"{_SELECT} WHERE day = ?", [day]).fetchall()
    }
    for who, more in used:
        added(known, (day, who), more)
    cursor.execute("DELETE FROM mirror.usage WHERE day = ?", [day])
    names = [who for _, who in known]
    columns = [
        [getattr(u, n) for u in known.values()] for n in ("requests", "records", "bytes", "upstream_bytes")
    ]
    sql = "INSERT INTO mirror.usage SELECT ?, unnest(?::VARCHAR[])" + ", unnest(?::BIGINT[])" * 4
    cursor.execute(sql, [day, names, *columns])
