"""The target of a request in its one spelling, before anything is decided by it: role, route, origin, turn.

``GET //cgi-bin/ajax/jsoc_info`` and ``GET http://jsoc.stanford.edu/./cgi-bin/ajax/jsoc_info`` are found, checked and
passed on as what JSOC's server makes of them. What is ambiguous is answered 400, whoever asks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from mirror.errors import BadRequest
from mirror.server.requests import ALLOW
from mirror.server.roles import OURS
from mirror.wire.paths import normal_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from collections.abc import Set as AbstractSet

    from aiohttp.typedefs import Middleware

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Says that a request has its target in the one spelling already.
_NORMAL = web.RequestKey("normal_target", bool)
_ABSOLUTE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL
)
#: Characters of a header Host: a name of 253, a port, and something to spare.
_LONGEST_HOST = 300


def one_spelling(is_for_others: Callable[[web.Request], bool]) -> Middleware:
    """The middleware that has a request found and answered by the normal form of its target.

    What is passed on to other servers than JSOC's is for these to read, and stays as it is.
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
    headers.popall("Expect", None)  # it was answered already
    again = request.clone(rel_url=URL(target, encoded=True), headers=headers)
    again[_NORMAL] = True
    # aiohttp chooses the route before the first middleware, and has no other way to choose it a second time.
    return await request.app._handle(again)  # noqa: SLF001


def normal_target(method: str, target: str) -> str:
    """The target with its path in its normal form; BadRequest if it is no target, or an ambiguous one.

    ``*`` and what names a host without a path (``CONNECT host:port``) stay; so do addresses that are not ``http:``,
    which are refused further on.
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
