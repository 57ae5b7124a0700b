"""The pages of what is cached: the front page, coverage, the series, data sets; and an example record set for each series.

Clients check whether ``http://jsoc.stanford.edu/`` answers before they begin (drms' own tests do). A request for that
page goes to JSOC; while JSOC is down, our page stands in, since everything that is cached still works.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec.structs import asdict

from mirror.coverage.axis import Kind, coverage_axis
from mirror.drms.parser import parse_query
from mirror.errors import MirrorError
from mirror.server.pages.site import in_path
from mirror.server.requests import parameters
from mirror.server.roles import COVERAGE_PAGE, DATASET_PAGE, DATASETS_PAGE, FRONT, SERIES_LIST, SERIES_PAGE
from mirror.services.search.snippets import SnippetQuery, snippets

if TYPE_CHECKING:
    from mirror.drms.series import Series
    from mirror.server.jsoc.proxy import Proxy
    from mirror.server.pages.site import Site
    from mirror.services.datasets.datasets import Datasets
    from mirror.services.monitoring.overview import Overview
    from mirror.services.monitoring.ranges import Ranges
    from mirror.services.monitoring.status import Status, Totals
    from mirror.services.search.search import Search
    from mirror.storage.index.index import Index

_TIME = re.compile(r"\d{4}\.\d\d\.\d\d")
_SOME_DAY = "2014.01.01"
#: Keywords that an example shows in addition to the prime keys, if a series has them.
_LIKED = ("QUALITY", "CRLN_OBS", "CRLT_OBS", "EXPTIME", "USFLUX", "DATAMEAN")


def usual_set(series: Series) -> str:
    """An hour of the series' last day, or the last value of its first key."""
    axis = coverage_axis(series)
    names = [k.name for k in series.primekeys]
    if axis is None or axis.key not in names:
        return f"{series.name}[$]" if names else f"{series.name}[:#$]"
    brackets = "[]" * names.index(axis.key)
    if axis.kind is Kind.NUMBERS or axis.place(0.0) is None:
        return f"{series.name}{brackets}[$]"
    found = _TIME.search(series.extent.last_record)
    length = "1h" if axis.slots is None or axis.slots.step < 1800 else "1d"
    return f"{series.name}{brackets}[{found[0] if found else _SOME_DAY}_TAI/{length}]"


def example(series: Series) -> SnippetQuery:
    """A search for that set, with the keywords that most people want first."""
    primes = [k.name for k in series.primekeys]
    keys = [*primes, *(n for n in _LIKED if series.keyword(n) and n not in primes)][:5] or ["*recnum*"]
    ds = usual_set(series)
    return SnippetQuery(ds, parse_query(ds).sets, series, tuple(keys))


#: Spans of a series that a page lists; the API has all.
_SPANS = 200


class Pages:
    """The handlers of ``/``, ``/coverage`` and ``/series``."""

    def __init__(
        self,
        web: Site,
        proxy: Proxy,
        overview: Overview,
        status: Status,
        ranges: Ranges,
        index: Index,
        search: Search,
        totals: Totals,
    ) -> None:
        self._web = web
        self._proxy = proxy
        self._overview = overview
        self._status = status
        self._ranges = ranges
        self._index = index
        self._search = search
        self._totals = totals

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the pages."""
        FRONT.add(router, self.front)
        COVERAGE_PAGE.add(router, self._web.own(self.coverage))
        SERIES_LIST.add(router, self._web.own(self.every_series))
        SERIES_PAGE.add(router, self._web.own(self.series))

    async def front(self, request: web.Request) -> web.StreamResponse:
        """JSOC's front page for a client that takes us for JSOC, while JSOC answers; else ours."""
        if not request.raw_path.startswith("/"):
            try:
                return await self._proxy.pass_through(request)
            except MirrorError:  # JSOC is down or may not be asked: the page says so
                return await self._own(request)
        return await self._own(request)

    async def _own(self, request: web.Request) -> web.Response:
        return self._web.page(request, "overview.html", state=await self._overview.state(request.headers))

    async def coverage(self, request: web.Request) -> web.Response:
        """The heat map of the series in ``series``, or of the one with the most records."""
        chosen = (await parameters(request)).get("series", "")
        counted = [(s, await self._index.count(s)) for s in self._index.all_series() if _has_days(s)]
        held = self._index.series(chosen) if chosen else None
        if chosen and held is None:
            await self._search.structure(chosen)  # cached from now on, or an error that says why not
            held = self._index.series(chosen)
        shown = held[0] if held else max(counted, key=lambda c: c[1], default=(None, 0))[0]
        spans = [] if shown is None else await self._ranges.ranges(shown.name, folded=True)
        return self._web.page(
            request, "coverage.html", all_series=[s.name for s, _ in counted], shown=shown, spans=spans[:_SPANS],
            more=max(0, len(spans) - _SPANS), timed=shown is not None and _has_days(shown),
        )  # fmt: skip

    async def every_series(self, request: web.Request) -> web.Response:
        """The cached series; with ``q``, the one of that name."""
        if name := (await parameters(request)).get("q", "").strip():
            raise web.HTTPSeeOther(f"/series/{in_path(name)}")
        files = await self._totals.by_series()
        listed = [
            {**asdict(answer), "files": files.get(answer.series.lower(), (0, 0))}
            for answer in await self._status.series()
        ]
        return self._web.page(request, "series_list.html", listed=listed)

    async def series(self, request: web.Request) -> web.Response:
        """One series: its keys, keywords, segments and links; cached from now on, if JSOC knows it."""
        series = await self._search.structure(request.match_info["name"])
        files, usual = await self._totals.by_series(), example(series)
        answer: dict[str, Any] = {
            "series": series,
            "records": await self._index.count(series),
            "files": files.get(series.name.lower(), (0, 0)),
            "implicit": series.implicit,
            "timed": _has_days(series),
            "spans": (await self._ranges.ranges(series.name, folded=True))[:_SPANS],
            "examples": snippets(usual, f"http://{request.host}"),
            "usual": usual.ds,
        }
        return self._web.page(request, "series.html", **answer)


def _has_days(series: Series) -> bool:
    axis = coverage_axis(series)
    return axis is not None and axis.place(0.0) is not None


# ---- data sets -----------------------------------------------------------------------------------

#: Records that a page shows.
SHOWN = 500


class DatasetPages:
    """The handlers of /datasets and /datasets/{name}."""

    def __init__(self, site: Site, datasets: Datasets) -> None:
        self._site = site
        self._datasets = datasets

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the pages."""
        DATASETS_PAGE.add(router, self._site.own(self.all))
        DATASET_PAGE.add(router, self._site.own(self.one))

    async def all(self, request: web.Request) -> web.Response:
        """All of them."""
        return self._site.page(request, "datasets.html", datasets=await self._datasets.all())

    async def one(self, request: web.Request) -> web.Response:
        """One, with its records and how it is cited."""
        name = request.match_info["name"]
        found, records = await self._datasets.show(name), await self._datasets.records(name)
        return self._site.page(request, "dataset.html", found=found, records=records[:SHOWN], count=len(records))
