"""SQL text for selections over the tables of one series. Pure: text in, text out.

Values are written as literals: numbers by ``repr``, strings quoted; identifiers are quoted. A condition
is three-valued (``mirror.drms.where``): NULL for a record means that its printed values do not decide it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.coverage.axis import Axis, Kind, coverage_axis
from mirror.coverage.coverage import Between, Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS, other_keys
from mirror.drms.recordset import (
    BoundFilter,
    FloatRange,
    IntRange,
    KeyFilter,
    RecnumFilter,
    Selection,
    Term,
    Text,
    WhereFilter,
)
from mirror.drms.series import FLOAT_TYPES
from mirror.drms.slots import slot_axis
from mirror.drms.where import ColumnInfo, to_duckdb
from mirror.drms.where.steps import in_steps
from mirror.storage.index.layout import Layout, column_name, quoted, whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mirror.drms.series import Series
    from mirror.drms.slots import SlotAxis
    from mirror.drms.where.steps import Stepwise
    from mirror.storage.index.layout import Tolerance

#: Columns that conditions may name besides keywords.
_RECORD_COLUMNS = {"recnum": "longlong", "sunum": "longlong"}


def select_sql(
    layout: Layout,
    selection: Selection,
    n: int | None,
    tolerances: Mapping[str, Tolerance],
    most: int,
    answer_id: int | None = None,
) -> str:
    """``recnum, _keyset, _raw, undecided`` of the selected records in their order, at most ``most``.

    ``undecided`` marks rows for which a condition cannot be decided; they are included. With a negative ``n`` the
    order is reversed. ``answer_id`` is the id of an answer that says which records satisfy the conditions.
    """
    found = _found(layout, selection, tolerances) if answer_id is None else _told(layout, selection, answer_id)
    backwards = n is not None and n < 0
    order = ", ".join(_ordered(layout, c, backwards) for c in dict.fromkeys((*layout.order, "recnum")))
    # All undecided records must be seen, so the client's limit only applies if there can be none.
    limit = min(abs(n), most) if n and found.undecided == "FALSE" else most
    return (
        f"SELECT recnum, _keyset, _raw, {found.undecided} AS undecided FROM {found.source} "
        f"WHERE {found.where} ORDER BY {order} LIMIT {limit}"
    )


def exact_sql(selection: Selection, columns: Collection[str]) -> tuple[str, bool]:
    """The part of a selection that the values of ``columns`` decide for certain, and whether that is all of it.

    It says nothing about versions.
    """
    exact = [
        f
        for f in selection.filters
        if not isinstance(f, WhereFilter) and _is_exact(f) and _column(f) in columns
    ]
    return " AND ".join(map(key_predicate, exact)) or "TRUE", len(exact) == len(selection.filters)


def _column(f: KeyFilter | RecnumFilter) -> str:
    return "recnum" if isinstance(f, RecnumFilter) else column_name(f.column)


def rows_sql(layout: Layout, n: int | None, most: int) -> str:
    """``recnum, _keyset, _raw`` of the records with the numbers in ``asked(n)``, in order; reversed for ``n`` < 0."""
    backwards = n is not None and n < 0
    order = ", ".join(_ordered(layout, c, backwards) for c in dict.fromkeys((*layout.order, "recnum")))
    limit = min(abs(n), most) if n else most
    return (
        f"SELECT recnum, _keyset, _raw FROM {_versions(layout)} "
        f"WHERE recnum IN (SELECT n FROM asked) ORDER BY {order} LIMIT {limit}"
    )


def selected_sql(
    layout: Layout, selection: Selection, tolerances: Mapping[str, Tolerance]
) -> tuple[str, str]:
    """SELECT for all columns of the selected records, in no order, and the expression that marks undecided ones."""
    found = _found(layout, selection, tolerances)
    return f"SELECT {found.columns} FROM {found.source} WHERE {found.where}", found.undecided


def count_sql(layout: Layout, selection: Selection, tolerances: Mapping[str, Tolerance]) -> str:
    """How many records are selected, and for how many of them a condition is undecided."""
    found = _found(layout, selection, tolerances)
    return f"SELECT count(*), count(*) FILTER ({found.undecided}) FROM {found.source} WHERE {found.where}"


def extreme_sql(
    layout: Layout, selection: Selection, column: str, tolerances: Mapping[str, Tolerance], *, last: bool
) -> str:
    """``_keyset, _raw, undecided`` of the record with the first or last value of a key column.

    ``undecided`` says whether a condition is undecided for any record.
    """
    found = _found(layout, selection, tolerances)
    order = _ordered(layout, column_name(column), last)
    undecided = "FALSE" if found.undecided == "FALSE" else f"bool_or({found.undecided}) OVER ()"
    return (
        f"SELECT _keyset, _raw, {undecided} AS undecided FROM {found.source} "
        f"WHERE {found.where} ORDER BY {order} LIMIT 1"
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Where the records of a selection are: source, condition, the mark of undecided ones, and all columns."""

    source: str
    where: str
    undecided: str
    columns: str = "*"


def _found(layout: Layout, selection: Selection, tolerances: Mapping[str, Tolerance]) -> _Found:
    exact = [key_predicate(f) for f in selection.filters if not isinstance(f, WhereFilter) and _is_exact(f)]
    wheres = [
        f"({_condition(layout, f, tolerances)})"
        for f in selection.filters
        if isinstance(f, WhereFilter) or not _is_exact(f)
    ]
    condition = " AND ".join(wheres)
    source = _versions(layout) if selection.all_versions else layout.table
    steps = in_steps(condition)
    if steps is not None:
        return _computed(source, " AND ".join(exact) or "TRUE", steps)
    where = " AND ".join(exact + [f"({condition}) IS NOT FALSE" for _ in wheres[:1]]) or "TRUE"
    return _Found(source, where, f"({condition}) IS NULL" if condition else "FALSE")


def _computed(source: str, exact: str, steps: Stepwise) -> _Found:
    """As ``_found``, for a condition that is computed in steps, once per record.

    A limit too large to matter keeps DuckDB from merging the steps into one expression.
    """
    source = f"(FROM {source} WHERE {exact})"
    for level in (*steps.levels, (("_verdict", steps.condition),)):
        columns = ", ".join(f"{sql} AS {name}" for name, sql in level)
        source = f"(SELECT *, {columns} FROM {source} LIMIT {_NO_LIMIT})"
    added = ", ".join(("_verdict", *(name for level in steps.levels for name, _ in level)))
    return _Found(source, "_verdict IS NOT FALSE", "_verdict IS NULL", f"* EXCLUDE ({added}), _verdict")


_NO_LIMIT = 2**63 - 1


def _told(layout: Layout, selection: Selection, answer_id: int) -> _Found:
    """As ``_found``, where a kept answer decides the conditions."""
    exact = [key_predicate(f) for f in selection.filters if not isinstance(f, WhereFilter) and _is_exact(f)]
    chosen = f"recnum IN (SELECT unnest(numbers) FROM mirror.answers WHERE id = {answer_id})"
    source = _versions(layout) if selection.all_versions else layout.table
    return _Found(source, " AND ".join([*exact, chosen]), "FALSE")


def _ordered(layout: Layout, column: str, backwards: bool) -> str:
    """ORDER BY for a column. Missing values sort as the server stores them: NaN last, "" and INT_MIN first."""
    typed = layout.columns_by_name.get(column)
    last = typed is not None and typed.type in FLOAT_TYPES
    nulls = "LAST" if last != backwards else "FIRST"
    return f"{quoted(column)} {'DESC' if backwards else 'ASC'} NULLS {nulls}"


def where_sql(layout: Layout, where: WhereFilter, tolerances: Mapping[str, Tolerance]) -> str:
    """The three-valued predicate of a condition."""
    columns = {name: ColumnInfo(name, kind, 0.0, 0.0) for name, kind in _RECORD_COLUMNS.items()}
    for column in layout.columns:
        t = tolerances.get(column.name)
        exact = (0.0, 0.0) if t is None else (t.absolute, t.relative)
        columns[column.keyword.lower()] = ColumnInfo(quoted(column.name), column.type, *exact)
    columns |= {axis.key.lower(): ColumnInfo(_slot_time(axis), "time") for axis in _whole_slots(layout.series)}
    return to_duckdb(where.expr, columns)


def _whole_slots(series: Series) -> Iterator[SlotAxis]:
    """The slotted prime keys whose stored time is the middle of the slot, in whole seconds."""
    for prime in series.primekeys:
        axis = slot_axis(series, prime.name) if prime.slotted else None
        timed = axis is not None and (axis.scope, axis.type) == ("ts_eq", "time")
        if timed and axis is not None and axis.epoch.is_integer() and axis.step.is_integer():
            yield axis


def _slot_time(axis: SlotAxis) -> str:
    """The exact value of such a key, from its slot: the printed value may be rounded."""
    key, index = quoted(column_name(axis.key)), quoted(column_name(axis.index))
    return f"(CASE WHEN {key} IS NOT NULL THEN {axis.epoch!r} + {index} * {axis.step!r} END)"


def key_predicate(f: KeyFilter | RecnumFilter) -> str:
    """The predicate of a filter on a prime key or on record numbers."""
    if isinstance(f, KeyFilter):
        column = quoted(column_name(f.column))
        return _any(_term(column, term) for term in f.terms)
    # Open ends, ^ and $ were resolved or forwarded before anything is selected here.
    ranges = [IntRange(_number(r.first), _number(r.last), r.step) for r in f.ranges]
    return _any(_term("recnum", r) for r in ranges)


def box_predicate(series: Series, box: Box) -> str:
    """The predicate of records that certainly lie in a box."""
    if box.region == RECNUMS:
        return _any(_steps("recnum", s) for s in box.steps)
    axis = coverage_axis(series)
    parts = [] if axis is None else [_any(_along(axis, s) for s in box.steps)]
    for key, restriction in zip(other_keys(series), box.region.others, strict=True):
        if isinstance(restriction, Between):
            parts.append(_steps(_index(series, key), Steps(restriction.lo, restriction.hi)))
        elif restriction is not None:
            parts.append(f"coalesce({_index(series, key)}, '') = {_literal(restriction)}")
    return " AND ".join(parts) or "TRUE"


def places_sql(layout: Layout, region: Region) -> str:
    """The place on the axis of each record of a region: a number or milliseconds; 0 without an axis."""
    axis, place, present = coverage_axis(layout.series), "0::BIGINT", "0"
    if region == RECNUMS:
        place = present = "recnum"
    elif axis is not None:
        present = column = quoted(column_name(axis.column))
        place = whole(f"round({column} * 1000)") if axis.kind is Kind.MILLISECONDS else f"{column}::BIGINT"
    inside = box_predicate(layout.series, Box(region, (Steps(MIN, MAX),)))
    tables = (layout.table, layout.old_table) if region.all_versions else (layout.table,)
    return " UNION ALL ".join(
        f"SELECT {place} AS place FROM {t} WHERE {inside} AND {present} IS NOT NULL" for t in tables
    )


def _along(axis: Axis, s: Steps) -> str:
    column = quoted(column_name(axis.column))
    if axis.kind is not Kind.MILLISECONDS:
        return _steps(column, s)
    # Printed times are rounded: only records well within the steps certainly lie there.
    lo = [] if s.lo <= MIN else [f"{column} >= {(s.lo + _ROUNDING) / 1000!r}"]
    hi = [] if s.hi >= MAX else [f"{column} <= {(s.hi - _ROUNDING) / 1000!r}"]
    return "(" + (" AND ".join(lo + hi) or "TRUE") + ")"


#: Milliseconds by which a printed time may differ from the stored one.
_ROUNDING = 1000


def _is_exact(f: KeyFilter | RecnumFilter) -> bool:
    """True if printed values decide for certain which records pass the filter."""
    return isinstance(f, RecnumFilter) or not any(isinstance(t, FloatRange) for t in f.terms)


def _condition(layout: Layout, f: BoundFilter, tolerances: Mapping[str, Tolerance]) -> str:
    """The three-valued predicate of a filter that compares inexact values."""
    if isinstance(f, WhereFilter):
        return where_sql(layout, f, tolerances)
    assert isinstance(f, KeyFilter)
    column = column_name(f.column)
    return _any(_near(quoted(column), term, tolerances.get(column)) for term in f.terms)


def _near(column: str, term: Term, t: Tolerance | None) -> str:
    """The predicate for a range of an unslotted key: unknown for values that print like one of its ends."""
    if not isinstance(term, FloatRange) or t is None:
        return _term(column, term)
    ends = [end for end in (term.first, term.last) if end is not None]
    reach = f"{t.absolute!r} + {t.relative!r} * abs({column})"
    doubt = " OR ".join(f"abs({column} - {end!r}) <= {reach}" for end in ends) or "FALSE"
    return f"CASE WHEN {doubt} THEN NULL ELSE {_term(column, term)} END"


def _index(series: Series, key: str) -> str:
    slotted = slot_axis(series, key)
    return quoted(column_name(slotted.index if slotted else key))


def _versions(layout: Layout) -> str:
    """Both tables as one; the old one may lack columns that the structure got later."""
    return f"(FROM {layout.table} UNION ALL BY NAME FROM {layout.old_table})"


def _any(parts: Iterable[str]) -> str:
    return "(" + (" OR ".join(parts) or "FALSE") + ")"


def _term(column: str, term: Term) -> str:
    match term:
        case IntRange(first, last, step):
            lo, hi = (MIN if first is None else first), (MAX if last is None else last)
            return _steps(column, Steps(lo, hi, step))
        case FloatRange(first, last, open_end):
            bounds = [] if first is None else [f"{column} >= {first!r}"]
            bounds += [] if last is None else [f"{column} {'<' if open_end else '<='} {last!r}"]
            return " AND ".join(bounds) or "TRUE"
        case Text(value):
            return f"coalesce({column}, '') = {_literal(value)}"
    raise AssertionError("^ and $ are resolved before anything is selected")


def _steps(column: str, s: Steps) -> str:
    if s.lo == s.hi:
        return f"{column} = {s.lo}"
    parts = [f"{column} >= {s.lo}"] if s.lo > MIN else []
    parts += [f"{column} <= {s.hi}"] if s.hi < MAX else []
    parts += [f"({column} - {s.lo}) % {s.step} = 0"] if s.step > 1 else []
    return "(" + (" AND ".join(parts) or f"{column} IS NOT NULL") + ")"


def _number(bound: object) -> int | None:
    assert bound is None or isinstance(bound, int)
    return bound


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
