"""The API of the cluster: which mirrors share with this one, and what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.api import cluster as api
from mirror.server.endpoints import serve

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.api.contract import Nothing
    from mirror.cluster.shared import ClusterShared


class ClusterApi:
    """The handler of /api/cluster; None: this mirror is alone."""

    def __init__(self, cluster: ClusterShared | None) -> None:
        self._cluster = cluster

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it at its path."""
        serve(router, api.CLUSTER, self.cluster)

    async def cluster(self, _: web.Request, __: Nothing) -> api.Cluster:
        """The other mirrors, and what they share."""
        return api.ALONE if self._cluster is None else await self._cluster.status()
