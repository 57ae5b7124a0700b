"""How bodies are sent: ranges of files from the disk by the kernel, large answers from memory, and others piece by piece.

asyncio's own sendfile asks the selector again for every piece that the socket takes, which costs a third of the speed
to one client. Here the socket is watched once, through a descriptor of its own. asyncio also copies an answer in memory
twice before the socket has it, and moves what is left with each piece; here the socket reads it in place.

A failure after the headers cuts the connection: a client that knows the length, or waits for the end of the chunks,
sees that something is missing. An error message would be taken for a part of the file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING

from mirror.errors import MirrorError
from mirror.server.requests import SENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from aiohttp import web

    Count = Callable[[int], None]

#: Bytes after which other connections have their turn.
_TURN = 1 << 20
#: Bytes in memory above which a separate descriptor costs less than the copies.
LARGE = 1 << 18


@contextmanager
def corked(transport: asyncio.BaseTransport | None) -> Iterator[None]:
    """Full packets only, if the system supports it: headers wait for the bytes that follow them.

    Otherwise a client is woken three times instead of once.
    """
    sock: socket.socket | None = None if transport is None else transport.get_extra_info("socket")
    _cork(sock, 1)
    try:
        yield
    finally:
        _cork(sock, 0)


def _cork(sock: socket.socket | None, on: int) -> None:
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_CORK"):
        with suppress(OSError):  # it is already closed
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)


async def send_range(
    transport: asyncio.Transport, file: IO[bytes], start: int, size: int, count: Count = lambda _: None
) -> None:
    """Send ``size`` bytes of an open file, from ``start`` on, after what was written to the transport.

    ``count`` is called with how many were sent, even if the range was cut off.
    OSError if the file is too short, ConnectionError if the client has gone.
    """
    loop = asyncio.get_running_loop()
    sock: socket.socket | None = transport.get_extra_info("socket")
    if transport.is_closing() or sock is None:
        raise ConnectionResetError("the client hung up")
    if transport.get_write_buffer_size() or transport.get_extra_info("sslcontext"):
        sent = await loop.sendfile(transport, file, start, size)
        count(sent)
        if sent < size:
            raise _ended(file, start + sent)
        return
    await _Sending(loop, sock, _of_file(file), start, start + size).whole(count)


async def send_bytes(transport: asyncio.Transport, data: bytes, count: Count) -> bool:
    """Send bytes after what was written to the transport; False if the transport must send them itself.

    ConnectionError if the client has gone.
    """
    sock: socket.socket | None = transport.get_extra_info("socket")
    if transport.is_closing() or sock is None:
        raise ConnectionResetError("the client hung up")
    if transport.get_write_buffer_size() or transport.get_extra_info("sslcontext"):
        return False
    view, loop = memoryview(data), asyncio.get_running_loop()
    await _Sending(loop, sock, lambda fd, at, end: os.write(fd, view[at:end]), 0, len(data)).whole(count)
    return True


def _of_file(file: IO[bytes]) -> Callable[[int, int, int], int]:
    def send(fd: int, at: int, end: int) -> int:
        sent = os.sendfile(fd, file.fileno(), at, end - at)
        if not sent:
            raise _ended(file, at)
        return sent

    return send


class _Sending:
    """One range being sent: ``send`` gives a socket as much as it takes, from one place up to another."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, send: Callable[[int, int, int], int], at: int, end: int
    ) -> None:
        self._loop = loop
        self._fd = os.dup(sock.fileno())
        self._give = send
        self._at = at
        self._end = end
        self._ended: asyncio.Future[None] = loop.create_future()

    async def whole(self, count: Count) -> None:
        """Send all of it; ``count`` is called with how much was sent."""
        start = self._at
        try:
            self._go_on()
            if not self._ended.done():
                self._loop.add_writer(self._fd, self._go_on)
            await self._ended
        finally:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            count(self._at - start)

    def _go_on(self) -> None:
        if self._ended.done():
            return
        try:
            if self._send():
                self._ended.set_result(None)
        except OSError as problem:
            self._ended.set_exception(problem)

    def _send(self) -> bool:
        """Send what the socket takes; True once that is all."""
        turn = min(self._end, self._at + _TURN)
        try:
            while self._at < turn:
                self._at += self._give(self._fd, self._at, turn)
        except (BlockingIOError, InterruptedError):
            return False
        return self._at == self._end


def _ended(file: IO[bytes], at: int) -> OSError:
    return OSError(f"{file.name} ended after {at} bytes")


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
        if not isinstance(problem, ConnectionError):  # the client disconnected, which is not an error
            log.warning("an answer broke off path=%s error=%s", request.path, problem)
        if request.transport is not None:
            request.transport.close()
    return response


async def send_whole(request: web.Request, response: web.StreamResponse, body: bytes) -> web.StreamResponse:
    """Send a large body that is in memory, as ``send`` does."""

    async def pieces() -> AsyncIterator[Piece]:
        yield body

    response.content_length = len(body)
    with corked(request.transport):
        return await send(request, response, pieces())


async def _send_piece(request: web.Request, response: web.StreamResponse, piece: Piece) -> None:
    if request.transport is None:
        raise ConnectionResetError("the client hung up")
    count = partial(_count, request)
    if isinstance(piece, bytes):
        if len(piece) < LARGE or not await send_bytes(request.transport, piece, count):
            await response.write(piece)
        return
    await send_range(request.transport, piece.file, piece.start, piece.size, count)


def _count(request: web.Request, sent: int) -> None:
    request[SENT] = request.get(SENT, 0) + sent
