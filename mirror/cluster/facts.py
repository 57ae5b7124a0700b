"""Structures of series and other small answers of JSOC, which all servers have alike.

Each has a key and a time; the latest counts. They are numbered in the order of their commits, so that a server that has
read up to a number has missed nothing.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from mirror.cluster.database import FACTS, KNOWN
from mirror.concurrency import SingleFlight
from mirror.errors import MirrorError
from mirror.storage.index.index import STRUCTURE, KeptFact
from mirror.wire.structure import decode_series_struct, encode_series_struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mirror.cluster.database import ClusterDatabase
    from mirror.drms.series import Series
    from mirror.storage.database.database import KeyedTable
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
