"""Adds up what each server counts: requests to JSOC, for the common budget; who used how much; what quotas are left.

Each server has rows of its own, with totals and never increments, so that writing them twice changes nothing.
"""

from __future__ import annotations

from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from mirror.api.access import UsageLine
from mirror.readthrough.shared import Taken
from mirror.upstream.budget import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.cluster.database import ClusterDatabase
    from mirror.upstream.budget import Budget

#: Exchanges of the budget after which the others' counts are read even if this server has asked JSOC for nothing.
HEARD = 5
#: The columns of a token's row.
_TAKEN = "day, bytes, upstream_bytes, requests, remaining, at"
#: Exchanges of quotas without news after which the others' counts are read as rarely as for the budget.
QUIET = 300
#: Days of usage that are kept.
DAYS = 400


class Quotas(Protocol):
    """The quotas of tokens, as counted here."""

    def told(self) -> Mapping[str, Taken]:
        """What tokens have used here."""
        ...

    def heard(self, others: Mapping[tuple[str, str], Taken]) -> None:
        """Note what they have used at the other servers, by token and server."""
        ...


class Tallies:
    """Writes what is counted here, and reads what the others count."""

    def __init__(self, database: ClusterDatabase, budget: Budget | None) -> None:
        self._database = database
        self._budget = budget
        self._told: dict[str, dict[int, int]] = {}
        self._since = 0
        self.quotas: Quotas | None = None  #: set by the builder of both
        self._quotas_told: Mapping[str, Taken] = {}
        self._quotas_others: Mapping[tuple[str, str], Taken] = {}
        self._quotas_since = self._quotas_quiet = 0

    def begin_again(self) -> None:
        """Write everything again: it may be another PostgreSQL."""
        self._told, self._since = {}, HEARD
        self._quotas_told, self._quotas_since = {}, HEARD

    # ---- the budget ------------------------------------------------------------------------------

    async def exchange(self) -> None:
        """Make requests to JSOC count for all servers; to be called every second."""
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

    # ---- quotas ----------------------------------------------------------------------------------

    async def exchange_quotas(self) -> None:
        """Make what tokens use here count for all servers; to be called every second."""
        if self.quotas is None:
            return
        mine = self.quotas.told()
        news = [(name, taken) for name, taken in mine.items() if _is_more(taken, self._quotas_told.get(name))]
        self._quotas_since += 1
        self._quotas_quiet = 0 if news else self._quotas_quiet + 1
        # A client that used another server a moment ago may come here next.
        if self._quotas_since < (HEARD if self._quotas_quiet > QUIET else 1):
            return
        async with self._database.transaction() as cursor:
            if news:
                await cursor.executemany(
                    f"INSERT INTO taken (server, who, {_TAKEN}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
                    "ON CONFLICT (who, server) DO UPDATE SET day = excluded.day, bytes = excluded.bytes, "
                    "upstream_bytes = excluded.upstream_bytes, requests = excluded.requests, remaining = excluded.remaining, "
                    "at = excluded.at",
                    [(self._database.name, name, *astuple(taken)) for name, taken in news],
                )
                old = datetime.strptime(news[0][1].day, "%Y-%m-%d").replace(tzinfo=UTC) - timedelta(days=2)
                await cursor.execute("DELETE FROM taken WHERE day < %s", (old.strftime("%Y-%m-%d"),))
            await cursor.execute(f"SELECT who, server, {_TAKEN} FROM taken WHERE server <> %s".encode(), (self._database.name,))
            others = {(who, server): Taken(*rest) for who, server, *rest in await cursor.fetchall()}
        self.quotas.heard(others)
        if others != self._quotas_others:
            self._quotas_quiet = 0
        self._quotas_told, self._quotas_others, self._quotas_since = mine, others, 0

    # ---- who used how much -----------------------------------------------------------------------

    async def tell(self, lines: Sequence[UsageLine]) -> None:
        """Write the totals of these days and people at this server."""
        if not lines:
            return
        newest = datetime.strptime(max(line.day for line in lines), "%Y-%m-%d").replace(tzinfo=UTC)
        oldest = (newest - timedelta(days=DAYS)).strftime("%Y-%m-%d")
        sql = (
            "INSERT INTO usage (server, day, who, requests, records, bytes, upstream_bytes) "
            "SELECT %s, * FROM unnest(%s::TEXT[], %s::TEXT[], %s::BIGINT[], %s::BIGINT[], %s::BIGINT[], %s::BIGINT[]) "
            # A wiped store starts counting from 0.
            "ON CONFLICT (day, server, who) DO UPDATE SET requests = greatest(usage.requests, excluded.requests), "
            "records = greatest(usage.records, excluded.records), bytes = greatest(usage.bytes, excluded.bytes), "
            "upstream_bytes = greatest(usage.upstream_bytes, excluded.upstream_bytes)"
        )
        names = ("day", "who", "requests", "records", "bytes", "upstream_bytes")
        async with self._database.transaction() as cursor:
            await cursor.execute(sql, (self._database.name, *([getattr(line, n) for line in lines] for n in names)))
            await cursor.execute("DELETE FROM usage WHERE day < %s", (oldest,))

    async def others(self, since: str) -> list[UsageLine]:
        """What people used at the other servers since a day."""
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


def _is_more(taken: Taken, told: Taken | None) -> bool:
    """True if a token has used something since ``told``; the remainder of a rate grows by itself."""
    return told is None or replace(taken, remaining=told.remaining, at=told.at) != told
