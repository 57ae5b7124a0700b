"""The API of files: what is cached, jobs, and pictures.

A request that changes something must have a JSON object as its body, and say so in Content-Type: a page of another site
cannot make a browser send that here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from mirror.api import exports as api
from mirror.drms.export import (
    DEFAULT_FILENAME_FORMAT,
    METHODS,
    PROTOCOLS,
    ExportRequest,
    Protocol,
    parse_process,
)
from mirror.errors import BadRequest
from mirror.server.endpoints import Reply, serve
from mirror.server.jsoc.files import what_is_asked
from mirror.server.requests import cache_headers, demand_of, names_of
from mirror.services.quicklook.render import MOST_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.api.contract import Nothing
    from mirror.server.peers import Peers
    from mirror.services.exports.file_list import FileLists
    from mirror.services.exports.job_list import JobList
    from mirror.services.monitoring.overview import AllJobs
    from mirror.services.quicklook.quicklook import QuickLooks
    from mirror.services.quicklook.sun import SunPictures

NOT_MODIFIED = 304


class ExportsApi:
    """The handlers of /api/files, /api/jobs, /api/quicklook and /api/sun; ``now`` gives Unix seconds."""

    def __init__(
        self, lists: FileLists, exports: JobList, jobs: AllJobs, quicklooks: QuickLooks, sun: SunPictures,
        now: Callable[[], float], peers: Peers | None = None,
    ) -> None:  # fmt: skip
        self._peers = peers
        self._sun = sun
        self._now = now
        self._lists = lists
        self._exports = exports
        self._jobs = jobs
        self._quicklooks = quicklooks

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.FILES, self.files)
        serve(router, api.JOBS, self.jobs)
        serve(router, api.SUBMIT, self.submit)
        serve(router, api.JOB, self.job)
        serve(router, api.CANCEL, self.cancel)
        serve(router, api.QUICKLOOK, self.quicklook)
        serve(router, api.SUN, self.sun)

    async def files(self, http: web.Request, asked: api.FilesQuery) -> Reply[list[api.ListedFile]]:
        """The archived files of a record set."""
        request = export_of(asked.ds, asked.seg, asked.n, name=asked.name)
        listed = await self._lists.of(request, demand_of(http), places=asked.places)
        return Reply(listed.files, cache_headers(listed.origin, listed.checked_at, self._now()))

    async def jobs(self, request: web.Request, asked: api.JobsQuery) -> list[api.Job]:
        """The last exports and fills, and the subscriptions; in a cluster those of all mirrors."""
        own = await self._jobs.latest(max(1, asked.n), asked.kind)
        return own if self._peers is None else await self._peers.jobs(request, own, asked)

    async def job(self, request: web.Request, asked: api.JobQuery) -> api.Job:
        """One job."""
        return await self._jobs.one(request.match_info["id"], places=asked.places)

    async def cancel(self, request: web.Request, _: Nothing) -> api.Job:
        """Cancel a fill or an export; fetched data stay cached."""
        return await self._jobs.cancel(request.match_info["id"])

    async def submit(self, _: web.Request, asked: api.ExportBody) -> Reply[api.Job]:
        """Begin an export."""
        request = export_of(
            asked.ds, asked.seg, asked.n, method=asked.method, protocol=asked.protocol, process=asked.process,
            name=asked.name, email=asked.email,
        )  # fmt: skip
        job, found = await self._exports.submit(request)
        return Reply(job, cache_headers(found.origin, found.checked_at, self._now()))

    async def sun(self, _: web.Request, asked: api.SunQuery) -> list[api.SunChannel]:
        """The cached full-disk images."""
        return await self._sun.channels(asked.channel, asked.n)

    async def quicklook(self, request: web.Request, asked: api.QuicklookQuery) -> web.Response:
        """The PNG of a record's first image."""
        wanted = export_of(asked.ds, asked.seg, asked.n)
        most = MOST_PIXELS if asked.size is None else asked.size
        found = await self._quicklooks.find(wanted, asked.number, most=most, fetch=asked.fetch)
        # Headers are ASCII; names of records need not be.
        answer = {
            "X-Mirror-Record": quote(found.record, safe="[]{}:#"),
            "X-Mirror-Segment": quote(found.segment),
            "Cache-Control": "private, no-cache",  # must be revalidated: a record may get another file
            "ETag": f'"{found.tag}"',
        }
        if what_is_asked(request.headers, 1, tag=found.tag).status == NOT_MODIFIED:
            return web.Response(status=NOT_MODIFIED, headers=answer)
        png = await self._quicklooks.png(found)
        return web.Response(body=png, content_type="image/png", headers=answer)


def export_of(
    ds: str, seg: str, n: int | None, *, method: str | None = None, protocol: str | None = None,
    process: str = "", name: str | None = None, email: str | None = None,
) -> ExportRequest:  # fmt: skip
    """The requested export as JSOC knows it, with only what was given."""
    method = method or "url"
    if method == METHODS[0] or method not in METHODS:
        raise BadRequest(f"method is {method!r}; expected {' or '.join(METHODS[1:])}")
    wanted = Protocol(protocol or "as-is")
    if wanted.name not in PROTOCOLS:
        raise BadRequest(f"protocol is {wanted.text[:100]!r}; expected one of {', '.join(PROTOCOLS)}")
    return ExportRequest(
        ds,
        method=method,
        protocol=wanted,
        filenamefmt=name or DEFAULT_FILENAME_FORMAT,
        notify=email or None,
        process=parse_process(process),
        segments=names_of(seg) or None,
        max_recs=n or None,
        allow_staging=True,
    )
