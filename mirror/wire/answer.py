"""What all decoders share: JSON, its members by type, statuses.

Whatever is not as the protocol promises is UpstreamBroken with the name of the member, a status other
than 0 is UpstreamRefused. Members that we do not know are passed over.

The answer that says what went wrong, as jsoc_info writes it: ``{"status":1,"error":"..."}``.

HTTP knows nothing of it: the code is 200. Reading such an answer is part of ``mirror.wire.answer``.
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
    """What JSON in Latin-1 says; ValueError or RecursionError if it is none.

    msgspec needs half the time of the standard library, and refuses a few things that are allowed: those are read again.
    """
    try:
        return msgspec.json.decode(text if text.isascii() else text.decode("latin-1"))
    except (msgspec.DecodeError, RecursionError):
        return json.loads(text.decode("latin-1"), parse_constant=_no_constant)


def member(members: Members, name: str, kind: type[T], *, default: T | None = None) -> T:
    """The member of that name, which must be of that type; ``default`` stands for one that is absent."""
    value = members.get(name, default)
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is int):
        return value
    found = "nothing" if name not in members else type(value).__name__
    raise UpstreamBroken(f"member {name!r}: expected {kind.__name__}, found {found}")


def objects(members: Members, name: str) -> list[Members]:
    """A list of objects; the server writes ``[null]`` for some that are empty."""
    found = [item for item in member(members, name, list) if item is not None]
    if not all(isinstance(item, dict) for item in found):
        raise UpstreamBroken(f"member {name!r}: expected a list of objects")
    return found


def strings(members: Members, name: str) -> list[str]:
    """A list of strings; ``[null]`` counts as empty."""
    found = [item for item in member(members, name, list) if item is not None]
    if not all(isinstance(item, str) for item in found):
        raise UpstreamBroken(f"member {name!r}: expected a list of strings")
    return found


def _complaint(members: Members, *, wire: bool) -> str:
    text = members.get("error", members.get("errmsg", ""))
    return (from_wire(text) if wire else text) if isinstance(text, str) else repr(text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _excerpt(data: bytes) -> str:
    """How long the answer is and how it begins and ends: what a log needs to tell truncation from HTML."""
    return f"{len(data)} bytes: {data[:60]!r} ... {data[-30:]!r}" if len(data) > 90 else f"{data!r}"


def encode_error(message: str, status: int = 1) -> bytes:
    """One line of compact JSON; ``message`` may have several lines (a caret below the query)."""
    return f'{{"status":{status},"error":"{to_wire(message)}"}}\n'.encode("latin-1")
