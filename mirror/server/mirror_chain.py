"""What a mirror that is asked by another mirror does for it, beside the answer.

JSOC's programs answer every error with code 200; a mirror would take such an error for JSOC's own word. So
what this mirror itself cannot do it tells another by the code, and the reason in a header. And it tells how
old the last check of its answer is, so that nobody takes it for newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.readthrough.policy import CacheDemand
from mirror.server.requests import demand_of
from mirror.upstream.transport import mirrors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.readthrough.records import CacheStatus
    from mirror.services.search.search import Ages
    from mirror.upstream.transport import Route

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Chain:
    """Handles questions of other mirrors."""

    def __init__(self, route: Route, ages: Ages) -> None:
        self._route = route
        self._ages = ages

    @web.middleware
    async def follow(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note by which way the question came; ConfigError if that is a circle."""
        via, check = request.headers.get("Via", ""), demand_of(request) is CacheDemand.REVALIDATE
        self._route.enter(via, check=check)
        return await handler(request)

    async def add_age(
        self,
        request: web.Request,
        response: web.StreamResponse,
        ds: str,
        origin: CacheStatus,
        checked_at: float | None = None,
    ) -> None:
        """Say in the header ``Age`` how many seconds ago the answer was last checked, if a mirror asks."""
        if is_mirror(request):
            response.headers["Age"] = str(await self._ages.of(ds, origin, checked_at))


def is_mirror(request: web.Request) -> bool:
    """True if another mirror asks."""
    return bool(mirrors(request.headers.get("Via", "")))
