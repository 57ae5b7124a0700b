"""The words of an SQL text, each with its place: enough to tell code from texts, quoted names and comments. Pure.

Reads as DuckDB does: texts with doubled quotes, E-texts with backslashes, texts between ``$tag$``, names in double
quotes, comments to the end of the line, and nested ones. What is not closed goes on to the end; DuckDB then says
what is wrong with it.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Every blank that Unicode has, as to DuckDB, which takes these too where a blank may stand.
_BLANKS = r"\s\u180e\u200b-\u200f\u2060\ufeff"
_LETTER = rf"(?:(?![{_BLANKS}])[A-Za-z_\x80-\U0010ffff])"
_NEXT = rf"(?:(?![{_BLANKS}])[A-Za-z_0-9\x80-\U0010ffff])"
#: Each pattern begins where the one before it ended, and none looks at a character twice: time is linear in the text.
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


def _after_comment(sql: str, at: int) -> int:
    """Where a comment that begins at ``at`` ends, with those that are nested in it."""
    depth = 0
    for mark in _MARK.finditer(sql, at):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)


def value(token: Token) -> tuple[str, list[int]]:
    """What a TEXT says, and for each of its characters, and its end, where it stands in the statement."""
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
    """The name that a WORD or a NAME stands for, in lower case, as DuckDB compares them."""
    text = token.text
    return (text[1:-1].replace('""', '"') if token.kind is Kind.NAME else text).lower()
