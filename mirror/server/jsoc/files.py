"""Files: /SUMn/... of the archive, and the directories of exports, with HEAD, ranges and conditions.

The kernel sends cached blobs from the disk, after new headers if need be; missing ones are fetched, kept, and sent
while they arrive. No byte of a blob is sent before all of it was verified, at its first use and from time to time after
that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.errors import NotHeld, UpstreamRefused
from mirror.readthrough.files import SegmentFile
from mirror.readthrough.policy import CacheDemand
from mirror.server.jsoc.sendfile import FileRange, corked, send
from mirror.server.requests import VALUES, demand_of
from mirror.server.roles import EXPORT_FILE, UNIT_FILE
from mirror.services.exports.content import ReplacedHeader, Stretch, content_of
from mirror.services.exports.directory import Page
from mirror.storage.files.holdings import Holding

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mirror.readthrough.downloads import Download
    from mirror.readthrough.files import Files
    from mirror.server.jsoc.sendfile import Piece
    from mirror.services.exports.content import Content, FileHeaders
    from mirror.services.exports.directory import ExportDirectories
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob

#: Answers with so few parts open all blobs at the start, so that a problem becomes an error.
_FEW = 4


class FileResponses:
    """Sends contents: whole, in part, or as not modified."""

    def __init__(self, blobs: Blobs, fronts: FileHeaders) -> None:
        self._blobs = blobs
        self._fronts = fronts

    async def send(
        self,
        request: web.Request,
        content: Content,
        kind: str,
        origin: str,
        *,
        tag: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        """The answer to a GET or HEAD; NotHeld or StorageError if a part of the content is not there.

        ``tag`` replaces the content's own, ``headers`` are added to those of every file.
        """
        asked, response = _answer(request, content.size, tag or content.tag, content.modified, kind)
        response.headers.update({**(headers or {}), "X-Mirror": origin})
        if content.values is not None:
            response.headers[VALUES] = content.values
        async with AsyncExitStack() as held:
            for part in content.parts[:_FEW]:
                if isinstance(part, Stretch):
                    held.enter_context(await self._sound(part.blob))
            pieces = await held.enter_async_context(aclosing(self._pieces(content, asked.start, asked.end)))
            with corked(request.transport):
                return await send(request, response, pieces)

    async def _sound(self, blob: Blob) -> AbstractContextManager[Path]:
        """The verified file of a blob; NotHeld if it is damaged or not there."""
        if not await self._blobs.is_sound(blob):
            why = f"the file with sha256 {blob.sha256} was damaged, and was removed; try again to fetch it"
            raise NotHeld(why, (blob.sha256,))
        return self._blobs.reading(blob)

    async def _pieces(self, content: Content, start: int, end: int) -> AsyncGenerator[Piece]:
        for part, lo, hi in content.cut(start, end):
            if isinstance(part, bytes):
                yield part[lo:hi]
            elif isinstance(part, ReplacedHeader):
                yield (await self._fronts.read(part))[lo:hi]
            else:
                with await self._sound(part.blob) as path, path.open("rb", buffering=0) as file:
                    yield FileRange(file, part.start + lo, hi - lo)


async def send_file(request: web.Request, path: Path, kind: str) -> web.StreamResponse:
    """A file that is none of the store's contents: whole, in part, or as not modified; 404 if it is not there."""
    try:
        file = path.open("rb", buffering=0)
    except OSError as problem:
        raise web.HTTPNotFound(text=f"{path.name} is not there any more\n") from problem
    with file:
        found = os.fstat(file.fileno())
        tag = f"{found.st_mtime_ns:x}-{found.st_size:x}"
        asked, response = _answer(request, found.st_size, tag, found.st_mtime, kind)

        async def pieces() -> AsyncGenerator[Piece]:
            yield FileRange(file, asked.start, asked.end - asked.start)

        return await send(request, response, pieces())


def _answer(request: web.Request, size: int, tag: str, modified: float, kind: str) -> tuple[Asked, web.StreamResponse]:
    """What a request wants of a file of ``size`` bytes, and the response for it."""
    asked = what_is_asked(request.headers, size, tag=tag, modified=modified)
    response = web.StreamResponse(status=asked.status, headers={"Accept-Ranges": "bytes"})
    response.etag, response.last_modified = tag, int(modified)  # aiohttp would round it up
    if asked.status in (206, 416):
        sent = f"{asked.start}-{asked.end - 1}" if asked.status == 206 else "*"
        response.headers["Content-Range"] = f"bytes {sent}/{size}"
    if asked.status != 304:
        response.headers["Content-Type"], response.content_length = kind, asked.end - asked.start
    return asked, response


KINDS, ANYTHING = {".fits": "image/fits", ".tar": "application/x-tar"}, "application/octet-stream"


class FileHandlers:
    """The handlers of everything that is a file."""

    def __init__(self, files: Files, directories: ExportDirectories, contents: FileResponses) -> None:
        self._files = files
        self._directories = directories
        self._contents = contents

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the archive's paths and the exports'."""
        UNIT_FILE.add(router, self.unit_file)
        EXPORT_FILE.add(router, self.export_file)

    async def unit_file(self, request: web.Request) -> web.StreamResponse:
        """A file of a storage unit."""
        path = f"/{request.match_info['disk']}/{request.match_info['rest']}"
        held_only = demand_of(request) is CacheDemand.ONLY_IF_CACHED
        if held_only and await self._files.held(path) is None:
            raise NotHeld(f"{path} is not cached, and this request allows cached data only", (path,))
        try:
            try:
                return await self._send(request, path)
            except NotHeld as problem:  # evicted since it was found: nothing has been sent yet, so fetch it again
                if not await self._files.has_left(problem.missing):
                    raise
                return await self._send(request, path)
        except UpstreamRefused as problem:
            raise web.HTTPNotFound(text=f"{problem}\n") from problem

    async def _send(self, request: web.Request, path: str) -> web.StreamResponse:
        found = await self._files.open(SegmentFile(path))
        if isinstance(found, Holding):
            return await self._contents.send(request, content_of(found.blob), _kind(path), "local")
        return await self._follow(request, found)

    async def export_file(self, request: web.Request) -> web.StreamResponse:
        """An entry of an export's directory."""
        request_id, name = request.match_info["request_id"], request.match_info["name"]
        entry = await self._directories.entry(request_id, name or "index.html")
        if entry is None:
            raise web.HTTPNotFound(text=f"no file {name!r} in an export {request_id!r} of this mirror\n")
        if isinstance(entry, Page):
            return web.Response(body=entry.data, content_type=entry.kind)
        return await self._contents.send(request, entry, _kind(name), "local")

    async def _follow(self, request: web.Request, download: Download) -> web.StreamResponse:
        """A file that is arriving, sent as soon as enough of it is there."""
        size = await download.begun()
        start, end, response = _part(request, size, _kind(download.path))
        response.headers["X-Mirror"] = "filled"
        return await send(request, response, download.read(start, end, size))


def _kind(name: str) -> str:
    return next((kind for end, kind in KINDS.items() if name.lower().endswith(end)), ANYTHING)


def _part(request: web.Request, size: int, kind: str) -> tuple[int, int, web.StreamResponse]:
    """First byte and end of the requested part of a file that has no tag yet, and the response for it."""
    asked = what_is_asked(request.headers, size)
    if asked.status == 416:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    response = web.StreamResponse(status=asked.status, headers={"Accept-Ranges": "bytes"})
    response.content_type, response.content_length = kind, asked.end - asked.start
    if asked.status == 206:
        response.headers["Content-Range"] = f"bytes {asked.start}-{asked.end - 1}/{size}"
    return asked.start, asked.end, response


# ---- what a request for a file wants -------------------------------------------------------------
# All of it, a part, or nothing since it has not changed. Pure.
#
# RFC 9110, sections 13 (conditions, in the order of 13.2.2) and 14 (ranges; one range, as every client asks).

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TAG = re.compile(r'(W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Asked:
    """The status of the answer, and for 200 and 206 the first byte and the end of what is sent."""

    status: int
    start: int = 0
    end: int = 0


def what_is_asked(
    headers: Mapping[str, str], size: int, *, tag: str | None = None, modified: float = 0.0
) -> Asked:
    """What the headers of a request want of a file of ``size`` bytes.

    ``modified`` is in Unix seconds. Without a ``tag`` conditions cannot be evaluated: they are ignored, and a range
    under a condition is the whole file.
    """
    if tag is not None and (status := _by_conditions(headers, tag, int(modified))):
        return Asked(status)
    found = _RANGE.fullmatch(headers.get("Range", ""))
    if found is None or not (found[1] or found[2]) or not _range_counts(headers, tag, int(modified)):
        return Asked(200, 0, size)
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
    return Asked(206, start, end) if start < end else Asked(416)


def _by_conditions(headers: Mapping[str, str], tag: str, modified: int) -> int:
    """412 or 304 where the conditions say so, else 0."""
    match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
    if match is not None:
        if not _names(match, tag, weakly=False):
            return 412
    elif (since := _seconds(headers.get("If-Unmodified-Since"))) is not None and modified > since:
        return 412
    if none_match is not None:
        return 304 if _names(none_match, tag, weakly=True) else 0
    since = _seconds(headers.get("If-Modified-Since"))
    return 304 if since is not None and modified <= since else 0


def _range_counts(headers: Mapping[str, str], tag: str | None, modified: int) -> bool:
    """False for a range whose condition names another state of the file."""
    condition = headers.get("If-Range")
    if condition is None or tag is None:
        return condition is None
    if condition.endswith('"'):
        return condition == f'"{tag}"'
    return _seconds(condition) == modified


def _names(listed: str, tag: str, *, weakly: bool) -> bool:
    if listed.strip() == "*":
        return True
    return any(found[2] == tag and (weakly or not found[1]) for found in _TAG.finditer(listed))


def _seconds(date: str | None) -> float | None:
    """An HTTP date in Unix seconds; None if it is missing or invalid."""
    try:
        found = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
