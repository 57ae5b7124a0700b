"""Calendar, leap seconds and time zones as DRMS computes them: the arithmetic below ``mirror.drms.times``.

Rule for editors: every number here is one that the real server uses, wrong ones included (the leap
seconds before 1972, the zone "BST"). A time must come out as the server's own double.

A *clock* time is what a clock of some zone shows, as seconds since 1977.01.01_00:00:00 on the same
clock, without leap seconds. Stored DRMS times are TAI clock times.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain, repeat
from typing import NamedTuple

DAY = 86400.0
YEAR = 365 * DAY
FOUR_YEARS = 1461 * DAY
GREGORIAN_CENTURY, GREGORIAN_CYCLE = 36524 * DAY, 146097 * DAY
_JULIAN_CENTURY, _JULIAN_CYCLE = 36525 * DAY, 146100 * DAY
CLOCK_1601 = -11865398400.0
_CLOCK_1582_10_15 = -12440217600.0  # the first day of the Gregorian calendar
_DAYS_BEFORE_1977 = 722025  # from 0000.03.01 (Gregorian) to 1977.01.01
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

#: (year, month) whose first day is preceded by a leap second. The server counts whole seconds from 1960 on, although
#: UTC really drifted until 1972; both directions of its arithmetic rely on that.
LEAP_MONTHS = (
    (1960, 1), (1962, 7), (1964, 7), (1965, 7), (1966, 7), (1968, 1), (1969, 1), (1970, 1), (1971, 1),
    (1972, 1), (1972, 7), (1973, 1), (1974, 1), (1975, 1), (1976, 1), (1977, 1), (1978, 1), (1979, 1),
    (1980, 1), (1981, 7), (1982, 7), (1983, 7), (1985, 7), (1988, 1), (1990, 1), (1991, 1), (1992, 7),
    (1993, 7), (1994, 7), (1996, 1), (1997, 7), (1999, 1), (2006, 1), (2009, 1), (2012, 7), (2015, 7),
    (2017, 1),
)  # fmt: skip

#: Hours by which a named zone is ahead of UTC. "BST" has CET's hour here, and "UT", "UTC", "ISO" are 0.
ZONE_HOURS = {
    "PST": -8, "YDT": -8, "MST": -7, "PDT": -7, "CST": -6, "MDT": -6, "EST": -5, "CDT": -5, "AST": -4,
    "EDT": -4, "ADT": -3, "GMT": 0, "WET": 0, "CET": 1, "BST": 1, "EET": 2, "SST": 8, "WST": 8,
    "JST": 9, "JDT": 10, "NZST": 12, "HST": -10, "BDT": -10, "YST": -9, "HDT": -9, "NZDT": 13,
}  # fmt: skip
#: Seconds by which a clock without leap seconds is ahead of TAI.
_UNIFORM = {"TAI": 0.0, "TDT": 32.184, "TT": 32.184, "GPS": -19.0}
_NUMERIC_ZONE = re.compile(r"[+-]?[0-9]+")


class Date(NamedTuple):
    """A calendar date; Julian before 1582.10.15, with a year 0."""

    year: int
    month: int
    day: int


def clock_seconds(date: Date, clock: float) -> float:
    """The clock time of ``clock`` seconds after the beginning of ``date``.

    Months and days beyond their range carry over. The spans are added one by one, in the server's
    order: that order decides the last microsecond of a time with a fraction.
    """
    years, month0 = divmod(date.month - 1, 12)
    total = clock + DAY * (date.day - 1)
    for span in _spans(date.year + years, month0):
        total += span
    total += CLOCK_1601
    return total + 10 * DAY if total < _CLOCK_1582_10_15 else total


def _spans(year: int, month0: int) -> Iterator[float]:
    """The spans from 1601.01.01 to the first of the month, in the order in which the server adds them."""
    rest = year - 1601
    if rest >= 0:
        cycles, rest = divmod(rest, 400)
        head = chain(repeat(GREGORIAN_CYCLE, cycles), repeat(GREGORIAN_CENTURY, rest // 100))
    else:
        cycles = (400 - rest) // 400
        rest += 400 * cycles
        head = chain(repeat(-_JULIAN_CYCLE, cycles), repeat(_JULIAN_CENTURY, rest // 100))
    fours, ones = divmod(rest % 100, 4)
    months = (DAY * days for days in month_days(year)[:month0])
    return chain(head, months, repeat(FOUR_YEARS, fours), repeat(YEAR, ones))


def month_days(year: int) -> tuple[int, ...]:
    """The lengths of the twelve months of a year; every fourth year is a leap year until 1600."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0 or year <= 1600)
    return (31, 28 + leap, *_MONTH_DAYS[2:])


def date_of_day(day: int) -> Date:
    """The date ``day`` days after 1977.01.01."""
    if day * DAY < _CLOCK_1582_10_15:
        (cycle, rest), century = divmod(day + _DAYS_BEFORE_1977 + 2, 146100), 0
    else:
        cycle, rest = divmod(day + _DAYS_BEFORE_1977, 146097)
        century = min(rest // 36524, 3)
    rest -= 36524 * century
    four, rest = divmod(rest, 1461)
    one = min(rest // 365, 3)
    shifted, rest = divmod(5 * (rest - 365 * one) + 2, 153)  # months from March, in days times five
    year = 400 * cycle + 100 * century + 4 * four + one + (shifted > 9)
    return Date(year, shifted - 9 if shifted > 9 else shifted + 3, rest // 5 + 1)


# ---- leap seconds -----------------------------------------------------------------------------

#: TAI times of the first second after each leap second.
LEAP_TIMES = tuple(clock_seconds(Date(y, m, 1), 0.0) + i + 1 for i, (y, m) in enumerate(LEAP_MONTHS))
_LEAP_STARTS = tuple(t - 1.0 for t in LEAP_TIMES)
#: The same on a UTC clock. The very first one counts a second late, as at the server.
LEAP_CLOCKS = (LEAP_TIMES[0], *(t - i - 1 for i, t in enumerate(LEAP_TIMES) if i))


def leap_seconds_by_clock(clock: float) -> int:
    """TAI - UTC as the server counts it, when a UTC clock shows ``clock``."""
    return bisect_right(LEAP_CLOCKS, clock)


def leap_seconds(seconds: float) -> tuple[int, bool]:
    """TAI - UTC at a DRMS time, and whether that time lies in a leap second (a 61st second)."""
    count = bisect_right(_LEAP_STARTS, seconds)
    return count, count > 0 and seconds < LEAP_TIMES[count - 1]


# ---- zones ------------------------------------------------------------------------------------


def uniform_offset(zone: str) -> float | None:
    """Seconds by which the clock of "TAI", "TDT", "TT" or "GPS" is ahead of TAI; None for civil zones."""
    return _UNIFORM.get(zone.upper())


def zone_offset(zone: str) -> float:
    """Seconds by which a civil zone is ahead of UTC: +HHMM, a military letter, a name; else 0."""
    number = _NUMERIC_ZONE.match(zone[:5])
    if number:
        value = int(number[0])
        hours, minutes = divmod(abs(value), 100)
        return (60.0 * minutes + 3600.0 * hours) * (1 if value >= 0 else -1)
    if len(zone) == 1:
        return 3600.0 * _military_hours(zone.upper())
    return 3600.0 * ZONE_HOURS.get(zone, 0)


def _military_hours(letter: str) -> int:
    """A..I are 1..9, K..M are 10..12, N..Y are -1..-12, Z is 0."""
    if letter == "Z":
        return 0
    if letter > "M":
        return ord("M") - ord(letter)
    return ord(letter) - ord("A") + (letter <= "I")
