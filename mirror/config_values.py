"""What a value in config.toml may be: one reader for each kind.

A reader takes what TOML or an environment variable gave (so always text as well), and returns the
typed value; otherwise it raises ValueError with what was expected, put so that it reads well after
"expected". It knows nothing of sections and keys: ``mirror.config`` adds those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Reader = Callable[[Any], Any]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "B": 1} | {
    f"{letter}{kind}": base**power
    for power, letter in enumerate("KMGTP", start=1)
    for kind, base in (("B", 1000), ("iB", 1024))
}
_AMOUNT = re.compile(r"\s*(\d{1,15}(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def text(value: Any) -> str:
    """Any text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value


def address(value: Any) -> str:
    """An e-mail address, as far as its shape tells."""
    if not isinstance(value, str) or not re.fullmatch(r"[^@\s()<>]+@[^@\s()<>]+", value):
        raise ValueError("an e-mail address")
    return value


def url(value: Any) -> str:
    """The address of a host, "http://host" or "http://host:port", without a slash at its end."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        plain = bool(parts.hostname) and not (parts.path.strip("/") or parts.query or parts.fragment)
        plain = plain and parts.port != 0  # also raises ValueError for what is not a port
    except ValueError:
        plain = False
    if not plain or parts.scheme not in {"http", "https"}:
        raise ValueError('the address of a host, such as "http://jsoc.stanford.edu"')
    return str(value).rstrip("/")


def path(value: Any) -> Path:
    """A path; "~" is the home folder."""
    return Path(text(value)).expanduser()


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts; one text with commas counts as one."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(x, str) and x.strip() for x in items):
        raise ValueError("a list of texts")
    return tuple(x.strip() for x in items)


def choice(*allowed: str) -> Reader:
    """One of the texts ``allowed``."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError("one of " + ", ".join(f'"{x}"' for x in allowed))
        return str(value)

    return read


def integer(low: int, high: int) -> Reader:
    """A whole number from ``low`` to ``high``, both included."""

    def read(value: Any) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value) else value
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise ValueError(f"a whole number from {low:,} to {high:,}")
        return number

    return read


def yes_or_no(value: Any) -> bool:
    """True or false; from the environment also as text."""
    named = {"true": True, "false": False}
    found = value if isinstance(value, bool) else named.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return found


def duration(value: Any) -> float:
    """Seconds, of "45s", "10m", "1.5h", "90d", "2w", or of a number of seconds; more than zero."""
    seconds = _amount(value, _SECONDS | {"": 1.0})
    if seconds is None or seconds <= 0:
        raise ValueError('a duration such as "45s", "10m", "6h", "90d"')
    return seconds


def size(value: Any) -> int:
    """Bytes, of "500GB", "2TB", "1.5 TiB", or of a number of bytes; more than zero."""
    amount = _amount(value, _BYTES)
    if amount is None or amount < 1:
        raise ValueError('a size such as "500GB", "2TB", "1.5TiB"')
    return round(amount)


def unless(word: str, read: Reader) -> Reader:
    """None for ``word`` ("never", "none"), else what ``read`` reads."""

    def optional(value: Any) -> Any:
        if value == word:
            return None
        try:
            return read(value)
        except ValueError as problem:
            raise ValueError(f'{problem}, or "{word}"') from None

    return optional


def _amount(value: Any, units: dict[str, float] | dict[str, int]) -> float | None:
    """The number times its unit; None if it is neither a number nor a number with one of the units."""
    found = None if isinstance(value, bool) else _AMOUNT.fullmatch(str(value))
    factor = units.get(found[2]) if found else None
    return None if found is None or factor is None else float(found[1]) * factor
