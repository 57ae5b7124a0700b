"""How pages print numbers, sizes and moments. Pure; the scripts have the same in site.js."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_LENGTHS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


#: What stands where there is no value, or none that can be printed.
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
    """``97.2 %``; a dash where there is no whole. Below 100 % it never says 100 %."""
    if part is None or not whole:
        return NONE
    percent = 100.0 * part / whole
    if not math.isfinite(percent):
        return NONE
    return f"{min(percent, 99.9) if part < whole else percent:.1f} %".replace("100.0", "100")


def length(seconds: float | None) -> str:
    """A time span in its two largest units: ``3 d 4 h``; of less than nothing, ``0 s``."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    left, parts = round(seconds), []
    for width, unit in _LENGTHS:
        if left >= width:
            parts.append(f"{left // width:,} {unit}")
            left %= width
    return " ".join(parts[:2]) or "0 s"


def moment(seconds: float | None) -> str:
    """Unix seconds as ``2026-11-22 11:45 UTC``; a dash for what no calendar has."""
    if seconds is None:
        return NONE
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M UTC}"
    except (ValueError, OverflowError, OSError):
        return NONE


def amount(value: float | None) -> float:
    """A number for an attribute, such as the value of a progress bar: 0 for what is not known."""
    return 0 if value is None or not math.isfinite(value) else value


def in_path(text: str) -> str:
    """A text as one part of an address."""
    return quote(text, safe="", errors="replace")


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "size": size,
    "share": share,
    "lasting": length,
    "moment": moment,
    "in_path": in_path,
    "amount": amount,
}
