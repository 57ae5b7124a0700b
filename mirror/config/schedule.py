"""Schedules of subscriptions: their windows, hours and budgets, and when it is time to look again. Pure.

    moment = time | "now" [ "-" duration ] | "-" duration       -30d is thirty days before now
    hours  = clock "-" clock [ "UTC" ]                           20:00-06:00, over midnight too
    budget = size "/" ( "hour" | "day" | "week" )                50GB/day

Times of windows are in DRMS seconds; budgets and looks use Unix seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.times import parse_time
from mirror.errors import SyntaxProblem

if TYPE_CHECKING:
    from datetime import datetime


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BEFORE = re.compile(r"\s*(?:now)?\s*-\s*(\d{1,9}(?:\.\d+)?)\s*([smhdw])\s*")
_MOMENT = 'a time such as 2024.01.01_TAI, "now", or "-30d" for thirty days before now'
_CLOCK = re.compile(r"\s*(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)\s*(UTC)?\s*")
_HOURS = 'hours such as "20:00-06:00", on the clock of this machine, or "20:00-06:00 UTC"'
PERIODS = {"hour": 3600.0, "day": 86400.0, "week": 604800.0}
DAY_MINUTES = 24 * 60
#: Seconds before the first retry of what failed, and before any retry at most.
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 900.0


# ---- values --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """An end of a window: a fixed time, or one relative to now.

    ``time`` is a DRMS time, or None for ``before`` seconds before now; ``text`` is how it was written.
    """

    time: float | None
    before: float
    text: str

    def __str__(self) -> str:
        return self.text

    def at(self, now: float) -> float:
        """The time, in DRMS seconds; so is ``now``."""
        return now - self.before if self.time is None else self.time


NOW = Moment(None, 0.0, "now")
#: Digits of a year.
_YEAR = 4


def parse_moment(text: str) -> Moment:
    """Parse all of ``text``; SyntaxProblem with the place where it becomes invalid."""
    if text.strip() == "now":
        return NOW
    if found := _BEFORE.fullmatch(text):
        return Moment(None, float(found[1]) * _UNITS[found[2]], text)
    if text.lstrip().startswith("-"):  # only the server would take it for a year before Christ
        raise SyntaxProblem(f"{text!r} has no unit", text=text, position=len(text), expected=_MOMENT)
    if text.strip().isdigit() and len(text.strip()) != _YEAR:  # to the server the year 7, or 70; to nobody else
        raise SyntaxProblem(f"{text!r} is not a time", text=text, position=0, expected=_MOMENT)
    try:
        return Moment(parse_time(text), 0.0, text)
    except SyntaxProblem as problem:
        raise SyntaxProblem(problem.message, text=text, position=problem.position, expected=_MOMENT) from None


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of the day, from one minute to another, perhaps across midnight."""

    first: int
    last: int
    utc: bool

    def __str__(self) -> str:
        clock = "-".join(f"{m // 60:02d}:{m % 60:02d}" for m in (self.first, self.last))
        return clock + " UTC" * self.utc

    def wait(self, moment: datetime) -> float:
        """Seconds until these hours, 0 during them; ``moment`` is on their clock."""
        at = moment.hour * 60 + moment.minute
        if (at - self.first) % DAY_MINUTES < (self.last - self.first) % DAY_MINUTES:
            return 0.0
        return float((self.first - at) % DAY_MINUTES * 60 - moment.second)


def parse_hours(text: str) -> Hours:
    """Parse all of ``text``; SyntaxProblem if it is no hours, or none of a day."""
    found = _CLOCK.fullmatch(text)
    numbers = [int(x) for x in found.groups()[:4]] if found else []
    if found is None or max(numbers[::2]) > 24 or max(numbers[1::2]) > 59:
        raise SyntaxProblem(f"{text!r} says no hours", text=text, position=0, expected=_HOURS)
    first, last = ((hour * 60 + minute) for hour, minute in (numbers[:2], numbers[2:]))
    if first > DAY_MINUTES or last > DAY_MINUTES or first % DAY_MINUTES == last % DAY_MINUTES:
        raise SyntaxProblem(f"{text!r} is no part of a day", text=text, position=0, expected=_HOURS)
    return Hours(first % DAY_MINUTES, last % DAY_MINUTES, found[5] is not None)


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that may come in each period, of a length in seconds; periods are aligned with the days of UTC."""

    size: int
    seconds: float
    text: str

    def __str__(self) -> str:
        return self.text

    def began(self, now: float) -> float:
        """When the present period began, in Unix seconds as ``now``."""
        return now // self.seconds * self.seconds

    def wait(self, used: int, typical: int, now: float) -> float:
        """Seconds until ``typical`` bytes more may come, if ``used`` came in this period.

        Something larger than a whole period's bytes may come as the first in a period.
        """
        if not used or used + typical <= self.size:
            return 0.0
        return self.began(now) + self.seconds - now


# ---- windows --------------------------------------------------------------------------------------


def span(start: Moment, end: Moment, now: float, keep: float | None = None) -> tuple[float, float] | None:
    """The first and last time of a window, of which only the last ``keep`` seconds before now count.

    None if it is empty. No window extends beyond now.
    """
    first, last = start.at(now), min(end.at(now), now)
    if keep is not None:
        first = max(first, now - keep)
    return (first, last) if first <= last else None
