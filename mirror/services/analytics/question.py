"""What a worker is asked: a statement, the views it may see, the form of the answer, and the limits."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from mirror.drms.errors import BadRequest

Form = Literal["arrow", "json", "csv", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
#: Values that a parameter may have; lists of them too.
Value = None | bool | int | float | str
Params = tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """A table that a statement may read: its qualified SQL name, its SELECT, and what is written beside it.

    ``comments`` go to columns, by name. With ``data``, an Arrow IPC stream, the table is what that holds, and
    the SELECT reads it under the name ``given``. A ``macro`` is no table but a function, and ``sql`` what
    follows its name in CREATE MACRO.
    """

    name: str
    sql: str
    comment: str = ""
    comments: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    macro: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement may take: ``seconds`` of work, ``rows`` and ``bytes`` of its answer."""

    seconds: float = 60.0
    rows: int = 50_000_000
    bytes: int = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """One statement with all that is needed to answer it."""

    sql: str
    params: Params = ()
    form: Form = "json"
    views: tuple[View, ...] = ()
    limits: Limits = Limits()

    def to_line(self) -> bytes:
        """One line of JSON."""
        told = asdict(self)
        for view in told["views"]:
            view["data"] = base64.b64encode(view["data"]).decode()
        return json.dumps(told).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Question:
        """The counterpart of ``to_line``."""
        told = json.loads(line)
        views = tuple(View(**{**view, "data": base64.b64decode(view["data"])}) for view in told["views"])
        params = told["params"] if isinstance(told["params"], dict) else tuple(told["params"])
        return cls(told["sql"], params, told["form"], views, Limits(**told["limits"]))


def checked_form(name: str) -> Form:
    """The form of that name; BadRequest if there is none."""
    for form in FORMS:
        if name.lower() == form:
            return form
    raise BadRequest(f"format {name!r} is unknown; expected one of {', '.join(FORMS)}")


def checked_params(given: object) -> Params:
    """Parameters as JSON gave them; BadRequest unless they are a list or an object of plain values."""
    if given is None:
        return ()
    values = list(given.values()) if isinstance(given, dict) else given
    if not isinstance(values, list) or not all(map(_is_value, values)):
        raise BadRequest(
            f"params {json.dumps(given, default=str)[:100]} cannot be; expected a list of values for ?, or an "
            "object of values for $name; values are numbers, texts, true, false, null, or lists of these"
        )
    return dict(given) if isinstance(given, dict) else tuple(values)


def _is_value(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_value, value))
    return value is None or isinstance(value, bool | int | float | str)
