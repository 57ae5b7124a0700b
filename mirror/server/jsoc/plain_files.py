"""JSOC's paths that are none of its programs: plain files, and folders of cached files.

Plain files (``/data/...``) are kept and checked. The folder of a storage unit is listed by JSOC; while it does not
answer, the cached files are listed. Everything else is passed through.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from mirror.errors import NotHeld, StorageError, UpstreamBroken, UpstreamError
from mirror.humanize import utc
from mirror.readthrough.downloads import Download, OtherAnswer
from mirror.readthrough.records import CacheStatus
from mirror.server.jsoc.files import what_is_asked
from mirror.server.jsoc.proxy import asked_host
from mirror.server.jsoc.sendfile import send
from mirror.server.requests import FOREIGN, cache_headers, demand_of
from mirror.server.roles import OURS
from mirror.services.exports.content import content_of
from mirror.services.exports.planning import EXPORTS
from mirror.wire.paths import is_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mirror.readthrough.plain_files import Cached, PlainFiles
    from mirror.server.jsoc.files import FileResponses
    from mirror.server.jsoc.proxy import Proxy
    from mirror.services.exports.jobs import Jobs
    from mirror.storage.files.holdings import Holding, Holdings

#: The folder of a storage unit or of one of its slots, with or without a final slash; and that of our exports.
_UNIT_FOLDER = re.compile(r"/SUM\d{0,9}/D(?P<sunum>\d{1,18})(?:/S(?P<slot>\d{1,9}))?(?P<slash>/?)", re.ASCII)
_EXPORT_FOLDER = re.compile(rf"{EXPORTS}/(?P<id>[A-Za-z0-9_]{{1,80}})", re.ASCII)
_STRONG_TAG = re.compile(r'"([^"]*)"')
_ANYTHING = "application/octet-stream"


class PagesOfJsoc:
    """The handler of every path without another handler; ``now`` gives Unix seconds."""

    def __init__(
        self,
        proxy: Proxy,
        files: PlainFiles,
        contents: FileResponses,
        holdings: Holdings,
        jobs: Jobs,
        now: Callable[[], float],
    ) -> None:
        self._proxy = proxy
        self._files = files
        self._contents = contents
        self._holdings = holdings
        self._jobs = jobs
        self._now = now

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """A kept file, a folder, or whatever JSOC has there."""
        path = request.rel_url.raw_path
        if request.method not in ("GET", "HEAD"):
            return await self._proxy.handle(request)
        ours = request.raw_path.startswith("/") and path.split("/")[1] in OURS
        kept = self._files.keeps(path) or self._files.keeps(f"{path}/")
        if kept and not ours and not is_program(path):
            return await self._plain_file(request, path)
        if (folder := _UNIT_FOLDER.fullmatch(path)) is not None:
            return await self._unit_folder(request, folder)
        if (export := _EXPORT_FOLDER.fullmatch(path)) is not None and await self._jobs.get(export["id"]):
            raise web.HTTPMovedPermanently(location=f"{path}/")
        return await self._proxy.handle(request)

    # ---- plain files -----------------------------------------------------------------------------

    async def _plain_file(self, request: web.Request, path: str) -> web.StreamResponse:
        if request.rel_url.raw_query_string:
            return await self._with_query(request, path)
        demand = demand_of(request)
        try:
            if request.method == "HEAD" and self._proxy.may_ask(request) and await self._files.held(path) is None:
                return await self._proxy.pass_through(request)  # its body is not needed
            found = await self._files.open(path, demand, asked_host(request))
        except OtherAnswer as other:
            return await self._proxy.other_answer(request, other)
        except (UpstreamBroken, StorageError):
            return await self._proxy.pass_through(request)  # what cannot be kept may be correct all the same
        except (UpstreamError, NotHeld):
            folder = f"{path}/"
            if not self._files.may_be_stale or await self._files.held(folder) is None:
                raise
            raise web.HTTPMovedPermanently(location=folder) from None
        request[FOREIGN] = True
        if isinstance(found, Download):
            return await _arriving(request, found)
        return await self._cached(request, found)

    async def _with_query(self, request: web.Request, path: str) -> web.StreamResponse:
        """A query about a file, or one meant to bypass caches: JSOC's to answer, as long as it does."""
        try:
            return await self._proxy.pass_through(request)
        except (UpstreamError, NotHeld):
            held = await self._files.held(path)
            if held is None or not self._files.may_be_stale:
                raise
            request[FOREIGN] = True
            return await self._cached(request, self._files.stale(held))

    async def _cached(self, request: web.Request, found: Cached) -> web.StreamResponse:
        file = found.file
        content = content_of(file.blob, modified=_seconds(file.modified))
        headers = cache_headers(found.origin, found.checked_at, self._now())
        if file.encoding:
            headers["Content-Encoding"] = file.encoding
        origin = headers.pop("X-Mirror")
        tag = _tag(file.tag)
        return await self._contents.send(request, content, file.kind or _ANYTHING, origin, tag=tag, headers=headers)

    # ---- folders ---------------------------------------------------------------------------------

    async def _unit_folder(self, request: web.Request, folder: re.Match[str]) -> web.StreamResponse:
        """JSOC's own list of a unit's files; while it does not answer, the cached ones."""
        try:
            return await self._proxy.handle(request)
        except (UpstreamError, NotHeld):
            if not self._files.may_be_stale:
                raise
            held = await self._holdings.of_units([int(folder["sunum"])])
            if folder["slot"] is not None:
                held = [holding for holding in held if holding.file.slot == int(folder["slot"])]
            if not held:
                raise
        if not folder["slash"]:
            raise web.HTTPMovedPermanently(location=f"{request.rel_url.raw_path}/") from None
        rows = _rows(held, slots=folder["slot"] is None)
        headers = cache_headers(CacheStatus.STALE, None, self._now())
        body = _listing(request.path, rows)
        return web.Response(text=body, content_type="text/html", headers=headers)


async def _arriving(request: web.Request, download: Download) -> web.StreamResponse:
    """A file that is arriving, sent as it comes, with JSOC's headers about it."""
    size = await download.begun()
    tag, modified = _tag(download.headers.get("ETag", "")), _seconds(download.headers.get("Last-Modified", ""))
    asked = what_is_asked(request.headers, size, tag=tag, modified=modified or 0.0)
    response = web.StreamResponse(status=asked.status, headers={"Accept-Ranges": "bytes", "X-Mirror": "filled"})
    if tag is not None:
        response.etag = tag
    if modified is not None:
        response.last_modified = int(modified)
    if asked.status in (206, 416):
        sent = f"{asked.start}-{asked.end - 1}" if asked.status == 206 else "*"
        response.headers["Content-Range"] = f"bytes {sent}/{size}"
    if asked.status != 304:
        response.headers["Content-Type"] = download.headers.get("Content-Type") or _ANYTHING
        if encoding := download.headers.get("Content-Encoding"):
            response.headers["Content-Encoding"] = encoding
        response.content_length = asked.end - asked.start
    return await send(request, response, download.read(asked.start, asked.end, size))


def _tag(headers: str) -> str | None:
    """The value of a strong ETag; None for a weak one, which says nothing about the bytes, or none."""
    found = _STRONG_TAG.fullmatch(headers.strip())
    return found[1] if found and found[1] else None


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


# ---- lists of files -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry of a folder: its name, when it was kept (Unix seconds), and its bytes, None for a folder."""

    name: str
    moment: float
    size: int | None


def _rows(held: Iterable[Holding], *, slots: bool) -> list[_Row]:
    """The files of a slot, or with ``slots`` the slots of a unit; a file in a subfolder is shown as that folder."""
    found: dict[str, _Row] = {}
    for holding in held:
        name, slash, _ = holding.file.file.partition("/")
        if slots:
            name, slash = f"S{holding.file.slot:05d}", "/"
        row = _Row(name + slash, holding.blob.kept_at, None if slash else holding.blob.size)
        found.setdefault(row.name, row)
    return [found[name] for name in sorted(found)]


def _listing(path: str, rows: Iterable[_Row]) -> str:
    """A folder as Apache shows one, whose links programs read."""
    title = html.escape(f"Index of {path.rstrip('/')}")
    lines = [_line(row) for row in rows]
    return (
        f'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n<html>\n <head>\n  <title>{title}</title>\n </head>\n'
        f" <body>\n<h1>{title}</h1>\n<p>JSOC is not responding. These are the files cached by this mirror.</p>\n"
        f'<pre>Name  Last modified  Size<hr><a href="../">Parent Directory</a>\n{"".join(lines)}<hr></pre>\n'
        "</body></html>\n"
    )


def _line(row: _Row) -> str:
    when = utc(row.moment).strftime("%Y-%m-%d %H:%M")
    name = html.escape(row.name)
    return f'<a href="{quote(row.name)}">{name}</a>  {when}  {"-" if row.size is None else row.size}\n'
