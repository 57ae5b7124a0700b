"""Who uses the mirror, and how much: counted in memory, written to the store now and then.

The user is known within the tasks that work for a request, so what JSOC sends counts for whoever asked first; what
the mirror does by itself counts as its own.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from mirror.api.access import UsageLine
from mirror.errors import BadRequest, ClusterAway
from mirror.humanize import day_of
from mirror.storage.database.database import Tables, if_possible
from mirror.upstream.budget import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mirror.storage.database.database import Cursor, Database
    from mirror.upstream.client import Exchange

#: The mirror's own work: subscriptions, checks.
ITSELF = "(mirror)"
DAY = 86400.0
#: Seconds that are shown if no day is given.
SHOWN = 30 * DAY


class Elsewhere(Protocol):
    """The other mirrors of a cluster, whose use counts too. Raises ClusterAway while they cannot be reached."""

    async def tell(self, lines: Sequence[UsageLine]) -> None:
        """Report the totals of these days and users at this mirror."""
        ...

    async def others(self, since: str) -> list[UsageLine]:
        """What people used at the others, from a day on."""
        ...


class Accounting:
    """Counts; ``now`` gives Unix seconds. ``elsewhere``: the other mirrors, if there are any."""

    def __init__(self, table: UsageTable, now: Callable[[], float]) -> None:
        self._table = table
        self._now = now
        self._used: dict[Key, Used] = {}
        self._today: dict[str, Used] = {}  #: all of the day that was counted on last
        self.since_start: dict[Key, Used] = {}  #: under the day ""; of a few users, and the others together
        self._day = 0.0, day_of(0.0)  #: the one that was counted on last, and when it began
        self._principal: ContextVar[str] = ContextVar("principal", default=ITSELF)
        self.active = 0  #: requests that are being answered
        self.last = 0.0  #: when the last one began
        self.elsewhere: Elsewhere | None = None
        self._untold = day_of(now() - SHOWN)  #: the first day of which the others do not know all

    async def recall(self) -> None:
        """Load what was used today before the start."""
        self._turn_to(self._now())
        self._today = {who: used for day, who, used in await self._table.since(self._day[1]) if day == self._day[1]}

    def today(self, who: str) -> Used:
        """What somebody has used on this day of UTC."""
        self._turn_to(self._now())
        return self._today.get(who, Used())

    def _turn_to(self, now: float) -> None:
        if not self._day[0] <= now < self._day[0] + DAY:
            self._day, self._today = (now // DAY * DAY, day_of(now)), {}

    @contextmanager
    def asking(self, who: str) -> Iterator[None]:
        """While this is open, what happens is for ``who``."""
        token = self._principal.set(who)
        self.active += 1
        self.last = self._now()
        try:
            with asking(who):
                yield
        finally:
            self.active -= 1
            self._principal.reset(token)

    def count(self, who: str, used: Used) -> None:
        """Somebody used this much."""
        self._turn_to(self._now())
        added(self._used, (self._day[1], who), used)
        added(self.since_start, ("", who), used, MEASURED)
        if who in self._today or len(self._today) < MOST:
            self._today[who] = self._today.get(who, Used()) + used

    def count_exchange(self, exchange: Exchange) -> None:
        """JSOC sent something, for whoever asks here and now."""
        if exchange.bytes:
            who = self._principal.get()
            # Nobody sends the mirror's own requests to it: those that it sends to JSOC are counted.
            self.count(who, Used(requests=int(who == ITSELF), upstream_bytes=exchange.bytes))

    async def write_down(self) -> None:
        """Store what was counted since the last time, and report it to the other mirrors."""
        used, self._used = self._used, {}
        oldest = datetime.fromtimestamp(self._now(), UTC) - timedelta(days=DAYS)
        try:
            await self._table.add(used, oldest=oldest.strftime("%Y-%m-%d"))
        except BaseException:
            for key, each in used.items():
                added(self._used, key, each)
            raise
        self._untold = min([self._untold, *(day for day, _ in used)])
        if self.elsewhere is not None and (used or self._untold != day_of(self._now())):
            with suppress(ClusterAway):  # they are told the next time
                await self.elsewhere.tell([_line(*each) for each in await self._table.since(self._untold)])
                self._untold = day_of(self._now())

    async def usage(self, since: str | None) -> list[UsageLine]:
        """Who used how much on which day, from a day (``2026-11-22``) on; without one, of the last 30 days.

        Of all mirrors of a cluster, while they can be reached.
        """
        await if_possible(self.write_down(), "usage")
        day = _day(since) if since else day_of(self._now() - SHOWN)
        found = await self._table.since(day)
        if self.elsewhere is None:
            return [_line(*each) for each in found]
        used = {(day, who): each for day, who, each in found}
        with suppress(ClusterAway):  # then it is what this mirror knows
            for line in await self.elsewhere.others(day):
                more = Used(line.requests, line.records, line.bytes, line.upstream_bytes)
                used[line.day, line.who] = used.get((line.day, line.who), Used()) + more
        by_who = sorted(used.items(), key=lambda item: (-item[1].bytes, item[0][1]))
        return [_line(*key, each) for key, each in sorted(by_who, key=lambda item: item[0][0], reverse=True)]


def _line(day: str, who: str, used: Used) -> UsageLine:
    return UsageLine(
        day=day,
        who=who,
        requests=used.requests,
        records=used.records,
        bytes=used.bytes,
        upstream_bytes=used.upstream_bytes,
    )


def _day(text: str) -> str:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d")
    except ValueError:
        raise BadRequest(f"{text!r} is no day; expected one such as 2026-11-22") from None


#: Addresses that are counted separately in a day; all further ones count as ``OTHERS``.
MOST = 5_000
OTHERS = "others"
#: Users that metrics count separately since the start.
MEASURED = 100
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
        """Add these amounts to those of their days, and delete days before ``oldest``."""

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
