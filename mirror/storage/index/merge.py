"""Merges records into the tables of their series, inside the caller's transaction.

Of the records with one name (prime-key values), the one with the highest recnum is in the series' table,
the others are in its ``__old``. No table has a primary key or an index: order alone makes it fast, and
secondary indexes of DuckDB 1.5 can lose rows after a crash.

``merge`` takes a batch from JSOC, ``absorb`` what another mirror cached of a series. Where one side has checked
a box later than the other, a record that only the other has there is gone and becomes an old version, unless
its number is above all that the later side knew: then it came after that check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.plan import RECNUMS
from mirror.storage.index.layout import Layout, quoted
from mirror.storage.index.select_sql import box_predicate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from mirror.coverage.coverage import Box
    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor

    #: Called before held records are moved: each replaced record with its replacement (None: it has none).
    Note = Callable[[Mapping[int, int | None]], None]
    from collections.abc import Mapping

    from mirror.coverage.claims import CoverageClaim
    from mirror.storage.index.layout import Layout, Tolerance

_BATCH = "incoming_batch"


def create_tables(cursor: Cursor, layout: Layout) -> None:
    """Create the two tables of a series unless they exist."""
    columns = ["recnum BIGINT", "sunum BIGINT"]
    columns += [f"{quoted(c.name)} {c.sql_type}" for c in layout.columns]
    columns += ["_keyset INTEGER", "_raw VARCHAR USING COMPRESSION zstd"]
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {layout.namespace}")
    for table in (layout.table, layout.old_table):
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})")


@dataclass(frozen=True, slots=True)
class Departures:
    """What leaves the series' table because of a batch, and which of the batch's records are already old."""

    retired: frozenset[int]
    outdated: frozenset[int]
    replaced: Mapping[int, int | None]  #: retired record numbers, each with the new one or None


def departures(pairs: Iterable[tuple[int, int]], leaving: Collection[int]) -> Departures:
    """Decide from pairs of numbers (held, new), one pair per name, and the held ones that upstream no longer has.

    The newer of a pair stays, unless upstream no longer has it but still has the older.
    """
    gone = frozenset(leaving)
    replaced: dict[int, int | None] = dict.fromkeys(gone)
    outdated = set()
    for held, new in pairs:
        if held < new or (held > new and held in gone):
            replaced[held] = new
        elif held > new:
            outdated.add(new)
    return Departures(frozenset(replaced), frozenset(outdated), replaced)


def merge(
    cursor: Cursor,
    layout: Layout,
    rows: pa.Table | None,
    complete: tuple[Box, ...],
    *,
    gone: Collection[int] = (),
    note: Note = lambda _: None,
) -> None:
    """Put ``rows`` where they belong, and retire what they replace or what is gone.

    In the boxes ``complete`` the rows are all there is: other records there become old versions, as do
    those numbered ``gone``. ``note`` gets each record that leaves, except those that return under the same number.
    """
    where = [f"({box_predicate(layout.series, box)})" for box in complete]
    if gone:
        where.append(f"recnum IN ({', '.join(map(str, gone))})")
    within = " OR ".join(where)
    if rows is None:
        if within:
            _retire_all(cursor, layout, within, note)
        return
    cursor.register(_BATCH, rows)
    try:
        certain = bool(complete) and all(_finds_all(layout.series, box) for box in complete)
        versions = _has_versions(layout, rows)
        if not certain or not _untouched(cursor, layout, within):
            _merge_into(cursor, layout, within, note, versions=versions)
            return
        if versions:
            cursor.execute(f"INSERT INTO {layout.table} BY NAME FROM {_newest(layout)}")
            cursor.execute(f"INSERT INTO {layout.old_table} BY NAME FROM {_replaced(layout)}")
        else:
            # In the server's order, that of the prime keys.
            cursor.execute(f"INSERT INTO {layout.table} BY NAME FROM {_BATCH}")
    finally:
        cursor.unregister(_BATCH)


def _finds_all(series: Series, box: Box) -> bool:
    """True if the box's predicate finds everything held under the names of its records.

    Record numbers say nothing about names, and the request for a span of plain times reaches beyond the span.
    """
    axis = coverage_axis(series)
    return box.region != RECNUMS and (axis is None or axis.kind is not Kind.MILLISECONDS)


def _untouched(cursor: Cursor, layout: Layout, within: str) -> bool:
    """True if no held record can collide with the batch, as is usual in a first fill."""
    sql = f"SELECT 1 FROM {layout.table} WHERE {within} LIMIT 1"
    old = f"SELECT 1 FROM {layout.old_table} WHERE {within} LIMIT 1"
    return cursor.execute(sql).fetchone() is None and cursor.execute(old).fetchone() is None


def _has_versions(layout: Layout, rows: pa.Table) -> bool:
    """True if two rows have the same name; much quicker than ranking them."""
    names = rows.select(layout.order)
    if len(rows) < _FEW:
        return len(set(zip(*(column.to_pylist() for column in names.columns), strict=True))) < len(rows)
    return bool(len(names.group_by(list(layout.order)).aggregate([])) < len(rows))


#: Up to this many names are compared in Python before Arrow has even started.
_FEW = 64


def _merge_into(cursor: Cursor, layout: Layout, within: str, note: Note, *, versions: bool) -> None:
    newest = _newest(layout) if versions else _ordered(layout)
    same = " AND ".join(f"held.{quoted(c)} IS NOT DISTINCT FROM new.{quoted(c)}" for c in layout.order)
    pairs = cursor.execute(
        f"SELECT held.recnum, new.recnum FROM {layout.table} held, {newest} new "
        f"WHERE {same} AND held.recnum <> new.recnum"
    ).fetchall()
    leaving = _numbers(cursor, layout, f"({within}) AND {_NOT_SENT}") if within else set()
    found = departures(pairs, leaving)
    if found.replaced:
        note(found.replaced)
    for table in (layout.table, layout.old_table):
        cursor.execute(f"DELETE FROM {table} WHERE NOT ({_NOT_SENT})")
    if found.retired:
        _retire(cursor, layout, f"recnum IN ({', '.join(map(str, found.retired))})")
    into, old = f"INSERT INTO {layout.table} BY NAME", f"INSERT INTO {layout.old_table} BY NAME"
    numbers = ", ".join(map(str, found.outdated)) or "NULL"
    newer = f"SELECT * FROM {newest} WHERE recnum NOT IN ({numbers})" if found.outdated else f"FROM {newest}"
    cursor.execute(f"{into} {newer}")
    if versions:
        cursor.execute(f"{old} FROM {_replaced(layout)}")
    if found.outdated:
        cursor.execute(f"{old} SELECT * FROM {_BATCH} WHERE recnum IN ({numbers})")


_NOT_SENT = f"recnum NOT IN (SELECT recnum FROM {_BATCH})"


def _retire_all(cursor: Cursor, layout: Layout, predicate: str, note: Note) -> None:
    """Retire records that nothing replaces."""
    gone = _numbers(cursor, layout, predicate)
    if gone:
        note(dict.fromkeys(gone))
        _retire(cursor, layout, predicate)


def _numbers(cursor: Cursor, layout: Layout, predicate: str) -> set[int]:
    found = cursor.execute(f"SELECT recnum FROM {layout.table} WHERE {predicate}").fetchall()
    return {row[0] for row in found}


def _retire(cursor: Cursor, layout: Layout, predicate: str) -> None:
    cursor.execute(f"INSERT INTO {layout.old_table} BY NAME SELECT * FROM {layout.table} WHERE {predicate}")
    cursor.execute(f"DELETE FROM {layout.table} WHERE {predicate}")


def _newest(layout: Layout) -> str:
    """The rows of the batch that are the newest of their name, in the batch's order."""
    keys = ", ".join(map(quoted, layout.order))
    return f"(FROM {_BATCH} QUALIFY recnum = max(recnum) OVER (PARTITION BY {keys}) ORDER BY {keys})"


def _ordered(layout: Layout) -> str:
    return f"(FROM {_BATCH} ORDER BY {', '.join(map(quoted, layout.order))})"


def _replaced(layout: Layout) -> str:
    keys = ", ".join(map(quoted, layout.order))
    return f"(FROM {_BATCH} QUALIFY recnum < max(recnum) OVER (PARTITION BY {keys}) ORDER BY {keys})"


_NUMBERS, _ROWS = "carried_numbers", "carried_rows"


@dataclass(frozen=True)
class ForeignRecords:
    """What another mirror cached of a series: rows as ``batch`` makes them, with key sets of this store.

    ``new`` are the newest versions of their names, ``old`` those that were replaced or are gone.
    """

    new: tuple[pa.Table, ...] = ()
    old: tuple[pa.Table, ...] = ()
    claims: tuple[CoverageClaim, ...] = ()
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)


def absorb(
    cursor: Cursor, layout: Layout, share: ForeignRecords, theirs: Iterable[CoverageClaim], ours: Iterable[Box], note: Note
) -> None:
    """Merge the rows of ``share``; ``theirs`` are the boxes that it has checked later than we, ``ours`` the others."""
    numbers = [n for table in (*share.new, *share.old) for n in table["recnum"].to_pylist()]
    current = [n for table in share.new for n in table["recnum"].to_pylist()]
    gone = _gone_there(
        cursor, layout, _within(layout, (b for b, _ in theirs)), current, max(numbers, default=0)
    )
    if gone:
        merge(cursor, layout, None, (), gone=gone, note=note)
    within = _within(layout, ours)
    for table in share.new:
        left = _gone_here(cursor, layout, table, within)
        came = (
            table.filter(pc.invert(pc.is_in(table["recnum"], pa.array(left, pa.int64())))) if left else table
        )
        if len(came):
            merge(cursor, layout, came, (), note=note)
        if left:
            _add_old(cursor, layout, table)  # what was merged above counts as held
    for table in share.old:
        _add_old(cursor, layout, table)


def _within(layout: Layout, boxes: Iterable[Box]) -> str:
    """The condition that a record certainly lies in one of the boxes; "" for no boxes."""
    return " OR ".join(f"({box_predicate(layout.series, box)})" for box in boxes)


def _gone_there(cursor: Cursor, layout: Layout, within: str, current: list[int], highest: int) -> list[int]:
    """The held records that the other mirror knew to be gone."""
    if not within:
        return []
    cursor.register(_NUMBERS, pa.table({"recnum": pa.array(current, pa.int64())}))
    try:
        sql = (
            f"SELECT recnum FROM {layout.table} WHERE ({within}) AND recnum < {highest} "
            f"AND recnum NOT IN (SELECT recnum FROM {_NUMBERS})"
        )
        return [row[0] for row in cursor.execute(sql).fetchall()]
    finally:
        cursor.unregister(_NUMBERS)


def _gone_here(cursor: Cursor, layout: Layout, rows: pa.Table, within: str) -> list[int]:
    """The records of ``rows`` that we know to be gone."""
    if not within:
        return []
    cursor.register(_ROWS, rows)
    try:
        highest = f"(SELECT max(recnum) FROM (SELECT recnum FROM {layout.table} UNION ALL SELECT recnum FROM {layout.old_table}))"
        sql = (
            f"SELECT recnum FROM {_ROWS} WHERE ({within}) AND recnum < {highest} "
            f"AND recnum NOT IN (SELECT recnum FROM {layout.table})"
        )
        return [row[0] for row in cursor.execute(sql).fetchall()]
    finally:
        cursor.unregister(_ROWS)


def _add_old(cursor: Cursor, layout: Layout, rows: pa.Table) -> None:
    """Add the rows that are not held at all to the old versions."""
    cursor.register(_ROWS, rows)
    try:
        held = f"SELECT recnum FROM {layout.table} UNION ALL SELECT recnum FROM {layout.old_table}"
        cursor.execute(
            f"INSERT INTO {layout.old_table} BY NAME SELECT * FROM {_ROWS} WHERE recnum NOT IN ({held})"
        )
    finally:
        cursor.unregister(_ROWS)
