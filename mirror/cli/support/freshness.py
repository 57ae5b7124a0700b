"""How an answer of the mirror came about, in words: what people read below a table, or before files come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.cli.support.output import remark
from mirror.humanize import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLANS = {
    "local": "answered from what the mirror holds",
    "filled": "what was missing came from JSOC, and is held now",
    "forwarded": "asked from JSOC as it is",
    "stale": "not checked with JSOC: this is what is held, and may be old",
}


def in_words(plan: str, age: int | None) -> str:
    """How an answer came about; ``age`` is the seconds since the last check of a stale one."""
    checked = "" if age is None else f" (last checked {span_in_words(age)} ago)"
    return f"{_PLANS.get(plan, plan)}{checked}"


def warn_if_stale(headers: Mapping[str, str]) -> None:
    """Say on stderr that records should have been checked with JSOC, which could not be asked."""
    if headers.get("X-Mirror") == "stale":
        age = headers.get("Age", "")
        remark(f"the records are {in_words('stale', int(age) if age.isdigit() else None)}")


def span_in_words(seconds: int) -> str:
    """A length of time, such as "40 minutes" or "3 days"."""
    for size, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return counted(seconds // size, noun)
    return counted(seconds, "second")
