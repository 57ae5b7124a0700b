"""The web application: which handler answers which path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from mirror.errors import TooLarge
from mirror.server.access.targets import one_spelling
from mirror.server.errors import Suggestions, answer_problems, problem_response
from mirror.server.limits import PARAMETERS, body_limit
from mirror.server.roles import PASSED, PASSED_ON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.typedefs import Middleware

    from mirror.server.access.gate import Gate
    from mirror.server.jsoc.alternatives import Alternatives
    from mirror.server.jsoc.plain_files import PagesOfJsoc
    from mirror.server.jsoc.proxy import Proxy
    from mirror.server.mirror_chain import Chain
    from mirror.server.peers import Peers


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
