"""The frame of the pages: templates, static files, the headers of both, and how numbers, sizes and times are printed.

Rule for editors: nothing from outside, no inline script and no inline style; the policy forbids both, also to anything
that a hostile name might inject. Static files are below a hash of them all, so that browsers may keep them for good,
and one imports another by a relative name. The scripts have the same printing functions in site.js.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import math
import mimetypes
import re
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
from aiohttp import web

import mirror
from mirror.config.access import Role
from mirror.errors import MirrorError
from mirror.humanize import length, moment, near, number, plural, share, size
from mirror.server.access.refusals import HEADERS
from mirror.server.errors import codes
from mirror.server.jsoc.proxy import for_browser
from mirror.server.requests import FORM_TOKEN, PRINCIPAL
from mirror.server.roles import STATIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.resources.abc import Traversable

    from aiohttp.typedefs import Handler

    from mirror.server.errors import Suggestions
    from mirror.server.jsoc.proxy import Proxy


def amount(value: float | None) -> float:
    """A number for an attribute, such as the value of a progress bar: 0 if unknown."""
    return 0 if value is None or not math.isfinite(value) else value


def in_path(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="", errors="replace")


def many(count: Any, noun: str) -> str:
    """"1 file", "1,920 files"; a dash for no number."""
    return f"{number(count)} {noun if count == 1 else plural(noun)}"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "many": many,
    "size": size,
    "share": share,
    "lasting": length,
    "moment": moment,
    "in_path": in_path,
    "amount": amount,
}


#: A possible name of a series.
_SERIES = re.compile(r"[A-Za-z]\w*\.\w+", re.ASCII)
#: Endings of files that browsers and crawlers ask for; no series is called so.
_FILES = frozenset(["css", "htm", "html", "ico", "js", "json", "php", "png", "svg", "txt", "xml"])
_FOREVER = "public, max-age=31536000, immutable"
#: Path and name of each page in the navigation.
NAVIGATION = (
    ("/", "Overview"),
    ("/search", "Search"),
    ("/coverage", "Coverage"),
    ("/series", "Series"),
    ("/sql", "SQL"),
    ("/jobs", "Jobs"),
    ("/subscriptions", "Subscriptions"),
    ("/datasets", "Data sets"),
    ("/upkeep", "Upkeep"),
)
#: The page that is in the navigation only in a cluster.
CLUSTER = ("/cluster", "Cluster")
#: Suffixes whose media types a machine may not know, or know differently.
_KINDS = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file: its content, its media type and its entity tag."""

    body: bytes
    kind: str
    tag: str


class Site:
    """Fills in templates, and serves the static files below ``/static/``."""

    def __init__(self, proxy: Proxy, suggestions: Suggestions, *, in_cluster: bool = False) -> None:
        self._navigation = (*NAVIGATION, *((CLUSTER,) if in_cluster else ()))
        self._proxy = proxy
        self._suggestions = suggestions
        self._assets = dict(_assets(importlib.resources.files("mirror") / "web" / "static"))
        joined = "".join(f"{name} {asset.tag}\n" for name, asset in sorted(self._assets.items()))
        self.version = hashlib.sha256(joined.encode()).hexdigest()[:12]
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("mirror", "web/templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= FILTERS
        self._templates.globals |= {
            "asset": self.asset,
            "navigation": self._navigation,
            "program": mirror.__version__,
        }

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the static files."""
        STATIC.add(router, self.static)

    def asset(self, name: str) -> str:
        """The address of a static file; KeyError if there is none of that name."""
        if name not in self._assets:
            raise KeyError(name)
        return f"/static/{self.version}/{name}"

    def page(
        self, request: web.Request, template: str, /, *, status: int = 200, **values: Any
    ) -> web.Response:
        """The page of a template; ``request`` gives the current path, ``values`` are what it shows."""
        principal = request.get(PRINCIPAL)
        role = Role.ADMIN if principal is None else principal.role  # someone admitted without a check may do everything
        text = self.render(
            template,
            path=request.path,
            host=request.host,
            principal=principal,
            role=str(role),
            may_export=role >= Role.EXPORT,
            may_administer=role >= Role.ADMIN,
            form_token=request.get(FORM_TOKEN, ""),
            **values,
        )
        headers = {**HEADERS, "Cache-Control": "no-cache"}
        # A header or an address may contain what UTF-8 cannot encode.
        body = text.encode("utf-8", "replace")
        return web.Response(
            body=body, content_type="text/html", charset="utf-8", status=status, headers=headers
        )

    def render(self, template: str, /, **values: Any) -> str:
        """A filled-in template; UndefinedError if it uses a value that is not among these."""
        return self._templates.get_template(template).render(**values)

    def own(self, handler: Handler) -> Handler:
        """A page's handler, for requests to us: a client that takes us for JSOC is passed on to it.

        One of our errors becomes a page that shows it.
        """

        @wraps(handler)
        async def answer(request: web.Request) -> web.StreamResponse:
            if not request.raw_path.startswith("/"):
                return await self._proxy.handle(request)
            try:
                return await handler(request)
            except MirrorError as error:
                problem = await self._suggestions.improved(error)
                return self.page(request, "problem.html", status=codes(error)[1], problem=str(problem))

        return answer

    @web.middleware
    async def show_problems(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer; for a browser, errors and missing pages become a page."""
        if not for_browser(request):
            return await handler(request)
        try:
            response = await handler(request)
        except web.HTTPNotFound as missing_file:
            return self._not_found(request, passed=False, why=missing_file.text or "")
        except MirrorError as error:
            problem = await self._suggestions.improved(error)
            return self.page(request, "problem.html", status=codes(error)[1], problem=str(problem))
        missing = response.status == web.HTTPNotFound.status_code and not response.prepared
        passed = "X-Mirror" in response.headers  # otherwise one of our pages already says what is missing
        if missing and (passed or response.content_type != "text/html"):
            return self._not_found(request, passed=passed)
        return response

    def _not_found(self, request: web.Request, *, passed: bool, why: str = "") -> web.Response:
        """A page with suggestions; ``passed``: JSOC was asked, too. ``why`` says what is missing."""
        first = request.path.split("/")[1]
        pages = {name.strip("/"): (name, title) for name, title in self._navigation}
        found = [pages[name] for name in near(first, pages)]
        if _SERIES.fullmatch(first) and first.rpartition(".")[2].lower() not in _FILES:
            found.append((f"/series/{in_path(first)}", f"the series {first}"))
        return self.page(request, "not_found.html", status=web.HTTPNotFound.status_code, near=found, passed=passed, why=why)

    async def static(self, request: web.Request) -> web.StreamResponse:
        """A static file; cacheable for good under the current version, otherwise only while it is unchanged."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound(text="no such file\n")
        current = request.match_info["version"] == self.version
        headers = {**HEADERS, "ETag": asset.tag, "Cache-Control": _FOREVER if current else "no-cache"}
        if asset.tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.body, content_type=asset.kind, charset="utf-8", headers=headers)


def _assets(folder: Traversable, above: str = "") -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _assets(entry, f"{above}{entry.name}/")
        else:
            body = entry.read_bytes()
            yield (
                above + entry.name,
                Asset(body, _kind(entry.name), f'"{hashlib.sha256(body).hexdigest()[:16]}"'),
            )


def _kind(name: str) -> str:
    suffix = name[name.rfind(".") :] if "." in name else ""
    return _KINDS.get(suffix) or mimetypes.guess_type(name)[0] or "text/plain"
