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

_LETTER = r"A-Za-z_\x80-\U0010ffff"
_BLANK = re.compile(r"\s+")
_WORD = re.compile(rf"[{_LETTER}][{_LETTER}0-9$]*")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_TEXT = re.compile(r"'(?:[^']|'')*(?:'|\Z)")
_ESCAPED = re.compile(r"[eE]'(?:[^'\\]|''|\\.)*(?:'|\\?\Z)", re.DOTALL)
_NAME = re.compile(r'"(?:[^"]|"")*(?:"|\Z)')
_DOLLARS = re.compile(rf"\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$")
_PARAMETER = re.compile(rf"\$(?:[0-9]+|[{_LETTER}][{_LETTER}0-9]*)|\?[0-9]*")
_LINE = re.compile(r"--[^\n\r]*")
_MARK = re.compile(r"/\*|\*/")
#: Two marks that name an argument, beside =.
_OPERATOR = re.compile(r":=|=>|.", re.DOTALL)


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
        if (end := _passed_over(sql, at)) > at:
            at = end
            continue
        token = _token(sql, at)
        yield token
        at = token.end


def _passed_over(sql: str, at: int) -> int:
    """Where blanks or a comment at ``at`` end; ``at`` itself if there are none."""
    if found := _BLANK.match(sql, at) or _LINE.match(sql, at):
        return found.end()
    if not sql.startswith("/*", at):
        return at
    depth = 0
    for mark in _MARK.finditer(sql, at):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)


_KINDS = (
    (_ESCAPED, Kind.ESCAPED),
    (_WORD, Kind.WORD),
    (_TEXT, Kind.TEXT),
    (_NAME, Kind.NAME),
    (_NUMBER, Kind.NUMBER),
    (_PARAMETER, Kind.PARAMETER),
    (_OPERATOR, Kind.OPERATOR),
)


def _token(sql: str, at: int) -> Token:
    if opened := _DOLLARS.match(sql, at):
        end = sql.find(opened[0], opened.end())
        return Token(Kind.TEXT, sql[at : len(sql) if end < 0 else end + len(opened[0])], at)
    for pattern, kind in _KINDS:
        if found := pattern.match(sql, at):
            return Token(kind, found[0], at)
    raise AssertionError("every character is an operator if nothing else")


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
