"""The mirror's own API: JSON for the command line, the page and scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.errors import BadRequest
from mirror.readthrough.policy import CacheDemand
from mirror.server.requests import RECORDS, cache_headers, demand_of, parameters, while_connected
from mirror.services.search.search import LONG_ANSWER
from mirror.wire.info import ALL, RsListRequest, c_int, expand_names
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.drms.series import Series
    from mirror.services.monitoring.status import Status
    from mirror.services.search.search import Search
    from mirror.services.sql.jsoc_tables import WhereSearch
    from mirror.wire.rs_list import RsList


class Api:
    """The handlers below /api, and what watches over the daemon."""

    def __init__(self, search: Search, sifter: WhereSearch, status: Status) -> None:
        self._search = search
        self._sifter = sifter
        self._status = status

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/search", self.search)
        router.add_get("/api/series", self.series)
        router.add_get("/api/coverage", self.coverage)
        router.add_get("/api/status", self.status)
        router.add_get("/metrics", self.metrics)

    async def search(self, request: web.Request) -> web.Response:
        """``ds, key, seg, link, n`` as for rs_list; rows instead of columns. Without names: the prime keys.

        With ``where`` only the records for which this condition in SQL is true.
        """
        payload, headers = await self.found(request, await parameters(request))
        body = await self._search.offload.run(lambda: _encoded(payload), long=payload["count"] > LONG_ANSWER)
        return web.Response(body=body, headers=headers, content_type="application/json", charset="utf-8")

    async def found(
        self, request: web.Request, given: Mapping[str, str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """What a search of those parameters gives, as JSON, with its headers."""
        if not given.get("ds"):
            raise BadRequest("the parameter ds is missing; expected a record set, as in ds=hmi.v_45s[$]")
        demand = demand_of(request.headers)
        keys, segments, links = (_names(given.get(name)) for name in ("key", "seg", "link"))
        if not keys and not segments and not links:
            series = await self._structure(given["ds"], demand)
            keys = tuple(k.name for k in series.primekeys) or ("*recnum*",)
        if ALL in (segments or ()):
            # By name each record has a value; ALL leaves out, as at JSOC, those whose link does not resolve.
            series = await self._structure(given["ds"], demand)
            segments = tuple(expand_names(segments, [s.name for s in series.segments]))
        wanted = RsListRequest(
            given["ds"], keys=keys, segments=segments, links=links, n=c_int(given.get("n", "")) or None
        )
        where = given.get("where")
        if where is None:
            found = await self._search.rs_list(wanted, demand)
        else:
            async with while_connected(request):
                found = await self._sifter.rs_list(wanted, where, demand, request.remote or "")
        request[RECORDS] = found.value.count
        plan = found.origin.name.lower()
        columns, rows = await self._search.offload.run(
            lambda: _table(wanted, found.value), long=found.value.count > LONG_ANSWER
        )
        payload: dict[str, Any] = {"columns": columns, "rows": rows, "count": found.value.count, "plan": plan}
        headers = cache_headers(found.origin, found.checked_at, self._status.now())
        if "Age" in headers:
            payload["age_seconds"] = int(headers["Age"])
        return payload, headers

    async def _structure(self, ds: str, demand: CacheDemand) -> Series:
        """The structure as it is held if it is young enough: a check is about records."""
        return await self._search.structure(ds, CacheDemand.ONLY_IF_CACHED if demand is CacheDemand.ONLY_IF_CACHED else CacheDemand.DEFAULT)

    async def series(self, _: web.Request) -> web.Response:
        """The series that are known."""
        return web.json_response(await self._status.series())

    async def coverage(self, request: web.Request) -> web.Response:
        """The spans that are held completely, and what else JSOC answered over which; ``series`` chooses one series."""
        name = (await parameters(request)).get("series") or None
        return web.json_response([*self._status.coverage(name), *self._status.answers(name)])

    async def status(self, _: web.Request) -> web.Response:
        """How the mirror is doing."""
        return web.json_response(await self._status.status())

    async def metrics(self, _: web.Request) -> web.Response:
        """Counters for Prometheus."""
        return web.Response(text=await self._status.metrics(), content_type="text/plain", charset="utf-8")


def _encoded(payload: Mapping[str, Any]) -> bytes:
    """The payload as JSON; row by row, since nothing else runs while one object is encoded."""
    rows = b", ".join(json.dumps(row).encode() for row in payload["rows"])
    rest = json.dumps({**payload, "rows": []}).encode()
    before, _, after = rest.partition(b'"rows": []')
    return b'%b"rows": [%b]%b' % (before, rows, after)


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
