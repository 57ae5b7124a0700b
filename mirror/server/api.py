"""The mirror's own API: JSON for the command line, the page and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.drms.errors import BadRequest
from mirror.server.cgi import HEADER, parameters
from mirror.wire.info import ALL, RsListRequest, c_int, expand_names
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.services.search import Search
    from mirror.services.status import Status
    from mirror.wire.rs_list import RsList


class Api:
    """The handlers below /api, and what watches over the daemon."""

    def __init__(self, search: Search, status: Status) -> None:
        self._search = search
        self._status = status

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/search", self.search)
        router.add_get("/api/series", self.series)
        router.add_get("/api/coverage", self.coverage)
        router.add_get("/api/status", self.status)
        router.add_get("/metrics", self.metrics)

    async def search(self, request: web.Request) -> web.Response:
        """``ds, key, seg, link, n`` as for rs_list; rows instead of columns. Without names: the prime keys."""
        given = await parameters(request)
        if not given.get("ds"):
            raise BadRequest("the parameter ds is missing; expected a record set, as in ds=hmi.v_45s[$]")
        keys, segments, links = (_names(given.get(name)) for name in ("key", "seg", "link"))
        if not keys and not segments and not links:
            series = await self._search.structure(given["ds"])
            keys = tuple(k.name for k in series.primekeys) or ("*recnum*",)
        if ALL in (segments or ()):
            # By name each record has a value; ALL leaves out, as at JSOC, those whose link does not resolve.
            series = await self._search.structure(given["ds"])
            segments = tuple(expand_names(segments, [s.name for s in series.segments]))
        wanted = RsListRequest(
            given["ds"], keys=keys, segments=segments, links=links, n=c_int(given.get("n", "")) or None
        )
        found = await self._search.rs_list(wanted)
        plan = found.origin.name.lower()
        columns, rows = _table(wanted, found.value)
        payload = {"columns": columns, "rows": rows, "count": found.value.count, "plan": plan}
        return web.json_response(payload, headers={HEADER: plan})

    async def series(self, _: web.Request) -> web.Response:
        """The series that are known."""
        return web.json_response(await self._status.series())

    async def coverage(self, request: web.Request) -> web.Response:
        """The spans that are held completely; ``series`` chooses one series."""
        given = await parameters(request)
        return web.json_response(self._status.coverage(given.get("series") or None))

    async def status(self, _: web.Request) -> web.Response:
        """How the mirror is doing."""
        return web.json_response(await self._status.status())

    async def metrics(self, _: web.Request) -> web.Response:
        """Counters for Prometheus."""
        return web.Response(text=await self._status.metrics(), content_type="text/plain", charset="utf-8")


def _names(text: str | None) -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    return names or None


def _table(wanted: RsListRequest, answer: RsList) -> tuple[list[str], list[tuple[str | int, ...]]]:
    """The names of the columns, and the values of each record as they print."""
    columns = [*(answer.keywords or ())]
    columns += [(s.name, s.values) for s in answer.segments or ()]
    columns += [*(answer.links or ())]
    if not answer.count:
        return [*(wanted.keys or ()), *(wanted.segments or ()), *(wanted.links or ())], []
    plain = [[from_wire(v) if isinstance(v, str) else v for v in values] for _, values in columns]
    return [name for name, _ in columns], list(zip(*plain, strict=True))
