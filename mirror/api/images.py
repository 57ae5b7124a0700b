"""Images: one record's file at an address of its own, whole, cut out, or averaged; and films."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from mirror.api.contract import Answer, Asked, Endpoint, Names, Nothing, RecordSets, Whole
from mirror.api.exports import Job
from mirror.errors import BadRequest

#: The form of a scale; the group is how many pixels of each axis become one.
SCALE = re.compile(r"1/([1-9]\d{0,3})")

Pixel = Annotated[float | None, Meta(description="in units")]


class CutoutQuery(Asked, frozen=True, kw_only=True):
    """``width`` by ``height`` around ``x``, ``y``, in arcsec from disk centre or as FITS pixel numbers; none: all.

    ``scale``: how many pixels of each axis are averaged to one. ``t_ref``: the time at which the centre is there; it
    moves with the rotation of the Sun until the record's time.
    """

    x: Pixel = None
    y: Pixel = None
    width: Pixel = None
    height: Pixel = None
    units: Literal["arcsec", "pixels"] | None = None
    scale: Annotated[str | None, Meta(description="1/N", examples=["1/4"])] = None
    t_ref: Annotated[str | None, Meta(description="a time", examples=["2014.01.01_00:00:00_TAI"])] = None


def check_numbers(given: Mapping[str, float]) -> None:
    """BadRequest for a place that is no number, or a ``width`` or ``height`` that is no length."""
    for name, value in given.items():
        if not math.isfinite(value) or (name in ("width", "height") and value <= 0):
            wanted = "a number above 0" if name in ("width", "height") else "a number"
            raise BadRequest(f"{name} is {value:g}; expected {wanted}")


class FileChoice(Answer, frozen=True, kw_only=True):
    """One of several files, and where it is."""

    record: str
    segment: str
    path: str


class FileChoices(Answer, frozen=True, kw_only=True):
    """The files that a record set names, if there are several."""

    error: str
    choices: list[FileChoice]


FITS = Endpoint(
    method="GET", path="/fits/{recordset}", pattern="/fits/{recordset:.+}", role="read", asked=CutoutQuery, answer=bytes,
    media=("image/fits",),
    text="The FITS file of the one record and segment that a record set names, such as "
    "`hmi.m_720s[2014.01.01_00:00:00_TAI]{magnetogram}`, with the record's keywords in its header; with `x`, `y`, `width` "
    "and `height` a part of it. A file that is not cached is fetched. Code 300, with a list, if several files are named.",
)  # fmt: skip
CUTOUT_ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (FITS,)


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
FILM_ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (FILM, FILM_FILE)
