"""What a mirror adds to its answers for another mirror.

JSOC's programs answer every error with code 200; another mirror would take such an error for JSOC's own answer. So a
mirror reports its own failures to another mirror by the HTTP code, with the reason in a header. It also says how old
the last check of its answer is, so that the other does not take it for newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.readthrough.policy import CacheDemand
from mirror.server.requests import demand_of
from mirror.upstream.transport import mirrors

if TYPE_CHECKING:

    from aiohttp.typedefs import Handler

    from mirror.readthrough.records import CacheStatus
    from mirror.services.search.search import Ages
    from mirror.upstream.transport import Route



class Chain:
    """Handles questions of other mirrors."""

    def __init__(self, route: Route, ages: Ages) -> None:
        self._route = route
        self._ages = ages

    @web.middleware
    async def follow(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note which way the question came; ConfigError if that is a loop."""
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
        """Set the header ``Age``, the seconds since the last check of the answer, if a mirror asks."""
        if is_mirror(request):
            response.headers["Age"] = str(await self._ages.of(ds, origin, checked_at))


def is_mirror(request: web.Request) -> bool:
    """True if another mirror asks."""
    return bool(mirrors(request.headers.get("Via", "")))
