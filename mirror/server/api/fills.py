"""The API of large fetches, and of estimates before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.api import fills
from mirror.server.endpoints import Reply, serve
from mirror.server.requests import PRINCIPAL, names_of

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.services.estimates.estimates import Estimates
    from mirror.services.fills import Filling


class FillsApi:
    """The handlers of /api/fill and /api/estimate."""

    def __init__(self, filling: Filling, estimates: Estimates) -> None:
        self._filling = filling
        self._estimates = estimates

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, fills.FILL, self.fill)
        serve(router, fills.ESTIMATE, self.estimate)

    async def fill(self, request: web.Request, asked: fills.FillBody) -> Reply[fills.Fill]:
        """Begin to fetch what is missing of a record set, or only say how much that is."""
        if asked.dry_run:
            return Reply(await self._filling.estimate(asked.ds), status=200)
        principal = request.get(PRINCIPAL)
        return Reply(await self._filling.fill(asked.ds, principal.who if principal else ""))

    async def estimate(self, _: web.Request, asked: fills.EstimateQuery) -> fills.Estimate:
        """What a fill or an export would fetch from JSOC."""
        found = await self._estimates.estimate(
            asked.ds, names_of(asked.seg) or None, n=asked.n or None, export=asked.export
        )
        return found.summary()
