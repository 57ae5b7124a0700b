"""The API of films."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.api import films as api
from mirror.server.api.exports import export_of
from mirror.server.endpoints import serve
from mirror.server.requests import PRINCIPAL
from mirror.services.films import FilmRequest, film_line

if TYPE_CHECKING:
    from mirror.api.contract import Nothing
    from mirror.api.exports import Job
    from mirror.services.films import Films


class FilmsApi:
    """The handlers of /api/films."""

    def __init__(self, films: Films) -> None:
        self._films = films

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.FILM, self.film)
        serve(router, api.FILM_FILE, self.file)

    async def film(self, request: web.Request, asked: api.FilmBody) -> Job:
        """Begin a film."""
        principal = request.get(PRINCIPAL)
        wanted = FilmRequest(export_of(asked.ds, asked.seg, asked.n), asked.size, asked.fps, asked.step, asked.fetch)
        return film_line(await self._films.start(wanted, principal.who if principal else ""))

    async def file(self, request: web.Request, _: Nothing) -> web.StreamResponse:
        """The MP4, or parts of it, as players request them."""
        film_id = request.match_info["id"]
        return web.FileResponse(self._films.file(film_id), headers={"Content-Type": api.FILM_FILE.media[0]})
