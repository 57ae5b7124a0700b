"""Reads the text inside the brackets of a prime key as terms.

    values = value { "," value } | ranges              ``parser.index_ranges`` reads the ranges (#...)
    value  = "^" | "$" | start [ ( "-" end | "/" length ) [ "@" step ] ]

Rule for editors: the grammar is read here, once, for all keys; ``mirror.drms.keys`` knows how each kind of
key writes its values and what they mean. Blanks matter: only those that the server skips are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mirror.drms.parser import index_ranges
from mirror.drms.recordset import Extreme, RecnumRange, Term, Text
from mirror.drms.scanner import Scanner
from mirror.errors import Refused


@dataclass(frozen=True, slots=True)
class Written:
    """One value as written: alone, up to ``end``, or over ``length``; the ranges perhaps with a step."""

    start: float
    end: float | None = None
    length: float | None = None
    step: float | None = None


class KeyReader(Protocol):
    """How one kind of key writes its values, and what they select."""

    def start(self, scanner: Scanner) -> float:
        """Read the first value of a range, or the only one."""

    def end(self, scanner: Scanner) -> float:
        """Read what follows "-"."""

    def length(self, scanner: Scanner) -> float:
        """Read what follows "/"."""

    def step(self, scanner: Scanner) -> float:
        """Read what follows "@"."""

    def terms(self, values: Sequence[Written | Extreme]) -> Iterator[Term]:
        """The terms of a whole list: one or more."""

    def numbered(self, range_: RecnumRange) -> Term:
        """The term of ``#first-#last@step``."""


def read_terms(scanner: Scanner, reader: KeyReader) -> tuple[Term, ...]:
    """Read the whole text of a bracket that is not empty; never returns an empty tuple."""
    if scanner.peek() == "#":
        terms = tuple(numbered_extreme(r) or reader.numbered(r) for r in index_ranges(scanner))
    else:
        values = [_value(scanner, reader)]
        while scanner.accept(","):
            values.append(_value(scanner, reader))
        terms = tuple(reader.terms(values))
    scanner.skip(" ")
    if scanner.peek():
        scanner.fail("',' and another value, or ']'")
    return terms


def _value(scanner: Scanner, reader: KeyReader) -> Written | Extreme:
    extreme = _extreme(scanner)
    if extreme is not None:
        return extreme
    start = reader.start(scanner)
    if scanner.accept("-"):
        scanner.skip(" ")
        end = reader.end(scanner)
        return Written(start, end=end, step=_step(scanner, reader))
    if scanner.accept("/"):
        scanner.skip(" ")
        length = reader.length(scanner)
        return Written(start, length=length, step=_step(scanner, reader))
    return Written(start)


def _step(scanner: Scanner, reader: KeyReader) -> float | None:
    return reader.step(scanner) if scanner.accept("@") else None


def _extreme(scanner: Scanner) -> Extreme | None:
    if scanner.accept("^"):
        return Extreme(last=False)
    return Extreme(last=True) if scanner.accept("$") else None


def numbered_extreme(range_: RecnumRange) -> Extreme | None:
    """The term of ``#^`` and ``#$``, or None for a range of numbers."""
    return Extreme(last=range_.first == "$") if range_.first in ("^", "$") else None


# ---- strings -----------------------------------------------------------------------------------------


def read_strings(scanner: Scanner) -> tuple[Term, ...]:
    """Read the whole text of a bracket of a string key: exact values, "^" and "$" among them."""
    terms = [_numbered_string(scanner)] if scanner.peek() == "#" else [_string(scanner)]
    while scanner.accept(","):
        terms.append(_string(scanner))
    scanner.skip(" ")
    if scanner.peek():
        scanner.fail("',' and another string, or ']'; quotes around a string with blanks, such as 'a b'")
    return tuple(terms)


def _numbered_string(scanner: Scanner) -> Term:
    extreme = numbered_extreme(index_ranges(scanner)[0])
    if extreme is None:
        scanner.fail("a string, not its number", "a number for a key of type string", at=0)
    return extreme


def _string(scanner: Scanner) -> Term:
    extreme = _extreme(scanner)
    if extreme is not None:
        return extreme
    start = scanner.position
    value = "" if scanner.missing_word() else scanner.string(",]")
    if scanner.position == start:
        scanner.fail("a string")
    if scanner.peek() in ("-", "/"):
        raise Refused("ranges of strings are not served; name each string, as in [a,b]")
    # The server puts the string between quotes unchanged, so that SQL's rule for quotes applies.
    bare = value.replace("''", "\0")
    if "'" in bare:
        scanner.fail("two single quotes for one", "a single quote inside a string", at=start)
    return Text(bare.replace("\0", "'"))
