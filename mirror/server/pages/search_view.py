"""What the search page shows, worked out from what was asked and found. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from mirror.drms.compose import KeyChoice, Span, apart, is_time, zone_of
from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mirror.drms.recordset import RecordSet
    from mirror.drms.series import PrimeKey, Series

RECNUM = "*recnum*"
#: Records that are asked for unless somebody says otherwise, and rows on a page that the server makes.
RECORDS, ROWS = 1000, 100
#: How many records may be chosen on the page, and how many pictures.
CHOICES, FRAMES = (100, 1000, 5000, 20_000, -100, -1000), (12, 24, 48, 96)
_SPAN = ("start", "end", "length", "step")


@dataclass(frozen=True, slots=True)
class Start:
    """A search to begin with."""

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
    """What the builder asks of one prime key: a span of times, or values."""

    name: str
    note: str
    units: str
    time: bool
    zone: str
    step: str
    wish: KeyChoice


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table; ``kind`` is time, number or text, a ``hidden`` one is only for captions and links."""

    name: str
    kind: str
    units: str
    note: str
    hidden: bool


def field_of(series: Series, prime: PrimeKey, wish: KeyChoice) -> Field:
    """The builder's field of a prime key, filled in with a wish."""
    keyword = series.keyword(prime.name)
    time = is_time(series, prime)
    note, units = ("", "") if keyword is None else (keyword.note, keyword.units)
    blank: KeyChoice = Span() if time else ""
    step = f"{float(prime.step):g}" if prime.step else ""
    return Field(prime.name, note, units, time, zone_of(series, prime), step, wish or blank)


def builder(series: Series, record_set: RecordSet | None) -> dict[str, Any]:
    """The builder for a series, filled in as a record set says; ``whole``: it can say all of that."""
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
    """The wishes of the builder's form: ``v.KEY`` for values, ``start.KEY`` and so on for a span."""
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
    """The columns of a table of these names, of which only some are shown."""
    visible = {name.lower() for name in shown}
    found = []
    for name in names:
        keyword = series.keyword(name)
        kind = "text" if keyword is None else _KINDS.get(keyword.type, "text")
        kind = "number" if name == RECNUM else kind
        note, units = ("", "") if keyword is None else (keyword.note, keyword.units)
        found.append(Column(name, kind, "" if units == "none" else units, note, name.lower() not in visible))
    return found


_KINDS = {**dict.fromkeys(INTEGER_TYPES | FLOAT_TYPES, "number"), "time": "time"}


def asked_names(series: Series, keys: Sequence[str]) -> list[str]:
    """What is asked for beside what is shown: the number for pictures, the prime keys for captions and plots."""
    there = {key.lower() for key in keys}
    hidden = [name for name in (RECNUM, *(p.name for p in series.primekeys)) if name.lower() not in there]
    return [*hidden, *keys]


def spread(total: int, most: int) -> list[int]:
    """At most so many places of ``total``, as far apart as they go, the first and the last among them."""
    if total <= most:
        return list(range(total))
    return sorted({round(i * (total - 1) / (most - 1)) for i in range(most)})


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of a film strip: of which record, its caption, where it and a larger one are, whether to show it."""

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
    """What makes the address of this search with other parameters; one that is "" is left out."""

    def address(**other: object) -> str:
        together = {**given, **{name: str(value) for name, value in other.items()}}
        return "/search?" + urlencode({k: v for k, v in together.items() if v}, quote_via=quote, errors="replace")

    return address


def marked(problem: Mapping[str, Any], text: str) -> dict[str, Any]:
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
