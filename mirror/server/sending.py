"""Answers sent piece by piece. What fails after the headers cuts the connection.

A client that knows the length, or waits for the end of the chunks, sees that something is missing. An error
message sent then would be taken for the rest of the file.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mirror.drms.errors import MirrorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

log = logging.getLogger(__name__)


async def send(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Send ``pieces`` as the body of ``response``, or its headers only if the request is a HEAD."""
    await response.prepare(request)
    try:
        if request.method != "HEAD":
            async for piece in pieces:
                await response.write(piece)
        await response.write_eof()
    except (MirrorError, OSError) as problem:
        if not isinstance(problem, ConnectionError):  # the client hung up: nobody's fault
            log.warning("an answer broke off path=%s error=%s", request.path, problem)
        if request.transport is not None:
            request.transport.close()
    return response
