"""The forward proxy for JSOC, and for JSOC only; what the mirror does not answer itself passes through.

Clients that set HTTP_PROXY send absolute targets (``GET http://jsoc.stanford.edu/...``). Anything for
another host is refused: the mirror is no way around a firewall.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from aiohttp import web
from multidict import CIMultiDict

from mirror.errors import BadRequest, NotHeld, UpstreamBroken
from mirror.server.jsoc.sendfile import send
from mirror.server.requests import ALLOW, METHODS, demand_of
from mirror.server.roles import OURS, is_jsocs
from mirror.wire.paths import normal_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from mirror.readthrough.policy import Rules
    from mirror.upstream.client import UpstreamClient

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSOC_HOSTS = frozenset({"jsoc.stanford.edu", "jsoc1.stanford.edu"})
#: Headers of a request that JSOC hears: what is wanted, and nothing of who asks here or where from.
_ONWARD = (
    "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Type", "If-Match",
    "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Pragma", "Range",
)  # fmt: skip
#: Headers of JSOC's answer that go on: what the body is. No other may act on a browser, or on a server in front of us,
#: as if it were ours (Set-Cookie, Clear-Site-Data, Refresh, Link, X-Accel-Redirect, Strict-Transport-Security, ...).
_BACK = (
    "Accept-Ranges", "Age", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language",
    "Content-Length", "Content-Range", "Content-Type", "Date", "ETag", "Expires", "Last-Modified", "Retry-After",
    "Vary", "Warning", "X-Mirror-Values",
)  # fmt: skip
#: A value that a header can carry, whatever is in front of us or behind.
_PLAIN = re.compile(r"[\t\x20-\x7e]*")
_REDIRECTS = range(300, 400)
#: Codes below this one announce something else: no answer.
_REAL = 200


class Proxy:
    """Passes requests through to JSOC, unkept."""

    def __init__(self, upstream: UpstreamClient, rules: Rules, allowed: frozenset[str]) -> None:
        self._upstream = upstream
        self._rules = rules
        self._allowed = allowed

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse tunnels, absolute targets on other hosts than JSOC's, and methods that JSOC has no use for."""
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
        resource = request.match_info.route.resource
        if request.method not in METHODS and (resource is None or is_jsocs(resource.canonical)):
            if request.method == "OPTIONS":
                return web.Response(status=204, headers={"Allow": ALLOW})
            raise web.HTTPMethodNotAllowed(request.method, METHODS)
        return await handler(request)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any other page of JSOC; 404 for what could only be ours, and is not there."""
        if request.raw_path.startswith("/") and request.path.split("/")[1] in OURS:
            told = f"there is no {request.method} {request.path[:200]} in this mirror"
            return web.json_response({"error": told}, status=404)
        return await self.pass_through(request)

    async def pass_through(self, request: web.Request, origin: str = "passed") -> web.StreamResponse:
        """JSOC's own answer to this request, streamed and not kept; ``origin`` is what X-Mirror says."""
        wish = demand_of(request)
        if not self._rules.asks(wish):
            why = self._rules.why_not(wish)
            raise NotHeld(f"{request.path} is answered by JSOC only, and {why}", (request.path,))
        target = _origin_form(request.raw_path)
        body = await request.read() if request.body_exists else None
        async with self._upstream.raw(
            request.method, target, _only(request.headers, _ONWARD), body
        ) as answer:
            if answer.status < _REAL:
                raise UpstreamBroken(f"JSOC answers with the code {answer.status}; expected one from {_REAL} on")
            headers = _only(answer.headers, _BACK)
            if answer.status in _REDIRECTS and "Location" in answer.headers:
                headers["Location"] = self._location(request, answer.headers["Location"])
            response = web.StreamResponse(status=answer.status, headers=headers)
            response.headers["X-Mirror"] = origin
            return await send(request, response, answer.body)

    def _location(self, request: web.Request, given: str) -> str:
        """Where a redirect of JSOC leads, for this request; UpstreamBroken if not to another page of JSOC."""
        asked = _origin_form(request.raw_path)
        try:
            address = urlsplit(urljoin(f"http://{min(JSOC_HOSTS)}{asked}", given.strip()))
            path = normal_path(address.path or "/") + (f"?{address.query}" if address.query else "")
        except (ValueError, BadRequest):
            address, path = urlsplit("//"), asked
        known = address.scheme == "http" and address.netloc.lower().removesuffix(":80") in self._allowed
        if not known or path == asked or _PLAIN.fullmatch(path) is None:
            raise UpstreamBroken(
                f"JSOC leads on to {given[:100]!a}; expected another page of JSOC by http://"
            )
        return path if request.raw_path.startswith("/") else f"http://{address.netloc}{path}"


def _only(headers: Mapping[str, str], names: Iterable[str]) -> CIMultiDict[str]:
    """Those of these names, each once, whose values can be sent as they are."""
    found = ((name, headers.get(name)) for name in names)
    return CIMultiDict(
        (name, value) for name, value in found if value is not None and _PLAIN.fullmatch(value)
    )


def _origin_form(target: str) -> str:
    """Path and query of a request target in either form."""
    if target.startswith("/"):
        return target
    parts = urlsplit(target)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
