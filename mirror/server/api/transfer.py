"""Backups, bundles and imports over HTTP: long tasks that tell how far they are, a line of JSON at a time.

They read and write folders of the mirror's own machine, so only that machine may ask for them. Whoever hangs
up ends the task; what was copied until then counts for the next.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.errors import BadRequest, MirrorError, Refused
from mirror.server.bodies import json_object
from mirror.server.requests import parameters
from mirror.services.transfer.backup import describe
from mirror.services.transfer.bundle import BundleRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mirror.server.bodies import Kinds
    from mirror.services.transfer.backup import Backups, Tell
    from mirror.services.transfer.bundle import Bundles
    from mirror.services.transfer.import_ import Importer

log = logging.getLogger(__name__)

_BACKUP: dict[str, Kinds] = {"to": str, "index_only": bool, "keep": int}
_BUNDLE: dict[str, Kinds] = {
    "recordsets": list, "to": str, "files": bool, "held": bool, "fits": bool, "address": str,
}  # fmt: skip
_IMPORT: dict[str, Kinds] = {"bundle": str}


class BackupApi:
    """The handlers of /api/backup, /api/bundle and /api/import."""

    def __init__(self, backups: Backups, bundles: Bundles, importer: Importer) -> None:
        self._backups = backups
        self._bundles = bundles
        self._importer = importer

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/backups", self.backups)
        router.add_post("/api/backup", self.backup)
        router.add_post("/api/bundle", self.bundle)
        router.add_post("/api/import", self.take)

    async def backups(self, request: web.Request) -> web.Response:
        """``to``: the backups in a folder, newest first."""
        _check_near(request)
        folder = _path(await parameters(request), "to")
        return web.json_response(await asyncio.to_thread(describe, folder))

    async def backup(self, request: web.Request) -> web.StreamResponse:
        """``to, index_only, keep``: make a backup below a folder."""
        given = await _asked(request, _BACKUP)
        to, keep = _path(given, "to"), given.get("keep")

        async def work(tell: Tell) -> dict[str, Any]:
            return asdict(
                await self._backups.make(to, tell, index_only=given.get("index_only", False), keep=keep)
            )

        return await _told(request, work)

    async def bundle(self, request: web.Request) -> web.StreamResponse:
        """``recordsets, to, files, held, fits, address``: make a bundle, or add to one."""
        given = await _asked(request, _BUNDLE)
        recordsets = given.pop("recordsets", [])
        if not all(isinstance(text, str) for text in recordsets):
            raise BadRequest("recordsets is no list of texts")
        to = _path(given, "to")
        wish = BundleRequest(tuple(recordsets), **{name: value for name, value in given.items() if name != "to"})
        return await _told(request, lambda tell: self._bundles.make(wish, to, tell))

    async def take(self, request: web.Request) -> web.StreamResponse:
        """``bundle``: import the bundle in a folder."""
        folder = _path(await _asked(request, _IMPORT), "bundle")
        return await _told(request, lambda tell: self._importer.take(folder, tell))


async def _asked(request: web.Request, members: dict[str, Kinds]) -> dict[str, Any]:
    """What a request from this machine asks for; Refused for one from elsewhere."""
    _check_near(request)
    return await json_object(request, members)


def _check_near(request: web.Request) -> None:
    try:
        near = ip_address(request.remote or "").is_loopback
    except ValueError:
        near = False
    if not near:
        raise Refused("folders of the mirror's machine are read and written from that machine only")


def _path(given: Mapping[str, Any], name: str) -> Path:
    if not given.get(name) or "\0" in given[name]:
        raise BadRequest(f"{name} is missing; expected a folder")
    return Path(given[name])


async def _told(
    request: web.Request, work: Callable[[Tell], Awaitable[dict[str, Any]]]
) -> web.StreamResponse:
    """Do the work; its words as lines, then ``{"done": ...}`` or ``{"error": ...}``.

    What goes wrong before the first word is an error like any other.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})

    async def tell(word: dict[str, Any]) -> None:
        if not response.prepared:
            await response.prepare(request)
        await response.write(json.dumps(word).encode() + b"\n")

    try:
        await tell({"done": await work(tell)})
    except MirrorError as problem:
        if not response.prepared:
            raise
        await tell({"error": str(problem)})
    except ConnectionError:
        raise  # whoever asked has gone
    except Exception:
        log.exception("task failed path=%s", request.path)
        if not response.prepared:
            raise
        await tell({"error": "the mirror failed on this task; its log says why"})
    await response.write_eof()
    return response
