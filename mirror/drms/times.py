"""DRMS times: seconds after 1977.01.01_00:00:00_TAI as a float, leap seconds counted; read and printed.

Rule for editors: a text reads and prints exactly as at the real server. What a time means (calendar,
leap seconds, zones) is in ``calendar``, reading is in ``timescan``, whole columns are in ``timecolumn``.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from mirror.drms.calendar import (
    DAY,
    Date,
    date_of_day,
    leap_seconds,
    leap_seconds_by_clock,
    uniform_offset,
    zone_offset,
)
from mirror.drms.timescan import TimeScan, scan_time
from mirror.errors import SyntaxProblem

__all__ = [
    "MISSING_TIME",
    "TimeScan",
    "format_time",
    "from_datetime",
    "is_missing_time",
    "parse_time",
    "scan_time",
    "time_text_resolution",
    "to_datetime",
]

#: The time that stands for "no time": JD 0, -4712.01.01_12:00:00_TDT.
MISSING_TIME = -211087684832.184
#: Seconds around it that count as missing too, since its text is stored in whole seconds.
_TOLERANCE = 1.0
_JD_1977, _MJD_0 = 2443144.5, 2400000.5
_BEYOND_CALENDAR = 6.776e16  # printed as a Julian day from here on
_EPOCH = datetime(1977, 1, 1, tzinfo=UTC)
_PRINTED = re.compile(
    r" *-?[0-9]+(?P<month>[.-][0-9]+)?(?P<day>[.-][0-9]+)?"
    r"(?:[_T ](?P<hour>[0-9]+)(?::(?P<minute>[0-9]+)(?::(?P<second>[0-9]+)(?:\.(?P<fraction>[0-9]*))?)?)?)?"
)
_PRINTED_JD = re.compile(r" *M?JD_-?[0-9]+(?:\.(?P<fraction>[0-9]*))?", re.IGNORECASE)
_RESOLUTIONS = (("second", 1.0), ("minute", 60.0), ("hour", 3600.0), ("day", DAY), ("month", 31 * DAY))


def is_missing_time(seconds: float) -> bool:
    """True for NaN, ``MISSING_TIME``, and that time rounded to whole seconds, as at the server."""
    return math.isnan(seconds) or abs(seconds - MISSING_TIME) < _TOLERANCE


def parse_time(text: str) -> float:
    """The DRMS time that ``text`` as a whole denotes; ``SyntaxProblem`` if it is anything else."""
    scan = scan_time(text)
    expected = "a time such as 2014.01.01_00:00:00_TAI or 2014-01-01T00:00:00Z"
    if scan is None:
        raise SyntaxProblem(f"{text!r} is not a time", text=text, position=0, expected=expected)
    if scan.consumed < len(text):
        message = f"{text[scan.consumed :]!r} does not belong to the time before it"
        raise SyntaxProblem(message, text=text, position=scan.consumed, expected=expected)
    return scan.seconds


# ---- printing ---------------------------------------------------------------------------------


def format_time(seconds: float, zone: str = "TAI", precision: int = 0) -> str:
    """``seconds`` on the clock of ``zone``, as the server prints a keyword with that unit and precision.

    ``precision`` is the number of decimals of the second; -1 ends at minutes, -2 at hours, -3 at days,
    -4 at months, less at years, all truncated, not rounded. ``zone`` may be any that ``scan_time`` reads,
    "ISO" for ``2014-01-01T00:00:00Z``, "JD" or "MJD", or "" for UTC without its name.
    """
    if not math.isfinite(seconds):
        seconds = MISSING_TIME
    if abs(seconds) > _BEYOND_CALENDAR:
        zone = "JD"
    name = zone.upper()
    if name in ("JD", "MJD"):
        return _julian_text(seconds, name, precision)
    if name == "ISO":
        return _iso_text(seconds, precision)
    date, clock = _broken_down(seconds, zone, precision)
    joint = "" if len(zone) <= 1 or zone[0] in "+-" else "_"
    # Short dates lose a zone that is appended directly: the server prints no "Z" after a day.
    suffix = "" if not joint and precision <= -3 else joint + name[:5]
    return _fields(date, clock, precision, ".._") + suffix


def _julian_text(seconds: float, name: str, precision: int) -> str:
    day = (seconds + 32.184) / DAY + _JD_1977 - (_MJD_0 if name == "MJD" else 0.0)
    return f"{name}_{day:.{max(precision, 0)}f}"


def _iso_text(seconds: float, precision: int) -> str:
    date, clock = _broken_down(seconds, "UTC", precision)
    if 1583 <= date.year <= 9999:
        return _fields(date, clock, precision, "--T") + ("" if precision <= -3 else "Z")
    # ISO 8601 has no such years. The server falls back to dots, and subtracts the leap seconds twice.
    shifted = seconds - leap_seconds(seconds)[0]
    date, clock = _broken_down(shifted, "UTC", precision)
    return _fields(date, clock, precision, ".._") + ("" if precision <= -3 else "Z")


def _broken_down(seconds: float, zone: str, precision: int) -> tuple[Date, tuple[int, int, float]]:
    """Date and (hour, minute, second) on the clock of ``zone``, with a carry if the second rounds to 60."""
    date, clock, in_leap = _on_clock(seconds, zone)
    if precision >= 0 and round(clock[2], precision) >= 60.0:
        date, clock, in_leap = _on_clock(seconds + 0.5 * 10.0**-precision, zone)
    return date, (clock[0], clock[1], clock[2] + in_leap)


def _on_clock(seconds: float, zone: str) -> tuple[Date, tuple[int, int, float], bool]:
    """Date, clock and "is a leap second", whose second still counts as the 59th."""
    offset, in_leap = uniform_offset(zone), False
    if offset is None:
        leaps, in_leap = leap_seconds(seconds)
        offset = zone_offset(zone) - leaps
    day, rest = divmod(seconds + offset, DAY)
    hour, rest = divmod(rest, 3600.0)
    minute, second = divmod(rest, 60.0)
    return date_of_day(int(day)), (int(hour), int(minute), second), in_leap


def _fields(date: Date, clock: tuple[int, int, float], precision: int, marks: str) -> str:
    """The fields that ``precision`` asks for; ``marks`` has the three separators of date fields and clock."""
    hour, minute, second = clock
    width = precision + 3 if precision > 0 else 2
    parts = (
        f"{date.year:04d}",
        f"{marks[0]}{date.month:02d}",
        f"{marks[1]}{date.day:02d}",
        f"{marks[2]}{hour:02d}",
        f":{minute:02d}",
        f":{second:0{width}.{max(precision, 0)}f}",
    )
    return "".join(parts[: max(1, 6 + min(precision, 0))])


def time_text_resolution(text: str) -> float:
    """Seconds that one unit of the last digit of a printed time stands for.

    1.0 for whole seconds, 0.01 for two decimals, 60, 3600, 86400 for shorter forms, 31 and 366 days
    for a month and a year alone; for Julian days the same fraction of a day.
    """
    julian = _PRINTED_JD.match(text)
    if julian:
        return float(DAY * 10.0 ** -len(julian["fraction"] or ""))
    fields = _PRINTED.match(text)
    if fields is None:
        raise SyntaxProblem(f"{text!r} is not a printed time", text=text, position=0, expected="a time")
    if fields["fraction"]:
        return float(10.0 ** -len(fields["fraction"]))
    return next((size for name, size in _RESOLUTIONS if fields[name] is not None), 366 * DAY)


# ---- datetime ---------------------------------------------------------------------------------


def to_datetime(seconds: float) -> datetime:
    """The same moment in UTC, to the microsecond; a leap second becomes the microsecond before it.

    Raises ``OverflowError`` outside the years 1 to 9999 (``MISSING_TIME`` is outside).
    """
    leaps, in_leap = leap_seconds(seconds)
    if in_leap:
        return _EPOCH + timedelta(seconds=math.floor(seconds) + 1 - leaps) - timedelta(microseconds=1)
    return _EPOCH + timedelta(seconds=seconds - leaps)


def from_datetime(moment: datetime) -> float:
    """The DRMS time of ``moment``; without a time zone it is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    elapsed = aware.astimezone(UTC) - _EPOCH
    clock = elapsed.total_seconds()
    return clock + leap_seconds_by_clock(clock)
