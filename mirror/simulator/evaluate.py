"""Which records a selection has, in which order: the simulator's own evaluator, in Python and numpy.

It shares the grammar of record sets with the mirror, but neither that of conditions nor any SQL, so that the two
can be checked against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mirror.drms.recordset import Extreme, FloatRange, IntRange, KeyFilter, RecnumFilter, Text, WhereFilter
from mirror.drms.selection import prime_columns, stepless
from mirror.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mirror.drms.recordset import RecnumRange, Selection, Term
    from mirror.drms.series import Series
    from mirror.simulator.base import Rows, SeriesData
    from mirror.simulator.sql import Condition

    Mask = NDArray[np.bool_]
    Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class OwnCondition(WhereFilter):
    """A condition as the simulator reads it; ``expr``, the mirror's tree, stands for nothing here."""

    condition: Condition


def _holds(where: WhereFilter, rows: Rows) -> Mask:
    if not isinstance(where, OwnCondition):
        raise Refused("a condition that the simulator did not read itself")
    return where.condition.holds(rows)


#: An answer of rs_list has fewer records than this.
MOST_RECORDS = 75_000
# The server reads records in chunks of a fixed memory; fitted to 14,940 records for hmi.sharp_720s.
_CHUNK_BYTES = 1.1e6 * 512
_KEYWORD_BYTES, _SEGMENT_BYTES = 105, 692


def record_limit(series: Series) -> int:
    """The number of records in one set at which the server's rs_list fails."""
    size = _KEYWORD_BYTES * len(series.keywords) + _SEGMENT_BYTES * len(series.segments)
    return min(MOST_RECORDS, int(_CHUNK_BYTES // max(size, 1)))


def count(selection: Selection, data: SeriesData, n: int = 0) -> int:
    """How many records the selection has, at most ``abs(n)`` if n is not 0."""
    known = known_count(selection, data)
    total = len(select(selection, data, n)) if known is None else known
    return min(total, abs(n)) if n else total


def known_count(selection: Selection, data: SeriesData) -> int | None:
    """The number of records if it is known without making rows; a step of 0 needs the rows."""
    return data.count(selection) if stepless(selection) is None else None


def select(selection: Selection, data: SeriesData, n: int = 0) -> Rows:
    """The selected records in prime-key order: the first ``n``, the last ``-n``, all for 0.

    Refused where the server divides by zero, which it does for the first record that it would select.
    """
    whole = stepless(selection)
    if whole is not None:
        return _divided_by_zero(whole, data)
    rows = data.candidates(selection, n or None)
    chosen = _filtered(selection, rows)
    ordered = chosen[_order(rows.take(chosen), prime_columns(selection.series))]
    wheres = [f for f in selection.filters if isinstance(f, WhereFilter)]
    if not selection.all_versions:
        ordered = ordered[_newest(rows.take(ordered), prime_columns(selection.series))]
    for where in wheres:
        ordered = ordered[_holds(where, rows.take(ordered))]
    return rows.take(_limited(ordered, n))


def _divided_by_zero(selection: Selection, data: SeriesData) -> Rows:
    rows = data.candidates(selection)
    hit = rows.take(_filtered(selection, rows))
    for where in selection.filters:
        if isinstance(where, WhereFilter):
            hit = hit.take(np.flatnonzero(_holds(where, hit)))
    if len(hit):
        raise Refused("division by zero: a step comes to less than half a slot; expected a longer step")
    return hit


def _limited(positions: Positions, n: int) -> Positions:
    return positions if n == 0 else positions[:n] if n > 0 else positions[n:]


# ---- filters ------------------------------------------------------------------------------------


def _filtered(selection: Selection, rows: Rows) -> Positions:
    """Rows of any version that pass the key and recnum filters, where clauses left out.

    First and last are taken among the rows that the earlier filters leave, where clauses included.
    """
    kept = np.ones(len(rows), dtype=bool)
    seen = kept
    for at, each in enumerate(selection.filters):
        if isinstance(each, KeyFilter):
            mask = _key_mask(each, rows, seen)
        elif isinstance(each, RecnumFilter):
            mask = _recnum_mask(each, rows)
        else:
            if _extreme_follows(selection, at):
                seen = seen & _where_mask(each, rows, seen)
            continue
        kept, seen = kept & mask, seen & mask
    return np.flatnonzero(kept)


def _extreme_follows(selection: Selection, at: int) -> bool:
    later = [f for f in selection.filters[at + 1 :] if isinstance(f, KeyFilter)]
    return any(isinstance(term, Extreme) for f in later for term in f.terms)


def _where_mask(where: WhereFilter, rows: Rows, among: Mask) -> Mask:
    mask = np.zeros(len(rows), dtype=bool)
    positions = np.flatnonzero(among)
    mask[positions] = _holds(where, rows.take(positions))
    return mask


def _key_mask(each: KeyFilter, rows: Rows, among: Mask) -> Mask:
    values = rows.stored(each.column.lower()).values
    mask = np.zeros(len(rows), dtype=bool)
    for term in each.terms:
        mask |= _term_mask(term, values, among)
    return mask


def _term_mask(term: Term, values: NDArray[Any], among: Mask) -> Mask:
    if isinstance(term, Text):
        return np.asarray(values == term.value, dtype=bool)
    if isinstance(term, Extreme):
        return _extreme_mask(term, values, among)
    if isinstance(term, IntRange):
        return _int_mask(term, values)
    return _float_mask(term, values)


def _extreme_mask(term: Extreme, values: NDArray[Any], among: Mask) -> Mask:
    if not among.any():
        return np.zeros(len(values), dtype=bool)
    extreme = max(values[among]) if term.last else min(values[among])
    return np.asarray(values == extreme, dtype=bool)


def _int_mask(term: IntRange, values: NDArray[Any]) -> Mask:
    mask = np.ones(len(values), dtype=bool)
    if term.first is not None:
        mask &= values >= term.first
    if term.last is not None:
        mask &= values <= term.last
    if term.step != 1 and len(values):
        first = values.min() if term.first is None else term.first
        mask &= (values - first) % term.step == 0
    return mask


def _float_mask(term: FloatRange, values: NDArray[Any]) -> Mask:
    mask = np.ones(len(values), dtype=bool)
    if term.first is not None:
        mask &= values >= term.first
    if term.last is not None:
        mask &= values < term.last if term.open_end else values <= term.last
    return mask


def _recnum_mask(each: RecnumFilter, rows: Rows) -> Mask:
    recnums = rows.stored("recnum").values
    mask = np.zeros(len(rows), dtype=bool)
    for span in each.ranges if len(rows) else ():
        mask |= _int_mask(_recnum_range(span, recnums), recnums)
    return mask


def _recnum_range(span: RecnumRange, recnums: NDArray[Any]) -> IntRange:
    """``^`` and ``$`` are the lowest and highest record number of the series."""
    ends = {"^": int(recnums.min()), "$": int(recnums.max())}
    first, last = (ends[end] if isinstance(end, str) else end for end in (span.first, span.last))
    return IntRange(first, last, span.step)


# ---- order and versions --------------------------------------------------------------------------


def _order(rows: Rows, keys: Sequence[str]) -> Positions:
    """Ascending by the prime-key columns, versions of one record by record number."""
    columns = [rows.stored("recnum").values, *(_sortable(rows, key) for key in reversed(keys))]
    return np.lexsort(columns)


def _sortable(rows: Rows, key: str) -> NDArray[Any]:
    values = rows.stored(key.lower()).values
    return values.astype(str) if values.dtype == object else values


def _newest(rows: Rows, keys: Sequence[str]) -> Mask:
    """Of ordered rows the last of each prime-key tuple; without prime keys every row."""
    last = np.ones(len(rows), dtype=bool)
    if keys and len(rows) > 1:
        columns = [rows.stored(key.lower()).values for key in keys]
        last[:-1] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return last
