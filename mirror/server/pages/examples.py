"""A small record set of a series, to begin with. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mirror.coverage.axis import Kind, coverage_axis
from mirror.drms.parser import parse_query
from mirror.services.search.snippets import SnippetQuery

if TYPE_CHECKING:
    from mirror.drms.series import Series

_TIME = re.compile(r"\d{4}\.\d\d\.\d\d")
_SOME_DAY = "2014.01.01"
#: Keywords that an example shows beside the prime keys, where a series has them.
_LIKED = ("QUALITY", "CRLN_OBS", "CRLT_OBS", "EXPTIME", "USFLUX", "DATAMEAN")


def usual_set(series: Series) -> str:
    """An hour of the series' last day, or the last value of its first key."""
    axis = coverage_axis(series)
    names = [k.name for k in series.primekeys]
    if axis is None or axis.key not in names:
        return f"{series.name}[$]" if names else f"{series.name}[:#$]"
    brackets = "[]" * names.index(axis.key)
    if axis.kind is Kind.NUMBERS or axis.place(0.0) is None:
        return f"{series.name}{brackets}[$]"
    found = _TIME.search(series.extent.last_record)
    length = "1h" if axis.slots is None or axis.slots.step < 1800 else "1d"
    return f"{series.name}{brackets}[{found[0] if found else _SOME_DAY}_TAI/{length}]"


def example(series: Series) -> SnippetQuery:
    """A search of that set, with the keywords that most people want first."""
    primes = [k.name for k in series.primekeys]
    keys = [*primes, *(n for n in _LIKED if series.keyword(n) and n not in primes)][:5] or ["*recnum*"]
    ds = usual_set(series)
    return SnippetQuery(ds, parse_query(ds).sets, series, tuple(keys))
