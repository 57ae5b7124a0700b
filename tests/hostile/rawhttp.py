"""HTTP as no client library writes it, in both directions: requests byte for byte, and a server that answers so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from tests.waiting import PATIENCE


class Reply(NamedTuple):
    """What a server sent before it closed: code (0: nothing), headers with small names (the last of each), and body."""

    code: int
    headers: dict[str, str]
    body: bytes


async def exchange(port: int, request: bytes) -> Reply:
    """The answer to these bytes on a connection of their own, which the server may close before it has read them all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(request)
        with suppress(ConnectionError):
            while piece := await asyncio.wait_for(reader.read(65536), PATIENCE):
                answer += piece
    finally:
        writer.close()
    if not answer:
        return Reply(0, {}, b"")
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return Reply(int(lines[0].split()[1]), headers, body)


def head(method: str, target: str, host: str = "127.0.0.1", body: bytes = b"", **headers: str) -> bytes:
    """A request with this very target; a header's name has ``_`` for a hyphen."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Upstream:
    """A server that answers every request with the bytes ``answer``, and keeps what it was asked in ``asked``."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        self.asked: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            lines = request.lower().split(b"\r\n")
            length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
            self.asked.append(request + await reader.readexactly(length))
            writer.write(self.answer)
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def upstream():
    """Such a server, listening."""
    made = Upstream()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made
