"""Splits a condition into tokens, as PostgreSQL does after DRMS has made its two replacements.

DRMS turns every ``"`` into ``'`` and ``$(time)`` into seconds, and puts parentheses around the clause as
text: a superfluous parenthesis closes that one, and a comment without a line end hides it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, NoReturn

from mirror.drms.times import scan_time
from mirror.errors import SyntaxProblem

_BLANK = re.compile(r"(?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])+")
_NAME = re.compile(r"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*")
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_QUOTED = re.compile(r"(?:'[^']*')+")
_ESCAPED = re.compile(r"(?:'(?:[^'\\]|\\.)*')+", re.DOTALL)
_NEXT_PIECE = re.compile(r"[ \t]*[\n\r][ \t\n\r]*(?=')")  #: quoted texts on two lines are one
_DOLLAR = re.compile(r"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$")
_TIME = re.compile(r"\$\(([^)]*)\)")
_OPERATOR = re.compile(r"[-+*/<>=~!@#%^&|`?]+")
_KEEPS_SIGN = re.compile(r"[~!@#%^&|`?]")  #: an operator with one of these may end in + or -
_MARKS = ("::", ":=", "..", "(", ")", ",", "[", "]", ".", ";", ":")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))|''", re.DOTALL
)
#: The most digits of a number, and its largest exponent: more than any type of PostgreSQL can hold.
_LONGEST_NUMBER, _LARGEST_EXPONENT = 2000, 2000


class Token(NamedTuple):
    """``kind`` is name, number, string, bits, mark, operator or end.

    ``text`` is a name in lower case, an operator, a mark, or the text between quotes. ``word`` is the same for names,
    operators and marks, and "" for all others: it is what grammar rules compare.
    """

    kind: str
    text: str
    position: int
    word: str = ""
    value: int | Decimal = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A condition, and its place in the query that errors show."""

    text: str
    query: str
    offset: int

    def fail(self, message: str, position: int, expected: str = "") -> NoReturn:
        """Raise the ``SyntaxProblem`` for a position in the query."""
        raise SyntaxProblem(message, text=self.query, position=position, expected=expected)

    def tokens(self) -> list[Token]:
        """All tokens between the server's parentheses, including these, and an end token."""
        text = self.text.replace('"', "'")
        tokens = [Token("mark", "(", self.offset, "(")]
        place = self._skip(text, 0)
        while place < len(text):
            token, place = self._next(text, place)
            tokens.append(token)
            place = self._skip(text, place)
        end = self.offset + place
        return [*tokens, Token("mark", ")", end, ")"), Token("end", "", end)]

    def _skip(self, text: str, place: int) -> int:
        """Past blanks and comments."""
        while True:
            if match := _BLANK.match(text, place):
                place = match.end()
            elif text.startswith("--", place):
                self.fail("syntax error at end of input", self.offset + place, "no comment before the end")
            elif text.startswith("/*", place):
                place = self._past_comment(text, place)
            else:
                return place

    def _past_comment(self, text: str, start: int) -> int:
        """Comments of this kind may be nested."""
        depth, place = 0, start
        while place < len(text):
            if text.startswith("/*", place):
                depth, place = depth + 1, place + 2
            elif text.startswith("*/", place):
                depth, place = depth - 1, place + 2
                if not depth:
                    return place
            else:
                place += 1
        return self.fail("unterminated /* comment", self.offset + start)

    def _next(self, text: str, place: int) -> tuple[Token, int]:
        position = self.offset + place
        if text[place] in "'$" or text[place : place + 2].lower() in ("e'", "x'", "b'"):
            return self._quoted(text, place, position)
        if match := _NAME.match(text, place):
            name = match[0].lower()
            return Token("name", name, position, name), match.end()
        if (match := _NUMBER.match(text, place)) and not text.startswith("..", place):
            return self._number(text, match, position), match.end()
        for mark in _MARKS:
            if text.startswith(mark, place):
                return Token("mark", mark, position, mark), place + len(mark)
        found = _OPERATOR.match(text, place)
        if found is None:
            self.fail(
                f'syntax error at or near "{text[place]}"', position, "a column, a constant or an operator"
            )
        operator = _cut(found[0])
        name = "<>" if operator == "!=" else operator
        return Token("operator", name, position, name), place + len(operator)

    # ---- constants ------------------------------------------------------------------------------

    def _number(self, text: str, match: re.Match[str], position: int) -> Token:
        digits = match[0]
        if _NAME.match(text, match.end()):
            self.fail(f'trailing junk after numeric literal at or near "{digits}"', position, "a blank")
        mantissa, _, exponent = digits.lower().partition("e")
        if (
            len(mantissa) > _LONGEST_NUMBER
            or len(exponent) > 6
            or abs(int(exponent or 0)) > _LARGEST_EXPONENT
        ):
            self.fail("value overflows numeric format", position)
        return Token("number", digits, position, value=int(digits) if digits.isdigit() else Decimal(digits))

    def _quoted(self, text: str, place: int, position: int) -> tuple[Token, int]:
        if match := _TIME.match(text, place):
            return self._time(match, position), match.end()
        if match := _DOLLAR.match(text, place):
            end = text.find(match[0], match.end())
            if end < 0:
                self.fail("unterminated dollar-quoted string", position)
            return Token("string", text[match.end() : end], position), end + len(match[0])
        if text[place] == "$":
            self.fail('syntax error at or near "$"', position, "a time such as $(2014.01.01_TAI)")
        prefix = "" if text[place] == "'" else text[place].lower()
        pattern = _ESCAPED if prefix == "e" else _QUOTED
        found, end = "", place + len(prefix)
        while match := pattern.match(text, end):
            found, end = found + match[0][1:-1], match.end()
            following = _NEXT_PIECE.match(text, end)
            if following is None:
                break
            end = following.end()
        else:
            self.fail("unterminated quoted string", position)
        if prefix in ("x", "b"):
            return self._bits(prefix, found, position), end
        content = _ESCAPE.sub(_unescaped, found) if prefix == "e" else found.replace("''", "'")
        return Token("string", content, position), end

    def _bits(self, prefix: str, digits: str, position: int) -> Token:
        allowed = "01" if prefix == "b" else "0123456789abcdefABCDEF"
        wrong = next((d for d in digits if d not in allowed), None)
        if wrong is not None:
            self.fail(
                f'"{wrong}" is not a valid {"binary" if prefix == "b" else "hexadecimal"} digit', position
            )
        bits = digits if prefix == "b" else "".join(f"{int(d, 16):04b}" for d in digits)
        return Token("bits", bits, position)

    def _time(self, match: re.Match[str], position: int) -> Token:
        """``$(time)``: the seconds with six decimals, as DRMS writes them into the clause."""
        scan = scan_time(match[1])
        if scan is None or scan.consumed < len(match[1].rstrip()):
            self.fail(f"{match[1]!r} is not a time", position + 2, "a time such as 2014.01.01_TAI")
        return Token("number", match[0], position, value=Decimal(f"{scan.seconds:.6f}"))


def _unescaped(match: re.Match[str]) -> str:
    octal, byte, short, long, other = match.groups()
    if match[0] == "''":
        return "'"
    if octal:
        return chr(int(octal, 8) & 0xFF)
    code = byte or short or long
    return chr(int(code, 16)) if code else _ESCAPES.get(other, other)


def _cut(run: str) -> str:
    """The operator at the beginning of a run of operator characters, by PostgreSQL's rules."""
    comment = re.search(r"--|/\*", run)
    operator = run[: comment.start()] if comment else run
    while len(operator) > 1 and operator[-1] in "+-" and not _KEEPS_SIGN.search(operator):
        operator = operator[:-1]
    return operator
