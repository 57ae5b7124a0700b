"""Sharing: what this server commits goes to all, and what another has is not requested from JSOC again.

A miss:

1. The tail of the series' journal is read, and rows that say more about the wanted boxes than this server knows are
   taken over: their chunks come from the object store, and are merged like any from another mirror (``reader``).
2. What is still missing is computed together with the position in the journal, in one step of the event loop. (Reading
   the position after an ``await`` claims gaps that another server has filled meanwhile.)
3. In one transaction: begin again if the journal has moved; remove the flights of servers that are gone; write a flight
   for what no other covers. If others fetch all of it, wait for their notification, and begin again.
4. JSOC is asked, what came is committed here, the chunk is put among the objects, and one transaction ends the flight
   and writes the row of the journal (``writer``). Without its object nothing is said to be held.

After each absence of the cluster, what is held here and missing in the journal is found and published, in the
background.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter, defaultdict
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.cluster.check import LOOKED, Mark
from mirror.cluster.compaction import Compaction
from mirror.cluster.database import FREE, JOURNAL, KNOWN, LIVING, MOST_NAMES, other_versions
from mirror.cluster.exports import SharedExports
from mirror.cluster.facts import POSITION, Facts, SharedPins
from mirror.cluster.journal import Entry, claim, end_flight, lock_series, newest_row, space_of, write_entry
from mirror.cluster.orphans import Orphans
from mirror.cluster.places import Places
from mirror.cluster.reader import JournalReader
from mirror.cluster.tallies import Tallies
from mirror.cluster.writer import AGAIN, GATHER, JournalWriter, Step
from mirror.concurrency import end, lasting, taken, to_the_end
from mirror.coverage.coverage import Coverage
from mirror.errors import ClusterAway, ObjectStoreError, StorageError
from mirror.readthrough.shared import Peer
from mirror.storage.index.index import KeptFact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from mirror.cluster.database import ClusterDatabase
    from mirror.cluster.files import SharedFiles
    from mirror.cluster.objects import Objects
    from mirror.coverage.coverage import Box, Freshness
    from mirror.drms.series import Series
    from mirror.readthrough.shared import Ask
    from mirror.storage.database.database import KeyedTable
    from mirror.storage.files.eviction import Pins
    from mirror.storage.index.index import Committed, Index
    from mirror.upstream.budget import Budget
    from mirror.upstream.pacing import Priority

log = logging.getLogger(__name__)

#: Seconds after which a wait for another server looks again without a notification.
NET = 2.0
#: Seconds between two checks whether a server is gone that somebody here waits for.
LOOK = 0.5
#: The first half of the advisory lock of the server that publishes for all.
PUBLISHER = 0x6A736F11
#: Sessions that may end during one fetch before it fails.
LOSSES = 3
#: Seconds between two exchanges of counts, and between two notes of how far the journal is.
COUNTED, NOTED = 1.0, 30.0
#: Keys of what is kept: which cluster this server is in; its number there, for exports made while the cluster is away;
#: the newest row of the journal that was seen, with its time.
CLUSTER, NUMBER, NEWEST = "cluster", "number", "newest"


class ClusterShared:
    """The other mirrors of a cluster; ``folder`` is for files in transit."""

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
        self._index = index
        self._folder = folder
        self._state = state
        self._number = 0
        self._newest = ""  #: as last kept
        self.database = database  #: the shared tables
        self.objects = objects  #: the shared objects
        self.on_back: Callable[[], None] = lambda: None  #: called when the cluster is back
        self.counts: Counter[str] = Counter()
        self.mark = Mark(database, objects)
        self.facts = Facts(index, database)
        self.tallies = Tallies(database, budget)
        self.places = Places(database, queries)
        self.reader = JournalReader(index, (database, objects, self.mark), folder, state, self.counts)
        self.writer = JournalWriter(index, (database, objects), folder, self.facts, self.counts)
        self.exports = SharedExports(database)
        self.orphans = Orphans(database, objects, folder)
        #: folds many rows into few, for all servers
        self.compaction = Compaction(index, database, objects, folder, self.reader.take_over, self.orphans.adopt)
        self.files: SharedFiles | None = None  #: the shared files, set by the builder of both
        self._pins: SharedPins | None = None
        self._told: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._waiting: Counter[str] = Counter()  #: who waits for flights of others, by series
        self._someone_waits = asyncio.Event()
        self._stale_facts = asyncio.Event()
        self._given_up: set[str] = set()
        self._compare = asyncio.Event()
        self._comparing = self._restored = False
        self._publishes_as = 0  #: the number under which this server publishes for all
        self._tasks: list[asyncio.Task[None]] = []
        database.on_connect, database.on_notice = self._connected, self._notice

    def share(self, tables: Mapping[str, KeyedTable]) -> None:
        """Share the small answers of these tables, each under its kind; before ``start``."""
        self.facts.share(tables, self._committed)

    def share_pins(self, pins: Pins) -> SharedPins:
        """The pins of people at all servers, of which ``pins`` is this one's copy."""
        self._pins = SharedPins(self.database, pins, self._state)
        self._stale_facts.set()
        return self._pins

    @property
    def name(self) -> str:
        """This server's name."""
        return self.database.name

    def problem(self) -> str:
        """Why nothing is shared with the others now, as far as that is known without asking; "" if all is well."""
        away = "" if self.database.connected else self.database.why or "PostgreSQL does not answer"
        return away or self.database.problem or self.objects.unfit or self.writer.problem

    # ---- starting, stopping ----------------------------------------------------------------------

    async def start(self) -> None:
        """Join the cluster; ConfigError if that is impossible."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.iterdir():
            left.unlink(missing_ok=True)
        self._index.on_commit = self._committed
        known, newest = await self._state.get(NUMBER), await self._state.get(NEWEST)
        self._number = 0 if known is None else int(known[0])
        self._newest = "" if newest is None else newest[0]
        await self.database.start()
        work = (self.writer.run, self._following, self._counting, self._watching, self._comparing_always, self._looking)
        self._tasks = [asyncio.create_task(lasting(each, AGAIN)) for each in work]

    async def stop(self) -> None:
        """Leave the cluster; what is not published yet will be when this server returns."""
        await end(*self._tasks)
        self._index.on_commit = None
        await self.database.stop()

    async def announce(self, host: str | None, port: int) -> None:
        """Tell the others this server's address: see ``ClusterDatabase``."""
        await self.database.announce(host, port)

    async def published(self) -> None:
        """Return when everything committed here is published; for tests, and for stopping a server."""
        while self._comparing or self._compare.is_set() or not self.writer.is_done:  # noqa: ASYNC110  (publishers need not know of it)
            await asyncio.sleep(GATHER)

    # ---- the port --------------------------------------------------------------------------------

    async def catch_up(self, series: Series, boxes: Iterable[Box]) -> bool:
        """See ``Shared``."""
        if not self.database.connected:
            return False
        try:
            return await self.reader.take_over(series, tuple(boxes))
        except (ClusterAway, ObjectStoreError, StorageError) as problem:
            log.info("what others have cannot be taken over now series=%s problem=%r", series.name, str(problem))
            return False

    async def fetch(self, series: Series, box: Box, ask: Ask) -> int | None:
        """See ``Shared``."""
        return await self._alone_at(series, box, lambda: self._index.coverage(series).gaps(box), ask)

    async def check(self, series: Series, box: Box, freshness: Freshness, check: Ask) -> None:
        """See ``Shared``."""
        # For a check that is demanded now, any later one is as good.
        young, settled = max(freshness.young_age, 0.0), max(freshness.settled_age, 0.0)
        due = replace(freshness, young_age=young, settled_age=settled)
        await self._alone_at(series, box, lambda: self._index.coverage(series).stale(box, due), check)

    async def gather(self) -> None:
        """Take over all that the others have of series with a known structure; ClusterAway if that is impossible."""
        async with self.database.transaction() as cursor:
            names = [row[0] for row in await (await cursor.execute("SELECT DISTINCT series FROM journal")).fetchall()]
        await self.facts.pull()
        for name in names:
            held = self._index.series(name)
            if held is None:
                continue
            journal = await self.reader.read_on(held[0])
            boxes = [box for entry in journal.entries.values() for box in entry.boxes]
            if boxes:
                await self.reader.take_over(held[0], tuple(boxes))

    async def may_publish(self) -> bool:
        """Whether this server publishes for all; from now on it does if no other does."""
        if not self.database.connected:
            return False
        if self._publishes_as != self.database.id:
            if not await self.database.lock("%s, 0", (PUBLISHER,)):
                return False
            self._publishes_as = self.database.id
        return True

    async def refresh(self) -> None:
        """See ``Shared``."""
        with suppress(ClusterAway):
            await self.facts.pull()

    async def forget(self, series: Series, boxes: tuple[Box, ...] | None) -> None:
        """See ``Shared``."""
        name = series.name.lower()
        claims = tuple((box, 0.0) for box in boxes or ())
        async with self.database.transaction() as cursor:
            await lock_series(cursor, name)
            await write_entry(cursor, name, space_of(series), Entry(0, "drop", claims, server=self.name))
        self.writer.forget(name, boxes)

    @asynccontextmanager
    async def slot(self, kind: str, priority: Priority) -> AsyncIterator[None]:
        """See ``Shared``."""
        async with self.places.place(kind, priority):
            yield

    def job_number(self, number: int) -> int:
        """See ``Shared``."""
        return number * MOST_NAMES + self._number

    async def same_export(self, identity: str, since: float) -> str | None:
        """See ``Shared``."""
        with suppress(ClusterAway):
            return await self.exports.same(identity, since)
        return None

    async def address_of(self, request_id: str, number: int) -> str | None:
        """See ``Shared``."""
        if self._is_ours(number):
            return None
        with suppress(ClusterAway):
            members = await self.database.members()
            for member in members:
                if member.number == number % MOST_NAMES and member.id != self.database.id:
                    return member.address or None
            return await self.exports.address_of(request_id, members)
        return None

    def _is_ours(self, number: int) -> bool:
        """True for a number that this mirror gave, in the cluster or before it was in one."""
        return number < MOST_NAMES or number % MOST_NAMES in (0, self._number)

    async def others(self) -> Sequence[Peer]:
        """See ``Shared``."""
        with suppress(ClusterAway):
            return [Peer(m.name, m.address) for m in await self.database.members() if m.address and m.id != self.database.id]
        return ()

    async def name_of(self, number: int) -> str | None:
        """See ``Shared``."""
        if self._is_ours(number):
            return None
        with suppress(ClusterAway):
            return await self.database.name_of(number % MOST_NAMES)
        return None

    # ---- one at a time ---------------------------------------------------------------------------

    async def _alone_at(self, series: Series, box: Box, find: Callable[[], list[Box]], ask: Ask) -> int | None:
        """Call ``ask`` for what ``find`` finds of a box, as far as nobody else does."""
        total, done, losses = 0, Coverage(), 0
        while True:
            try:
                took, parts = await self._one_turn(series, box, find, done, ask)
            except ClusterAway:
                # The session may have ended in between; then the next one continues.
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
        """One flight, once there is something for it: the result of ``ask``, and the parts; no parts: all is done."""
        name = series.name.lower()
        while True:
            told = self._told[name]  # before any look, so that no notification is missed
            try:
                await self.reader.take_over(series, (box,))
            except ObjectStoreError as problem:
                raise ClusterAway(f"what another mirror has fetched is not available now: {problem}") from problem
            # In one step, without any await in between.
            wanted = [part for found in find() for part in done.gaps(found)]
            position = self.reader.journal(series).position
            if not wanted:
                return 0, []
            claimed = await self._claim(name, position, wanted)
            if claimed is None:
                self.counts["moved"] += 1
                continue
            flight, parts = claimed
            if flight is not None:
                return await self._fly(series, flight, parts, ask), parts
            self.counts["waited"] += 1
            await self._wait_for(name, told)

    async def _wait_for(self, name: str, told: asyncio.Event) -> None:
        """Return when a series is notified, or a server that fetches of it is gone, or after NET seconds."""
        self._waiting[name] += 1
        self._someone_waits.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(NET):
                    await told.wait()
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]

    async def _claim(self, name: str, position: int, wanted: Sequence[Box]) -> tuple[int | None, list[Box]] | None:
        """See ``claim``; of a caller that is cancelled meanwhile there is no flight, for which the others would wait."""

        async def claimed() -> tuple[int | None, list[Box]] | None:
            async with self.database.transaction() as cursor:
                return await claim(cursor, name, position, wanted, self.database.id)

        async def give_back(found: tuple[int | None, list[Box]] | None) -> None:
            if found is not None and found[0] is not None:
                with suppress(ClusterAway):
                    async with self.database.transaction() as cursor:
                        await end_flight(cursor, name, found[0])

        return await taken(claimed(), give_back)

    async def _fly(self, series: Series, flight: int, parts: Sequence[Box], ask: Ask) -> int | None:
        """Call ``ask`` for a flight's parts, and publish them; None as soon as ``ask`` returns None."""
        name, total = series.name.lower(), 0
        self.writer.take_off(series, parts)
        try:
            self.writer.step(Step("claimed", name))
            for part in parts:
                took = await ask(part)
                if took is None:
                    return None
                total += took
            self.writer.step(Step("committed", name))
        finally:
            # The caller may have gone, but what was committed is for all.
            await to_the_end(self.writer.land(series, flight, parts))
        return total

    async def _watching(self) -> None:
        """Wake those who wait for a server that is gone, since nobody else would."""
        sql = f"SELECT DISTINCT series FROM flights WHERE server NOT IN ({LIVING})".encode()
        while True:
            await self._someone_waits.wait()
            if not self._waiting:
                self._someone_waits.clear()
                continue
            await asyncio.sleep(LOOK)
            with suppress(ClusterAway):
                async with self.database.transaction() as cursor:
                    for (name,) in await (await cursor.execute(sql)).fetchall():
                        self._tell(name)

    # ---- what was committed ----------------------------------------------------------------------

    def _committed(self, what: Committed | KeptFact) -> None:
        if isinstance(what, KeptFact):
            self.facts.add(what)
        elif self.database.connected:  # otherwise it is found when the cluster is back
            self.writer.committed(what)
        self.writer.wake()

    async def _connected(self) -> None:
        """Called when the cluster is there, perhaps again."""
        await self.mark.join()
        if self._number != self.database.number:
            self._number = self.database.number
            await self._state.put(NUMBER, str(self._number), 0.0)
        self.writer.begin_again()
        self.facts.begin_again()
        joined = await self._state.get(CLUSTER)
        is_new = joined is None or joined[0] != self.database.identity
        self._restored = not is_new and await self._is_restored()
        if is_new or self._restored:
            self.reader.begin_again()
            await self._follow_from_now_on()
            await self._state.put(POSITION, "", 0.0)
        if is_new:
            await self._note_newest()
        if self._restored:
            if self.files is not None:
                self.files.compare_again()
            log.warning("the PostgreSQL of the cluster is older than before, as after a backup: what it lacks is told again")
        if differ := other_versions(await self.database.members()):
            log.warning("the servers of the cluster are not of one version problem=%r", differ)
        for series in self._index.all_series():
            if (held := self._index.series(series.name)) is not None:
                self.facts.add_structure(*held)
        for name in tuple(self._told):
            self._tell(name)
        self.tallies.begin_again()
        self._compare.set()
        self.writer.wake()
        self._stale_facts.set()
        self.on_back()

    async def _comparing_always(self) -> None:
        """After each absence of the cluster, find what is held here and not published."""
        while True:
            await self._compare.wait()
            self._comparing = True
            self._compare.clear()
            try:
                if self._restored:
                    await self.orphans.after_restore()
                    self._restored = False
                for series in self._index.all_series():
                    self.writer.found(series, await self.reader.unpublished(series))
            except (ClusterAway, ObjectStoreError, StorageError) as problem:
                log.info("what is held is not compared with the journal now problem=%r", str(problem))
                await asyncio.sleep(AGAIN)
                self._compare.set()
            finally:
                self._comparing = False

    async def _follow_from_now_on(self) -> None:
        """Ignore what others gave up before: a store from outside this cluster may have it for good reasons."""
        async with self.database.transaction() as cursor:
            newest = await newest_row(cursor)
        for series in self._index.all_series():
            await self.reader.follow_from(series, 0 if newest is None else newest[0])
        await self._state.put(CLUSTER, self.database.identity, 0.0)

    # ---- whether PostgreSQL is older than before -------------------------------------------------

    async def _is_restored(self) -> bool:
        """True if the newest row seen is missing or different: PostgreSQL was restored from an earlier backup.

        In the rare case that the row was folded into another, comparing more than needed does no harm.
        """
        number, moment = json.loads(self._newest or "[0, 0.0]")
        async with self.database.transaction() as cursor:
            last, found = await newest_row(cursor), await newest_row(cursor, number)
        return self.reader.highest > (last or (0,))[0] or (number > 0 and found != (number, moment))

    async def _note_newest(self) -> None:
        async with self.database.transaction() as cursor:
            newest = await newest_row(cursor)
        text = "" if newest is None else json.dumps(newest)
        if text != self._newest:
            self._newest = text
            await self._state.put(NEWEST, text, 0.0)

    async def _counting(self) -> None:
        """Exchange counts, and note how far the journal is."""
        noted = 0.0
        while True:
            await asyncio.sleep(COUNTED)
            if not self.database.connected:
                continue
            await self.database.look_again()
            with suppress(ClusterAway, StorageError):
                await self.tallies.exchange()
                await self.tallies.exchange_quotas()
                if (noted := noted + COUNTED) >= NOTED and not self._restored:
                    noted = 0.0
                    await self._note_newest()

    async def _looking(self) -> None:
        """Look now and then whether the objects are still fit for a cluster; what waits for that is tried again by itself."""
        pause = LOOKED
        while True:
            await asyncio.sleep(pause)
            pause = await self.mark.look()

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
        """Wake those who wait for news about a series."""
        if (event := self._told.pop(name, None)) is not None:
            event.set()

    async def _following(self) -> None:
        """Take over small answers when others announce some, and give up what others gave up."""
        while True:
            await self._stale_facts.wait()
            self._stale_facts.clear()
            try:
                await self.facts.pull()
                if self._pins is not None:
                    await self._pins.pull()
                for name in tuple(self._given_up):
                    held = self._index.series(name)
                    if held is not None:
                        await self.reader.read_on(held[0])
                    self._given_up.discard(name)
            except (ClusterAway, StorageError) as problem:
                log.info("what others know is not taken over now problem=%r", str(problem))
                await asyncio.sleep(AGAIN)
