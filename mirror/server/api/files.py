"""The API of files: what there is of a record set, exports, pins, eviction, quick looks.

Whatever changes something takes a JSON object as its body, and wants to be told that it is one: a page
of some other site that a browser shows cannot send that here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from mirror.drms.export import DEFAULT_FILENAME_FORMAT, METHODS, ExportRequest, Protocol, parse_process
from mirror.errors import BadRequest
from mirror.server.bodies import Kinds, json_object, whole
from mirror.server.jsoc.conditional import what_is_asked
from mirror.server.requests import cache_headers, parameters
from mirror.services.quicklook.render import MOST_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mirror.services.exports.file_list import FileLists
    from mirror.services.exports.job_list import JobList
    from mirror.services.maintenance.retention import Store
    from mirror.services.monitoring.overview import AllJobs
    from mirror.services.quicklook.quicklook import QuickLooks

_TEXT, _NUMBER, _AMOUNT = str, int, (int, float)
#: What a body may have, and of what kind.
_RECORDS: dict[str, Kinds] = {"ds": _TEXT, "seg": _TEXT, "n": _NUMBER}
_EXPORT: dict[str, Kinds] = {
    **_RECORDS, "method": _TEXT, "protocol": _TEXT, "process": _TEXT, "name": _TEXT, "email": _TEXT,
}  # fmt: skip
_PIN: dict[str, Kinds] = {**_RECORDS, "owner": _TEXT, "reason": _TEXT, "seconds": _AMOUNT}
_EVICTION: dict[str, Kinds] = {"need": _NUMBER, "dry_run": bool}
_LATEST = 100
NOT_MODIFIED = 304


class FilesApi:
    """The handlers of /api that are about files; ``now`` gives Unix seconds."""

    def __init__(
        self,
        lists: FileLists,
        exports: JobList,
        jobs: AllJobs,
        store: Store,
        quicklooks: QuickLooks,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._lists = lists
        self._exports = exports
        self._jobs = jobs
        self._store = store
        self._quicklooks = quicklooks

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/files", self.files)
        router.add_get("/api/jobs", self.jobs)
        router.add_post("/api/jobs", self.submit)
        router.add_get("/api/jobs/{id}", self.job)
        router.add_delete("/api/jobs/{id}", self.cancel)
        router.add_get("/api/pins", self.pins)
        router.add_post("/api/pins", self.pin)
        router.add_delete("/api/pins", self.unpin)
        router.add_post("/api/evict", self.evict)
        router.add_get("/api/quicklook", self.quicklook)

    async def files(self, request: web.Request) -> web.Response:
        """``ds, seg, n, name``: the archived files; with ``places=1`` also where they lie on this machine."""
        given = await parameters(request)
        listed = await self._lists.of(_request(given), places=given.get("places") == "1")
        told = cache_headers(listed.origin, listed.checked_at, self._now())
        return web.json_response([asdict(file) for file in listed.files], headers=told)

    async def jobs(self, request: web.Request) -> web.Response:
        """``n, kind``: the last exports and fills, newest first, and the subscriptions; ``kind`` is one of these."""
        given = await parameters(request)
        n = _whole(given, "n", _LATEST)
        return web.json_response(await self._jobs.latest(max(1, n), given.get("kind", "")))

    async def job(self, request: web.Request) -> web.Response:
        """One job, an export with its files; ``places=1`` as above."""
        places = (await parameters(request)).get("places") == "1"
        return web.json_response(await self._jobs.one(request.match_info["id"], places=places))

    async def cancel(self, request: web.Request) -> web.Response:
        """End a fill or an export; what it has fetched stays."""
        return web.json_response(await self._jobs.cancel(request.match_info["id"]))

    async def submit(self, request: web.Request) -> web.Response:
        """``ds, seg, n, method, protocol, process, name, email``: begin an export."""
        given = await json_object(request, _EXPORT)
        job, found = await self._exports.submit(_request(given))
        told = cache_headers(found.origin, found.checked_at, self._now())
        return web.json_response(job, status=202, headers=told)

    async def pins(self, _: web.Request) -> web.Response:
        """The pins that hold."""
        return web.json_response(await self._store.pins())

    async def pin(self, request: web.Request) -> web.Response:
        """``ds, seg, n, owner, reason, seconds``: pin the files that are held."""
        given = await json_object(request, _PIN)
        reason = given.get("reason") or given.get("ds", "")
        pinned = await self._store.pin(_request(given), _owner(given), reason, given.get("seconds"))
        return web.json_response(pinned)

    async def unpin(self, request: web.Request) -> web.Response:
        """``ds, seg, n, owner``: take pins away."""
        given = await json_object(request, _PIN)
        return web.json_response(await self._store.unpin(_request(given), _owner(given)))

    async def evict(self, request: web.Request) -> web.Response:
        """``need`` bytes, ``dry_run``: throw out what was not used for longest, or say what would go."""
        given = await json_object(request, _EVICTION)
        answer = await self._store.evict(given.get("need"), dry_run=given.get("dry_run", False))
        return web.json_response(answer)

    async def quicklook(self, request: web.Request) -> web.Response:
        """``ds, seg, n, number, size, fetch``: the PNG of a record's first image, no side above ``size`` pixels.

        Only of a file that is held, unless ``fetch=1``.
        """
        given = await parameters(request)
        number, most = _whole(given, "number", 1), _whole(given, "size", MOST_PIXELS)
        found = await self._quicklooks.find(_request(given), number, most=most, fetch=given.get("fetch") == "1")
        # Headers are ASCII; names of records need not be.
        told = {
            "X-Mirror-Record": quote(found.record, safe="[]{}:#"),
            "X-Mirror-Segment": quote(found.segment),
            "Cache-Control": "private, no-cache",  # to be asked for again: a record may get another file
            "ETag": f'"{found.tag}"',
        }
        if what_is_asked(request.headers, 1, tag=found.tag).status == NOT_MODIFIED:
            return web.Response(status=NOT_MODIFIED, headers=told)
        png = await self._quicklooks.png(found)
        return web.Response(body=png, content_type="image/png", headers=told)


def _request(given: Mapping[str, Any]) -> ExportRequest:
    """What is asked for: an export as JSOC knows it, with only what was given."""
    if not given.get("ds"):
        raise BadRequest("ds is missing; expected a record set, as in hmi.m_720s[2014.01.01/1h]")
    method = given.get("method") or "url"
    if method == METHODS[0] or method not in METHODS:
        raise BadRequest(f"method is {method!r}; expected {' or '.join(METHODS[1:])}")
    segments = tuple(name.strip() for name in given.get("seg", "").split(",") if name.strip())
    return ExportRequest(
        given["ds"],
        method=method,
        protocol=Protocol(given.get("protocol") or "as-is"),
        filenamefmt=given.get("name") or DEFAULT_FILENAME_FORMAT,
        notify=given.get("email") or None,
        process=parse_process(given.get("process", "")),
        segments=segments or None,
        max_recs=_whole(given, "n", 0) or None,
        allow_staging=True,
    )


def _owner(given: Mapping[str, Any]) -> str:
    if not given.get("owner"):
        raise BadRequest("owner is missing; expected who the pin is for")
    return str(given["owner"])


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    return whole(str(given.get(name, default)), name, default)
