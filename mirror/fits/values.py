"""A keyword's value: from the text that the server printed to a number, a string or None for "missing".

Texts are those of ``jsoc_info`` after unescaping, best with the flag M=1 (``%.9G``, ``%.17G``, times with
six decimals), else as the series prints them; both are read here by the same rules.
"""

from __future__ import annotations

import math
import re
import struct

from mirror.drms.series import INTEGER_TYPES, Keyword
from mirror.drms.times import MISSING_TIME, format_time, is_missing_time, scan_time
from mirror.errors import UpstreamBroken

MISSING = "MISSING"
BROKEN_LINK = "Invalid KeyLink"
BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
#: The missing time as series store it: their default says "-4712.01.01_11:59:28", without the fraction.
STORED_MISSING_TIME = float(math.ceil(MISSING_TIME))
Value = float | str | None  # an int where the keyword's type is one
#: Units of time keywords that hold an interval; their texts are numbers of that unit.
_INTERVAL = re.compile(
    r"(hz|hertz|rots?|rotations?|deg(ree)?s?|wks?|weeks?|w|d|days?|hr?s?|hours?|m|mins?|minutes?|secs|seconds?|s)",
    re.IGNORECASE,
)


def read_value(keyword: Keyword, text: str) -> Value:
    """The value that ``text`` prints, None if it is missing; a time comes as seconds, an interval as its text.

    UpstreamBroken if the text is not a value of the keyword's type.
    """
    try:
        if keyword.type in INTEGER_TYPES:
            return _integer(text, BITS[keyword.type])
        if keyword.type in ("float", "double"):
            return _real(text, single=keyword.type == "float")
    except ValueError as problem:
        message = f"keyword {keyword.name}: expected a {keyword.type}, found {text!r}"
        raise UpstreamBroken(message) from problem
    if keyword.type == "time":
        return _time(keyword, text)
    return None if text in ("", MISSING) else text


def _integer(text: str, bits: int) -> int | None:
    if text == MISSING:
        return None
    digits = text.strip().lower()
    value = int(digits, 16) if digits.startswith("0x") else int(digits)
    lowest = -(1 << (bits - 1))
    value = value - (1 << bits) if value >= -lowest else value
    return None if value == lowest else value


def _real(text: str, *, single: bool) -> float | None:
    value = math.nan if text == MISSING else float(text)
    if single and math.isfinite(value):
        value = to_single(value)
    return None if math.isnan(value) else value


def to_single(value: float) -> float:
    """The nearest number of single precision, infinite where it is too large."""
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return single


def _time(keyword: Keyword, text: str) -> float | str | None:
    if text == MISSING:
        return None
    if is_interval(keyword.units):
        return f"{float(text):.17G}"
    scan = scan_time(text)
    if scan is None:
        raise UpstreamBroken(f"keyword {keyword.name}: expected a time, found {text!r}")
    return None if is_missing_time(scan.seconds) else scan.seconds


def is_interval(unit: str) -> bool:
    """True if a time keyword of this unit holds a length of time and no date."""
    return _INTERVAL.fullmatch(unit) is not None


def time_text(seconds: float | None, unit: str) -> str:
    """A time as exports write it: on the unit's clock, with milliseconds, and never a ``Z`` at the end."""
    return format_time(STORED_MISSING_TIME if seconds is None else seconds, unit, 3).removesuffix("Z")


def real_text(value: float, digits: int) -> str | None:
    """A real number as a FITS value of at most so many digits, with a point or an exponent; None if infinite."""
    if not math.isfinite(value):
        return None
    text = f"{value:.{digits}G}"
    if "." in text:
        return text
    return f"{value:.1E}" if "E" in text else f"{text}."
