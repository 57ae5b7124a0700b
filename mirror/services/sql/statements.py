"""Which statements may run: one at a time, and only those that read; and the words of an SQL text. Pure, but for a parser.

DuckDB itself classifies statements. It says SELECT for a query with DELETE in it, and MULTI for a PIVOT and for a COPY
with a PIVOT in it. So this is one check of several: a statement runs in a read-only transaction, which refuses what a
SELECT hides; MULTI is run only if it may stand where only a query can; table functions are called only if they are
known to read; and the process cannot write files (see ``confinement``).

Words are read as DuckDB does: texts with doubled quotes, E-texts with backslashes, texts between ``$tag$``, names in
double quotes, comments to the end of the line, and nested ones. An unclosed one extends to the end; DuckDB then
reports it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice, pairwise
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from mirror.errors import BadRequest, Refused, SyntaxProblem
from mirror.services.sql.messages import Missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


#: Every blank of Unicode: DuckDB accepts all of them as blanks.
_BLANKS = r"\s\u180e\u200b-\u200f\u2060\ufeff"
_LETTER = rf"(?:(?![{_BLANKS}])[A-Za-z_\x80-\U0010ffff])"
_NEXT = rf"(?:(?![{_BLANKS}])[A-Za-z_0-9\x80-\U0010ffff])"
#: Each pattern begins where the previous one ended, and none reads a character twice: time is linear in the text.
_TOKEN = re.compile(
    rf"""
      (?P<BLANK> [{_BLANKS}]+ | --[^\n\r]* )
    | (?P<COMMENT> /\* )
    | (?P<DOLLARS> \$ (?:{_LETTER}{_NEXT}*)? \$ )
    | (?P<ESCAPED> [eE]' (?:[^'\\]|''|\\.)* (?:'|\\?\Z) )
    | (?P<WORD> {_LETTER} (?:{_NEXT}|\$)* )
    | (?P<TEXT> ' (?:[^']|'')* (?:'|\Z) )
    | (?P<NAME> " (?:[^"]|"")* (?:"|\Z) )
    | (?P<NUMBER> [0-9]+(?:\.[0-9]*)? | \.[0-9]+ )
    | (?P<PARAMETER> \$ (?:[0-9]+|{_LETTER}{_NEXT}*) | \?[0-9]* )
    | (?P<OPERATOR> := | => | . )  # the first two name an argument, as = does
    """,
    re.DOTALL | re.VERBOSE,
)
_MARK = re.compile(r"/\*|\*/")


class Kind(Enum):
    """What a word is."""

    WORD = auto()  #: a keyword or a bare name
    NAME = auto()  #: a quoted name
    TEXT = auto()  #: '...' or $$...$$, whose characters stand for themselves
    ESCAPED = auto()  #: E'...'
    NUMBER = auto()
    PARAMETER = auto()  #: ?, $1 or $name
    OPERATOR = auto()  #: anything else, a character at a time


class Token(NamedTuple):
    """A word: ``text`` is what stands from ``start`` to before ``end``."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokens(sql: str) -> Iterator[Token]:
    """The words of a statement in order, without blanks and comments."""
    at = 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        assert found is not None, "every character is an operator if nothing else"
        kind, text = found.lastgroup, found[0]
        if kind == "COMMENT":
            at = _after_comment(sql, at)
            continue
        if kind == "DOLLARS":
            end = sql.find(text, found.end())
            text = sql[at : len(sql) if end < 0 else end + len(text)]
            kind = "TEXT"
        if kind != "BLANK":
            yield Token(Kind[str(kind)], text, at)
        at += len(text)


def split_statements(sql: str) -> list[str]:
    """The statements of a text, separated by semicolons outside quotes and comments."""
    found, start, empty = [], 0, True
    for token in tokens(sql):
        if token.text != ";" or token.kind is not Kind.OPERATOR:
            empty = False
            continue
        if not empty:
            found.append(sql[start : token.start].strip())
        start, empty = token.end, True
    return found if empty else [*found, sql[start:].strip()]


def _after_comment(sql: str, at: int) -> int:
    """Where a comment that begins at ``at`` ends, including nested ones."""
    depth = 0
    for mark in _MARK.finditer(sql, at):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)


def value(token: Token) -> tuple[str, list[int]]:
    """The content of a TEXT, and for each of its characters, and its end, the place in the statement."""
    text = token.text
    if text.startswith("$"):
        width = text.index("$", 1) + 1
        inside = text[width : max(width, len(text) - width)]
        return inside, [token.start + width + i for i in range(len(inside) + 1)]
    pieces = re.findall(r"''|[^']", text[1:-1])
    places = [token.start + 1]
    for piece in pieces:
        places.append(places[-1] + len(piece))
    return "".join(piece[0] for piece in pieces), places


def name(token: Token) -> str:
    """The name of a WORD or a NAME, in lower case, as DuckDB compares them."""
    text = token.text
    return (text[1:-1].replace('""', '"') if token.kind is Kind.NAME else text).lower()


#: Words that may follow EXPLAIN in parentheses, other than a query.
_EXPLAIN_OPTIONS = frozenset({"format", "analyze"})
#: The table functions that read, and change nothing. DuckDB gets new ones with every version.
_READING = re.compile(
    r"range|generate_series|unnest|repeat|repeat_row|query|query_table|glob|sniff_csv|summary|histogram\w*|which_secret|"
    r"read_\w+|parquet_\w+|json_\w+|duckdb_\w+|pragma_\w+|test_\w+|icu_calendar_names|pg_timezone_names"
)
#: Scalar functions that write what others may read.
_WRITING = frozenset({"write_log", "setval"})
#: Functions that run a text composed by the statement: all other functions appear in the statement itself.
_INDIRECT = re.compile(r"query|json_execute", re.IGNORECASE)
#: Words of which every statement that lists tables or columns, or asks for their comments, has one.
_LISTS = re.compile(r"duckdb_|information_schema|pg_|sqlite_|show|pragma_", re.IGNORECASE)
_NO_TABLE = re.compile(r"Catalog Error: Table with name (\w+) does not exist!")
_WORDS = re.compile(r"\w+")
_OURS = "Python exception occurred while executing the UDF: "
#: The most characters of DuckDB's errors that are passed on: it repeats texts of any length.
_LONGEST = 2_000
EXPECTED = "one SELECT, WITH, VALUES, FROM, PIVOT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"


@dataclass(frozen=True)
class Forbidden:
    """The functions of this DuckDB that nobody may call, and a pattern that finds their names in a text."""

    names: frozenset[str]
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection) -> Forbidden:
        """All table functions except those known to read; and functions of other kinds that write."""
        sql = "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type = 'table'"
        names = [name for (name,) in connection.execute(sql).fetchall() if not _READING.fullmatch(name)]
        forbidden = frozenset(names) | _WRITING
        return cls(forbidden, re.compile("|".join(map(re.escape, sorted(forbidden))), re.IGNORECASE))

    def check(self, sql: str) -> None:
        """Raise Refused if a statement calls one of them, as far as the statement shows it."""
        found = self.pattern.search(sql)
        if found and is_indirect(sql):  # a name in a text may be a call in what is run
            raise _not_for_users(found[0])
        for word, after in pairwise(tokens(sql) if found else ()):
            if after.text == "(" and word.kind in (Kind.WORD, Kind.NAME) and name(word) in self.names:
                raise _not_for_users(name(word))


def _not_for_users(function: str) -> Refused:
    return Refused(f"{function}() is not allowed: it changes data; expected {EXPECTED}")


def is_indirect(sql: str) -> bool:
    """True if a statement may run another text, whose functions are not visible."""
    return _INDIRECT.search(sql) is not None


def check(parser: duckdb.DuckDBPyConnection, sql: str, forbidden: Forbidden) -> str:
    """What DuckDB says that ``sql`` is. Raises what keeps it from being run: SyntaxProblem with the place, BadRequest, or
    Refused.

    ``parser`` is a connection with ``errors_as_json``; nothing is run on it.
    """
    try:
        kinds = _kinds(parser, sql)
    except duckdb.Error as error:
        raise problem(error, sql) from None
    explained = _after_explain(sql)
    if kinds != ["SELECT"] and not _is_query(parser, sql[explained:]):
        raise _no_query(kinds, explained=explained > 0)
    forbidden.check(sql)
    return kinds[0]


def _no_query(kinds: list[str], *, explained: bool) -> BadRequest:
    if explained:
        return Refused(f"only queries can be explained; expected {EXPECTED}")
    if len(kinds) != 1:
        found = f"{len(kinds)} statements at once" if kinds else "no statement"
        return BadRequest(f"{found}; expected {EXPECTED}")
    what = "a statement that changes data" if kinds == ["MULTI"] else kinds[0]
    return Refused(f"{what} is not allowed: tables are read-only; expected {EXPECTED}")


def check_condition(where: str) -> None:
    """Raise SyntaxProblem unless the parentheses of a condition match, and it is one condition."""
    depth, last = 0, 0
    for token in tokens(where):
        if token.kind is Kind.OPERATOR:
            depth += (token.text == "(") - (token.text == ")")
        if depth < 0 or token.text == ";":
            message = f"{token.text!r} ends the condition before its end"
            raise SyntaxProblem(message, text=where, position=token.start, expected="one condition of SQL")
        last = token.end
    if not last:
        raise BadRequest("the condition is empty; expected one in SQL, such as USFLUX > 5e22")
    if depth:
        raise SyntaxProblem("a '(' is not closed", text=where, position=last, expected="')'")


def _kinds(parser: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """DuckDB's class of each statement; PRAGMA counts as one, which DuckDB 1.5 replaces by the query behind it."""
    kinds = [statement.type.name for statement in parser.extract_statements(sql)]
    first = next((token.text for token in tokens(sql) if token.text != ";"), "")
    return ["PRAGMA", *kinds[1:]] if kinds and first.upper() == "PRAGMA" else kinds


def _is_query(parser: duckdb.DuckDBPyConnection, sql: str) -> bool:
    """True for one SELECT, and for a PIVOT without a list of values, which DuckDB treats as several statements.

    These (MULTI in DuckDB 2, a CREATE and a SELECT in DuckDB 1.5) are a query if they can stand as the source of one:
    neither COPY nor CREATE, INSERT or SET can, nor can two statements in a row.
    """
    try:
        kinds = _kinds(parser, sql)
        if kinds == ["MULTI"] or kinds[-1:] == ["SELECT"] != kinds:
            return _kinds(parser, f"SELECT * FROM (\n{_without_end(sql)}\n)") == kinds
    except duckdb.Error:
        return False
    return kinds == ["SELECT"]


def _without_end(sql: str) -> str:
    """A statement without the semicolons after it."""
    end = 0
    for token in tokens(sql):
        if token.text != ";":
            end = token.end
    return sql[:end]


def _after_explain(sql: str) -> int:
    """Where the explained statement begins; 0 if the statement does not begin with EXPLAIN."""
    words = list(islice(tokens(sql), 4))
    said = [name(w) if w.kind is Kind.WORD else w.text for w in words]
    if said[:1] != ["explain"]:
        return 0
    if said[1:2] == ["analyze"]:
        return words[1].end
    if said[1:2] == ["("] and said[2:3] and said[2] in _EXPLAIN_OPTIONS:
        return next((t.end for t in tokens(sql) if t.text == ")"), len(sql))
    return words[0].end


def lists_tables(sql: str) -> bool:
    """True if a statement may list tables or columns. It decides what is listed, not what is read."""
    return _LISTS.search(sql) is not None


def probed(
    cursor: duckdb.DuckDBPyConnection, sql: str, params: object, error: duckdb.Error
) -> tuple[duckdb.Error, int]:
    """DuckDB's error about a statement that it would not plan, with the offset of its places from those of ``sql``.

    A relation's errors give neither the place nor the missing name; those of a plain EXPLAIN do, and it runs nothing.
    """
    probe = "" if _after_explain(sql) else "EXPLAIN "
    try:
        cursor.execute(probe + sql, params or None)
    except duckdb.Error as again:
        return again, -len(probe)
    return error, 0


def columns_read(
    cursor: duckdb.DuckDBPyConnection, sql: str, params: object, tables: Collection[str]
) -> dict[str, tuple[str, ...]] | None:
    """The columns, in lower case, that a statement's plan reads of ``tables``, by SQL name; None if unknown.

    Tables of which nothing is read have no columns, and may be absent. Some columns that are not read may be included.
    """
    try:
        rows = cursor.execute(f"EXPLAIN (FORMAT json) {sql[_after_explain(sql) :]}", params or None).fetchall()
        plans = [json.loads(text) for _, text in rows]
    except (duckdb.Error, ValueError):
        return None
    names = {name.replace('"', "").lower(): name for name in tables}
    found: dict[str, set[str]] = {}
    nodes = [node for plan in plans for node in plan]
    while nodes:
        node = nodes.pop()
        nodes += node.get("children", ())
        told = node.get("extra_info", {})
        table = str(told.get("Table", "")).replace('"', "").lower()  # memory.unsealed."hmi.v_45s"
        name = names.get(table, names.get(table.partition(".")[2]))
        if name is not None:
            # Projections and filters: a filter is text, with its columns' names among other words.
            words = _WORDS.findall(json.dumps(told, ensure_ascii=False).lower())
            found.setdefault(name, set()).update(words)
    return {name: tuple(sorted(words)) for name, words in found.items()}


def missing(error: duckdb.Error) -> Missing | None:
    """What DuckDB did not find, if it may be supplied."""
    if plain := _NO_TABLE.match(str(error)):  # of a relation; it saves a second pass over the statement
        return Missing(table=plain[1].lower())
    given = _members(str(error))
    if given.get("error_subtype") != "MISSING_ENTRY":
        return None
    kind, found = given.get("type"), str(given.get("name", "")).lower()
    if kind == "Table":
        return Missing(table=found)
    return Missing(slots=True) if kind == "Scalar Function" and found == "slot" else None


def problem(error: duckdb.Error, sql: str, *, offset: int = 0) -> BadRequest:
    """DuckDB's error about a statement as one of ours, with the place if DuckDB gives one.

    Needs ``errors_as_json``. Refused where the worker's limits forbid it.
    """
    if isinstance(error, duckdb.TransactionException):  # of a read-only transaction
        return Refused(
            f"the statement changes data, but tables are read-only; expected {EXPECTED}"
        )
    given = _members(str(error))
    message = str(given.get("exception_message") or str(error).partition(": ")[2]).strip()[:_LONGEST]
    if message.startswith(
        _OURS
    ):  # one of our functions: "SyntaxProblem: what is wrong", and the text with a caret
        message = message.removeprefix(_OURS).partition(": ")[2].splitlines()[0]
    if isinstance(error, duckdb.PermissionException):
        return Refused(message)
    place = given.get("position")
    if isinstance(place, str) and place.isdigit():
        before = sql.encode()[: max(0, int(place) + offset)].decode(errors="ignore")
        return SyntaxProblem(message, text=sql, position=len(before))
    return BadRequest(message)


def _members(text: str) -> dict[str, object]:
    """The JSON in the text of an error: "Binder Error: {...}"."""
    _, _, members = text.partition(": ")
    try:
        given = json.loads(members)
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}
