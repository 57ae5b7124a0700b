"""The forward proxy for JSOC, and for JSOC only; what the mirror does not answer itself is passed through.

Clients that set HTTP_PROXY send absolute targets (``GET http://jsoc.stanford.edu/...``). Anything for another host is
refused, unless ``[access] pass_through`` names it: the mirror is not a way around a firewall.
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
from mirror.storage.index.answers import LARGEST_BODY
from mirror.upstream.transport import LONGEST_QUERY
from mirror.wire.params import FORM
from mirror.wire.paths import JSOC_HOSTS, PROGRAM_PATHS, normal_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from aiohttp.typedefs import Handler

    from mirror.readthrough.downloads import OtherAnswer
    from mirror.readthrough.policy import Rules
    from mirror.server.forwarding import Forwarding
    from mirror.upstream.client import UpstreamClient
    from mirror.upstream.transport import Passthrough

    Taken = Callable[[bytes, str], Awaitable[None]]

#: Headers of a request that are passed on to JSOC: what is wanted, and nothing about who asks here or from where.
_ONWARD = (
    "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Type", "If-Match",
    "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Pragma", "Range",
)  # fmt: skip
#: Headers of JSOC's answer that are passed on: those that describe the body. Others could act on a browser, or on a
#: server in front of us, as if they were ours (Set-Cookie, Clear-Site-Data, Refresh, Link, X-Accel-Redirect,
#: Strict-Transport-Security, ...).
_BACK = (
    "Accept-Ranges", "Age", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language",
    "Content-Length", "Content-Range", "Content-Type", "Date", "ETag", "Expires", "Last-Modified", "Retry-After",
    "Vary", "Warning", "X-Mirror-Values",
)  # fmt: skip
#: A header value that is safe for any server in front of us or behind.
_PLAIN = re.compile(r"[\t\x20-\x7e]*")
_REDIRECTS = range(300, 400)
#: Programs of JSOC that also accept their parameters as a form; its server refuses long addresses.
_TAKE_FORMS = frozenset({"jsoc_info", "jsoc_fetch", "show_info"})
#: Codes below this one are not final answers.
_REAL = 200
_OK = 200
#: First parts of paths whose answers are for programs, not browsers.
_FOR_PROGRAMS = ("api", "cgi-bin", "static", "healthz", "metrics")


class Proxy:
    """Passes requests through to JSOC, without keeping anything."""

    def __init__(
        self, upstream: UpstreamClient, rules: Rules, allowed: frozenset[str], others: Forwarding, *, by_https: bool = False
    ) -> None:
        self._by_https = by_https
        self._others = others
        self._upstream = upstream
        self._rules = rules
        self._allowed = allowed

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse tunnels, absolute targets on hosts other than JSOC's, and methods that JSOC does not use."""
        target = request.raw_path
        if self.is_for_others(request):
            return await self._others.answer(request)
        if request.method == "CONNECT":
            raise web.HTTPForbidden(
                text=f"tunnels are refused ({target}); expected plain http to JSOC, or a host of [access] pass_through\n"
            )
        if not target.startswith("/"):
            parts = urlsplit(target)
            if parts.scheme != "http" or parts.netloc.lower().removesuffix(":80") not in self._allowed:
                raise web.HTTPForbidden(
                    text=f"{parts.scheme}://{parts.netloc} is not served; this proxy is for "
                    f"{', '.join('http://' + host for host in sorted(self._allowed))} only. Name the host in NO_PROXY, "
                    "or in pass_through below [access] in the mirror's config.toml\n"
                )
        resource = request.match_info.route.resource
        if request.method not in METHODS and (resource is None or is_jsocs(resource.canonical)):
            if request.method == "OPTIONS":
                return web.Response(status=204, headers={"Allow": ALLOW})
            if _is_ours(request):
                return await self.handle(request)
            raise web.HTTPMethodNotAllowed(request.method, METHODS)
        return await handler(request)

    def is_for_others(self, request: web.Request) -> bool:
        """Whether a request is for a host other than JSOC's, and is forwarded to it."""
        target = request.raw_path
        if target.startswith("/") or urlsplit(target).netloc.lower().removesuffix(":80") in self._allowed:
            return False
        return self._others.is_for_us(request)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any other page of JSOC; 404 for a path that could only be ours and does not exist, 405 for a wrong method."""
        if _is_ours(request):
            if methods := await _methods(request):
                expected = ", ".join(sorted(methods - {"HEAD"}))
                reason = f"{request.method} is no method of {request.path[:200]}; expected {expected}"
                return web.json_response({"error": reason}, status=405, headers={"Allow": ", ".join(sorted(methods))})
            reason = f"not found: {request.method} {request.path[:200]} in this mirror"
            return web.json_response({"error": reason}, status=404)
        return await self.pass_through(request)

    def may_ask(self, request: web.Request) -> bool:
        """Whether JSOC may be contacted for this request."""
        return self._rules.asks(demand_of(request))

    async def pass_through(
        self, request: web.Request, origin: str = "passed", taken: Taken | None = None
    ) -> web.StreamResponse:
        """JSOC's own answer to this request, streamed; ``origin`` is the value of X-Mirror.

        ``taken`` gets the body, once it is complete and before the last of it is sent, and its Content-Encoding, if it
        is small enough to be kept. Errors are raised before anything is sent.
        """
        demand = demand_of(request)
        if not self._rules.asks(demand):
            why = self._rules.why_not(demand)
            raise NotHeld(f"{request.path} needs JSOC, and {why}", (request.path,))
        target, headers, body = await asked_of(request)
        form = _as_form(request.method, target)
        if form is None or len(form[1]) <= LONGEST_QUERY:
            async with self._upstream.raw(request.method, target, headers, body) as answer:
                if form is None or answer.status != web.HTTPRequestURITooLong.status_code:
                    return await self._sent_on(request, answer, origin, taken)
        headers["Content-Type"] = FORM
        async with self._upstream.raw("POST", form[0], headers, form[1]) as answer:
            return await self._sent_on(request, answer, origin, taken)

    async def _sent_on(
        self, request: web.Request, answer: Passthrough, origin: str, taken: Taken | None
    ) -> web.StreamResponse:
        headers = self._answered_with(request, answer.status, answer.headers)
        if answer.status == web.HTTPNotFound.status_code and for_browser(request):  # our page replaces it
            return web.Response(status=answer.status, text="404: Not Found", headers={"X-Mirror": origin})
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.headers["X-Mirror"] = origin
        if taken is None or answer.status != _OK or request.method == "HEAD":
            return await send(request, response, answer.body)
        encoding = answer.headers.get("Content-Encoding", "")
        return await send(request, response, _copied(answer.body, lambda body: taken(body, encoding)))

    async def other_answer(self, request: web.Request, other: OtherAnswer) -> web.StreamResponse:
        """JSOC's answer where a file was expected."""
        headers = self._answered_with(request, other.status, other.headers)
        headers.popall("Content-Length", None)
        response = web.Response(status=other.status, headers=headers, body=other.body)
        response.headers["X-Mirror"] = "passed"
        return response

    def _answered_with(
        self, request: web.Request, status: int, given: Mapping[str, str]
    ) -> CIMultiDict[str]:
        """The headers of JSOC's answer that are passed on."""
        if status < _REAL:
            raise UpstreamBroken(f"JSOC answers with the code {status}; expected one from {_REAL} on")
        headers = _only(given, _BACK)
        if status in _REDIRECTS and "Location" in given:
            headers["Location"] = self._location(request, given["Location"])
        return headers

    def _location(self, request: web.Request, given: str) -> str:
        """Where a redirect of JSOC leads, for this request; UpstreamBroken if not to another page of JSOC."""
        page = f"http://{asked_host(request) or min(JSOC_HOSTS)}{_origin_form(request.raw_path)}"
        found = leads_to(given, page, self._allowed, by_https=self._by_https)
        if found is None:
            raise UpstreamBroken(
                f"JSOC leads on to {given[:100]!a}; expected another page of JSOC by http://"
            )
        host, path = found
        if request.raw_path.startswith("/"):
            return path
        # The client does not know a server between us and JSOC.
        return f"http://{host if host in JSOC_HOSTS else urlsplit(request.raw_path).netloc}{path}"


def leads_to(given: str, page: str, hosts: frozenset[str], *, by_https: bool) -> tuple[str, str] | None:
    """Host and path of another page of JSOC to which a redirect of ``page`` leads; None if it leads elsewhere.

    A server that is asked ``by_https`` names its pages by https.
    """
    try:
        address = urlsplit(urljoin(page, given.strip()))
        path = normal_path(address.path or "/") + (f"?{address.query}" if address.query else "")
    except (ValueError, BadRequest):
        return None
    secure = by_https and address.scheme == "https"
    host = address.netloc.lower().removesuffix(":443" if secure else ":80")
    known = (secure or address.scheme == "http") and host in hosts
    return (host, path) if known and path != _origin_form(page) and _PLAIN.fullmatch(path) else None


async def asked_of(request: web.Request) -> tuple[str, CIMultiDict[str], bytes | None]:
    """The parts of a request that are passed on: path with its query, headers, body."""
    body = await request.read() if request.body_exists else None
    headers = _only(request.headers, _ONWARD)
    if (host := asked_host(request)) is not None:
        headers["Host"] = host
    return _origin_form(request.raw_path), headers, body


def given_back(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers of an answer that are passed on."""
    return _only(headers, _BACK)


def _as_form(method: str, target: str) -> tuple[str, bytes] | None:
    """Path and body of the same request as a form, for a program that accepts one; servers refuse long addresses."""
    path, _, query = target.partition("?")
    known = method == "GET" and query.isascii() and PROGRAM_PATHS.get(path) in _TAKE_FORMS
    return (path, query.encode("ascii")) if known else None


def for_browser(request: web.Request) -> bool:
    """Whether a person waits for a page of the mirror, rather than a program for data or for JSOC's answer."""
    return (
        request.method == "GET"
        and request.raw_path.startswith("/")
        and "text/html" in request.headers.get("Accept", "")
        and request.path.split("/")[1] not in _FOR_PROGRAMS
        and asked_host(request) is None
    )


def asked_host(request: web.Request) -> str | None:
    """The name of JSOC's server to which a request is addressed, in lower case; None if it names another host."""
    target = request.raw_path
    named = request.headers.get("Host", "") if target.startswith("/") else urlsplit(target).netloc
    host = named.lower().removesuffix(":80")
    return host if host in JSOC_HOSTS else None


async def _copied(
    pieces: AsyncIterator[bytes], taken: Callable[[bytes], Awaitable[None]]
) -> AsyncIterator[bytes]:
    """The same pieces; the last one is sent after ``taken`` has got them all, unless they are too large to keep.

    So a client that has read the answer and asks again finds it kept.
    """
    copied, last = bytearray(), b""
    async for piece in pieces:
        if last:
            yield last
        last = piece
        if len(copied) <= LARGEST_BODY:
            copied += piece
    if len(copied) <= LARGEST_BODY:
        await taken(bytes(copied))
    yield last


def _only(headers: Mapping[str, str], names: Iterable[str]) -> CIMultiDict[str]:
    """The headers with these names, each once, whose values are safe to send."""
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


def _is_ours(request: web.Request) -> bool:
    """True for a path that JSOC has not."""
    return request.raw_path.startswith("/") and request.path.split("/")[1] in OURS


async def _methods(request: web.Request) -> set[str]:
    """The methods with which a path of ours can be asked; none if there is no such path."""
    resources = [resource for resource in request.app.router.resources() if not is_jsocs(resource.canonical)]
    return {method for resource in resources for method in (await resource.resolve(request))[1]}
