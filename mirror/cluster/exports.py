"""Exports: the server that made one works on it; once it is gone and somebody asks, another takes over.

What that takes is written down when an export is made, and when JSOC has accepted it: another server makes the same
export under the same id, from the records and files that all share, and follows the same request at JSOC.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import ClusterAway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mirror.cluster.database import ClusterDatabase, Member

log = logging.getLogger(__name__)

#: Seconds for which an export stays written down: as long as its files are kept from eviction.
KEPT = 8 * 86400.0


@dataclass(frozen=True, slots=True)
class SharedExport:
    """What others need to continue an export; ``created`` in Unix seconds."""

    id: str
    identity: str
    request: str
    created: float
    upstream_id: str | None


class SharedExports:
    """The exports of all servers."""

    def __init__(self, database: ClusterDatabase) -> None:
        self._database = database
        #: Continues an export here, and returns when it is made; set by the owner of this server's exports.
        self.take_over: Callable[[SharedExport], Awaitable[None]] | None = None
        self.settled: Callable[[str], Awaitable[None]] | None = None

    async def tell(self, export: SharedExport) -> None:
        """Note that this server works on it; not while the cluster is away, when nobody else can continue it."""
        sql = (
            "INSERT INTO exports (id, identity, request, created, upstream_id, server) VALUES (%s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET upstream_id = coalesce(excluded.upstream_id, exports.upstream_id)"
        )
        values = (export.id, export.identity, export.request, export.created, export.upstream_id, self._database.name)
        with suppress(ClusterAway):
            async with self._database.transaction() as cursor:
                await cursor.execute(sql, values)
                await cursor.execute("DELETE FROM exports WHERE created < %s", (export.created - KEPT,))

    async def same(self, identity: str, since: float) -> str | None:
        """The id of the newest export of that identity, created ``since`` then, if another server has it."""
        sql = "SELECT id, server FROM exports WHERE identity = %s AND created >= %s ORDER BY created DESC, id LIMIT 1"
        async with self._database.transaction() as cursor:
            row = await (await cursor.execute(sql, (identity, since))).fetchone()
        return None if row is None or row[1] == self._database.name else str(row[0])

    async def address_of(self, request_id: str, members: Sequence[Member]) -> str | None:
        """The address of the server that continues the export of one that is gone.

        None if it is this one, which takes over if no other has; and if nobody knows the export.
        """
        find = "SELECT server FROM exports WHERE id = %s"
        claim = (
            "UPDATE exports SET server = %s WHERE id = %s AND server = %s "
            "RETURNING id, identity, request, created, upstream_id"
        )
        while True:
            async with self._database.transaction() as cursor:
                row = await (await cursor.execute(find, (request_id,))).fetchone()
                if row is None or row[0] == self._database.name:
                    return None
                there = next((member for member in members if member.name == row[0]), None)
                if there is not None:
                    return there.address or None
                mine = await (await cursor.execute(claim, (self._database.name, request_id, row[0]))).fetchone()
                if mine is not None and self.take_over is not None:
                    await self.take_over(SharedExport(*mine))  # first: others will ask here once this is committed
            if mine is not None:
                log.info("this server goes on with an export of one that is gone id=%s server=%s", request_id, row[0])
                if self.settled is not None:
                    await self.settled(request_id)
                return None
