"""Small answers that a bundle carries: the list of series, values at full precision, what linked files are called.

What comes with a bundle from elsewhere is looked at here too, before a mirror keeps it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mirror.services.assembling import PRECISE
from mirror.services.linkedtexts import LINKED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.storage.database import Cursor

#: A small answer: its kind, its key, what it says, and when it was asked for in Unix seconds.
Fact = tuple[str, str, str, float]

_LISTS = frozenset({"show_series", "showextseries", "showextseries notes"})
_PRECISE = re.compile(r"[a-z_]\w*\.[a-z_]\w*:\d{1,18}", re.ASCII)
_QUERY = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*\[[^\x00-\x1f]{0,500}\]", re.ASCII)


def select_facts(cursor: Cursor, precise: Iterable[str], links: Iterable[str], address: str) -> list[Fact]:
    """What is kept of these: records by ``series:recnum``, records at the ends of links, an address."""
    sql = (
        "SELECT kind, key, value, fetched_at FROM mirror.facts WHERE kind = 'list' OR (kind = 'address' AND key = ?) "
        "OR (kind = ? AND key IN (SELECT unnest(?::VARCHAR[]))) "
        "OR (kind = ? AND key IN (SELECT unnest(?::VARCHAR[]))) ORDER BY kind, key"
    )
    return cursor.execute(sql, [address, PRECISE, list(precise), LINKED, list(links)]).fetchall()


def is_fact(kind: str, key: str, value: str) -> bool:
    """True for what a mirror may keep, however it came."""
    if kind == "address":
        return "@" in key
    try:
        told = json.loads(value)
    except (ValueError, RecursionError):
        return False
    if kind in (PRECISE, LINKED):
        form = _PRECISE if kind == PRECISE else _QUERY
        right = isinstance(told, dict) and all(isinstance(v, str) for v in told.values())
        return right and form.fullmatch(key) is not None
    return kind == "list" and key in _LISTS and isinstance(told, list) and all(map(_is_entry, told))


def _is_entry(entry: Any) -> bool:
    """True for a series as ``mirror.services.listing`` keeps it: name, prime keys, note."""
    if not isinstance(entry, list) or len(entry) != 3:
        return False
    name, keys, note = entry
    return (
        isinstance(name, str)
        and isinstance(keys, list)
        and all(isinstance(k, str) for k in keys)
        and isinstance(note, str)
    )
