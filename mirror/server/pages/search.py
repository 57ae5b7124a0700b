"""The search page, and what helps to write record sets: their check, the builder, names of series."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from aiohttp import web

from mirror.drms.parser import parse_query
from mirror.errors import BadRequest, MirrorError
from mirror.server.bodies import whole
from mirror.server.errors import codes
from mirror.server.pages import search_view as view
from mirror.server.parameters import parameters
from mirror.services.quicklook.quicklook import image_segments
from mirror.services.search.snippets import SnippetQuery, snippets
from mirror.services.search.validation import marked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.drms.recordset import RecordSet
    from mirror.drms.series import Series
    from mirror.server.api.search import Api
    from mirror.server.pages.site import Site
    from mirror.services.quicklook.quicklook import QuickLooks
    from mirror.services.search.validation import QueryCheck

#: The parameters that make a search, and the page that shows it.
_STATE = ("ds", "key", "seg", "n", "where", "pictures", "frames", "fetch", "x", "y", "page")


class SearchPage:
    """The handlers of ``/search`` and of what its scripts ask."""

    def __init__(self, site: Site, api: Api, queries: QueryCheck, pictures: QuickLooks) -> None:
        self._pictures = pictures
        self._site = site
        self._api = api
        self._queries = queries

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/search", self._site.own(self.page))
        router.add_get("/search/builder", self._site.own(self.builder))
        router.add_get("/api/check-query", self.check)
        router.add_get("/api/build-query", self.build)
        router.add_get("/api/names", self.names)

    async def check(self, request: web.Request) -> web.Response:
        """``ds``: whether a record set is right, and what a search for it would fetch; or what is wrong, and where."""
        return web.json_response(await self._queries.check((await parameters(request)).get("ds", "")))

    async def build(self, request: web.Request) -> web.Response:
        """The builder's form: the record set that it makes, checked as above."""
        try:
            ds = await self._built(request)
        except BadRequest as problem:
            told = {"ok": False, "ds": "", "error": str(problem), "expected": "", "position": None}
            return web.json_response(told)
        return web.json_response(await self._queries.check(ds))

    async def names(self, request: web.Request) -> web.Response:
        """``q``: the series that have this in their names or notes, those known here first."""
        return web.json_response(await self._queries.names((await parameters(request)).get("q", "")))

    async def builder(self, request: web.Request) -> web.Response:
        """The fields of the builder for one series, as a piece of a page."""
        series = await self._queries.structure((await parameters(request)).get("series", ""))
        return self._site.page(
            request, "search-fields.html", builder=view.builder(series, None), series=series
        )

    async def page(self, request: web.Request) -> web.Response:
        """A search with all it shows; without a record set, what one needs to write one."""
        given = {k: v for k, v in (await parameters(request)).items() if k in _STATE and v.strip()}
        given["key"] = ",".join(filter(None, [given.get("key", ""), *request.query.getall("k", [])]))
        told: dict[str, Any] = _blank(given)
        if "b.series" in request.query:
            try:
                ds = await self._built(request)
            except MirrorError as problem:
                told["problem"] = view.marked(marked(problem, ""), "")
                return self._site.page(request, "search.html", **{**told, "status": codes(problem)[1]})
            kept = {k: v for k, v in given.items() if v}
            raise web.HTTPSeeOther("/search?" + urlencode({**kept, "ds": ds}, quote_via=quote, errors="replace"))
        if told["ds"]:
            told |= await self._shown(request, given)
        return self._site.page(request, "search.html", **told)

    async def _built(self, request: web.Request) -> str:
        given = await parameters(request)
        segments = request.query.getall("b.seg", [])
        return await self._queries.compose(
            given.get("b.series", ""), view.filled_in(given), given.get("b.where", ""), segments
        )

    async def _shown(self, request: web.Request, given: Mapping[str, str]) -> dict[str, Any]:
        """The parts of the page that are about a record set, as far as there are any."""
        ds, known = given["ds"], {}
        try:
            sets = parse_query(ds).sets
            series = await self._queries.known(sets[0], ds)
            known = _known(series, sets)
            keys = _names(given.get("key", "")) or [p.name for p in series.primekeys]
            n = _whole(given.get("n"), view.RECORDS)
            asked = {**given, "key": ",".join(view.asked_names(series, keys)), "n": str(n)}
            payload, _ = await self._api.found(request, asked)
        except MirrorError as problem:
            return {**known, "problem": view.marked(marked(problem, ds), ds), "status": codes(problem)[1]}
        told = SnippetQuery(ds, sets, series, tuple(keys), tuple(_names(given.get("seg", ""))), None)
        shown = _result(given, series, keys, payload, n)
        shown["frames"] = await self._frames(given, series, payload)
        return {**known, **shown, "codes": snippets(told, _here(request))}

    async def _frames(
        self, given: Mapping[str, str], series: Series, payload: dict[str, Any]
    ) -> list[view.Frame]:
        """The film strip that is asked for; only what is held is shown, unless the rest is to be fetched."""
        segment, fetch = given.get("pictures", ""), given.get("fetch") == "1"
        if segment not in image_segments(series) or not payload["rows"]:
            return []
        most = max(2, min(_whole(given.get("frames"), view.FRAMES[0]), view.FRAMES[-1]))
        strip = view.frames(series, payload["columns"], payload["rows"], segment, most, fetch=fetch)
        held = await self._pictures.held(series.name, [frame.recnum for frame in strip], segment)
        return [replace(frame, there=fetch or frame.recnum in held) for frame in strip]


def _known(series: Series, sets: tuple[RecordSet, ...]) -> dict[str, Any]:
    """What the series of a search tells."""
    return {
        "series": series,
        "builder": view.builder(series, sets[0] if len(sets) == 1 else None),
        "images": image_segments(series),
    }


def _blank(given: Mapping[str, str]) -> dict[str, Any]:
    """The page before anything was found."""
    return {
        "ds": given.get("ds", "").strip(), "key": given.get("key", ""), "seg": given.get("seg", ""),
        "n": _whole(given.get("n"), view.RECORDS), "where": given.get("where", ""), "choices": view.CHOICES,
        "problem": None, "status": 200, "builder": None, "series": None, "result": None, "codes": (), "images": (), "frames": (),
        "frame_choices": view.FRAMES, "pictures": given.get("pictures", ""), "fetch": given.get("fetch") == "1",
        "starts": view.STARTS, "wanted_frames": _whole(given.get("frames"), view.FRAMES[0]), "address": view.address_with(given),
    }  # fmt: skip


def _result(
    given: Mapping[str, str], series: Series, keys: list[str], payload: dict[str, Any], n: int
) -> dict[str, Any]:
    """The table, and the data for plots."""
    names, rows = payload["columns"], payload["rows"]
    shown = [*keys, *_names(given.get("seg", ""))]
    found = view.columns(series, names, shown if rows else names)
    page = max(1, _whole(given.get("page"), 1))
    data = {
        "columns": [{"name": c.name, "kind": c.kind, "units": c.units, "hidden": c.hidden} for c in found],
        "rows": rows,
        "segments": [s.name for s in series.segments],
        "x": given.get("x", ""),
        "y": given.get("y", ""),
    }
    result = {
        **payload,
        "columns": found,
        "hidden": sum(c.hidden for c in found),  # they come first
        "rows": rows[(page - 1) * view.ROWS : page * view.ROWS],
        "first": (page - 1) * view.ROWS,
        "page": page,
        "pages": max(1, -(-len(rows) // view.ROWS)),
        "cut": abs(n) == len(rows),
        "data": data,
    }
    return {"result": result}


def _here(request: web.Request) -> str:
    """The address by which this page was reached."""
    return f"http://{request.host}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _whole(text: str | None, default: int) -> int:
    return whole(text or "", "a number of the page", default) or default
