"""What a condition says about prime keys, as terms of brackets: ``[? HARPNUM = 377 ?]`` is a bound. Pure.

Every record that satisfies the condition lies within its bounds, as may others: bounds say where to look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.recordset import IntRange, Text, WhereFilter
from mirror.drms.series import INTEGER_TYPES
from mirror.drms.slots import slot_axis
from mirror.drms.where import And, Between, Column, Compare, Expr, InList, Number, Or, String

if TYPE_CHECKING:
    from mirror.drms.recordset import Selection, Term
    from mirror.drms.series import Series

Bounds = dict[str, tuple["Term", ...]]

#: With more terms than this a key is not bounded.
MOST_TERMS = 200
#: Seconds added around a time, since printed times are rounded, and a slot's edge may be near.
_AROUND = 1.0
#: Numbers beyond this give no bound.
_LARGEST = 2**53
_FLIPPED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def implied_terms(selection: Selection) -> Bounds:
    """The terms of each prime key that hold for all records that satisfy a selection's conditions."""
    exprs = [f.expr for f in selection.filters if isinstance(f, WhereFilter)]
    if not exprs:
        return {}
    keys = _keys(selection.series)
    return {key: terms for key, terms in _all([_of(e, keys) for e in exprs]).items() if len(terms) <= MOST_TERMS}


@dataclass(frozen=True, slots=True)
class _Key:
    """A column that gives a prime key: integers, text, or (if ``series`` is set) the times of its slots."""

    name: str
    text: bool = False
    series: Series | None = None

    def between(self, first: float | None, last: float | None) -> IntRange | None:
        """The values or slots from one number to another; None if that is unknown."""
        if any(end is not None and abs(end) > _LARGEST for end in (first, last)):
            return None
        axis = None if self.series is None else slot_axis(self.series, self.name)
        if axis is None:
            return IntRange(None if first is None else math.ceil(first), None if last is None else math.floor(last))
        lo = None if first is None else axis.slot(first - _AROUND)
        hi = None if last is None else axis.slot(last + _AROUND)
        return IntRange(lo, hi)


def _keys(series: Series) -> dict[str, _Key]:
    found: dict[str, _Key] = {}
    for prime in series.primekeys:
        keyword = series.keyword(prime.name)
        axis = slot_axis(series, prime.name) if prime.slotted else None
        if keyword is None:
            continue
        if axis is not None:
            found[axis.index.lower()] = _Key(prime.name)
            if axis.timed and keyword.type == "time":
                found[prime.name.lower()] = _Key(prime.name, series=series)
        elif not prime.slotted and keyword.type in INTEGER_TYPES:
            found[prime.name.lower()] = _Key(prime.name)
        elif not prime.slotted and keyword.type == "string":
            found[prime.name.lower()] = _Key(prime.name, text=True)
    return found


def _of(expr: Expr, keys: dict[str, _Key]) -> Bounds:
    match expr:
        case And(operands):
            return _all([_of(e, keys) for e in operands])
        case Or(operands):
            return _any([_of(e, keys) for e in operands])
        case Compare(op, Column(name), constant) if name in keys and op in _FLIPPED:
            return _compared(keys[name], op, constant)
        case Compare(op, constant, Column(name)) if name in keys and op in _FLIPPED:
            return _compared(keys[name], _FLIPPED[op], constant)
        case InList(Column(name), items, negated=False) if name in keys:
            return _any([_compared(keys[name], "=", item) for item in items])
        case Between(Column(name), low, high, negated=False) if name in keys:
            return _all([_compared(keys[name], ">=", low), _compared(keys[name], "<=", high)])
        case _:
            return {}


def _compared(key: _Key, op: str, constant: Expr) -> Bounds:
    if key.text:
        return {key.name: (Text(constant.value),)} if op == "=" and isinstance(constant, String) else {}
    if not isinstance(constant, Number):
        return {}
    value = constant.value
    if not math.isfinite(value):
        return {}
    end = value if isinstance(value, int) else float(value)
    inner = int(key.series is None and isinstance(value, int) and op in ("<", ">"))  # of integers the next one
    first, last = None if op in ("<", "<=") else end + inner, None if op in (">", ">=") else end - inner
    term = key.between(first, last)
    return {} if term is None else {key.name: (term,)}


def _all(found: list[Bounds]) -> Bounds:
    """The bounds if all of several conditions hold."""
    bounds: Bounds = {}
    for each in found:
        for key, terms in each.items():
            bounds[key] = _meet(bounds[key], terms) if key in bounds else terms
    return bounds


def _any(found: list[Bounds]) -> Bounds:
    """The bounds if any of several conditions holds."""
    common = set.intersection(*(set(each) for each in found)) if found else set()
    return {key: tuple(dict.fromkeys(t for each in found for t in each[key])) for key in sorted(common)}


def _meet(one: tuple[Term, ...], other: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms for what both contain; an empty result is a range that ends before it begins."""
    if len(one) * len(other) > MOST_TERMS:
        return min(one, other, key=len)
    met = dict.fromkeys(m for a in one for b in other if (m := _both(a, b)) is not None)
    return tuple(met) or _NOTHING[isinstance(one[0], Text)]


#: Terms that no record satisfies; for text, where there is none, one that excludes nothing wrongly.
_NOTHING: dict[bool, tuple[Term, ...]] = {False: (IntRange(1, 0),), True: (Text(""),)}


def _both(a: Term, b: Term) -> Term | None:
    if isinstance(a, IntRange) and isinstance(b, IntRange):
        first = max((x for x in (a.first, b.first) if x is not None), default=None)
        last = min((x for x in (a.last, b.last) if x is not None), default=None)
        return IntRange(first, last) if first is None or last is None or first <= last else None
    return a if a == b else None
