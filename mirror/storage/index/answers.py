"""Kept answers: what JSOC said that the held records do not show by themselves.

There are four kinds: for a *condition*, the records of some boxes that satisfy it; for a whole question, its *records*,
their *count*, or the *body* of an answer that JSOC alone can lay out. Each has coverage: where it holds, and when
that was checked. Records are held like all others; an answer has their numbers. It is written in the transaction of
its records, and cut in the transaction that replaces or removes a record of its boxes.

An answer gets a new id with every change. A statement that still finds the id after it has read the numbers and the
records knows that both belong together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.coverage import Box, Coverage
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS
from mirror.storage.index.changes import region_from_json, region_to_json
from mirror.storage.index.select_sql import box_predicate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mirror.coverage.coverage import Freshness
    from mirror.storage.database.database import Cursor
    from mirror.storage.index.layout import Layout

#: Most record numbers, characters of a question, and bytes of a body in one answer.
MOST_NUMBERS, LONGEST_KEY, LARGEST_BODY = 100_000, 20_000, 8_000_000
#: Most separate spans of one answer.
MOST_SPANS = 2_000
#: Limits of all answers together: how many, and their record numbers, where 8 bytes of a body count as one.
MOST_ANSWERS, MOST_SIZE = 20_000, 20_000_000
#: The fraction of both that is dropped when there is no room, least recently used first.
SHARE = 0.1


class AnswerKind(StrEnum):
    """What an answer tells."""

    CONDITION = "condition"  #: which records of its boxes satisfy a condition, for any part of them
    RECORDS = "records"  #: the records of a whole question
    COUNT = "count"  #: how many records a whole question has
    BODY = "body"  #: the bytes of the answer to a whole question


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer to keep: ``numbers`` for a condition or records, ``body`` for the other kinds.

    ``order`` has the numbers of records in JSOC's order.
    """

    kind: AnswerKind
    key: str
    boxes: tuple[Box, ...]
    numbers: frozenset[int] = frozenset()
    body: bytes = b""
    order: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        return len(self.numbers) + len(self.body) // 8

    @property
    def keepable(self) -> bool:
        """True if it is small enough to be kept."""
        spans = sum(1 if s.step == 1 else len(s) for box in self.boxes for s in box.steps)
        small = len(self.numbers) <= MOST_NUMBERS and len(self.body) <= LARGEST_BODY
        return small and len(self.key) <= LONGEST_KEY and spans <= MOST_SPANS


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept answer; ``coverage`` is read-only. ``size`` counts its record numbers."""

    id: int
    series: str  #: in lower case
    kind: AnswerKind
    key: str
    coverage: Coverage
    size: int

    def holds(self, boxes: Iterable[Box]) -> bool:
        """True if it covers all of these boxes."""
        return not any(self.coverage.gaps(box) for box in boxes)

    def is_fresh(self, boxes: Iterable[Box], freshness: Freshness) -> bool:
        """True if all of these boxes were checked recently enough."""
        return not any(self.coverage.stale(box, freshness) for box in boxes)

    def checked_at(self, boxes: Iterable[Box]) -> float | None:
        """The oldest check of any part of these boxes."""
        return min((at for box in boxes for at in self.coverage.checked(box)), default=None)


_Name = tuple[str, str]


class Answers:
    """The answers of a store. Methods with a cursor work inside a transaction of the one writer, after ``begin``.

    The copy in memory changes with the statement, not with the commit: ids show what was not committed. After a
    transaction that failed, the next one begins by reading the copy again.
    """

    def __init__(self) -> None:
        self._is_doubtful = False
        self._kept: dict[str, dict[_Name, Kept]] = {}
        self._used: dict[tuple[str, _Name], int] = {}
        self._clock = count()
        self._next = 1
        self._size = 0

    # ---- looking ---------------------------------------------------------------------------------

    def find(self, series: str, kind: AnswerKind, key: str) -> Kept | None:
        """The answer of this kind to a question; finding it counts as use."""
        name = (kind.value, key)
        kept = self._kept.get(series.lower(), {}).get(name)
        if kept is not None:
            self._used[kept.series, name] = next(self._clock)
        return kept

    def of(self, series: str) -> list[Kept]:
        """All answers about a series, by kind and question."""
        kept = self._kept.get(series.lower(), {})
        return [kept[name] for name in sorted(kept)]

    def any_of(self, series: str) -> bool:
        """True if there are answers about a series."""
        return bool(self._kept.get(series.lower()))

    # ---- changing --------------------------------------------------------------------------------

    def doubt(self) -> None:
        """Note that a transaction failed after ``begin``: what is in memory may not be in the database."""
        self._is_doubtful = True

    def begin(self, cursor: Cursor) -> None:
        """Make sure, at the beginning of a transaction, that what is in memory is in the database."""
        if self._is_doubtful:
            self._kept, self._used, self._size = {}, {}, 0
            self.load(cursor)
            self._is_doubtful = False

    def load(self, cursor: Cursor) -> None:
        """Read the kept answers, but not their numbers and bodies."""
        sql = (
            "SELECT id, series, kind, key, spans, coalesce(len(numbers), 0) + coalesce(octet_length(body), 0) // 8 "
            "FROM mirror.answers ORDER BY used_at, id"
        )
        for number, series, kind, key, spans, size in cursor.execute(sql).fetchall():
            self._next = max(self._next, number + 1)
            coverage = _coverage(spans)
            if coverage is not None and kind in _KINDS:  # a damaged answer is asked for again
                self._note(Kept(number, series, AnswerKind(kind), key, coverage, size))

    def put(self, cursor: Cursor, layout: Layout, answer: NewAnswer, checked_at: float) -> None:
        """Keep an answer. One to a condition joins what is known for other boxes; others replace what was kept."""
        if not answer.keepable:
            return
        name = layout.series.name.lower()
        coverage, numbers = Coverage(), answer.numbers
        before = self.find(name, answer.kind, answer.key) if answer.kind is AnswerKind.CONDITION else None
        if before is not None and is_there(cursor, before):  # a check of the index may have removed a damaged one
            elsewhere = _elsewhere(cursor, layout, before, answer.boxes)
            if len(elsewhere) + len(numbers) <= MOST_NUMBERS:
                coverage, numbers = before.coverage.redated(lambda at: at), numbers | elsewhere
        for box in answer.boxes:
            coverage.add(box, checked_at)
        if sum(1 for _, spans in coverage for _ in spans) > MOST_SPANS:
            coverage, numbers = Coverage(), answer.numbers
            for box in answer.boxes:
                coverage.add(box, checked_at)
        kept = Kept(self._id(), name, answer.kind, answer.key, coverage, len(numbers) + len(answer.body) // 8)
        self._delete(cursor, name, (answer.kind.value, answer.key))
        self._make_room(cursor, kept.size)
        values = [kept.id, name, answer.kind.value, answer.key, _spans(coverage), list(answer.order) or sorted(numbers), answer.body, checked_at]
        cursor.execute("INSERT INTO mirror.answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        self._note(kept)

    def cut(self, cursor: Cursor, series: str, uncover: Callable[[Coverage], Coverage]) -> None:
        """Reduce each answer about a series to what ``uncover`` leaves; answers to whole questions go if any part does."""
        for kept in self.of(series):
            left = uncover(kept.coverage)
            if _spans(left) == (before := _spans(kept.coverage)):
                continue
            parts = [Box(region, (Steps(s.lo, s.hi),)) for region, spans in kept.coverage for s in spans]
            whole = not any(left.gaps(box) for box in parts)
            if not whole and (kept.kind is not AnswerKind.CONDITION or _spans(left) == _NO_SPANS):
                self._delete(cursor, kept.series, (kept.kind.value, kept.key))
            elif _spans(left) != before:
                changed = replace(kept, id=self._id(), coverage=left)
                sql = "UPDATE mirror.answers SET id = ?, spans = ? WHERE id = ?"
                cursor.execute(sql, [changed.id, _spans(left), kept.id])
                self._note(changed)

    def forget_unheld(self, cursor: Cursor, layout: Layout) -> None:
        """Remove records of a series that are no longer held from its answers, whose claims were cut before."""
        for kept in self.of(layout.series.name):
            lacking = _unheld(cursor, layout, kept) if kept.kind is AnswerKind.CONDITION else frozenset()
            if lacking:
                rest = [n for n in numbers_of(cursor, kept) or () if n not in lacking]
                changed = replace(kept, id=self._id(), size=len(rest))
                sql = "UPDATE mirror.answers SET id = ?, numbers = ? WHERE id = ?"
                cursor.execute(sql, [changed.id, rest, kept.id])
                self._note(changed)

    def drop_broken(self, cursor: Cursor, layout: Layout) -> int:
        """Drop answers that name a record which is not held, or that are missing themselves; how many there were."""
        broken = [
            kept
            for kept in self.of(layout.series.name)
            if not is_there(cursor, kept) or _unheld(cursor, layout, kept)
        ]
        for kept in broken:
            self._delete(cursor, kept.series, (kept.kind.value, kept.key))
        return len(broken)

    def _note(self, kept: Kept) -> None:
        held, name = self._kept.setdefault(kept.series, {}), (kept.kind.value, kept.key)
        before = held.get(name)
        self._size += kept.size - (0 if before is None else before.size)
        held[name] = kept
        self._used.setdefault((kept.series, name), next(self._clock))

    def _delete(self, cursor: Cursor, series: str, name: _Name) -> None:
        gone = self._kept.get(series, {}).pop(name, None)
        self._used.pop((series, name), None)
        if gone is not None:
            self._size -= gone.size
        cursor.execute("DELETE FROM mirror.answers WHERE series = ? AND kind = ? AND key = ?", [series, *name])

    def _make_room(self, cursor: Cursor, size: int) -> None:
        if len(self._used) < MOST_ANSWERS and self._size + size <= MOST_SIZE:
            return
        number, most = (1 - SHARE) * MOST_ANSWERS, (1 - SHARE) * MOST_SIZE
        for series, name in sorted(self._used, key=lambda used: self._used[used]):
            if len(self._used) < number and self._size + size <= most:
                break
            self._delete(cursor, series, name)

    def _id(self) -> int:
        self._next += 1
        return self._next - 1


def numbers_of(cursor: Cursor, kept: Kept) -> list[int] | None:
    """The record numbers of an answer; None if it has changed or gone."""
    row = cursor.execute("SELECT numbers FROM mirror.answers WHERE id = ?", [kept.id]).fetchone()
    return None if row is None else list(row[0] or ())


def body_of(cursor: Cursor, kept: Kept) -> bytes | None:
    """The bytes of an answer; None if it has changed or gone."""
    row = cursor.execute("SELECT body FROM mirror.answers WHERE id = ?", [kept.id]).fetchone()
    return None if row is None else bytes(row[0] or b"")


def is_there(cursor: Cursor, kept: Kept) -> bool:
    """True if an answer has not changed since it was found, nor during any read in between."""
    return cursor.execute("SELECT 1 FROM mirror.answers WHERE id = ?", [kept.id]).fetchone() is not None


def _unheld(cursor: Cursor, layout: Layout, kept: Kept) -> frozenset[int]:
    """The numbers of an answer for which no record of any version is held."""
    numbers = numbers_of(cursor, kept) or []
    held: set[int] = set()
    for table in (layout.table, layout.old_table) if numbers else ():
        sql = f"SELECT recnum FROM {table} WHERE recnum IN (SELECT unnest(?::BIGINT[]))"
        held |= {row[0] for row in cursor.execute(sql, [numbers]).fetchall()}
    return frozenset(numbers) - held


def _elsewhere(cursor: Cursor, layout: Layout, kept: Kept, boxes: Iterable[Box]) -> frozenset[int]:
    """The numbers of an answer without those of records in these boxes."""
    numbers = numbers_of(cursor, kept) or []
    inside = " OR ".join(f"({box_predicate(layout.series, _along_all(layout, box))})" for box in boxes) or "FALSE"
    found: set[int] = set()
    for table in (layout.table, layout.old_table) if numbers else ():
        sql = f"SELECT recnum FROM {table} WHERE recnum IN (SELECT unnest(?::BIGINT[])) AND ({inside})"
        found |= {row[0] for row in cursor.execute(sql, [numbers]).fetchall()}
    return frozenset(numbers) - found


def _along_all(layout: Layout, box: Box) -> Box:
    """The box extended over all plain times: these stand in the question itself, so all its answers share them."""
    axis = coverage_axis(layout.series)
    rounded = axis is not None and axis.kind is Kind.MILLISECONDS and box.region != RECNUMS
    return replace(box, steps=(Steps(MIN, MAX),)) if rounded else box


_NO_SPANS = "[]"
_KINDS = frozenset(kind.value for kind in AnswerKind)


def _spans(coverage: Coverage) -> str:
    """Coverage as JSON: each region with its spans, as first and last place and moment of the check."""
    regions = ((region_to_json(region), [list(span) for span in spans]) for region, spans in coverage)
    return json.dumps(sorted([region, spans] for region, spans in regions if spans))


def _coverage(text: str) -> Coverage | None:
    """The inverse of ``_spans``; None if it cannot be read."""
    coverage = Coverage()
    try:
        for region, spans in json.loads(text):
            for lo, hi, checked_at in spans:
                coverage.add(Box(region_from_json(region), (Steps(int(lo), int(hi)),)), float(checked_at))
    except (ValueError, TypeError, KeyError):
        return None
    return coverage
