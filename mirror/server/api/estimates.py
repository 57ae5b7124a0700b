"""``/api/estimate``: what a fill or an export would ask JSOC for, before anybody asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.errors import BadRequest
from mirror.server.requests import parameters
from mirror.wire.info import c_int

if TYPE_CHECKING:
    from mirror.services.estimates.estimates import Estimates


class EstimateApi:
    """The handler of /api/estimate."""

    def __init__(self, estimates: Estimates) -> None:
        self._estimates = estimates

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it at its path."""
        router.add_get("/api/estimate", self.estimate)

    async def estimate(self, request: web.Request) -> web.Response:
        """``ds``, and ``seg`` (names with commas, or ALL) for files; ``n`` at most of each set; ``export=1``.

        An export is of all segments where none is named, and only of records that have an image.
        """
        given = await parameters(request)
        if not given.get("ds"):
            raise BadRequest(
                "the parameter ds is missing; expected a record set, as in ds=hmi.v_45s[2014.01.01_TAI/1d]"
            )
        named = tuple(name.strip() for name in given.get("seg", "").split(",") if name.strip())
        found = await self._estimates.estimate(
            given["ds"],
            named or None,
            n=c_int(given.get("n", "")) or None,
            export=given.get("export", "") in ("1", "true"),
        )
        return web.json_response(found.plain())
