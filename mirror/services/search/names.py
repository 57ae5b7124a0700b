"""Explains to people what went wrong: a name that a series does not have, or a search that found nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mirror.drms.exportrules import ALL_SEGMENTS
from mirror.drms.times import parse_time
from mirror.errors import BadRequest, UnknownName
from mirror.humanize import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.drms.series import Series

#: Names that are listed if none is similar.
_MOST = 12


def unknown_keyword(series: Series, name: str) -> UnknownName:
    """The error for a keyword that the series does not have."""
    return _unknown(series, "keyword", name, [k.name for k in series.record_keywords], series.all_keywords)


def unknown_segment(series: Series, name: str) -> UnknownName:
    """The error for a segment that the series does not have."""
    return _unknown(series, "segment", name, [s.name for s in series.segments])


def check_segments(series: Series, names: Sequence[str] | None) -> None:
    """UnknownName for a segment in the braces of a record set that the series does not have."""
    for name in names or ():
        if name.strip().upper() != ALL_SEGMENTS and series.segment(name.strip()) is None:
            raise unknown_segment(series, name)


def unknown_link(series: Series, name: str) -> UnknownName:
    """The error for a link that the series does not have."""
    return _unknown(series, "link", name, [x.name for x in series.links])


def _unknown(series: Series, kind: str, name: str, known: Sequence[str], usual: Sequence[str] = ()) -> UnknownName:
    """``usual`` are those that an error lists, if not all."""
    found, listed = near(name, known), usual or known
    if not known:
        hint = f"the series has no {kind}s"
    elif found:
        hint = f"did you mean {' or '.join(found)}?"
    else:
        hint = f"expected some of {', '.join(listed[:_MOST])}{', ...' if len(listed) > _MOST else ''}"
    return UnknownName(f"{series.name} has no {kind} {name!r}; {hint}")


# ---- searches without records --------------------------------------------------------------------
# Why a search found nothing: where the series begins and ends, and common mistakes in record sets.


#: A range of ISO times of which the first has no zone: the minus and the year are then read as its zone.
_ISO_RANGE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+-\d{4}")
#: Two ends of a range: times as JSOC writes them, or whole numbers.
_TIMES = re.compile(r"\s*(\d{4}\.[^-]*?)\s*-\s*(\d{4}\.[^-]*?)\s*")
_NUMBERS = re.compile(r"\s*(\d{1,18})\s*-\s*(\d{1,18})\s*")
_BRACKETS = re.compile(r"\[([^\]]*)\]")


#: The first words: for an answer that is also JSOC's, for one that could not be checked, for a condition in SQL.
CHECKED, UNCHECKED, SIFTED = (
    "No records match, here or at JSOC.",
    "No cached records match; JSOC could not be asked.",
    "No records satisfy the condition.",
)


def explained(ds: str, every: Iterable[Series], verdict: str) -> str:
    """The text for a query without records, after one of the verdicts above."""
    parts = [verdict]
    parts += filter(None, map(extent, every))
    if reversed_range := next((text for text in _BRACKETS.findall(ds) if _ends_before(text)), ""):
        parts.append(f"The range {reversed_range} ends before it begins.")
    if _ISO_RANGE.search(ds):
        parts.append("In a range of ISO times each end needs its Z, as in 2014-01-01T00:00:00Z-2014-01-02T00:00:00Z.")
    return " ".join(parts)


def _ends_before(text: str) -> bool:
    """True for two times, or two numbers, of which the second comes first."""
    try:
        if (times := _TIMES.fullmatch(text)) is not None:
            first, last = (parse_time(times[at]) for at in (1, 2))
            return last < first
        numbers = _NUMBERS.fullmatch(text)
        return numbers is not None and int(numbers[2]) < int(numbers[1])
    except BadRequest:
        return False


def extent(series: Series) -> str:
    """When a series begins and which record is its newest; "" where its structure does not show it."""
    first, last = (_along(series, name) for name in (series.extent.first_record, series.extent.last_record))
    if not first or not last:
        return ""
    return f"{series.name} starts {first}; its newest record is {last}."


def newest(series: Series) -> str:
    """The time of the newest record of a series, or its name; "" where its structure does not show it."""
    return _along(series, series.extent.last_record)


def _along(series: Series, record: str) -> str:
    """A record's time, if its series has one; else its name."""
    values = _BRACKETS.findall(record)
    for prime, value in zip(series.primekeys, values, strict=False):
        keyword = series.keyword(prime.name)
        if keyword is not None and keyword.type == "time":
            return str(value)
    return record
