"""Publishes what this server has committed: a chunk among the objects, then a row of the journal.

What came by a flight is published in the transaction that ends it, and not at all if the flight is gone. Everything
else that is committed (a check, an import, what a question brought) waits here for a task that publishes it. What
could not be published, since the cluster was away or this server ended before, is found when it is back: see
``found``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.cluster.chunks import new_key, write_chunk
from mirror.cluster.journal import Entry, end_flight, lock_series, note_spent, space_of, touch, write_entry
from mirror.coverage.coverage import Box, Coverage
from mirror.errors import ClusterAway, ObjectStoreError, StorageError
from mirror.readthrough.chunks import chunks

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from mirror.cluster.database import ClusterDatabase
    from mirror.cluster.facts import Facts
    from mirror.cluster.objects import Objects
    from mirror.drms.series import Series
    from mirror.storage.index.index import Committed, Index

log = logging.getLogger(__name__)

#: Seconds for which commits are gathered before they are published; and between attempts while that fails.
GATHER, AGAIN = 0.05, 2.0
#: Seconds for which a caller waits for an object to be put; after that it is put later.
PATIENCE = 5.0
#: Most axis values of a chunk that was not fetched as one.
SLOTS = 20_000


@dataclass(frozen=True, slots=True)
class Step:
    """A step of publishing, for tests of failures there."""

    name: str
    series: str


class JournalWriter:
    """Writes to the journal; ``folder`` is for files in transit."""

    def __init__(
        self,
        index: Index,
        cluster: tuple[ClusterDatabase, Objects],
        folder: Path,
        facts: Facts,
        counts: Counter[str],
    ) -> None:
        self._index = index
        self._database, self._objects = cluster
        self._folder = folder
        self._facts = facts
        self._counts = counts
        self.step: Callable[[Step], None] = lambda _: None
        self.problem = ""  #: why nothing can be published now, if the objects or this server's store are the reason
        self._pending: dict[str, list[Committed]] = defaultdict(list)
        self._busy: dict[str, list[Box]] = defaultdict(list)
        self._work = asyncio.Event()

    # ---- what to publish ----------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many commits wait to be published."""
        return sum(map(len, self._pending.values()))

    @property
    def is_done(self) -> bool:
        """True if nothing waits, and no flight is under way."""
        return not (self._pending or self._facts.waiting or any(self._busy.values()))

    def committed(self, commit: Committed) -> None:
        """Note that something was committed here."""
        self._pending[commit.series.name.lower()].append(commit)
        self._work.set()

    def found(self, series: Series, commits: Iterable[Committed]) -> None:
        """Add commits that were never published, unless they wait already, or are just being published."""
        name = series.name.lower()
        known = Coverage()
        for box in (*(box for c in self._pending.get(name, ()) for box in c.boxes), *self._busy.get(name, ())):
            known.add(box, 0.0)
        for commit in commits:
            boxes = tuple(part for box in commit.boxes for part in known.gaps(box))
            if boxes:
                self.committed(replace(commit, boxes=boxes))

    def wake(self) -> None:
        """Make the task look now."""
        self._work.set()

    def begin_again(self) -> None:
        """Drop everything that waits: it will be found again."""
        self._pending.clear()

    def forget(self, name: str, boxes: Sequence[Box] | None) -> None:
        """Publish nothing more about boxes of a series, or all of it, that were given up."""
        gone = Coverage()
        for box in boxes or ():
            gone.add(box, 0.0)
        left = [c for c in self._pending.get(name, ()) if boxes is not None and any(gone.gaps(b) for b in c.boxes)]
        self._keep(name, left)

    def _keep(self, name: str, commits: list[Committed]) -> None:
        self._pending[name] = commits
        if not commits:
            del self._pending[name]

    # ---- the task --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Publish whatever waits, for ever."""
        while True:
            await self._work.wait()
            self._work.clear()
            await asyncio.sleep(GATHER)
            try:
                await self._tell_all()
                await self._facts.push()
                self.problem = ""
            except ClusterAway:
                await asyncio.sleep(AGAIN)
                self._work.set()
            except (ObjectStoreError, StorageError) as problem:
                if str(problem) != self.problem:
                    log.warning("what was committed cannot be published now problem=%r", str(problem))
                self.problem = str(problem)
                await asyncio.sleep(AGAIN)
                self._work.set()

    async def _tell_all(self) -> None:
        for name in tuple(self._pending):
            busy = self._busy.get(name, [])
            ready = [c for c in self._pending[name] if not any(touch(b, f) for b in c.boxes for f in busy)]
            held = self._index.series(name)
            for commit in ready if held is not None else ():
                series = held[0] if held else commit.series
                for box in commit.boxes:
                    for part in chunks(box, SLOTS):
                        await self._publish(series, [replace(commit, boxes=(part,))], None)
                self._keep(name, [c for c in self._pending[name] if c is not commit])

    # ---- flights ---------------------------------------------------------------------------------

    def take_off(self, series: Series, parts: Sequence[Box]) -> None:
        """Note that these are being fetched: what is committed of them waits for ``land``."""
        self._busy[series.name.lower()] += parts

    async def land(self, series: Series, flight: int, parts: Sequence[Box]) -> None:
        """End a flight: publish what was committed of it."""
        name = series.name.lower()
        mine: list[Committed] = []
        others: list[Committed] = []
        for commit in self._pending.get(name, ()):
            about = any(touch(box, part) for box in commit.boxes for part in parts)
            (mine if about else others).append(commit)
        self._keep(name, others)
        try:
            if not await self._publish(series, mine, flight):
                self._counts["fenced"] += 1
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
            self._keep(name, self._pending[name])
            self._work.set()

    # ---- one row ---------------------------------------------------------------------------------

    async def _publish(self, series: Series, commits: Sequence[Committed], flight: int | None) -> bool:
        """Write the row of what was committed, with its object if it has one; False if its flight was gone."""
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
                    await self._objects.put_new(key, path, None if flight is None else PATIENCE)
                    self._counts["published_bytes"] += chunk.size
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
        if not await self._write_down(name, space, entries, flight):
            return False
        self.step(Step("written", name))
        self._counts["published"] += len(entries)
        self._counts["published_records"] += sum(entry.rows for entry in entries)
        return True

    async def _write_down(self, name: str, space: str, entries: Sequence[Entry], flight: int | None) -> bool:
        if not entries and flight is None:
            return True
        async with self._database.transaction() as cursor:
            await lock_series(cursor, name)
            if flight is not None and not await end_flight(cursor, name, flight):
                await note_spent(cursor, [entry.object for entry in entries if entry.object is not None])
                return not entries
            for entry in entries:
                await write_entry(cursor, name, space, entry)
        return True
