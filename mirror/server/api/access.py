"""The API of who did what, and who used how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.api import access
from mirror.server.api.freshness import moment
from mirror.server.endpoints import serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from mirror.services.access.audit import Audit
    from mirror.services.access.usage import Accounting

#: The most audit entries in one answer.
MOST = 10_000


class AccessApi:
    """The handlers of /api/audit and /api/usage; ``now`` gives Unix seconds."""

    def __init__(self, audit: Audit, accounting: Accounting, now: Callable[[], float]) -> None:
        self._audit = audit
        self._accounting = accounting
        self._now = now

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, access.AUDIT, self.audit)
        serve(router, access.USAGE, self.usage)

    async def audit(self, _: web.Request, asked: access.AuditQuery) -> list[access.AuditLine]:
        """What was done last."""
        since = moment(asked.since, self._now()) if asked.since else None
        return await self._audit.last(since, min(asked.n, MOST))

    async def usage(self, _: web.Request, asked: access.UsageQuery) -> list[access.UsageLine]:
        """Who used the mirror how much."""
        return await self._accounting.usage(asked.since)
