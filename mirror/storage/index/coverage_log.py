"""Coverage as it is kept: a log of what was completed, replayed at start; later rows win.

A row is written in the transaction of the records that it vouches for. When most rows are outdated the
log is written anew, as the spans that they come to.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror.coverage.coverage import Between, Box, Coverage, Region
from mirror.coverage.intervals import Steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.storage.database.database import Cursor

#: The log is written anew when it has this many times the rows that are needed, and some more.
WASTE, SOME = 2, 1000

_Row = tuple[str, str, int, int, int, float]
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
        self._needed = 0  #: rows after it was last written anew or replayed

    def replay(self, cursor: Cursor) -> dict[str, Coverage]:
        """The coverage of each series, by lower-case name."""
        found: dict[str, Coverage] = {}
        rows = cursor.execute(f"{_SELECT} ORDER BY id").fetchall()
        for number, name, region, lo, hi, step, checked_at in rows:
            box = Box(region_from_json(region), (Steps(lo, hi, step),))
            found.setdefault(name, Coverage()).add(box, checked_at)
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
        for _, _, region, lo, hi, step, checked_at in rows:
            coverage.add(Box(region_from_json(region), (Steps(lo, hi, step),)), checked_at)
        return coverage

    def replace(self, cursor: Cursor, series: str, coverage: Coverage) -> None:
        """Of a series no more is vouched for than ``coverage``."""
        cursor.execute("DELETE FROM mirror.coverage WHERE series = ?", [series.lower()])
        self._insert(cursor, list(spans({series.lower(): coverage})))

    def wasteful(self) -> bool:
        """True if the log should be written anew."""
        return self._length > WASTE * self._needed + SOME

    def compact(self, cursor: Cursor) -> None:
        """Write the log anew; what it replays to stays the same."""
        rows = list(spans(self.replay(cursor)))
        cursor.execute("DELETE FROM mirror.coverage")
        self._length = 0
        self._insert(cursor, rows)
        self._needed = len(rows)

    def _insert(self, cursor: Cursor, rows: list[_Row]) -> None:
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


def spans(coverage: Mapping[str, Coverage]) -> Iterator[_Row]:
    """The fewest rows that replay to ``coverage``."""
    for name, held in coverage.items():
        for region, found in held:
            text = region_to_json(region)
            yield from ((name, text, span.lo, span.hi, 1, span.checked_at) for span in found)


def region_to_json(region: Region) -> str:
    """A region as the log holds it."""
    others = [list(r) if isinstance(r, Between) else r for r in region.others]
    return json.dumps({"others": others, "all_versions": region.all_versions})


def region_from_json(text: str) -> Region:
    """The inverse of ``region_to_json``."""
    members = json.loads(text)
    others = tuple(Between(*r) if isinstance(r, list) else r for r in members["others"])
    return Region(others, members["all_versions"])
