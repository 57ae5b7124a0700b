"""Answers sent piece by piece. What fails after the headers cuts the connection.

A client that knows the length, or waits for the end of the chunks, sees that something is missing. An error
message sent then would be taken for the rest of the file.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from mirror.errors import MirrorError
from mirror.server.jsoc.sendfile import send_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileRange:
    """``size`` bytes of an open file, from ``start`` on, which the kernel sends."""

    file: IO[bytes]
    start: int
    size: int


Piece = bytes | FileRange


async def send(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[Piece]
) -> web.StreamResponse:
    """Send ``pieces`` as the body of ``response``, or its headers only if the request is a HEAD."""
    await response.prepare(request)
    try:
        if request.method != "HEAD":
            async for piece in pieces:
                await _send_piece(request, response, piece)
        await response.write_eof()
    except (MirrorError, OSError) as problem:
        if not isinstance(problem, ConnectionError):  # the client hung up: nobody's fault
            log.warning("an answer broke off path=%s error=%s", request.path, problem)
        if request.transport is not None:
            request.transport.close()
    return response


async def _send_piece(request: web.Request, response: web.StreamResponse, piece: Piece) -> None:
    if isinstance(piece, bytes):
        await response.write(piece)
        return
    if request.transport is None:
        raise ConnectionResetError("the client hung up")
    await send_range(request.transport, piece.file, piece.start, piece.size)
