"""The web application: which handler answers which path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.server.problems import answer_problems

if TYPE_CHECKING:
    from mirror.server.api import Api
    from mirror.server.cgi import Programs
    from mirror.server.fetch import Fetch
    from mirror.server.files import FileHandlers
    from mirror.server.filesapi import FilesApi
    from mirror.server.pages import Pages
    from mirror.server.proxy import Proxy

#: Where JSOC's programs are; drms asks at the first, scripts at either.
CGI_BASES = ("/cgi-bin/ajax/",)

#: Bytes of a request's body, and of its first line: a query of a megabyte gets an error of ours.
LARGEST_BODY = 4 * 2**20
LARGEST_LINE = 4 * 2**20


def build_app(
    programs: Programs,
    fetch: Fetch,
    files: FileHandlers,
    api: Api,
    files_api: FilesApi,
    pages: Pages,
    proxy: Proxy,
) -> web.Application:
    """The application; what no handler of ours answers goes to JSOC."""
    app = web.Application(middlewares=[proxy.guard, answer_problems], client_max_size=LARGEST_BODY)
    for base in CGI_BASES:
        programs.add_to(app.router, base)
        app.router.add_route("*", f"{base}jsoc_fetch", fetch.jsoc_fetch)
    files.add_to(app.router)
    api.add_to(app.router)
    files_api.add_to(app.router)
    app.router.add_get("/", pages.front)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    return app
