"""Reads the index: what is kept in memory about each series, and its records by selection.

``Index`` adds writing; nothing here changes the store.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.coverage import Coverage, Region
from mirror.coverage.intervals import MAX, MIN, Span
from mirror.coverage.plan import other_keys
from mirror.drms.recordset import RecnumFilter, RecnumRange
from mirror.errors import NotHeld, Refused
from mirror.storage.index.answers import AnswerKind, Answers, Kept, body_of, is_there, numbers_of
from mirror.storage.index.block_file import BlockFile
from mirror.storage.index.blocks import SLOTS, BlockRows, Blocks, PlacedVersion, block_of, blocks_of, unpacked
from mirror.storage.index.layout import Layout, Row, Tolerance
from mirror.storage.index.select_sql import (
    box_predicate,
    count_sql,
    extreme_sql,
    places_sql,
    rows_sql,
    select_sql,
    selected_sql,
)
from mirror.storage.index.windows import WIDEST, part_of, stretch, window_of, window_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from mirror.coverage.coverage import Box
    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.block_file import Packed
    from mirror.storage.index.blocks import Block
    from mirror.storage.index.windows import Window

T = TypeVar("T")

#: Records of one answer: several times what JSOC gives, and still a fraction of a gigabyte.
MOST_RECORDS = 250_000
#: Record numbers of one selection: what another process can be sent in a fraction of a second.
MOST_NUMBERS = 2_000_000
#: Places on an axis that are held in memory at a time.
PLACES_AT_ONCE = 100_000
#: Up to this many spans are counted by one statement each.
FEW_SPANS = 64


class Occupied(NamedTuple):
    """How many records a span has, and the first and last place in it that has one."""

    records: int
    first: int
    last: int

    def within(self, span: Span) -> Span:
        """The span, cut to its first and last record; an open end stays open."""
        lo = span.lo if span.lo <= MIN else max(span.lo, self.first)
        hi = span.hi if span.hi >= MAX else min(span.hi, self.last)
        return Span(lo, hi, span.checked_at)


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows of a selection in order; ``undecided`` counts those for which the condition cannot be decided."""

    rows: Sequence[Row]
    undecided: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """Where the records of a series lie, how precise its columns are, and the fields of each key set."""

    layout: Layout
    tolerances: dict[str, Tolerance]
    keysets: dict[int, dict[str, int]]


@dataclass
class Held:
    """What is kept in memory about one series."""

    series: Series
    fetched_at: float
    layout: Layout
    keyset: int  #: of new rows; names the fields of ``layout``
    narrow: tuple[int, ...] = ()  #: key sets of rows without a field that the series got later
    coverage: Coverage = field(default_factory=Coverage)
    tolerances: dict[str, Tolerance] = field(default_factory=dict)
    version: PlacedVersion = field(default_factory=PlacedVersion)  #: of its records
    has_tables: bool = False  #: remembered, since asking the database takes as long as a search

    def widen(self, tolerances: dict[str, Tolerance]) -> None:
        """Widen the tolerances to these."""
        for name, t in tolerances.items():
            self.tolerances[name] = self.tolerances.get(name, Tolerance()) | t


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A series with an unreadable structure, and why; its records stay, until the structure is fetched again."""

    name: str
    why: str
    has_tables: bool


#: The filter that every record of every version passes.
EVERY_VERSION = RecnumFilter((RecnumRange(None, None),))
#: Rows that one call fetches, and bytes of text that one Arrow array can hold.
ROWS_AT_ONCE, MOST_TEXT = 2000, 1 << 30
#: Blocks that are unpacked in the event loop if they are in memory: a thread takes longer to wake up than one of them.
FEW_FILED = 4
#: Blocks that one question may read whole from the database: at a first look, or where people come back; and the
#: most rows that they may have.
FEW_BLOCKS, MOST_BLOCKS, MOST_ROWS = 8, 32, 40_000
#: Blocks that one question may read from the file: enough for the widest window, unless its series is dense.
MOST_FILED = WIDEST // SLOTS

R = TypeVar("R")


class Reader:
    """The reading half of an index."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, Held] = {}
        self._unreadable: dict[str, Unreadable] = {}
        self._keysets: dict[int, dict[str, int]] = {}
        self._answers = Answers()
        self._blocks = Blocks()
        self._file = BlockFile(database.beside("blocks.sqlite"))
        database.when_closed(self._file.close)

    @property
    def answers(self) -> Answers:
        """The kept answers of JSOC; read-only."""
        return self._answers

    # ---- structures ------------------------------------------------------------------------------

    def series(self, name: str) -> tuple[Series, float] | None:
        """The structure of a series by its name in any case, and when it was fetched; None if not held."""
        held = self._held.get(name.lower())
        return None if held is None else (held.series, held.fetched_at)

    def all_series(self) -> list[Series]:
        """The structures that are held, by name."""
        return [self._held[name].series for name in sorted(self._held)]

    def unreadable_series(self) -> list[Unreadable]:
        """The series with unreadable structures, by name."""
        return [self._unreadable[name] for name in sorted(self._unreadable)]

    def version(self, series: Series) -> int:
        """A number that differs after each change of the series' records or columns."""
        return self._held[series.name.lower()].version.number

    def changed_since(self, series: Series, version: int) -> list[tuple[int, int]] | None:
        """The stretches of the axis whose records have changed since that version of the series; None: anywhere."""
        return self._held[series.name.lower()].version.changed_since(version)

    def same_since(self, selection: Selection, version: int) -> bool:
        """True if a selection has the same records, printed alike, as at that version of its series."""
        current = self._held[selection.series.name.lower()].version
        if current.number == version:
            return True
        window = window_of(selection)
        return window is not None and current.same_since(version, window.lo, window.hi)

    def coverage(self, series: Series) -> Coverage:
        """What is held completely of a series; read-only."""
        return self._held[series.name.lower()].coverage

    def has_records(self, series: Series) -> bool:
        """True if records of a series were ever kept."""
        return self._held[series.name.lower()].has_tables

    def layout(self, series: Series) -> Layout:
        """How records of a series lie in the index."""
        return self._held[series.name.lower()].layout

    @property
    def keysets(self) -> Mapping[int, Mapping[str, int]]:
        """The position of each field, by the number of its key set."""
        return self._keysets

    # ---- records ---------------------------------------------------------------------------------

    async def select(self, selection: Selection, n: int | None = None) -> Selected:
        """The held records of a selection whose ``^`` and ``$`` are resolved, in the server's order.

        Refused for more than MOST_RECORDS.
        """
        held = self._held[selection.series.name.lower()]
        if not held.has_tables:
            return Selected([])
        window = window_of(selection)
        rows = None if window is None else await self._in_window(held, window, n)
        if rows is not None:
            return Selected(rows)
        layout, tolerances = held.layout, dict(held.tolerances)

        def work(cursor: Cursor) -> Selected:
            found = _fetched(cursor.execute(select_sql(layout, selection, n, tolerances, MOST_RECORDS + 1)))
            if len(found) > MOST_RECORDS:
                raise Refused(f"more than {MOST_RECORDS:,} records match; expected a narrower query, or n=")
            undecided = sum(row[3] for row in found)
            if n is not None and n < 0:
                found.reverse()
            rows = [Row(r, self._keysets[keyset], raw) for r, keyset, raw, _ in _first_or_last(found, n)]
            return Selected(rows, undecided)

        return await self._database.read(work)

    async def _in_window(self, held: Held, window: Window, n: int | None) -> Sequence[Row] | None:
        """The rows of a window, from remembered blocks where there are any; None if it has too many."""
        if window.axis:  # blocks are in the order of the axis, these records are not
            return await self._unremembered(held, window, n)
        series, slots = held.series.name.lower(), self._blocks.slots(held.series.name.lower())
        version = held.version.number  # taken now: while one block is awaited, the records of another may change
        first, last = window.lo // slots, window.hi // slots
        if last - first > MOST_FILED:
            return await self._unremembered(held, window, n)
        blocks = {number: self._blocks.find(series, number, held.version) for number in range(first, last + 1)}
        lacking = [number for number, block in blocks.items() if block is None]
        if lacking and self._file.slots.get(series) == slots:
            for number, block in (await self._filed(series, slots, lacking)).items():
                self._blocks.put(series, slots, number, block, version)
                blocks[number] = block
                lacking.remove(number)
        if not all(self._blocks.is_fit(series, number) for number, block in blocks.items() if block is None):
            return await self._unremembered(held, window, n)
        if len(lacking) > FEW_BLOCKS:
            wanted = [self._blocks.is_worth_reading(series, number) for number in lacking]
            if len(lacking) > MOST_BLOCKS or not all(wanted):
                return await self._unremembered(held, window, n)
        for run in runs(lacking):
            for number, block in zip(run, await self._read_blocks(held, run, slots), strict=True):
                self._blocks.put(series, slots, number, block, version)
                blocks[number] = block
        for number, block in tuple(blocks.items()):
            if block is not None and self._blocks.is_used(series, number):
                blocks[number] = await asyncio.to_thread(block.whole)
                self._blocks.put(series, slots, number, blocks[number], version, used=True)
        if any(block is None for block in blocks.values()):
            return await self._unremembered(held, window, n)
        rows = BlockRows(part_of(block, window) for block in blocks.values() if block is not None)
        return rows.first(n) if n else rows

    async def _filed(self, series: str, slots: int, wanted: list[int]) -> dict[int, Block | None]:
        """The wanted blocks that are in the file; None for places known to have no block."""

        def unpack(found: Iterable[Packed]) -> dict[int, Block | None]:
            return {each.number: unpacked(each, self._keysets) for each in found}

        if len(wanted) <= FEW_FILED and (found := self._file.get_at_once(series, slots, wanted)) is not None:
            return unpack(found)
        return await asyncio.to_thread(lambda: unpack(self._file.get(series, slots, wanted)))

    async def _read_blocks(self, held: Held, run: range, slots: int) -> list[Block | None]:
        """Consecutive blocks; None where rows cannot form a block, or for all if they have too many rows."""
        sql = window_sql(held.layout, stretch(run[0], run[-1], slots))

        def work(cursor: Cursor) -> list[Block | None]:
            found = arrow_of(cursor, sql, MOST_ROWS)
            return [None] * len(run) if found is None else blocks_of(found, self._keysets, run, slots)

        return await self._database.read(work)

    async def _unremembered(self, held: Held, window: Window, n: int | None) -> BlockRows | None:
        """The rows of a window from the database; None if there are too many, or they cannot form a block."""
        sql = window_sql(held.layout, window)

        def work(cursor: Cursor) -> BlockRows | None:
            found = arrow_of(cursor, sql, MOST_RECORDS)
            block = None if found is None else block_of(found, self._keysets)
            return None if block is None else BlockRows(block.parts())

        rows = await self._database.read(work)
        return rows.first(n) if rows is not None and n else rows

    async def select_told(self, selection: Selection, kept: Kept, n: int | None = None) -> list[Row] | None:
        """The records of a selection whose conditions, or whose records, ``kept`` tells; None if it no longer does.

        In the server's order, at most the first (or last) ``n``; Refused for more than MOST_RECORDS.
        """
        held = self._held[selection.series.name.lower()]
        if not held.has_tables:
            return None
        layout = held.layout
        asked = selection if kept.kind is AnswerKind.CONDITION else replace(selection, filters=(EVERY_VERSION,))
        sql = select_sql(layout, asked, n, {}, MOST_RECORDS + 1, kept.id)

        def work(cursor: Cursor) -> list[tuple[int, int, str, bool]] | None:
            found = _fetched(cursor.execute(sql))
            if kept.kind is AnswerKind.RECORDS and not n:  # in JSOC's order
                places = {number: i for i, number in enumerate(numbers_of(cursor, kept) or ())}
                found.sort(key=lambda row: places.get(row[0], 0))
            return found if is_there(cursor, kept) else None

        found = await self._database.read(work)
        if found is None or (kept.kind is AnswerKind.RECORDS and not n and len(found) != kept.size):
            return None
        if len(found) > MOST_RECORDS:
            raise Refused(f"more than {MOST_RECORDS:,} records match; expected a narrower query, or n=")
        if n is not None and n < 0:
            found.reverse()
        return [Row(r, self._keysets[keyset], raw) for r, keyset, raw, _ in _first_or_last(found, n)]

    async def body(self, kept: Kept) -> bytes | None:
        """The bytes of an answer; None if it is gone."""
        return await self._database.read(lambda cursor: body_of(cursor, kept))

    async def tally(self, selection: Selection) -> tuple[int, int]:
        """How many records ``select`` would find, and how many of them are undecided."""
        held = self._held[selection.series.name.lower()]
        if not held.has_tables:
            return 0, 0
        layout, tolerances = held.layout, dict(held.tolerances)
        found = await self._database.read(
            lambda cursor: cursor.execute(count_sql(layout, selection, tolerances)).fetchone()
        )
        return found or (0, 0)

    async def extreme(self, selection: Selection, column: str, *, last: bool) -> str | None:
        """The first or last value of a key's column as it prints (wire text); None if there is no record.

        NotHeld if a condition of the selection cannot be decided for some record.
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
                f"which {column} is the {'last' if last else 'first'} cannot be determined from cached records"
            )
        return Row(0, self._keysets[keyset], raw)[column]

    async def numbers(self, selection: Selection) -> pa.Array:
        """The record numbers, as int64, of a selection whose ``^`` and ``$`` are resolved, in no order.

        NotHeld if a condition cannot be decided for some record; Refused for more than MOST_NUMBERS.
        """
        view = self.view(selection.series)
        if view is None:
            return pa.array([], pa.int64())
        found, undecided = selected_sql(view.layout, selection, view.tolerances)
        sql = f"SELECT recnum, {undecided} AS undecided FROM ({found}) LIMIT {MOST_NUMBERS + 1}"
        table = await self._database.read(lambda cursor: cursor.sql(sql).to_arrow_table())
        if table.num_rows > MOST_NUMBERS:
            raise Refused(f"more than {MOST_NUMBERS:,} records match; expected a narrower record set")
        if any(chunk.true_count for chunk in table["undecided"].chunks):
            raise NotHeld("the printed values are not precise enough to evaluate the condition", (str(selection.source),))
        return table["recnum"].combine_chunks()

    async def rows(self, series: Series, numbers: pa.Array, n: int | None = None) -> list[Row]:
        """The held records with these numbers, of any version, in the server's order: the first (or last) ``n``.

        Refused for more than MOST_RECORDS.
        """
        held = self._held[series.name.lower()]
        if not held.has_tables or not len(numbers):
            return []
        sql = rows_sql(held.layout, n, MOST_RECORDS + 1)

        def work(cursor: Cursor) -> list[tuple[int, int, str]]:
            cursor.register("asked", pa.table({"n": numbers}))
            try:
                return cursor.execute(sql).fetchall()
            finally:
                cursor.unregister("asked")

        found = await self._database.read(work)
        if len(found) > MOST_RECORDS:
            raise Refused(f"more than {MOST_RECORDS:,} records match; expected a narrower query, or n=")
        if n is not None and n < 0:
            found.reverse()
        return [Row(recnum, self._keysets[keyset], raw) for recnum, keyset, raw in found]

    def view(self, series: Series) -> View | None:
        """How SQL statements from elsewhere find the records of a series; None if none was ever kept."""
        held = self._held[series.name.lower()]
        return View(held.layout, held.tolerances, self._keysets) if held.has_tables else None

    async def export(self, work: Callable[[Cursor], T]) -> T:
        """Run ``work``, which only reads the tables: to write a file elsewhere, say."""
        return await self._database.read(work)

    async def recnums(self, series: Series, predicate: str, *, all_versions: bool = False) -> frozenset[int]:
        """The record numbers of the newest (or all) versions that satisfy an SQL predicate on typed columns."""
        layout, found = self.layout(series), set()
        for table in (layout.table, layout.old_table) if all_versions else (layout.table,):
            found |= await self._numbers(series, f"SELECT recnum FROM {table} WHERE {predicate}", [])
        return frozenset(found)

    async def has_withdrawn(self, series: Series) -> bool:
        """True if JSOC has withdrawn a record of the series: its versions are kept here, and JSOC has none of them."""
        sql = "SELECT 1 FROM mirror.changes WHERE series = ? AND new_recnum IS NULL LIMIT 1"
        name = series.name.lower()
        return await self._database.read(lambda cursor: cursor.execute(sql, [name]).fetchone()) is not None

    async def lacking(self, series: Series, predicate: str, *, all_versions: bool = False) -> frozenset[int]:
        """Those of ``recnums`` kept before the series got one of its keywords, segments or links."""
        narrow = self._held[series.name.lower()].narrow
        if not narrow:
            return frozenset()
        chosen = f"({predicate}) AND _keyset IN ({', '.join(map(str, narrow))})"
        return await self.recnums(series, chosen, all_versions=all_versions)

    async def known(
        self, series: Series, numbers: Collection[int], *, all_versions: bool = False
    ) -> frozenset[int]:
        """Those of the record numbers that are held with all fields, as newest (or as any) version."""
        layout, found = self.layout(series), set()
        narrow = ", ".join(map(str, self._held[series.name.lower()].narrow))
        whole = f" AND _keyset NOT IN ({narrow})" if narrow else ""
        for table in (layout.table, layout.old_table) if all_versions else (layout.table,):
            sql = f"SELECT recnum FROM {table} WHERE recnum IN (SELECT unnest(?::BIGINT[])){whole}"
            found |= await self._numbers(series, sql, [list(numbers)]) if numbers else set()
        return frozenset(found)

    async def _numbers(self, series: Series, sql: str, values: list[object]) -> set[int]:
        if not self._held[series.name.lower()].has_tables:
            return set()
        found = await self._database.read(lambda cursor: cursor.execute(sql, values).fetchall())
        return {row[0] for row in found}

    async def count(self, series: Series) -> int:
        """How many records (newest versions) are held of a series."""
        held = self._held[series.name.lower()]
        if not held.has_tables:
            return 0
        sql = f"SELECT count(*) FROM {held.layout.table}"
        row = await self._database.read(lambda cursor: cursor.execute(sql).fetchone())
        return row[0] if row else 0

    async def last_place(self, series: Series) -> int | None:
        """The last place on the axis that has a record (newest version); None without records or axis."""
        held, axis = self._held[series.name.lower()], coverage_axis(series)
        if not held.has_tables or axis is None:
            return None
        everything = Region((None,) * len(other_keys(series)))
        sql = f"SELECT max(place) FROM ({places_sql(held.layout, everything)})"
        row = await self._database.read(lambda cursor: cursor.execute(sql).fetchone())
        return None if row is None or row[0] is None else int(row[0])

    async def occupied(self, series: Series, region: Region, spans: Sequence[Span]) -> list[Occupied]:
        """Which records each of the disjoint spans of a region has, in the order of the spans.

        A few spans are counted by the database one by one; for many, all places are read once.
        """
        held = self._held[series.name.lower()]
        if not held.has_tables or not spans:
            return [Occupied(0, MAX, MIN)] * len(spans)
        axis, places = coverage_axis(series), places_sql(held.layout, region)
        few = 1 if axis is not None and axis.kind is Kind.MILLISECONDS else FEW_SPANS  # rows are not ordered by these
        if len(spans) <= few:
            found = "SELECT count(*), min(place), max(place) FROM (" + places + ") WHERE place BETWEEN {} AND {}"
            sql = " UNION ALL ".join(found.format(s.lo, s.hi) for s in spans)
            rows = await self._database.read(lambda cursor: cursor.execute(sql).fetchall())
            return [Occupied(count, lo, hi) if count else Occupied(0, MAX, MIN) for count, lo, hi in rows]
        return await self._occupied(places, spans)

    async def _occupied(self, places: str, spans: Sequence[Span]) -> list[Occupied]:
        lows = np.array([s.lo for s in spans], dtype=np.int64)
        highs = np.array([s.hi for s in spans], dtype=np.int64)
        counts = np.zeros(len(spans), dtype=np.int64)
        first, last = np.full(len(spans), MAX), np.full(len(spans), MIN)

        def work(cursor: Cursor) -> None:
            for batch in cursor.sql(places).to_arrow_reader(PLACES_AT_ONCE):
                found = batch.column(0).to_numpy()
                at = np.searchsorted(lows, found, "right") - 1
                inside = (at >= 0) & (found <= highs[at])
                at, found = at[inside], found[inside]
                np.add.at(counts, at, 1)
                np.minimum.at(first, at, found)
                np.maximum.at(last, at, found)

        await self._database.read(work)
        return [Occupied(*found) for found in zip(counts.tolist(), first.tolist(), last.tolist(), strict=True)]

    async def count_in(self, series: Series, boxes: Collection[Box]) -> int:
        """How many held records (newest versions) certainly lie in the boxes."""
        held = self._held[series.name.lower()]
        if not held.has_tables or not boxes:
            return 0
        inside = " OR ".join(f"({box_predicate(series, box)})" for box in boxes)
        sql = f"SELECT count(*) FROM {held.layout.table} WHERE {inside}"
        row = await self._database.read(lambda cursor: cursor.execute(sql).fetchone())
        return row[0] if row else 0


def _fetched(cursor: Cursor) -> list[tuple[int, int, str, bool]]:
    """All rows, fetched some at a time: no other Python runs during one call."""
    rows: list[tuple[int, int, str, bool]] = []
    while some := cursor.fetchmany(ROWS_AT_ONCE):
        rows += some
    return rows


def runs(numbers: Iterable[int], most: int | None = None) -> Iterator[range]:
    """Runs of consecutive numbers, at most ``most`` long, from ascending numbers."""
    run = range(0)
    for number in numbers:
        if not run or number != run.stop or len(run) == most:
            if run:
                yield run
            run = range(number, number)
        run = range(run.start, number + 1)
    if run:
        yield run


def arrow_of(cursor: Cursor, sql: str, most: int) -> pa.Table | None:
    """The rows of a statement; None if there are more than ``most``, or more than MOST_TEXT."""
    reader = cursor.sql(sql).to_arrow_reader(ROWS_AT_ONCE)
    batches, count, size = [], 0, 0
    for batch in reader:
        batches.append(batch)
        count, size = count + batch.num_rows, size + batch.nbytes
        if count > most or size > MOST_TEXT:
            return None
    return pa.Table.from_batches(batches, reader.schema)


def _first_or_last(rows: list[R], n: int | None) -> list[R]:
    if not n:
        return rows
    return rows[:n] if n > 0 else rows[n:]
