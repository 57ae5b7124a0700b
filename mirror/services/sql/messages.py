"""What the daemon and a worker say to each other: questions, the tables that are missing, frames of answers.

A question is a statement with the form of its answer and its limits. It goes to the worker as a line of JSON, and so
does each supply of tables. Their binary data follow the line.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from io import FileIO
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, get_args

from mirror.errors import BadRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


# ---- frames --------------------------------------------------------------------------------------
# Pieces of an answer, each preceded by its kind and length.
#
# An answer is HEADER, any number of DATA, then END; or FAILURE in place of what is left. Before it there may be any
# number of MISSING, each of which is answered before anything else is sent.

_HEAD = struct.Struct("<BI")
#: The size of a pipe in bytes, and of a read from it: the most that Linux allows any user.
PIPE = 1 << 20


class Kind(IntEnum):
    """What a frame contains; all but DATA is JSON."""

    READY = 0  #: the worker can be asked: {"confinement"}
    HEADER = 1  #: {"columns": [{"name", "type"}]}
    DATA = 2  #: bytes of the answer in its form
    END = 3  #: {"rows", "bytes", "seconds", "last"}
    FAILURE = 4  #: {"kind", "message", "position", "last"}
    MISSING = 5  #: what a statement needs: a ``Missing``


class Frame(NamedTuple):
    """A piece of an answer."""

    kind: Kind
    payload: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The JSON of a frame that has some."""
        document: dict[str, Any] = json.loads(self.payload)
        return document


def write_frame(out: BinaryIO, kind: Kind, payload: bytes | memoryview) -> None:
    """Write one frame."""
    out.write(_HEAD.pack(kind, len(payload)))
    out.write(payload)


def write_json(out: BinaryIO, kind: Kind, payload: Mapping[str, object]) -> None:
    """Write a frame of JSON at once."""
    write_frame(out, kind, json.dumps(payload).encode())
    out.flush()


class Pipe:
    """The daemon's end of a worker's output: nothing is read before it is needed, or copied afterwards."""

    def __init__(self) -> None:
        reading_end, self.writing_end = os.pipe()
        os.set_blocking(reading_end, False)
        self._file = FileIO(reading_end)
        with suppress(PermissionError):  # this user has too many large pipes already; small ones are only slower
            fcntl.fcntl(reading_end, fcntl.F_SETPIPE_SZ, PIPE)

    def given_away(self) -> None:
        """Close the writing end, which the worker now has, so that its death ends the pipe."""
        os.close(self.writing_end)

    def close(self) -> None:
        """Stop reading."""
        self._file.close()

    async def head(self) -> tuple[Kind, int]:
        """Kind and length of the next frame; EOFError if the worker ended."""
        kind, size = _HEAD.unpack(await self.whole(_HEAD.size))
        return Kind(kind), size

    async def frame(self) -> Frame:
        """The whole next frame."""
        kind, size = await self.head()
        return Frame(kind, await self.whole(size))

    async def whole(self, size: int) -> bytes:
        """Exactly so many bytes; EOFError if there are fewer."""
        pieces = []
        while size:
            pieces.append(await self.some(size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    async def some(self, size: int) -> bytes:
        """The bytes that are available, at most ``size``; EOFError at the end."""
        await asyncio.sleep(0)  # so that a quick worker and a quick reader let other tasks run
        while (piece := self._file.read(min(size, PIPE))) is None:
            await self._readable()
        if not piece:
            raise EOFError
        return piece

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._file, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._file)
