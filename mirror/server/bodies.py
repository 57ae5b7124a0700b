"""The bodies of requests to the mirror's own API and pages: JSON texts, forms, whole numbers.

JSON is read within limits that no honest client reaches: depth, 64 bits, finite numbers, valid Unicode.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl

from mirror.api.contract import LARGEST
from mirror.errors import BadRequest
from mirror.wire.params import FORM

if TYPE_CHECKING:
    from aiohttp import web

#: The deepest nesting of lists and objects.
_DEEPEST = 32
#: The most characters of a number, and of a value that an error repeats.
_DIGITS, _SHOWN = 40, 100
#: Fields of a form, more than any page has.
_FIELDS = 100
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


async def form(request: web.Request) -> dict[str, str]:
    """The fields of a form of one of our pages; of a repeated name the last value counts."""
    if request.content_type != FORM:
        raise BadRequest(f"expected a form, with the header Content-Type: {FORM}")
    text = (await request.read()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError:
        raise BadRequest(f"the form has too many fields; expected at most {_FIELDS}") from None


def parse_json(text: bytes | str, what: str) -> Any:
    """The value of a JSON text; BadRequest, which begins with ``what``, if it is invalid or beyond the limits."""
    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            parse_constant=lambda name: _refuse(what, f"has {name}; expected finite numbers"),
            parse_float=lambda digits: _finite(digits, what),
            parse_int=lambda digits: _integer(digits, what),
        )
    except RecursionError:
        _refuse(what, f"is no JSON of use: nested too deep; expected at most {_DEEPEST} lists and objects in each other")
    except ValueError as error:
        raise BadRequest(f"{what} is no JSON, or not JSON alone: {error}") from None
    _check(value, what)
    return value


def whole(text: str, name: str, default: int) -> int:
    """The whole number in a parameter, ``default`` for ""; BadRequest for anything else."""
    if text.strip() == "":
        return default
    found = _WHOLE.fullmatch(text.strip())
    if found is None or abs(int(found[0])) > LARGEST:
        raise BadRequest(f"{name} is {_shown(text)}, no whole number; expected a whole number of at most 64 bits")
    return int(found[0])


def _check(value: Any, what: str) -> None:
    """Refuse what is too deep, and text that cannot be encoded. Without recursion."""
    at_hand, depth = [value], 0
    while at_hand:
        depth += 1
        if depth > _DEEPEST and any(isinstance(each, dict | list) for each in at_hand):
            _refuse(what, f"is nested too deep; expected at most {_DEEPEST} lists and objects in each other")
        inside: list[Any] = []
        for each in at_hand:
            if isinstance(each, dict):
                inside += [*each, *each.values()]
            elif isinstance(each, list):
                inside += each
            elif isinstance(each, str) and (odd := _NO_TEXT.search(each)):
                _refuse(what, f"has a text with {odd[0]!a}; expected Unicode without NUL and lone surrogates")
        at_hand = inside


def _integer(digits: str, what: str) -> int:
    if len(digits) > _DIGITS:
        _refuse(what, f"has the number {digits[:_DIGITS]}..., which is too large; expected at most 64 bits")
    return int(digits)


def _finite(digits: str, what: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(what, f"has the number {digits[:_DIGITS]}, which is too large; expected a double")
    return number


def _refuse(what: str, reason: str) -> NoReturn:
    raise BadRequest(f"{what} {reason}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
