"""What handlers read from a request: parameters, principal, Cache-Control, and whether the client is still connected.

Two directives of Cache-Control are honoured. ``no-cache``: check with JSOC what this request reads.
``only-if-cached``: do not ask JSOC, and answer 504 if something is missing. ``max-age=0``, which browsers send on a
reload, and ``Pragma``, which old programs always send, are ignored. When a client disconnects, work for it that nobody
else waits for ends.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus
from mirror.services.access.authentication import Principal
from mirror.wire.params import decode_body, decode_params

if TYPE_CHECKING:

    from collections.abc import AsyncIterator, Mapping



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


#: Seconds between two looks.
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
