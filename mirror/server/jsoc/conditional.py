"""What a request for a file wants: all of it, a part, or nothing since it has not changed. Pure.

RFC 9110, sections 13 (conditions, in the order of 13.2.2) and 14 (ranges; one range, as every client asks).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TAG = re.compile(r'(W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Asked:
    """The status of the answer, and for 200 and 206 the first byte and the end of what is sent."""

    status: int
    start: int = 0
    end: int = 0


def what_is_asked(
    headers: Mapping[str, str], size: int, *, tag: str | None = None, modified: float = 0.0
) -> Asked:
    """What the headers of a request want of a file of ``size`` bytes.

    ``modified`` is in Unix seconds. Without a ``tag`` conditions cannot be evaluated: they are ignored, and a range
    under a condition is the whole file.
    """
    if tag is not None and (status := _by_conditions(headers, tag, int(modified))):
        return Asked(status)
    found = _RANGE.fullmatch(headers.get("Range", ""))
    if found is None or not (found[1] or found[2]) or not _range_counts(headers, tag, int(modified)):
        return Asked(200, 0, size)
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
    return Asked(206, start, end) if start < end else Asked(416)


def _by_conditions(headers: Mapping[str, str], tag: str, modified: int) -> int:
    """412 or 304 where the conditions say so, else 0."""
    match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
    if match is not None:
        if not _names(match, tag, weakly=False):
            return 412
    elif (since := _seconds(headers.get("If-Unmodified-Since"))) is not None and modified > since:
        return 412
    if none_match is not None:
        return 304 if _names(none_match, tag, weakly=True) else 0
    since = _seconds(headers.get("If-Modified-Since"))
    return 304 if since is not None and modified <= since else 0


def _range_counts(headers: Mapping[str, str], tag: str | None, modified: int) -> bool:
    """False for a range whose condition names another state of the file."""
    condition = headers.get("If-Range")
    if condition is None or tag is None:
        return condition is None
    if condition.endswith('"'):
        return condition == f'"{tag}"'
    return _seconds(condition) == modified


def _names(listed: str, tag: str, *, weakly: bool) -> bool:
    if listed.strip() == "*":
        return True
    return any(found[2] == tag and (weakly or not found[1]) for found in _TAG.finditer(listed))


def _seconds(date: str | None) -> float | None:
    """An HTTP date in Unix seconds; None if it is missing or invalid."""
    try:
        found = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
