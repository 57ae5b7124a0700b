"""jsoc_fetch: exports, at JSOC's own path. Every answer has HTTP code 200, errors too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.drms.errors import MirrorError
from mirror.drms.export import ExportRequest, Failed, RepeatRequest, StatusRequest
from mirror.drms.exportrules import failure
from mirror.server.cgi import CGI, parameters
from mirror.wire.export import decode_fetch, wanted_format
from mirror.wire.export_answer import content_type, encode_answer

if TYPE_CHECKING:
    from mirror.drms.export import ExportAnswer, Format
    from mirror.server.proxy import Proxy
    from mirror.services.exports import Exports

REPEAT_REFUSED = "Re-Export requests temporarily disabled."


class Fetch:
    """The handler of jsoc_fetch."""

    def __init__(self, exports: Exports, proxy: Proxy) -> None:
        self._exports = exports
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
        if isinstance(asked, ExportRequest):
            return _answer(await self._exports.request(asked), form)
        if isinstance(asked, RepeatRequest):
            return _answer(Failed(4, REPEAT_REFUSED), form)
        if isinstance(asked, StatusRequest):
            answer = await self._exports.status(asked.request_id)
            if answer is not None:
                return _answer(answer, form)
        # A request that was made at JSOC itself, or for storage units: JSOC knows.
        try:
            return await self._proxy.pass_through(request, origin="forwarded")
        except MirrorError as problem:
            return _answer(failure(problem), form)


def _answer(answer: ExportAnswer, form: Format) -> web.Response:
    body = encode_answer(answer, form)
    return web.Response(body=body, content_type=content_type(form).partition(";")[0])
