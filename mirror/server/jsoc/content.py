"""Downloads of what is held: blobs sent by the kernel from the disk, with new headers before them if need be.

No byte of a blob is sent before all of it was seen to be right, at its first use and now and then after that.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.errors import NotHeld
from mirror.server.jsoc.conditional import what_is_asked
from mirror.server.jsoc.sendfile import corked
from mirror.server.jsoc.sending import FileRange, send
from mirror.server.request_keys import VALUES
from mirror.services.exports.content import ReplacedHeader, Stretch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mirror.server.jsoc.sending import Piece
    from mirror.services.exports.content import Content, FileHeaders
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob

#: FileResponses of so few parts hold their blobs from the start, so that what is wrong is told as an error.
_FEW = 4


class FileResponses:
    """Sends contents: whole or in part, or says that they are as they were."""

    def __init__(self, blobs: Blobs, fronts: FileHeaders) -> None:
        self._blobs = blobs
        self._fronts = fronts

    async def send(
        self, request: web.Request, content: Content, kind: str, origin: str
    ) -> web.StreamResponse:
        """The answer to a GET or HEAD; NotHeld or StorageError if what it is made of is not there."""
        size, tag = content.size, content.tag
        asked = what_is_asked(request.headers, size, tag=tag, modified=content.modified)
        response: web.StreamResponse = web.StreamResponse(status=asked.status, headers={"X-Mirror": origin})
        response.etag, response.last_modified = tag, int(content.modified)  # aiohttp would round it up
        response.headers["Accept-Ranges"] = "bytes"
        if content.values is not None:
            response.headers[VALUES] = content.values
        if asked.status in (206, 416):
            sent = f"{asked.start}-{asked.end - 1}" if asked.status == 206 else "*"
            response.headers["Content-Range"] = f"bytes {sent}/{size}"
        if asked.status != 304:
            response.content_type, response.content_length = kind, asked.end - asked.start
        async with AsyncExitStack() as held:
            for part in content.parts[:_FEW]:
                if isinstance(part, Stretch):
                    held.enter_context(await self._sound(part.blob))
            pieces = await held.enter_async_context(aclosing(self._pieces(content, asked.start, asked.end)))
            with corked(request.transport):
                return await send(request, response, pieces)

    async def _sound(self, blob: Blob) -> AbstractContextManager[Path]:
        """A blob's file whose bytes are right; NotHeld if they are not, or it is not there."""
        if not await self._blobs.is_sound(blob):
            why = f"the file with sha256 {blob.sha256} was damaged, and has been set aside; ask again to have it fetched"
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
