"""How pages print numbers, sizes and moments. Pure; the scripts have the same in site.js."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_LENGTHS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def number(value: float | None) -> str:
    """``12,345``; a dash for nothing."""
    return "–" if value is None else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes in words, to three digits: ``1.23 GB``."""
    if value is None:
        return "–"
    amount, unit = float(value), 0
    while abs(amount) >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000.0, unit + 1
    digits = 0 if unit == 0 or abs(amount) >= 100 else 1 if abs(amount) >= 10 else 2
    return f"{amount:.{digits}f} {_UNITS[unit]}"


def share(part: float, whole: float) -> str:
    """``97.2 %``; a dash where there is no whole. Below 100 % it never says 100 %."""
    if not whole:
        return "–"
    percent = 100.0 * part / whole
    return f"{min(percent, 99.9) if part < whole else percent:.1f} %".replace("100.0", "100")


def length(seconds: float | None) -> str:
    """A time span in its two largest units: ``3 d 4 h``."""
    if seconds is None:
        return "–"
    left, parts = round(seconds), []
    for width, unit in _LENGTHS:
        if left >= width:
            parts.append(f"{left // width:.0f} {unit}")
            left = int(left % width)
    return " ".join(parts[:2]) or "0 s"


def moment(seconds: float | None) -> str:
    """Unix seconds as ``2026-11-22 11:45 UTC``."""
    if seconds is None:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def in_path(text: str) -> str:
    """A text as one part of an address."""
    return quote(text, safe="")


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "size": size,
    "share": share,
    "lasting": length,
    "moment": moment,
    "in_path": in_path,
}
