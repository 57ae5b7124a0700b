"""Decodes what a client sent into what an endpoint takes, or one error that says what was wrong, and where. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from mirror.api.contract import LARGEST, Asked
from mirror.errors import BadRequest

Q = TypeVar("Q", bound=Asked)

#: Most characters of a value that an error repeats.
_SHOWN = 100
_PROBLEM = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_NAMED = re.compile(r"Object (?P<how>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_WORDS = (
    ("`str` of", "a text"), ("`str` m", "a text"), ("`str`", "a text"), ("`int` >= 1", "a number above 0"),
    ("`bool`", "true or false"), ("`array` of length <= ", "at most {}"), ("`array", "a list"),
    ("`object", "an object"), ("`int", "a whole number of at most 64 bits"), ("`float", "a number of at most 64 bits"),
)  # fmt: skip


def from_query(given: Mapping[str, str], kind: type[Q]) -> Q:
    """The parameters that ``kind`` has; unknown and empty ones are ignored. BadRequest for wrong ones."""
    known = kind.__struct_encode_fields__
    values = {name: value for name, value in given.items() if name in known and (value.strip() or name in kind.EMPTY)}
    return _converted({name: _unsigned(value) for name, value in values.items()}, kind, values, strict=False)


def from_object(given: object, kind: type[Q]) -> Q:
    """The members of a JSON object; null counts as absent. BadRequest for wrong or unknown ones."""
    if not isinstance(given, dict):
        raise BadRequest('the body is not a JSON object; expected one such as {"ds": "hmi.m_720s[$]"}')
    members = {name: value for name, value in given.items() if value is not None}
    for field in _fields(kind):
        if field.required and members.get(field.encode_name) == "":
            del members[field.encode_name]
        value = members.get(field.encode_name)
        if isinstance(value, int) and abs(value) > LARGEST:  # even where text is accepted as well
            raise BadRequest(f"{field.encode_name} is {shown(value)}; expected a number of at most 64 bits")
    return _converted(members, kind, members, strict=True)


@cache
def _fields(kind: type[Asked]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The members of a kind, cached since reading annotations takes a millisecond."""
    return msgspec.structs.fields(kind)


def _unsigned(value: str) -> str:
    """A number without a plus sign or blanks."""
    bare = value.strip()
    return bare[1:] if bare[:1] == "+" and bare[1:].isdigit() else bare if bare.lstrip("-").isdigit() else value


def _converted(values: Mapping[str, Any], kind: type[Q], given: Mapping[str, Any], *, strict: bool) -> Q:
    try:
        return msgspec.convert(values, kind, strict=strict)
    except msgspec.ValidationError as problem:
        raise BadRequest(_explained(str(problem), kind, given)) from None


def _explained(problem: str, kind: type[Asked], given: Mapping[str, Any]) -> str:
    """A problem found by msgspec, in words: ``n is 'x'; expected a whole number``."""
    found = _PROBLEM.fullmatch(problem)
    assert found is not None, "it matches any text"
    steps = [int(n) if n else name for name, n in _STEP.findall(found["path"] or "")]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    kind, value = _followed(kind, given, steps)
    if named := _NAMED.fullmatch(found["what"]):
        where = f" of {place}" if place else ""
        if named["how"] == "missing required":
            return f"{named['name']}{where} is missing; expected {_of_field(kind, named['name'])}"
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind)) if _is_struct(kind) else ""
        return f"the member {shown(named['name'])}{where} is not known; expected {f'some of {known}' if known else 'none'}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST:
        return f"{place} is {shown(value)}; expected a number of at most 64 bits"
    return f"{place} is {shown(value)}; expected {_expected(found['what'], kind)}"


def _followed(kind: Any, value: Any, steps: list[int | str]) -> tuple[Any, Any]:
    """The type and the value at a place."""
    for step in steps:
        try:
            value = value[step]
        except (LookupError, TypeError):
            value = None
        kind = _within(kind, step)
    return kind, value


def _within(kind: Any, step: int | str) -> Any:
    if _is_struct(kind):
        return _hint(kind, str(step))
    inner = [each for each in get_args(_bare(kind)) if each is not type(None)]
    return inner[0] if inner else None


def _hint(kind: Any, name: str) -> Any:
    hint = get_type_hints(kind, include_extras=True).get(name)
    parts = [part for part in get_args(hint) if part is not type(None)]
    # ``T | None`` counts as T, since null counts as absent.
    return parts[0] if hint is not None and type(None) in get_args(hint) and len(parts) == 1 else hint


def _of_field(kind: Any, name: str) -> str:
    """What a member should be, from its description, with an example."""
    hint = _hint(kind, name) if _is_struct(kind) else None
    meta = next((m for m in getattr(hint, "__metadata__", ()) if m.description), None)
    if meta is None:
        return _of_type(hint)
    return f"{meta.description}, such as {meta.examples[0]}" if meta.examples else str(meta.description)


def _of_type(hint: Any) -> str:
    if get_origin(_bare(hint)) is Literal:
        return f"one of {', '.join(map(str, get_args(_bare(hint))))}"
    words = {str: "a text", int: "a whole number of at most 64 bits", bool: "true or false"}
    return words.get(_bare(hint), "it")


def _expected(what: str, kind: Any) -> str:
    if what.startswith("Invalid enum value") or get_origin(_bare(kind)) is Literal:
        return _of_type(kind)
    wanted = what.removeprefix("Expected ").partition(", got ")[0]
    meta = next((m for m in getattr(kind, "__metadata__", ()) if m.description), None)
    if meta is not None and "matching" in wanted:
        return f"{meta.description}, such as {meta.examples[0]}" if meta.examples else str(meta.description)
    return next(
        (words.format(wanted.rpartition(" ")[2]) for start, words in _WORDS if wanted.startswith(start)), wanted
    )


def _bare(kind: Any) -> Any:
    """A type without its annotations."""
    return getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def shown(value: Any) -> str:
    """A value as an error repeats it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
