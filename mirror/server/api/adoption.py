"""The API of adoption: files of this machine by their paths, files of other machines as uploads.

Paths are accepted from this machine only: over the network they would reveal what is on the mirror's disks, and mean
other files than the client's. Originals are never removed here; the client does that.
"""

from __future__ import annotations

import asyncio
import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mirror.api import adoption as api
from mirror.errors import BadRequest, StorageError, explained
from mirror.server.endpoints import serve
from mirror.server.requests import is_near
from mirror.services.adoption.adopt import Item
from mirror.services.adoption.scan import Stamp
from mirror.wire.paths import unit_file

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.services.adoption.adopt import Adoption

_PIECE = 1 << 20


class AdoptionApi:
    """The handlers; ``folder`` has uploads while they arrive, and is emptied at each start."""

    def __init__(self, adoption: Adoption, folder: Path) -> None:
        self._adoption = adoption
        self._folder = folder

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.ADOPT, self.adopt)
        serve(router, api.UPLOAD, self.upload)

    async def adopt(self, request: web.Request, asked: api.AdoptBody) -> api.Adopted:
        """Adopt files of this machine; for a client on another machine every file is unseen."""
        near = is_near(request)
        visible = await asyncio.to_thread(lambda: [near and _sees(file) for file in asked.files])
        seen = [Item(Path(file.path)) for file, sees in zip(asked.files, visible, strict=True) if sees]
        adopted = await self._adoption.adopt(seen, asked.how, dry_run=asked.dry_run, compare=asked.compare)
        outcomes = iter(adopted)
        return api.Adopted(
            outcomes=[
                next(outcomes) if sees else _unseen(file.path)
                for file, sees in zip(asked.files, visible, strict=True)
            ]
        )

    async def upload(self, request: web.Request, asked: api.UploadQuery) -> api.Adopted:
        """Adopt the file in the body."""
        if request.content_type != api.UPLOAD_TYPE:
            raise BadRequest(f"expected a FITS file, with the header Content-Type: {api.UPLOAD_TYPE}")
        name, unit = asked.name, asked.unit
        if "/" in name or (unit is not None and unit_file(unit) is None):
            raise BadRequest("expected name, what the file is called, and unit only as /SUM0/D1/S00000/name")
        path = self._folder / f"{uuid.uuid4().hex}.upload"
        try:
            await _receive(request, path)
            item = Item(path, name, unit)
            (outcome,) = await self._adoption.adopt([item], "link", dry_run=asked.dry_run, compare=True)
        finally:
            with suppress(OSError):
                path.unlink()
        return api.Adopted(outcomes=[replace(outcome, path=name, how="uploaded" if outcome.how else "")])


def _unseen(path: str) -> api.AdoptOutcome:
    return api.AdoptOutcome(path=path, state="unseen", reason="the mirror does not see this file")


def _sees(given: api.AdoptFile) -> bool:
    """True if the file is here, and is the one that the client sees."""
    try:
        opened = os.open(given.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # do not wait for a pipe
    except (OSError, ValueError):
        return False
    try:
        found = os.fstat(opened)
        if stat.S_ISREG(found.st_mode):
            os.pread(opened, 1, 0)
        return Stamp.of(found) == Stamp(given.size, given.mtime_ns, given.inode)
    except OSError:
        return False
    finally:
        os.close(opened)


async def _receive(request: web.Request, path: Path) -> None:
    try:
        with path.open("xb") as file:
            async for piece in request.content.iter_chunked(_PIECE):
                await asyncio.to_thread(file.write, piece)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {explained(error)}") from error
