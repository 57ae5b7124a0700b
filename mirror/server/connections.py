"""Connections to the mirror: limits on what each may send, on how long it may take, and on how many there are.

aiohttp parses HTTP; this stands between its parser and its router, and adds what aiohttp lacks:

1. A head is checked as soon as it is parsed, before its parts are read (``mirror.server.limits``). While it arrives, no
   more of it is kept than it may have.
2. A head and a body have deadlines. One look at all connections every few seconds enforces them, rather than a timer
   each.
3. A connection is busy from a parsed head to its answer, and idle otherwise. If there are too many, the one that has
   been idle longest is closed, of the address that has most of them; a busy one never is. If all are busy, a new one
   gets 503.
4. What a client sends is never written to the log, and never repeated in an answer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestPayloadError

from mirror.config.access import is_loopback
from mirror.server import limits
from mirror.server.limits import Excess, headers_excess, target_excess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.http import RawRequestMessage

log = logging.getLogger(__name__)

#: Seconds between two looks at the deadlines.
LOOK = 2.0
#: Bytes that are read from a socket at a time: processing them delays all others.
_AT_ONCE = 64 * limits.KIB
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: 42\r\n\r\ntoo many connections; try again in a while"
)


@dataclass(frozen=True, slots=True)
class Most:
    """The most connections at a time: in all, and from one address that is not this computer (None: no limit)."""

    total: int
    of_address: int | None


class TooMuch(HttpProcessingError):
    """A head that is refused."""

    def __init__(self, excess: Excess) -> None:
        super().__init__(code=excess.status, message=excess.reason)


class BoundedParser:
    """aiohttp's parser, which keeps no more of a head than it may have, and refuses one that has too much."""

    def __init__(self, parser: HttpRequestParser) -> None:
        self._parser = parser
        self._failed = False
        self._head = 0
        self.body: StreamReader = EMPTY_PAYLOAD  #: of the last head
        self.parsed = 0  #: heads so far

    @property
    def in_head(self) -> bool:
        """True if a head has begun and not ended."""
        return self._head > 0

    def feed_data(self, data: bytes) -> tuple[Sequence[tuple[RawRequestMessage, StreamReader]], bool, bytes]:
        """The result of aiohttp's parser; HttpProcessingError once, and nothing more after that."""
        if self._failed:
            return (), False, b""
        between = self.body.is_eof()
        try:
            messages, upgraded, tail = self._parser.feed_data(data)
            for message, body in messages:
                self.parsed += 1
                self.body = body
                excess = target_excess(message.path) or headers_excess(message.raw_headers)
                if excess is not None:
                    raise TooMuch(excess)
            self._head = 0 if messages or not between else self._head + len(data)
            if self._head > limits.TARGET + limits.ALL_HEADERS:
                raise TooMuch(Excess(431, f"the headers have more than {limits.ALL_HEADERS:,} bytes"))
        except HttpProcessingError:
            self._failed = True
            self._head = 0
            raise
        return messages, upgraded, tail

    def feed_eof(self) -> RawRequestMessage | None:
        """The client sends no more."""
        return None if self._failed else self._parser.feed_eof()

    def pause_reading(self) -> None:
        """Stop after the current data."""
        self._parser.pause_reading()

    def message_consumed(self) -> None:
        """A waiting message was consumed."""
        self._parser.message_consumed()

    def set_upgraded(self, val: bool) -> None:
        """Whether another protocol is used from now on."""
        self._parser.set_upgraded(val)


class Connection(web.RequestHandler):
    """One connection."""

    def __init__(self, manager: Connections, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self._connections = manager
        self._max_msg_queue_size, self._msg_queue_resume_size = limits.READ_AHEAD, limits.READ_AHEAD // 2
        self._bounded = BoundedParser(
            HttpRequestParser(
                self,
                loop,
                self._read_bufsize,
                max_line_size=limits.TARGET,
                max_field_size=limits.HEADER,
                max_headers=limits.HEADERS,
                payload_exception=RequestPayloadError,
                auto_decompress=False,
                max_msg_queue_size=limits.READ_AHEAD,
            )
        )
        self._parser = self._bounded  # type: ignore[assignment]
        self._answered = 0
        self._deadlines = Deadlines(loop.time())
        self.address = ""
        self.has_place = False  #: whether it counts as open

    @property
    def idle_since(self) -> float:
        """When its last answer was sent, or when it was opened."""
        return self._deadlines.idle_since

    @property
    def is_busy(self) -> bool:
        """Whether a request waits for its answer."""
        return self._bounded.parsed > self._answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or answer that there are too many."""
        self.address = (transport.get_extra_info("peername") or ("",))[0]
        if not self._connections.finds_place(self):
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(_BUSY)
            transport.close()
            return
        _bound(transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Parse the data."""
        super().data_received(data)
        self._deadlines.received(self._loop.time(), in_head=self._bounded.in_head)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer to its end."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._answered += 1
            self._deadlines.answered(self._loop.time())

    def look(self, now: float) -> None:
        """Close the connection if it misses a deadline."""
        body = self._bounded.body
        if self.transport is None:
            return
        if self._deadlines.head_is_late(now):
            self._give_up()
        elif self._deadlines.body_is_late(
            now, body.total_bytes, done=body.is_eof() or body.exception() is not None, held=self._reading_paused
        ):
            # The handler that waits for it gets this as the answer to send; no more of the body is read.
            self._lingering_time = 0.0
            body.set_exception(web.HTTPRequestTimeout(text="the request body arrived too slowly\n"))

    def _give_up(self) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (it repeats what was sent)
    ) -> web.StreamResponse:
        """The answer to an invalid or failed request; what was sent is not repeated."""
        excess = _excess(exc) if status == web.HTTPBadRequest.status_code else None
        if excess is None:
            log.error("request failed client=%s", request.remote, exc_info=exc)
            excess = Excess(status, "internal error; see the mirror's log")
        else:
            log.info("request refused client=%s status=%d reason=%s", request.remote, excess.status, excess.reason)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = web.Response(status=excess.status, text=f"{excess.reason}\n")
        response.force_close()
        return response


def _excess(exc: BaseException | None) -> Excess | None:
    """What is wrong with a head that could not be parsed, or has too much; None for other errors."""
    if isinstance(exc, TooMuch):
        return Excess(exc.code, exc.message)
    if isinstance(exc, LineTooLong):
        if exc.args[1] == limits.TARGET:
            return target_excess("x" * (limits.TARGET + 1))
        return Excess(431, f"a header has more than {limits.HEADER:,} bytes")
    if isinstance(exc, HttpProcessingError):
        if exc.message.startswith("Too many headers"):
            return Excess(431, f"there are more than {limits.HEADERS} headers")
        return Excess(400, "not an HTTP/1.1 request")
    return None


class Deadlines:
    """The times of one connection, by the clock of the loop."""

    def __init__(self, now: float) -> None:
        self.idle_since = now
        self._head_since: float | None = None
        self._body: tuple[float, float, int] | None = None  # last look, seconds counted so far, bytes before them

    def received(self, now: float, *, in_head: bool) -> None:
        """Data have arrived; afterwards a head is unfinished or not."""
        if not in_head:
            self._head_since = None
        elif self._head_since is None:
            self._head_since = now

    def answered(self, now: float) -> None:
        """An answer was sent."""
        self.idle_since = now
        self._body = None

    def head_is_late(self, now: float) -> bool:
        """Whether a head has taken too long."""
        return self._head_since is not None and now - self._head_since > limits.HEAD_SECONDS

    def body_is_late(self, now: float, size: int, *, done: bool, held: bool) -> bool:
        """Whether a body, of which ``size`` bytes have arrived, is too slow; ``held``: the mirror makes it wait."""
        if done:
            self._body = None
            return False
        last, seconds, before = self._body or (now, 0.0, size)
        seconds += 0.0 if held else now - last
        self._body = now, seconds, before
        return seconds > limits.BODY_SECONDS and size - before < limits.BODY_RATE * seconds


class Connections(web.Server):
    """All connections of one server: aiohttp's server for an application, with limits."""

    def __init__(self, server: web.Server, most: Most) -> None:
        super().__init__(
            server.request_handler,
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
        )
        self._options = {
            **server._kwargs,  # noqa: SLF001  (its class is ours too)
            "keepalive_timeout": limits.IDLE_SECONDS,
            "lingering_time": limits.LINGER_SECONDS,
        }
        self._most = most
        self._places: Counter[str] = Counter()  # accepted connections, by address
        self._loop = asyncio.get_running_loop()
        self._next_look = self._loop.call_later(LOOK, self._look)

    def __call__(self) -> Connection:
        """A protocol for an accepted connection."""
        return Connection(self, loop=self._loop, **self._options)

    def finds_place(self, new: Connection) -> bool:
        """Whether a connection can be accepted, if need be in place of idle ones."""
        most = self._most.of_address
        if most is not None and self._places[new.address] >= most and not is_loopback(new.address):
            return self._close_idle(new.address)
        if self._places.total() < self._most.total:
            return True
        idle = Counter(c.address for c in self._here() if not c.is_busy)
        return self._close_idle(max(idle, key=idle.__getitem__, default=new.address))

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """A connection was accepted."""
        super().connection_made(handler, transport)
        if isinstance(handler, Connection):
            handler.has_place = True
            self._places[handler.address] += 1

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """A connection has ended, accepted or not."""
        if isinstance(handler, Connection):
            self._free(handler)
        super().connection_lost(handler, exc)

    def _free(self, connection: Connection) -> None:
        """Release its place: as soon as it is being closed, not only afterwards."""
        if connection.has_place:
            connection.has_place = False
            self._places[connection.address] -= 1
            if not self._places[connection.address]:
                del self._places[connection.address]

    def _here(self) -> list[Connection]:
        return [c for c in self._connections if isinstance(c, Connection) and c.transport is not None]

    def _close_idle(self, address: str) -> bool:
        """Close the connections of an address that have been idle longest; False if all are busy.

        Several are closed at once: searching for each one would be slow when many arrive.
        """
        idle = [c for c in self._here() if c.address == address and not c.is_busy]
        idle.sort(key=lambda c: c.idle_since)
        closed = idle[: 1 + len(idle) // 20]
        for connection in closed:
            self._free(connection)
            connection.force_close()
        log.warning("too many connections client=%s closed=%d", address, len(closed))
        return bool(closed)

    def _look(self) -> None:
        now = self._loop.time()
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.look(now)
        self._next_look = self._loop.call_later(LOOK, self._look)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  (as in aiohttp)
        """Close all connections."""
        self._next_look.cancel()
        await super().shutdown(timeout)


def _bound(transport: asyncio.BaseTransport) -> None:
    """Read no more at a time than others can wait for, and close a client that reads nothing."""
    if hasattr(transport, "max_size"):  # of asyncio's own transports
        transport.max_size = _AT_ONCE
    sock = transport.get_extra_info("socket")
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT") and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.STALLED_SECONDS * 1000)


class BoundedRunner(web.AppRunner):
    """Runs an application on limited connections; options as for ``web.AppRunner``."""

    def __init__(self, app: web.Application, most: Most, **options: Any) -> None:
        super().__init__(app, **options)
        self._most = most

    async def _make_server(self) -> web.Server:
        return Connections(await super()._make_server(), self._most)
