"""The places towards JSOC: all servers together have as many as one alone would have.

A place is an advisory lock of the server's session, so it becomes free whatever happens to that server. Within a server
``mirror.upstream.pacing`` decides who is next; among servers, the first to come when a place is free gets it. The last
place for queries is for people only, as within one server.
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mirror.cluster.database import FREE, PLACES
from mirror.errors import ClusterAway
from mirror.upstream.pacing import Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mirror.cluster.database import ClusterDatabase

#: Seconds after which a place is tried again without a notification; the second for what one server does until another
#: takes it over.
NET, TAKEOVER = 0.5, 2.0
#: Prefixes of the kinds of what one server does for good.
FOR_GOOD = ("subscription ",)
#: The distance between the place numbers of two kinds.
WIDTH = 1000


def number_of(kind: str) -> int:
    """The place number of what one server at a time does: a pending export of an address, a subscription."""
    return 2 * WIDTH + zlib.crc32(kind.encode()) % 1_000_000_000


class Places:
    """The places of the cluster; ``queries`` at a time, one download, one pending export for each address."""

    def __init__(self, database: ClusterDatabase, queries: int) -> None:
        self._database = database
        self._queries = queries
        self._mine: set[int] = set()
        self._freed = asyncio.Event()
        self.waiting = 0

    def told(self) -> None:
        """Note that a place may be free."""
        freed, self._freed = self._freed, asyncio.Event()
        freed.set()

    @property
    def taken(self) -> int:
        """How many places this server has."""
        return len(self._mine)

    @asynccontextmanager
    async def place(self, kind: str, priority: Priority) -> AsyncIterator[None]:
        """Wait for a place and hold it; ClusterAway if the cluster is away, or goes away meanwhile."""
        async with self._database.while_there():
            server = self._database.id
            net = TAKEOVER if kind.startswith(FOR_GOOD) else NET
            number = await self._take(self._numbers(kind, priority), net)
            try:
                yield
            finally:
                self._mine.discard(number)
                if self._database.id == server:
                    await asyncio.shield(asyncio.ensure_future(self._give_back(number)))

    def _numbers(self, kind: str, priority: Priority) -> Sequence[int]:
        if kind == "query":
            # As within one server, only people take the last place.
            first = 1 if priority > Priority.PEOPLE and self._queries > 1 else 0
            return range(first, self._queries)
        return (WIDTH if kind == "download" else number_of(kind),)

    async def _take(self, numbers: Sequence[int], net: float) -> int:
        self.waiting += 1
        try:
            while True:
                freed = self._freed  # before any attempt, so that no notification is missed
                for number in numbers:
                    if number not in self._mine and await self._try(number):
                        return number
                try:
                    async with asyncio.timeout(net):
                        await freed.wait()
                except TimeoutError:
                    pass
        finally:
            self.waiting -= 1

    async def _try(self, number: int) -> bool:
        self._mine.add(number)  # first, since the session could take a lock twice
        try:
            got = await self._database.lock("%s, %s", (PLACES, number))
        except BaseException:
            self._mine.discard(number)
            raise
        if not got:
            self._mine.discard(number)
        return got

    async def _give_back(self, number: int) -> None:
        self.told()
        try:
            sql = "SELECT pg_advisory_unlock(%s, %s), pg_notify(%s, '')"
            await self._database.on_session(sql, (PLACES, number, FREE))
        except ClusterAway:
            pass  # it went with the session
