"""The API of what is cached (spans, days and hours, gaps, how late records come), and of fetching what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.api import coverage as api
from mirror.api import fills
from mirror.errors import BadRequest
from mirror.server.endpoints import Reply, serve
from mirror.server.requests import PRINCIPAL, names_of

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.services.estimates import Estimates
    from mirror.services.fills import Filling
    from mirror.services.monitoring.heatmap import HeatMap
    from mirror.services.monitoring.ranges import Ranges


class CoverageApi:
    """The handlers of /api/coverage and below, and of /api/gaps."""

    def __init__(self, ranges: Ranges, heatmap: HeatMap, filling: Filling) -> None:
        self._ranges = ranges
        self._heatmap = heatmap
        self._filling = filling

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.COVERAGE, self.coverage)
        serve(router, api.DAYS, self.days)
        serve(router, api.HOURS, self.hours)
        serve(router, api.DELAYS, self.delays)
        serve(router, api.GAPS, self.gaps)

    async def coverage(self, _: web.Request, asked: api.CoverageQuery) -> list[api.Span]:
        """The spans that are completely cached, and the spans of JSOC's other answers."""
        return [*await self._ranges.ranges(asked.series, folded=asked.folded), *self._ranges.answers(asked.series)]

    async def days(self, _: web.Request, asked: api.DaysQuery) -> Reply[api.Cells]:
        """The days of a year, or of all years."""
        year = _year(asked.year) if asked.year else None
        return Reply(await self._heatmap.days(asked.series, year), packed=True)

    async def hours(self, _: web.Request, asked: api.HoursQuery) -> Reply[api.Cells]:
        """The hours of a day."""
        return Reply(await self._heatmap.hours(asked.series, asked.day), packed=True)

    async def delays(self, _: web.Request, asked: api.DelaysQuery) -> Reply[api.Delays]:
        """How late records came, by month."""
        return Reply(await self._heatmap.delays(asked.series), packed=True)

    async def gaps(self, _: web.Request, asked: api.GapsQuery) -> api.Gaps:
        """What is missing of a record set."""
        return await self._filling.gaps(asked.ds)


def _year(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 4):
        raise BadRequest(f"year = {text!r}; expected a year such as 2014")
    return int(text)


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
