"""The answer of ``jsoc_info?op=series_struct``: how a series is built.

The real server escapes notes, units, default values and record names, but writes names, and everything of a
segment except its note, unescaped; ``_text`` and ``_name`` below say which is which.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mirror.drms.series import (
    FLOAT_TYPES,
    INTEGER_TYPES,
    OF_SEGMENT,
    Extent,
    Keyword,
    Link,
    PrimeKey,
    Segment,
    Series,
)
from mirror.errors import UpstreamBroken
from mirror.fits.record import is_second_name
from mirror.wire.answer import Members, load_answer, member, objects, strings
from mirror.wire.text import Node, name_to_wire, tabbed, to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")
_NO_RECORD = "NA"  # the first and the last record, and their numbers, of a series without records
_LINKED = "link via "  # how the protocol of a linked segment begins; it has neither units nor dims

# ---- encoding -----------------------------------------------------------------------------------


def encode_series_struct(series: Series, *, runtime: float) -> bytes:
    """The bytes of the real server for this structure; ``runtime`` is in seconds."""
    before, after = series.derived("answer of series_struct", lambda: _around_runtime(series))
    return b"".join([before, f"{runtime:.3f}".encode(), after])


def _around_runtime(series: Series) -> tuple[bytes, bytes]:
    """The answer before its runtime, and after it."""
    root: dict[str, Node] = {
        **_general(series),
        "primekeys": [_name(key.name) for key in series.primekeys] or ["null"],
        "primekeysinfo": [_prime_key(key) for key in series.primekeys] or ["null"],
        "dbindex": [_name(name) for name in series.dbindex] or ["null"],
        "keywords": [_keyword(keyword) for keyword in series.keywords],
        "segments": [_segment(segment) for segment in series.segments],
        "links": [_link(link) for link in series.links],
        "Interval": _interval(series.extent),
    }
    whole = tabbed(root | {"runtime": "0", "status": "0"}) + "\n"
    before, mark, after = whole.rpartition('"runtime": 0')
    return (before + mark[:-1]).encode("latin-1"), after.encode("latin-1")


def _general(series: Series) -> dict[str, Node]:
    """The members about the series as a whole; only some servers write two of them."""
    numbers = ("retention", "stagingretention", "unitsize", "archive", "tapegroup")
    members: dict[str, Node] = {"note": _text(series.note)}
    members |= {name: str(value) for name in numbers if (value := getattr(series, name)) is not None}
    return members if series.owner is None else members | {"owner": _text(series.owner)}


def _prime_key(key: PrimeKey) -> Node:
    members: dict[str, Node] = {"name": _name(key.name), "slotted": str(int(key.slotted))}
    return members if key.step is None else members | {"step": _text(key.step)}


def _keyword(keyword: Keyword) -> Node:
    linked: dict[str, Node] = {} if keyword.linkinfo is None else {"linkinfo": _name(keyword.linkinfo)}
    return {
        "name": _name(keyword.name),
        **linked,
        "type": _name(keyword.type),
        "recscope": _text(keyword.recscope),
        "defval": _text(keyword.defval),
        "units": _text(keyword.units),
        "note": _text(keyword.note),
    }


def _segment(segment: Segment) -> Node:
    linked = segment.protocol.startswith(_LINKED)
    return {
        "name": _name(segment.name),
        "type": _name(segment.type),
        "units": "null" if linked else _name(segment.units),
        "protocol": _name(segment.protocol),
        "dims": "null" if linked else _name(segment.dims),
        "note": _text(segment.note),
    }


def _link(link: Link) -> Node:
    return {
        "name": _name(link.name),
        "target": _name(link.target),
        "kind": _name(link.kind),
        "note": _text(link.note),
    }


def _interval(extent: Extent) -> Node:
    return {
        "FirstRecord": _text(extent.first_record or _NO_RECORD),
        "FirstRecnum": _recnum(extent.first_recnum),
        "LastRecord": _text(extent.last_record or _NO_RECORD),
        "LastRecnum": _recnum(extent.last_recnum),
        "MaxRecnum": str(max(extent.max_recnum, 0)),
    }


def _recnum(number: int) -> str:
    return _name(_NO_RECORD) if number < 0 else str(number)


def _text(value: str) -> str:
    return f'"{to_wire(value)}"'


def _name(value: str) -> str:
    return f'"{name_to_wire(value)}"'


# ---- decoding -----------------------------------------------------------------------------------


def decode_series_struct(data: bytes, *, name_hint: str) -> Series:
    """The structure in ``data``; UpstreamRefused for an error status, UpstreamBroken for any other shape.

    The answer does not name its series. ``name_hint`` is what was asked for (only the series of a record set
    counts); if the series has records, their names show its own case.
    """
    members = load_answer(data)
    extent = _read_interval(members)
    return Series(
        name=_own_name(name_hint, extent),
        note=member(members, "note", str),
        retention=member(members, "retention", int),
        unitsize=member(members, "unitsize", int),
        archive=member(members, "archive", int),
        tapegroup=member(members, "tapegroup", int),
        primekeys=tuple(_read_prime_key(item) for item in objects(members, "primekeysinfo")),
        dbindex=tuple(strings(members, "dbindex")),
        keywords=tuple(_read_keyword(item) for item in objects(members, "keywords")),
        segments=tuple(_read_segment(item) for item in objects(members, "segments")),
        links=tuple(_read_link(item) for item in objects(members, "links")),
        extent=extent,
        stagingretention=_optional(members, "stagingretention", int),
        owner=_optional(members, "owner", str),
    )


def _own_name(hint: str, extent: Extent) -> str:
    asked = hint.partition("[")[0].partition("{")[0].strip()
    own = extent.first_record.partition("[")[0]
    return own if own.lower() == asked.lower() else asked


def _read_prime_key(item: Members) -> PrimeKey:
    slotted = member(item, "slotted", int)
    if slotted not in (0, 1):
        raise UpstreamBroken(f"member 'slotted': expected 0 or 1, found {slotted}")
    return PrimeKey(member(item, "name", str), bool(slotted), _optional(item, "step", str))


def _read_keyword(item: Members) -> Keyword:
    fields = _read_strings(item, "name", "type", "recscope", "defval", "units", "note")
    return replace(Keyword(*fields), linkinfo=_optional(item, "linkinfo", str))


def _read_segment(item: Members) -> Segment:
    # A linked segment has null for what does not apply; old servers give no type.
    given = {"type": ""} | {name: "" if value is None else value for name, value in item.items()}
    return Segment(*_read_strings(given, "name", "type", "units", "protocol", "dims", "note"))


def _read_link(item: Members) -> Link:
    return Link(*_read_strings(item, "name", "target", "kind", "note"))


def _read_interval(members: Members) -> Extent:
    if "Interval" not in members:
        return Extent()
    interval = member(members, "Interval", dict)
    if interval.get("FirstRecord") == _NO_RECORD:
        return Extent(max_recnum=member(interval, "MaxRecnum", int))
    return Extent(
        member(interval, "FirstRecord", str),
        member(interval, "FirstRecnum", int),
        member(interval, "LastRecord", str),
        member(interval, "LastRecnum", int),
        member(interval, "MaxRecnum", int),
    )


def _optional(members: Members, name: str, kind: type[T]) -> T | None:
    return None if name not in members else member(members, name, kind)


def _read_strings(item: Members, *names: str) -> list[str]:
    return [member(item, name, str) for name in names]


# ---- what a structure must be --------------------------------------------------------------------
# Checks whether a structure is possible for a series: names, types, keys. Pure.
#
# A structure comes from JSOC or from a bundle, and its names become columns of a table: what no series can have is
# refused before it is used.


SERIES_NAME = re.compile(r"[A-Za-z_]\w{0,63}\.[A-Za-z_]\w{0,63}", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][\w-]{0,63}", re.ASCII)
_TYPES = INTEGER_TYPES | FLOAT_TYPES | {"time", "string"}
#: Several times what any series has.
MOST_KEYWORDS, MOST_SEGMENTS, MOST_LINKS, MOST_PRIME_KEYS = 5_000, 500, 500, 32
#: Most characters of a short text: a type, units, dimensions, the target of a link.
_LONGEST_TEXT = 2_000
_COUNTS = ("retention", "unitsize", "archive", "tapegroup")


def structure_problem(series: Series) -> str | None:
    """What no series can have, with what was expected; None if the structure is possible."""
    return next(_problems(series), None)


def _problems(series: Series) -> Iterator[str]:
    if SERIES_NAME.fullmatch(series.name) is None:
        yield f"{series.name[:80]!r} is not the name of a series; expected one such as hmi.m_45s"
    yield from _too_many(series)
    own = list(_own_keywords(series))
    for kind, names in (
        ("keyword", [k.name for k in own]),
        ("segment", [s.name for s in series.segments]),
        ("link", [x.name for x in series.links]),
        ("prime key", [p.name for p in series.primekeys]),
    ):
        yield from _bad_names(kind, names)
    for keyword in own:
        if keyword.linkinfo is None and keyword.type not in _TYPES:
            yield f"the keyword {keyword.name} has the type {keyword.type[:40]!r}; expected one of {', '.join(sorted(_TYPES))}"
    for key in series.primekeys:
        if series.keyword(key.name) is None:
            yield f"the prime key {key.name} is not among the keywords; expected a keyword of that name"
    yield from _extent_problems(series)
    texts = (*(k.recscope for k in own), *(s.dims for s in series.segments), *(s.type for s in series.segments))
    for text in texts:
        if len(text) > _LONGEST_TEXT:
            yield f"a text of {len(text):,} characters, {text[:40]!r}...; expected at most {_LONGEST_TEXT:,}"


def _own_keywords(series: Series) -> Iterator[Keyword]:
    """The keywords without those that the server repeats under the name that a note gives."""
    last: Keyword | None = None
    for keyword in series.keywords:
        if last is not None and is_second_name(keyword, last):
            continue
        last = keyword
        yield keyword


def _too_many(series: Series) -> Iterator[str]:
    of_segments = sum(k.recscope == OF_SEGMENT for k in series.keywords)
    counts = (
        ("keywords", len(series.keywords) + of_segments * len(series.segments), MOST_KEYWORDS),
        ("segments", len(series.segments), MOST_SEGMENTS),
        ("links", len(series.links), MOST_LINKS),
        ("prime keys", len(series.primekeys), MOST_PRIME_KEYS),
    )
    for what, count, most in counts:
        if count > most:
            yield f"it has {count:,} {what}; expected at most {most:,}"


def _bad_names(kind: str, names: Iterable[str]) -> Iterator[str]:
    counts = Counter(name.lower() for name in names)
    for name in names:
        if _NAME.fullmatch(name) is None:
            yield f"{name[:80]!r} is not the name of a {kind}; expected letters, digits, '_' and '-', 64 at most"
        # A keyword that is listed twice is one: lookups find the first.
        if counts[name.lower()] > 1 and kind != "keyword":
            yield f"it names the {kind} {name} {counts[name.lower()]} times; expected each once"


def _extent_problems(series: Series) -> Iterator[str]:
    """Problems with the first and the last record, which must be of this series."""
    extent = series.extent
    for record in (extent.first_record, extent.last_record):
        named = record.partition("[")[0]
        if named and named.lower() != series.name.lower():
            yield f"its first or last record is {record[:80]!r}; expected one of {series.name}"
    for name in ("first_recnum", "last_recnum", "max_recnum"):
        if not -1 <= getattr(extent, name) < 1 << 63:
            yield f"{name} is {getattr(extent, name)}; expected the number of a record"
    for name in _COUNTS:
        if abs(getattr(series, name)) >= 1 << 63:
            yield f"{name} is {getattr(series, name)}; expected a number of 64 bits"
