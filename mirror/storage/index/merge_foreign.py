"""Merging what another mirror held of a series into our tables, inside the caller's transaction.

Of records with one name the highest recnum counts, as in ``merge``. Where one side has checked a box later
than the other, a record that only the other has there is gone, and becomes an old version, unless its
number is above all that the later side knew: then it came after that check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mirror.storage.index.merge import merge
from mirror.storage.index.select_sql import box_predicate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.coverage.coverage import Box
    from mirror.coverage.sharing import CoverageClaim
    from mirror.storage.database.database import Cursor
    from mirror.storage.index.layout import Layout
    from mirror.storage.index.merge import Note
    from mirror.storage.index.precision import Tolerance

_NUMBERS, _ROWS = "carried_numbers", "carried_rows"


@dataclass(frozen=True)
class ForeignRecords:
    """What another mirror held of a series: rows as ``batch`` makes them, with key sets of this store.

    ``new`` are the newest versions of their names, ``old`` those that were replaced or are gone.
    """

    new: tuple[pa.Table, ...] = ()
    old: tuple[pa.Table, ...] = ()
    claims: tuple[CoverageClaim, ...] = ()
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)


def absorb(
    cursor: Cursor, layout: Layout, share: ForeignRecords, theirs: Iterable[CoverageClaim], ours: Iterable[Box], note: Note
) -> None:
    """Merge the rows of ``share``; ``theirs`` are the boxes that it knows better than we, ``ours`` the others."""
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
            _add_old(cursor, layout, table)  # what was merged is held by now
    for table in share.old:
        _add_old(cursor, layout, table)


def _within(layout: Layout, boxes: Iterable[Box]) -> str:
    """The condition that a record lies in one of the boxes for certain; "" for no boxes."""
    return " OR ".join(f"({box_predicate(layout.series, box)})" for box in boxes)


def _gone_there(cursor: Cursor, layout: Layout, within: str, current: list[int], highest: int) -> list[int]:
    """The held records that the other mirror knew to be there no more."""
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
    """The records of ``rows`` that we know to be there no more."""
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
    """Add those rows that are not held at all to the old versions."""
    cursor.register(_ROWS, rows)
    try:
        held = f"SELECT recnum FROM {layout.table} UNION ALL SELECT recnum FROM {layout.old_table}"
        cursor.execute(
            f"INSERT INTO {layout.old_table} BY NAME SELECT * FROM {_ROWS} WHERE recnum NOT IN ({held})"
        )
    finally:
        cursor.unregister(_ROWS)
