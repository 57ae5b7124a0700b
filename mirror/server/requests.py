"""What handlers read from a request: parameters, bodies, principal, Cache-Control, whether another mirror asks.

Two directives of Cache-Control are honoured. ``no-cache``: check with JSOC what this request reads.
``only-if-cached``: do not ask JSOC, and answer 504 if something is missing. ``max-age=0``, which browsers send on a
reload, and ``Pragma``, which old programs always send, are ignored. When a client disconnects, work for it that nobody
else waits for ends.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl

from aiohttp import web

from mirror.api.contract import LARGEST
from mirror.api.reading import shown
from mirror.config.access import address_of
from mirror.errors import BadRequest
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus
from mirror.services.access.authentication import Principal
from mirror.upstream.transport import mirrors
from mirror.wire.params import FORM, decode_body, decode_params

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.typedefs import Handler

    from mirror.services.search.search import Ages
    from mirror.upstream.transport import Route


async def parameters(request: web.Request) -> dict[str, str]:
    """The parameters of a request: its query string, and for a POST its body, which takes precedence."""
    given = decode_params(request.raw_path.partition("?")[2])
    if request.method == "POST":
        given |= decode_body(await request.read(), request.headers.get("Content-Type", ""))
    return given


#: Methods that JSOC's server accepts.
METHODS = ("GET", "HEAD", "POST")
ALLOW = ", ".join((*METHODS, "OPTIONS"))


#: Who sends the request, and with which role.
PRINCIPAL = web.RequestKey("principal", Principal)
#: The value that a form of a page must have in its field ``form_token``.
FORM_TOKEN = web.RequestKey("form_token", str)
#: How a handler says how many records its answer has: ``request[RECORDS] = 40``.
RECORDS = web.RequestKey("records", int)
#: Bytes of an answer that bypassed aiohttp, which counts only what it writes itself.
SENT = web.RequestKey("sent", int)
#: The header that says that keywords in exported files have only the printed digits: ``printed``.
VALUES = "X-Mirror-Values"
#: Marks a body that is JSOC's, and must not act on a browser as one of our pages.
FOREIGN = web.RequestKey("foreign", bool)
#: The header that says how an answer came about.
HEADER = "X-Mirror"
_DEMAND = web.RequestKey("demand", CacheDemand)


def demand_of(request: web.Request) -> CacheDemand:
    """The demand of a request; its header is read once."""
    known = request.get(_DEMAND)
    if known is None:
        known = request[_DEMAND] = demand_in(request.headers)
    return known


def demand_in(headers: Mapping[str, str]) -> CacheDemand:
    """The demand in headers, whose names may be in any case."""
    words = {word.strip().lower() for word in headers.get("Cache-Control", "").split(",")}
    if "only-if-cached" in words:
        return CacheDemand.ONLY_IF_CACHED
    return CacheDemand.REVALIDATE if "no-cache" in words else CacheDemand.DEFAULT


def names_of(text: str) -> tuple[str, ...]:
    """The names in a parameter, separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def cache_headers(origin: CacheStatus, checked_at: float | None, now: float) -> dict[str, str]:
    """The headers that say how an answer came about, and its age if it should have been checked."""
    headers = {HEADER: origin.name.lower()}
    if origin is CacheStatus.STALE:
        headers["Warning"] = '110 jsoc-mirror "Response is Stale"'
        if checked_at is not None:
            headers["Age"] = str(max(0, round(now - checked_at)))
    return headers


#: Seconds between two looks whether a client is still connected.
LOOK = 0.2


class HungUp(ConnectionResetError):
    """The client has disconnected: nobody would read an answer."""


@asynccontextmanager
async def while_connected(request: web.Request, *, look: float = LOOK) -> AsyncIterator[None]:
    """Run the block as long as the client is connected; HungUp once it is not.

    Writing notices that anyway; this is for the time before there is anything to write.
    """
    try:
        async with asyncio.timeout(None) as scope:
            watch = asyncio.create_task(_watch(request, scope, look))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError:
        if scope.expired():
            raise HungUp("the client hung up") from None
        raise


async def _watch(request: web.Request, scope: asyncio.Timeout, look: float) -> None:
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110  (it tells nobody)
        await asyncio.sleep(look)
    scope.reschedule(asyncio.get_running_loop().time())


# ---- who is near ---------------------------------------------------------------------------------

#: Headers by which a server in front of us passes on who asks.
_PASSED_ON = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


def is_passed_on(request: web.Request) -> bool:
    """True if a server in front of us passes the request on: then its address is not that of who asks."""
    return any(name in request.headers for name in _PASSED_ON)


def is_near(request: web.Request) -> bool:
    """True for a client on this machine."""
    address = address_of(request.remote)
    return address is not None and address.is_loopback and not is_passed_on(request)


# ---- bodies --------------------------------------------------------------------------------------
# To the mirror's own API and pages: JSON texts, forms, whole numbers. JSON is read within limits that no honest client
# reaches: depth, 64 bits, finite numbers, valid Unicode.

#: The deepest nesting of lists and objects.
_DEEPEST = 32
#: The most characters of a number.
_DIGITS = 40
#: Fields of a form, more than any page has.
_FIELDS = 100
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


async def form(request: web.Request) -> dict[str, str]:
    """The fields of a form of one of our pages; of a repeated name the last value counts."""
    if request.content_type != FORM:
        raise BadRequest(f"expected a form, with the header Content-Type: {FORM}")
    text = (await request.read()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError:
        raise BadRequest(f"the form has too many fields; expected at most {_FIELDS}") from None


def parse_json(text: bytes | str, what: str) -> Any:
    """The value of a JSON text; BadRequest, which begins with ``what``, if it is invalid or beyond the limits."""
    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            parse_constant=lambda name: _refuse(what, f"has {name}; expected finite numbers"),
            parse_float=lambda digits: _finite(digits, what),
            parse_int=lambda digits: _integer(digits, what),
        )
    except RecursionError:
        _refuse(what, f"is no JSON of use: nested too deep; expected at most {_DEEPEST} lists and objects in each other")
    except ValueError as error:
        raise BadRequest(f"{what} is no JSON, or not JSON alone: {error}") from None
    _check(value, what)
    return value


def whole(text: str, name: str, default: int) -> int:
    """The whole number in a parameter, ``default`` for ""; BadRequest for anything else."""
    if text.strip() == "":
        return default
    found = _WHOLE.fullmatch(text.strip())
    if found is None or abs(int(found[0])) > LARGEST:
        raise BadRequest(f"{name} is {shown(text)}, no whole number; expected a whole number of at most 64 bits")
    return int(found[0])


def _check(value: Any, what: str) -> None:
    """Refuse what is too deep, and text that cannot be encoded. Without recursion."""
    at_hand, depth = [value], 0
    while at_hand:
        depth += 1
        if depth > _DEEPEST and any(isinstance(each, dict | list) for each in at_hand):
            _refuse(what, f"is nested too deep; expected at most {_DEEPEST} lists and objects in each other")
        inside: list[Any] = []
        for each in at_hand:
            if isinstance(each, dict):
                inside += [*each, *each.values()]
            elif isinstance(each, list):
                inside += each
            elif isinstance(each, str) and (odd := _NO_TEXT.search(each)):
                _refuse(what, f"has a text with {odd[0]!a}; expected Unicode without NUL and lone surrogates")
        at_hand = inside


def _integer(digits: str, what: str) -> int:
    if len(digits) > _DIGITS:
        _refuse(what, f"has the number {digits[:_DIGITS]}..., which is too large; expected at most 64 bits")
    return int(digits)


def _finite(digits: str, what: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(what, f"has the number {digits[:_DIGITS]}, which is too large; expected a double")
    return number


def _refuse(what: str, reason: str) -> NoReturn:
    raise BadRequest(f"{what} {reason}")


# ---- other mirrors that ask ----------------------------------------------------------------------
# JSOC's programs answer every error with code 200; another mirror would take such an error for JSOC's own answer. So a
# mirror reports its own failures to another mirror by the HTTP code, with the reason in a header. It also says how old
# the last check of its answer is, so that the other does not take it for newer.

class Chain:
    """Handles questions of other mirrors."""

    def __init__(self, route: Route, ages: Ages) -> None:
        self._route = route
        self._ages = ages

    @web.middleware
    async def follow(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note which way the question came; ConfigError if that is a loop."""
        via, check = request.headers.get("Via", ""), demand_of(request) is CacheDemand.REVALIDATE
        self._route.enter(via, check=check)
        return await handler(request)

    async def add_age(
        self,
        request: web.Request,
        response: web.StreamResponse,
        ds: str,
        origin: CacheStatus,
        checked_at: float | None = None,
    ) -> None:
        """Set the header ``Age``, the seconds since the last check of the answer, if a mirror asks."""
        if is_mirror(request):
            response.headers["Age"] = str(await self._ages.of(ds, origin, checked_at))


def is_mirror(request: web.Request) -> bool:
    """True if another mirror asks."""
    return bool(mirrors(request.headers.get("Via", "")))
