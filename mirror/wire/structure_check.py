"""Checks whether a structure is possible for a series: names, types, keys. Pure.

A structure comes from JSOC or from a bundle, and its names become columns of a table: what no series can have is
refused before it is used.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES, OF_SEGMENT
from mirror.fits.record import is_second_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.drms.series import Keyword, Series

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
