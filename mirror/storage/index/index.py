"""The index: every record that the mirror holds, with its coverage.

Reading and writing go through ``Database``. The public methods own their transactions: records,
coverage and precision of one chunk are committed together or not at all. The memory copies (coverage,
key sets, tolerances) change only after the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import duckdb
import pyarrow as pa

from mirror.concurrency import Version, to_the_end
from mirror.coverage.claims import oldest_check, split_by_age
from mirror.coverage.coverage import Coverage
from mirror.coverage.intervals import MAX, MIN
from mirror.coverage.plan import key_space, opened_box, opened_coverage
from mirror.errors import MirrorError, StorageError, UpstreamBroken
from mirror.storage.index.affected import affected_by_recnums
from mirror.storage.index.blocks_ahead import BlocksAhead
from mirror.storage.index.changes import CoverageLog, note_changes
from mirror.storage.index.layout import Layout, Tolerance
from mirror.storage.index.merge import absorb, create_tables, merge
from mirror.storage.index.reader import Held, Reader, Unreadable
from mirror.storage.index.rows import rows_of, widened_by
from mirror.storage.index.structures import (
    add_tolerances,
    all_tables,
    fields_of,
    find_keyset,
    narrow_keysets,
    store_keyset,
    store_series,
)
from mirror.storage.index.windows import place_of, places_of
from mirror.wire.structure import decode_series_struct, encode_series_struct

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from mirror.coverage.claims import CoverageClaim
    from mirror.coverage.coverage import Box
    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.answers import NewAnswer
    from mirror.storage.index.blocks import PlacedVersion
    from mirror.storage.index.merge import ForeignRecords
    from mirror.wire.rs_list import RsList


log = logging.getLogger(__name__)

T = TypeVar("T")

#: The time of a check that was never made, in Unix seconds.
NEVER = 0.0


@dataclass(frozen=True, slots=True)
class Committed:
    """Coverage that was just committed: these boxes are held, as of ``checked_at``.

    ``since``: their content has not changed since that moment; None: it may have.
    """

    series: Series
    boxes: tuple[Box, ...]
    checked_at: float
    since: float | None = None


@dataclass(frozen=True, slots=True)
class KeptFact:
    """A small answer that was just kept; for a stored structure the kind is ``structure``."""

    kind: str
    key: str
    value: str
    fetched_at: float


STRUCTURE = "structure"


class Index(Reader):
    """Records and coverage of all series; made by ``load``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        #: Called with what was committed, unless it came from the other mirrors that share.
        self.on_commit: Callable[[Committed | KeptFact], None] | None = None
        self._log = CoverageLog()
        self.removals = Version()  #: of all records: advances when some are removed, since plans may then be wrong
        # One at a time: in parallel all would finish late, with nothing committed before.
        self._converting = asyncio.Lock()
        self._moving = Counter[str]()  #: series whose prime keys are being replaced
        self._ahead = BlocksAhead(database, self._held, self._keysets, self._blocks, self._file)

    @classmethod
    async def load(cls, database: Database) -> Index:
        """The index of a store, with its coverage read into memory."""
        index = cls(database)
        token = await database.read(index._load)
        await asyncio.to_thread(index._file.open, token)
        for name, slots in index._file.slots.items():
            index._blocks.have_slots(name, slots)
        with suppress(duckdb.Error, StorageError):  # a full disk must not keep the mirror from answering with what it holds
            await index._tidy()
        return index

    # ---- structures ------------------------------------------------------------------------------

    async def keep_series(self, series: Series, fetched_at: float, *, is_shared: bool = False) -> None:
        """Keep a structure; new keywords become new columns, and a new key set for new rows.

        Held records that lack one of its fields count as never checked. Where its prime keys place records
        differently than before, nothing is vouched for any more. ``is_shared``, here as below: another mirror that
        shares with this one has it already.
        """
        layout, name = Layout(series), series.name.lower()
        held = self._held.get(name)
        unread = self._unreadable.get(name)
        is_new = held is None and unread is None
        same = held is not None and held.layout.fields == layout.fields
        keyset = held.keyset if held is not None and same else self._new_keyset(layout)
        moved = held is not None and key_space(held.series) != key_space(series)
        grown = held is not None and not layout.is_whole(held.layout.fields)

        def vouched(coverage: Coverage) -> Coverage:
            return Coverage() if moved or unread is not None else coverage.redated(lambda _: NEVER)

        text = encode_series_struct(series, runtime=0.0).decode("latin-1")
        is_other = unread is not None or (held is not None and text != encode_series_struct(held.series, runtime=0.0).decode("latin-1"))

        def work(cursor: Cursor) -> tuple[dict[str, Tolerance], tuple[int, ...]]:
            if is_other:
                self._file.drop(name, None)
            if moved or grown or unread is not None:
                self._log.replace(cursor, name, vouched(self._log.of(cursor, name)))
                self._answers.cut(cursor, name, vouched)
            return store_series(cursor, layout, keyset, fetched_at, is_new=is_new), narrow_keysets(cursor, layout)

        def follow(stored: tuple[dict[str, Tolerance], tuple[int, ...]]) -> None:
            widened, narrow = stored
            self._unreadable.pop(name, None)
            kept = unread is not None and unread.has_tables
            held = self._held.setdefault(name, Held(series, fetched_at, layout, keyset, has_tables=kept))
            held.widen(widened)
            held.series, held.fetched_at, held.layout, held.keyset = series, fetched_at, layout, keyset
            held.narrow = narrow
            held.version.advance()
            if moved:
                held.coverage = vouched(held.coverage)  # again, for claims that were committed meanwhile

        if held is not None and (moved or grown):
            held.coverage = vouched(held.coverage)  # first: nobody may rely on what no longer holds
        with self._moving_of(name) if moved else nullcontext():
            await self._commit(work, follow)
        if self.on_commit is not None and not is_shared:
            self.on_commit(KeptFact(STRUCTURE, series.name, text, fetched_at))

    # ---- records ---------------------------------------------------------------------------------

    async def keep(
        self,
        series: Series,
        answer: RsList,
        *,
        complete: tuple[Box, ...],
        checked_at: float,
        more: tuple[NewAnswer, ...] = (),
    ) -> None:
        """Keep the records of an answer, and the claim that they are all there are in the boxes ``complete``.

        Other records in those boxes become old versions. ``more`` are further answers that it gives.
        """
        gaps = [gap for box in complete for gap in self.coverage(series).gaps(box)]
        new = await self._converted(series, [answer])
        del answer  # its texts are most of the memory that a fill takes, and the write may have to wait
        await self._merge(
            new,
            complete,
            vouched=bool(complete) and not gaps,
            checked=complete,
            checked_at=checked_at,
            more=more,
        )

    async def keep_answer(
        self, series: Series, answer: NewAnswer, checked_at: float, answers: Sequence[RsList] = ()
    ) -> None:
        """Keep an answer of JSOC, with those of its records that were not held before."""
        if not answers:
            layout = self._held[series.name.lower()].layout

            def put(cursor: Cursor) -> None:
                self._insist_on_place(series)
                self._answers.put(cursor, layout, answer, checked_at)

            await self._commit(put)
            return
        new = await self._converted(series, answers)
        await self._merge(new, (), vouched=False, checked=(), checked_at=checked_at, more=(answer,))

    async def amend(
        self, series: Series, answers: Sequence[RsList], box: Box, *, gone: Collection[int], checked_at: float
    ) -> None:
        """Note that a held box was checked: ``answers`` have the records that changed, ``gone`` no longer exist."""
        new = await self._converted(series, answers)
        await self._merge(new, (), gone=gone, vouched=True, checked=(box,), checked_at=checked_at, renews=True)

    async def confirm(
        self, series: Series, boxes: tuple[Box, ...], checked_at: float, *, is_shared: bool = False
    ) -> None:
        """Note that boxes were checked against upstream and found unchanged."""
        name = series.name.lower()
        since = self._since(series, boxes)

        def work(cursor: Cursor) -> None:
            self._insist_on_place(series)
            self._log.add(cursor, name, boxes, checked_at)

        def follow(_: None) -> None:
            self._claim(series, [(box, checked_at) for box in boxes])

        await self._commit(work, follow)
        if not is_shared:
            self._tell(series, boxes, checked_at, since)
        await self._tidy()

    def _since(self, series: Series, boxes: tuple[Box, ...]) -> float | None:
        """Since when all of these boxes are held; None if some are not, or nobody listens."""
        if self.on_commit is None:
            return None
        coverage = self.coverage(series)
        return None if any(coverage.gaps(box) for box in boxes) else oldest_check(coverage, boxes)

    def _tell(self, series: Series, boxes: tuple[Box, ...], checked_at: float, since: float | None) -> None:
        if self.on_commit is not None and boxes:
            self.on_commit(Committed(series, boxes, checked_at, since))

    async def _converted(self, series: Series, answers: Sequence[RsList]) -> _New:
        held = self._held[series.name.lower()]
        layout = held.layout
        async with self._converting:
            rows = await rows_of(layout, answers, held.keyset)
        return _New(series, layout, rows, widened_by(layout, answers, held.tolerances))

    async def _merge(
        self,
        new: _New,
        complete: tuple[Box, ...],
        *,
        gone: Collection[int] = (),
        vouched: bool,
        checked: tuple[Box, ...],
        checked_at: float,
        renews: bool = False,
        more: tuple[NewAnswer, ...] = (),
    ) -> None:
        """Commit records, what they replace, the claim on ``checked``, and ``more`` answers, in one transaction."""
        series, layout, rows = new.series, new.layout, new.rows
        held = self._held[series.name.lower()]
        changed = _Changed(layout)

        def work(cursor: Cursor) -> None:
            self._insist_on_place(series)
            changed.begin(rows)

            def note(replaced: Mapping[int, int | None]) -> None:
                changed.add(cursor, replaced)
                note_changes(cursor, layout, replaced, checked_at, vouched=vouched)
                self._doubt(cursor, layout, replaced)

            if not held.has_tables:
                create_tables(cursor, layout)
            came = _unknown(cursor, layout, rows) if vouched and self._answers.any_of(layout.series.name) else []
            merge(cursor, layout, rows, complete, gone=gone, note=note)
            self._doubt(cursor, layout, came)
            for each in more:
                self._answers.put(cursor, layout, each, checked_at)
            self._log.add(cursor, layout.series.name, checked, checked_at)
            add_tolerances(cursor, layout, new.widened)
            self._file.drop(layout.series.name.lower(), changed.places)

        if renews and any(held.coverage.gaps(box) for box in checked):
            checked = ()  # some of it was removed meanwhile
        unchanged = renews and not gone and rows is None
        since = self._since(series, checked) if unchanged else None

        def follow(_: None) -> None:
            held.has_tables = True
            changed.tell(held.version)
            self._claim(series, [(box, checked_at) for box in checked])

        held.widen(new.widened)  # first: nobody may read the new rows with the old tolerances
        await self._commit(work, follow)
        self._tell(series, checked, checked_at, since)
        await self._tidy()

    def _doubt(self, cursor: Cursor, layout: Layout, recnums: Collection[int]) -> None:
        """Cut the answers about places of these records, which are replaced, or came where all seemed to be held."""
        if recnums and self._answers.any_of(layout.series.name):
            self._answers.cut(cursor, layout.series.name, affected_by_recnums(cursor, layout, recnums).uncover)

    async def _tidy(self) -> None:
        if self._log.wasteful():
            await self._database.write(self._log.compact)

    async def drop(
        self, series: Series, uncover: Callable[[Coverage], Coverage], work: Callable[[Cursor], T]
    ) -> T:
        """Do ``work``, which removes records, and claim only what ``uncover`` leaves, in one transaction."""
        held = self._held[series.name.lower()]

        def both(cursor: Cursor) -> T:
            self._log.replace(cursor, series.name, uncover(self._log.of(cursor, series.name)))
            self._answers.cut(cursor, series.name, uncover)
            done = work(cursor)
            self._file.drop(series.name.lower(), None)
            if held.has_tables and self._answers.any_of(series.name):
                self._answers.forget_unheld(cursor, held.layout)
            return done

        def follow(_: T) -> None:
            held.version.advance()
            held.coverage = uncover(held.coverage)  # again, for claims that were committed meanwhile

        self.removals.advance()
        held.coverage = uncover(held.coverage)  # first: nobody may rely on what is about to go
        return await self._commit(both, follow)

    async def mend(self, series: Series, work: Callable[[Cursor], list[str]]) -> list[str]:
        """Do ``work``, which repairs the tables of a series and says what was wrong, in one transaction."""

        def both(cursor: Cursor) -> list[str]:
            if found := work(cursor):
                self._file.drop(series.name.lower(), None)
            return found

        def follow(found: list[str]) -> None:
            if found:
                self._held[series.name.lower()].version.advance()

        return await self._commit(both, follow)

    async def keyset(self, series: Series, fields: tuple[str, ...]) -> int:
        """The number that a key set with these fields has here, for rows from another mirror."""
        known = await self._database.read(lambda cursor: find_keyset(cursor, series.name, fields))
        if known is not None:
            return known
        number = max(self._keysets, default=0) + 1
        self._keysets[number] = _positions(fields)
        await self._database.write(lambda cursor: store_keyset(cursor, series.name, number, fields))
        held = self._held[series.name.lower()]
        if not held.layout.is_whole(fields):
            held.narrow += (number,)
        return number

    async def absorb(self, series: Series, share: ForeignRecords, *, is_shared: bool = False) -> None:
        """Merge what another mirror cached of a series, rows and claims in one transaction: see ``merge.absorb``."""
        held = self._held[series.name.lower()]
        series = held.series
        opened = ((opened_box(series, box), at) for box, at in share.claims)
        theirs, ours = split_by_age(held.coverage, [(box, at) for box, at in opened if box is not None])
        found_at = max((at for _, at in share.claims), default=held.fetched_at)
        changed = _Changed(held.layout)

        def work(cursor: Cursor) -> None:
            self._insist_on_place(series)
            changed.begin(*share.new, *share.old)

            def note(replaced: Mapping[int, int | None]) -> None:
                changed.add(cursor, replaced)
                note_changes(cursor, held.layout, replaced, found_at, vouched=False)
                self._doubt(cursor, held.layout, replaced)

            if not held.has_tables:
                create_tables(cursor, held.layout)
            absorb(cursor, held.layout, share, theirs, ours, note)
            for box, checked_at in theirs:
                self._log.add(cursor, series.name, (box,), checked_at)
            add_tolerances(cursor, held.layout, dict(share.tolerances))
            self._file.drop(series.name.lower(), changed.places)

        def follow(_: None) -> None:
            held.has_tables = True
            changed.tell(held.version)
            self._claim(series, theirs)

        held.widen(dict(share.tolerances))  # first: nobody may read the new rows with the old tolerances
        await self._commit(work, follow)
        for box, checked_at in theirs:
            if not is_shared:
                self._tell(held.series, (box,), checked_at, None)
        await self._tidy()

    async def drop_broken_answers(self, series: Series) -> int:
        """Drop answers about a series that name a record which is not held; how many there were."""
        layout = self._held[series.name.lower()].layout
        return await self._commit(lambda cursor: self._answers.drop_broken(cursor, layout))

    async def cut_ahead(self, may_go_on: Callable[[], bool]) -> None:
        """Cut blocks that a first look would have to cut, for as long as ``may_go_on`` allows: see ``BlocksAhead``."""
        await self._ahead.cut(may_go_on)

    # ---- inside ----------------------------------------------------------------------------------

    async def _commit(self, work: Callable[[Cursor], T], follow: Callable[[T], None] = lambda _: None) -> T:
        """Do ``work`` in one transaction, then let the memory ``follow``.

        A caller who is cancelled meanwhile leaves after both: otherwise what is in memory would outlive a change.
        """

        def begun(cursor: Cursor) -> T:
            self._answers.begin(cursor)
            return work(cursor)

        async def both() -> T:
            done = await self._database.write(begun, self._answers.doubt)
            follow(done)
            return done

        return await to_the_end(both())

    @contextmanager
    def _moving_of(self, name: str) -> Iterator[None]:
        """While this is open, the prime keys of a series are being replaced by others."""
        self._moving[name] += 1
        try:
            yield
        finally:
            self._moving[name] -= 1

    def _is_placed(self, series: Series) -> bool:
        """True if boxes by the prime keys of ``series`` have the same records by those that the series has now."""
        name = series.name.lower()
        return not self._moving[name] and key_space(series) == key_space(self._held[name].series)

    def _insist_on_place(self, series: Series) -> None:
        """Within a transaction: UpstreamBroken if the series has other prime keys by now than those of ``series``."""
        if not self._is_placed(series):
            raise UpstreamBroken(f"{series.name} got other prime keys while its records were fetched; ask again")

    def _claim(self, series: Series, claims: Iterable[CoverageClaim]) -> None:
        """Note claims in memory after they were committed, unless other prime keys have ended them since."""
        if self._is_placed(series):
            for box, checked_at in claims:
                self._held[series.name.lower()].coverage.add(box, checked_at)

    def _load(self, cursor: Cursor) -> str | None:
        """Read the store into memory; returns the token of the block file."""
        known = cursor.execute("FROM mirror.series").fetchall()
        tables = all_tables(cursor) if known else set()
        for name, structure, fetched_at in known:
            kept = name.lower() in tables
            try:
                series = decode_series_struct(structure.encode("latin-1"), name_hint=name)
                layout = Layout(series)
            except (MirrorError, ValueError) as problem:
                log.warning("structure of a series cannot be read series=%s error=%s", name, problem)
                self._unreadable[name.lower()] = Unreadable(name, str(problem), has_tables=kept)
                continue
            self._held[name.lower()] = Held(series, fetched_at, layout, keyset=0, has_tables=kept)
        for keyset, name, fields in cursor.execute("FROM mirror.keysets ORDER BY id").fetchall():
            self._keysets[keyset] = _positions(names := fields_of(fields))
            held = self._held.get(name)
            if held is None:
                continue
            if held.layout.fields == names:
                held.keyset = keyset
            elif not held.layout.is_whole(names):
                held.narrow += (keyset,)
        for name, keyword, absolute, relative in cursor.execute("FROM mirror.precision").fetchall():
            if (held := self._held.get(name)) is not None:
                held.widen({keyword: Tolerance(absolute, relative)})
        self._answers.load(cursor)
        for name, coverage in self._log.replay(cursor).items():
            if (held := self._held.get(name)) is not None:
                held.coverage = opened_coverage(held.series, coverage)
        token = cursor.execute("SELECT token FROM mirror.block_file").fetchone()
        return None if token is None else str(token[0])

    def _new_keyset(self, layout: Layout) -> int:
        """A number for these fields, in memory before the first row that has it can be read."""
        number = max(self._keysets, default=0) + 1
        self._keysets[number] = _positions(layout.fields)
        return number


@dataclass(frozen=True, slots=True)
class _New:
    """Answers as rows of the index (None: they have no records), and the tolerances that these widen."""

    series: Series
    layout: Layout
    rows: pa.Table | None
    widened: dict[str, Tolerance]


class _Changed:
    """Where along the axis one transaction changes records of a series."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.places: list[tuple[int, int]] | None = []  #: None: anywhere

    def begin(self, *rows: pa.Table | None) -> None:
        """Start over with the places of new rows (the transaction may have been tried before)."""
        self.places = []
        for each in rows:
            place = place_of(self._layout.series, each)
            self._extend(None if place is None else [place])

    def add(self, cursor: Cursor, replaced: Collection[int]) -> None:
        """Add the places of records that are about to go."""
        self._extend(places_of(cursor, self._layout, replaced))

    def tell(self, version: PlacedVersion) -> None:
        """Advance the version by all that has changed."""
        for place in [None] if self.places is None else self.places or [_NOWHERE]:
            version.advance(place)

    def _extend(self, places: list[tuple[int, int]] | None) -> None:
        self.places = None if places is None or self.places is None else self.places + places


_NOWHERE = MAX, MIN


def _unknown(cursor: Cursor, layout: Layout, rows: pa.Table | None) -> list[int]:
    """The record numbers in ``rows`` that are not held yet."""
    numbers = [] if rows is None else rows["recnum"].to_pylist()
    held: set[int] = set()
    for table in (layout.table, layout.old_table) if numbers else ():
        sql = f"SELECT recnum FROM {table} WHERE recnum IN (SELECT unnest(?::BIGINT[]))"
        held |= {row[0] for row in cursor.execute(sql, [numbers]).fetchall()}
    return [n for n in numbers if n not in held]


def _positions(fields: tuple[str, ...]) -> dict[str, int]:
    return {name: i for i, name in enumerate(fields)}
