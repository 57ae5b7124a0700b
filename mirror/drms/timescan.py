"""Reads times: every form that DRMS accepts, from the beginning of a text, as the server reads it.

    time   = date [ sep clock ] [ zone ]  |  [ "M" ] "JD_" number [ "_" zone ]
    date   = year [ "." month [ "." day [ "." fraction ] ] ]          dots or dashes
           | year "." day-of-year  |  YYYYMMDD  |  YYYYddd            month: number, name or Roman
    sep    = "_"; also "T" and " " after a date that has dashes or is written without marks
    clock  = hour [ "h" ] [ ":" minute [ "m" ] [ ":" second [ "s" ] ] ]
    zone   = [ "_" ] name or letter  |  [ "_" ] sign digits

No zone is UTC (TDT for Julian days). Fields beyond their range carry over. Reading stops where the
time ends; what follows is the caller's. The public names are exported by ``mirror.drms.times``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mirror.drms.calendar import (
    DAY,
    Date,
    clock_seconds,
    leap_seconds_by_clock,
    month_days,
    uniform_offset,
    zone_offset,
)

_INTEGER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+")
_FLOAT = re.compile(r"[ \t\n\v\f\r]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_JULIAN = re.compile(r" *M?JD_", re.IGNORECASE)
_LETTERS = re.compile(r"[A-Za-z]*")
_ZONE = re.compile(
    r"[+-][0-9]*|TAI|TDT|TT|UTC?|GPS|GMT|[ABHJMPY][DS]T|C[DES]T|E[DES]T|SST|W[ES]T|[A-IK-Z]", re.IGNORECASE
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
_LONGEST = 255  # the server reads no further
_LARGEST = 2**31 - 1  # of a field; beyond it the server's numbers wrap around
_JD_1977, _MJD_0 = 2443144.5, 2400000.5


class TimeScan(NamedTuple):
    """``seconds`` after 1977.01.01_TAI, the characters read, and the zone as written (upper case)."""

    seconds: float
    consumed: int
    zone: str | None


class _Field(NamedTuple):
    """An integer as ``strtol`` reads it; the blanks and the sign before it are part of its width."""

    value: int
    start: int
    end: int

    @property
    def width(self) -> int:
        return self.end - self.start


class _DateScan(NamedTuple):
    date: Date
    iso: bool  # dashes, or no marks at all: "T" and " " may follow
    end: int
    clock: float | None = None  # seconds of the day, where the day has a fraction


class _ClockScan(NamedTuple):
    hour: int = 0
    minute: int = 0
    second: float = 0.0
    end: int = 0

    @property
    def seconds(self) -> float:
        return self.second + 60.0 * (self.minute + 60.0 * self.hour)


def scan_time(text: str) -> TimeScan | None:
    """The time at the beginning of ``text``, or None if there is none.

    A text for the missing time (``JD_0``) is a time: its seconds are ``MISSING_TIME``.
    """
    text = text[:_LONGEST]
    julian = _JULIAN.match(text)
    if julian:
        return _scan_julian(text, julian.end())
    date = _scan_date(text)
    return None if date is None else _scan_rest(text, date)


# ---- Julian days ------------------------------------------------------------------------------


def _scan_julian(text: str, start: int) -> TimeScan | None:
    number = _FLOAT.match(text, start)
    if number is None:
        return None
    # Only an "M" as the very first character makes it a modified day, as at the server.
    day = float(number[0]) + (_MJD_0 if text[0] in "mM" else 0.0)
    clock, end = DAY * (day - _JD_1977), number.end()
    if text[end : end + 1] != "_":
        return TimeScan(_to_tai(clock, "TDT"), end, None)
    zone = _ZONE.match(text, end + 1)
    return zone and TimeScan(_to_tai(clock, zone[0].upper()), zone.end(), zone[0].upper())


# ---- dates ------------------------------------------------------------------------------------


def _scan_date(text: str) -> _DateScan | None:
    year = _integer(text, 0)
    if year is None:
        return None
    if year.width in (7, 8):
        return _scan_compact(text, year)
    if year.width > 5:
        return None
    mark = text[year.end : year.end + 1]
    if mark not in (".", "-"):
        return _DateScan(Date(year.value, 1, 1), False, year.end)
    return _scan_month(text, year, iso=mark == "-")


def _scan_compact(text: str, year: _Field) -> _DateScan | None:
    """``YYYYMMDD`` or ``YYYYddd``."""
    digits = text[: year.end]
    if not digits.isdigit():
        return None
    if year.width == 7:
        date = _ordinal(int(digits[:4]), int(digits[4:]))
        return date and _with_fraction(text, date, True, year.end)
    if text[year.end : year.end + 1] in (".", "-"):
        return None
    return _DateScan(Date(int(digits[:4]), int(digits[4:6]), int(digits[6:])), True, year.end)


def _scan_month(text: str, year: _Field, *, iso: bool) -> _DateScan | None:
    month = _integer(text, year.end + 1) or _month_name(text, year.end + 1)
    if month is None:
        return None
    if month.width == 3 and text[month.start].isdigit():
        date = _ordinal(year.value, month.value)
        return date and _with_fraction(text, date, iso, month.end)
    return None if month.value > 12 else _scan_day(text, year.value, month, iso=iso)


def _scan_day(text: str, year: int, month: _Field, *, iso: bool) -> _DateScan | None:
    mark = text[month.end : month.end + 1]
    if mark != "." and not (iso and mark == "-"):
        return _DateScan(Date(year, month.value, 1), iso, month.end)
    day = _integer(text, month.end + 1)
    if day is None or (day.value > 366 and month.value > 1):
        return None
    return _with_fraction(text, Date(year, month.value, day.value), iso, day.end)


def _with_fraction(text: str, date: Date, iso: bool, end: int) -> _DateScan | None:
    """The date, and the fraction of the day that may follow it after a dot."""
    if text[end : end + 1] != ".":
        return _DateScan(date, iso, end)
    digits = _integer(text, end + 1)
    if digits is None or digits.value < 0:
        return None
    # The server reads the fraction as an integer, so leading zeros are lost: 01.05 is noon of day 1.
    day = float(f"{date.day}.{digits.value}")
    return _DateScan(date._replace(day=int(day)), iso, digits.end, DAY * (day - int(day)))


def _ordinal(year: int, day_of_year: int) -> Date | None:
    """The date of a day of the year, None past its end."""
    for month, days in enumerate(month_days(year), 1):
        if day_of_year <= days:
            return Date(year, month, day_of_year)
        day_of_year -= days
    return None


def _month_name(text: str, start: int) -> _Field | None:
    letters = _LETTERS.match(text, start)
    name = letters[0].upper() if letters else ""
    if name[:3] in _MONTHS:
        return _Field(_MONTHS.index(name[:3]) + 1, start, start + len(name))
    if name in _ROMAN:
        return _Field(_ROMAN.index(name) + 1, start, start + len(name))
    return None


# ---- clock and zone ---------------------------------------------------------------------------


def _scan_rest(text: str, date: _DateScan) -> TimeScan | None:
    """What follows the date: a clock and a zone, either, or nothing."""
    mark = text[date.end : date.end + 1]
    if mark != "_" and not (date.iso and mark and mark in "T "):
        return _finish(date, _ClockScan(), date.end, None)
    start = date.end + 1
    clock = _scan_clock(text, start)
    if clock is None:
        return _scan_zone(text, date, _ClockScan(), start)
    if date.clock is not None:  # a fraction and a clock: the server ignores the clock and stops before it
        return _finish(date, _ClockScan(), start, None)
    return _scan_after_clock(text, date, clock)


def _scan_after_clock(text: str, date: _DateScan, clock: _ClockScan) -> TimeScan | None:
    mark = text[clock.end : clock.end + 1]
    if mark == "_":
        return _scan_zone(text, date, clock, clock.end + 1)
    if mark and (mark in "+-" or ("A" <= mark <= "Z" and mark != "J")):
        return _scan_zone(text, date, clock, clock.end)
    return _finish(date, clock, clock.end, None)


def _scan_clock(text: str, start: int) -> _ClockScan | None:
    hour = _integer(text, start)
    if hour is None:
        return None
    end = _skip(text, hour.end, "hH")
    if text[end : end + 1] != ":":
        return _ClockScan(hour.value, end=end)
    minute = _integer(text, end + 1)
    if minute is None:
        return None
    end = _skip(text, minute.end, "mM")
    if text[end : end + 1] != ":":
        return _ClockScan(hour.value, minute.value, end=end)
    second = _FLOAT.match(text, end + 1)
    return second and _ClockScan(hour.value, minute.value, float(second[0]), _skip(text, second.end(), "sS"))


def _scan_zone(text: str, date: _DateScan, clock: _ClockScan, start: int) -> TimeScan | None:
    zone = _ZONE.match(text, start)
    return zone and _finish(date, clock, zone.end(), zone[0].upper())


def _finish(date: _DateScan, clock: _ClockScan, end: int, zone: str | None) -> TimeScan:
    shown = clock.seconds if date.clock is None else date.clock
    total = clock_seconds(date.date, shown)
    # 23:59:60 belongs to the old minute: count the leap seconds up to the minute's beginning.
    counted_at = total - clock.second if clock.second >= 60.0 else total
    return TimeScan(_to_tai(total, zone or "UTC", counted_at), end, zone)


def _to_tai(clock: float, zone: str, counted_at: float | None = None) -> float:
    """The DRMS time at which the clock of ``zone`` shows ``clock``."""
    uniform = uniform_offset(zone)
    if uniform is not None:
        return clock - uniform
    leaps = leap_seconds_by_clock(clock if counted_at is None else counted_at)
    return clock - (zone_offset(zone) - leaps)


def _integer(text: str, start: int) -> _Field | None:
    match = _INTEGER.match(text, start)
    if match is None or abs(value := int(match[0])) > _LARGEST:
        return None
    return _Field(value if match[0].lstrip()[0] != "-" else int(match[0]), start, match.end())


def _skip(text: str, position: int, letters: str) -> int:
    """The position after an optional unit letter."""
    return position + (text[position : position + 1] in tuple(letters))
