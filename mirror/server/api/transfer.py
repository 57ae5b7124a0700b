"""Backups, bundles and imports over HTTP: long tasks that report progress as lines of JSON.

They read and write folders on the mirror's own machine, so only that machine may ask for them. Disconnecting ends the
task; the next one reuses what was copied.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.api import transfer as api
from mirror.api.contract import UNSET, Answer, Problem, encoded
from mirror.errors import BadRequest, MirrorError, NotHeld, Refused
from mirror.server.endpoints import serve
from mirror.server.requests import is_near
from mirror.services.transfer.backup import describe
from mirror.services.transfer.bundle import BundleRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.services.transfer.backup import Backups, Report
    from mirror.services.transfer.bundle import Bundles
    from mirror.services.transfer.import_ import Importer

#: Bytes of a name, and of a path, that file systems take.
_LONGEST_PART, _LONGEST_PATH = 255, 4095

log = logging.getLogger(__name__)


class TransferApi:
    """The handlers of /api/backup, /api/bundle and /api/import."""

    def __init__(self, backups: Backups, bundles: Bundles, importer: Importer) -> None:
        self._backups = backups
        self._bundles = bundles
        self._importer = importer

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.BACKUPS, self.backups)
        serve(router, api.BACKUP, self.backup)
        serve(router, api.BUNDLE, self.bundle)
        serve(router, api.IMPORT, self.take)

    async def backups(self, request: web.Request, asked: api.BackupsQuery) -> list[api.Backup]:
        """The backups in a folder, newest first."""
        check_near(request)
        return await asyncio.to_thread(describe, folder_of(asked.to, "to"))

    async def backup(self, request: web.Request, asked: api.BackupBody) -> web.StreamResponse:
        """Make a backup below a folder."""
        check_near(request)
        to = folder_of(asked.to, "to")
        return await told(
            request,
            lambda report: self._backups.make(to, report, index_only=asked.index_only, keep=asked.keep),
        )

    async def bundle(self, request: web.Request, asked: api.BundleBody) -> web.StreamResponse:
        """Make a bundle, or add to one."""
        check_near(request)
        to = folder_of(asked.to, "to")
        wanted = BundleRequest(asked.recordsets, asked.files, asked.held, asked.fits, asked.address)
        return await told(request, lambda report: self._bundles.make(wanted, to, report))

    async def take(self, request: web.Request, asked: api.ImportBody) -> web.StreamResponse:
        """Import the bundle in a folder."""
        check_near(request)
        folder = folder_of(asked.bundle, "bundle")
        return await told(request, lambda report: self._importer.take(folder, report))


def check_near(request: web.Request) -> None:
    """Refused for a client on another machine."""
    if not is_near(request):
        raise Refused("folders of the mirror's machine can be used only from that machine")


def folder_of(given: str, name: str) -> Path:
    """A folder by its path; BadRequest for an invalid one."""
    if "\0" in given:
        raise BadRequest(f"{name} has a NUL; expected a folder")
    parts = [len(part) for part in os.fsencode(given).split(b"/")]
    if max(parts) > _LONGEST_PART or sum(parts) + len(parts) > _LONGEST_PATH:
        raise BadRequest(f"{name} is {given[:100]!r}..., of {len(given)} characters; expected a folder that there can be")
    return Path(given)


async def told(request: web.Request, work: Callable[[Report], Awaitable[Answer]]) -> web.StreamResponse:
    """Do the work; its progress as lines, then ``{"done": ...}`` or ``{"error": ...}``.

    An error before the first line is answered like any other.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})

    async def report(word: object) -> None:
        if not response.prepared:
            await response.prepare(request)
        await response.write(encoded(word) + b"\n")

    try:
        await report({"done": await work(report)})
    except MirrorError as problem:
        if not response.prepared:
            raise
        missing = list(problem.missing) if isinstance(problem, NotHeld) and problem.missing else UNSET
        await report(Problem(error=str(problem), missing=missing))
    except ConnectionError:
        raise  # the client has gone
    except Exception:
        log.exception("task failed path=%s", request.path)
        if not response.prepared:
            raise
        await report(Problem(error="internal error in this task; see the mirror's log"))
    await response.write_eof()
    return response
