"""How pages print numbers, sizes and moments. Pure; the scripts have the same in site.js."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mirror.humanize import length, moment, number, share, size

if TYPE_CHECKING:
    from collections.abc import Callable















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
