"""Numbers, sizes, times and spans of time as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from difflib import get_close_matches

#: The last second that has a date, in Unix seconds.
LAST = 253402300799


def is_moment(seconds: float) -> bool:
    """True for a time in Unix seconds that has a date, from 1970 on."""
    return 0.0 <= seconds <= LAST


def utc(seconds: float) -> datetime:
    """A time in Unix seconds as a datetime; beyond the calendar, the last that it has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # such as the next look at a subscription, every million weeks, or a damaged row
        return datetime.max.replace(tzinfo=UTC)


def stamp(seconds: float) -> str:
    """The same in the form of the API."""
    return f"{utc(seconds):%Y-%m-%dT%H:%M:%SZ}"


#: How much of its name after the dot a series must share with another, if that before it is the same.
_SHARED = 0.45


def near(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names most similar to this one, in any case, the nearest first."""
    names = {known_name.lower(): known_name for known_name in known}
    return [names[found] for found in get_close_matches(name.lower(), names, n=most) if _is_near(name.lower(), found)]


def _is_near(name: str, found: str) -> bool:
    """False for names of series that share hardly more than the part before the dot."""
    (space, dot, own), (there, _, other) = name.partition("."), found.partition(".")
    if not dot or space != there:
        return True
    return other.startswith(own) or bool(get_close_matches(own, [other], cutoff=_SHARED))


def day_of(now: float) -> str:
    """The UTC day of a time in Unix seconds, ``2026-11-22``."""
    return f"{utc(now):%Y-%m-%d}"


def in_words(size: int) -> str:
    """A number of bytes as people read it: "512 B", "12.3 MB", "1.99 TB"."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"


_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


_LENGTHS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


#: What is shown for no value, or one that cannot be printed.
NONE = "–"


def number(value: float | None) -> str:
    """``12,345``; a dash for nothing."""
    return NONE if value is None or not math.isfinite(value) else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes in words, to three digits: ``1.23 GB``."""
    if value is None or not math.isfinite(value):
        return NONE
    amount, unit = float(value), 0
    while abs(amount) >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000.0, unit + 1
    digits = 0 if unit == 0 or abs(amount) >= 100 else 1 if abs(amount) >= 10 else 2
    return f"{amount:.{digits}f} {_UNITS[unit]}"


def share(part: float | None, whole: float | None) -> str:
    """``97.2 %``; a dash without a whole. Less than 100 % is never rounded up to it."""
    if part is None or not whole:
        return NONE
    percent = 100.0 * part / whole
    if not math.isfinite(percent):
        return NONE
    return f"{min(percent, 99.9) if part < whole else percent:.1f} %".replace("100.0", "100")


def length(seconds: float | None) -> str:
    """A time span in its two largest units: ``3 d 4 h``; ``0 s`` if negative."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    left, parts = round(seconds), []
    for width, unit in _LENGTHS:
        if left >= width:
            parts.append(f"{left // width:,} {unit}")
            left %= width
    return " ".join(parts[:2]) or "0 s"


def duration(seconds: float) -> str:
    """The same for work, at least a second."""
    return length(max(1.0, seconds))


def moment(seconds: float | None) -> str:
    """Unix seconds as ``2026-11-22 11:45 UTC``; a dash for times beyond the calendar."""
    if seconds is None:
        return NONE
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M UTC}"
    except (ValueError, OverflowError, OSError):
        return NONE


def counted(number: int, noun: str) -> str:
    """"1 file", "1,920 files"."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def of_several(part: int, whole: int, noun: str, one: str, several: str) -> str:
    """"1 of 1 file is", "2 of 3 files are": the verb follows the part, the noun the whole."""
    return f"{part:,} of {counted(whole, noun)} {one if part == 1 else several}"


def plural(noun: str) -> str:
    """The plural of a noun, by the rule that site.js has too."""
    return f"{noun}es" if noun.endswith("ch") else f"{noun}s"


def short_moment(seconds: float | None) -> str:
    """A time in Unix seconds for tables: "2026-11-22 14:05" in UTC; "" for none."""
    return "" if seconds is None else f"{utc(seconds):%Y-%m-%d %H:%M}"
