"""The API of the heat map: what is held by days and hours, gaps, filling them, how late records come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.errors import BadRequest
from mirror.server.bodies import json_object
from mirror.server.requests import PRINCIPAL, parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.services.fills.fills import Filling
    from mirror.services.monitoring.heatmap import HeatMap


class CoverageApi:
    """The handlers below /api/coverage, and of /api/gaps and /api/fill."""

    def __init__(self, heatmap: HeatMap, filling: Filling) -> None:
        self._heatmap = heatmap
        self._filling = filling

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/coverage/days", self.days)
        router.add_get("/api/coverage/hours", self.hours)
        router.add_get("/api/coverage/delays", self.delays)
        router.add_get("/api/gaps", self.gaps)
        router.add_post("/api/fill", self.fill)

    async def days(self, request: web.Request) -> web.Response:
        """``series`` and ``year``: each day's state, slots expected and held, records, files; all years without one."""
        given = await parameters(request)
        year = _year(given["year"]) if given.get("year") else None
        return _packed(await self._heatmap.days(_named(given, "series", "hmi.v_45s"), year))

    async def hours(self, request: web.Request) -> web.Response:
        """``series`` and ``day``: the same for its hours."""
        given = await parameters(request)
        series, day = _named(given, "series", "hmi.v_45s"), _named(given, "day", "2014.01.01")
        return _packed(await self._heatmap.hours(series, day))

    async def delays(self, request: web.Request) -> web.Response:
        """``series``: seconds from a record's time to when it was made, by month."""
        return _packed(await self._heatmap.delays(_named(await parameters(request), "series", "hmi.v_45s")))

    async def gaps(self, request: web.Request) -> web.Response:
        """``ds``: what of a record set is not held completely."""
        ds = _named(await parameters(request), "ds", "hmi.v_45s[2014.01.01_TAI/1d]")
        return web.json_response(await self._filling.gaps(ds))

    async def fill(self, request: web.Request) -> web.Response:
        """``ds``: begin to fetch what is missing of a record set, as a job; with ``dry_run`` only its size."""
        given = await json_object(request, {"ds": str, "dry_run": bool})
        ds = _named(given, "ds", "hmi.v_45s[2014.01.01_TAI/1d]")
        if given.get("dry_run"):
            return web.json_response(await self._filling.estimate(ds))
        principal = request.get(PRINCIPAL)
        return web.json_response(await self._filling.fill(ds, principal.who if principal else ""), status=202)


def _packed(told: dict[str, Any]) -> web.Response:
    response = web.json_response(told)
    response.enable_compression()
    return response


def _named(given: Mapping[str, Any], name: str, example: str) -> str:
    if not given.get(name):
        raise BadRequest(f"{name} is missing; expected one such as {example}")
    return str(given[name])


def _year(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 4):
        raise BadRequest(f"year is {text!r}; expected one such as 2014")
    return int(text)
