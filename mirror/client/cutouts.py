"""Files of a record set under drms's names, and cutouts, for the command line and ``mirror.Client``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mirror.api.exports import FILES, FilesQuery, ListedFile
from mirror.api.images import SCALE, CutoutQuery, check_numbers
from mirror.api.search import SEARCH, Found, SearchQuery
from mirror.errors import BadRequest

#: Asks an endpoint.
Ask = Callable[..., Any]
Units = Literal["arcsec", "pixels"]
_NO_TIME = ("MISSING", "Invalid KeyLink")


@dataclass(frozen=True, slots=True)
class Cutout:
    """A part of each image of a record set: ``size`` (width, height) around ``center`` (x, y), averaged by ``scale``.

    In arcsec from disk centre, or ``units="pixels"``: FITS pixel numbers. ``scale`` "1/4" averages squares of 4 x 4 pixels.
    ``track``: the centre moves with the rotation of the Sun, and is at its place at ``t_ref``, else at the first record.
    Numbers may be numpy's. BadRequest for anything but a pair of numbers.
    """

    center: tuple[float, float] | None = None
    size: tuple[float, float] | None = None
    units: Units = "arcsec"
    scale: str | None = None
    track: bool = False
    t_ref: str | None = None

    def __post_init__(self) -> None:
        for name in ("center", "size"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))

    def check(self) -> None:
        """Raise BadRequest if the values do not go together."""
        if (self.center is None) != (self.size is None):
            raise BadRequest("the centre of a cutout, or its size, is missing; expected both, or neither")
        if self.units not in get_args(Units):
            raise BadRequest(f"units is {self.units!r}; expected one of {', '.join(get_args(Units))}")
        for pair, names in ((self.center, ("x", "y")), (self.size, ("width", "height"))):
            check_numbers(dict(zip(names, pair or (), strict=False)))
        if self.scale is not None and not SCALE.fullmatch(str(self.scale)):
            raise BadRequest(f"scale is {self.scale!r}; expected 1 over a whole number, such as 1/4")
        if (self.track or self.t_ref) and (self.center is None or self.units != "arcsec"):
            raise BadRequest("tracking needs a centre and a size in arcsec")

    def query(self, recordset: str, ask: Ask) -> CutoutQuery:
        """The query for each file of a record set; BadRequest if it is impossible."""
        self.check()
        (x, y), (width, height) = self.center or (None, None), self.size or (None, None)
        t_ref = self.t_ref
        if self.track and t_ref is None:
            t_ref = _first_time(ask(SEARCH, SearchQuery(ds=recordset, key="T_REC", n=1)))
        units = self.units if self.center else None
        return CutoutQuery(x=x, y=y, width=width, height=height, units=units, scale=self.scale, t_ref=t_ref)


def _pair(name: str, given: object) -> tuple[float, float] | None:
    """Two numbers, of whatever library; None stays None."""
    if given is None:
        return None
    try:
        first, second = (float(each) for each in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as problem:
        raise BadRequest(f"{name} is {given!r}; expected two numbers, such as (200, -300)") from problem
    return first, second


def images_of(recordset: str, seg: str, n: int | None, ask: Ask) -> list[ListedFile]:
    """The FITS files of a record set, with drms's names; BadRequest if there is none."""
    name = drms_names(recordset, ask)
    files: list[ListedFile] = ask(FILES, FilesQuery(ds=recordset, seg=seg, n=n, name=name))
    found = [file for file in files if file.name.lower().endswith(".fits")]
    if not found:
        if files:
            raise BadRequest(f"no FITS files in {recordset}; expected a segment that is an image")
        known: Found = ask(SEARCH, SearchQuery(ds=recordset, n=1))
        raise BadRequest(f"{recordset} has no files: its series has no segments" if known.count else known.note or f"no records match {recordset}")
    return found


def address_of(file: ListedFile) -> str:
    """The record set that names one file, as /fits/ and jsoc:// take it."""
    return f"{file.record}{{{file.segment}}}"


def drms_names(recordset: str, ask: Ask) -> str:
    """The format by which drms names the files of an export of a record set."""
    found: Found = ask(SEARCH, SearchQuery(ds=recordset, n=1))
    series = recordset.partition("[")[0].partition("{")[0].strip()
    return name_format(series, found.columns, found.kinds)


def name_format(series: str, primekeys: Sequence[str], types: Sequence[str]) -> str:
    """Series, prime keys and segment, with times spelled as file names allow."""
    named = [(key, kind) for key, kind in zip(primekeys, types, strict=True) if not key.startswith("*")]
    keys = [f"{{{key}:A}}" if kind == "time" else f"{{{key}}}" for key, kind in named]
    return ".".join((series.lower(), *(keys or ["{recnum:%lld}"]), "{segment}"))


def _first_time(found: Found) -> str:
    """The time of the first record, from which its centre is followed."""
    times = [str(row[0]) for row in found.rows]
    if not times or times[0] in _NO_TIME:
        raise BadRequest("the records have no T_REC to begin with; give t_ref, the time at which the centre is there")
    return times[0]
