"""Files over HTTP: HEAD, Range, and faults of downloads on command."""

from __future__ import annotations

import asyncio
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.simulator.delivery import hang_up, lengths

if TYPE_CHECKING:
    from mirror.simulator.delivery import Sleep
    from mirror.simulator.exports.contents import Content
    from mirror.simulator.faults import Fault

_CHUNK = 1 << 20
_SLOW_PIECES = 20
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_MODIFIED = "Wed, 01 Jan 2020 00:00:00 GMT"
_TYPES = {
    "html": "text/html",
    "txt": "text/plain",
    "json": "application/json",
    "tar": "application/x-tar",
    "jpg": "image/jpeg",
    "png": "image/png",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """The part of a file that a request gets: from ``start`` up to ``stop``, under an HTTP code."""

    code: int
    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def wanted_part(request: web.BaseRequest, size: int, etag: str) -> Sent:
    """The part that a request gets; a Range that cannot be satisfied is 416, one that is not understood is ignored."""
    found = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if _unchanged(request, etag):
        return Sent(304, 0, 0)
    if (
        found is None
        or found[0] == "bytes=-"
        or request.headers.get("If-Range", etag) not in (etag, _MODIFIED)
    ):
        return Sent(200, 0, size)
    first, last = found[1], found[2]
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    return Sent(206, start, stop) if start < stop else Sent(416, 0, 0)


def _unchanged(request: web.BaseRequest, etag: str) -> bool:
    """Whether the client has the current file; a date only counts if no tag is given."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return etag in known or "*" in known
    since = request.if_modified_since
    return since is not None and since >= parsedate_to_datetime(_MODIFIED)


def headers(path: str, part: Sent, size: int, etag: str) -> dict[str, str]:
    """The headers of an answer, without Content-Length."""
    kind = _TYPES.get(path.rpartition(".")[2] if "." in path.rpartition("/")[2] else "html")
    told = {
        "Content-Type": kind or "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Last-Modified": _MODIFIED,
    }
    if part.code == 206:
        told["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    elif part.code == 416:
        told["Content-Range"] = f"bytes */{size}"
    return told


def entity_tag(path: str, size: int) -> str:
    """The same for the same file at every start."""
    return f'"{size:x}-{zlib.crc32(path.encode()):08x}"'


async def send(
    request: web.BaseRequest, content: Content, part: Sent, fault: Fault | None, sleep: Sleep
) -> web.StreamResponse:
    """Sends a part of a file, whole or as a fault demands: cut, truncate, slow, wrong_length."""
    etag = entity_tag(request.path, content.size)
    response = web.StreamResponse(status=part.code, headers=headers(request.path, part, content.size, etag))
    announced, sent = lengths(part.length, fault)
    if part.code != 304:
        response.content_length = announced
    await response.prepare(request)
    if request.method == "HEAD" or part.code == 304:
        await response.write_eof()
        return response
    pause = fault.seconds / _SLOW_PIECES if fault and fault.kind == "slow" else 0.0
    step = max(1, -(-sent // _SLOW_PIECES)) if pause else _CHUNK
    with suppress(ConnectionError):  # the client has gone
        for at in range(part.start, part.start + sent, step):
            if pause:
                await sleep(pause)
            stop = min(at + step, part.start + sent)
            await response.write(await asyncio.to_thread(content.read, at, stop))
        if sent >= announced:
            await response.write_eof()
    if sent < announced:
        hang_up(request)
    return response




