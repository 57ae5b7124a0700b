"""Which statements may run: one at a time, and only such as read.

DuckDB itself says what a statement is, so that no way of writing one gets past. What a SELECT may reach is
limited by the worker: it sees no file but the lake's, and may write none.
"""

from __future__ import annotations

import json
import re

import duckdb

from mirror.drms.errors import BadRequest, Refused, SyntaxProblem

_EXPLAIN = re.compile(
    r"\s*(?:(?:--[^\n]*\n|/\*.*?\*/)\s*)*explain\b(?:\s+analyze\b)?(?:\s*\([^()]*\))?",
    re.IGNORECASE | re.DOTALL,
)
#: A PIVOT without a list of values is three statements to DuckDB, the last of which is a SELECT.
_READS = frozenset({"SELECT", "EXPLAIN", "MULTI"})
_OURS = "Python exception occurred while executing the UDF: "
EXPECTED = "one SELECT, WITH, VALUES, FROM, PIVOT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"


def check(parser: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise what keeps ``sql`` from being run: SyntaxProblem with the place, BadRequest, or Refused.

    ``parser`` is a connection with ``errors_as_json``; nothing is run on it.
    """
    kinds = _kinds(parser, sql, offset=0, whole=sql)
    if len(kinds) != 1:
        found = f"{len(kinds)} statements at once" if kinds else "no statement"
        raise BadRequest(f"{found}; expected {EXPECTED}")
    if kinds[0] not in _READS:
        raise Refused(f"{kinds[0]} is not for users: a mirror's tables are read only; expected {EXPECTED}")
    explained = _EXPLAIN.match(sql) if kinds[0] == "EXPLAIN" else None
    if kinds[0] == "EXPLAIN":
        # EXPLAIN ANALYZE runs what it explains.
        start = explained.end() if explained else 0
        inner = _kinds(parser, sql[start:], offset=start, whole=sql)
        if inner != ["SELECT"]:
            raise Refused(
                f"only queries can be explained, not {', '.join(inner)}; expected EXPLAIN SELECT ..."
            )


def _kinds(parser: duckdb.DuckDBPyConnection, sql: str, *, offset: int, whole: str) -> list[str]:
    try:
        return [statement.type.name for statement in parser.extract_statements(sql)]
    except duckdb.Error as error:
        raise problem(error, whole, offset=offset) from None


def located(cursor: duckdb.DuckDBPyConnection, sql: str, params: object, error: duckdb.Error) -> BadRequest:
    """What DuckDB says of a statement it would not plan, with the place.

    A relation's errors do not tell the place; those of a plain EXPLAIN do, and it runs nothing.
    """
    probe = "" if _EXPLAIN.match(sql) else "EXPLAIN "
    try:
        cursor.execute(probe + sql, params or None)
    except duckdb.Error as again:
        return problem(again, sql, offset=-len(probe))
    return problem(error, sql)


def problem(error: duckdb.Error, sql: str, *, offset: int = 0) -> BadRequest:
    """What DuckDB says of a statement, as an error of ours, with the place if DuckDB names one.

    Needs ``errors_as_json``. Refused where the worker's limits forbid it.
    """
    told = _told(str(error))
    message = str(told.get("exception_message") or str(error).partition(": ")[2]).strip()
    if message.startswith(
        _OURS
    ):  # a function of ours: "SyntaxProblem: what is wrong", and the text with a caret
        message = message.removeprefix(_OURS).partition(": ")[2].splitlines()[0]
    if isinstance(error, duckdb.PermissionException):
        return Refused(message)
    place = told.get("position")
    if isinstance(place, str) and place.isdigit():
        before = sql.encode()[: max(0, int(place) + offset)].decode(errors="ignore")
        return SyntaxProblem(message, text=sql, position=len(before))
    return BadRequest(message)


def _told(text: str) -> dict[str, object]:
    """The JSON in the text of an error: "Binder Error: {...}"."""
    _, _, members = text.partition(": ")
    try:
        told = json.loads(members)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
