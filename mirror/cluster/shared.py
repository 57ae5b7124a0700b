"""Sharing: what this server has committed goes to all, and what another has is not asked of JSOC again.

A miss:

1. The tail of the series' journal is read, and what of it tells more of the wanted boxes than this server knows is
   taken over: chunks come from the object store, and are merged as those of another mirror.
2. What is still missing is computed together with the position in the journal, in one step of the event loop. (Reading
   the position after an ``await`` claims gaps that another server has filled meanwhile.)
3. In one transaction: begin again if the journal has moved; strike off the flights of servers that are gone; write down
   a flight for what no other is about. If others fetch all of it, wait to be told, and begin again.
4. JSOC is asked, what came is committed here, the chunk is put beside the objects, and one transaction ends the flight
   and writes the row of the journal. Without its object nothing is said to be held.

What is committed in any other way (a check, an import, what a question brought) is told of by the index, waits in
``_pending``, and is published by a task. What could not be published, since the cluster was away or this server ended
before, is found when it is there again: what is held here, less what the journal says.

The memory of the journal holds the rows that may still tell something; it is read again when records were taken away.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from mirror.api import cluster as api
from mirror.cluster.chunks import new_key, read_chunk, write_chunk
from mirror.cluster.compaction import Compaction
from mirror.cluster.database import FACTS, FREE, JOURNAL, KNOWN, MOST_NAMES
from mirror.cluster.journal import (
    Entry,
    bounds,
    claim,
    coverage_of,
    dropped,
    end_flight,
    is_there,
    lacking,
    lock_series,
    space_of,
    tail,
    touch,
    write_entry,
)
from mirror.cluster.objects import probe
from mirror.cluster.places import Places
from mirror.concurrency import SingleFlight, to_the_end
from mirror.coverage.coverage import Box, Coverage, Freshness
from mirror.coverage.intervals import GRAIN, Steps
from mirror.coverage.subtraction import without
from mirror.errors import (
    ClusterAway,
    ConfigError,
    MirrorError,
    ObjectDamaged,
    ObjectMissing,
    ObjectStoreError,
    ObjectStoreRefused,
    StorageError,
)
from mirror.humanize import stamp
from mirror.metrics import counter, gauge
from mirror.readthrough.chunks import chunks
from mirror.storage.index.affected import delete_records
from mirror.storage.index.index import STRUCTURE, Committed, KeptFact
from mirror.storage.index.merge import ForeignRecords
from mirror.storage.index.select_sql import box_predicate
from mirror.upstream.budget import PARTS
from mirror.wire.structure import decode_series_struct, encode_series_struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from mirror.cluster.database import ClusterDatabase
    from mirror.cluster.files import SharedFiles
    from mirror.cluster.objects import Objects
    from mirror.drms.series import Series
    from mirror.metrics import Metric
    from mirror.readthrough.shared import Ask
    from mirror.storage.database.database import Cursor
    from mirror.storage.database.keyed import KeyedTable
    from mirror.storage.index.index import Index
    from mirror.upstream.budget import Budget
    from mirror.upstream.pacing import Priority

log = logging.getLogger(__name__)

#: Seconds after which whoever waits for another server looks again although nobody said anything.
NET = 2.0
#: The first half of the advisory lock of whoever publishes for all.
PUBLISHER = 0x6A736F11
#: Seconds for which what was committed is gathered before it is published; and between tries while that fails.
GATHER, AGAIN = 0.05, 2.0
#: Sessions that may end in one fetch before that fails.
LOSSES = 3
#: Axis values of one chunk that is published without having been fetched as one.
SLOTS = 20_000
#: Seconds between two words about what was asked of JSOC.
COUNTED = 1.0
#: Where it is written down which cluster the objects are of.
MARK = "cluster.json"
#: What is kept of a series: how far this server has followed what was given up.
GIVEN_UP = "given up: "
#: Which cluster this server is in; and its number there, for exports that are made while the cluster is away.
CLUSTER, NUMBER = "cluster", "number"
#: Chunks that could not be used and are named.
NAMED = 20
#: Small answers that are read at a time.
AT_ONCE = 500


@dataclass
class _Journal:
    """What is remembered of the journal of one series."""

    space: str
    removals: int
    position: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of publishing, for whoever wants to see what a failure there does."""

    name: str
    series: str


class ClusterShared:
    """The other mirrors of a cluster; ``folder`` is for files that are on their way."""

    def __init__(
        self,
        index: Index,
        database: ClusterDatabase,
        objects: Objects,
        folder: Path,
        *,
        state: KeyedTable,
        queries: int,
        budget: Budget | None = None,
    ) -> None:
        self._state = state
        self._tables: dict[str, KeyedTable] = {}
        self.on_back: Callable[[], None] = lambda: None  #: called when the cluster is there again
        self._budget = budget
        self._number = 0
        self._probed = False
        self._index = index
        self._database = database
        self._objects = objects
        self._folder = folder
        self.places = Places(database, queries)
        self.counts: Counter[str] = Counter()
        #: makes few rows of many, for all servers
        self.compaction = Compaction(index, database, objects, folder, self._take_over)
        self.broken: dict[int, str] = {}  #: rows of the journal whose object cannot be used
        self.step: Callable[[Step], None] = lambda _: None
        self.objects_problem = ""
        self._journals: dict[str, _Journal] = {}
        self._absorbing: SingleFlight[int, None] = SingleFlight()
        self._refreshing: SingleFlight[str, None] = SingleFlight()
        self._told: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._pending: dict[str, list[Committed]] = defaultdict(list)
        self._facts: list[KeptFact] = []
        self._facts_position = 0
        self._busy: dict[str, list[Box]] = defaultdict(list)
        self._work = asyncio.Event()
        self._stale_facts = asyncio.Event()
        self._given_up: set[str] = set()
        self.files: SharedFiles | None = None  #: what is shared of files, set by whoever makes both
        self._publishes_as = 0  #: the number under which this server publishes for all
        self._tasks: list[asyncio.Task[None]] = []
        database.on_connect, database.on_notice = self._connected, self._notice

    def share(self, tables: Mapping[str, KeyedTable]) -> None:
        """Share the small answers of these tables, each under its kind; before ``start``."""
        self._tables |= tables
        for kind, table in tables.items():
            table.on_put = partial(self._put, kind)

    def _put(self, kind: str, key: str, value: str, noted_at: float) -> None:
        self._committed(KeptFact(kind, key, value, noted_at))

    # ---- starting, stopping ----------------------------------------------------------------------

    async def start(self) -> None:
        """Join the cluster; ConfigError if that cannot be."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.iterdir():
            left.unlink(missing_ok=True)
        self._index.on_commit = self._committed
        known = await self._state.get(NUMBER)
        self._number = 0 if known is None else int(known[0])
        await self._database.start()
        self._tasks = [asyncio.create_task(self._publishing()), asyncio.create_task(self._following()), asyncio.create_task(self._counting())]

    async def stop(self) -> None:
        """Leave the cluster; what is not published yet is when this server comes again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._index.on_commit = None
        await self._database.stop()

    async def announce(self, host: str | None, port: int) -> None:
        """Tell the others where this server answers: see ``ClusterDatabase``."""
        await self._database.announce(host, port)

    async def published(self) -> None:
        """Return when all that was committed here is published; for tests and for whoever stops a server."""
        while self._pending or self._facts or any(self._busy.values()):  # noqa: ASYNC110  (who publishes need not know of it)
            await asyncio.sleep(GATHER)

    @property
    def database(self) -> ClusterDatabase:
        """What is shared, in tables."""
        return self._database

    @property
    def objects(self) -> Objects:
        """What is shared, in files."""
        return self._objects

    @property
    def unpublished(self) -> int:
        """How many commits wait to be published."""
        return sum(map(len, self._pending.values()))

    def metrics(self) -> list[Metric]:
        """What Prometheus is told of the cluster."""
        counts = {kind: float(self.counts[kind]) for kind in ("published", "absorbed", "moved", "waited", "fenced")}
        return [
            gauge("mirror_cluster_up", "1 if the cluster's PostgreSQL is there.", int(self._database.connected)),
            counter("mirror_cluster_losses_total", "How often the session with it ended.", self._database.losses),
            counter("mirror_cluster_journal_total", "Rows written and taken over, and what became of flights.", counts, "what"),
            counter("mirror_cluster_folded_rows_total", "Rows of the journal that were folded into others.", self.compaction.went),
            counter("mirror_cluster_published_bytes_total", "Bytes of chunks put.", self.counts["published_bytes"]),
            gauge("mirror_cluster_unpublished", "Commits that the others do not know of yet.", self.unpublished),
            gauge("mirror_cluster_broken_chunks", "Chunks that could not be used.", len(self.broken)),
            gauge("mirror_cluster_places", "Places towards JSOC that this server has.", self.places.taken),
            *(() if self.files is None else self.files.metrics()),
        ]

    async def status(self) -> api.Cluster:
        """How the cluster is, as this server sees it."""
        database, totals, members, problem = self._database, (0, 0, 0, 0, 0), [], self._database.why
        files = 0, 0
        with suppress(ClusterAway):
            members = await database.members()
            sql = (
                "SELECT count(*), count(object), coalesce(sum(rows), 0)::BIGINT, coalesce(sum(size), 0)::BIGINT, "
                "(SELECT count(*) FROM flights) FROM journal"
            )
            async with database.transaction() as cursor:
                await cursor.execute(sql)
                totals = await cursor.fetchone() or totals
            if self.files is not None:
                files = await self.files.units.totals()
        return api.Cluster(
            alone=False,
            name=database.name,
            id=database.identity,
            connected=database.connected,
            problem=problem,
            objects=str(self._objects.place),
            objects_problem=self.objects_problem,
            servers=[
                api.Server(name=m.name, version=m.version, address=m.address, since=stamp(m.since), here=m.id == database.id)
                for m in members
            ],
            rows=totals[0],
            chunks=totals[1],
            records=totals[2],
            bytes=totals[3],
            flights=totals[4],
            unpublished=self.unpublished,
            files=files[0],
            file_bytes=files[1],
            files_problem="" if self.files is None else self.files.problem,
            broken=list(self.broken.values())[:NAMED],
        )

    # ---- the port --------------------------------------------------------------------------------

    async def catch_up(self, series: Series, boxes: Iterable[Box]) -> bool:
        """See ``Shared``."""
        if not self._database.connected:
            return False
        try:
            return await self._take_over(series, tuple(boxes))
        except (ClusterAway, ObjectStoreError, StorageError) as problem:
            log.info("what others have cannot be taken over now series=%s problem=%r", series.name, str(problem))
            return False

    async def fetch(self, series: Series, box: Box, ask: Ask) -> int | None:
        """See ``Shared``."""
        return await self._alone_at(series, box, lambda: self._index.coverage(series).gaps(box), ask)

    async def check(self, series: Series, box: Box, freshness: Freshness, check: Ask) -> None:
        """See ``Shared``."""
        # Of a check that is demanded now, any that was made since is as good.
        young, settled = max(freshness.young_age, 0.0), max(freshness.settled_age, 0.0)
        due = replace(freshness, young_age=young, settled_age=settled)
        await self._alone_at(series, box, lambda: self._index.coverage(series).stale(box, due), check)

    async def gather(self) -> None:
        """Take over all that the others have, of all series whose structure is known; ClusterAway if that cannot be."""
        async with self._database.transaction() as cursor:
            names = [row[0] for row in await (await cursor.execute("SELECT DISTINCT series FROM journal")).fetchall()]
        await self._refreshing.run("", self._pull_facts)
        for name in names:
            held = self._index.series(name)
            if held is None:
                continue
            await self._read_on(held[0])
            boxes = [box for entry in self._journal(held[0]).entries.values() for box in entry.boxes]
            if boxes:
                await self._take_over(held[0], tuple(boxes))

    async def may_publish(self) -> bool:
        """Whether it is this server that publishes for all: it is from now on, if no other is."""
        if not self._database.connected:
            return False
        if self._publishes_as != self._database.id:
            row = await self._database.on_session("SELECT pg_try_advisory_lock(%s, 0)", (PUBLISHER,))
            if not row or not row[0]:
                return False
            self._publishes_as = self._database.id
        return True

    async def refresh(self) -> None:
        """See ``Shared``."""
        with suppress(ClusterAway):
            await self._refreshing.run("", self._pull_facts)

    async def forget(self, series: Series, boxes: tuple[Box, ...] | None) -> None:
        """See ``Shared``."""
        name = series.name.lower()
        claims = tuple((box, 0.0) for box in boxes or ())
        async with self._database.transaction() as cursor:
            await lock_series(cursor, name)
            entry = Entry(0, "drop", claims, server=self._database.name)
            await write_entry(cursor, name, space_of(series), entry)
        gone = Coverage()
        for box, at in claims:
            gone.add(box, at)
        self._pending[name] = [c for c in self._pending[name] if boxes is not None and any(gone.gaps(b) for b in c.boxes)]

    @asynccontextmanager
    async def slot(self, kind: str, priority: Priority) -> AsyncIterator[None]:
        """See ``Shared``."""
        async with self.places.place(kind, priority):
            yield

    def job_number(self, number: int) -> int:
        """See ``Shared``."""
        return number * MOST_NAMES + self._number

    async def address_of(self, number: int) -> str | None:
        """See ``Shared``."""
        if number % MOST_NAMES in (0, self._number):
            return None
        with suppress(ClusterAway):
            for member in await self._database.members():
                if member.number == number % MOST_NAMES and member.id != self._database.id:
                    return member.address or None
        return None

    # ---- one at a time ---------------------------------------------------------------------------

    async def _alone_at(self, series: Series, box: Box, find: Callable[[], list[Box]], ask: Ask) -> int | None:
        """Have ``ask`` done for what ``find`` finds of a box, where nobody else does it."""
        total, done, losses = 0, Coverage(), 0
        while True:
            try:
                took, parts = await self._one_turn(series, box, find, done, ask)
            except ClusterAway:
                # The session may have ended in the middle; then the next one goes on where this one was.
                if (losses := losses + 1) > LOSSES:
                    raise
                continue
            if took is None or not parts:
                return None if took is None else total
            total += took
            for part in parts:
                done.add(part, 0.0)

    async def _one_turn(
        self, series: Series, box: Box, find: Callable[[], list[Box]], done: Coverage, ask: Ask
    ) -> tuple[int | None, list[Box]]:
        """One flight, once there is something for it: what ``ask`` gave, and which parts it was about; none: all is done."""
        name = series.name.lower()
        while True:
            told = self._told[name]  # before anything is looked at: what is said from now on is heard
            try:
                await self._take_over(series, (box,))
            except ObjectStoreError as problem:
                raise ClusterAway(f"what another mirror has fetched cannot be had now: {problem}") from problem
            # In one step: no await may come between these.
            wanted = [part for found in find() for part in done.gaps(found)]
            position = self._journal(series).position
            if not wanted:
                return 0, []
            claimed = await self._claim(name, position, wanted)
            if claimed is None:
                self.counts["moved"] += 1
                continue
            flight, parts = claimed
            if flight is None:
                self.counts["waited"] += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(NET):
                        await told.wait()
                continue
            return await self._fly(series, flight, parts, ask), parts

    async def _claim(self, name: str, position: int, wanted: Sequence[Box]) -> tuple[int | None, list[Box]] | None:
        async with self._database.transaction() as cursor:
            return await claim(cursor, name, position, wanted, self._database.id)

    async def _fly(self, series: Series, flight: int, parts: Sequence[Box], ask: Ask) -> int | None:
        """Have a flight's parts done, and publish them; None as soon as ``ask`` gives that."""
        name, total = series.name.lower(), 0
        self._busy[name] += parts
        try:
            self.step(Step("claimed", name))
            for part in parts:
                took = await ask(part)
                if took is None:
                    return None
                total += took
            self.step(Step("committed", name))
        finally:
            # Whoever asked may have gone; what was committed is for all.
            await to_the_end(self._land(series, flight, parts))
        return total

    async def _land(self, series: Series, flight: int, parts: Sequence[Box]) -> None:
        name = series.name.lower()
        mine: list[Committed] = []
        others: list[Committed] = []
        for commit in self._pending[name]:
            about = any(touch(box, part) for box in commit.boxes for part in parts)
            (mine if about else others).append(commit)
        self._pending[name] = others
        try:
            if not await self._publish(series, mine, flight):
                self.counts["fenced"] += 1
                self._pending[name] += mine
        except (ClusterAway, ObjectStoreError, StorageError) as problem:
            log.warning("what was fetched is not published yet series=%s problem=%r", name, str(problem))
            self._pending[name] += mine
            with suppress(ClusterAway):
                async with self._database.transaction() as cursor:
                    await end_flight(cursor, name, flight)
        finally:
            for part in parts:
                self._busy[name].remove(part)
            if not self._pending[name]:
                del self._pending[name]
            self._work.set()

    # ---- taking over -----------------------------------------------------------------------------

    def _journal(self, series: Series) -> _Journal:
        name, space = series.name.lower(), space_of(series)
        journal = self._journals.get(name)
        if journal is None or journal.space != space or journal.removals != self._index.removals.number:
            journal = self._journals[name] = _Journal(space, self._index.removals.number)
        return journal

    async def _take_over(self, series: Series, boxes: tuple[Box, ...]) -> bool:
        """Read on in the journal, and take over what tells more of the boxes; True if anything did."""
        took = False
        while True:
            await self._read_on(series)
            found = self._telling(series, boxes)
            if not found:
                return took
            for entry in found:
                await self._absorbing.run(entry.id, partial(self._absorb, series, entry))
                took = True

    async def _read_on(self, series: Series) -> None:
        name, journal = series.name.lower(), self._journal(series)
        async with journal.reading:
            while True:
                async with self._database.transaction() as cursor:
                    entries, position = await tail(cursor, name, journal.space, journal.position)
                for entry in entries:
                    if entry.kind == "drop":
                        self._cut(journal, entry)
                        await self._give_up(series, journal, entry)
                    elif entry.id not in self.broken:
                        journal.entries[entry.id] = entry
                at_end, journal.position = position == journal.position, max(position, journal.position)
                if at_end or not entries:
                    return

    def _cut(self, journal: _Journal, gone: Entry) -> None:
        left = {n: dropped(entry, gone) for n, entry in journal.entries.items()}
        journal.entries = {n: entry for n, entry in left.items() if entry is not None}

    def _telling(self, series: Series, boxes: Sequence[Box]) -> list[Entry]:
        """The rows that say more of the boxes than is known here, in order; what says nothing more is forgotten."""
        journal, coverage = self._journal(series), self._index.coverage(series)
        lo, hi = bounds(boxes)
        found = []
        for entry in tuple(journal.entries.values()):
            first, last = bounds(entry.boxes)
            if first > hi or last < lo:
                continue
            if entry.tells(coverage, boxes):
                found.append(entry)
            elif not entry.tells(coverage, entry.boxes):
                del journal.entries[entry.id]
        return found

    async def _absorb(self, series: Series, entry: Entry) -> None:
        """Take one row over; one whose object cannot be used is passed over from then on, and JSOC asked instead."""
        journal, coverage = self._journal(series), self._index.coverage(series)
        if entry.id not in journal.entries:
            return
        if entry.kind == "same":
            for part, at in entry.news(coverage, entry.boxes):
                await self._index.confirm(series, (part,), at, is_shared=True)
        else:
            try:
                await self._absorb_chunk(series, entry)
            except (ObjectDamaged, ObjectMissing) as problem:
                if isinstance(problem, ObjectMissing):
                    await self._insist_on_mark()  # or the folder is not mounted, and all would seem to be gone
                    if not await self._is_there(entry):
                        journal.entries.pop(entry.id, None)  # it was folded into a row that is read next
                        return
                self.broken[entry.id] = f"{series.name}: {problem}"
                log.warning("a chunk cannot be used, and is asked for again series=%s problem=%r", series.name, str(problem))
                journal.entries.pop(entry.id, None)
                return
        journal.entries.pop(entry.id, None)
        self.counts["absorbed"] += 1
        self.counts["absorbed_records"] += entry.rows

    async def _is_there(self, entry: Entry) -> bool:
        async with self._database.transaction() as cursor:
            return await is_there(cursor, entry.id)

    async def _absorb_chunk(self, series: Series, entry: Entry) -> None:
        if entry.object is None:
            share = ForeignRecords(claims=entry.claims)
            await self._index.absorb(series, share, is_shared=True)
            return
        path = self._folder / f"{entry.id}.parquet"
        try:
            await self._objects.get_to(entry.object, path, sha256=entry.sha256)
            share = await read_chunk(self._index, series, path, entry.rows, entry.claims)
            await self._index.absorb(series, share, is_shared=True)
        finally:
            path.unlink(missing_ok=True)

    async def _give_up(self, series: Series, journal: _Journal, entry: Entry) -> None:
        """Records that were given up elsewhere are given up here too, once."""
        name = series.name.lower()
        fact = await self._state.get(GIVEN_UP + name)
        if fact is not None and int(fact[0]) >= entry.id:
            return
        boxes = entry.boxes or None
        layout = self._index.layout(series)
        numbers: frozenset[int] | None = None
        if boxes is not None and self._index.has_records(series):
            where = " OR ".join(f"({box_predicate(series, box)})" for box in boxes)
            numbers = await self._index.recnums(series, where, all_versions=True)

        def uncover(coverage: Coverage) -> Coverage:
            return Coverage() if boxes is None else without(coverage, boxes)

        def work(cursor: Cursor) -> None:
            if self._index.has_records(series):
                delete_records(cursor, layout, numbers)

        await self._index.drop(series, uncover, work)
        journal.removals = self._index.removals.number
        await self._state.put(GIVEN_UP + name, str(entry.id), 0.0)

    # ---- publishing ------------------------------------------------------------------------------

    def _committed(self, what: Committed | KeptFact) -> None:
        if isinstance(what, KeptFact):
            self._facts.append(what)
        elif self._database.connected:  # else it is found when the cluster is there again
            self._pending[what.series.name.lower()].append(what)
        self._work.set()

    async def _publishing(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            await asyncio.sleep(GATHER)
            try:
                await self._publish_pending()
                await self._push_facts()
                self.objects_problem = ""
            except ClusterAway:
                await asyncio.sleep(AGAIN)
                self._work.set()
            except (ObjectStoreError, StorageError) as problem:
                if str(problem) != self.objects_problem:
                    log.warning("what was committed cannot be published now problem=%r", str(problem))
                self.objects_problem = str(problem)
                await asyncio.sleep(AGAIN)
                self._work.set()

    async def _publish_pending(self) -> None:
        for name in tuple(self._pending):
            busy = self._busy.get(name, [])
            ready = [c for c in self._pending[name] if not any(touch(b, f) for b in c.boxes for f in busy)]
            held = self._index.series(name)
            for commit in ready if held is not None else ():
                series = held[0] if held else commit.series
                for box in commit.boxes:
                    for part in chunks(box, SLOTS):
                        await self._publish(series, [replace(commit, boxes=(part,))], None)
                self._pending[name] = [c for c in self._pending[name] if c is not commit]
            if not self._pending[name]:
                del self._pending[name]

    async def _publish(self, series: Series, commits: Sequence[Committed], flight: int | None) -> bool:
        """Write down what was committed, with its object where it has one; False if its flight was gone."""
        name, space = series.name.lower(), space_of(series)
        changed = [box for c in commits if c.since is None for box in c.boxes]
        same = [c for c in commits if c.since is not None]
        entries = []
        path: Path | None = None
        try:
            if changed:
                chunk = await write_chunk(self._index, series, changed, self._folder)
                path = chunk.path
                key = None if path is None else new_key(name)
                if path is not None and key is not None:
                    await self._objects.put_new(key, path)
                    self.counts["published_bytes"] += chunk.size
                self.step(Step("put", name))
                if chunk.claims:
                    entries.append(
                        Entry(0, "content", chunk.claims, None, key, chunk.sha256, chunk.size, chunk.rows, self._database.name)
                    )
        finally:
            if path is not None:
                path.unlink(missing_ok=True)
        entries += [
            Entry(0, "same", tuple((box, c.checked_at) for box in c.boxes), c.since, server=self._database.name) for c in same
        ]
        done = await self._write_down(name, space, entries, flight)
        if not done:
            for entry in entries:
                if entry.object is not None:
                    with suppress(ObjectStoreError):
                        await self._objects.delete(entry.object)
            return False
        self.step(Step("written", name))
        self.counts["published"] += len(entries)
        self.counts["published_records"] += sum(entry.rows for entry in entries)
        return True

    async def _write_down(self, name: str, space: str, entries: Sequence[Entry], flight: int | None) -> bool:
        if not entries and flight is None:
            return True
        async with self._database.transaction() as cursor:
            await lock_series(cursor, name)
            if flight is not None and not await end_flight(cursor, name, flight):
                return not entries
            for entry in entries:
                await write_entry(cursor, name, space, entry)
        return True

    # ---- what was not published ------------------------------------------------------------------

    async def _connected(self) -> None:
        """The cluster is there, perhaps again."""
        await self._insist_on_mark(make=True)
        if self._number != self._database.number:
            self._number = self._database.number
            await self._state.put(NUMBER, str(self._number), 0.0)
        self._pending.clear()
        self._facts_position = 0
        joined = await self._state.get(CLUSTER)
        if joined is None or joined[0] != self._database.identity:
            await self._follow_from_now_on()
        for series in self._index.all_series():
            name, held = series.name.lower(), self._index.series(series.name)
            if held is not None:
                text = encode_series_struct(series, runtime=0.0).decode("latin-1")
                self._facts.append(KeptFact(STRUCTURE, series.name, text, held[1]))
            self._journals.pop(name, None)
            await self._read_on(series)
            self._pending[name] += self._unpublished(series)
            self._telling(series, [Box(region, (Steps(s.lo, s.hi),)) for region, spans in self._index.coverage(series) for s in spans])
            if not self._pending[name]:
                del self._pending[name]
            await asyncio.sleep(0)
        for name in tuple(self._told):
            self._tell(name)
        self._work.set()
        self._stale_facts.set()
        self.on_back()

    def _unpublished(self, series: Series) -> list[Committed]:
        """What is held here, and not by the journal."""
        journal = self._journals[series.name.lower()]
        told, found = coverage_of(journal.entries.values()), []
        for region, spans in self._index.coverage(series):
            for span in spans:
                box = Box(region, (Steps(span.lo, span.hi),))
                if span.checked_at > 0.0 and (parts := lacking(told, box, span.checked_at - GRAIN)):
                    found.append(Committed(series, tuple(parts), span.checked_at))
        return found

    async def _follow_from_now_on(self) -> None:
        """A store that was in no cluster, or in another, has what others gave up before for good reasons."""
        async with self._database.transaction() as cursor:
            await cursor.execute("SELECT coalesce(max(id), 0) FROM journal")
            row = await cursor.fetchone()
        for series in self._index.all_series():
            await self._state.put(GIVEN_UP + series.name.lower(), str(row[0] if row else 0), 0.0)
        await self._state.put(CLUSTER, self._database.identity, 0.0)

    async def _insist_on_mark(self, *, make: bool = False) -> None:
        """Raise unless the objects are those of this cluster."""
        mine = self._database.identity.encode()
        try:
            if make and not self._probed:
                await probe(self._objects)
                self._probed = True
            try:
                found = await self._objects.get(MARK)
            except ObjectMissing:
                if not make:
                    raise
                await self._objects.put_new(MARK, mine)
                found = await self._objects.get(MARK)
        except ObjectMissing as problem:
            raise ClusterAway(f"{MARK} is not among the objects any more: is their folder mounted?") from problem
        except ObjectStoreError as problem:
            if make and isinstance(problem, ObjectStoreRefused):
                raise ConfigError(f"[cluster] objects: {problem}") from problem
            self.objects_problem = str(problem)
            if make:
                log.warning("the objects of the cluster cannot be had now problem=%r", str(problem))
                return
            raise
        if found.strip() != mine:
            raise ConfigError(
                f"[cluster] objects: these are of the cluster {found[:60].decode(errors='replace')!r}, and `database` is of "
                f"{self._database.identity!r}; expected both of one cluster"
            )

    # ---- structures and other small answers ------------------------------------------------------

    async def _push_facts(self) -> None:
        facts = tuple(self._facts)
        if not facts:
            return
        sql = (
            "INSERT INTO facts (kind, key, value, fetched_at) VALUES (%s, %s, %s, %s) ON CONFLICT (kind, key) DO UPDATE "
            "SET value = excluded.value, fetched_at = excluded.fetched_at, seq = nextval('facts_seq_seq') "
            "WHERE facts.fetched_at < excluded.fetched_at"
        )
        async with self._database.transaction() as cursor:
            await cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", (FACTS,))
            await cursor.executemany(sql, [(f.kind, f.key, f.value, f.fetched_at) for f in facts])
            await cursor.execute("SELECT pg_notify(%s, '')", (KNOWN,))
        del self._facts[: len(facts)]

    async def _pull_facts(self) -> None:
        sql = "SELECT kind, key, value, fetched_at, seq FROM facts WHERE seq > %s ORDER BY seq LIMIT %s"
        while True:
            async with self._database.transaction() as cursor:
                await cursor.execute(sql, (self._facts_position, AT_ONCE))
                rows = await cursor.fetchall()
            for kind, key, value, fetched_at, seq in rows:
                await self._take_fact(kind, key, value, fetched_at)
                self._facts_position = max(self._facts_position, seq)
            if len(rows) < AT_ONCE:
                return

    async def _take_fact(self, kind: str, key: str, value: str, fetched_at: float) -> None:
        if kind != STRUCTURE:
            if (table := self._tables.get(kind)) is not None:
                await table.put_newer(key, value, fetched_at)
            return
        held = self._index.series(key)
        if held is not None and held[1] >= fetched_at:
            return
        try:
            series = decode_series_struct(value.encode("latin-1"), name_hint=key)
        except (MirrorError, ValueError, KeyError, TypeError) as problem:
            log.warning("a structure of the cluster cannot be read series=%s problem=%r", key, str(problem))
            return
        await self._index.keep_series(series, fetched_at, is_shared=True)

    # ---- the budget ------------------------------------------------------------------------------

    async def _counting(self) -> None:
        """What each server asks of JSOC counts for all: told and heard every COUNTED seconds."""
        told: dict[str, dict[int, int]] = {}
        while self._budget is not None:
            await asyncio.sleep(COUNTED)
            if not self._database.connected:
                continue
            with suppress(ClusterAway):
                told = await self._count(self._budget, told)

    async def _count(self, budget: Budget, told: dict[str, dict[int, int]]) -> dict[str, dict[int, int]]:
        mine = {kind: dict(parts) for kind, parts in budget.state().items()}
        news = [
            (self._database.name, kind, part, amount)
            for kind, parts in mine.items()
            for part, amount in parts.items()
            if told.get(kind, {}).get(part) != amount
        ]
        async with self._database.transaction() as cursor:
            if news:
                await cursor.executemany(
                    "INSERT INTO used (server, kind, part, amount) VALUES (%s, %s, %s, %s) "
                    "ON CONFLICT (kind, part, server) DO UPDATE SET amount = excluded.amount",
                    news,
                )
                for kind, parts in mine.items():
                    oldest = max(parts, default=0) - 2 * PARTS
                    await cursor.execute("DELETE FROM used WHERE kind = %s AND part < %s", (kind, oldest))
            sql = "SELECT kind, part, sum(amount)::BIGINT FROM used WHERE server <> %s GROUP BY kind, part"
            await cursor.execute(sql, (self._database.name,))
            others: dict[str, dict[int, int]] = {}
            for kind, part, amount in await cursor.fetchall():
                others.setdefault(kind, {})[part] = amount
        budget.share(others)
        return mine

    # ---- what others say -------------------------------------------------------------------------

    def _notice(self, channel: str, payload: str) -> None:
        if channel == FREE:
            self.places.told()
        elif channel == KNOWN:
            self._stale_facts.set()
        elif channel == JOURNAL:
            kind, _, name = payload.rpartition(" ")
            self._tell(name)
            if kind == "drop":
                self._given_up.add(name)
                self._stale_facts.set()

    def _tell(self, name: str) -> None:
        """Those who wait for something about a series look again."""
        if (event := self._told.pop(name, None)) is not None:
            event.set()

    async def _following(self) -> None:
        """Take over small answers when others say that there are some, and give up what others gave up."""
        while True:
            await self._stale_facts.wait()
            self._stale_facts.clear()
            try:
                await self._refreshing.run("", self._pull_facts)
                for name in tuple(self._given_up):
                    held = self._index.series(name)
                    if held is not None:
                        await self._read_on(held[0])
                    self._given_up.discard(name)
            except (ClusterAway, StorageError) as problem:
                log.info("what others know is not taken over now problem=%r", str(problem))
                await asyncio.sleep(AGAIN)
