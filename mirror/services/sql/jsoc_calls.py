"""``jsoc('hmi.v_45s[2014.01.01/1d]')`` in a statement: finding the calls, and replacing them by tables. Pure.

DuckDB has no such function. Each call is replaced by the name of a table that is made for it; places in DuckDB's errors
are translated back to the statement as it was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import SyntaxProblem
from mirror.services.sql.statements import Kind, name, tokens, value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.services.sql.statements import Token

FUNCTION = "jsoc"
EXPECTED = "jsoc('hmi.v_45s[2014.01.01/1d]'), or jsoc('...', fill := true)"
#: Calls in one statement: each is a search.
MOST_CALLS = 20
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its record set, whether it says ``fill``, and where it is.

    ``places`` are those of the characters of the record set, and of its end, in the statement.
    """

    recordset: str
    fill: bool | None
    start: int
    end: int
    places: tuple[int, ...]

    def place(self, position: int) -> int:
        """The place of a character of the record set in the statement."""
        return self.places[max(0, min(position, len(self.places) - 1))]


def find_calls(sql: str) -> tuple[Call, ...]:
    """The calls in a statement, in order.

    SyntaxProblem for a call with anything but a text, or for more than MOST_CALLS.
    """
    words = list(tokens(sql))
    calls = tuple(_call(sql, words, at) for at in range(len(words)) if _begins(words, at))
    if len(calls) > MOST_CALLS:
        raise SyntaxProblem(
            f"{len(calls)} calls of {FUNCTION}()",
            text=sql,
            position=calls[MOST_CALLS].start,
            expected=f"at most {MOST_CALLS}",
        )
    return calls


def _begins(words: Sequence[Token], at: int) -> bool:
    """True if a call begins here: the name, a parenthesis, and a value. ``WITH jsoc (a) AS`` is not one."""
    if words[at].kind not in (Kind.WORD, Kind.NAME) or name(words[at]) != FUNCTION:
        return False
    if at and words[at - 1].text == ".":
        return False
    return (
        len(words) > at + 2
        and words[at + 1].text == "("
        and (words[at + 2].kind in (Kind.TEXT, Kind.ESCAPED, Kind.PARAMETER, Kind.NUMBER) or words[at + 2].text == ")")
    )


def _call(sql: str, words: Sequence[Token], at: int) -> Call:
    """``call = "jsoc" "(" text [ "," "fill" ( ":=" | "=>" | "=" ) ( "true" | "false" ) ] ")"``."""
    given, after = words[at + 2], list(words[at + 3 : at + 8])
    if given.kind is not Kind.TEXT:
        raise SyntaxProblem(
            f"{FUNCTION}() of {'nothing' if given.text == ')' else given.text}", text=sql, position=given.start, expected=EXPECTED
        )
    said = [name(w) for w in after]
    if said[:1] == [")"]:
        fill, last = None, after[0]
    elif len(said) == 5 and said[:2] == [",", "fill"] and said[2] in (":=", "=>", "=") and said[3] in _TRUTH and said[4] == ")":  # fmt: skip  # noqa: PLR2004, RUF100
        fill, last = _TRUTH[said[3]], after[4]
    else:
        position = after[0].start if after else len(sql)
        message = f"{FUNCTION}() goes on in a way that is not known"
        raise SyntaxProblem(message, text=sql, position=position, expected=EXPECTED)
    recordset, places = value(given)
    return Call(recordset, fill, words[at].start, last.end, tuple(places))


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A statement with its calls replaced by other texts."""

    sql: str
    original: str
    calls: tuple[Call, ...]
    texts: tuple[str, ...]

    def place(self, position: int) -> int:
        """The place of a character of ``sql`` in the original; for one of a replaced call, the start of the call."""
        shift = 0
        for call, text in zip(self.calls, self.texts, strict=True):
            start = call.start + shift
            if position < start:
                break
            if position < start + len(text):
                return call.start
            shift += len(text) - (call.end - call.start)
        return position - shift

    def problem(self, problem: SyntaxProblem) -> SyntaxProblem:
        """A problem with ``sql`` as a problem with the original."""
        message, expected = problem.message, problem.expected
        for call, text in zip(self.calls, self.texts, strict=True):
            for written in (text, text.replace('"', "")):
                message = message.replace(written, f"{FUNCTION}('{call.recordset}')")
            if text.partition(".")[0] in message:  # DuckDB took it for a column of a table of that name
                message, expected = f"{FUNCTION}() is a table", "it after FROM or JOIN"
        return SyntaxProblem(
            message, text=self.original, position=self.place(problem.position), expected=expected
        )


def rewritten(sql: str, calls: tuple[Call, ...], texts: tuple[str, ...]) -> Rewritten:
    """The statement with its calls replaced by ``texts``."""
    pieces, at = [], 0
    for call, text in zip(calls, texts, strict=True):
        pieces += [sql[at : call.start], text]
        at = call.end
    return Rewritten("".join([*pieces, sql[at:]]), sql, calls, texts)
