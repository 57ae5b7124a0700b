"""Exports and films of other mirrors of the cluster: a client that asks here gets the answer of the mirror that made it.

The number of an export or film says who made it. Requests about it (its state, its files, its page) are passed on to that
mirror unchanged, with their authorization; its answer is returned unchanged. A request from another mirror is passed on
no further. The export of a mirror that is gone is continued by the first one that is asked about it.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from yarl import URL

from mirror.drms.export import parse_request_id
from mirror.errors import BadRequest, UpstreamError
from mirror.server.forwarding import CONNECT, end_to_end
from mirror.server.requests import parameters
from mirror.services.exports.requests import FIRST_NUMBER
from mirror.services.films.films import FILM
from mirror.upstream.transport import PAGE, bounded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.readthrough.shared import Shared

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

#: Marks a request from another mirror of the cluster.
FROM_PEER = "X-Mirror-Peer"
#: The part of a path, and the parameter, that may be an export's id.
_PARTS, _PARAMETER = ("request_id", "id"), "requestid"
#: The endings of paths that may be about one.
_ABOUT_EXPORTS = ("/jsoc_fetch", "/{request_id}/{name}", "/jobs/{id}", "/films/{id}")


class Peers:
    """Passes on requests about exports of other mirrors."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def stand_before(self, router: web.UrlDispatcher) -> None:
        """Be asked first on the paths that may be about an export; other paths are not affected."""
        for route in router.routes():
            resource = route.resource
            if resource is not None and resource.canonical.endswith(_ABOUT_EXPORTS):
                route._handler = partial(self.pass_on, handler=route.handler)  # noqa: SLF001

    async def pass_on(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of the mirror that made the requested export; for most requests our own."""
        if FROM_PEER in request.headers:
            return await handler(request)
        found = await _export(request)
        address = None if found is None else await self._shared.address_of(*found)
        if address is None:
            return await handler(request)
        try:
            return await _forwarded(request, address)
        except (aiohttp.ClientConnectorError, UpstreamError) as problem:
            log.warning("the mirror that made an export does not answer address=%s problem=%s", address, problem)
            return await handler(request)


async def _export(request: web.Request) -> tuple[str, int] | None:
    """The id of the export or film in a request, and its number of ours; None if there is none."""
    text = next((request.match_info[name] for name in _PARTS if name in request.match_info), None)
    if text is not None and (film := FILM.fullmatch(text)):
        return text, int(film[1])
    if text is None and request.path.rpartition("/")[2] == "jsoc_fetch":
        text = (await parameters(request)).get(_PARAMETER)
    try:
        number = None if text is None else parse_request_id(text).number
    except BadRequest:
        return None
    return (text, number - FIRST_NUMBER) if text is not None and number is not None and number > FIRST_NUMBER else None


async def _forwarded(request: web.Request, address: str) -> web.StreamResponse:
    body = await request.read() if request.body_exists else None
    headers = end_to_end(request.headers)
    headers[FROM_PEER] = "1"
    target = request.raw_path if request.raw_path.startswith("/") else URL(request.raw_path, encoded=True).raw_path_qs
    async with (
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_read=CONNECT * 3), trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ) as session,
        session.request(
            request.method, URL(address + target, encoded=True), headers=headers, data=body, allow_redirects=False
        ) as answer,
    ):  # fmt: skip
        response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
        if answer.content_length is not None:
            response.content_length = answer.content_length
        await response.prepare(request)
        if request.method != "HEAD":
            async for piece in bounded(answer.content.iter_any(), PAGE):
                await response.write(piece)
        await response.write_eof()
        return response
