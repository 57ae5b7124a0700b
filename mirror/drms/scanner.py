"""A cursor over a text that reads numbers, durations and quoted strings as the C library does.

Rule for editors: every method reads a prefix at the cursor, as ``strtod``, ``strtoll`` and the server's own
string reader do, and moves past it; a text that does not fit raises ``SyntaxProblem`` at its place.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from mirror.errors import SyntaxProblem

SPACES = " \t\n\v\f\r"  #: what isspace() accepts
SECONDS_PER_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: The word that stands for the missing value of any type.
MISSING_WORD = "DRMS_MISSING_VALUE"

_FLOAT = re.compile(
    r"[ \t\n\v\f\r]*(?P<number>[+-]?(?:0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?"
    r"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan))",
    re.IGNORECASE,
)
_DECIMAL = re.compile(r"[ \t\n\v\f\r]*(?P<number>[+-]?[0-9]+)")
_HEXADECIMAL = re.compile(r"[ \t\n\v\f\r]*(?P<number>[+-]?0[xX][0-9a-fA-F]+)")
_OCTAL = re.compile(r"[ \t\n\v\f\r]*(?P<number>[+-]?0[0-7]*)(?![1-7])")
_BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
_MAX_DIGITS = 100  # enough to be out of range; Python refuses to read thousands
_ESCAPES = {"t": "\t", "n": "\n"}


def single(value: float) -> float:
    """``value`` rounded to what a C float holds."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


@dataclass(slots=True)
class Scanner:
    """A cursor in ``text``; ``whole`` and ``offset`` say where the text is, for carets."""

    text: str
    whole: str | None = None
    offset: int = 0
    position: int = 0

    def peek(self) -> str:
        """The character at the cursor, or "" at the end."""
        return self.text[self.position : self.position + 1]

    def ahead(self, length: int) -> str:
        """Up to ``length`` characters from the cursor on."""
        return self.text[self.position : self.position + length]

    def accept(self, character: str) -> bool:
        """Step over ``character`` if it is next."""
        found = self.peek() == character
        self.position += found
        return found

    def skip(self, characters: str = SPACES) -> None:
        """Step over any of ``characters``."""
        self.position = _end(_any_of(characters), self.text, self.position)

    def fail(self, expected: str, message: str | None = None, *, at: int | None = None) -> NoReturn:
        """Raise ``SyntaxProblem`` at the cursor, or at ``at``, in the whole text."""
        place = self.position if at is None else at
        found = self.text[place : place + 20]
        said = message or (f"unexpected {found!r}" if found else "unexpected end")
        text = self.text if self.whole is None else self.whole
        raise SyntaxProblem(said, text=text, position=self.offset + place, expected=expected)

    def expect(self, character: str, expected: str) -> None:
        """Step over ``character``, or fail."""
        if not self.accept(character):
            self.fail(expected)

    def missing_word(self) -> bool:
        """Step over ``DRMS_MISSING_VALUE``, in any case, if it is next."""
        end = self.position + len(MISSING_WORD)
        found = self.text[self.position : end].upper() == MISSING_WORD
        self.position = end if found else self.position
        return found

    # ---- numbers ------------------------------------------------------------------------------

    def float_(self, expected: str) -> float:
        """A number as ``strtod`` reads it: blanks before it, hexadecimal, inf and nan included."""
        found = _FLOAT.match(self.text, self.position)
        if found is None:
            self.fail(expected)
        value = _float_of(found["number"])
        if math.isinf(value) and "inf" not in found["number"].lower():
            self.fail("a number that a double can hold", f"{found['number'][:20]} is out of range")
        self.position = found.end()
        return value

    def decimal(self, expected: str) -> int:
        """A decimal integer of 64 bits, as ``strtoll`` reads it with base 10."""
        found = _DECIMAL.match(self.text, self.position)
        if found is None:
            self.fail(expected)
        value = int(found["number"][:_MAX_DIGITS])
        if not -(1 << 63) <= value < 1 << 63:
            self.fail(expected, f"{found['number'][:30]} is out of range")
        self.position = found.end()
        return value

    def integer(self, type_: str, expected: str) -> int:
        """An integer of the DRMS type, as the server reads it: decimal, or hexadecimal of the type's width.

        A longlong may also be octal, with a leading zero. Out of range fails, as it does there.
        """
        bits = _BITS[type_]
        found = _HEXADECIMAL.match(self.text, self.position)
        base = 16
        if found is None and type_ == "longlong":
            found, base = _OCTAL.match(self.text, self.position), 8
        if found is None:
            found, base = _DECIMAL.match(self.text, self.position), 10
        if found is None:
            self.fail(expected)
        value = int(found["number"][:_MAX_DIGITS], base)
        if base == 16 and bits < 64 and 0 <= value < 1 << bits:
            value -= (value >> (bits - 1)) << bits
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            self.fail(expected, f"{found['number'][:30]} does not fit the type {type_}")
        self.position = found.end()
        return value

    # ---- durations ----------------------------------------------------------------------------

    def at_duration(self) -> bool:
        """True if a number and one of the units s, m, h, d, u come next."""
        found = _FLOAT.match(self.text, self.position)
        return found is not None and self.text[found.end() : found.end() + 1] in (*SECONDS_PER_UNIT, "u")

    def duration(self, slot: float) -> float:
        """``90s``, ``1.5h``: seconds; ``3u`` is that many times ``slot``."""
        expected = "a duration such as 45s, 10m, 1.5h, 2d or 3u"
        start = self.position
        value = self.float_(expected)
        unit = self.peek()
        if not unit or unit not in (*SECONDS_PER_UNIT, "u"):
            what = f"has the unknown unit {unit!r}" if unit.isalpha() else "has no unit"
            self.fail(expected, f"{self.text[start : self.position + unit.isalpha()]!r} {what}", at=start)
        self.position += 1
        return value * (slot if unit == "u" else SECONDS_PER_UNIT[unit])

    # ---- strings ------------------------------------------------------------------------------

    def quoted(self) -> str:
        """The text between the quote at the cursor and the next like it; a backslash escapes."""
        start, quote = self.position, self.peek()
        self.position += 1
        parts: list[str] = []
        while not self.accept(quote):
            character = self.peek()
            if character == "\\":
                self.position += 1
                character = _ESCAPES.get(self.peek(), self.peek())
            if not self.peek():
                self.fail(f"a closing {quote}", "a quote that is not closed", at=start)
            parts.append(character)
            self.position += 1
        return "".join(parts)

    def string(self, delimiters: str) -> str:
        """A string, without blanks before it: quoted, or up to a blank or one of ``delimiters``."""
        self.skip(" \t")
        if self.peek() in ("'", '"'):
            return self.quoted()
        start = self.position
        self.position = _end(_none_of(" " + delimiters), self.text, start)
        return self.text[start : self.position]


@cache
def _any_of(characters: str) -> re.Pattern[str]:
    return re.compile(f"[{re.escape(characters)}]*")


@cache
def _none_of(characters: str) -> re.Pattern[str]:
    return re.compile(f"[^{re.escape(characters)}]*")


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where the match ends, which may be empty."""
    found = pattern.match(text, start)
    return found.end() if found else start


def _float_of(text: str) -> float:
    if "x" not in text.lower():
        return float(text)
    try:
        return float.fromhex(text)
    except OverflowError:
        return math.inf
