"""Films: the images of a record set as MP4, made as a job."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from mirror.api.contract import Asked, Endpoint, Names, Nothing, RecordSets, Whole
from mirror.api.exports import Job


class FilmBody(Asked, frozen=True, kw_only=True):
    """Every ``step``-th record, no side above ``size`` pixels, ``fps`` frames per second.

    Only from cached files, unless ``fetch``.
    """

    ds: RecordSets
    seg: Names = ""
    n: Whole | None = None
    size: Annotated[int, Meta(description="pixels: 128, 256, 512 or 1024")] = 512
    fps: Annotated[int, Meta(description="1 to 60")] = 10
    step: Annotated[int, Meta(description="1 or more")] = 1
    fetch: bool = False


FILM = Endpoint(
    method="POST", path="/api/films", role="export", asked=FilmBody, answer=Job, status=202,
    text="Start a job that makes a film of a record set, or return the one of an identical request that is under way. "
    "`/api/jobs/{id}` says how far it is, and cancels it.",
)  # fmt: skip
FILM_FILE = Endpoint(
    method="GET", path="/api/films/{id}", role="read", asked=Nothing, answer=bytes, media=("video/mp4",),
    text="The MP4 of a film that is done. The last 20 films are kept.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (FILM, FILM_FILE)
