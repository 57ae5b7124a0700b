"""The API of images: the addresses of single files, ``/fits/<record set>{segment}``, and films."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from mirror.api.contract import JSON, encoded
from mirror.api.images import (
    FILM,
    FILM_FILE,
    FITS,
    SCALE,
    CutoutQuery,
    FileChoice,
    FileChoices,
    FilmBody,
    check_numbers,
)
from mirror.drms.times import parse_time
from mirror.errors import BadRequest
from mirror.humanize import near
from mirror.readthrough.policy import CacheDemand
from mirror.server.api.exports import export_of
from mirror.server.endpoints import serve
from mirror.server.jsoc.files import KINDS, send_file, what_is_asked
from mirror.server.requests import PRINCIPAL, demand_of
from mirror.services.cutouts.cutouts import Several
from mirror.services.films import FilmRequest, film_line
from mirror.services.quicklook.cutout import Window

if TYPE_CHECKING:
    from mirror.api.contract import Nothing
    from mirror.api.exports import Job
    from mirror.server.jsoc.files import FileResponses
    from mirror.services.cutouts.cutouts import Cutouts, FitsFile
    from mirror.services.films import Films

_KIND, NOT_MODIFIED, SEVERAL = KINDS[".fits"], 304, 300


class CutoutsApi:
    """The handler of /fits/."""

    def __init__(self, cutouts: Cutouts, contents: FileResponses) -> None:
        self._cutouts = cutouts
        self._contents = contents

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it at its path."""
        serve(router, FITS, self.fits)

    async def fits(self, request: web.Request, asked: CutoutQuery) -> web.StreamResponse:
        """The file that a record set names, or a part of it."""
        _check_names(request)
        window, since = _window(asked), _since(asked.t_ref)
        ds, cached_only = request.match_info["recordset"], demand_of(request) is CacheDemand.ONLY_IF_CACHED
        try:
            if window == Window() and since is None:
                return await self._whole(request, await self._cutouts.find(ds, cached_only=cached_only))
            async with self._cutouts.in_turn(ds, cached_only=cached_only) as found:
                return await self._part(request, found, window, since)
        except Several as several:
            choices = [FileChoice(record=c.record, segment=c.segment, path=c.path) for c in several.choices]
            body = encoded(FileChoices(error=str(several), choices=choices))
            return web.Response(body=body, status=SEVERAL, content_type=JSON, charset="utf-8")

    async def _whole(self, request: web.Request, found: FitsFile) -> web.StreamResponse:
        kind = _KIND if found.name.lower().endswith(".fits") else "application/octet-stream"
        return await self._contents.send(request, found.content, kind, "local", headers=_named(found))

    async def _part(self, request: web.Request, found: FitsFile, window: Window, since: float | None) -> web.StreamResponse:
        tag = self._cutouts.tag(found, window, since)
        headers = _named(found) | {"ETag": f'"{tag}"'}
        if what_is_asked(request.headers, 1, tag=tag).status == NOT_MODIFIED:
            return web.Response(status=NOT_MODIFIED, headers=headers)
        return web.Response(body=await self._cutouts.cut(found, window, since), content_type=_KIND, headers=headers)


def _named(found: FitsFile) -> dict[str, str]:
    return {"Content-Disposition": f"inline; filename*=UTF-8''{quote(found.name)}"}


def _check_names(request: web.Request) -> None:
    """BadRequest for a parameter that there is none of: without it the answer would be another image."""
    known = CutoutQuery.__struct_encode_fields__
    for name in request.rel_url.query:
        if name not in known:
            found = near(name, known)
            hint = f"did you mean {' or '.join(found)}?" if found else f"expected some of {', '.join(known)}"
            raise BadRequest(f"{name[:100]!r} is no parameter of a cutout; {hint}")


def _window(asked: CutoutQuery) -> Window:
    """The requested part of an image; BadRequest if it is incomplete or not a length."""
    given = {name: getattr(asked, name) for name in ("x", "y", "width", "height")}
    missing = [name for name, value in given.items() if value is None]
    scale = 1
    if asked.scale is not None:
        found = SCALE.fullmatch(asked.scale)
        if found is None:
            raise BadRequest(f"scale is {asked.scale[:100]!r}; expected 1 over a whole number, such as 1/4")
        scale = int(found[1])
    if len(missing) == len(given):
        if asked.units is not None:
            raise BadRequest(f"units={asked.units} without a place; expected x, y, width and height too")
        return Window(scale=scale)
    if missing:
        raise BadRequest(f"{', '.join(missing)} is missing; expected x, y, width and height together")
    check_numbers(given)
    return Window((given["x"], given["y"]), (given["width"], given["height"]), asked.units or "arcsec", scale)


def _since(text: str | None) -> float | None:
    return None if text is None else parse_time(text)


class FilmsApi:
    """The handlers of /api/films."""

    def __init__(self, films: Films) -> None:
        self._films = films

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, FILM, self.film)
        serve(router, FILM_FILE, self.file)

    async def film(self, request: web.Request, asked: FilmBody) -> Job:
        """Begin a film."""
        principal = request.get(PRINCIPAL)
        wanted = FilmRequest(export_of(asked.ds, asked.seg, asked.n), asked.size, asked.fps, asked.step, asked.fetch)
        return film_line(await self._films.start(wanted, principal.who if principal else ""))

    async def file(self, request: web.Request, _: Nothing) -> web.StreamResponse:
        """The MP4, or parts of it, as players request them."""
        return await send_file(request, self._films.file(request.match_info["id"]), FILM_FILE.media[0])
