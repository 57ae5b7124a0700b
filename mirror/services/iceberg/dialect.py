"""Statements for a cluster's engine: what is not in the engine's dialect is expanded before it sees them. Pure.

1. A table is named as in ``mirror sql``, ``hmi.v_45s``; the engine has it as a view of the session, ``hmi__v_45s``.
2. ``jsoc_time``, ``jsoc_seconds``, ``slot``, ``quality_bit`` and ``quality_bits`` become the expressions for which
   they stand. So every engine that speaks Spark's dialect has them, whatever functions it lets anybody register.
3. Texts of DRMS times are parsed here, and replaced by constants. So they must be constants in the statement.
4. The expansion depends on whether an argument is a time, a text, or a number. Columns of published tables are known;
   other expressions count as a time if a time column is in them, and as a number otherwise.

Texts are in single or double quotes, names in backquotes, as Spark has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from mirror.drms.calendar import LEAP_CLOCKS, LEAP_TIMES
from mirror.errors import SyntaxProblem
from mirror.services.sql.functions import read_moments, read_times, slot_axes
from mirror.storage.lake.columns import EPOCH, FIRST, LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mirror.drms.series import Series

_TOKEN = re.compile(
    r"""
      (?P<BLANK> \s+ | --[^\n\r]* | /\*.*?(?:\*/|\Z) )
    | (?P<TEXT> '(?:[^'\\]|''|\\.)*(?:'|\Z) | "(?:[^"\\]|""|\\.)*(?:"|\Z) )
    | (?P<NAME> `(?:[^`]|``)*(?:`|\Z) | [^\W\d]\w* )
    | (?P<NUMBER> (?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[A-Za-z]* )
    | (?P<OTHER> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_OPENING, _CLOSING = frozenset("(["), frozenset(")]")
#: Words that make an expression a time whatever else is in it, and functions that turn a time into a number.
_TIMES = frozenset({"timestamp", "timestamp_ntz", "to_timestamp", "to_timestamp_ntz", "date_trunc", "jsoc_time", "make_timestamp"})
_NUMBERS = frozenset({"unix_micros", "unix_millis", "unix_seconds", "jsoc_seconds", "hour", "day", "year", "timestampdiff"})
#: Only in the dialect of ``mirror sql``.
_NOT_HERE = {
    "jsoc": "a table of what the mirror has cached; name the table of the series",
    "jsoc_text": "a text of each row; print times where they are shown",
}
_BITS = {"int": 32, "smallint": 32, "tinyint": 32, "bigint": 64}


class Kind(Enum):
    """What an argument is."""

    TIME = auto()  #: a TIMESTAMP in UTC
    TEXT = auto()  #: a literal text
    COLUMN_OF_TEXT = auto()
    NUMBER = auto()


class Token(NamedTuple):
    """A word of a statement; blanks and comments are words too."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Known:
    """The published tables: the view of each by its name, and the types of columns by their names, all in lower case.

    ``structure`` gives a series by its name, for ``slot``.
    """

    views: Mapping[str, str]
    types: Mapping[str, frozenset[str]]
    structure: Callable[[str], Series]


def view_of(table: str) -> str:
    """The name of a table's view in a session: ``hmi__v_45s`` for ``hmi.v_45s``."""
    return re.sub(r"\W", "__", table.lower())


def written_out(sql: str, known: Known) -> str:
    """A statement as the engine gets it; SyntaxProblem for functions that are not used as they must be."""
    words = [Token(str(found.lastgroup), found[0], found.start()) for found in _TOKEN.finditer(sql)]
    return _Writing(sql, known).of([word for word in words if word.kind != "BLANK"], 0, len(sql))


def tables_of(sql: str, tables: Iterable[str]) -> list[str]:
    """Those tables that a statement may name: only these are given to the engine."""
    names = {_plain(found[0]) for found in _TOKEN.finditer(sql) if found.lastgroup == "NAME"}
    return [table for table in tables if set(table.lower().split(".")) <= names or table.lower() in names]


def headings(sql: str) -> list[str] | None:
    """The text of each column of the answer in a statement; None where that is unknown, as for ``*``."""
    words = [Token(str(found.lastgroup), found[0], found.start()) for found in _TOKEN.finditer(sql)]
    words = [word for word in words if word.kind != "BLANK"]
    depth, begun, items = 0, False, list[list[Token]]()
    for word in words:
        depth += (word.text in _OPENING) - (word.text in _CLOSING)
        at_top, said = depth == 0, _plain(word.text)
        if at_top and said == "select" and not begun:
            begun, items = True, [[]]
        elif at_top and begun and said in ("from", "union", "order", "limit", ";"):
            break
        elif at_top and begun and word.text == ",":
            items.append([])
        elif begun and not (items == [[]] and said == "distinct"):
            items[-1].append(word)
    if not begun or any(not item or item[-1].text == "*" for item in items):
        return None
    return [sql[item[0].start : item[-1].end] for item in items]


class _Writing:
    """One statement that is being expanded."""

    def __init__(self, sql: str, known: Known) -> None:
        self._sql, self._known = sql, known

    def of(self, words: Sequence[Token], start: int, end: int) -> str:
        """The expansion from ``start`` to ``end``, whose words these are."""
        pieces, at, number = [], start, 0
        while number < len(words):
            after, text = self._at(words, number)
            if text is not None:
                pieces += [self._sql[at : words[number].start], text]
                at = words[after - 1].end
            number = after
        return "".join([*pieces, self._sql[at:end]])

    def _at(self, words: Sequence[Token], number: int) -> tuple[int, str | None]:
        """Where to continue after a word, and the text for everything up to there; None: the text is unchanged."""
        word = words[number]
        behind_dot = number > 0 and words[number - 1].text == "."
        if word.kind != "NAME" or behind_dot:
            return number + 1, None
        name = _plain(word.text)
        parts, after = [name], number + 1
        while after + 1 < len(words) and words[after].text == "." and words[after + 1].kind == "NAME":
            parts.append(_plain(words[after + 1].text))
            after += 2
        for count in range(len(parts), 0, -1):
            view = self._known.views.get(".".join(parts[:count]))
            if view is not None:
                return number + 2 * count - 1, view
        if word.text.startswith("`") or number + 1 == len(words) or words[number + 1].text != "(":
            return number + 1, None
        if name in _NOT_HERE:
            raise self._wrong(word, f"{name}() is only in `mirror sql` without --on", _NOT_HERE[name])
        write = _FUNCTIONS.get(name)
        if write is None:
            return number + 1, None
        arguments, after = self._arguments(words, number + 1)
        return after, write(self, word, arguments)

    def _arguments(self, words: Sequence[Token], opening: int) -> tuple[list[Sequence[Token]], int]:
        """The words of each argument, and the number of the word after the parenthesis."""
        found: list[list[Token]] = [[]]
        depth = 0
        for number in range(opening + 1, len(words)):
            word = words[number]
            if depth == 0 and word.text == ")":
                return [some for some in found if some], number + 1
            depth += (word.text in _OPENING) - (word.text in _CLOSING)
            if depth == 0 and word.text == ",":
                found.append([])
            else:
                found[-1].append(word)
        raise self._wrong(words[opening - 1], f"{words[opening - 1].text}( is not closed", "a parenthesis at its end")

    # ---- arguments -------------------------------------------------------------------------------

    def _text(self, words: Sequence[Token]) -> str:
        return f"({self.of(words, words[0].start, words[-1].end)})"

    def _kind(self, words: Sequence[Token]) -> Kind:
        first = words[0]
        if len(words) == 1 and first.kind == "TEXT":
            return Kind.TEXT
        names = [_plain(word.text) for word in words if word.kind == "NAME"]
        if names and names[0] in _NUMBERS:
            return Kind.NUMBER
        types = [self._known.types.get(name, frozenset()) for name in names]
        if any(name in _TIMES for name in names) or any("timestamp" in kind for some in types for kind in some):
            return Kind.TIME
        of_column = all(word.kind == "NAME" or word.text == "." for word in words)
        return Kind.COLUMN_OF_TEXT if of_column and types and types[-1] == {"string"} else Kind.NUMBER

    def _seconds(self, words: Sequence[Token]) -> str:
        """A time as TAI seconds since 1977."""
        kind = self._kind(words)
        if kind is Kind.TIME:
            return _tai(self._text(words))
        if kind is Kind.TEXT:
            return _number(read_times(self._constant(words[0])).to_pylist()[0])
        self._not_of_column(kind, words)
        return f"CAST({self._text(words)} AS DOUBLE)"

    def _constant(self, word: Token) -> pa.Array:
        return pa.array([_said(word.text)], pa.string())

    def _not_of_column(self, kind: Kind, words: Sequence[Token]) -> None:
        if kind is Kind.COLUMN_OF_TEXT:
            raise self._wrong(words[0], "texts of a column are not read as times here", "a constant, a TIMESTAMP, or TAI seconds")

    def _wrong(self, word: Token, message: str, expected: str) -> SyntaxProblem:
        return SyntaxProblem(message, text=self._sql, position=word.start, expected=expected)

    def _count(self, word: Token, arguments: Sequence[object], least: int, most: int) -> None:
        if not least <= len(arguments) <= most:
            wanted = f"{least}" if least == most else f"{least} or {most}"
            raise self._wrong(word, f"{word.text}() with {len(arguments)} arguments", f"{wanted} of them")

    # ---- functions -------------------------------------------------------------------------------

    def jsoc_time(self, word: Token, arguments: Sequence[Sequence[Token]]) -> str:
        """The TIMESTAMP of a text or of TAI seconds; a TIMESTAMP as it is."""
        self._count(word, arguments, 1, 1)
        (given,) = arguments
        kind = self._kind(given)
        if kind is Kind.TEXT:
            moment = read_moments(self._constant(given[0])).to_pylist()[0]
            return "CAST(NULL AS TIMESTAMP_NTZ)" if moment is None else f"TIMESTAMP_NTZ'{moment:%Y-%m-%d %H:%M:%S.%f}'"
        self._not_of_column(kind, given)
        return self._text(given) if kind is Kind.TIME else _utc(f"CAST({self._text(given)} AS DOUBLE)")

    def jsoc_seconds(self, word: Token, arguments: Sequence[Sequence[Token]]) -> str:
        """TAI seconds of a text or of a TIMESTAMP."""
        self._count(word, arguments, 1, 1)
        return self._seconds(arguments[0])

    def slot(self, word: Token, arguments: Sequence[Sequence[Token]]) -> str:
        """The slot of a value on a slotted key of a series, both named by constants."""
        self._count(word, arguments, 2, 3)
        for given in (arguments[0], *arguments[2:]):
            if self._kind(given) is not Kind.TEXT:
                raise self._wrong(given[0], "slot() of a name that is not a constant", "slot('hmi.v_45s', t_rec)")
        series = self._known.structure(_said(arguments[0][0].text))
        key = _said(arguments[2][0].text) if arguments[2:] else ""
        wanted = f"{series.name} {key}".lower()
        axis = next((axis for names, axis in slot_axes(series) if wanted in names), None)
        if axis is None:
            raise self._wrong(arguments[-1][0], f"no slots are known of {wanted.strip()}", "a series with a slotted key, and that key")
        value = self._seconds(arguments[1]) if axis.timed else f"CAST({self._text(arguments[1])} AS DOUBLE)"
        return f"CAST(floor(({value} - {_number(axis.epoch)} + {_number(axis.rounding / 2.0)}) / {_number(axis.step)}) AS BIGINT)"

    def quality_bit(self, word: Token, arguments: Sequence[Sequence[Token]]) -> str:
        """Whether a bit is set, whose number is a constant."""
        self._count(word, arguments, 2, 2)
        quality, number = arguments
        width = self._width(quality)
        if len(number) != 1 or not number[0].text.isdigit() or int(number[0].text) >= width:
            raise self._wrong(number[0], "quality_bit() of another number than a constant", f"0 to {width - 1}")
        return _bit(self._text(quality), int(number[0].text))

    def quality_bits(self, word: Token, arguments: Sequence[Sequence[Token]]) -> str:
        """The numbers of the bits that are set, as an array."""
        self._count(word, arguments, 1, 1)
        quality = self._text(arguments[0])
        bits = ", ".join(f"CASE WHEN {_bit(quality, n)} THEN {n} END" for n in range(self._width(arguments[0])))
        return f"CASE WHEN {quality} IS NOT NULL THEN array_compact(array({bits})) END"

    def _width(self, words: Sequence[Token]) -> int:
        names = [_plain(word.text) for word in words if word.kind == "NAME"]
        kinds = self._known.types.get(names[-1], frozenset()) if names else frozenset()
        return max((_BITS.get(kind, 32) for kind in kinds), default=32)


_FUNCTIONS: dict[str, Callable[[_Writing, Token, list[Sequence[Token]]], str]] = {
    "jsoc_time": _Writing.jsoc_time,
    "jsoc_seconds": _Writing.jsoc_seconds,
    "slot": _Writing.slot,
    "quality_bit": _Writing.quality_bit,
    "quality_bits": _Writing.quality_bits,
}


def _plain(name: str) -> str:
    """A name without its quotes, in lower case."""
    return (name[1:-1].replace("``", "`") if name.startswith("`") else name).lower()


def _said(text: str) -> str:
    """The content of a text literal."""
    quote = text[0]
    return re.sub(r"\\(.)", r"\1", text[1:-1].replace(quote * 2, quote), flags=re.DOTALL)


def _number(value: float | None) -> str:
    return "CAST(NULL AS DOUBLE)" if value is None else f"CAST('{value!r}' AS DOUBLE)"


def _bit(quality: str, number: int) -> str:
    # The highest of 64 bits is the sign.
    mask = f"({1 << number})" if number < 63 else "(-9223372036854775807 - 1)"
    return f"((CAST({quality} AS BIGINT) & CAST({mask} AS BIGINT)) <> 0)"


def _tai(moment: str) -> str:
    """The expression for a TIMESTAMP as TAI seconds since 1977; the session's time zone is UTC."""
    micros = f"unix_micros(CAST(CAST({moment} AS TIMESTAMP_NTZ) AS TIMESTAMP))"
    before = sum(clock < 0 for clock in LEAP_CLOCKS)
    known = reversed([(count, clock) for count, clock in enumerate(LEAP_CLOCKS, 1) if clock >= 0])
    whens = " ".join(f"WHEN {micros} >= {(clock + EPOCH) * 1_000_000:.0f} THEN {count}" for count, clock in known)
    return f"({micros} / CAST(1000000 AS DOUBLE) - {_number(EPOCH)} + CASE {whens} ELSE {before} END)"


def _utc(seconds: str) -> str:
    """The expression for TAI seconds since 1977 as a TIMESTAMP, as ``storage.lake.columns.utc`` has it for DuckDB."""
    since = [t for t in LEAP_TIMES if t >= 0]
    before = len(LEAP_TIMES) - len(since)
    whens = " ".join(f"WHEN {seconds} >= {_number(t - 1)} THEN {before + n}" for n, t in reversed(list(enumerate(since, 1))))
    micros = f"CAST(round(({seconds} + {_number(EPOCH)} - (CASE {whens} ELSE {before} END)) * CAST(1000000 AS DOUBLE)) AS BIGINT)"
    within = f"{seconds} BETWEEN {_number(FIRST)} AND {_number(LAST)}"
    return f"CASE WHEN {within} THEN CAST(timestamp_micros({micros}) AS TIMESTAMP_NTZ) END"
