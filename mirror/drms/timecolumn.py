"""Reads whole columns of printed times at once, with numpy.

A column is printed with one format, so its first value shows the layout of nearly all; values with
another layout are read one by one by ``scan_time``. Both ways give the same doubles.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mirror.drms.calendar import (
    CLOCK_1601,
    DAY,
    FOUR_YEARS,
    GREGORIAN_CENTURY,
    GREGORIAN_CYCLE,
    LEAP_CLOCKS,
    YEAR,
    month_days,
    uniform_offset,
    zone_offset,
)
from mirror.drms.timescan import scan_time

MISSING = "MISSING"
_LAYOUT = re.compile(
    r"[0-9]{4}([.-])[0-9]{2}\1[0-9]{2}[_T][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?(?:_?(?P<zone>TAI|TDT|TT|UTC?|GPS|Z))"
)
_FIELDS = {
    "year": (0, 4),
    "month": (5, 7),
    "day": (8, 10),
    "hour": (11, 13),
    "minute": (14, 16),
    "second": (17, 19),
}
_FIRST_YEAR, _LAST_YEAR = 1901, 2100  # within them, adding whole years at once rounds as one by one does
_MONTH_STARTS = np.array([[0, *accumulate(month_days(y)[:11])] for y in (2001, 2004)], dtype=np.float64)

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


class _Layout(NamedTuple):
    """A text in which every digit may differ, and where its fraction and its zone are."""

    text: str
    fraction: int
    zone: str

    @property
    def digits(self) -> list[int]:
        return [i for i, c in enumerate(self.text) if c.isdigit()]


#: Up to this many texts are read one by one before numpy has even started.
_FEW = 8


def parse_printed_times(texts: Sequence[str]) -> list[float | None]:
    """The DRMS times of printed values; None for "MISSING", and for a text that is not entirely a time."""
    if len(texts) < _FEW:
        return [_scan_whole(text) for text in texts]
    first = next((text for text in texts if text != MISSING), MISSING)
    layout = _layout(first)
    if layout is None or not all(map(str.isascii, texts)):
        return [_scan_whole(text) for text in texts]
    # One more than the layout has: what is longer does not fit anyway, and need not widen all rows.
    table = np.array(texts, dtype=f"S{len(layout.text) + 1}")
    rows = table.view(np.uint8).reshape(len(texts), -1)
    fits = _fitting(rows, layout)
    seconds: list[float | None] = _seconds(rows, layout).tolist()
    for i in np.flatnonzero(~fits).tolist():
        seconds[i] = _scan_whole(texts[i])
    return seconds


def _scan_whole(text: str) -> float | None:
    scan = None if text == MISSING else scan_time(text)
    return scan.seconds if scan is not None and scan.consumed == len(text) else None


def _layout(text: str) -> _Layout | None:
    match = _LAYOUT.fullmatch(text)
    return match and _Layout(text, len(match["fraction"] or ""), match["zone"])


def _fitting(rows: Bytes, layout: _Layout) -> npt.NDArray[np.bool_]:
    """Which rows differ from the layout only in digits, and have fields that the arithmetic below can handle."""
    width, digits = len(layout.text), layout.digits
    marks = [i for i in range(width) if i not in digits]
    pattern = np.frombuffer(layout.text.encode("ascii"), dtype=np.uint8)
    year, month = _number(rows, "year"), _number(rows, "month")
    fits: npt.NDArray[np.bool_] = (
        (rows[:, marks] == pattern[marks]).all(axis=1)
        & ((rows[:, digits] - 48) < 10).all(axis=1)
        & (rows[:, width:] == 0).all(axis=1)
        & (year >= _FIRST_YEAR)
        & (year <= _LAST_YEAR)
        & (month >= 1)
        & (month <= 12)
    )
    return fits


def _number(rows: Bytes, field: str) -> Floats:
    return _digits(rows, *_FIELDS[field])


def _digits(rows: Bytes, start: int, end: int) -> Floats:
    value: Floats = np.zeros(len(rows))
    for column in range(start, end):
        value = value * 10.0 + rows[:, column] - 48.0
    return value


def _seconds(rows: Bytes, layout: _Layout) -> Floats:
    """DRMS times; meaningless numbers for rows that do not fit."""
    second = _number(rows, "second")
    if layout.fraction:
        scale = 10.0**layout.fraction
        second = (second * scale + _digits(rows, 20, 20 + layout.fraction)) / scale
    clock = second + 60.0 * (_number(rows, "minute") + 60.0 * _number(rows, "hour"))
    total = _dated(rows, clock)
    uniform = uniform_offset(layout.zone)
    if uniform is not None:
        return total - uniform
    counted_at = np.where(second >= 60.0, total - second, total)
    leaps = np.searchsorted(np.array(LEAP_CLOCKS), counted_at, side="right")
    return total - (zone_offset(layout.zone) - leaps)


def _dated(rows: Bytes, clock: Floats) -> Floats:
    """Clock times with their dates added, in the order of ``calendar.clock_seconds``."""
    years = np.clip(_number(rows, "year"), _FIRST_YEAR, _LAST_YEAR).astype(np.intp)
    months = np.clip(_number(rows, "month"), 1, 12).astype(np.intp)
    cycles, rest = np.divmod(years - 1601, 400)
    leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    total: Floats = clock + DAY * (_number(rows, "day") - 1.0) + GREGORIAN_CYCLE * cycles
    for century in range(1, 4):  # one by one: each sum rounds
        total = total + GREGORIAN_CENTURY * (rest // 100 >= century)
    total = total + DAY * _MONTH_STARTS[leap.astype(np.intp), months - 1]
    total = total + FOUR_YEARS * (rest % 100 // 4) + YEAR * (rest % 100 % 4)
    return total + CLOCK_1601
