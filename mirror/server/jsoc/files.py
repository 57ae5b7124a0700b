"""Files: /SUMn/... of the archive, and the directories of exports. HEAD, Range and conditions as usual.

What is held is sent by the kernel from the disk; what is not is fetched, kept, and sent while it arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.errors import NotHeld, UpstreamRefused
from mirror.readthrough.files import SegmentFile
from mirror.readthrough.policy import CacheDemand
from mirror.server.cache_control import demand_of
from mirror.server.jsoc.conditional import what_is_asked
from mirror.server.jsoc.sending import send
from mirror.services.exports.content import content_of
from mirror.services.exports.directory import Page
from mirror.services.exports.planning import EXPORTS
from mirror.storage.files.holdings import Holding

if TYPE_CHECKING:
    from mirror.readthrough.download import Download
    from mirror.readthrough.files import Files
    from mirror.server.jsoc.content import FileResponses
    from mirror.services.exports.directory import ExportDirectories

KINDS, ANYTHING = {".fits": "image/fits", ".tar": "application/x-tar"}, "application/octet-stream"


class FileHandlers:
    """The handlers of everything that is a file."""

    def __init__(self, files: Files, directories: ExportDirectories, contents: FileResponses) -> None:
        self._files = files
        self._directories = directories
        self._contents = contents

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the archive's paths and the exports'."""
        router.add_get(r"/{disk:SUM\d*}/{rest:D\d+/S\d+/.+}", self.unit_file)
        router.add_get(f"{EXPORTS}/{{request_id}}/{{name:.*}}", self.export_file)

    async def unit_file(self, request: web.Request) -> web.StreamResponse:
        """A file of a storage unit."""
        path = f"/{request.match_info['disk']}/{request.match_info['rest']}"
        held_only = demand_of(request.headers) is CacheDemand.ONLY_IF_CACHED
        if held_only and await self._files.held(path) is None:
            raise NotHeld(f"{path} is not held, and this request forbids to ask JSOC", (path,))
        try:
            try:
                return await self._send(request, path)
            except NotHeld as problem:  # evicted since it was found: nothing was sent yet, so fetch it again
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
        """A file that is arriving: sent as it comes, as soon as enough of it is there."""
        size = await download.begun()
        start, end, response = _part(request, size, _kind(download.path))
        response.headers["X-Mirror"] = "filled"
        return await send(request, response, download.read(start, end, size))


def _kind(name: str) -> str:
    return next((kind for end, kind in KINDS.items() if name.lower().endswith(end)), ANYTHING)


def _part(request: web.Request, size: int, kind: str) -> tuple[int, int, web.StreamResponse]:
    """First byte and end of what a request asks for of a file that has no tag yet, and the response for it."""
    asked = what_is_asked(request.headers, size)
    if asked.status == 416:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    response = web.StreamResponse(status=asked.status, headers={"Accept-Ranges": "bytes"})
    response.content_type, response.content_length = kind, asked.end - asked.start
    if asked.status == 206:
        response.headers["Content-Range"] = f"bytes {asked.start}-{asked.end - 1}/{size}"
    return asked.start, asked.end, response
