"""Pins of people: set at one server, they hold at all.

The cluster's table ``pins`` has them. Each server has a copy, by which it evicts, and takes over changes in the order of
their numbers. A pin is about a content, and holds wherever that is. Pins of exports and subscriptions are not shared:
they follow from what one server does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.cluster.database import FACTS, KNOWN
from mirror.concurrency import SingleFlight
from mirror.storage.files.eviction import PERSON, Pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.cluster.database import ClusterDatabase, Cursor
    from mirror.storage.database.database import KeyedTable
    from mirror.storage.files.eviction import Pins

#: The key of the position up to which this server has taken them over; "": not at all.
POSITION = "pins"
#: Pins that are read at a time.
AT_ONCE = 5000
#: Seconds for which removals are remembered: a server that was away for longer keeps its copies of removed pins.
REMEMBERED = 400 * 86400.0
_COLUMNS = "sha256, owner, reason, since, until"
_PUT = (
    f"INSERT INTO pins ({_COLUMNS}, gone) "
    "SELECT unnest(%s::TEXT[]), unnest(%s::TEXT[]), unnest(%s::TEXT[]), unnest(%s::FLOAT8[]), unnest(%s::FLOAT8[]), %s "
    "ON CONFLICT (owner, sha256) DO "
)
_REPLACE = (
    "UPDATE SET reason = excluded.reason, since = excluded.since, until = excluded.until, gone = excluded.gone, "
    "seq = nextval('pins_seq_seq')"
)


class SharedPins:
    """The pins of people at all servers; ``pins`` is this server's copy."""

    def __init__(self, database: ClusterDatabase, pins: Pins, state: KeyedTable) -> None:
        self._database = database
        self._pins = pins
        self._state = state
        self._pulling: SingleFlight[str, None] = SingleFlight()

    async def pin(self, hashes: Iterable[str], owner: str, reason: str, *, until: float | None = None) -> None:
        """As ``Pins.pin``; ClusterAway if it cannot be shared."""
        since = self._pins.now()
        wanted = [Pin(sha256, owner, reason, since, until) for sha256 in dict.fromkeys(hashes)]
        async with self._database.transaction() as cursor:
            await _lock(cursor)
            await _put(cursor, wanted, _REPLACE)
            await cursor.execute("DELETE FROM pins WHERE until < %s OR (gone AND since < %s)", (since, since - REMEMBERED))
        await self.pull()

    async def unpin(self, owner: str, hashes: Iterable[str] | None = None) -> int:
        """As ``Pins.unpin``; ClusterAway if it cannot be shared."""
        wanted = None if hashes is None else list(hashes)
        sql = (
            "UPDATE pins SET gone = TRUE, since = %s, until = NULL, seq = nextval('pins_seq_seq') "
            "WHERE owner = %s AND NOT gone AND (%s::TEXT[] IS NULL OR sha256 = ANY(%s))"
        )
        async with self._database.transaction() as cursor:
            await _lock(cursor)
            await cursor.execute(sql, (self._pins.now(), owner, wanted, wanted))
            count = cursor.rowcount
        await self.pull()
        return count

    async def pins(self, owner: str | None = None) -> list[Pin]:
        """As ``Pins.pins``: those that this server knows."""
        return await self._pins.pins(owner)

    async def _tell_all(self) -> None:
        """Share everything that people have pinned here."""
        mine = [pin for pin in await self._pins.pins() if pin.owner.startswith(PERSON)]
        async with self._database.transaction() as cursor:
            await _lock(cursor)
            await _put(cursor, mine, "NOTHING")

    async def pull(self) -> None:
        """Take over what has changed."""
        await self._pulling.run("", self._pull)

    async def _pull(self) -> None:
        kept = await self._state.get(POSITION)
        if kept is None or not kept[0]:  # it is another PostgreSQL, or an older one
            await self._tell_all()
            await self._state.put(POSITION, "0", 0.0)
        position = int(kept[0]) if kept is not None and kept[0] else 0
        sql = f"SELECT {_COLUMNS}, gone, seq FROM pins WHERE seq > %s ORDER BY seq LIMIT %s"
        while True:
            async with self._database.transaction() as cursor:
                rows = await (await cursor.execute(sql.encode(), (position, AT_ONCE))).fetchall()
            if not rows:
                return
            await self._pins.take([Pin(*row[:5]) for row in rows if not row[5]], [(row[1], row[0]) for row in rows if row[5]])
            position = rows[-1][6]
            await self._state.put(POSITION, str(position), 0.0)


async def _lock(cursor: Cursor) -> None:
    """Make numbers ascend in the order of commits, and notify the others."""
    await cursor.execute("SELECT pg_advisory_xact_lock(%s, 1), pg_notify(%s, '')", (FACTS, KNOWN))


async def _put(cursor: Cursor, pins: Sequence[Pin], otherwise: str) -> None:
    columns = ([getattr(pin, name) for pin in pins] for name in ("sha256", "owner", "reason", "since", "until"))
    await cursor.execute((_PUT + otherwise).encode(), (*columns, False))
