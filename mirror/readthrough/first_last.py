"""Resolves ``^`` and ``$``: JSOC is asked for one record, whose key then replaces the mark."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.concurrency import Bounded, SingleFlight
from mirror.coverage.claims import whole
from mirror.coverage.coverage import Freshness
from mirror.coverage.plan import Local, extreme_of, extreme_position, plan_read
from mirror.drms.recordset import (
    Bracket,
    Extreme,
    FloatRange,
    IntRange,
    KeyFilter,
    RecordSet,
    Selection,
    Term,
    Text,
)
from mirror.drms.series import FLOAT_TYPES
from mirror.drms.times import parse_time
from mirror.errors import NotHeld, SyntaxProblem, UpstreamBroken, UpstreamError
from mirror.readthrough.policy import CacheDemand
from mirror.storage.index.answers import AnswerKind, NewAnswer
from mirror.storage.index.rows import fill_request
from mirror.upstream.verification import identifying
from mirror.wire.info import RsListRequest
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.drms.series import Series
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.storage.index.index import Index


#: The prefix of questions for first and last records among the kept answers.
_KEY = "first or last "
#: Questions whose answers are remembered; others are among the kept answers for a while.
MOST_KNOWN = 10_000
INEXACT_TYPES = FLOAT_TYPES | {"time"}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A selection without ``^`` and ``$``; ``selection`` is None if there is no such record.

    ``asked``: upstream had to be asked. ``stale``: the last held record was taken to be the last.
    """

    selection: Selection | None
    asked: bool = False
    stale: bool = False


class FirstLast:
    """Finds the records that ``^`` and ``$`` stand for, and remembers them for a while."""

    def __init__(self, index: Index, upstream: JsocInfo, rules: Rules) -> None:
        self._index = index
        self._upstream = upstream
        self._rules = rules
        self._known: Bounded[str, tuple[Term | None, float]] = Bounded(MOST_KNOWN)
        self._flights: SingleFlight[str, Term | None] = SingleFlight()

    async def resolve(self, selection: Selection, demand: CacheDemand = CacheDemand.DEFAULT) -> Resolved:
        """Replace every ``^`` and ``$`` by a value, from the first filter to the last."""
        asked = stale = False
        while (position := extreme_position(selection)) is not None:
            f = selection.filters[position]
            assert isinstance(f, KeyFilter)
            terms: list[Term] = []
            for term in f.terms:
                value: Term | None = term
                if (mark := extreme_of(term)) is not None:
                    value, how = await self._value(selection, position, f, mark, demand)
                    asked, stale = asked or how == "asked", stale or how == "stale"
                if value is not None:
                    terms.append(_from(value, term) if isinstance(term, IntRange) else value)
            if not terms:
                return Resolved(None, asked, stale)
            filters = (
                *selection.filters[:position],
                replace(f, terms=tuple(terms)),
                *selection.filters[position + 1 :],
            )
            selection = replace(selection, filters=filters)
        return Resolved(selection, asked, stale)

    async def _value(
        self, selection: Selection, position: int, f: KeyFilter, term: Extreme, demand: CacheDemand
    ) -> tuple[Term | None, str]:
        before = replace(selection, filters=selection.filters[:position])
        freshness = self._rules.freshness(selection.series, demand)
        if isinstance(plan_read(before, self._index.coverage(selection.series), freshness), Local):
            return await self._held_value(before, f, term), "held"
        query = _prefix(selection, position, term)
        known = self._known.recall(query) or await self._recalled(selection.series, query)
        if known and abs(self._rules.timestamp() - known[1]) < _good_for(term, freshness):
            return known[0], "held"
        if not self._rules.asks(demand):
            return await self._value_however_old(before, query, f, term), "stale"
        try:
            value = await self._flights.run(query, lambda: self._ask(before, query, f, term))
        except UpstreamError:
            if not self._rules.stale_on_failure:
                raise
            return await self._value_however_old(before, query, f, term), "stale"
        self._known[query] = value, self._rules.timestamp()
        answer = NewAnswer(AnswerKind.BODY, _KEY + query, (whole(selection.series),), body=_encoded(value))
        await self._index.keep_answer(selection.series, answer, self._rules.timestamp())
        return value, "asked"

    async def _recalled(self, series: Series, query: str) -> tuple[Term | None, float] | None:
        """The value remembered from before the mirror's start."""
        kept = self._index.answers.find(series.name, AnswerKind.BODY, _KEY + query)
        body = None if kept is None else await self._index.body(kept)
        if kept is None or body is None:
            return None
        self._known[query] = _decoded(body), kept.checked_at((whole(series),)) or 0.0
        return self._known[query]

    async def _value_however_old(self, before: Selection, query: str, f: KeyFilter, term: Extreme) -> Term | None:
        """The value among held records; if a condition makes that undecidable, JSOC's last answer."""
        try:
            return await self._held_value(before, f, term)
        except NotHeld:
            known = self._known.recall(query) or await self._recalled(before.series, query)
            if known is None:
                raise
            return known[0]

    async def _ask(self, before: Selection, query: str, f: KeyFilter, mark: Extreme) -> Term | None:
        """Ask for the value of the key; the record itself comes with the fill that follows, if the value identifies it.

        A printed time or float does not identify it: then the record is kept, so that a search finds it.
        UpstreamBroken if the last record lies before one that is held.
        """
        series = before.series
        request = fill_request(self._index.layout(series), query, n=1)
        exact = _kind(before, f) not in INEXACT_TYPES
        # The other keys are requested too, to verify that they satisfy the filters before it.
        keys = tuple(dict.fromkeys((f.column, *identifying(series))))
        answer = await self._upstream.rs_list(RsListRequest(query, keys=keys, n=1) if exact else request)
        if not answer.count:
            return None
        columns = {name.lower(): values for name, values in answer.keywords or ()}
        text = str(columns[f.column.lower()][0])
        try:
            value = _term(before, f, text)
        except (ValueError, SyntaxProblem) as problem:
            raise UpstreamBroken(f"{query}: {f.column} = {text[:60]!r}, which cannot be read") from problem
        await self._check_last(before, query, f, mark, value)
        if not exact:
            await self._index.keep(series, answer, complete=(), checked_at=self._rules.timestamp())
        return value

    async def _check_last(
        self, before: Selection, query: str, f: KeyFilter, mark: Extreme, value: Term
    ) -> None:
        """Raise if a held record lies beyond the last. (The first may disappear, as in near-real-time series.)"""
        if not mark.last:
            return
        try:
            held = await self._held_value(before, f, mark)
        except NotHeld:  # a condition that cannot be decided here
            return
        if held is not None and _place(value) < _place(held):
            raise UpstreamBroken(
                f"the answer belongs to another question: {query} was asked for, and a record before one that is held came"
            )

    async def _held_value(self, before: Selection, f: KeyFilter, term: Extreme) -> Term | None:
        text = await self._index.extreme(before, f.column, last=term.last)
        return None if text is None else _term(before, f, text)


def _from(first: Term, steps: IntRange) -> IntRange:
    """``steps`` with an open start replaced by ``first``."""
    if extreme_of(steps) is None:
        return steps
    assert isinstance(first, IntRange)
    return replace(steps, first=first.first)


def _term(selection: Selection, f: KeyFilter, text: str) -> Term:
    """A key's printed value, as a term that only this value satisfies."""
    kind = _kind(selection, f)
    if kind == "string":
        return Text("" if text == "MISSING" else from_wire(text))
    if kind == "time":
        value = parse_time(text)
        return FloatRange(value, value)
    if kind in ("float", "double"):
        return FloatRange(float(text), float(text))
    number = int(text, 16) if text.lower().startswith("0x") else int(text)
    return IntRange(number, number)


def _encoded(value: Term | None) -> bytes:
    match value:
        case IntRange(first):
            return json.dumps({"number": first}).encode()
        case FloatRange(first):
            return json.dumps({"value": first}).encode()
        case Text(text):
            return json.dumps({"text": text}).encode()
        case _:
            return b"{}"


def _decoded(body: bytes) -> Term | None:
    match json.loads(body):
        case {"number": number}:
            return IntRange(number, number)
        case {"value": value}:
            return FloatRange(value, value)
        case {"text": text}:
            return Text(text)
        case _:
            return None


def _place(term: Term) -> tuple[float, str]:
    """The sort position of a key's value; a printed time or float may stand for any value near it."""
    match term:
        case IntRange(first, _) if first is not None:
            return first, ""
        case FloatRange(first, _) if first is not None:
            return round(first), ""
        case Text(value):
            return 0.0, value
    raise AssertionError(term)


def _kind(selection: Selection, f: KeyFilter) -> str:
    """The DRMS type of the column that a filter compares."""
    keyword = selection.series.keyword(f.column)
    return keyword.type if keyword else "longlong"


def _good_for(term: Extreme, freshness: Freshness) -> float:
    """Seconds for which an answer is good: the last record changes with every new one, the first hardly ever."""
    return freshness.young_age if term.last else freshness.settled_age


def _prefix(selection: Selection, position: int, term: Extreme) -> str:
    """The record set of the filters before ``position``, followed by the mark alone."""
    source = [f for f in selection.source.filters if not (isinstance(f, Bracket) and not f.text)]
    f = selection.filters[position]
    assert isinstance(f, KeyFilter)
    # bind moves a filter to the front if its mark refers to the whole series; then nothing is before it.
    mark = Bracket("$" if term.last else "^", f.key)
    return str(RecordSet(selection.series.name, (*source[:position], mark)))
