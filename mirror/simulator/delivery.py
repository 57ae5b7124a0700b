"""How an answer is sent: whole, or as a fault demands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.simulator.faults import bomb, damaged
from mirror.wire.answer import encode_error

if TYPE_CHECKING:
    from mirror.simulator.faults import Fault

_PIECES = 20
_BLANKS = b" " * 65536
_CRASH = b"<html><head><title>500 Internal Server Error</title></head><body><h1>Internal Server Error</h1></body></html>\n"

_TOO_LONG = b"<html><head><title>414 Request-URI Too Long</title></head><body><h1>Request-URI Too Long</h1></body></html>\n"
_GONE = b"<!DOCTYPE html><title>404 Not Found</title><h1>Not Found</h1>\n"

Sleep = Callable[[float], Awaitable[None]]


async def deliver(
    request: web.Request, body: bytes, content_type: str, fault: Fault | None, sleep: Sleep
) -> web.StreamResponse:
    """Sends the answer; the returned response may already have been sent, or cut off."""
    kind = fault.kind if fault else None
    if fault is None or kind in {"broken_json", "wrong_count", "staging", "other_answer", "half", "doubled"}:
        return web.Response(body=damaged(body, fault) if fault else body, content_type=content_type)
    if kind == "status":
        return web.Response(body=encode_error(fault.message, fault.status), content_type=content_type)
    if kind == "answer":
        return web.Response(body=fault.message.encode("latin-1", "replace"), content_type=content_type)
    if kind == "uri_too_long":
        return web.Response(body=_TOO_LONG, status=414, content_type="text/html")
    if kind == "http500":
        return web.Response(body=_CRASH, status=500, content_type="text/html")
    if kind == "gone":
        return web.Response(body=_GONE, status=404, content_type="text/html")
    if kind == "gateway":
        return web.Response(body=GATEWAY_PAGE, content_type="text/html")
    if kind == "redirect":
        return web.Response(status=302, headers={"Location": fault.instead or "/"})
    if kind == "gzip_bomb":
        packed = await asyncio.to_thread(bomb, body, fault.bytes)
        return web.Response(body=packed, content_type=content_type, headers={"Content-Encoding": "gzip"})
    if kind == "endless":
        return await _endlessly(request, body, content_type)
    if kind == "slow":
        return await _slowly(request, body, content_type, fault.seconds, sleep)
    return await _cut_off(request, body, content_type, fault, sleep)


async def _endlessly(request: web.Request, body: bytes, content_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    with suppress(ConnectionError):
        await response.write(body)
        while True:
            await response.write(_BLANKS)
    return response


async def _slowly(
    request: web.Request, body: bytes, content_type: str, seconds: float, sleep: Sleep
) -> web.StreamResponse:
    response = await _begin(request, body, content_type)
    step = max(1, -(-len(body) // _PIECES))
    for start in range(0, len(body), step):
        await sleep(seconds / _PIECES)
        await response.write(body[start : start + step])
    await response.write_eof()
    return response


async def _cut_off(
    request: web.Request, body: bytes, content_type: str, fault: Fault, sleep: Sleep
) -> web.StreamResponse:
    """Ends the connection before the answer (refuse, timeout) or in the middle of it (truncate, cut, ...)."""
    response: web.StreamResponse = web.Response()
    if fault.kind in {"truncate", "cut", "wrong_length"}:
        announced, sent = lengths(len(body), fault)
        response = await _begin(request, body, content_type, announced)
        await response.write(body[:sent])
    elif fault.kind == "timeout":
        await sleep(fault.seconds)
    hang_up(request)
    return response


async def _begin(
    request: web.Request, body: bytes, content_type: str, length: int | None = None
) -> web.StreamResponse:
    announced = len(body) if length is None else length
    response = web.StreamResponse(headers={"Content-Type": content_type, "Content-Length": str(announced)})
    await response.prepare(request)
    return response


GATEWAY_PAGE = (
    b"<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>The service is not available</h1>"
    b"<p>Please come back later.</p></body></html>\n"
)


def lengths(length: int, fault: Fault | None) -> tuple[int, int]:
    """How many bytes are announced, and how many are sent."""
    if fault is not None and fault.kind == "wrong_length":
        announced = max(0, length + fault.delta)
        return announced, min(announced, length)
    if fault is not None and fault.kind in {"truncate", "cut"}:
        return length, length // 2 if fault.kind == "truncate" else min(length, fault.at)
    return length, length


def hang_up(request: web.BaseRequest) -> None:
    """Ends the connection; bytes that were written still arrive, unlike after abort()."""
    if request.transport is not None:
        request.transport.close()
