"""Files: /SUMn/... of the archive, and the directories of exports. HEAD, Range and conditions as usual.

What is held is sent by the kernel from the disk; what is not is fetched, kept, and sent while it arrives.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.drms.errors import UpstreamRefused
from mirror.engine.files import SegmentFile
from mirror.server.sending import send
from mirror.services.exportdir import Archive, Page
from mirror.services.exportplan import EXPORTS
from mirror.storage.holdings import Holding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp.abc import AbstractStreamWriter

    from mirror.engine.downloads import Download
    from mirror.engine.files import Files
    from mirror.services.exportdir import ExportDirectories
    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob

PIECE = 1024 * 1024
FITS, ANYTHING = "image/fits", "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class FileHandlers:
    """The handlers of everything that is a file."""

    def __init__(self, files: Files, directories: ExportDirectories, blobs: Blobs) -> None:
        self._files = files
        self._directories = directories
        self._blobs = blobs

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the archive's paths and the exports'."""
        router.add_get(r"/{disk:SUM\d*}/{rest:D\d+/S\d+/.+}", self.unit_file)
        router.add_get(f"{EXPORTS}/{{request_id}}/{{name:.*}}", self.export_file)

    async def unit_file(self, request: web.Request) -> web.StreamResponse:
        """A file of a storage unit."""
        path = f"/{request.match_info['disk']}/{request.match_info['rest']}"
        try:
            found = await self._files.open(SegmentFile(path))
            if isinstance(found, Holding):
                return BlobResponse(self._blobs, found.blob, path, "local")
            return await self._follow(request, found)
        except UpstreamRefused as problem:
            raise web.HTTPNotFound(text=f"{problem}\n") from problem

    async def export_file(self, request: web.Request) -> web.StreamResponse:
        """An entry of an export's directory."""
        request_id, name = request.match_info["request_id"], request.match_info["name"]
        entry = await self._directories.entry(request_id, name or "index.html")
        if entry is None:
            raise web.HTTPNotFound(text=f"no file {name!r} in an export {request_id!r} of this mirror\n")
        if isinstance(entry, Page):
            return web.Response(body=entry.data, content_type=entry.kind)
        if isinstance(entry, Archive):
            return await self._send_archive(request, entry)
        return BlobResponse(self._blobs, entry, name, "local")

    async def _follow(self, request: web.Request, download: Download) -> web.StreamResponse:
        """A file that is arriving: sent as it comes, as soon as enough of it is there."""
        size = await download.begun()
        start, end, response = _part(request, size, _kind(download.path))
        response.headers["X-Mirror"] = "filled"
        return await send(request, response, download.read(start, end, size))

    async def _send_archive(self, request: web.Request, archive: Archive) -> web.StreamResponse:
        start, end, response = _part(request, archive.size, "application/x-tar")
        return await send(request, response, self._pieces(archive, start, end))

    async def _pieces(self, archive: Archive, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes ``start`` to ``end`` of a tar file that is made on the way."""
        at = 0
        for part in archive.parts:
            length = len(part) if isinstance(part, bytes) else part.size
            lo, hi = max(start - at, 0), min(end - at, length)
            at += length
            if lo >= hi:
                continue
            if isinstance(part, bytes):
                yield part[lo:hi]
                continue
            with self._blobs.reading(part) as path, path.open("rb") as file:
                file.seek(lo)
                while lo < hi and (piece := await asyncio.to_thread(file.read, min(PIECE, hi - lo))):
                    lo += len(piece)
                    yield piece


class BlobResponse(web.FileResponse):
    """A blob sent from the disk; it is not evicted while that lasts."""

    def __init__(self, blobs: Blobs, blob: Blob, name: str, origin: str) -> None:
        with blobs.reading(blob) as path:
            super().__init__(
                path, chunk_size=PIECE, headers={"Content-Type": _kind(name), "X-Mirror": origin}
            )
        self._blobs = blobs
        self._blob = blob

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send everything, or the part that is asked for."""
        with self._blobs.reading(self._blob) as path:
            return await super().prepare(_if_same(request, path))


def _if_same(request: web.BaseRequest, path: Path) -> web.BaseRequest:
    """The request, without its range if that is asked for on condition of another tag; aiohttp knows dates only."""
    condition = request.headers.get("If-Range", "")
    status = path.stat()
    if not condition.endswith('"') or condition == f'"{status.st_mtime_ns:x}-{status.st_size:x}"':
        return request
    headers = {name: value for name, value in request.headers.items() if name.lower() not in ("range", "if-range")}
    return request.clone(headers=headers)


def _kind(name: str) -> str:
    return FITS if name.lower().endswith(".fits") else ANYTHING


def _part(request: web.Request, size: int, kind: str) -> tuple[int, int, web.StreamResponse]:
    """First byte and end of what a request asks for, and the response for it; one range, as every client does.

    A range under a condition (``If-Range``) is passed over: what is not on the disk has no tag to compare.
    """
    start, end, status = _asked(request, size)
    response = web.StreamResponse(status=status, headers={"Accept-Ranges": "bytes"})
    response.content_type, response.content_length = kind, end - start
    if status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return start, end, response


def _asked(request: web.Request, size: int) -> tuple[int, int, int]:
    found = _RANGE.fullmatch(request.headers.get("Range", ""))
    if found is None or "If-Range" in request.headers or not (found[1] or found[2]):
        return 0, size, 200
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
    if start >= end:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    return start, end, 206
