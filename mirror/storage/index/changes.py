"""Logs beside the records: their coverage, and what upstream replaced or withdrew.

``CoverageLog`` has what was completed. It is replayed at start; later rows win. A row is written in the
transaction of the records that it vouches for. When most rows are outdated, the log is written again as the
spans that they add up to.

``Changes`` has the held records that upstream replaced or withdrew, for reports. Only records that the mirror
vouched for count: one that was requested by number, and whose newer version came later, has not changed. The
files of replaced records stay, and are the first to be evicted.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.coverage import Between, Box, Coverage, Region, Restriction
from mirror.coverage.intervals import Steps
from mirror.coverage.plan import other_keys
from mirror.drms.slots import slot_axis
from mirror.storage.index.layout import NAME_FIELD, SEPARATOR, Layout, column_name, quoted, whole
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor, Database


log = logging.getLogger(__name__)

#: The log is written again when it has more than WASTE times the rows that are needed, plus SOME.
WASTE, SOME = 2, 1000

_Span = tuple[str, str, int, int, int, float]
_SELECT = "SELECT id, series, region, lo, hi, step, checked_at FROM mirror.coverage"
_TYPES = [
    ("id", pa.int64()),
    ("series", pa.string()),
    ("region", pa.string()),
    ("lo", pa.int64()),
    ("hi", pa.int64()),
    ("step", pa.int64()),
    ("checked_at", pa.float64()),
]
_BATCH = "incoming_coverage"


class CoverageLog:
    """The log of a store; every method but ``wasteful`` works inside the caller's transaction."""

    def __init__(self) -> None:
        self._next = 0
        self._length = 0
        self._needed = 0  #: rows when it was last written again or replayed

    def replay(self, cursor: Cursor) -> dict[str, Coverage]:
        """The coverage of each series, by lower-case name."""
        found: dict[str, Coverage] = {}
        rows = cursor.execute(f"{_SELECT} ORDER BY id").fetchall()
        for number, name, *span in rows:
            _add(found.setdefault(name, Coverage()), *span)
            self._next = number + 1
        self._length, self._needed = len(rows), sum(1 for _ in spans(found))
        return found

    def add(self, cursor: Cursor, series: str, boxes: Iterable[Box], checked_at: float) -> None:
        """The boxes are held completely, as of ``checked_at``."""
        self._insert(
            cursor,
            [
                (series.lower(), region_to_json(box.region), s.lo, s.hi, s.step, checked_at)
                for box in boxes
                for s in box.steps
            ],
        )

    def of(self, cursor: Cursor, series: str) -> Coverage:
        """What the log says of a series."""
        coverage = Coverage()
        rows = cursor.execute(f"{_SELECT} WHERE series = ? ORDER BY id", [series.lower()]).fetchall()
        for _, _, *span in rows:
            _add(coverage, *span)
        return coverage

    def replace(self, cursor: Cursor, series: str, coverage: Coverage) -> None:
        """Let ``coverage`` be all that is vouched for of a series."""
        cursor.execute("DELETE FROM mirror.coverage WHERE series = ?", [series.lower()])
        self._insert(cursor, list(spans({series.lower(): coverage})))

    def wasteful(self) -> bool:
        """True if the log should be written again."""
        return self._length > WASTE * self._needed + SOME

    def compact(self, cursor: Cursor) -> None:
        """Write the log again; it replays to the same coverage."""
        rows = list(spans(self.replay(cursor)))
        cursor.execute("DELETE FROM mirror.coverage")
        self._length = 0
        self._insert(cursor, rows)
        self._needed = len(rows)

    def _insert(self, cursor: Cursor, rows: list[_Span]) -> None:
        numbered = [(self._next + i, *row) for i, row in enumerate(rows)]
        self._next += len(rows)
        self._length += len(rows)
        if not rows:
            return
        columns = zip(*numbered, strict=True)
        cursor.register(
            _BATCH, pa.table({name: pa.array(c, t) for (name, t), c in zip(_TYPES, columns, strict=True)})
        )
        try:
            cursor.execute(f"INSERT INTO mirror.coverage BY NAME FROM {_BATCH}")
        finally:
            cursor.unregister(_BATCH)


def _add(coverage: Coverage, region: str, lo: int, hi: int, step: int, checked_at: float) -> None:
    """Add a row of the log; an unreadable one claims nothing, so that its records are requested again."""
    try:
        box = Box(region_from_json(region), (Steps(lo, hi, step),))
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        log.warning("a row of the coverage cannot be read region=%.200s error=%s", region, problem)
        return
    coverage.add(box, checked_at)


def spans(coverage: Mapping[str, Coverage]) -> Iterator[_Span]:
    """The fewest rows that replay to ``coverage``."""
    for name, held in coverage.items():
        for region, found in held:
            text = region_to_json(region)
            yield from ((name, text, span.lo, span.hi, 1, span.checked_at) for span in found)


def region_to_json(region: Region) -> str:
    """A region in the form the log has it."""
    others = [list(r) if isinstance(r, Between) else r for r in region.others]
    return json.dumps({"others": others, "all_versions": region.all_versions})


def region_from_json(text: str) -> Region:
    """The inverse of ``region_to_json``."""
    members = json.loads(text)
    others = tuple(Between(*r) if isinstance(r, list) else r for r in members["others"])
    return Region(others, members["all_versions"])


_CHANGES = "incoming_changes"


@dataclass(frozen=True, slots=True)
class Change:
    """A held record that became an old version; ``new`` is None if no record has its name any more."""

    series: str
    old: int
    new: int | None
    name: str  #: as ``*spec*`` prints it: ``hmi.V_45s[2014.01.01_00:00:45_TAI][2]``
    found_at: float  #: Unix seconds


class Changes:
    """The changes that were found."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def found(self, series: str | None, since: float | None, most: int) -> list[Change]:
        """The last ``most`` changes of one series or all since a moment in Unix seconds, newest first."""
        sql = (
            "SELECT series, old_recnum, new_recnum, name, found_at FROM mirror.changes "
            "WHERE (?::VARCHAR IS NULL OR series = ?) AND found_at >= ? ORDER BY found_at DESC, name, series LIMIT ?"
        )
        name = None if series is None else series.lower()
        values = [name, name, float("-inf") if since is None else since, most]
        rows = await self._database.read(lambda cursor: cursor.execute(sql, values).fetchall())
        return [Change(*row) for row in rows]


def note_changes(
    cursor: Cursor, layout: Layout, replaced: Mapping[int, int | None], found_at: float, *, vouched: bool
) -> None:
    """Note held records that are about to leave the series' table: old number to new, or None.

    ``vouched``: the mirror vouched that they were the newest; otherwise coverage decides.
    """
    rows = _rows(cursor, layout, replaced)
    if not vouched:
        known = _vouched(cursor, layout, rows)
        rows = {recnum: row for recnum, row in rows.items() if recnum in known}
    if not rows:
        return
    series = layout.series.name.lower()
    noted = pa.table(
        {
            "series": pa.array([series] * len(rows), pa.string()),
            "old_recnum": pa.array(list(rows), pa.int64()),
            "new_recnum": pa.array([replaced[recnum] for recnum in rows], pa.int64()),
            "name": pa.array([row.name for row in rows.values()], pa.string()),
            "found_at": pa.array([found_at] * len(rows), pa.float64()),
        }
    )
    cursor.register(_CHANGES, noted)
    try:
        cursor.execute(f"INSERT INTO mirror.changes BY NAME FROM {_CHANGES}")
    finally:
        cursor.unregister(_CHANGES)
    _send_to_the_back(cursor, series, list(rows))


@dataclass(frozen=True, slots=True)
class _Row:
    """The name of a held record, and its place among the prime keys."""

    name: str
    place: int
    others: tuple[Restriction, ...]


def _rows(cursor: Cursor, layout: Layout, numbers: Collection[int]) -> dict[int, _Row]:
    series, axis = layout.series, coverage_axis(layout.series)
    place = "0"
    if axis is not None:
        column = quoted(column_name(axis.column))
        place = whole(f"round({column} * 1000)") if axis.kind is Kind.MILLISECONDS else f"{column}::BIGINT"
    others = [quoted(_index(series, key)) for key in other_keys(series)]
    columns = ", ".join(["recnum", "_keyset", "_raw", f"coalesce({place}, 0)", *others])
    sql = f"SELECT {columns} FROM {layout.table} WHERE recnum IN (SELECT unnest(?::BIGINT[]))"
    found = cursor.execute(sql, [list(numbers)]).fetchall()
    names = _name_positions(cursor, series)
    return {
        recnum: _Row(
            from_wire(raw.split(SEPARATOR)[names[keyset]]) if keyset in names else f"{series.name}[:#{recnum}]",
            at, tuple(map(_restriction, keys)),
        )
        for recnum, keyset, raw, at, *keys in found
    }


def _index(series: Series, key: str) -> str:
    slotted = slot_axis(series, key)
    return column_name(slotted.index if slotted else key)


def _restriction(value: object) -> Restriction:
    return Between(value, value) if isinstance(value, int) else "" if value is None else str(value)


def _name_positions(cursor: Cursor, series: Series) -> dict[int, int]:
    """The position of the name among the fields of each key set."""
    sql = "SELECT id, fields FROM mirror.keysets WHERE series = ?"
    rows = cursor.execute(sql, [series.name.lower()]).fetchall()
    return {keyset: at for keyset, fields in rows if (at := _name_position(fields)) is not None}


def _name_position(fields: str) -> int | None:
    try:
        names = json.loads(fields)
    except ValueError:  # damaged: its rows have no readable name
        return None
    return names.index(NAME_FIELD) if isinstance(names, list) and NAME_FIELD in names else None


def _vouched(cursor: Cursor, layout: Layout, rows: Mapping[int, _Row]) -> set[int]:
    """The records that coverage vouches to have been the newest of their name."""
    coverage = CoverageLog().of(cursor, layout.series.name) if rows else Coverage()
    return {n for others, numbers in _by_others(rows) for n in _covered(coverage, others, numbers, rows)}


def _by_others(rows: Mapping[int, _Row]) -> Iterable[tuple[tuple[Restriction, ...], list[int]]]:
    groups: dict[tuple[Restriction, ...], list[int]] = {}
    for recnum, row in rows.items():
        groups.setdefault(row.others, []).append(recnum)
    return groups.items()


def _covered(
    coverage: Coverage, others: tuple[Restriction, ...], numbers: list[int], rows: Mapping[int, _Row]
) -> list[int]:
    places = tuple(Steps(at, at) for at in sorted({rows[n].place for n in numbers}))
    gaps = {s.lo for gap in coverage.gaps(Box(Region(others), places)) for s in gap.steps}
    return [n for n in numbers if rows[n].place not in gaps]


def _send_to_the_back(cursor: Cursor, series: str, old: list[int]) -> None:
    """Make files that only these records have the least recently used ones."""
    cursor.execute(
        "UPDATE mirror.blobs SET last_used = 0 FROM ("
        "  SELECT head, sha256 FROM mirror.holdings WHERE head IN ("
        "    SELECT head FROM mirror.holdings WHERE series = ? AND recnum IN (SELECT unnest(?::BIGINT[])))"
        "  GROUP BY head, sha256"
        "  HAVING bool_and(coalesce(series = ? AND recnum IN (SELECT unnest(?::BIGINT[])), FALSE))"
        ") gone WHERE blobs.head = gone.head AND blobs.sha256 = gone.sha256",
        [series, old, series, old],
    )
