"""The parameters of a request to JSOC's programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.wire.params import decode_body, decode_params

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def parameters(request: web.Request) -> dict[str, str]:
    """The parameters of a request: its query string, and for a POST its body, which wins."""
    given = decode_params(request.raw_path.partition("?")[2])
    if request.method == "POST":
        given |= decode_body(await request.read(), request.headers.get("Content-Type", ""))
    return given


#: Methods that JSOC's server takes, and what asks for them.
METHODS = ("GET", "HEAD", "POST")


ALLOW = ", ".join((*METHODS, "OPTIONS"))
