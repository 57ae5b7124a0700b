"""Which part of the coverage some rows belong to: record numbers, and spans along the axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.claims import at_places, numbered, whole, without
from mirror.coverage.coverage import Box, Coverage
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS
from mirror.storage.index.layout import FARTHEST, column_name, quoted
from mirror.storage.index.layout import whole as whole_sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor
    from mirror.storage.index.layout import Layout

#: Milliseconds by which a printed time may differ from the stored one.
_ROUNDING = 1000


@dataclass(frozen=True, slots=True)
class AffectedRecords:
    """Where the records of some rows lie; nothing is claimed there any more."""

    boxes: tuple[Box, ...] = ()

    def uncover(self, coverage: Coverage) -> Coverage:
        """What is still claimed without these records."""
        return without(coverage, self.boxes)

    def claimed(self, coverage: Coverage) -> tuple[Box, ...]:
        """The part of ``coverage`` that these records take away, as boxes to ask for again."""
        left = self.uncover(coverage)
        return tuple(
            gap
            for region, spans in coverage
            if (steps := tuple(Steps(span.lo, span.hi) for span in spans))
            for gap in left.gaps(Box(region, steps))
        )


def affected_by(
    layout: Layout, losses: Iterable[tuple[list[int] | None, list[tuple[int, int]] | None]]
) -> AffectedRecords:
    """From the record numbers and spans of several lost stretches; None (unknown) stands for everything."""
    series = layout.series
    recnums: list[int] = []
    spans: list[tuple[int, int]] = []
    every: list[Box] = []
    for numbers, along in losses:
        recnums += numbers or ()
        spans += along or ()
        every += [Box(RECNUMS, (Steps(MIN, MAX),))] if numbers is None else []
        every += [whole(series)] if along is None else []
    some = [at_places(series, spans)] if spans else []
    some += [numbered(recnums)] if recnums else []
    return AffectedRecords((*some, *every))


def affected_by_recnums(cursor: Cursor, layout: Layout, recnums: Iterable[int]) -> AffectedRecords:
    """Where records with these numbers lie, all versions."""
    numbers = list(recnums)
    spans: set[tuple[int | None, int | None]] = set()
    for table in (layout.table, layout.old_table):
        sql = f"SELECT DISTINCT {spans_sql(layout.series)} FROM {table} WHERE recnum IN (SELECT unnest(?::BIGINT[]))"
        spans |= set(cursor.execute(sql, [numbers]).fetchall())
    known = [(lo, hi) for lo, hi in spans if lo is not None and hi is not None]
    return affected_by(layout, [(numbers, known if len(known) == len(spans) else None)])


def spans_sql(series: Series) -> str:
    """Two SQL expressions: the places on the axis between which a row lies; 0 and 0 without an axis."""
    axis = coverage_axis(series)
    if axis is None:
        return "0, 0"
    column = quoted(column_name(axis.column))
    if axis.kind is not Kind.MILLISECONDS:
        return f"{column}, {column}"
    return f"{whole_sql(f'floor({column} * 1000)')} - {_ROUNDING}, {whole_sql(f'ceil({column} * 1000)')} + {_ROUNDING}"


def delete_records(cursor: Cursor, layout: Layout, recnums: Iterable[int] | None) -> None:
    """Delete records with these numbers, all versions; None: all records. For use within ``Index.drop``."""
    for table in (layout.table, layout.old_table):
        if recnums is None:
            cursor.execute(f"DELETE FROM {table}")
        else:
            chosen = "recnum IN (SELECT unnest(?::BIGINT[]))"
            cursor.execute(f"DELETE FROM {table} WHERE {chosen}", [list(recnums)])


def span_of(series: Series, value: float | None) -> tuple[int, int] | None:
    """The same span for one value of the axis' column; None if the value is missing."""
    axis = coverage_axis(series)
    if axis is None:
        return 0, 0
    if value is None or math.isnan(value):
        return None
    if axis.kind is not Kind.MILLISECONDS:
        return int(value), int(value)
    place = max(-FARTHEST, min(FARTHEST, int(value * 1000)))
    return place - _ROUNDING, place + _ROUNDING
