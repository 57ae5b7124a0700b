"""Requests to hosts other than JSOC's, if the configuration names them: plain HTTP is forwarded, HTTPS tunnelled.

Nothing else is reached, and nothing of it is read or kept:

1. A host is asked only if ``[access] pass_through`` names it, on ports 80 and 443, or the one that is named with it.
2. A name is resolved once, and the connection goes to the address that was checked. One that resolves to this
   computer, to a private network or to no single host is refused, whatever the name; to allow such an address,
   it must be named as an address (or ``localhost``).
3. A tunnel in which nothing moves ends after ``IDLE`` seconds. Tunnels of one address count as its requests.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from mirror.errors import UpstreamError
from mirror.server.requests import SENT
from mirror.upstream.transport import HOP_BY_HOP, PAGE, bounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.config.access import Destination

log = logging.getLogger(__name__)

#: Seconds for connecting to another host, for a piece of its answer, and without data in a tunnel.
CONNECT, IDLE = 20.0, 600.0
#: Bytes that are read at a time, and that may wait to be sent.
_PIECE, _WAITING = 64 << 10, 1 << 20
_METHODS = frozenset({"GET", "HEAD", "POST"})
_VIA = "1.1 jsoc-mirror-forwarding"


class Forbidden(Exception):
    """A host that is not served, and why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    host: str
    port: int


class Forwarding:
    """Forwards to ``destinations``, which may be replaced while running."""

    def __init__(self, destinations: Iterable[Destination]) -> None:
        self.destinations = tuple(destinations)

    def is_for_us(self, request: web.Request) -> bool:
        """Whether a request is for a named host."""
        found = target_of(request.method, request.raw_path)
        return found is not None and self._destination(found) is not None

    def names(self, host: str) -> bool:
        """Whether a host is named, on any port."""
        return any(each.host == host for each in self.destinations)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The host's answer; 403 if its name resolves to an address that is not served, 502 if it does not answer."""
        target = target_of(request.method, request.raw_path)
        destination = None if target is None else self._destination(target)
        if target is None or destination is None:
            raise web.HTTPForbidden(text="this host is not served\n")
        try:
            if request.method == "CONNECT":
                return await self._tunnel(request, target, destination)
            return await self._forward(request, destination)
        except Forbidden as problem:
            raise web.HTTPForbidden(text=f"{problem}\n") from problem
        except (aiohttp.ClientError, UpstreamError, OSError, TimeoutError) as problem:
            log.warning("not forwarded host=%s error=%s", target.host, type(problem).__name__)
            raise web.HTTPBadGateway(text=f"{target.host} does not answer\n") from problem

    def _destination(self, target: Target) -> Destination | None:
        return next((each for each in self.destinations if each.serves(target.host, target.port)), None)

    # ---- plain HTTP ------------------------------------------------------------------------------

    async def _forward(self, request: web.Request, destination: Destination) -> web.StreamResponse:
        if request.method not in _METHODS:
            raise web.HTTPMethodNotAllowed(request.method, sorted(_METHODS))
        if _VIA in request.headers.get("Via", ""):
            raise Forbidden("request loop: the request came back to this mirror")
        headers = end_to_end(request.headers)
        headers.add("Via", _VIA)
        connector = aiohttp.TCPConnector(resolver=_Checked(destination), use_dns_cache=False)
        return await relay(request, URL(request.raw_path, encoded=True), headers, {"X-Mirror": "passed"}, connector)

    # ---- tunnels ---------------------------------------------------------------------------------

    async def _tunnel(
        self, request: web.Request, target: Target, destination: Destination
    ) -> web.StreamResponse:
        reader, writer = await _connected(await addresses_of(target.host, target.port, destination), target.port)
        try:
            response = web.StreamResponse(status=200, reason="Connection established")
            await response.prepare(request)
            client = _FromClient(request, writer)
            request.protocol.set_parser(client)  # type: ignore[arg-type]
            await _to_client(request, reader, client)
        finally:
            writer.close()
        if request.transport is not None:
            request.transport.close()
        return response


async def _connected(addresses: Iterable[str], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first address that accepts one; raises the last problem if none does."""
    problem: Exception = OSError("missing address")
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT):
                return await asyncio.open_connection(address, port, limit=_PIECE)
        except (OSError, TimeoutError) as found:
            problem = found
    raise problem


class _FromClient:
    """The client's side of a tunnel, in the shape of an aiohttp parser."""

    def __init__(self, request: web.Request, writer: asyncio.StreamWriter) -> None:
        self._request = request
        self._writer = writer
        self._slow: asyncio.Task[None] | None = None
        self.moved = 0  #: how often data arrived

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Pass on the data; nothing is left over."""
        self.moved += 1
        if not self._writer.is_closing():
            self._writer.write(data)
            if self._slow is None and self._writer.transport.get_write_buffer_size() > _WAITING:
                self._slow = asyncio.ensure_future(self._wait())
        return False, b""

    def feed_eof(self) -> None:
        """The client is gone."""
        self._writer.close()

    async def _wait(self) -> None:
        """Read nothing more from the client until the host has taken the data."""
        transport = self._request.transport
        if transport is not None:
            transport.pause_reading()
        try:
            await self._writer.drain()
        except OSError:
            self._writer.close()
        finally:
            self._slow = None
            if transport is not None and not transport.is_closing():
                transport.resume_reading()


async def _to_client(request: web.Request, reader: asyncio.StreamReader, client: _FromClient) -> None:
    """Pass on what the host sends, until one side ends or nothing moves."""
    while True:
        before = client.moved
        try:
            async with asyncio.timeout(IDLE):
                piece = await reader.read(_PIECE)
        except TimeoutError:
            if client.moved == before:
                return
            continue
        except OSError:
            return
        transport = request.transport
        if not piece or transport is None or transport.is_closing():
            return
        transport.write(piece)
        request[SENT] = request.get(SENT, 0) + len(piece)
        await request.writer.drain()


# ---- addresses ------------------------------------------------------------------------------------


class _Checked(AbstractResolver):
    """Resolves names, and returns no address that is not served."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET  # noqa: ARG002  (both)
    ) -> list[ResolveResult]:
        found = await addresses_of(host, port, self._destination)
        return [_result(host, address, port) for address in found]

    async def close(self) -> None:
        """Nothing to close."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )


async def addresses_of(host: str, port: int, destination: Destination) -> list[str]:
    """The addresses of a host; Forbidden if one of them is not served, OSError if there is none."""
    rows: list[Any] = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found = list(dict.fromkeys(str(row[4][0]) for row in rows))
    if not found:
        raise OSError(f"{host} has no address")
    if not destination.is_address:
        for text in found:
            address = ipaddress.ip_address(text.partition("%")[0])
            if not address.is_global or address.is_multicast:
                raise Forbidden(f"{host} resolves to a private network address, which is not allowed")
    return found


def target_of(method: str, target: str) -> Target | None:
    """Host and port of a request in proxy form; None if it does not have that form."""
    try:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.username is not None or parts.password is not None:
        return None
    if method == "CONNECT":
        return Target(host, port) if port and not (parts.path or parts.query or parts.fragment) else None
    return Target(host, port or 80) if parts.scheme == "http" else None


async def relay(
    request: web.Request,
    url: URL,
    headers: CIMultiDict[str],
    more: Mapping[str, str],
    connector: aiohttp.BaseConnector | None = None,
) -> web.StreamResponse:
    """Send a request to another server with these headers; its answer goes to the client as it comes, with ``more`` headers."""
    body = await request.read() if request.body_exists else None
    async with (
        aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_read=CONNECT * 3),
            trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ) as session,
        session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer,
    ):  # fmt: skip
        response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
        response.headers.update(more)
        await response.prepare(request)
        if request.method != "HEAD":
            async for piece in bounded(answer.content.iter_any(), PAGE):
                await response.write(piece)
        await response.write_eof()
        return response


def end_to_end(headers: Any) -> CIMultiDict[str]:
    """The headers that are not about a single connection."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in HOP_BY_HOP | named)
