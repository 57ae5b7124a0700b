"""What each server counts, added up: what was asked of JSOC, for the budget of all, and who used how much.

Each server has rows of its own, which hold its totals and never what was added: telling them twice changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mirror.api.access import UsageLine
from mirror.upstream.budget import PARTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.cluster.database import ClusterDatabase
    from mirror.upstream.budget import Budget

#: Words about the budget after which the others' are heard although this server has asked JSOC for nothing.
HEARD = 5
#: Days of usage that are kept.
DAYS = 400


class Tallies:
    """Tells the others what is counted here, and hears what they count."""

    def __init__(self, database: ClusterDatabase, budget: Budget | None) -> None:
        self._database = database
        self._budget = budget
        self._told: dict[str, dict[int, int]] = {}
        self._since = 0

    def begin_again(self) -> None:
        """Tell all of it: it may be another PostgreSQL."""
        self._told, self._since = {}, HEARD

    # ---- the budget ------------------------------------------------------------------------------

    async def exchange(self) -> None:
        """What is asked of JSOC counts for all: to be called every second."""
        if self._budget is None:
            return
        mine = {kind: dict(parts) for kind, parts in self._budget.state().items()}
        news = [
            (self._database.name, kind, part, amount)
            for kind, parts in mine.items()
            for part, amount in parts.items()
            if self._told.get(kind, {}).get(part) != amount
        ]
        self._since += 1
        if not news and self._since < HEARD:
            return
        async with self._database.transaction() as cursor:
            if news:
                await cursor.executemany(
                    "INSERT INTO used (server, kind, part, amount) VALUES (%s, %s, %s, %s) "
                    "ON CONFLICT (kind, part, server) DO UPDATE SET amount = excluded.amount",
                    news,
                )
                for kind, parts in mine.items():
                    oldest = max(parts, default=0) - 2 * PARTS
                    await cursor.execute("DELETE FROM used WHERE kind = %s AND part < %s", (kind, oldest))
            sql = "SELECT kind, part, sum(amount)::BIGINT FROM used WHERE server <> %s GROUP BY kind, part"
            await cursor.execute(sql, (self._database.name,))
            others: dict[str, dict[int, int]] = {}
            for kind, part, amount in await cursor.fetchall():
                others.setdefault(kind, {})[part] = amount
        self._budget.share(others)
        self._told, self._since = mine, 0

    # ---- who used how much -----------------------------------------------------------------------

    async def tell(self, lines: Sequence[UsageLine]) -> None:
        """These are the totals of their days and people, at this server."""
        if not lines:
            return
        newest = datetime.strptime(max(line.day for line in lines), "%Y-%m-%d").replace(tzinfo=UTC)
        oldest = (newest - timedelta(days=DAYS)).strftime("%Y-%m-%d")
        sql = (
            "INSERT INTO usage (server, day, who, requests, records, bytes, upstream_bytes) "
            "SELECT %s, * FROM unnest(%s::TEXT[], %s::TEXT[], %s::BIGINT[], %s::BIGINT[], %s::BIGINT[], %s::BIGINT[]) "
            # A store that was wiped counts from nothing.
            "ON CONFLICT (day, server, who) DO UPDATE SET requests = greatest(usage.requests, excluded.requests), "
            "records = greatest(usage.records, excluded.records), bytes = greatest(usage.bytes, excluded.bytes), "
            "upstream_bytes = greatest(usage.upstream_bytes, excluded.upstream_bytes)"
        )
        names = ("day", "who", "requests", "records", "bytes", "upstream_bytes")
        async with self._database.transaction() as cursor:
            await cursor.execute(sql, (self._database.name, *([getattr(line, n) for line in lines] for n in names)))
            await cursor.execute("DELETE FROM usage WHERE day < %s", (oldest,))

    async def others(self, since: str) -> list[UsageLine]:
        """What people used at the other servers, from a day on."""
        sql = (
            "SELECT day, who, sum(requests)::BIGINT, sum(records)::BIGINT, sum(bytes)::BIGINT, sum(upstream_bytes)::BIGINT "
            "FROM usage WHERE server <> %s AND day >= %s GROUP BY day, who"
        )
        async with self._database.transaction() as cursor:
            await cursor.execute(sql, (self._database.name, since))
            return [
                UsageLine(day=day, who=who, requests=requests, records=records, bytes=count, upstream_bytes=upstream)
                for day, who, requests, records, count, upstream in await cursor.fetchall()
            ]
