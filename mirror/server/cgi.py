"""JSOC's own programs at JSOC's own paths: decode, ask a service, encode.

Every answer says in the header ``X-Mirror`` how it came about: local, filled, forwarded or stale.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.wire.address import decode_address, encode_address_answer
from mirror.wire.catalogue import decode_catalogue, encode_show_series, encode_showextseries, select_series
from mirror.wire.info import SeriesStructRequest, SummaryRequest, decode_info, encode_summary
from mirror.wire.params import decode_body, decode_params
from mirror.wire.rs_list import encode_rs_list
from mirror.wire.show_info import decode_show_info, encode_show_count, encode_show_info, show_info_query
from mirror.wire.structure import encode_series_struct

if TYPE_CHECKING:
    from mirror.engine.records import Origin
    from mirror.server.proxy import Proxy
    from mirror.services.listing import Listing
    from mirror.services.search import Search

HEADER = "X-Mirror"
#: Where JSOC's programs are.
CGI = "/cgi-bin/ajax/"
#: Answers from this size on are compressed in a thread.
COMPRESS_FROM = 1024
#: Pseudo-keys that only JSOC's storage can tell.
_LIVE_KEYS = frozenset({"*logdir*"})


class Programs:
    """The handlers of the programs that the mirror answers itself."""

    def __init__(self, search: Search, listing: Listing, proxy: Proxy) -> None:
        self._search = search
        self._listing = listing
        self._proxy = proxy

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve every program at JSOC's own path, by GET and POST."""
        programs = {
            "jsoc_info": self.jsoc_info,
            "show_series": self.show_series,
            "showextseries": self.showextseries,
            "checkAddress.sh": self.check_address,
            "show_info": self.show_info,
        }
        for name, handler in programs.items():
            router.add_route("*", CGI + name, handler)

    async def jsoc_info(self, request: web.Request) -> web.StreamResponse:
        """series_struct, rs_summary, rs_list."""
        started = time.perf_counter()
        info = decode_info(await parameters(request))
        if info.flags or _LIVE_KEYS & set(getattr(info, "keys", None) or ()):
            # Flags change values and layout in ways that printed values cannot give: JSOC answers itself.
            return await self._proxy.pass_through(request, origin="forwarded")
        if isinstance(info, SeriesStructRequest):
            series = await self._search.structure(info.ds)
            return _json(request, encode_series_struct(series, runtime=_since(started)))
        if isinstance(info, SummaryRequest):
            counted = await self._search.rs_summary(info)
            return _json(request, encode_summary(counted.value, runtime=_since(started)), counted.origin)
        found = await self._search.rs_list(info)
        return _json(request, encode_rs_list(found.value, runtime=_since(started)), found.origin)

    async def show_series(self, request: web.Request) -> web.StreamResponse:
        """The list of series with prime keys and notes."""
        wanted = decode_catalogue(await parameters(request))
        entries = await self._listing.series()
        return _json(request, encode_show_series(select_series(entries, wanted.filter)))

    async def showextseries(self, request: web.Request) -> web.StreamResponse:
        """The list of all series, internal ones too."""
        wanted = decode_catalogue(await parameters(request))
        entries = await self._listing.all_series(notes=wanted.info)
        chosen = select_series(entries, wanted.filter)
        return _json(request, encode_showextseries(chosen, info=wanted.info))

    async def check_address(self, request: web.Request) -> web.StreamResponse:
        """Whether an address may export."""
        address = decode_address(await parameters(request))
        return _json(request, encode_address_answer(await self._listing.check_address(address)))

    async def show_info(self, request: web.Request) -> web.StreamResponse:
        """Records as text."""
        wanted = decode_show_info(await parameters(request))
        query = show_info_query(wanted)
        if wanted.count:
            counted = await self._search.rs_summary(SummaryRequest(query.ds, query.n))
            return _text(request, encode_show_count(wanted, counted.value), counted.origin)
        found = await self._search.rs_list(query)
        series = await self._search.structure(query.ds)
        strings = {k.name.lower() for k in series.keywords if k.type == "string"}
        return _text(request, encode_show_info(wanted, found.value, quoted=strings), found.origin)


async def parameters(request: web.Request) -> dict[str, str]:
    """The parameters of a request: its query string, and for a POST its body, which wins."""
    given = decode_params(request.raw_path.partition("?")[2])
    if request.method == "POST":
        given |= decode_body(await request.read(), request.headers.get("Content-Type", ""))
    return given


def _since(started: float) -> float:
    return time.perf_counter() - started


def _json(request: web.Request, body: bytes, origin: Origin | None = None) -> web.Response:
    return _response(request, body, "application/json", origin)


def _text(request: web.Request, body: bytes, origin: Origin) -> web.Response:
    return _response(request, body, "text/plain", origin)


def _response(request: web.Request, body: bytes, kind: str, origin: Origin | None) -> web.Response:
    response = web.Response(body=body, content_type=kind, zlib_executor_size=COMPRESS_FROM * 64)
    if origin is not None:
        response.headers[HEADER] = origin.name.lower()
    if len(body) >= COMPRESS_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response
