"""The front page: what this server is, for people who open its address in a browser.

Clients look whether ``http://jsoc.stanford.edu/`` answers before they begin (drms' own tests do). A
request for that page goes to JSOC; when JSOC is down, this page stands in, since everything held works.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.drms.errors import MirrorError

if TYPE_CHECKING:
    from mirror.server.proxy import Proxy
    from mirror.services.status import Status

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>JSOC mirror</title></head><body>
<h1>A mirror of JSOC</h1>
<p>It answers at JSOC's own paths, from what it holds, and asks JSOC for the rest.
Point your scripts at it: <code>HTTP_PROXY={address} python your_script.py</code></p>
<p>{series} series and {records:,} records are held. JSOC: {upstream}.</p>
<p><a href="/api/coverage">coverage</a> <a href="/api/series">series</a> <a href="/api/status">status</a>
<a href="/metrics">metrics</a></p>
</body></html>
"""


class Pages:
    """The handler of ``/``."""

    def __init__(self, status: Status, proxy: Proxy) -> None:
        self._status = status
        self._proxy = proxy

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the page."""
        router.add_get("/", self.front)

    async def front(self, request: web.Request) -> web.StreamResponse:
        """JSOC's front page for a client that takes us for JSOC, as long as there is one; else ours."""
        if not request.raw_path.startswith("/"):
            try:
                return await self._proxy.pass_through(request)
            except MirrorError:  # JSOC is down or may not be asked: the page says so
                return await self._own(request)
        return await self._own(request)

    async def _own(self, request: web.Request) -> web.Response:
        status = await self._status.status()
        page = _PAGE.format(
            address=escape(f"http://{request.host}"),
            series=status["series"],
            records=status["records"],
            upstream=escape(status["upstream"]["state"]),
        )
        return web.Response(text=page, content_type="text/html")
