"""JSOC's own programs at JSOC's own paths: decode, ask a service, encode.

``Programs`` has all but jsoc_fetch, which is ``Fetch``. Every answer of a search says in the header ``X-Mirror`` how it
came about: local, filled, forwarded or stale. Answers of jsoc_fetch have HTTP code 200, errors too.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.drms.export import ExportRequest, Failed, Pending, RepeatRequest, StatusRequest, UnitsRequest
from mirror.drms.exportrules import failure
from mirror.errors import MirrorError, NotHeld, OverBudget, UnknownSeries, UpstreamError, UpstreamRefused
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus
from mirror.server.jsoc.remembered import Answer, Answers
from mirror.server.jsoc.sendfile import LARGE, send_whole
from mirror.server.peers import FROM_PEER
from mirror.server.requests import HEADER, RECORDS, VALUES, cache_headers, demand_of, is_mirror, parameters
from mirror.server.roles import PROGRAM_ROUTES
from mirror.services.search.search import LONG_ANSWER
from mirror.wire.catalogue import decode_catalogue, encode_show_series, encode_showextseries, select_series
from mirror.wire.export import decode_address, decode_fetch, encode_address_answer, wanted_format
from mirror.wire.export_answer import content_type, encode_answer
from mirror.wire.info import (
    RsListRequest,
    SeriesStructRequest,
    SummaryRequest,
    decode_info,
    encode_summary,
    not_understood,
)
from mirror.wire.paths import PROGRAM_PATHS
from mirror.wire.rs_list import encode_rs_list
from mirror.wire.show_info import (
    decode_show_info,
    encode_show_count,
    encode_show_info,
    has_missing_numbers,
    has_missing_texts,
    may_print_nothing,
    only_jsoc_prints,
    show_info_query,
)
from mirror.wire.structure import encode_series_struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from aiohttp.typedefs import Handler

    from mirror.drms.export import ExportAnswer, Format, StorageUnits
    from mirror.readthrough.structures import Listing
    from mirror.server.jsoc.proxy import Proxy
    from mirror.server.peers import Peers
    from mirror.server.requests import Chain
    from mirror.services.exports.assembling import FullPrecision
    from mirror.services.exports.file_list import UnitFiles
    from mirror.services.exports.requests import Exports
    from mirror.services.search.search import Found, Search
    from mirror.services.search.whole import WholeAnswers

    Turn = Callable[[str | None], AbstractAsyncContextManager[None]]

#: Records above which an answer is made in a thread: below that it is done before a thread would wake up.
MUCH = 5000
#: Bytes above which an answer is compressed outside the event loop: that takes a millisecond.
PACK_ASIDE = 1 << 19
#: Answers from this size on are compressed in a thread.
COMPRESS_FROM = 1024
#: The content types of the programs; text for those not listed.
_KINDS = {"jsoc_info": "application/json"}
#: Pseudo-keys that only JSOC's storage knows.
_LIVE_KEYS = frozenset({"*logdir*"})


class Programs:
    """The handlers of the programs that the mirror answers itself."""

    def __init__(
        self,
        search: Search,
        listing: Listing,
        precise: FullPrecision,
        whole: WholeAnswers,
        proxy: Proxy,
        chain: Chain,
        now: Callable[[], float],
    ) -> None:
        self._precise = precise
        self._whole = whole
        self._chain = chain
        self._search = search
        self._listing = listing
        self._proxy = proxy
        self._now = now  #: Unix seconds
        self._answers = Answers()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve every program at JSOC's own path, by GET and POST."""
        programs = {
            "jsoc_info": self.jsoc_info,
            "show_series": self.show_series,
            "showextseries": self.showextseries,
            "checkAddress.sh": self.check_address,
            "show_info": self.show_info,
        }
        for path, program in PROGRAM_PATHS.items():
            if program in programs:
                PROGRAM_ROUTES[path].add(router, self._unless_internal(programs[program]))

    def _unless_internal(self, handler: Handler) -> Handler:
        """The handler; for series of a database that ``dbhost`` names and this mirror never sees, JSOC answers."""

        @wraps(handler)
        async def answered(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except (UnknownSeries, UpstreamRefused):
                if "dbhost" not in await parameters(request) or not self._proxy.may_ask(request):
                    raise
                return await self._proxy.pass_through(request, origin="forwarded")

        return answered

    async def jsoc_info(self, request: web.Request) -> web.StreamResponse:
        """series_struct, rs_summary, rs_list."""
        started = time.perf_counter()
        question = request.raw_path.partition("?")[2] if request.method == "GET" else ""
        known = self._answers.find(question)
        if known is not None and self._search.again(known.basis, demand_of(request)):
            return await self._given_again(request, question, known)
        given = await parameters(request)
        if not_understood(given):
            return await self._whole_answer(request, "jsoc_info", given)
        info = decode_info(given)
        demand = demand_of(request)
        if info.flags or _LIVE_KEYS & set(getattr(info, "keys", None) or ()):
            if is_mirror(request) and isinstance(info, RsListRequest):
                precise = await self._precise.answer(info)
                if precise is not None:
                    return _json(request, encode_rs_list(precise, runtime=_since(started)))
            # Flags change values and layout in ways that printed values do not support: JSOC answers itself.
            return await self._whole_answer(request, "jsoc_info", given)
        if isinstance(info, SeriesStructRequest):
            series = await self._search.structure(info.ds, demand)
            return _json(request, encode_series_struct(series, runtime=_since(started)))
        if isinstance(info, SummaryRequest):
            counted = await self._search.rs_summary(info, demand)
            return self._json(request, encode_summary(counted.value, runtime=_since(started)), counted)
        found = await self._search.rs_list(info, demand)
        request[RECORDS] = found.value.count
        body = await self._search.offload.run(
            lambda: encode_rs_list(found.value, runtime=_since(started)), long=found.value.count > MUCH
        )
        if question and found.basis:
            made = Answer(info.ds, body, found.value.count, found.basis)
            self._answers.keep(question, made)
            return await self._given_again(request, question, made)
        response = self._json(request, body, found)
        await self._chain.add_age(request, response, info.ds, found.origin, found.checked_at)
        return response

    async def _given_again(self, request: web.Request, question: str, answer: Answer) -> web.StreamResponse:
        """An answer from the index, which is kept."""
        request[RECORDS] = answer.records
        headers, body = {HEADER: CacheStatus.LOCAL.name.lower()}, answer.body
        if len(body) >= COMPRESS_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = await self._search.offload.run(answer.pack, long=len(body) >= PACK_ASIDE and not answer.packed)
            self._answers.grown(question)
        large = len(body) >= LARGE
        response: web.StreamResponse = web.StreamResponse(headers=headers) if large else web.Response(body=body, headers=headers)
        response.content_type = "application/json"
        if is_mirror(request):
            await self._chain.add_age(request, response, answer.ds, CacheStatus.LOCAL)
        return await send_whole(request, response, body) if large else response

    async def _whole_answer(
        self, request: web.Request, program: str, given: Mapping[str, str]
    ) -> web.StreamResponse:
        """JSOC's own answer to an unchanged question: kept, and reused while it is recent, or JSOC is away."""
        demand = demand_of(request)
        question = await self._whole.question(program, given, demand)
        if question is None:
            return await self._proxy.pass_through(request, origin="forwarded")
        asked, asked_at = question, self._now()
        # What storage tells of now is asked each time, and kept for the time when JSOC is away.
        found = None
        if program != "jsoc_info" or not _LIVE_KEYS & set(given.get("key", "").split(",")):
            found = await self._whole.find(asked, demand) or await self._whole.awaited(asked, demand)
        if found is None:
            try:
                with self._whole.asking(asked, demand):
                    return await self._proxy.pass_through(
                        request, "forwarded", lambda body, encoding: self._whole.keep(asked, body, encoding, asked_at)
                    )
            except (NotHeld, OverBudget, UpstreamError):
                if not self._whole.may_be_stale(demand):
                    raise
                found = await self._whole.find(asked, demand, any_age=True)
                if found is None:
                    raise
        headers = cache_headers(found.origin, found.checked_at, self._now())
        return _response(request, found.body, _KINDS.get(program, "text/plain"), headers)

    async def show_series(self, request: web.Request) -> web.StreamResponse:
        """The list of series with prime keys and notes."""
        wanted = decode_catalogue(await parameters(request))
        entries = await self._listing.series(demand_of(request))
        return _json(request, encode_show_series(select_series(entries, wanted.filter)))

    async def showextseries(self, request: web.Request) -> web.StreamResponse:
        """The list of all series, including internal ones."""
        wanted = decode_catalogue(await parameters(request))
        entries = await self._listing.all_series(notes=wanted.info, demand=demand_of(request))
        chosen = select_series(entries, wanted.filter)
        return _json(request, encode_showextseries(chosen, info=wanted.info))

    async def check_address(self, request: web.Request) -> web.StreamResponse:
        """Whether an address may export."""
        address = decode_address(await parameters(request))
        answer = await self._listing.check_address(address, demand_of(request))
        return _json(request, encode_address_answer(answer))

    async def show_info(self, request: web.Request) -> web.StreamResponse:
        """Records as text."""
        params = await parameters(request)
        demand = demand_of(request)
        if only_jsoc_prints(params):
            # Nothing printed about no records cannot be told from a program that died, and is not kept: a count is.
            if may_print_nothing(params):
                with suppress(MirrorError):
                    counted = await self._search.rs_summary(SummaryRequest(params["ds"]), demand)
                    if not counted.value:
                        return self._text(request, b"", counted)
            return await self._whole_answer(request, "show_info", params)
        wanted = decode_show_info(params)
        if not await self._search.is_one_set(wanted.ds):
            return await self._whole_answer(request, "show_info", params)
        if wanted.count:
            counted = await self._search.rs_summary(SummaryRequest(wanted.ds), demand)
            return self._text(request, encode_show_count(wanted, counted.value), counted)
        known = CacheDemand.ONLY_IF_CACHED if demand is CacheDemand.ONLY_IF_CACHED else CacheDemand.DEFAULT
        series = await self._search.structure(wanted.ds, known)
        if not series.segments:
            wanted = wanted.without_all_segments()
        query = show_info_query(wanted)
        try:
            found = await self._search.rs_list(query, demand)
        except (NotHeld, UpstreamError):
            # More records than rs_list lists, for example: this program has no limit.
            with suppress(MirrorError):
                return await self._whole_answer(request, "show_info", params)
            raise
        request[RECORDS] = found.value.count
        if has_missing_texts(found.value, series.keyword) and known is not CacheDemand.ONLY_IF_CACHED:
            # JSOC prints nothing for a missing text, but some series store this very word.
            with suppress(MirrorError):
                return await self._whole_answer(request, "show_info", params)
        needed = has_missing_numbers(found.value, series.keyword)
        formats = await self._search.formats(series, known) if needed else {}
        body = await self._search.offload.run(
            lambda: encode_show_info(wanted, found.value, keyword=series.keyword, formats=formats),
            long=found.value.count > LONG_ANSWER,
        )
        return self._text(request, body, found)

    def _json(self, request: web.Request, body: bytes, found: Found[Any]) -> web.Response:
        return _response(request, body, "application/json", self._told(found))

    def _text(self, request: web.Request, body: bytes, found: Found[Any]) -> web.Response:
        return _response(request, body, "text/plain", self._told(found))

    def _told(self, found: Found[Any]) -> dict[str, str]:
        return cache_headers(found.origin, found.checked_at, self._now())


def _since(started: float) -> float:
    return time.perf_counter() - started


def _json(request: web.Request, body: bytes) -> web.Response:
    return _response(request, body, "application/json", {})


def _response(request: web.Request, body: bytes, kind: str, headers: Mapping[str, str]) -> web.Response:
    response = web.Response(
        body=body, content_type=kind, headers=headers, zlib_executor_size=COMPRESS_FROM * 64
    )
    if len(body) >= COMPRESS_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response


#: Seconds after which a client should ask again about a request at JSOC while JSOC does not answer.
UNKNOWN_WAIT = 30
REPEAT_REFUSED = "Re-Export requests temporarily disabled."


class Fetch:
    """The handler of jsoc_fetch.

    ``turn`` is held while a request of an address is made, ``now`` gives Unix seconds, ``peers`` are those of a cluster.
    """

    def __init__(
        self,
        exports: Exports,
        units: UnitFiles,
        proxy: Proxy,
        turn: Turn,
        now: Callable[[], float],
        peers: Peers | None = None,
    ) -> None:
        self._peers = peers
        self._now = now
        self._turn = turn
        self._exports = exports
        self._units = units
        self._proxy = proxy

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the program, by GET and POST."""
        for path, program in PROGRAM_PATHS.items():
            if program == "jsoc_fetch":
                PROGRAM_ROUTES[path].add(router, self.jsoc_fetch)

    async def jsoc_fetch(self, request: web.Request) -> web.StreamResponse:
        """exp_request, exp_status, exp_repeat, exp_su."""
        given = await parameters(request)
        form = wanted_format(given)
        try:
            asked = decode_fetch(given)
        except MirrorError as problem:
            return _answer(Failed(4, str(problem)), form)
        if isinstance(asked, ExportRequest) and demand_of(request) is CacheDemand.ONLY_IF_CACHED:
            raise NotHeld("a new export may need JSOC, but this request allows cached data only")
        if isinstance(asked, ExportRequest):
            found = await self._exports.asked(asked, alone=self._peers is None or FROM_PEER in request.headers)
            if found.elsewhere is not None and self._peers is not None:
                theirs = await self._peers.made(request, found.elsewhere)
                if theirs is not None:
                    return theirs
                found = await self._exports.asked(asked)
            if found.absent and "dbhost" in given and self._proxy.may_ask(request):
                # A series of a database that only JSOC's own program queries.
                async with self._turn(asked.notify):
                    return await self._proxy.pass_through(request, origin="forwarded")
            if isinstance(found.answer, Failed):
                return _answer(found.answer, form)
            return _answer(found.answer, form, headers=cache_headers(found.origin, found.checked_at, self._now()))
        if isinstance(asked, RepeatRequest):
            return _answer(Failed(4, REPEAT_REFUSED), form)
        if isinstance(asked, StatusRequest):
            answer = await self._exports.status(asked.request_id)
            if answer is not None:
                values = await self._exports.values(asked.request_id)
                return _answer(answer, form, headers={VALUES: values} if values else None)
        if isinstance(asked, UnitsRequest):
            units = await self._units.answer(asked)
            if units is not None:
                return _answer(units, form)
        # A request that was made at JSOC itself, or for units that are not cached: JSOC knows.
        try:
            return await self._proxy.pass_through(request, origin="forwarded")
        except MirrorError as problem:
            if not isinstance(asked, StatusRequest):
                return _answer(failure(problem), form)
            if is_mirror(request) or demand_of(request) is CacheDemand.ONLY_IF_CACHED:
                raise  # HTTP has codes for that
            # JSOC may know it, and after an error a client would not ask again.
            headers = {"Retry-After": str(UNKNOWN_WAIT), "Warning": '111 jsoc-mirror "JSOC is not responding"'}
            return _answer(Pending(asked.request_id, "", "", UNKNOWN_WAIT, status=1), form, headers=headers)


def _answer(
    answer: ExportAnswer | StorageUnits, form: Format, headers: Mapping[str, str] | None = None
) -> web.Response:
    body = encode_answer(answer, form)
    return web.Response(body=body, content_type=content_type(form).partition(";")[0], headers=headers)
