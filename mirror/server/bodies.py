"""Bodies of requests to the mirror's own API: JSON objects, with members of known kinds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mirror.drms.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

#: What a member may be.
Kinds = type | tuple[type, ...]


async def json_object(request: web.Request, members: Mapping[str, Kinds]) -> dict[str, Any]:
    """The JSON object in a request's body, with no other members than these; null is as good as absent."""
    if request.content_type != "application/json":
        raise BadRequest("expected a JSON object, with the header Content-Type: application/json")
    try:
        given = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise BadRequest('the body is no JSON object; expected one such as {"ds": "hmi.m_720s[$]"}')
    for name, value in given.items():
        if name not in members:
            raise BadRequest(f"the member {name!r} is not known; expected some of {', '.join(members)}")
        if value is not None and not _is(value, members[name]):
            raise BadRequest(f"{name} is {value!r}; expected {_in_words(members[name])}")
    return {name: value for name, value in given.items() if value is not None}


def _is(value: Any, kinds: Kinds) -> bool:
    # True is an int to Python, and to nobody else.
    return isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))


def _in_words(kinds: Kinds) -> str:
    words: dict[Any, str] = {
        str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "a table",
    }  # fmt: skip
    return words.get(kinds, "a number")
