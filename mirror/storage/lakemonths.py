"""Months of DRMS times: what the files of the lake are cut by. Pure.

A month is "2014-01", by the TAI clock; "all" for a series without a time, "none" for records that lack theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

ALL, NONE = "all", "none"
_EPOCH = date(1977, 1, 1)
_DAY = 86_400
#: Months before and after these are one file each: no such data are, but times that were mistyped.
_FIRST, _LAST = date(1900, 1, 1), date(2100, 1, 1)
BEFORE, AFTER = "before", "beyond"


class Print(NamedTuple):
    """How many records there are, and a hash of them; equal for the same records."""

    records: int
    hash: int


def month_of(day: int | None, *, timed: bool) -> str:
    """The month of a day, counted from 1977.01.01."""
    if day is None:
        return NONE if timed else ALL
    if day < (_FIRST - _EPOCH).days:
        return BEFORE
    if day >= (_LAST - _EPOCH).days:
        return AFTER
    return f"{_EPOCH + timedelta(days=day):%Y-%m}"


def bounds(month: str) -> tuple[float, float] | None:
    """First second, and first second after, of a month as DRMS times; None for ``NONE``."""
    if month == NONE:
        return None
    if month == BEFORE:
        return float("-1e300"), _seconds(_FIRST)
    if month == AFTER:
        return _seconds(_LAST), float("1e300")
    first = date.fromisoformat(f"{month}-01")
    return _seconds(first), _seconds((first + timedelta(days=31)).replace(day=1))


def together(parts: Iterable[tuple[str, Print]]) -> dict[str, Print]:
    """The prints of months from those of their days."""
    months: dict[str, Print] = {}
    for month, part in parts:
        whole = months.get(month, Print(0, 0))
        months[month] = Print(whole.records + part.records, whole.hash ^ part.hash)
    return months


def _seconds(day: date) -> float:
    return float((day - _EPOCH).days * _DAY)
