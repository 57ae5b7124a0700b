"""What all decoders share: JSON, its members by type, statuses; and the answer that says what went wrong.

Whatever violates the protocol is UpstreamBroken with the name of the member, a status other than 0 is
UpstreamRefused. Unknown members are ignored.

``encode_error`` writes errors as jsoc_info does: ``{"status":1,"error":"..."}``, with the HTTP status 200.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import msgspec

from mirror.errors import UpstreamBroken, UpstreamRefused
from mirror.wire.text import from_wire, keep_escapes, to_wire

T = TypeVar("T")
Members = Mapping[str, Any]


def load_answer(data: bytes, *, wire: bool = False) -> Members:
    """The members of an answer with status 0; with ``wire`` its strings stay wire text."""
    members = load_object(data, wire=wire)
    status = member(members, "status", int, default=0)
    if status != 0:
        raise UpstreamRefused(status, _complaint(members, wire=wire))
    return members


def load_object(data: bytes, *, wire: bool = False) -> Members:
    """The members of a JSON object in Latin-1, whatever its status."""
    text = keep_escapes(data) if wire else data
    try:
        members = _parsed(text)
    except (ValueError, RecursionError) as problem:
        raise UpstreamBroken(f"not a JSON answer ({problem}); {_excerpt(data)}") from problem
    if not isinstance(members, dict):
        raise UpstreamBroken(f"expected a JSON object; {_excerpt(data)}")
    return members


def _parsed(text: bytes) -> Any:
    """The value of JSON in Latin-1; ValueError or RecursionError if it is invalid.

    msgspec takes half the time of the standard library, which reads the few valid texts that msgspec refuses.
    """
    try:
        return msgspec.json.decode(text if text.isascii() else text.decode("latin-1"))
    except (msgspec.DecodeError, RecursionError):
        return json.loads(text.decode("latin-1"), parse_constant=_no_constant)


def member(members: Members, name: str, kind: type[T], *, default: T | None = None) -> T:
    """The member with that name, which must have that type; ``default`` if it is absent."""
    value = members.get(name, default)
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is int):
        return value
    found = "nothing" if name not in members else type(value).__name__
    raise UpstreamBroken(f"member {name!r}: expected {kind.__name__}, found {found}")


def objects(members: Members, name: str) -> list[Members]:
    """A list of objects; the server writes ``[null]`` for some that are empty."""
    return _items(members, name, dict, "objects")


def strings(members: Members, name: str) -> list[str]:
    """A list of strings; ``[null]`` counts as empty."""
    return _items(members, name, str, "strings")


def _items(members: Members, name: str, kind: type[T], what: str) -> list[T]:
    found = [item for item in member(members, name, list) if item is not None]
    if not all(isinstance(item, kind) for item in found):
        raise UpstreamBroken(f"member {name!r}: expected a list of {what}")
    return found


def _complaint(members: Members, *, wire: bool) -> str:
    text = members.get("error", members.get("errmsg", ""))
    return (from_wire(text) if wire else text) if isinstance(text, str) else repr(text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _excerpt(data: bytes) -> str:
    """The length, beginning and end of an answer, by which a log can tell truncation from HTML."""
    return f"{len(data)} bytes: {data[:60]!r} ... {data[-30:]!r}" if len(data) > 90 else f"{data!r}"


def encode_error(message: str, status: int = 1) -> bytes:
    """One line of compact JSON; ``message`` may have several lines (a caret below the query)."""
    return f'{{"status":{status},"error":"{to_wire(message)}"}}\n'.encode("latin-1")
