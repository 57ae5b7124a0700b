"""Answers questions that held records do not decide: from kept answers of JSOC, or by asking it.

An answer to a condition over some boxes serves any part of them; of a larger region only the rest is asked. Answers to
whole questions, records and counts, are kept under the question's canonical form. All of them are checked as coverage
is, by the same rules: for what is due, JSOC is asked for record numbers, and then for records that are not held.
``mirror.coverage.conditions`` says what is one question, ``mirror.storage.index.answers`` keeps the answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.concurrency import SingleFlight
from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.conditions import (
    answer_boxes,
    answer_key,
    can_be_cut,
    condition_of,
    is_condition,
    is_volatile,
    with_conditions,
)
from mirror.coverage.coverage import MAX_PIECES
from mirror.coverage.plan import Forward, box_query, is_whole, need
from mirror.drms.recordset import KeyFilter, RecordSet, WhereFilter
from mirror.drms.where import needs
from mirror.readthrough.chunks import MAX_RANGES
from mirror.readthrough.rechecks import by_number
from mirror.storage.index.answers import AnswerKind, NewAnswer
from mirror.storage.index.layout import column_name
from mirror.storage.index.rows import fill_request, raw_records
from mirror.wire.info import RsListRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.config.loading import Fill
    from mirror.coverage.conditions import Condition
    from mirror.coverage.coverage import Box, Freshness
    from mirror.drms.recordset import Selection
    from mirror.readthrough.policy import CacheDemand, JsocInfo, Rules
    from mirror.storage.index.answers import Kept
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row
    from mirror.wire.rs_list import RsList

RECNUM = "*recnum*"


@dataclass(frozen=True, slots=True)
class Recalled:
    """The records of a question in order; ``fresh`` if checked recently enough. ``checked_at`` is the oldest check.

    ``whole``: they come from asking JSOC the whole question, unchanged.
    """

    rows: list[Row]
    fresh: bool
    checked_at: float | None = None
    whole: bool = False


class KeptAnswers:
    """Answers from kept answers; selections must be without ``^`` and ``$``."""

    def __init__(self, index: Index, upstream: JsocInfo, rules: Rules, settings: Fill) -> None:
        self._index = index
        self._upstream = upstream
        self._rules = rules
        self._chunk = settings.chunk_records
        self._counts: SingleFlight[tuple[str, str], int] = SingleFlight()
        self._flights: SingleFlight[tuple[str, str, CacheDemand], Recalled] = SingleFlight()

    async def records(
        self, selection: Selection, n: int | None, demand: CacheDemand, *, any_age: bool = False
    ) -> Recalled | None:
        """The records of a kept answer; None if there is none, or (unless ``any_age``) it is due."""
        for kept, boxes, limit in self._candidates(selection, n):
            fresh = self._is_fresh(kept, boxes, self._rules.freshness(selection.series, demand))
            if fresh or any_age:
                rows = await self._index.select_told(selection, kept, limit)
                if rows is not None:
                    return Recalled(rows, fresh, kept.checked_at(boxes))
        return None

    async def count(
        self, selection: Selection, demand: CacheDemand, *, any_age: bool = False
    ) -> tuple[int, bool, float | None] | None:
        """How many records there were, whether that was checked recently enough, and when it was."""
        found = await self.records(selection, None, demand, any_age=any_age)
        if found is not None:
            return len(found.rows), found.fresh, found.checked_at
        kept = self._index.answers.find(selection.series.name, AnswerKind.COUNT, answer_key(selection))
        boxes = answer_boxes(selection)
        if kept is None:
            return None
        fresh = self._is_fresh(kept, boxes, self._rules.freshness(selection.series, demand))
        body = await self._index.body(kept) if fresh or any_age else None
        return None if body is None else (int(body), fresh, kept.checked_at(boxes))

    async def ask_count(self, selection: Selection) -> int:
        """How many records JSOC counts; the count is kept. Asked once, however many ask at a time."""
        question = selection.series.name.lower(), answer_key(selection)
        return await self._counts.run(question, lambda: self._ask_count(selection))

    async def _ask_count(self, selection: Selection) -> int:
        asked_at = self._rules.timestamp()
        total = await self._upstream.rs_summary(str(selection.source))
        answer = NewAnswer(AnswerKind.COUNT, answer_key(selection), answer_boxes(selection), body=str(total).encode())
        await self._index.keep_answer(selection.series, answer, asked_at)
        return total

    async def ask(self, selection: Selection, n: int | None, demand: CacheDemand) -> Recalled:
        """Ask JSOC for as much of the question as was not answered recently; its answer is kept.

        Asked once, however many ask it at a time, in whatever spelling.
        """
        question = selection.series.name.lower(), answer_key(selection, n), demand
        return await self._flights.run(question, lambda: self._ask(selection, n, demand))

    async def _ask(self, selection: Selection, n: int | None, demand: CacheDemand) -> Recalled:
        if not n:
            found = await self._ask_rest(selection, demand)
            if found is not None:
                return found
        return await self._ask_whole(selection, n)

    async def keep_decided(self, selection: Selection, rows: Sequence[Row]) -> None:
        """Keep an answer that printed values decide now, but perhaps no longer once more records are held.

        The tolerance of a column is learned from all of its values.
        """
        series = selection.series
        condition = condition_of(selection) if is_doubtful(selection, self._index.layout(series)) else None
        if condition is None:
            return
        coverage = self._index.coverage(series)
        boxes = need(selection, implied=True)
        checked = [] if isinstance(boxes, Forward) else [at for box in boxes for at in coverage.checked(box)]
        if checked:
            answer = NewAnswer(AnswerKind.CONDITION, condition.key, condition.boxes, frozenset(row.recnum for row in rows))
            await self._index.keep_answer(series, answer, min(checked))

    # ---- what is kept ----------------------------------------------------------------------------

    def _candidates(
        self, selection: Selection, n: int | None
    ) -> Iterator[tuple[Kept, tuple[Box, ...], int | None]]:
        """The kept answers that tell a selection's records, each with the boxes, and how many records are wanted."""
        answers, name = self._index.answers, selection.series.name
        if not answers.any_of(name):
            return
        boxes, own_end = answer_boxes(selection), end_is_jsocs(selection, n)
        condition = None if own_end else condition_of(selection)
        kept = None if condition is None else answers.find(name, AnswerKind.CONDITION, condition.key)
        if kept is not None and condition is not None and kept.holds(condition.boxes):
            yield kept, condition.boxes, n
        for asked, limit in ((n, None),) if own_end or not n else ((None, n), (n, None)):
            kept = answers.find(name, AnswerKind.RECORDS, answer_key(selection, asked))
            if kept is not None and kept.holds(boxes):
                yield kept, boxes, limit

    def _is_fresh(self, kept: Kept, boxes: tuple[Box, ...], freshness: Freshness) -> bool:
        return kept.is_fresh(boxes, freshness) and not is_volatile(kept.key)

    # ---- what is asked ---------------------------------------------------------------------------

    async def _ask_rest(self, selection: Selection, demand: CacheDemand) -> Recalled | None:
        """Ask for the unknown part, check what is due, and answer; None if nothing is known."""
        condition = condition_of(selection)
        try_parts = condition is not None and can_be_cut(selection.series) and not is_volatile(condition.key)
        if try_parts and condition is not None:
            if not await self._ask_parts(selection, condition, demand):
                return None
        elif not await self._check_whole(selection):
            return None
        return await self.records(selection, None, demand, any_age=True)

    async def _ask_parts(self, selection: Selection, condition: Condition, demand: CacheDemand) -> bool:
        series = selection.series
        kept = self._index.answers.find(series.name, AnswerKind.CONDITION, condition.key)
        if kept is None:
            return False
        freshness = self._rules.freshness(series, demand)
        missing = [gap for box in condition.boxes for gap in kept.coverage.gaps(box)]
        due = [old for box in condition.boxes for old in kept.coverage.stale(box, freshness)]
        parts = [*missing, *due]
        ranges = max((len(box.steps) for box in parts), default=0)
        if missing == list(condition.boxes) or len(parts) > MAX_PIECES or ranges > MAX_RANGES:
            return False
        for box in parts:
            query = with_conditions(box_query(series, box), selection.source)
            reply = NewAnswer(AnswerKind.CONDITION, condition.key, (box,))
            if not (box in due and await self._check(selection, query, reply)):
                asked_at = self._rules.timestamp()
                answer = await self._upstream.rs_list(fill_request(self._index.layout(series), str(query)))
                reply = replace(reply, numbers=frozenset(_numbers(answer)))
                if not reply.keepable:
                    return False
                await self._index.keep_answer(series, reply, asked_at - answer.age, [answer])
        return True

    async def _check_whole(self, selection: Selection) -> bool:
        """Check a kept whole answer by record numbers; False if there is none, or much has changed."""
        for kept, boxes, _ in self._candidates(selection, None):
            answer = NewAnswer(kept.kind, kept.key, boxes)
            return await self._check(selection, _query(selection), answer)
        return False

    async def _check(self, selection: Selection, query: RecordSet, reply: NewAnswer) -> bool:
        """Ask for a question's record numbers, and for records that are not held; False if these are many."""
        series, asked_at = selection.series, self._rules.timestamp()
        answer = await self._upstream.rs_list(RsListRequest(str(query), keys=(RECNUM,)))
        order = _numbers(answer)
        theirs = frozenset(order)
        known = await self._index.known(series, theirs, all_versions=selection.all_versions)
        parts = by_number(theirs - known, len(theirs), self._chunk)
        reply = replace(reply, numbers=theirs, order=order if reply.kind is AnswerKind.RECORDS else ())
        if parts is None or not reply.keepable:
            return False
        layout = self._index.layout(series)
        came = [
            await self._upstream.rs_list(fill_request(layout, str(box_query(series, part)))) for part in parts
        ]
        if sum(each.count for each in came) != len(theirs - known):
            return False  # something has changed again meanwhile
        await self._index.keep_answer(series, reply, asked_at - answer.age, came)
        return True

    async def _ask_whole(self, selection: Selection, n: int | None) -> Recalled:
        series = selection.series
        layout, asked_at = self._index.layout(series), self._rules.timestamp()
        answer = await self._upstream.rs_list(fill_request(layout, str(_query(selection)), n=n))
        ended = bool(n) and answer.count < abs(n or 0)
        own_end = end_is_jsocs(selection, n)
        reply = _told(selection, None if ended and not own_end else n, _numbers(answer))
        complete = _whole_boxes(selection) if ended else ()
        checked_at = asked_at - answer.age
        await self._index.keep(series, answer, complete=complete, checked_at=checked_at, more=(reply,))
        return Recalled(raw_records(layout, answer), fresh=True, checked_at=checked_at, whole=True)


def is_doubtful(selection: Selection, layout: Layout) -> bool:
    """True if a condition of a selection compares values that print inexactly."""
    for f in selection.filters:
        names = needs(f.expr) if isinstance(f, WhereFilter) else ()
        columns = (layout.columns_by_name.get(column_name(name)) for name in names)
        if (isinstance(f, KeyFilter) and is_condition(f)) or any(c is not None and c.inexact for c in columns):
            return True
    return False


def _query(selection: Selection) -> RecordSet:
    return RecordSet(selection.series.name, selection.source.filters)


def end_is_jsocs(selection: Selection, n: int | None) -> bool:
    """True if only JSOC's own order distinguishes the last records from others with the same prime keys."""
    conditions = (f for f in selection.filters if isinstance(f, WhereFilter))
    plain = bool(selection.series.primekeys) and not any(f.all_versions for f in conditions)
    return n is not None and n < 0 and not plain


def _numbers(answer: RsList) -> tuple[int, ...]:
    columns = dict(answer.keywords or ())
    return tuple(map(int, columns[RECNUM])) if answer.count else ()


def _told(selection: Selection, n: int | None, numbers: tuple[int, ...]) -> NewAnswer:
    """The answer to a question, to be kept; with ``n`` there may be more records."""
    condition = None if n else condition_of(selection)
    if condition is not None:
        return NewAnswer(AnswerKind.CONDITION, condition.key, condition.boxes, frozenset(numbers))
    key, boxes = answer_key(selection, n), answer_boxes(selection)
    return NewAnswer(AnswerKind.RECORDS, key, boxes, frozenset(numbers), order=numbers)


def _whole_boxes(selection: Selection) -> tuple[Box, ...]:
    """The boxes that are certainly complete once all records of a selection are held; () if there are none.

    None for plain times, which are rounded, and for ``^`` and ``$``, which may mean other records by now.
    """
    axis, boxes = coverage_axis(selection.series), need(selection)
    marks = any("^" in str(f) or "$" in str(f) for f in selection.source.filters)
    rounded = axis is not None and axis.kind is Kind.MILLISECONDS
    if isinstance(boxes, Forward) or len(boxes) != 1 or marks or rounded or not is_whole(selection):
        return ()
    return boxes

