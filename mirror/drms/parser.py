"""Parses record-set queries into ``RecordSetQuery``, with the server's own tolerance and no more.

Rule for editors: each function reads one rule of the grammar, which its docstring states. The text inside
the brackets of a prime key is kept: reading it takes the key's type (``mirror.drms.terms``).
"""

from __future__ import annotations

import re

from mirror.drms.recordset import Bracket, Filter, RecnumRange, Recnums, RecordSet, RecordSetQuery, Where
from mirror.drms.scanner import Scanner

#: Longer queries are refused; the real server's buffers are much shorter.
MAX_QUERY_LENGTH = 262_144

#: Record sets of a query, filters of one set, and values in all lists together.
MOST_SETS, MOST_FILTERS, MOST_VALUES = 1000, 100, 50_000

_BLANKS = " \t\b"  # the only ones that the server accepts between the parts of a set
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_MAX_SERIES_NAME = 63
_KEY = re.compile(r"[ \t\n\v\f\r]*(?P<name>[A-Za-z][A-Za-z0-9_.]*)[ \t\n\v\f\r]*=[ \t\n\v\f\r]*")
_PLAIN = re.compile(r"[^?!'\"$]+")  # of a condition: characters that can neither end it nor hide its end
_SERIES = "the name of a series, such as hmi.M_45s"
_MAX_TIME_IN_WHERE = 40  # characters from "$" to ")"


def parse_query(text: str) -> RecordSetQuery:
    """``query = set { ("," | ";") set } [ "," | ";" ]``.

    Raises ``SyntaxProblem`` with the position in ``text`` and what was expected there.
    """
    scanner = Scanner(text.rstrip(" \t\n\v\f\r\b\0"), whole=text)
    if len(text) > MAX_QUERY_LENGTH:
        scanner.fail(f"at most {MAX_QUERY_LENGTH}", f"the query is {len(text)} characters long")
    if text.count(",") > MOST_VALUES:
        scanner.fail(f"at most {MOST_VALUES:,}", f"the query has {text.count(','):,} commas")
    scanner.skip()
    sets = [_record_set(scanner)]
    while scanner.peek():
        if not (scanner.accept(",") or scanner.accept(";")):
            scanner.fail("',' or ';' and another record set, or the end")
        scanner.skip(_BLANKS)
        if len(sets) == MOST_SETS and scanner.peek():
            scanner.fail(f"at most {MOST_SETS:,}", "there are too many record sets")
        if scanner.peek():
            sets.append(_record_set(scanner))
    return RecordSetQuery(tuple(sets))


def _record_set(scanner: Scanner) -> RecordSet:
    """``set = series { filter } [ "{" segments "}" ]``, with at most one blank between the parts."""
    scanner.skip(_BLANKS)
    series = _series_name(scanner)
    filters: list[Filter] = []
    _one_blank(scanner)
    while scanner.peek() == "[":
        start = scanner.position
        if len(filters) == MOST_FILTERS:
            scanner.fail(f"at most {MOST_FILTERS}", "there are too many filters")
        filters.append(_filter(scanner))
        if isinstance(filters[-1], Recnums) and any(isinstance(f, Recnums) for f in filters[:-1]):
            scanner.fail("one such filter", "a second filter by record number", at=start)
        _one_blank(scanner)
    segments = _segments(scanner) if scanner.peek() == "{" else None
    _one_blank(scanner)
    return RecordSet(series, tuple(filters), segments)


def _one_blank(scanner: Scanner) -> None:
    if scanner.peek() and scanner.peek() in _BLANKS:
        scanner.position += 1


def _series_name(scanner: Scanner) -> str:
    """``series = letter { letter | digit | "_" | "." }``, 63 characters at most."""
    found = _NAME.match(scanner.text, scanner.position)
    if found is None:
        scanner.fail(_SERIES)
    if len(found[0]) > _MAX_SERIES_NAME:
        scanner.fail(_SERIES, f"a name of {len(found[0])} characters, above {_MAX_SERIES_NAME}")
    scanner.position = found.end()
    if scanner.peek() and scanner.peek() not in "[{,;" + _BLANKS:
        scanner.fail("a filter such as [2014.01.01_TAI/1h], or the end of the record set")
    return found[0]


def _filter(scanner: Scanner) -> Filter:
    """``filter = "[" ( where | ":" recnums | [ key "=" ] values ) "]"``."""
    scanner.expect("[", "a filter")
    if scanner.peek() in ("?", "!"):
        return _where(scanner)
    return _recnums(scanner) if scanner.accept(":") else _bracket(scanner)


def _where(scanner: Scanner) -> Where:
    """``where = "?" clause "?" | "!" clause "!"``; an unquoted mark may only be followed by "]"."""
    start, mark = scanner.position, scanner.peek()
    scanner.position += 1
    while scanner.peek() != mark:
        _step_in_clause(scanner, start, mark)
    end = scanner.position
    scanner.position += 1
    scanner.expect("]", f"']' after the {mark!r} that ends the condition")
    clause = scanner.text[start + 1 : end]
    position = start + 1 + len(clause) - len(clause.lstrip())
    return Where(clause.strip(), mark == "!", position)


def _step_in_clause(scanner: Scanner, start: int, mark: str) -> None:
    """One character, one quoted string or one ``$(time)`` of a condition."""
    if not scanner.peek():
        scanner.fail(f"'{mark}]' at the end of the condition", "a condition that is not closed", at=start)
    if scanner.peek() in ("'", '"'):
        scanner.quoted()
    elif scanner.ahead(2) == "$(":
        end = scanner.text.find(")", scanner.position)
        if not 0 <= end - scanner.position <= _MAX_TIME_IN_WHERE:
            scanner.fail("a time in parentheses, such as $(2014.01.01_TAI)", "a time that is not closed")
        scanner.position = end + 1
    else:
        plain = _PLAIN.match(scanner.text, scanner.position)
        scanner.position = plain.end() if plain else scanner.position + 1


def _bracket(scanner: Scanner) -> Bracket:
    """Text up to "]"; a string quoted at the start of a word may contain one."""
    start = scanner.position
    while scanner.peek() != "]":
        if not scanner.peek():
            scanner.fail("']'", "a filter that is not closed", at=start - 1)
        scanner.string("]")
    text = scanner.text[start : scanner.position]
    scanner.position += 1
    named = _KEY.match(text)
    if named is None:
        return Bracket(text, position=start)
    return Bracket(text[named.end() :], named["name"], start + named.end())


def _segments(scanner: Scanner) -> tuple[str, ...]:
    """``segments = [ name { ("," | ":" | ";") name } ]``; blanks mean nothing anywhere in it."""
    start = scanner.position
    end = scanner.text.find("}", start)
    if end < 0:
        scanner.fail("'}'", "a list of segments that is not closed", at=start)
    scanner.position = end + 1
    names = re.sub(f"[{_BLANKS}]", "", scanner.text[start + 1 : end])
    return tuple(name for name in re.split("[,:;]", names) if name)


# ---- numbered records -----------------------------------------------------------------------------


def _recnums(scanner: Scanner) -> Recnums:
    start = scanner.position
    ranges = index_ranges(scanner)
    if any(isinstance(r.first, int) and r.first < 0 for r in ranges):
        scanner.fail("a number of 0 or more", "a negative record number", at=start)
    scanner.skip(" ")
    scanner.expect("]", "',' and another record number such as #5, or ']'")
    return Recnums(ranges, start)


def index_ranges(scanner: Scanner) -> tuple[RecnumRange, ...]:
    """``ranges = range { "," range }``: record numbers, or the slots of a slotted key.

    ``#n/count`` becomes a range with its last number.
    """
    ranges = [_index_range(scanner)]
    while scanner.accept(","):
        ranges.append(_index_range(scanner))
    return tuple(ranges)


def _index_range(scanner: Scanner) -> RecnumRange:
    """``range = "#^" | "#$" | "#n" | ( "#n-#m" | "#n-#" | "#-#m" | "#-#" | "#n/count" ) [ "@step" ]``."""
    expected = "a number with '#' before it, such as #5, #5-#9, #5/3 or #$"
    scanner.expect("#", expected)
    if scanner.accept("^"):
        return RecnumRange("^", "^")
    if scanner.accept("$"):
        return RecnumRange("$", "$")
    first = None if scanner.peek() == "-" else scanner.decimal(expected)
    if first is not None and scanner.accept("/"):
        last: int | None = first + scanner.decimal("a count") - 1
    elif scanner.accept("-"):
        scanner.expect("#", expected)
        last = None if scanner.peek() in ("", "@", ",", "]", " ") else scanner.decimal(expected)
    else:
        return RecnumRange(first, first)
    return RecnumRange(first, last, _index_step(scanner))


def _index_step(scanner: Scanner) -> int:
    if not scanner.accept("@"):
        return 1
    start = scanner.position
    step = scanner.decimal("a step such as @2")
    if step < 0:
        scanner.fail("a step of 1 or more", "a negative step", at=start)
    return step
