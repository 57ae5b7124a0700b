"""The web application: which handler answers which path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from mirror.server.problems import answer_problems
from mirror.server.targets import one_spelling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.typedefs import Middleware

    from mirror.server.chain import Chain
    from mirror.server.gate import Gate
    from mirror.server.proxy import Proxy

#: Bytes of a request's body, and of its first line: a query of a megabyte gets an error of ours.
LARGEST_BODY = 4 * 2**20
LARGEST_LINE = 4 * 2**20


class Part(Protocol):
    """Handlers of a kind, with the paths that they answer."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""


def build_app(
    parts: Iterable[Part], gate: Gate, proxy: Proxy, chain: Chain, count: Middleware
) -> web.Application:
    """The application of these parts; what none of them answers goes to JSOC.

    Every request gets its one spelling first; ``gate`` sees it then, ``count`` what that lets in.
    """
    layers = [one_spelling, gate.admit, count, proxy.guard, answer_problems, chain.follow, gate.pass_on]
    app = web.Application(middlewares=layers, client_max_size=LARGEST_BODY)
    gate.guard(app)
    for part in parts:
        part.add_to(app.router)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    return app
