"""The web application: the normal form of a request's target, the limit of its body, and which handler answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from mirror.errors import BadRequest, TooLarge
from mirror.server.errors import Suggestions, answer_problems, problem_response
from mirror.server.limits import PARAMETERS, body_limit
from mirror.server.requests import ALLOW
from mirror.server.roles import OURS, PASSED, PASSED_ON
from mirror.wire.paths import normal_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from aiohttp.typedefs import Handler, Middleware

    from mirror.server.access.gate import Gate
    from mirror.server.jsoc.alternatives import Alternatives
    from mirror.server.jsoc.plain_files import PagesOfJsoc
    from mirror.server.jsoc.proxy import Proxy
    from mirror.server.peers import Peers
    from mirror.server.requests import Chain


class Handlers(Protocol):
    """Handlers of a kind, with the paths that they answer."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""


def build_app(
    parts: Iterable[Handlers],
    gate: Gate,
    proxy: Proxy,
    pages: PagesOfJsoc,
    chain: Chain,
    count: Middleware,
    suggestions: Suggestions,
    show_problems: Middleware,
    alternatives: Alternatives,
    peers: Peers | None = None,
) -> web.Application:
    """The application of these parts; what none of them answers is passed on to JSOC.

    Every request is normalized first; then ``gate`` sees it, and ``count`` what the gate admits.
    """
    spelling = one_spelling(proxy.is_for_others)
    errors = (answer_problems, chain.follow, suggestions.suggest, show_problems, alternatives.ask)
    layers = [spelling, bound_body, gate.admit, count, proxy.guard, *errors, gate.pass_on]
    app = web.Application(middlewares=layers)
    gate.guard(app)
    for part in parts:
        part.add_to(app.router)
    PASSED_ON.add(app.router, pages.handle)
    if peers is not None:
        peers.stand_before(app.router)
    return app


@web.middleware
async def bound_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a body that is larger than its route allows, also one that does not announce its length."""
    if not request.body_exists:
        return await handler(request)
    resource = request.match_info.route.resource
    limit = body_limit(PASSED if resource is None else resource.canonical)
    if (request.content_length or 0) > limit:
        return problem_response(
            request, TooLarge(f"the body has {request.content_length:,} bytes; expected at most {limit:,}")
        )
    # A copy with another limit would not share the body that was read.
    request._client_max_size = limit  # noqa: SLF001
    request._client_max_fields = PARAMETERS  # noqa: SLF001
    return await handler(request)


# ---- the target of a request ---------------------------------------------------------------------
# It is normalized before anything is decided by it: role, route, origin, turn.
#
# ``GET //cgi-bin/ajax/jsoc_info`` and ``GET http://jsoc.stanford.edu/./cgi-bin/ajax/jsoc_info`` are routed, checked and
# passed on as JSOC's server reads them. An ambiguous target is answered 400, whoever asks.

#: Marks a request whose target is normalized already.
_NORMAL = web.RequestKey("normal_target", bool)
_ABSOLUTE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL
)
#: The most characters of a header Host: a name of 253, a port, and some to spare.
_LONGEST_HOST = 300


def one_spelling(is_for_others: Callable[[web.Request], bool]) -> Middleware:
    """The middleware that routes and answers a request by the normal form of its target.

    Targets that are passed on to servers other than JSOC's stay unchanged.
    """

    @web.middleware
    async def spell(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.get(_NORMAL) or is_for_others(request):
            return await handler(request)
        return await _respelled(request, handler)

    return spell


async def _respelled(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        _check_host(request)
        target = normal_target(request.method, request.raw_path)
    except BadRequest as problem:
        return web.json_response({"status": 1, "error": str(problem)}, status=400)
    if target == "*":
        return web.Response(status=204, headers={"Allow": ALLOW})
    if target == request.raw_path:
        return await handler(request)
    headers = CIMultiDict(request.headers)
    headers.popall("Expect", None)  # it has been answered already
    again = request.clone(rel_url=URL(target, encoded=True), headers=headers)
    again[_NORMAL] = True
    # aiohttp chooses the route before the first middleware, and offers no other way to choose it again.
    return await request.app._handle(again)  # noqa: SLF001


def normal_target(method: str, target: str) -> str:
    """The target with its path in normal form; BadRequest for an invalid or ambiguous one.

    ``*`` and a host without a path (``CONNECT host:port``) stay unchanged; so do addresses other than ``http:``,
    which are refused later.
    """
    if target.startswith("/"):
        return _with_path("", target, OURS)
    if method == "CONNECT" or (method == "OPTIONS" and target == "*"):
        return target
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise BadRequest(
            f"{target[:100]!a} is not a request target; expected a path or an http:// URL"
        )
    if found["scheme"].lower() != "http":
        return target
    return _with_path(f"http://{found['host'].lower()}", (found["path"] or "/") + found["rest"])


def _with_path(before: str, text: str, ours: AbstractSet[str] = frozenset()) -> str:
    path, mark, query = text.partition("?")
    if "#" in path:
        raise BadRequest(f"the path {path[:100]!a} contains #; expected %23")
    return before + normal_path(path, ours) + mark + query


def _check_host(request: web.Request) -> None:
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or any(len(host) > _LONGEST_HOST or not host.isprintable() for host in hosts):
        raise BadRequest(
            "the header Host is given twice, or is too long; expected it once, as a name with a port"
        )
