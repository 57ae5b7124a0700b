"""What a worker is asked: a statement, the form of its answer, its limits; and the tables that it finds missing.

A question goes to the worker as a line of JSON, and so does each supply of tables. Their binary data follow the line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

from mirror.errors import BadRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable

Form = Literal["arrow", "json", "csv", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
#: The types of a parameter's value; lists of them are allowed too.
Value = None | bool | int | float | str
Params = tuple[Any, ...] | dict[str, Any]
#: Stand-ins by SQL name, each with the columns that a statement reads of it, in lower case (None: perhaps all).
Rows = tuple[tuple[str, tuple[str, ...] | None], ...]
#: Bytes of a statement with its parameters.
MOST_BYTES = 1 << 20
#: How deeply lists may be nested in a parameter.
DEEPEST = 8


@dataclass(frozen=True, slots=True)
class View:
    """A table that a statement may read: its qualified SQL name, its SELECT, and its comment.

    ``comments`` are those of columns, by name. With ``data``, an Arrow IPC stream, the table is its content, and the
    SELECT reads it under the name ``given``. A ``macro`` is a function rather than a table, and ``sql`` is what
    follows its name in CREATE MACRO. On a ``stand_in`` statements are planned, but never run: the columns that they
    read are requested, and it is replaced.
    """

    name: str
    sql: str
    comment: str = ""
    comments: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    macro: bool = False
    stand_in: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement may take: ``seconds`` of work, ``rows`` and ``bytes`` of its answer."""

    seconds: float = 60.0
    rows: int = 50_000_000
    bytes: int = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """One statement with what is known about it beforehand.

    ``views`` are tables that it may read whatever it names; more are supplied as DuckDB finds them missing, in
    ``schemas``. DuckDB knows all of these from the start, so that it reports a missing table in one way only.
    ``condition`` is where the statement has a condition that somebody else wrote, and that must be one.
    """

    sql: str
    params: Params = ()
    form: Form = "json"
    views: tuple[View, ...] = ()
    limits: Limits = Limits()
    condition: tuple[int, int] | None = None
    schemas: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """A line of JSON, and the data of the views."""
        limits = {"seconds": self.limits.seconds, "rows": self.limits.rows, "bytes": self.limits.bytes}
        return _message(
            self.views,
            {
                "sql": self.sql,
                "params": self.params,
                "form": self.form,
                "limits": limits,
                "condition": self.condition,
                "schemas": self.schemas,
            },
        )

    @classmethod
    def read(cls, stream: BinaryIO) -> Question | None:
        """The inverse of ``to_bytes``; None at the end of the stream."""
        if not (line := stream.readline()):
            return None
        given = json.loads(line)
        params = given["params"] if isinstance(given["params"], dict) else tuple(given["params"])
        condition = given["condition"] and (given["condition"][0], given["condition"][1])
        views = _read_views(given["views"], stream)
        limits = Limits(**given["limits"])
        return cls(given["sql"], params, given["form"], views, limits, condition, tuple(given["schemas"]))


@dataclass(frozen=True, slots=True)
class Missing:
    """What a statement needs and a worker does not have.

    ``table`` is a name without its schema, as DuckDB found it in the statement. ``calls`` are the record sets of
    jsoc(), in order, each with its ``fill``. ``slots`` is the function slot(). ``listing`` is what lists of tables
    show: every table, without its rows. ``rows`` are those of stand-ins.
    """

    table: str = ""
    calls: tuple[tuple[str, bool | None], ...] = ()
    slots: bool = False
    listing: bool = False
    rows: Rows = ()

    def to_json(self) -> dict[str, object]:
        """For a frame."""
        return {
            "table": self.table, "calls": self.calls, "slots": self.slots, "listing": self.listing, "rows": self.rows,
        }  # fmt: skip

    @classmethod
    def of(cls, given: dict[str, Any]) -> Missing:
        """The inverse of ``to_json``."""
        calls = tuple((recordset, fill) for recordset, fill in given["calls"])
        rows = tuple((name, None if columns is None else tuple(columns)) for name, columns in given["rows"])
        return cls(given["table"], calls, given["slots"], given["listing"], rows)


@dataclass(frozen=True, slots=True)
class Supply:
    """The missing tables, or ``given_up``: the statement must not be run.

    With ``problem`` the cause is that call, at that place of its record set; the worker must say where in the
    statement.
    """

    views: tuple[View, ...] = ()
    given_up: bool = False
    problem: tuple[int, int] | None = None

    def to_bytes(self) -> bytes:
        """A line of JSON, and the data of the views."""
        return _message(self.views, {"given_up": self.given_up, "problem": self.problem})

    @classmethod
    def read(cls, stream: BinaryIO) -> Supply:
        """The inverse of ``to_bytes``. EOFError at the end of the stream."""
        if not (line := stream.readline()):
            raise EOFError
        given = json.loads(line)
        problem = given["problem"] and (given["problem"][0], given["problem"][1])
        return cls(_read_views(given["views"], stream), given["given_up"], problem)


def _message(views: Iterable[View], members: dict[str, object]) -> bytes:
    tables, pieces = [], []
    for view in views:
        pieces.append(view.data)
        tables.append([view.name, view.sql, view.comment, view.comments, len(view.data), view.macro, view.stand_in])
    return b"".join([json.dumps({**members, "views": tables}).encode(), b"\n", *pieces])


def _read_views(given: list[list[Any]], stream: BinaryIO) -> tuple[View, ...]:
    return tuple(
        View(name, sql, comment, comments, stream.read(size), macro, stand_in)
        for name, sql, comment, comments, size, macro, stand_in in given
    )


def checked_form(name: str) -> Form:
    """The form of that name; BadRequest if there is none."""
    for form in FORMS:
        if name.lower() == form:
            return form
    raise BadRequest(f"format {name[:50]!r} is unknown; expected one of {', '.join(FORMS)}")


def checked_sql(sql: str, what: str = "statement") -> str:
    """SQL from a client: TooLarge or BadRequest unless it is a text that a worker accepts."""
    if len(sql) > MOST_BYTES:  # the quick check first: a character has at least one byte
        raise _too_long(what, len(sql))
    try:
        size = len(sql.encode())
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"character {error.start} of the {what} is half of a pair (U+{ord(sql[error.start]):04X}); "
            "expected a text of whole characters"
        ) from None
    if size > MOST_BYTES:
        raise _too_long(what, size)
    return sql


def _too_long(what: str, size: int) -> TooLarge:
    return TooLarge(
        f"the {what} has {size:,} bytes; expected at most {MOST_BYTES:,}: "
        "a table of the mirror or a list as a parameter in the place of long lists of values"
    )


def checked_params(given: object) -> Params:
    """Parameters from JSON; BadRequest unless they are a list or an object of plain values."""
    if given is None:
        return ()
    values = list(given.values()) if isinstance(given, dict) else given
    if not isinstance(values, list) or not all(_is_value(value, DEEPEST) for value in values):
        raise BadRequest(
            f"params {_beginning(given)} cannot be; expected a list of values for ?, or an "
            "object of values for $name; values are numbers, texts, true, false, null, or lists of these, "
            f"which lie at most {DEEPEST} deep in each other"
        )
    return dict(given) if isinstance(given, dict) else tuple(values)


def _beginning(given: object) -> str:
    try:
        return json.dumps(given, default=str)[:100]
    except RecursionError:
        return "of so many lists in lists"


def _is_value(value: object, depth: int) -> bool:
    if isinstance(value, list):
        return depth > 0 and all(_is_value(v, depth - 1) for v in value)
    return value is None or isinstance(value, bool | int | float | str)
