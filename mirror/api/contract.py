"""The contract of a path of our own API: who may ask, what it takes, what it answers. msgspec types the JSON.

An ``Endpoint`` is the whole contract of a path. The server binds a handler to it, the gate takes its role, the
command line and ``mirror.Client`` call it, the OpenAPI document is made from it. Members of an answer that are
``UNSET`` are omitted; null means unknown, or none.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

__all__ = ["UNSET", "UnsetType"]

#: The largest integer that is accepted: 64 bits with a sign, as in DRMS.
LARGEST = 2**63 - 1

JSON = "application/json"
#: Roles, from the lowest; ``nobody`` is for what is open to all.
RoleName = Literal["nobody", "read", "export", "admin"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An object of an answer; a notebook shows it as a table of its members."""

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415  (only notebooks ask)

        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(str(value))}</td></tr>'
            for name, value in plain(self).items()
        )
        return f"<table><caption>{escape(type(self).__name__)}</caption><tbody>{rows}</tbody></table>"


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What comes with a request: parameters of a query, or members of a JSON object.

    An empty parameter, or a null member, counts as absent. Unknown parameters are ignored, unknown members are
    errors. ``EMPTY`` names parameters that have a meaning when empty.
    """

    EMPTY: ClassVar[frozenset[str]] = frozenset()


class Nothing(Asked, frozen=True, kw_only=True):
    """No parameters, and no body."""


class Problem(Answer, frozen=True, kw_only=True):
    """What went wrong; if known, the place in the request, wrong members, and what is not cached."""

    error: str
    position: int | UnsetType | None = UNSET
    fields: dict[str, str] | UnsetType = UNSET
    missing: list[str] | UnsetType = UNSET


Whole = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
#: How many of something: above 0.
Count = Annotated[int, Meta(ge=1, le=LARGEST)]
RecordSets = Annotated[
    str, Meta(description="a record set", examples=["hmi.v_45s[2014.01.01_TAI/1h]"])
]
SeriesName = Annotated[str, Meta(description="a series", examples=["hmi.v_45s"])]
Names = Annotated[str, Meta(description="names, with commas", examples=["T_REC,CRLT_OBS"])]
Moment = Annotated[
    str,
    Meta(description="a date, or so long ago", examples=["2026-11-01", "2026.11.01_12:00:00_UTC", "7d"]),
]
#: A time of an answer.
Stamp = Annotated[str, Meta(description="a time in UTC", examples=["2026-11-22T10:00:00Z"])]

Q = TypeVar("Q", bound=Asked)
A_co = TypeVar("A_co", covariant=True)


class Endpoint(msgspec.Struct, Generic[Q, A_co], frozen=True, kw_only=True):
    """A path: ``text`` says what it does, ``asked`` what it takes, ``answer`` is the type of its JSON answer.

    What it takes is in the query for GET, else in a JSON object, unless ``taken`` is another kind of body, which comes
    with a query. ``beside``: parameters of the query beside a JSON object. An answer that is not JSON is one of
    ``media``. ``lines``: a long task that reports progress in lines of JSON (NDJSON), with ``answer`` in the last.
    ``failing``: another code with the same answer. ``pattern``: the router's form of the path, if a part of it has more
    than a word.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    role: RoleName
    text: str
    asked: type[Q]
    answer: type[A_co]
    status: int = 200
    taken: str = JSON
    beside: type[Asked] = Nothing
    media: tuple[str, ...] = (JSON,)
    lines: bool = False
    failing: int | None = None
    pattern: str = ""

    @property
    def by_query(self) -> bool:
        """True if what is asked is in the query."""
        return self.method == "GET" or self.taken != JSON

    @property
    def names(self) -> tuple[str, ...]:
        """The parts of the path to fill in."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


def encoded(value: object) -> bytes:
    """A value as JSON."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # text from JSOC or a request that is not Unicode
        import json  # noqa: PLC0415  (rarely needed)

        return json.dumps(msgspec.to_builtins(value)).encode()


def plain(value: object) -> Any:
    """A value as plain dicts, lists, texts and numbers."""
    return msgspec.to_builtins(value)
