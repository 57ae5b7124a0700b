"""From a selection to the records that it may mean: narrows strands and slots, without reading values.

What the prime keys alone determine is exact (``Narrowed.exact``). Anything else, above all where clauses, only stops
the narrowing where it must: a filter after a first or last that could not be found here must not remove rows among
which that first or last is sought.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mirror.drms.recordset import (
    BoundFilter,
    Extreme,
    IntRange,
    KeyFilter,
    RecnumFilter,
    RecnumRange,
    Selection,
    Term,
)
from mirror.simulator.evaluate import OwnCondition
from mirror.simulator.sql.nodes import Column, Constant, InList, Logic, Node, Operation
from mirror.simulator.synthetic.noise import Ints, Mask
from mirror.simulator.synthetic.population import Population, Span, list_slots


class Axis(Protocol):
    """A prime-key column that grows with the slot of a population."""

    @property
    def steps(self) -> bool:
        """Whether ``span`` applies the step of a term."""
        ...

    def span(self, term: Term) -> Span | None:
        """The slots at which the column may have a value of the term; None if it has no such values."""
        ...


_FIRST_LOOK, _LONGEST_LOOK = 1 << 9, 1 << 15  # record numbers examined at a time


@dataclass(frozen=True, slots=True)
class Shifted:
    """A column that is the slot plus a constant: ``T_REC_index`` with 0, a sequence number."""

    offset: int = 0
    steps: bool = True

    def span(self, term: Term) -> Span | None:
        if not isinstance(term, IntRange):
            return None
        first = -(1 << 62) if term.first is None else term.first - self.offset
        stop = 1 << 62 if term.last is None else term.last - self.offset + 1
        return Span(first, stop, term.step)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Strands (ascending) and spans that contain all selected records.

    ``exact``: they contain nothing else. ``stopped``: later filters could not be used.
    """

    strands: Ints
    spans: list[Span]
    exact: bool = True
    stopped: bool = False


def narrow(selection: Selection, population: Population, axes: Mapping[str, Axis]) -> Narrowed:
    """The strands and spans of a selection."""
    at = Narrowed(np.arange(len(population.strands)), [population.bounds])
    unseen = False  # whether there was a filter that only the values can decide
    for each in selection.filters:
        if not isinstance(each, KeyFilter):
            strands = (
                at.strands[_may_hold(each.condition.tree, population)[at.strands]]
                if isinstance(each, OwnCondition)
                else at.strands
            )
            unseen, at = True, Narrowed(strands, at.spans, exact=False)
        elif unseen and _has_extreme(each):
            return Narrowed(at.strands, at.spans, exact=False, stopped=True)
        else:
            at = _narrow_key(at, each, population, axes)
            if at.stopped:
                return at
    return at


def _may_hold(node: Node, population: Population) -> Mask:
    """For every strand whether a condition may be true there, as far as equalities on its keys show it."""
    if isinstance(node, Logic):
        masks = [_may_hold(each, population) for each in node.operands]
        together: Mask = (np.logical_and if node.op == "AND" else np.logical_or).reduce(masks)
        return together
    sides: tuple[Node | None, ...] = ()
    if isinstance(node, Operation) and node.op == "=":
        sides = node.left, node.right
    elif isinstance(node, InList) and not node.negated:
        sides = node.operand, *node.items
    column = next((side for side in sides if isinstance(side, Column)), None)
    values = None if column is None else population.strands.columns.get(column.name)
    wanted = [_number(side) for side in sides if side is not column]
    if values is None or None in wanted:
        return np.ones(len(population.strands), dtype=bool)
    return np.isin(values.astype(np.float64), np.array(wanted, dtype=np.float64))


def _number(node: Node | None) -> float | None:
    """The number of a constant, quoted or not."""
    if not isinstance(node, Constant) or node.value is None:
        return None
    try:
        return float(node.value)
    except ValueError:
        return None


def _has_extreme(each: BoundFilter) -> bool:
    return isinstance(each, KeyFilter) and any(isinstance(term, Extreme) for term in each.terms)


def _narrow_key(at: Narrowed, each: KeyFilter, population: Population, axes: Mapping[str, Axis]) -> Narrowed:
    column = each.column.lower()
    if column in population.strands.keys:
        return _narrow_strands(at, each, population, population.strands.keys[column])
    if column in axes:
        return _narrow_spans(at, each, population, axes[column])
    return Narrowed(at.strands, at.spans, exact=False, stopped=_has_extreme(each))


def _narrow_strands(at: Narrowed, each: KeyFilter, population: Population, keys: Ints) -> Narrowed:
    if _has_extreme(each) and not at.exact:
        return Narrowed(at.strands, at.spans, exact=False, stopped=True)
    mine = keys[at.strands]
    kept = np.zeros(len(mine), dtype=bool)
    for term in each.terms:
        if isinstance(term, Extreme):
            held = mine[population.counts(at.strands, _disjoint(at.spans)) > 0]
            kept |= mine == (held.max() if term.last else held.min()) if len(held) else False
        elif isinstance(term, IntRange):
            kept |= _in_range(mine, term)
    return Narrowed(at.strands[kept], at.spans, at.exact)


def _in_range(values: Ints, term: IntRange) -> Ints:
    kept = np.ones(len(values), dtype=bool)
    if term.first is not None:
        kept &= values >= term.first
    if term.last is not None:
        kept &= values <= term.last
    if term.step != 1 and term.first is not None:
        kept &= (values - term.first) % term.step == 0
    return kept


def _narrow_spans(at: Narrowed, each: KeyFilter, population: Population, axis: Axis) -> Narrowed:
    if _has_extreme(each) and not at.exact:
        return Narrowed(at.strands, at.spans, exact=False, stopped=True)
    found: list[Span] = []
    for term in each.terms:
        span = _extreme_span(at, term, population) if isinstance(term, Extreme) else axis.span(term)
        if span is not None:
            found.append(_anchored(span, population))
    unheeded = any(_has_unheeded_step(term, axis) for term in each.terms)
    return Narrowed(at.strands, _meet(at.spans, found), at.exact and not unheeded)


def _has_unheeded_step(term: Term, axis: Axis) -> bool:
    """Steps from an open start count from the first existing record; the evaluator counts these."""
    return isinstance(term, IntRange) and term.step != 1 and (term.first is None or not axis.steps)


def _extreme_span(at: Narrowed, term: Extreme, population: Population) -> Span | None:
    slot = population.outermost(at.strands, at.spans, last=term.last) if len(at.strands) else None
    return None if slot is None else Span(slot, slot + 1)


def _anchored(span: Span, population: Population) -> Span:
    """A stepped span with an open start includes every slot: its steps count from the first record."""
    return Span(span.first, span.stop) if span.first < -(1 << 61) else span


def _meet(some: list[Span], others: list[Span]) -> list[Span]:
    """The slots in spans of both lists."""
    met: list[Span] = []
    for one in some:
        for other in others:
            stepped, plain = (one, other) if other.step == 1 else (other, one)
            if plain.step == 1:
                met.append(stepped.cut(plain.first, plain.stop))
            else:
                both = np.intersect1d(one.slots, other.slots)
                met.extend(Span(slot, slot + 1) for slot in both.tolist())
    return [span for span in met if span.first < span.stop]


def _disjoint(spans: list[Span]) -> list[Span]:
    """The same slots in spans that do not overlap."""
    if len(spans) < 2:
        return spans
    if any(span.step != 1 for span in spans):
        return [Span(slot, slot + 1) for slot in list_slots(spans).tolist()]
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.first <= merged[-1].stop:
            merged[-1] = Span(merged[-1].first, max(merged[-1].stop, span.stop))
        else:
            merged.append(span)
    return merged


# ---- what a selection comes to ------------------------------------------------------------------


def count(selection: Selection, population: Population, axes: Mapping[str, Axis]) -> int | None:
    """How many records a selection has, or None if only the values show it."""
    at = narrow(selection, population, axes)
    if not at.exact or selection.all_versions:
        return None
    return int(population.counts(at.strands, _disjoint(at.spans)).sum())


def list_recnums(
    selection: Selection, population: Population, axes: Mapping[str, Axis], n: int | None
) -> Ints:
    """Record numbers that include all selected records; only the first ``n`` (last ``-n``) if given."""
    first = selection.filters[0] if selection.filters else None
    if isinstance(first, RecnumFilter):
        found = _by_number(first, population)
    else:
        found = _by_keys(selection, population, axes, n)
    # The evaluator takes the lowest and the highest number from the rows that it gets.
    return np.unique(np.concatenate([found, _number_ends(population)])) if _names_ends(selection) else found


def _by_keys(selection: Selection, population: Population, axes: Mapping[str, Axis], n: int | None) -> Ints:
    at = narrow(selection, population, axes)
    if n and at.exact and not selection.all_versions:
        at = _ends(at, population, n)
    strand, slot = population.list_records(at.strands, at.spans)
    newest = population.recnums(strand, slot)
    if not selection.all_versions or population.redone is None:
        return newest
    twice = population.redone.holds(slot)
    return np.concatenate([population.first_recnums(strand[twice], slot[twice]), newest])


def _by_number(each: RecnumFilter, population: Population) -> Ints:
    """The records of the ranges, with all their versions."""
    wanted = list_slots(_meet([_number_span(span) for span in each.ranges], population.number_spans))
    return wanted[population.exist(wanted)]


def _names_ends(selection: Selection) -> bool:
    """Whether a filter refers to the lowest or the highest number of all."""
    spans = (span for each in selection.filters if isinstance(each, RecnumFilter) for span in each.ranges)
    return any(end in ("^", "$", None) for span in spans for end in (span.first, span.last))


def _number_span(span: RecnumRange) -> Span:
    if span.first == "$" or span.last == "^":
        return Span(0, 0)  # the ends are added anyway
    first = span.first if isinstance(span.first, int) else 0
    last = span.last if isinstance(span.last, int) else 1 << 62
    return Span(first, last + 1)


def _number_ends(population: Population) -> Ints:
    """The lowest and the highest number of a record."""
    ends = lowest(population), highest(population)
    return np.array([number for number in ends if number is not None], dtype=np.int64)


def end_recnum(population: Population, *, last: bool) -> Ints:
    """The number of the first or last record in the order of the prime keys, as the only one; it must exist."""
    strands = np.arange(len(population.strands), dtype=np.int64)
    if not population.strands.interleaved:
        held = strands[population.counts(strands, [population.bounds]) > 0]
        strands = held[-1:] if last else held[:1]
    slot = population.outermost(strands, [population.bounds], last=last)
    slots = np.full(len(strands), slot)
    there = population.present(strands, slots)
    strand = strands[there][-1:] if last else strands[there][:1]
    return population.recnums(strand, slots[: len(strand)])


def lowest(population: Population) -> int | None:
    """The lowest number of a record of any version."""
    return next((found for span in population.number_spans if (found := _outer(population, span, 1))), None)


def highest(population: Population) -> int | None:
    """The highest number of a record of any version."""
    spans = reversed(population.number_spans)
    return next((found for span in spans if (found := _outer(population, span, -1))), None)


def _outer(population: Population, span: Span, way: int) -> int | None:
    """The first number from the beginning (the end, for -1) of a span that is a record's.

    It is usually near the end: each look is longer than the last, up to the longest.
    """
    start, length = 0, _FIRST_LOOK
    while start < span.stop - span.first:
        near = np.arange(start, min(start + length, span.stop - span.first), dtype=np.int64)
        numbers = span.first + near if way > 0 else span.stop - 1 - near
        held = numbers[population.exist(numbers)]
        if len(held):
            return int(held[0])
        start, length = start + length, min(2 * length, _LONGEST_LOOK)
    return None


def _ends(at: Narrowed, population: Population, n: int) -> Narrowed:
    """The same reduced to what contains the first ``n`` or the last ``-n`` records."""
    spans = sorted(_disjoint(at.spans))
    if population.strands.interleaved:
        return Narrowed(at.strands, _end_spans(at.strands, spans, population, n))
    counts = population.counts(at.strands, spans)
    reached = np.cumsum(counts if n > 0 else counts[::-1])
    kept = int(np.searchsorted(reached, abs(n))) + 1
    return Narrowed(at.strands[:kept] if n > 0 else at.strands[-kept:], spans)


def _end_spans(strands: Ints, spans: list[Span], population: Population, n: int) -> list[Span]:
    """Whole spans from the wanted end while they are needed, and a piece of the one that is too long."""
    kept: list[Span] = []
    missing = abs(n)
    for span in spans if n > 0 else reversed(spans):
        if missing <= 0:
            break
        piece = _end_piece(strands, span, population, missing if n > 0 else -missing)
        missing -= int(population.counts(strands, [piece]).sum())
        kept.append(piece)
    return kept


def _end_piece(strands: Ints, span: Span, population: Population, n: int) -> Span:
    """An end of the span that contains ``abs(n)`` records, or all of it; doubled until it does."""
    length = (abs(n) + 1) * span.step
    while True:
        piece = (
            span.cut(span.first, span.first + length) if n > 0 else span.cut(span.stop - length, span.stop)
        )
        if length > span.stop - span.first or population.counts(strands, [piece]).sum() >= abs(n):
            return piece
        length *= 4
