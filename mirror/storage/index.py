"""The index: every record that the mirror holds, with its coverage.

Reading and writing go through ``Database``. The public methods own their transactions: records,
coverage and precision of one chunk are committed together or not at all. The memory copies (coverage,
key sets, tolerances) change only after the commit.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.drms.coverage import Between, Box, Coverage, Region
from mirror.drms.errors import NotHeld, Refused
from mirror.drms.intervals import Steps
from mirror.storage.batch import batch
from mirror.storage.layout import Layout, Row
from mirror.storage.merge import add_columns, create_tables, merge
from mirror.storage.precision import Tolerance, tolerance
from mirror.storage.sql import count_sql, extreme_sql, select_sql
from mirror.wire.structure import decode_series_struct, encode_series_struct

if TYPE_CHECKING:
    import pyarrow as pa

    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.storage.database import Cursor, Database
    from mirror.wire.rs_list import RsList

#: Records of one answer: several times what JSOC gives, and still a fraction of a gigabyte.
MOST_RECORDS = 250_000
#: Records from which on the conversion of an answer takes long enough to be noticed: some 50 ms.
LARGE = 1_000


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows of a selection in order; ``undecided`` counts those whose condition cannot be told."""

    rows: list[Row]
    undecided: int = 0


@dataclass
class _Held:
    """What is known in memory of one series."""

    series: Series
    fetched_at: float
    layout: Layout
    keyset: int  #: of new rows; names the fields of ``layout``
    coverage: Coverage = field(default_factory=Coverage)
    tolerances: dict[str, Tolerance] = field(default_factory=dict)
    has_tables: bool = False  #: remembered: to ask the database takes as long as to search it

    def widen(self, tolerances: dict[str, Tolerance]) -> None:
        """Let the tolerances hold for these values too."""
        for name, t in tolerances.items():
            self.tolerances[name] = self.tolerances.get(name, Tolerance()) | t


class Index:
    """Records and coverage of all series; made by ``load``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, _Held] = {}
        self._keysets: dict[int, dict[str, int]] = {}
        self._next_coverage = 0
        # One after the other: several at a time would only all be done late, and nothing committed before.
        self._converting = asyncio.Lock()

    @classmethod
    async def load(cls, database: Database) -> Index:
        """The index of a store, with its coverage read into memory."""
        index = cls(database)
        await database.read(index._load)
        return index

    # ---- structures ------------------------------------------------------------------------------

    def series(self, name: str) -> tuple[Series, float] | None:
        """The structure of a series by its name in any case, and when it was fetched; None if not held."""
        held = self._held.get(name.lower())
        return None if held is None else (held.series, held.fetched_at)

    def all_series(self) -> list[Series]:
        """The structures that are held, by name."""
        return [self._held[name].series for name in sorted(self._held)]

    async def keep_series(self, series: Series, fetched_at: float) -> None:
        """Keep a structure; new keywords become new columns, and a new key set for new rows."""
        layout, name = Layout(series), series.name.lower()
        held = self._held.get(name)
        same = held is not None and held.layout.fields == layout.fields
        keyset = held.keyset if held is not None and same else self._new_keyset(layout)
        await self._database.write(lambda cursor: _store_series(cursor, layout, keyset, fetched_at))
        held = self._held.setdefault(name, _Held(series, fetched_at, layout, keyset))
        held.series, held.fetched_at, held.layout, held.keyset = series, fetched_at, layout, keyset

    def coverage(self, series: Series) -> Coverage:
        """What is held completely of a series; read it, do not change it."""
        return self._held[series.name.lower()].coverage

    def layout(self, series: Series) -> Layout:
        """How records of a series lie in the index."""
        return self._held[series.name.lower()].layout

    # ---- records ---------------------------------------------------------------------------------

    async def select(self, selection: Selection, n: int | None = None) -> Selected:
        """The held records of a selection whose ``^`` and ``$`` are resolved, in the server's order.

        Refused for more than MOST_RECORDS.
        """
        held = self._held[selection.series.name.lower()]
        if not held.has_tables:
            return Selected([])
        sql = select_sql(held.layout, selection, n, held.tolerances, MOST_RECORDS + 1)
        found = await self._database.read(lambda cursor: cursor.execute(sql).fetchall())
        if len(found) > MOST_RECORDS:
            raise Refused(f"more than {MOST_RECORDS:,} records match; expected a narrower query, or n=")
        undecided = sum(row[3] for row in found)
        if n is not None and n < 0:
            found.reverse()
        rows = [
            Row(recnum, self._keysets[keyset], raw) for recnum, keyset, raw, _ in _first_or_last(found, n)
        ]
        return Selected(rows, undecided)

    async def tally(self, selection: Selection) -> tuple[int, int]:
        """How many records ``select`` would find, and how many of them are undecided."""
        held = self._held[selection.series.name.lower()]
        if not held.has_tables:
            return 0, 0
        sql = count_sql(held.layout, selection, held.tolerances)
        found = await self._database.read(lambda cursor: cursor.execute(sql).fetchone())
        return found or (0, 0)

    async def extreme(self, selection: Selection, column: str, *, last: bool) -> str | None:
        """The first or last value of a key's column as it prints (wire text); None if there is no record.

        NotHeld if a condition of the selection cannot be told for some record.
        """
        held = self._held[selection.series.name.lower()]
        if not held.has_tables:
            return None
        sql = extreme_sql(held.layout, selection, column, held.tolerances, last=last)
        found = await self._database.read(lambda cursor: cursor.execute(sql).fetchone())
        if found is None:
            return None
        keyset, raw, undecided = found
        if undecided:
            raise NotHeld(
                f"which {column} is the {'last' if last else 'first'} cannot be told from what is held"
            )
        return Row(0, self._keysets[keyset], raw)[column]

    async def recnums(self, series: Series, predicate: str) -> set[int]:
        """The record numbers of the newest versions that satisfy an SQL predicate on the typed columns."""
        held = self._held[series.name.lower()]
        if not held.has_tables:
            return set()
        sql = f"SELECT recnum FROM {held.layout.table} WHERE {predicate}"
        found = await self._database.read(lambda cursor: cursor.execute(sql).fetchall())
        return {row[0] for row in found}

    async def keep(
        self, series: Series, answer: RsList, *, complete: tuple[Box, ...], checked_at: float
    ) -> None:
        """Keep the records of an answer, and that they are all there are in the boxes ``complete``.

        Records of those boxes that the answer does not have are moved to the old versions.
        """
        held = self._held[series.name.lower()]
        layout = held.layout
        async with self._converting:
            rows = await _rows(layout, answer, held.keyset)
        widened = _widened(held, answer)

        def work(cursor: Cursor) -> None:
            create_tables(cursor, layout)
            merge(cursor, layout, rows, complete)
            self._log_coverage(cursor, layout, complete, checked_at)
            _add_tolerances(cursor, layout, widened)

        held.widen(widened)  # first: nobody may read the new rows with the old tolerances
        await self._database.write(work)
        held.has_tables = True
        for box in complete:
            held.coverage.add(box, checked_at)

    async def confirm(self, series: Series, boxes: tuple[Box, ...], checked_at: float) -> None:
        """Boxes were checked against upstream and found unchanged."""
        held = self._held[series.name.lower()]
        await self._database.write(lambda c: self._log_coverage(c, held.layout, boxes, checked_at))
        for box in boxes:
            held.coverage.add(box, checked_at)

    async def count(self, series: Series) -> int:
        """How many records (newest versions) are held of a series."""
        held = self._held[series.name.lower()]
        if not held.has_tables:
            return 0
        sql = f"SELECT count(*) FROM {held.layout.table}"
        row = await self._database.read(lambda cursor: cursor.execute(sql).fetchone())
        return row[0] if row else 0

    # ---- facts -----------------------------------------------------------------------------------

    async def fact(self, kind: str, key: str) -> tuple[str, float] | None:
        """A small answer that was kept, and when it was fetched."""

        def work(cursor: Cursor) -> tuple[str, float] | None:
            sql = "SELECT value, fetched_at FROM mirror.facts WHERE kind = ? AND key = ?"
            return cursor.execute(sql, [kind, key]).fetchone()

        return await self._database.read(work)

    async def keep_fact(self, kind: str, key: str, value: str, fetched_at: float) -> None:
        """Keep a small answer in place of an earlier one."""

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.facts WHERE kind = ? AND key = ?", [kind, key])
            cursor.execute("INSERT INTO mirror.facts VALUES (?, ?, ?, ?)", [kind, key, value, fetched_at])

        await self._database.write(work)

    # ---- inside ----------------------------------------------------------------------------------

    def _load(self, cursor: Cursor) -> None:
        for name, structure, fetched_at in cursor.execute("FROM mirror.series").fetchall():
            series = decode_series_struct(structure.encode("latin-1"), name_hint=name)
            layout = Layout(series)
            has_tables = _has_tables(cursor, layout)
            self._held[name.lower()] = _Held(series, fetched_at, layout, keyset=0, has_tables=has_tables)
        for keyset, name, fields in cursor.execute("FROM mirror.keysets ORDER BY id").fetchall():
            self._keysets[keyset] = _positions(names := tuple(json.loads(fields)))
            if self._held[name].layout.fields == names:
                self._held[name].keyset = keyset
        for name, keyword, absolute, relative in cursor.execute("FROM mirror.precision").fetchall():
            self._held[name].widen({keyword: Tolerance(absolute, relative)})
        log = cursor.execute("FROM mirror.coverage ORDER BY id").fetchall()
        for number, name, region, lo, hi, step, checked_at in log:
            box = Box(_region_from_json(region), (Steps(lo, hi, step),))
            self._held[name].coverage.add(box, checked_at)
            self._next_coverage = number + 1

    def _new_keyset(self, layout: Layout) -> int:
        """A number for these fields, known before the first row that has it can be read."""
        number = max(self._keysets, default=0) + 1
        self._keysets[number] = _positions(layout.fields)
        return number

    def _log_coverage(
        self, cursor: Cursor, layout: Layout, boxes: tuple[Box, ...], checked_at: float
    ) -> None:
        rows = [
            (layout.series.name.lower(), _region_to_json(box.region), s.lo, s.hi, s.step, checked_at)
            for box in boxes
            for s in box.steps
        ]
        for row in rows:
            cursor.execute(
                "INSERT INTO mirror.coverage VALUES (?, ?, ?, ?, ?, ?, ?)", [self._next_coverage, *row]
            )
            self._next_coverage += 1


def _first_or_last(rows: list[tuple[int, int, str, bool]], n: int | None) -> list[tuple[int, int, str, bool]]:
    if not n:
        return rows
    return rows[:n] if n > 0 else rows[n:]


def _has_tables(cursor: Cursor, layout: Layout) -> bool:
    namespace, _, name = layout.series.name.lower().partition(".")
    sql = "SELECT count(*) FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?"
    row = cursor.execute(sql, [namespace, name]).fetchone()
    return bool(row and row[0])


def _positions(fields: tuple[str, ...]) -> dict[str, int]:
    return {name: i for i, name in enumerate(fields)}


def _store_series(cursor: Cursor, layout: Layout, keyset: int, fetched_at: float) -> None:
    name = layout.series.name
    text = encode_series_struct(layout.series, runtime=0.0).decode("latin-1")
    cursor.execute("DELETE FROM mirror.series WHERE lower(name) = ?", [name.lower()])
    cursor.execute("INSERT INTO mirror.series VALUES (?, ?, ?)", [name, text, fetched_at])
    if cursor.execute("SELECT 1 FROM mirror.keysets WHERE id = ?", [keyset]).fetchone() is None:
        row = [keyset, name.lower(), json.dumps(layout.fields)]
        cursor.execute("INSERT INTO mirror.keysets VALUES (?, ?, ?)", row)
    if _has_tables(cursor, layout):
        add_columns(cursor, layout)


async def _rows(layout: Layout, answer: RsList, keyset: int) -> pa.Table | None:
    """The rows of an answer; of a large one they are made in a thread, so that searches go on meanwhile."""
    if answer.count < LARGE:
        return batch(layout, answer, keyset) if answer.count else None
    return await asyncio.to_thread(batch, layout, answer, keyset)


def _widened(held: _Held, answer: RsList) -> dict[str, Tolerance]:
    """The tolerances that the values of an answer make wider than they were."""
    texts = dict(answer.keywords or ())
    widened = {}
    for column in held.layout.columns:
        if column.inexact and column.keyword in texts:
            before = held.tolerances.get(column.name)
            after = tolerance(column, texts[column.keyword]) | (before or Tolerance())  # type: ignore[arg-type]
            if after != before:
                widened[column.name] = after
    return widened


def _add_tolerances(cursor: Cursor, layout: Layout, tolerances: dict[str, Tolerance]) -> None:
    """Rows are only added, the widest counts: of two answers that are kept at a time none is lost."""
    name = layout.series.name.lower()
    for keyword, t in tolerances.items():
        cursor.execute(
            "INSERT INTO mirror.precision VALUES (?, ?, ?, ?)", [name, keyword, t.absolute, t.relative]
        )


def _region_to_json(region: Region) -> str:
    others = [list(r) if isinstance(r, Between) else r for r in region.others]
    return json.dumps({"others": others, "all_versions": region.all_versions})


def _region_from_json(text: str) -> Region:
    members = json.loads(text)
    others = tuple(Between(*r) if isinstance(r, list) else r for r in members["others"])
    return Region(others, members["all_versions"])
