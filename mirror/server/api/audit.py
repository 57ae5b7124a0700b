"""The API of the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.server.api.freshness import moment
from mirror.server.bodies import limit
from mirror.server.requests import parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.services.access.audit import Audit

#: Deeds in one answer: usually, and at most.
USUAL, MOST = 100, 10_000


class AuditApi:
    """The handler of /api/audit; ``now`` gives Unix seconds."""

    def __init__(self, audit: Audit, now: Callable[[], float]) -> None:
        self._audit = audit
        self._now = now

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it at its path."""
        router.add_get("/api/audit", self.audit)

    async def audit(self, request: web.Request) -> web.Response:
        """``since`` (a date, or ``7d`` for a week ago) and ``n``: what was done last, newest first."""
        given = await parameters(request)
        since = moment(given["since"], self._now()) if given.get("since") else None
        return web.json_response(await self._audit.last(since, limit(given, USUAL, MOST)))
