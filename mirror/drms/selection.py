"""Binds a record set as written to a series: typed filters on its columns.

Rule for editors: what the server answers binds to the records that it answers with, quirks included; what it
refuses, or crashes on, raises. How values are written is in ``terms``, the arithmetic of slots in ``slots``,
conditions are in ``where``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from mirror.drms.keys import FloatKey, IntegerKey, SlottedKey
from mirror.drms.recordset import (
    BoundFilter,
    Bracket,
    Extreme,
    Filter,
    IntRange,
    KeyFilter,
    RecnumFilter,
    Recnums,
    RecordSet,
    Selection,
    Term,
    Where,
    WhereFilter,
)
from mirror.drms.scanner import Scanner
from mirror.drms.series import INTEGER_TYPES, OF_SEGMENT, SLOTTED_SCOPES, Keyword, PrimeKey, Series
from mirror.drms.slots import slot_axis
from mirror.drms.terms import KeyReader, read_strings, read_terms
from mirror.drms.where import bind_where, closes_early, may_hold, parse_where, where_columns
from mirror.errors import Refused, SyntaxProblem, UnknownName


def prime_columns(series: Series) -> tuple[str, ...]:
    """The columns that order and identify records: ``X_index`` for a slotted key."""
    return tuple(_column(p) for p in series.primekeys)


def bind(
    record_set: RecordSet, series: Series, *, text: str | None = None, zero_steps: bool = False
) -> Selection:
    """The selection that ``record_set`` means in ``series``.

    ``text`` is the whole query that the record set was parsed from; errors then point into it. Raises
    ``SyntaxProblem`` and ``UnknownName``, and ``Refused`` for the few things that JSOC would answer.

    Steps that come to 0 slots raise, unless ``zero_steps`` asks to keep them as 0: see ``stepless``.
    Filters keep their order, except that one whose ``^`` or ``$`` is of the whole series comes first
    where that is what it means.
    """
    filters: list[BoundFilter] = []
    place = 0
    for part in record_set.filters:
        bound = _bind_part(part, series, text, place)
        if bound is not None and not zero_steps and bound != _without_zero_steps(bound):
            raise _problem(part, text, "a step that comes to 0", "a step of at least half a slot")
        filters += [] if bound is None else [bound]
        place += isinstance(part, Bracket) and part.key is None
    _check_escape(record_set, filters)
    return Selection(series, record_set, _with_whole_extremes_first(filters))


def stepless(selection: Selection) -> Selection | None:
    """A selection bound with ``zero_steps``, with steps of 0 set to 1; None if it has no such step.

    For a step of 0 the server divides by zero at the first record that satisfies all other conditions. So
    the selection is an error if the one returned here has any record in any version, and empty if not.
    """
    filters = tuple(map(_without_zero_steps, selection.filters))
    return None if filters == selection.filters else replace(selection, filters=filters)


def evaluable(selection: Selection) -> bool:
    """False if only JSOC can evaluate a condition, whatever is held."""
    conditions = [f.expr for f in selection.filters if isinstance(f, WhereFilter)]
    if not conditions:
        return True
    series = selection.series
    unnumbered = {k.name.lower() for k in series.keywords if k.recscope == OF_SEGMENT}
    columns = {name: type_ for name, type_ in where_columns(series).items() if name not in unnumbered}
    return all(may_hold(expr, columns) for expr in conditions)


def _without_zero_steps(bound: BoundFilter) -> BoundFilter:
    if isinstance(bound, KeyFilter):
        return replace(bound, terms=tuple(map(_whole, bound.terms)))
    if isinstance(bound, RecnumFilter):
        return RecnumFilter(tuple(replace(r, step=r.step or 1) for r in bound.ranges))
    return bound


def _whole(term: Term) -> Term:
    return replace(term, step=1) if isinstance(term, IntRange) and not term.step else term


# ---- one filter ---------------------------------------------------------------------------------------


def _bind_part(part: Filter, series: Series, text: str | None, place: int) -> BoundFilter | None:
    """The filter, or None for an empty bracket; ``place`` counts the positional brackets before it."""
    if isinstance(part, Recnums):
        return RecnumFilter(part.ranges)
    if isinstance(part, Where):
        return _bind_where(part, series, text)
    return _Bracket(part, series, text).bound(place) if part.text or part.key is not None else None


def _problem(part: Filter, text: str | None, message: str, expected: str) -> SyntaxProblem:
    """The error, located in the whole query, or in the filter's own text if there is no query."""
    whole, position = (text, part.position) if text is not None else (str(part), 1)
    return SyntaxProblem(message, text=whole, position=position, expected=expected)


def _bind_where(part: Where, series: Series, text: str | None) -> WhereFilter:
    query, offset = (text, part.position) if text is not None else (part.text, 0)
    expr = parse_where(part.text, query=query, offset=offset)
    return WhereFilter(bind_where(expr, where_columns(series), text=query, series=series.name), part.all_versions)


def _check_escape(record_set: RecordSet, filters: list[BoundFilter]) -> None:
    """Refuse ``[2014][? 1=1) or (1=1 ?]``: at the server its OR would apply to the other filters too."""
    if len(filters) > 1 and any(isinstance(p, Where) and closes_early(p.text) for p in record_set.filters):
        raise Refused("a condition that closes a parenthesis it did not open is served only by itself")


# ---- prime keys ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bracket:
    """One bracket on its way to a ``KeyFilter``."""

    part: Bracket
    series: Series
    text: str | None

    def bound(self, place: int) -> KeyFilter:
        """The filter of a bracket that is not empty; ``place`` counts the positional ones before it."""
        if not self.series.primekeys:
            self._fail("a series without prime keys", "record numbers [:#1-#9] or a condition [? ?]")
        if self.part.key is not None:
            return self._named(self.part.key)
        if place >= len(self.series.primekeys):
            self._fail("more values than prime keys", f"at most {len(self.series.primekeys)}: {self._keys()}")
        return self._of_prime_key(self.series.primekeys[place])

    def _named(self, name: str) -> KeyFilter:
        for prime in self.series.primekeys:
            if name.lower() == prime.name.lower():
                return self._of_prime_key(prime)
            if prime.slotted and name.lower() == _column(prime).lower():
                return self._numeric(prime.name, _column(prime), IntegerKey("longlong"))
        keyword = self.series.keyword(name)
        if keyword is not None and keyword.recscope in SLOTTED_SCOPES:
            return self._slotted(keyword.name)
        raise self._unknown(name, keyword)

    def _of_prime_key(self, prime: PrimeKey) -> KeyFilter:
        if prime.slotted:
            return self._slotted(prime.name)
        kind = _type(self.series, prime.name)
        if kind == "string":
            return KeyFilter(prime.name, prime.name, self._read(read_strings))
        reader: KeyReader = IntegerKey(kind) if kind in INTEGER_TYPES else FloatKey(kind)
        return self._numeric(prime.name, prime.name, reader)

    def _slotted(self, name: str) -> KeyFilter:
        axis = slot_axis(self.series, name)
        if axis is None:
            raise Refused(f"the slots of {name} are not known: its epoch, step or unit is missing")
        return self._numeric(axis.key, axis.index, SlottedKey(axis))

    def _numeric(self, key: str, column: str, reader: KeyReader) -> KeyFilter:
        return KeyFilter(key, column, self._read(lambda scanner: read_terms(scanner, reader)))

    def _read(self, reader: Callable[[Scanner], tuple[Term, ...]]) -> tuple[Term, ...]:
        offset = self.part.position if self.text is not None else 0
        return reader(Scanner(self.part.text, whole=self.text, offset=offset))

    def _keys(self) -> str:
        return ", ".join(p.name for p in self.series.primekeys)

    def _fail(self, message: str, expected: str) -> NoReturn:
        raise _problem(self.part, self.text, message, expected)

    def _unknown(self, name: str, keyword: Keyword | None) -> UnknownName:
        what = "a keyword, but not a prime key," if keyword is not None else "not a keyword"
        message = f"{name!r} is {what} of {self.series.name}"
        expected = f"one of {self._keys()}; conditions on other keywords go in [? ?]"
        problem = _problem(self.part, self.text, message, expected)
        return UnknownName(str(problem), problem)


def _column(prime: PrimeKey) -> str:
    return f"{prime.name}_index" if prime.slotted else prime.name


def _type(series: Series, name: str) -> str:
    keyword = series.keyword(name)
    return "string" if keyword is None else keyword.type


# ---- first and last ---------------------------------------------------------------------------------------


def _with_whole_extremes_first(filters: list[BoundFilter]) -> tuple[BoundFilter, ...]:
    """``filters`` in an order in which every ``^`` and ``$`` is, as ``Extreme`` says, among what earlier ones leave.

    The server restricts an extreme to the filters before it only if the list starts with ``^`` or ``$``,
    and then only the last of the list: in ``[2014][2,$]`` the ``$`` is that of the whole series.
    """
    ordered = list(filters)
    for index, bound in enumerate(filters):
        if not isinstance(bound, KeyFilter) or not index or not _has_extreme(bound):
            continue
        if isinstance(bound.terms[0], Extreme):
            _check_leading(bound)
        elif any(map(_has_extreme, ordered[:index])):
            raise Refused(f"'^' and '$' of {bound.key} in a list, after those of another key, are not served")
        else:
            ordered.remove(bound)
            ordered.insert(0, bound)
    return tuple(ordered)


def _has_extreme(bound: BoundFilter) -> bool:
    return isinstance(bound, KeyFilter) and any(isinstance(term, Extreme) for term in bound.terms)


def _check_leading(bound: KeyFilter) -> None:
    """Refuse a list after other filters that starts with ``^`` or ``$``, unless it has nothing else."""
    if len(set(bound.terms)) > 1:
        raise Refused(f"after another filter, '^' or '$' of {bound.key} stands alone, or last in its list")
