"""Windows: selections of a stretch of the axis, and perhaps of values of other prime keys. Pure.

Most queries are windows. Answering one needs no typed columns but those of the prime keys.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.intervals import MAX, MIN
from mirror.drms.recordset import IntRange, KeyFilter, Text
from mirror.drms.selection import prime_columns
from mirror.drms.series import INTEGER_TYPES
from mirror.drms.slots import slot_axis
from mirror.storage.index.blocks import Block, Part
from mirror.storage.index.layout import SEPARATOR, column_name, quoted
from mirror.storage.index.select_sql import key_predicate

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

    from mirror.drms.recordset import Selection, Term
    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor
    from mirror.storage.index.layout import Layout

#: Up to this many places of replaced records are listed one by one; beyond that, the stretch that contains them all.
MOST_PLACES = 20
#: Axis values of the widest window: a day of 12 s.
WIDEST = 8192


@dataclass(frozen=True, slots=True)
class Window:
    """The records of ``lo..hi`` on the axis, which is the key at ``axis`` of the layout's order.

    ``others`` are filters on other keys of that order, each with its place.
    """

    lo: int
    hi: int
    axis: int
    others: tuple[tuple[int, KeyFilter], ...]


def window_of(selection: Selection) -> Window | None:
    """The selection as a window; None if it is not one."""
    columns = _whole_keys(selection.series)
    axis = coverage_axis(selection.series)
    if axis is None or columns is None or axis.kind is Kind.MILLISECONDS:
        return None
    along: IntRange | None = None
    others: list[tuple[int, KeyFilter]] = []
    for f in selection.filters:
        if not isinstance(f, KeyFilter) or f.column not in columns:
            return None
        if f.column == axis.column:
            (first, *more) = f.terms
            if along is not None or more or not isinstance(first, IntRange) or first.step != 1:
                return None
            along = first
        else:
            text = columns[f.column]
            if not all(isinstance(t, Text) if text else isinstance(t, IntRange) for t in f.terms):
                return None
            others.append((list(columns).index(f.column), f))
    if along is None or along.first is None or along.last is None:
        return None
    if not 0 <= along.last - along.first < WIDEST:
        return None
    return Window(along.first, along.last, list(columns).index(axis.column), tuple(others))


def _whole_keys(series: Series) -> dict[str, bool] | None:
    """The columns by which records are ordered, True for text; None if any is neither text nor integer."""
    return series.derived("whole keys", lambda: _keys_of(series))


def _keys_of(series: Series) -> dict[str, bool] | None:
    found: dict[str, bool] = {}
    for prime, column in zip(series.primekeys, prime_columns(series), strict=True):
        keyword = series.keyword(prime.name)
        if keyword is None or (prime.slotted and slot_axis(series, prime.name) is None):
            return None
        if not prime.slotted and keyword.type not in INTEGER_TYPES | {"string"}:
            return None
        found[column] = not prime.slotted and keyword.type == "string"
    return found or None


def place_of(series: Series, rows: pa.Table | None) -> tuple[int, int] | None:
    """The stretch of the axis in which rows lie, as ``PlacedVersion`` takes it; None if that is not certain."""
    if rows is None:
        return MAX, MIN  # nowhere
    axis = coverage_axis(series)
    if axis is None or axis.kind is Kind.MILLISECONDS:
        return None
    ends = pc.min_max(rows[column_name(axis.column)])
    lo, hi = ends["min"].as_py(), ends["max"].as_py()
    return (MAX, MIN) if lo is None else (int(lo), int(hi))


def places_of(cursor: Cursor, layout: Layout, recnums: Collection[int]) -> list[tuple[int, int]] | None:
    """The stretches of the axis in which held records of the newest versions lie, as ``place_of``."""
    axis = coverage_axis(layout.series)
    if axis is None or axis.kind is Kind.MILLISECONDS:
        return None
    column = quoted(column_name(axis.column))
    sql = f"SELECT DISTINCT {column} FROM {layout.table} WHERE recnum IN (SELECT unnest(?::BIGINT[])) AND {column} IS NOT NULL"
    found = sorted(int(at) for (at,) in cursor.execute(sql, [list(recnums)]).fetchall())
    return [(at, at) for at in found] if len(found) <= MOST_PLACES else [(found[0], found[-1])]


def is_in_order(series: Series) -> bool:
    """True if the records of a series lie in the order of its axis, so that it has blocks."""
    columns, axis = _whole_keys(series), coverage_axis(series)
    return columns is not None and axis is not None and axis.kind is not Kind.MILLISECONDS and next(iter(columns)) == axis.column


def stretch(first: int, last: int, slots: int) -> Window:
    """The window of the blocks ``first`` to ``last``."""
    return Window(first * slots, last * slots + slots - 1, 0, ())


def window_sql(layout: Layout, window: Window) -> str:
    """SQL: the rows of a window in the form that ``block_of`` takes."""
    axis = quoted(layout.order[window.axis])
    keys = ", ".join(map(quoted, layout.order))
    tests = [f"{axis} >= {window.lo} AND {axis} <= {window.hi}", *(key_predicate(f) for _, f in window.others)]
    raw = f"_raw || chr({ord(SEPARATOR)}) AS _raw"
    return f"SELECT recnum, _keyset, {raw}, {keys} FROM {layout.table} WHERE {' AND '.join(tests)}"


def part_of(block: Block, window: Window) -> Part:
    """The records of a block that are in a window. The axis must be the first key, which orders the block."""
    along: list[Any] = block.keys[0]
    start, stop = bisect_left(along, window.lo), bisect_left(along, window.hi + 1)
    if not window.others:
        return Part(block, start, stop)
    found = [
        i for i in range(start, stop) if all(_passes(block.keys[place][i], f.terms) for place, f in window.others)
    ]
    return Part(block, 0, 0, np.asarray(found, np.int32))


def _passes(value: object, terms: tuple[Term, ...]) -> bool:
    """The same test as ``key_predicate`` writes in SQL."""
    for term in terms:
        if isinstance(term, Text):
            if (value or "") == term.value:
                return True
        elif isinstance(term, IntRange) and isinstance(value, int):
            above = term.first is None or value >= term.first
            below = term.last is None or value <= term.last
            if above and below and (term.step == 1 or term.first is None or (value - term.first) % term.step == 0):
                return True
    return False
