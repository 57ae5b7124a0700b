"""Decides how to answer a query: from what is held, after a fill, or by forwarding it unchanged to JSOC.

Pure: the read-through obeys what is decided here. ``need`` turns a selection into boxes, ``plan_read``
compares them with coverage, ``box_query`` writes a box as the record set that fills it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from mirror.coverage.axis import coverage_axis, key_bracket, limits_of, opened
from mirror.coverage.bounds import implied_terms
from mirror.coverage.coverage import Between, Box, Coverage, Freshness, Region, Restriction
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.drms.recordset import (
    Bracket,
    Extreme,
    FloatRange,
    IntRange,
    KeyFilter,
    RecnumFilter,
    RecordSet,
    Selection,
    Term,
    Text,
    Where,
    WhereFilter,
)
from mirror.drms.selection import evaluable
from mirror.drms.slots import slot_axis

if TYPE_CHECKING:
    from mirror.drms.series import Series

#: The region of record numbers, which is its own axis: "every record numbered n is held".
RECNUMS = Region(("recnum",), all_versions=True)

#: More separate slots than this (``@step`` over decades) are not worth keeping as coverage.
MAX_POINTS = 50_000
MAX_BOXES = 200


@dataclass(frozen=True, slots=True)
class Local:
    """Everything needed, which is in ``boxes``, is held, and was checked recently enough."""

    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """``missing`` is not held; ``stale`` is held but must be checked before it is used."""

    missing: tuple[Box, ...]
    stale: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """Ask JSOC the unchanged query: keep the rows, claim no coverage."""

    reason: str


Plan = Local | Fetch | Forward


def plan_read(selection: Selection, coverage: Coverage, freshness: Freshness) -> Plan:
    """The plan for a selection whose ``^`` and ``$`` have been resolved."""
    boxes = need(selection, implied=True)
    if isinstance(boxes, Forward):
        return boxes
    if not evaluable(selection):
        return Forward("only JSOC evaluates its condition")
    return plan_boxes(boxes, coverage, freshness)


def plan_boxes(boxes: tuple[Box, ...], coverage: Coverage, freshness: Freshness) -> Local | Fetch:
    """The plan for these boxes."""
    rest = [box for box in boxes if not coverage.is_fresh(box, freshness)]
    missing = tuple(gap for box in rest for gap in coverage.gaps(box))
    stale = tuple(old for box in rest for old in coverage.stale(box, freshness))
    return Fetch(missing, stale) if missing or stale else Local(boxes)


def need(selection: Selection, *, implied: bool = False) -> tuple[Box, ...] | Forward:
    """The boxes that hold every record a selection may match, or why there are none.

    With ``implied`` they are also bounded by what its conditions say about prime keys: see ``coverage.bounds``.
    """
    if any(isinstance(f, RecnumFilter) for f in selection.filters):
        return _recnum_need(selection)
    axis = coverage_axis(selection.series)
    terms = (implied_terms(selection) if implied else {}) | _terms_by_key(selection)
    steps = (Steps(MIN, MAX),) if axis is None else tuple(map(axis.steps, terms.get(axis.key, (_ANY,))))
    if sum(len(s) for s in steps if s.step > 1) > MAX_POINTS:
        return Forward("the query picks too many separate slots to keep as coverage")
    series = selection.series
    choices = [
        tuple(_opened_restriction(series, k, _restriction(term)) for term in terms.get(k, (_ANY,)))
        for k in other_keys(series)
    ]
    steps = tuple(s for s in steps if s.lo <= s.hi)
    regions = [
        Region(o, selection.all_versions) for o in product(*choices) if steps and not any(map(_empty, o))
    ]
    if len(regions) > MAX_BOXES and implied:
        return need(selection)
    if len(regions) > MAX_BOXES:
        return Forward("the query combines too many values of its prime keys")
    return tuple(Box(region, steps) for region in regions)


def other_keys(series: Series) -> tuple[str, ...]:
    """The prime keys besides the axis, in order; none for a series that is covered as a whole or not at all."""
    return series.derived("other keys", lambda: _other_keys(series))


def _other_keys(series: Series) -> tuple[str, ...]:
    axis = coverage_axis(series)
    return () if axis is None else tuple(k.name for k in series.primekeys if k.name != axis.key)


def key_space(series: Series) -> tuple[object, ...]:
    """What determines how prime keys place records; series that differ in it cannot share coverage."""
    others = other_keys(series)
    kinds = tuple(keyword.type if (keyword := series.keyword(key)) else "" for key in others)
    return coverage_axis(series), others, kinds, tuple(slot_axis(series, key) for key in others)


def opened_box(series: Series, box: Box) -> Box | None:
    """The same records, with open ends where the box reaches a key's limits; None if it can have no records.

    ``need`` gives only such boxes; those that an earlier version or another mirror wrote down may differ.
    """
    if box.region == RECNUMS:
        axis_limits = (MIN, MAX)
        others = box.region.others
    else:
        axis, keys = coverage_axis(series), other_keys(series)
        if len(keys) != len(box.region.others):
            return None
        axis_limits = (MIN, MAX) if axis is None else axis.limits
        others = tuple(_opened_restriction(series, k, r) for k, r in zip(keys, box.region.others, strict=True))
    steps = tuple(s for s in (opened(s, axis_limits) for s in box.steps) if s)
    if not steps or any(map(_empty, others)):
        return None
    return Box(box.region._replace(others=others), steps)


def opened_coverage(series: Series, coverage: Coverage) -> Coverage:
    """The same claims, each with the open ends of ``opened_box``; where claims overlap, the last check counts."""
    spans = sorted(
        ((span.checked_at, Box(region, (Steps(span.lo, span.hi),))) for region, held in coverage for span in held),
        key=lambda found: found[0],
    )
    same = Coverage()
    for checked_at, box in spans:
        if (there := opened_box(series, box)) is not None:
            same.add(there, checked_at)
    return same


def restricts_keys(selection: Selection) -> bool:
    """True if a prime key, or the record number, is bounded at both ends."""
    if any(isinstance(f, RecnumFilter) for f in selection.filters):
        return True
    terms = [f.terms for f in selection.filters if isinstance(f, KeyFilter)] + list(implied_terms(selection).values())
    return any(all(map(_closed, each)) for each in terms)


def has_where(selection: Selection) -> bool:
    """True if the selection holds a condition."""
    return any(isinstance(f, WhereFilter) for f in selection.filters)


def is_whole(selection: Selection) -> bool:
    """True if the boxes of ``need`` hold exactly the records of a selection."""
    if any(isinstance(f, RecnumFilter) for f in selection.filters):
        return len(selection.filters) == 1
    filters = [f for f in selection.filters if isinstance(f, KeyFilter)]
    each_once = len({f.key for f in filters}) == len(filters) == len(selection.filters)
    return each_once and all(isinstance(t, IntRange | Text) for f in filters for t in f.terms)


def extreme_position(selection: Selection) -> int | None:
    """The index of the first filter with a term that depends on the first or last record, or None."""
    for i, f in enumerate(selection.filters):
        if isinstance(f, KeyFilter) and any(map(extreme_of, f.terms)):
            return i
    return None


def extreme_of(term: Term) -> Extreme | None:
    """The extreme that a term depends on: itself, or ``^`` for steps that count from an open start."""
    if isinstance(term, IntRange) and term.first is None and term.step != 1:
        return Extreme(last=False)
    return term if isinstance(term, Extreme) else None


def box_query(series: Series, box: Box) -> RecordSet:
    """The record set that asks for all records of ``box``."""
    if box.region == RECNUMS:
        ranges = ",".join(_recnum_text(s) for s in box.steps)
        return RecordSet(series.name, (Bracket(f":{ranges}"),))
    filters: list[Bracket | Where] = []
    texts: dict[str, str] = {}
    axis = coverage_axis(series)
    if axis is not None and any(s.lo > MIN or s.hi < MAX for s in box.steps):
        filters.append(axis.bracket(box.steps))
    for key, restriction in zip(other_keys(series), box.region.others, strict=True):
        if isinstance(restriction, Between):
            filters.append(key_bracket(series, key, Steps(restriction.lo, restriction.hi)))
        elif restriction is not None:
            texts[key] = _quoted(restriction)
    if box.region.all_versions:
        filters.append(Where("1=1", all_versions=True))
    return RecordSet(series.name, (*_positional(series, texts), *filters))


def _positional(series: Series, texts: dict[str, str]) -> list[Bracket]:
    """Brackets by position: the server does not see quotes behind ``KEY=``."""
    last = max((i for i, key in enumerate(series.primekeys) if key.name in texts), default=-1)
    return [Bracket(texts.get(key.name, "")) for key in series.primekeys[: last + 1]]


_ANY = IntRange(None, None)


def _terms_by_key(selection: Selection) -> dict[str, tuple[Term, ...]]:
    """The terms of the first filter on each key; later ones only narrow it, which ``need`` may ignore."""
    terms: dict[str, tuple[Term, ...]] = {}
    for f in selection.filters:
        if isinstance(f, KeyFilter):
            terms.setdefault(f.key, f.terms)
    return terms


def _restriction(term: Term) -> Restriction:
    match term:
        case IntRange(None, None):
            return None
        case IntRange(first, last):
            return Between(MIN if first is None else first, MAX if last is None else last)
        case Text(value):
            return value
        case FloatRange() | Extreme():
            return None
    raise AssertionError(term)


def _opened_restriction(series: Series, key: str, restriction: Restriction) -> Restriction:
    """A restriction with an open end where it reaches a limit of the key; None if it does not restrict."""
    if not isinstance(restriction, Between) or restriction.lo > restriction.hi:
        return restriction
    steps = opened(Steps(restriction.lo, restriction.hi), limits_of(series, key))
    return None if (steps.lo, steps.hi) == (MIN, MAX) else Between(steps.lo, steps.hi)


def _empty(restriction: Restriction) -> bool:
    """True for a range that ends before it begins, which holds no record."""
    return isinstance(restriction, Between) and restriction.lo > restriction.hi


def _closed(term: Term) -> bool:
    return isinstance(term, Text) or (
        isinstance(term, IntRange | FloatRange) and term.first is not None and term.last is not None
    )


def _recnum_need(selection: Selection) -> tuple[Box, ...] | Forward:
    ranges = next(f.ranges for f in selection.filters if isinstance(f, RecnumFilter))
    steps = []
    for r in ranges:
        if not isinstance(r.first, int) or not isinstance(r.last, int):
            return Forward("the highest record number is known upstream only")
        # No record has a number from MAX on, whatever the text says.
        last = min(r.last, MAX - 1)
        if last >= r.first:
            steps.append(Steps(r.first, r.first + (last - r.first) // r.step * r.step, r.step))
    if sum(len(s) for s in steps if s.step > 1) > MAX_POINTS:
        return Forward("the query picks too many separate record numbers")
    return (Box(RECNUMS, tuple(steps)),) if steps else ()


def _recnum_text(s: Steps) -> str:
    return f"#{s.lo}" if s.lo == s.hi else f"#{s.lo}-#{s.hi}" + (f"@{s.step}" if s.step > 1 else "")


def _quoted(value: str) -> str:
    """A string value as it must be written in a bracket: the server inserts it into SQL unchanged."""
    return f"'{value}'" if "'" not in value else '"' + value.replace("'", "''") + '"'
