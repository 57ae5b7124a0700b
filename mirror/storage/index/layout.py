"""How a record is stored in the index: one ``_raw`` of everything as printed, and typed columns beside it.

``_raw`` joins the record's wire text (``mirror.wire.text``) by ``SEPARATOR``; its fields are named by a
key set. It answers searches byte for byte; the typed columns answer conditions, ranges and SQL. Typed
columns alone would lose leading zeros, padding, the number of digits, MISSING and leap seconds.

A condition compares stored values upstream, but printed ones here. A column's ``Tolerance`` says when the two
might disagree, so that the mirror asks instead of guessing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from mirror.drms.selection import prime_columns
from mirror.drms.series import FLOAT_TYPES, OF_SEGMENT
from mirror.drms.times import time_text_resolution
from mirror.fits.record import is_second_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.drms.series import Keyword, Series

SEPARATOR = "\x1f"
#: Stands in ``_raw`` for a segment parameter that the record's segment does not have.
ABSENT = "\x1e"

#: Facts about a record that are not keywords; ``*spec*`` is kept as the record's name.
PSEUDO_KEYS = ("*recnum*", "*sunum*", "*size*", "*online*", "*retain*", "*archive*", "*recdir*", "*dirmtime*")
NAME_FIELD = "*spec*"
#: Names of what a record has in addition to its keywords.
PSEUDO_NAMES = frozenset((*PSEUDO_KEYS, NAME_FIELD))
SEGMENT_PARTS = ("values", "dims", "cparms", "bzeros", "bscales")

_SQL_TYPES = {
    "char": "SMALLINT",
    "short": "SMALLINT",
    "int": "INTEGER",
    "longlong": "BIGINT",
    "float": "DOUBLE",  # a printed float is a decimal number, which single precision would round again
    "double": "DOUBLE",
    "time": "DOUBLE",
    "string": "VARCHAR",
}
#: Namespaces that the index, or DuckDB, has for itself.
_TAKEN = frozenset({"mirror", "main", "index", "temp", "system", "information_schema", "pg_catalog"})
RESERVED_COLUMNS = ("recnum", "sunum", "_keyset", "_raw")


@dataclass(frozen=True, slots=True)
class Row:
    """A held record: its number, the field names of its key set, and its fields as one text."""

    recnum: int
    fields: dict[str, int]  #: position of each field in ``raw``, by name
    raw: str

    def __getitem__(self, field: str) -> str:
        """The wire text of one field."""
        return self.raw.split(SEPARATOR)[self.fields[field]]


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A typed column and the keyword whose values it holds; ``type`` is the keyword's DRMS type."""

    name: str
    type: str
    keyword: str

    @property
    def sql_type(self) -> str:
        return _SQL_TYPES.get(self.type, "VARCHAR")

    @property
    def inexact(self) -> bool:
        """True if the printed value stands for a range of stored ones."""
        return self.type in FLOAT_TYPES or self.type == "time"


@dataclass(frozen=True)
class Layout:
    """The columns and fields of one series, derived from its structure."""

    series: Series

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Lower-case aliases, each with the keyword it stands for.

        A row that repeats the one before under a FITS name (DATE-OBS) is an alias of it. The name, without its
        number, of a keyword that each segment has means the first segment's.
        """
        own = {k.name.lower() for k in self._rows[0]}
        again = {name: first for name, first in self._rows[1].items() if name not in own}
        held = {k.name.lower() for k in self.keywords}
        firsts = (k.name for k in self._rows[0] if k.recscope == OF_SEGMENT and self.series.segments)
        return again | {name.lower(): f"{name}_000" for name in firsts if name.lower() not in held}

    @cached_property
    def fields_by_name(self) -> dict[str, str]:
        """The field of each keyword and pseudo-keyword, by its name in its own case."""
        names = {k.name for k in (*self.series.keywords, *self.series.record_keywords)}
        found = {name: self.aliases.get(keyword.name.lower(), keyword.name) for name in names if (keyword := self.series.keyword(name))}
        return found | {name: name for name in PSEUDO_NAMES}

    @cached_property
    def _rows(self) -> tuple[list[Keyword], dict[str, str]]:
        """The rows of the structure that are keywords of their own, and the others by name."""
        own: list[Keyword] = []
        again: dict[str, str] = {}
        seen: set[str] = set()  # of rows with one name, whatever its case, the first counts
        for keyword in self.series.keywords:
            if own and is_second_name(keyword, own[-1]):
                again[keyword.name.lower()] = own[-1].name
            elif keyword.name.lower() not in seen:
                seen.add(keyword.name.lower())
                own.append(keyword)
        return own, again

    @cached_property
    def keywords(self) -> tuple[Keyword, ...]:
        """Every keyword that is requested and kept: all but aliases."""
        return tuple(held for k in self._rows[0] for held in self.series.held(k))

    @cached_property
    def segments(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.series.segments)

    @cached_property
    def links(self) -> tuple[str, ...]:
        return tuple(x.name for x in self.series.links)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields of ``_raw``, in order."""
        segment_fields = (segment_field(s, part) for s in self.segments for part in SEGMENT_PARTS)
        link_fields = map(link_field, self.links)
        return (*(k.name for k in self.keywords), *PSEUDO_KEYS, NAME_FIELD, *segment_fields, *link_fields)

    def is_whole(self, fields: Iterable[str]) -> bool:
        """True if a row with these fields has all fields that the series now has."""
        return set(self.fields) <= set(fields)

    @cached_property
    def columns(self) -> tuple[TypedColumn, ...]:
        """One typed column per kept keyword, in the structure's order."""
        return tuple(TypedColumn(column_name(k.name), k.type, k.name) for k in self.keywords)

    @property
    def problem(self) -> str | None:
        """Why the index cannot keep the series: tables or columns that would have two owners; None if there are none."""
        namespace, _, name = self.series.name.lower().partition(".")
        if namespace in _TAKEN or name.endswith("__old"):
            return f"tables of the index have the name {self.series.name} already"
        seen: dict[str, str] = {}
        for column in self.columns:
            if column.name in seen:
                return f"the keywords {seen[column.name]} and {column.keyword} would be one column of a table"
            seen[column.name] = column.keyword
        return None

    @cached_property
    def columns_by_name(self) -> dict[str, TypedColumn]:
        return {c.name: c for c in self.columns}

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The columns that order records: the prime keys (their index where slotted), or the recnum."""
        return tuple(column_name(c) for c in prime_columns(self.series)) or ("recnum",)

    @cached_property
    def table(self) -> str:
        """The quoted name of the table with the newest version of each record."""
        return self._quoted("")

    @cached_property
    def old_table(self) -> str:
        """The quoted name of the table with the versions that were replaced."""
        return self._quoted("__old")

    @property
    def namespace(self) -> str:
        return quoted(self.series.name.lower().partition(".")[0])

    def _quoted(self, suffix: str) -> str:
        namespace, _, name = self.series.name.lower().partition(".")
        return f"{quoted(namespace)}.{quoted(name + suffix)}"


def column_name(keyword: str) -> str:
    """The typed column of a keyword: its lower-case name, changed if one of our own columns has that name."""
    name = keyword.lower()
    return f"{name}_" if name in RESERVED_COLUMNS else name


def segment_field(segment: str, part: str) -> str:
    """The field that holds one part of a segment's entry."""
    return f"{{{segment}}}{part}"


def link_field(link: str) -> str:
    """The field that holds the record query at the end of a link."""
    return f"<{link}>"


def quoted(identifier: str) -> str:
    """An SQL identifier, quoted."""
    return '"' + identifier.replace('"', '""') + '"'


#: Whole numbers are cut to this on both sides of 0: a time that was never set may print as a Julian day far beyond.
FARTHEST = 1 << 62


def whole(sql: str) -> str:
    """SQL: a number without fraction as a BIGINT, at most FARTHEST from 0; NULL stays NULL."""
    return f"CASE WHEN abs({sql}) < {FARTHEST} THEN ({sql})::BIGINT WHEN {sql} > 0 THEN {FARTHEST} WHEN {sql} < 0 THEN {-FARTHEST} END"


#: All records of a series share one printf format, so a sample of distinct values shows it.
SAMPLE = 64
_NUMBER = re.compile(r"\s*[-+]?\d+(?:\.(\d*))?(?:[eE][-+]?\d+)?\s*")
_SHORTEST = 5e-6  #: relative error of %g with its six digits
_SINGLE = 2.0**-24  #: relative error of single precision, in which a float is stored and compared


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A printed value v stands for stored ones within ``absolute + relative * |v|``."""

    absolute: float = 0.0
    relative: float = 0.0

    def __or__(self, other: Tolerance) -> Tolerance:
        """The tolerance that holds for both."""
        return Tolerance(max(self.absolute, other.absolute), max(self.relative, other.relative))


def tolerance(column: TypedColumn, texts: Iterable[str]) -> Tolerance:
    """The tolerance of a column with these printed values; exact for integers and strings."""
    if not column.inexact:
        return Tolerance()
    sample = _sample(texts)
    if column.type == "time":
        marks = [time_text_resolution(text) / 2 for text in sample if text[:1].isdigit()]
        return Tolerance(max(marks, default=0.0))
    implicit = column.name.endswith(("_bzero", "_bscale"))
    single = Tolerance(relative=_SINGLE if column.type == "float" else 0.0)
    return single | _of_numbers([text for text in sample if _NUMBER.fullmatch(text)], shortest=implicit)


def _sample(texts: Iterable[str]) -> list[str]:
    """The first distinct texts; most columns have enough of them near the beginning."""
    found: dict[str, None] = {}
    rest = iter(texts)
    while len(found) < SAMPLE and (some := list(islice(rest, 4 * SAMPLE))):
        found.update(dict.fromkeys(some))
    return list(found)[:SAMPLE]


def _of_numbers(texts: list[str], *, shortest: bool) -> Tolerance:
    if not texts:
        return Tolerance()
    decimals = {len(m[1] or "") for text in texts if (m := _NUMBER.fullmatch(text))}
    exponents = [("e" in text or "E" in text) for text in texts]
    if shortest or len(decimals) > 1 or (any(exponents) and not all(exponents)):
        return Tolerance(relative=_SHORTEST)
    half = 0.5 * 10.0 ** -decimals.pop()
    return Tolerance(relative=half) if all(exponents) else Tolerance(absolute=half)
