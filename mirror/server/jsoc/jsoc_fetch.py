"""jsoc_fetch: exports, at JSOC's own path. Every answer has HTTP code 200, errors too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.drms.export import ExportRequest, Failed, RepeatRequest, StatusRequest, UnitsRequest
from mirror.drms.exportrules import failure
from mirror.errors import MirrorError, NotHeld
from mirror.readthrough.policy import CacheDemand
from mirror.server.cache_control import cache_headers, demand_of
from mirror.server.parameters import parameters
from mirror.server.request_keys import VALUES
from mirror.wire.export import decode_fetch, wanted_format
from mirror.wire.export_answer import content_type, encode_answer
from mirror.wire.paths import CGI

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mirror.drms.export import ExportAnswer, Format, StorageUnits
    from mirror.server.jsoc.proxy import Proxy
    from mirror.services.exports.file_list import UnitFiles
    from mirror.services.exports.requests import Exports

REPEAT_REFUSED = "Re-Export requests temporarily disabled."


class Fetch:
    """The handler of jsoc_fetch; ``now`` gives Unix seconds."""

    def __init__(self, exports: Exports, units: UnitFiles, proxy: Proxy, now: Callable[[], float]) -> None:
        self._now = now
        self._exports = exports
        self._units = units
        self._proxy = proxy

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the program, by GET and POST."""
        router.add_route("*", CGI + "jsoc_fetch", self.jsoc_fetch)

    async def jsoc_fetch(self, request: web.Request) -> web.StreamResponse:
        """exp_request, exp_status, exp_repeat, exp_su."""
        given = await parameters(request)
        form = wanted_format(given)
        try:
            asked = decode_fetch(given)
        except MirrorError as problem:
            return _answer(Failed(4, str(problem)), form)
        if isinstance(asked, ExportRequest) and demand_of(request.headers) is CacheDemand.ONLY_IF_CACHED:
            raise NotHeld("a new export may need JSOC, and this request forbids to ask it")
        if isinstance(asked, ExportRequest):
            found = await self._exports.asked(asked)
            if isinstance(found.answer, Failed):
                return _answer(found.answer, form)
            return _answer(found.answer, form, told=cache_headers(found.origin, found.checked_at, self._now()))
        if isinstance(asked, RepeatRequest):
            return _answer(Failed(4, REPEAT_REFUSED), form)
        if isinstance(asked, StatusRequest):
            answer = await self._exports.status(asked.request_id)
            if answer is not None:
                values = await self._exports.values(asked.request_id)
                return _answer(answer, form, told={VALUES: values} if values else None)
        if isinstance(asked, UnitsRequest):
            units = await self._units.answer(asked)
            if units is not None:
                return _answer(units, form)
        # A request that was made at JSOC itself, or for units that are not held: JSOC knows.
        try:
            return await self._proxy.pass_through(request, origin="forwarded")
        except MirrorError as problem:
            return _answer(failure(problem), form)


def _answer(
    answer: ExportAnswer | StorageUnits, form: Format, told: Mapping[str, str] | None = None
) -> web.Response:
    body = encode_answer(answer, form)
    return web.Response(body=body, content_type=content_type(form).partition(";")[0], headers=told)
