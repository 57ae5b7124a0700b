"""What all servers of a cluster have alike: structures of series and other small answers of JSOC, and pins of people.

Each answer has a key and a time; the latest counts. They are numbered in the order of their commits, so that a server that has
read up to a number has missed nothing.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from mirror.cluster.database import FACTS, KNOWN
from mirror.concurrency import SingleFlight
from mirror.errors import MirrorError
from mirror.storage.files.eviction import PERSON, Pin
from mirror.storage.index.index import STRUCTURE, KeptFact
from mirror.wire.structure import decode_series_struct, encode_series_struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mirror.cluster.database import ClusterDatabase, Cursor
    from mirror.drms.series import Series
    from mirror.storage.database.database import KeyedTable
    from mirror.storage.files.eviction import Pins
    from mirror.storage.index.index import Index

log = logging.getLogger(__name__)

#: Answers that are read at a time.
AT_ONCE = 500


class Facts:
    """Exchanges small answers with the other servers."""

    def __init__(self, index: Index, database: ClusterDatabase) -> None:
        self._index = index
        self._database = database
        self._tables: dict[str, KeyedTable] = {}
        self._new: list[KeptFact] = []
        self._position = 0
        self._pulling: SingleFlight[str, None] = SingleFlight()

    @property
    def waiting(self) -> bool:
        """Whether something has not been pushed yet."""
        return bool(self._new)

    def share(self, tables: Mapping[str, KeyedTable], tell: Callable[[KeptFact], None]) -> None:
        """Share what is kept in these tables, each under its kind; ``tell`` is called with what is put there."""
        self._tables |= tables
        for kind, table in tables.items():
            table.on_put = partial(_told, tell, kind)

    def add(self, fact: KeptFact) -> None:
        """Add something for the next ``push``."""
        self._new.append(fact)

    def add_structure(self, series: Series, fetched_at: float) -> None:
        """Add the structure of a series as this server has it."""
        text = encode_series_struct(series, runtime=0.0).decode("latin-1")
        self.add(KeptFact(STRUCTURE, series.name, text, fetched_at))

    def begin_again(self) -> None:
        """Read everything at the next ``pull``: another PostgreSQL, or a restored one, has other numbers."""
        self._position = 0

    async def push(self) -> None:
        """Write what is new here to the database."""
        facts = tuple(self._new)
        if not facts:
            return
        sql = (
            "INSERT INTO facts (kind, key, value, fetched_at) VALUES (%s, %s, %s, %s) ON CONFLICT (kind, key) DO UPDATE "
            "SET value = excluded.value, fetched_at = excluded.fetched_at, seq = nextval('facts_seq_seq') "
            "WHERE facts.fetched_at < excluded.fetched_at"
        )
        async with self._database.transaction() as cursor:
            await cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", (FACTS,))
            await cursor.executemany(sql, [(f.kind, f.key, f.value, f.fetched_at) for f in facts])
            await cursor.execute("SELECT pg_notify(%s, '')", (KNOWN,))
        del self._new[: len(facts)]

    async def pull(self) -> None:
        """Take over what others wrote; once, however many ask for it."""
        await self._pulling.run("", self._pull)

    async def _pull(self) -> None:
        sql = "SELECT kind, key, value, fetched_at, seq FROM facts WHERE seq > %s ORDER BY seq LIMIT %s"
        while True:
            async with self._database.transaction() as cursor:
                await cursor.execute(sql, (self._position, AT_ONCE))
                rows = await cursor.fetchall()
            for kind, key, value, fetched_at, seq in rows:
                await self._take(kind, key, value, fetched_at)
                self._position = max(self._position, seq)
            if len(rows) < AT_ONCE:
                return

    async def _take(self, kind: str, key: str, value: str, fetched_at: float) -> None:
        if kind != STRUCTURE:
            if (table := self._tables.get(kind)) is not None:
                await table.put_newer(key, value, fetched_at)
            return
        held = self._index.series(key)
        if held is not None and held[1] >= fetched_at:
            return
        try:
            series = decode_series_struct(value.encode("latin-1"), name_hint=key)
        except (MirrorError, ValueError, KeyError, TypeError) as problem:
            log.warning("a structure of the cluster cannot be read series=%s problem=%r", key, str(problem))
            return
        await self._index.keep_series(series, fetched_at, is_shared=True)


def _told(tell: Callable[[KeptFact], None], kind: str, key: str, value: str, noted_at: float) -> None:
    tell(KeptFact(kind, key, value, noted_at))


# ---- pins of people ------------------------------------------------------------------------------
# Set at one server, they hold at all.
#
# The cluster's table ``pins`` has them. Each server has a copy, by which it evicts, and takes over changes in the order of
# their numbers. A pin is about a content, and holds wherever that is. Pins of exports and subscriptions are not shared:
# they follow from what one server does.

#: The key of the position up to which this server has taken them over; "": not at all.
POSITION = "pins"
#: Pins that are read at a time.
PINS_AT_ONCE = 5000
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
                rows = await (await cursor.execute(sql.encode(), (position, PINS_AT_ONCE))).fetchall()
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
