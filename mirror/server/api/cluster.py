"""The API of the cluster: which mirrors share with this one, and what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.api import cluster as api
from mirror.server.endpoints import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from mirror.api.contract import Nothing


class ClusterApi:
    """The handler of /api/cluster; without a ``status`` this mirror is alone."""

    def __init__(self, status: Callable[[], Awaitable[api.Cluster]] | None) -> None:
        self._status = status

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it at its path."""
        serve(router, api.CLUSTER, self.cluster)

    async def cluster(self, _: web.Request, __: Nothing) -> api.Cluster:
        """The other mirrors, and what they share."""
        return api.ALONE if self._status is None else await self._status()
