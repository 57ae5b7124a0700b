"""The API of news: as JSON, and as an Atom feed (RFC 4287)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from mirror.api import news as api
from mirror.humanize import stamp
from mirror.server.endpoints import serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.services.news import News

_ATOM = "http://www.w3.org/2005/Atom"
_TITLES = {"new": "New data", "reprocessed": "Reprocessed"}


class NewsApi:
    """The handlers of /api/news and /api/feed.atom; ``now`` gives Unix seconds."""

    def __init__(self, news: News, now: Callable[[], float]) -> None:
        self._news = news
        self._now = now

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve both at their paths."""
        serve(router, api.NEWS, self.news)
        serve(router, api.FEED, self.feed)

    async def news(self, _: web.Request, asked: api.NewsQuery) -> list[api.NewsItem]:
        """The last items."""
        return self._news.latest(asked.n, asked.series)

    async def feed(self, request: web.Request, asked: api.NewsQuery) -> web.Response:
        """The same as a feed."""
        items = self._news.latest(asked.n, asked.series)
        here = f"{request.scheme}://{request.host}"
        root = ET.Element(f"{{{_ATOM}}}feed")
        about = f" of {asked.series}" if asked.series else ""
        _add(root, "id", f"urn:jsoc-mirror:{self._news.feed}{':' + asked.series.lower() if asked.series else ''}")
        _add(root, "title", f"JSOC mirror: new data and reprocessing{about}")
        _add(root, "updated", items[0].at if items else stamp(self._now()))
        _add(_add(root, "author"), "name", "JSOC mirror")
        _add(root, "link", rel="self", href=f"{here}{request.path_qs}")
        _add(root, "link", rel="alternate", href=f"{here}/")
        for item in items:
            entry = _add(root, "entry")
            _add(entry, "id", f"urn:jsoc-mirror:{self._news.feed}:{item.id}")
            _add(entry, "title", f"{_TITLES[item.kind]}: {item.text}")
            _add(entry, "updated", item.at)
            _add(entry, "category", term=item.kind)
            _add(entry, "link", rel="alternate", href=f"{here}/series/{quote(item.series)}")
            _add(entry, "content", "\n".join([item.text, *item.names]), type="text")
        ET.register_namespace("", _ATOM)
        body = ET.tostring(root, encoding="utf-8", xml_declaration=True)
        return web.Response(body=body, headers={"Content-Type": "application/atom+xml; charset=utf-8"})


def _add(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> ET.Element:
    made = ET.SubElement(parent, f"{{{_ATOM}}}{name}", attributes)
    made.text = text
    return made
