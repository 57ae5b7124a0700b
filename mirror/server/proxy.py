"""The forward proxy for JSOC, and for JSOC only; what the mirror does not answer itself passes through.

Clients that set HTTP_PROXY send absolute targets (``GET http://jsoc.stanford.edu/...``). Anything for
another host is refused: the mirror is no way around a firewall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from mirror.drms.errors import NotHeld
from mirror.server.sending import send
from mirror.server.wishes import wish_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.engine.policy import Rules
    from mirror.upstream.client import UpstreamClient

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSOC_HOSTS = frozenset({"jsoc.stanford.edu", "jsoc1.stanford.edu"})


class Proxy:
    """Passes requests through to JSOC, unkept."""

    def __init__(self, upstream: UpstreamClient, rules: Rules, allowed: frozenset[str]) -> None:
        self._upstream = upstream
        self._rules = rules
        self._allowed = allowed

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse tunnels, and absolute targets on other hosts than JSOC's."""
        target = request.raw_path
        if request.method == "CONNECT":
            raise web.HTTPForbidden(text=f"tunnels are refused ({target}); expected plain http to JSOC\n")
        if not target.startswith("/"):
            parts = urlsplit(target)
            if parts.scheme != "http" or parts.netloc.lower().removesuffix(":80") not in self._allowed:
                raise web.HTTPForbidden(
                    text=f"{parts.scheme}://{parts.netloc} is not served; this proxy is for "
                    f"{', '.join('http://' + host for host in sorted(self._allowed))} only\n"
                )
        return await handler(request)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any other page of JSOC."""
        return await self.pass_through(request)

    async def pass_through(self, request: web.Request, origin: str = "passed") -> web.StreamResponse:
        """JSOC's own answer to this request, streamed and not kept; ``origin`` is what X-Mirror says."""
        wish = wish_of(request.headers)
        if not self._rules.asks(wish):
            why = self._rules.why_not(wish)
            raise NotHeld(f"{request.path} is answered by JSOC only, and {why}", (request.path,))
        target = _origin_form(request.raw_path)
        body = await request.read() if request.body_exists else None
        async with self._upstream.raw(request.method, target, _for_jsoc(request), body) as answer:
            response = web.StreamResponse(status=answer.status, headers=answer.headers)
            response.headers["X-Mirror"] = origin
            return await send(request, response, answer.body)


def _for_jsoc(request: web.Request) -> CIMultiDict[str]:
    """The headers of a request; without what was meant for us if it did not come as to a proxy."""
    headers = CIMultiDict(request.headers)
    if request.raw_path.startswith("/"):
        for name in ("Authorization", "Cookie"):
            headers.popall(name, None)
    return headers


def _origin_form(target: str) -> str:
    """Path and query of a request target in either form."""
    if target.startswith("/"):
        return target
    parts = urlsplit(target)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
