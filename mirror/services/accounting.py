"""Who uses the mirror, and how much: counted in memory, written down now and then.

Whoever asks is known within the tasks that work for him, so that what JSOC sends counts for whoever asked
first; what the mirror does by itself counts as its own.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mirror.drms.errors import BadRequest
from mirror.services.checkplan import day_of
from mirror.storage.tables import if_possible
from mirror.storage.usagetable import DAYS, Key, Used, added
from mirror.upstream.budget import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mirror.storage.usagetable import UsageTable
    from mirror.upstream.client import Exchange

#: What nobody asked for: subscriptions, checks.
ITSELF = "(mirror)"


class Accounting:
    """Counts; ``now`` gives Unix seconds."""

    def __init__(self, table: UsageTable, now: Callable[[], float]) -> None:
        self._table = table
        self._now = now
        self._used: dict[Key, Used] = {}
        self._asker: ContextVar[str] = ContextVar("asker", default=ITSELF)
        self.active = 0  #: requests that are being answered
        self.last = 0.0  #: when the last one began

    @contextmanager
    def asking(self, who: str) -> Iterator[None]:
        """While this is open, what happens is for ``who``."""
        token = self._asker.set(who)
        self.active += 1
        self.last = self._now()
        try:
            with asking(who):
                yield
        finally:
            self.active -= 1
            self._asker.reset(token)

    def count(self, who: str, used: Used) -> None:
        """Somebody used this much."""
        added(self._used, (day_of(self._now()), who), used)

    def count_exchange(self, exchange: Exchange) -> None:
        """JSOC sent something, for whoever asks here and now."""
        if exchange.bytes:
            self.count(self._asker.get(), Used(upstream_bytes=exchange.bytes))

    async def write_down(self) -> None:
        """Write down what was counted since the last time."""
        used, self._used = self._used, {}
        oldest = datetime.fromtimestamp(self._now(), UTC) - timedelta(days=DAYS)
        try:
            await self._table.add(used, oldest=oldest.strftime("%Y-%m-%d"))
        except BaseException:
            for key, each in used.items():
                added(self._used, key, each)
            raise

    async def usage(self, since: str | None) -> list[dict[str, Any]]:
        """Who used how much on which day, from a day (``2026-11-22``) on; without one, of the last 30 days."""
        await if_possible(self.write_down(), "usage")
        day = _day(since) if since else day_of(self._now() - 30 * 86400)
        return [
            {
                "day": day,
                "who": who,
                "requests": used.requests,
                "records": used.records,
                "bytes": used.bytes,
                "upstream_bytes": used.upstream_bytes,
            }
            for day, who, used in await self._table.since(day)
        ]


def _day(text: str) -> str:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d")
    except ValueError:
        raise BadRequest(f"{text!r} is no day; expected one such as 2026-11-22") from None
