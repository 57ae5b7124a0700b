"""The search page, and what helps to write record sets: their check, the builder, names of series.

The first part is pure: what the page shows, from the request and the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
from aiohttp import web
from msgspec.structs import replace as replace_in

from mirror.api import search as api
from mirror.api.contract import Nothing, plain
from mirror.api.reading import from_query
from mirror.drms.compose import KeyChoice, Span, apart, is_time, zone_of
from mirror.drms.parser import parse_query
from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES, error_of
from mirror.errors import BadRequest, MirrorError
from mirror.server.endpoints import serve
from mirror.server.errors import codes
from mirror.server.requests import parameters, whole
from mirror.server.roles import BUILDER, SEARCH_PAGE
from mirror.services.quicklook.quicklook import image_segments
from mirror.services.search.snippets import SnippetQuery, snippets
from mirror.services.search.validation import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mirror.drms.recordset import RecordSet
    from mirror.drms.series import PrimeKey, Series
    from mirror.server.api.search import SearchApi
    from mirror.server.pages.site import Site
    from mirror.services.quicklook.quicklook import QuickLooks
    from mirror.services.search.validation import QueryCheck


RECNUM = "*recnum*"
#: Longitude and latitude of an active region: its flux-weighted centre, from the central meridian, in degrees.
PLACES = ("LON_FWT", "LAT_FWT")
#: The default number of records, and the rows on a page that the server makes.
RECORDS, ROWS = 1000, 100
#: The numbers of records and of pictures that can be chosen on the page.
CHOICES, FRAMES = (100, 1000, 5000, 20_000, -100, -1000), (12, 24, 48, 96)
_SPAN = ("start", "end", "length", "step")


@dataclass(frozen=True, slots=True)
class Start:
    """An example search."""

    ds: str
    key: str
    text: str


STARTS = (
    Start("hmi.v_45s[2014.01.01_TAI/1h]", "T_REC,DATAMEAN,OBS_VR,QUALITY", "an hour of Dopplergrams"),
    Start("hmi.M_720s[$]", "T_REC,DATAMIN,DATAMAX,QUALITY", "the newest magnetogram"),
    Start("hmi.sharp_720s[4864]", "T_REC,NOAA_ARS,USFLUX,LON_FWT", "an active region over its life"),
    Start(
        "aia.lev1_euv_12s[2014.01.01_TAI/1d@1h][171]",
        "T_REC,WAVELNTH,EXPTIME,DATAMEAN",
        "AIA at 171 A, one an hour",
    ),
)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the builder for one prime key: a span of times, or values."""

    name: str
    note: str
    units: str
    time: bool
    zone: str
    step: str
    choice: KeyChoice


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table; ``kind`` is time, number or text, a ``hidden`` one is only for captions, links and plots.

    ``error`` names the column that is its error, "" if there is none; a ``helper`` is there only for plots of others.
    """

    name: str
    kind: str
    units: str
    note: str
    hidden: bool
    error: str = ""
    helper: bool = False


def field_of(series: Series, prime: PrimeKey, choice: KeyChoice) -> Field:
    """The builder's field for a prime key, filled in with the chosen values."""
    keyword = series.keyword(prime.name)
    time = is_time(series, prime)
    note, units = ("", "") if keyword is None else (keyword.note, keyword.units)
    blank: KeyChoice = Span() if time else ""
    step = f"{float(prime.step):g}" if prime.step else ""
    return Field(prime.name, note, units, time, zone_of(series, prime), step, choice or blank)


def builder(series: Series, record_set: RecordSet | None) -> dict[str, Any]:
    """The builder for a series, filled in from a record set; ``whole``: it can express all of it."""
    parts = None if record_set is None else apart(series, record_set)
    keys, where = ({}, "") if parts is None else parts
    return {
        "series": series.name,
        "note": series.note,
        "fields": [field_of(series, prime, keys.get(prime.name, "")) for prime in series.primekeys],
        "where": where,
        "segments": series.segments,
        "chosen": (record_set.segments or ()) if record_set else (),
        "whole": record_set is None or parts is not None,
    }


def filled_in(given: Mapping[str, str]) -> dict[str, KeyChoice]:
    """The values in the builder's form: ``v.KEY`` for values, ``start.KEY`` and so on for a span."""
    keys: dict[str, KeyChoice] = {}
    spans: dict[str, dict[str, str]] = {}
    for name, value in given.items():
        part, _, key = name.partition(".")
        if part == "v":
            keys[key] = value
        elif part in _SPAN and key:
            spans.setdefault(key, {})[part] = value
    return {**keys, **{key: Span(**span) for key, span in spans.items()}}


def columns(series: Series, names: Sequence[str], shown: Iterable[str]) -> list[Column]:
    """The columns of a table with these names, of which only some are shown."""
    visible = {name.lower() for name in shown}
    found = []
    for name in names:
        keyword = series.keyword(name)
        kind = "text" if keyword is None else _KINDS.get(keyword.type, "text")
        kind = "number" if name == RECNUM else kind
        note, units = ("", "") if keyword is None else (keyword.note, keyword.units)
        hidden, error = name.lower() not in visible, error_of(name, names) or ""
        helper = hidden and name not in {RECNUM, *(p.name for p in series.primekeys)}
        found.append(Column(name, kind, "" if units == "none" else units, note, hidden, error, helper))
    return found


_KINDS = {**dict.fromkeys(INTEGER_TYPES | FLOAT_TYPES, "number"), "time": "time"}


def asked_names(series: Series, keys: Sequence[str]) -> list[str]:
    """Keywords that are fetched but not shown: the number for pictures, the prime keys for captions and plots.

    And the errors of keywords, and the position of an active region on the disk, for plots.
    """
    known = [keyword.name for keyword in series.keywords]
    errors = [bar for key in keys if (bar := error_of(key, known)) is not None]
    places = [name for name in PLACES if name in known] if all(name in known for name in PLACES) else []
    there = {key.lower() for key in keys}
    more = dict.fromkeys((RECNUM, *(p.name for p in series.primekeys), *errors, *places))
    return [*(name for name in more if name.lower() not in there), *keys]


def spread(total: int, most: int) -> list[int]:
    """At most so many places of ``total``, spread evenly, including the first and the last."""
    if total <= most:
        return list(range(total))
    return sorted({round(i * (total - 1) / (most - 1)) for i in range(most)})


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of a film strip: its record, its caption, its address and that of a larger one, whether to show it."""

    recnum: int
    caption: str
    small: str
    large: str
    there: bool = True


def frames(
    series: Series,
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    segment: str,
    most: int,
    *,
    fetch: bool,
) -> list[Frame]:
    """The film strip of a segment."""
    at = names.index(RECNUM)
    keys = [i for i, name in enumerate(names) if name in {p.name for p in series.primekeys}]
    found = []
    for row in (rows[place] for place in spread(len(rows), most)):
        picture = {
            "ds": f"{series.name}[:#{row[at]}]{{{segment}}}",
            "n": "1",
            **({"fetch": "1"} if fetch else {}),
        }
        small, large = (f"/api/quicklook?{urlencode({**picture, 'size': str(size)}, errors='replace')}" for size in (256, 1024))
        found.append(Frame(int(row[at]), " ".join(str(row[i]) for i in keys), small, large))
    return found


def address_with(given: Mapping[str, str]) -> Callable[..., str]:
    """Builds the address of this search with other parameters; one that is "" is left out."""

    def address(**other: object) -> str:
        together = {**given, **{name: str(value) for name, value in other.items()}}
        return "/search?" + urlencode({k: v for k, v in together.items() if v}, quote_via=quote, errors="replace")

    return address


def _surroundings(problem: Mapping[str, Any], text: str) -> dict[str, Any]:
    """An error with the text around its place, for a page to mark: ``before``, ``mark``, ``after``."""
    place = problem["position"]
    if place is None:
        return {**problem, "before": "", "mark": "", "after": ""}
    return {
        **problem,
        "before": text[:place],
        "mark": text[place : place + 1] or " ",
        "after": text[place + 1 :],
    }


#: The parameters of a search, and of the page that shows it.
_STATE = ("ds", "key", "seg", "n", "where", "pictures", "frames", "fetch", "x", "y", "page")


class SearchPage:
    """The handlers of ``/search`` and of its scripts' requests."""

    def __init__(self, site: Site, api: SearchApi, queries: QueryCheck, pictures: QuickLooks) -> None:
        self._pictures = pictures
        self._site = site
        self._api = api
        self._queries = queries

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        SEARCH_PAGE.add(router, self._site.own(self.page))
        BUILDER.add(router, self._site.own(self.builder))
        serve(router, api.CHECK_QUERY, self.check)
        serve(router, api.BUILD_QUERY, self.build)
        serve(router, api.NAMES, self.names)

    async def check(self, _: web.Request, asked: api.CheckQuery) -> api.Checked:
        """Checks a record set: what a search would fetch, or what is wrong and where."""
        return msgspec.convert(await self._queries.check(asked.ds), api.Checked)

    async def build(self, request: web.Request, _: Nothing) -> api.Checked:
        """The record set of the builder's form, checked as above."""
        try:
            ds = await self._built(request)
        except BadRequest as problem:
            return api.Checked(ok=False, ds="", error=str(problem), expected="", position=None)
        return msgspec.convert(await self._queries.check(ds), api.Checked)

    async def names(self, _: web.Request, asked: api.NamesQuery) -> list[api.KnownName]:
        """The series whose names or notes contain the typed text."""
        return msgspec.convert(await self._queries.names(asked.q), list[api.KnownName])

    async def builder(self, request: web.Request) -> web.Response:
        """The fields of the builder for one series, as a fragment of a page."""
        series = await self._queries.structure((await parameters(request)).get("series", ""))
        return self._site.page(
            request, "search-fields.html", builder=builder(series, None), series=series
        )

    async def page(self, request: web.Request) -> web.Response:
        """A search with everything it shows; without a record set, what is needed to write one."""
        given = {k: v for k, v in (await parameters(request)).items() if k in _STATE and v.strip()}
        given["key"] = ",".join(filter(None, [given.get("key", ""), *request.query.getall("k", [])]))
        answer: dict[str, Any] = _blank(given)
        if "b.series" in request.query:
            try:
                ds = await self._built(request)
            except MirrorError as problem:
                answer["problem"] = _surroundings(marked(problem, ""), "")
                return self._site.page(request, "search.html", **{**answer, "status": codes(problem)[1]})
            kept = {k: v for k, v in given.items() if v}
            raise web.HTTPSeeOther("/search?" + urlencode({**kept, "ds": ds}, quote_via=quote, errors="replace"))
        if answer["ds"]:
            answer |= await self._shown(request, given)
        return self._site.page(request, "search.html", **answer)

    async def _built(self, request: web.Request) -> str:
        given = await parameters(request)
        segments = request.query.getall("b.seg", [])
        return await self._queries.compose(
            given.get("b.series", ""), filled_in(given), given.get("b.where", ""), segments
        )

    async def _shown(self, request: web.Request, given: Mapping[str, str]) -> dict[str, Any]:
        """The parts of the page that are about a record set, if there is one."""
        ds, known = given["ds"], {}
        try:
            sets = parse_query(ds).sets
            series = await self._queries.known(sets[0], ds)
            known = _known(series, sets)
            keys = _names(given.get("key", "")) or [p.name for p in series.primekeys]
            n = _whole(given.get("n"), RECORDS)
            asked = {**given, "key": ",".join(asked_names(series, keys)), "n": str(n)}
            payload, _ = await self._api.found(request, from_query(asked, api.SearchQuery))
        except MirrorError as problem:
            return {**known, "problem": _surroundings(marked(problem, ds), ds), "status": codes(problem)[1]}
        answer = SnippetQuery(ds, sets, series, tuple(keys), tuple(_names(given.get("seg", ""))), None)
        shown = _result(given, series, keys, payload, n)
        shown["frames"] = await self._frames(given, series, payload)
        return {**known, **shown, "codes": snippets(answer, _here(request))}

    async def _frames(
        self, given: Mapping[str, str], series: Series, payload: api.Found
    ) -> list[Frame]:
        """The requested film strip; only cached files are shown, unless missing ones are to be fetched."""
        segment, fetch = given.get("pictures", ""), given.get("fetch") == "1"
        if segment not in image_segments(series) or not payload.rows:
            return []
        most = max(2, min(_whole(given.get("frames"), FRAMES[0]), FRAMES[-1]))
        strip = frames(series, payload.columns, payload.rows, segment, most, fetch=fetch)
        held = await self._pictures.held(series.name, [frame.recnum for frame in strip], segment)
        return [replace(frame, there=fetch or frame.recnum in held) for frame in strip]


def _known(series: Series, sets: tuple[RecordSet, ...]) -> dict[str, Any]:
    """What is known about the series of a search."""
    return {
        "series": series,
        "builder": builder(series, sets[0] if len(sets) == 1 else None),
        "images": image_segments(series),
    }


def _blank(given: Mapping[str, str]) -> dict[str, Any]:
    """The page before anything was found."""
    return {
        "ds": given.get("ds", "").strip(), "key": given.get("key", ""), "seg": given.get("seg", ""),
        "n": _whole(given.get("n"), RECORDS), "where": given.get("where", ""), "choices": CHOICES,
        "problem": None, "status": 200, "builder": None, "series": None, "result": None, "codes": (), "images": (), "frames": (),
        "frame_choices": FRAMES, "pictures": given.get("pictures", ""), "fetch": given.get("fetch") == "1",
        "starts": STARTS, "wanted_frames": _whole(given.get("frames"), FRAMES[0]), "address": address_with(given),
    }  # fmt: skip


def _result(
    given: Mapping[str, str], series: Series, keys: list[str], payload: api.Found, n: int
) -> dict[str, Any]:
    """The table, and the data for plots."""
    names, rows = payload.columns, payload.rows
    shown = [*keys, *_names(given.get("seg", ""))]
    found = columns(series, names, shown if rows else names)
    page = max(1, _whole(given.get("page"), 1))
    data = {
        "columns": [
            {"name": c.name, "kind": c.kind, "units": c.units, "hidden": c.hidden, "error": c.error, "helper": c.helper}
            for c in found
        ],
        "n": n,
        "where": given.get("where", ""),
        "rows": rows,
        "segments": [s.name for s in series.segments],
        "x": given.get("x", ""),
        "y": given.get("y", ""),
    }
    result = {
        **plain(replace_in(payload, rows=[])),
        "columns": found,
        "hidden": sum(c.hidden for c in found),  # they come first
        "rows": rows[(page - 1) * ROWS : page * ROWS],
        "first": (page - 1) * ROWS,
        "page": page,
        "pages": max(1, -(-len(rows) // ROWS)),
        "cut": abs(n) == len(rows),
        "data": data,
    }
    return {"result": result}


def _here(request: web.Request) -> str:
    """The address by which this page was reached."""
    return f"http://{request.host}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _whole(text: str | None, default: int) -> int:
    return whole(text or "", "a number of the page", default) or default
