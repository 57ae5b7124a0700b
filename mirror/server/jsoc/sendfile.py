"""Ranges of files from the disk to a connection, by the kernel alone.

asyncio's own sendfile asks the selector again for every piece that the socket takes, which costs a third of
the speed to one client. Here the socket is watched once, through a descriptor of its own.

Answers sent piece by piece. What fails after the headers cuts the connection.

A client that knows the length, or waits for the end of the chunks, sees that something is missing. An error
message sent then would be taken for the rest of the file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from mirror.errors import MirrorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiohttp import web

#: Bytes after which other connections have their turn.
_TURN = 1 << 20


@contextmanager
def corked(transport: asyncio.BaseTransport | None) -> Iterator[None]:
    """Full packets only, where the system can do that: headers wait for the bytes that follow them.

    Else a client is woken up three times where once would do.
    """
    sock: socket.socket | None = None if transport is None else transport.get_extra_info("socket")
    _cork(sock, 1)
    try:
        yield
    finally:
        _cork(sock, 0)


def _cork(sock: socket.socket | None, on: int) -> None:
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_CORK"):
        with suppress(OSError):  # it is closed by now
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)


async def send_range(transport: asyncio.Transport, file: IO[bytes], start: int, size: int) -> None:
    """Send ``size`` bytes of an open file, from ``start`` on, after what was written to the transport.

    OSError if the file ends before that, ConnectionError if the client has gone.
    """
    loop = asyncio.get_running_loop()
    sock: socket.socket | None = transport.get_extra_info("socket")
    if transport.is_closing() or sock is None:
        raise ConnectionResetError("the client hung up")
    if transport.get_write_buffer_size() or transport.get_extra_info("sslcontext"):
        sent = await loop.sendfile(transport, file, start, size)
        if sent < size:
            raise _ended(file, start + sent)
        return
    fd = os.dup(sock.fileno())
    try:
        await _Sending(loop, fd, file, start, start + size).whole()
    finally:
        loop.remove_writer(fd)
        os.close(fd)


class _Sending:
    """One range on its way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, file: IO[bytes], at: int, end: int) -> None:
        self._loop = loop
        self._fd = fd
        self._file = file
        self._at = at
        self._end = end
        self._ended: asyncio.Future[None] = loop.create_future()

    async def whole(self) -> None:
        """Send all of it."""
        self._go_on()
        if not self._ended.done():
            self._loop.add_writer(self._fd, self._go_on)
        await self._ended

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
                sent = os.sendfile(self._fd, self._file.fileno(), self._at, turn - self._at)
                if not sent:
                    raise _ended(self._file, self._at)
                self._at += sent
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
