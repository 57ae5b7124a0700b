"""Cutting a where clause into tokens, as PostgreSQL does after DRMS has made its replacements.

DRMS turns every ``"`` into ``'`` and ``$(time)`` into seconds before PostgreSQL sees the clause.
Operators are cut greedily, so ``a &-1`` holds an unknown operator ``&-``, as in PostgreSQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, NoReturn

from mirror.drms.times import scan_time
from mirror.errors import SyntaxProblem

_BLANK = re.compile(r"[ \t\n\r\f\v]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(r"(?:'[^']*')+")
_TIME = re.compile(r"\$\(([^)]*)\)")
_OPERATOR = re.compile(r"[-+*/<>=~!@#%^&|`?]+")
_KEEPS_SIGN = re.compile(r"[~!@#%^&|`?]")  # an operator with one of these may end in + or -
_SINGLE = "(),"
LONGEST_CLAUSE = 65536  # several times what the server itself can take
_LONGEST_NUMBER = 400  # digits, and tens of an exponent: far beyond any double

KNOWN_OPERATORS = frozenset(
    {"=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "&", "|", "#", "~", "<<", ">>"}
)
_FORBIDDEN = (
    ("--", "comments are not accepted in a condition"),
    ("/*", "comments are not accepted in a condition"),
    (";", "several statements are not accepted in a condition"),
    ("::", "casts are not accepted in a condition"),
    (".", "names with a schema or a table are not accepted in a condition"),
    ("$(", "the time after '$(' is not closed"),
    ("'", "the quoted text is not closed"),
)


class Token(NamedTuple):
    """``kind`` is name, number, string, mark or end; ``word`` says what a grammar rule may ask for.

    ``text`` is a name in lower case, an operator, one of ``( ) ,``, or what stands between quotes;
    ``word`` is the same for names and marks, and "" for all else.
    """

    kind: str
    text: str
    position: int
    word: str = ""
    value: int | Decimal = 0


def mark(text: str, position: int) -> Token:
    """The token of an operator, a comma or a parenthesis."""
    return Token("mark", text, position, text)


@dataclass(frozen=True, slots=True)
class Source:
    """The clause, and where it stands in the query that an error has to show."""

    text: str
    query: str
    offset: int

    def fail(self, message: str, position: int, expected: str = "") -> NoReturn:
        """Raise the ``SyntaxProblem`` for a position in the query."""
        raise SyntaxProblem(message, text=self.query, position=position, expected=expected)

    def tokens(self) -> list[Token]:
        """All tokens of the clause, and an end token behind them."""
        if len(self.text) > LONGEST_CLAUSE:
            self.fail(f"a condition is not longer than {LONGEST_CLAUSE} characters", self.offset)
        text = self.text.replace('"', "'")
        tokens: list[Token] = []
        place = _skip_blank(text, 0)
        while place < len(text):
            token, place = self._next(text, place)
            tokens.append(token)
            place = _skip_blank(text, place)
        return [*tokens, Token("end", "", self.offset + place)]

    def _next(self, text: str, place: int) -> tuple[Token, int]:
        position = self.offset + place
        if match := _NAME.match(text, place):
            return Token("name", match[0].lower(), position, match[0].lower()), match.end()
        if match := _NUMBER.match(text, place):
            return self._number(text, match, position), match.end()
        if match := _STRING.match(text, place):
            return Token("string", match[0][1:-1].replace("''", "'"), position), match.end()
        if match := _TIME.match(text, place):
            return self._time(match, position), match.end()
        if text[place] in _SINGLE:
            return mark(text[place], position), place + 1
        return self._operator(text, place, position)

    def _number(self, text: str, match: re.Match[str], position: int) -> Token:
        digits = match[0]
        if _NAME.match(text, match.end()):
            self.fail(f"trailing junk after the number {digits!r}", position, "an operator or a blank")
        if digits.isdigit() and len(digits) <= _LONGEST_NUMBER:
            return Token("number", digits, position, value=int(digits))
        mantissa, _, exponent = digits.lower().partition("e")
        if len(mantissa) > _LONGEST_NUMBER or len(exponent) > 5 or abs(int(exponent or 0)) > _LONGEST_NUMBER:
            self.fail("the number is out of range", position)
        return Token("number", digits, position, value=Decimal(digits))

    def _time(self, match: re.Match[str], position: int) -> Token:
        """``$(time)``: the seconds with six decimals, as DRMS writes them into the clause."""
        scan = scan_time(match[1])
        if scan is None or scan.consumed < len(match[1].rstrip()):
            self.fail(f"{match[1]!r} is not a time", position + 2, "a time such as 2014.01.01_TAI")
        return Token("number", match[0], position, value=Decimal(f"{scan.seconds:.6f}"))

    def _operator(self, text: str, place: int, position: int) -> tuple[Token, int]:
        for opening, message in _FORBIDDEN:
            if text.startswith(opening, place):
                self.fail(message, position)
        match = _OPERATOR.match(text, place)
        if match is None:
            self.fail(
                f"unexpected character {text[place]!r}", position, "a column, a constant or an operator"
            )
        operator = _cut(match[0])
        name = "<>" if operator == "!=" else operator
        if name not in KNOWN_OPERATORS:
            self.fail(f"operator {operator!r} is not accepted", position, _known())
        return mark(name, position), place + len(operator)


def _cut(run: str) -> str:
    """The operator at the beginning of a run of operator characters, by PostgreSQL's rules."""
    comment = re.search(r"--|/\*", run)
    operator = run[: comment.start()] if comment else run
    while len(operator) > 1 and operator[-1] in "+-" and not _KEEPS_SIGN.search(operator):
        operator = operator[:-1]
    return operator


def _known() -> str:
    return "one of " + " ".join(sorted(KNOWN_OPERATORS)) + ", with a blank before a sign"


def _skip_blank(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    return match.end() if match else place
