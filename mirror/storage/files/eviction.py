"""Makes room: reservations, eviction of the least recently used blobs that nothing holds back, and pins.

An eviction deletes rows first, in one transaction, and files afterwards: a crash in between leaves files
without rows, which the next start finds. Nothing is evicted if that would not be enough.

A download announces its length, which may be a lie. It is compared with what is free and what could be evicted, but
nothing is evicted for it: room is made for bytes that have come. A download without an announced length evicts little.

A pin says who wants a blob to stay, and why. A job pins its files while they may be fetched; people pin what they
like. A pin names a hash: it may be set before the blob comes, and stays when a damaged blob is removed, so that it
holds the content again once that has been fetched again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.concurrency import Version, to_the_end
from mirror.errors import NotHeld, StorageError
from mirror.humanize import in_words
from mirror.storage.database.database import Tables, if_possible
from mirror.storage.disk import is_sha256
from mirror.storage.files.incoming import Quota, Reservation
from mirror.storage.files.table import (
    Blob,
    Lost,
    drop_old_pins,
    evictable,
    forget_unpinned,
    pinned_now,
    set_used,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.folders import Folders
    from mirror.storage.files.parked import ParkedDownloads

#: A full store evicts a hundredth of its quota at a time, since finding the least used of a million takes a second.
_BATCHES = 100
#: A download without an announced length evicts at most one such part of the quota: a tenth.
_UNANNOUNCED = 10
#: Bytes that a download reserves ahead of what has come, if they are free.
AHEAD = 8 << 20
#: Free bytes on the disk that an eviction needs for its transaction.
ROWS = 4 << 20
#: Bytes on the disk that downloads leave free, so that the index can still be written.
MARGIN = 64 << 20
#: The prefix of owners whose pins people may set and remove; a job's pins are its own.
PERSON = "person:"


@dataclass(frozen=True, slots=True)
class Eviction:
    """The blobs that go, or would go; ``lost`` are the files that they were."""

    blobs: tuple[Blob, ...]
    lost: tuple[Lost, ...] = ()

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(blob.size for blob in self.blobs)


class Leases:
    """Which blobs are in use, which are about to go, and uses that are not written down yet."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._in_use: Counter[str] = Counter()
        self._leaving: set[str] = set()
        self._used: dict[str, float] = {}
        #: Blobs used since the next ones to go were determined; None while nobody needs to know.
        self.since: set[str] | None = None

    def hold(self, sha256: str) -> None:
        """Keep a blob from eviction until ``let_go``; NotHeld if it is just being evicted."""
        if sha256 in self._leaving:
            raise NotHeld(f"the file with sha256 {sha256} is being evicted", (sha256,))
        self._in_use[sha256] += 1

    def let_go(self, sha256: str) -> None:
        """The counterpart of ``hold``."""
        self._in_use[sha256] -= 1
        if not self._in_use[sha256]:
            del self._in_use[sha256]

    @contextmanager
    def holding(self, sha256: str) -> Iterator[None]:
        """Hold a blob while this is open."""
        self.hold(sha256)
        try:
            yield
        finally:
            self.let_go(sha256)

    def used(self, sha256: str) -> None:
        """Note that a blob was used just now."""
        self._used[sha256] = self._now()
        if self.since is not None:
            self.since.add(sha256)

    def take_used(self) -> dict[str, float]:
        """The blobs used since the last call, each with the time."""
        used, self._used = self._used, {}
        return used

    def give_back(self, used: dict[str, float]) -> None:
        """Return uses that could not be written down, to be merged with later ones."""
        self._used = used | self._used

    @property
    def spare(self) -> frozenset[str]:
        """The blobs that must not be evicted now."""
        return frozenset(self._in_use) | self._leaving

    @contextmanager
    def leaving(self, blobs: Iterable[Blob]) -> Iterator[list[Blob]]:
        """The ones of ``blobs`` that are not in use; nobody can hold them while this is open."""
        spare = self.spare
        going = [blob for blob in blobs if blob.sha256 not in spare]
        hashes = {blob.sha256 for blob in going}
        self._leaving |= hashes
        try:
            yield going
        finally:
            self._leaving -= hashes


class Evictor:
    """Gives out room on the disk and in the quota. ``changing`` is held by whoever adds or removes blobs."""

    def __init__(
        self, tables: Tables, folders: Folders, parts: ParkedDownloads, quota: Quota, now: Callable[[], float]
    ) -> None:
        self._tables = tables
        self._folders = folders
        self._parts = parts
        self._now = now
        self._turn = asyncio.Lock()
        self.quota = quota
        self.uses = Leases(now)
        self.changing = asyncio.Lock()
        self._next: deque[Blob] = deque()  #: the next blobs to go
        self.departures = Version()  #: advances when blobs leave

    async def reserve(self, size: int) -> Reservation:
        """Reserve room for a download of that size; evicts if need be. StorageError if there is none."""
        async with self._turn:
            await self._make(size)
            return self.quota.reserve(size)

    async def announce(self, reservation: Reservation, size: int) -> None:
        """Note that a download will have ``size`` bytes; StorageError if there cannot be room. Evicts nothing yet."""
        by = size - reservation.size
        if by <= 0:
            reservation.announced = True
            return
        async with self._turn:
            self._insist_on_quota(size)
            short = max(0, self.quota.shortage(by) - self.quota.parked)
            if short and sum(blob.size for blob in await self._find_next(short)) < short:
                raise StorageError(self.quota.refusal(by))
            await self._check_disk(by)
            reservation.announced = True

    async def grow(self, reservation: Reservation, by: int) -> None:
        """Make room for ``by`` bytes that have come, and reserve some more if it is free."""
        async with self._turn:
            if self.quota.limit is not None and not reservation.announced:
                self._insist_on_little(reservation, by)
            evicted = await self._make(by)
            reservation.grow(by)
            reservation.evicted += evicted
            if not self.quota.shortage(AHEAD):
                with suppress(StorageError):
                    await self._check_disk(AHEAD)
                    reservation.grow(AHEAD)

    async def plan(self, need: int) -> Eviction:
        """What would go to free ``need`` bytes; nothing is changed."""
        await if_possible(self.note_uses(), "times of use")
        spare, now = self.uses.spare, self._now()
        return Eviction(tuple(await self._tables.read(lambda c: evictable(c, need, spare=spare, now=now))))

    async def evict(self, need: int) -> Eviction:
        """Evict what ``plan`` says."""
        plan = await self.plan(need)
        return await to_the_end(self._evict(plan))

    async def drop(self, blob: Blob) -> None:
        """Evict this blob unless something holds it back."""
        await to_the_end(self._evict(Eviction((blob,))))

    async def note_uses(self) -> None:
        """Write down when blobs were last used."""
        if used := self.uses.take_used():
            try:
                await self._tables.write(lambda c: set_used(c, used))
            except StorageError:
                self.uses.give_back(used)
                raise

    def count_parked(self) -> None:
        """Count the parts that wait to be continued against the quota."""
        self.quota.parked = self._parts.parked

    async def _evict(self, plan: Eviction) -> Eviction:
        now = self._now()
        async with self.changing:
            with self.uses.leaving(plan.blobs) as going:
                by_hash = {blob.sha256: blob for blob in going}
                try:
                    gone, lost = await self._tables.write(lambda c: forget_unpinned(c, by_hash, now))
                except StorageError:
                    if not await self._make_room_for_rows(by_hash, now):
                        raise
                    gone, lost = await self._tables.write(lambda c: forget_unpinned(c, by_hash, now))
                self.departures.advance()
                done = Eviction(tuple(by_hash[sha256] for sha256 in gone), tuple(lost))
                self._next = deque(blob for blob in self._next if blob.sha256 not in by_hash)
                self.quota.held -= done.freed
                links = [each.link for each in lost if each.link is not None]
                await asyncio.to_thread(self._folders.remove, gone, links)
        return done

    def _insist_on_quota(self, size: int) -> None:
        if self.quota.limit is not None and size > self.quota.limit:
            raise StorageError(self.quota.refusal(size))

    def _insist_on_little(self, reservation: Reservation, by: int) -> None:
        """Raise if a download of unknown length, which may have no end, has evicted too much."""
        assert self.quota.limit is not None
        short = max(0, self.quota.shortage(by) - self.quota.parked)
        if short and reservation.evicted + short > self.quota.limit // _UNANNOUNCED:
            raise StorageError(
                f"no space for a file of unknown length: {in_words(reservation.size)} have arrived, and it may displace "
                f"at most {in_words(self.quota.limit // _UNANNOUNCED)}; raise [storage] quota, or evict files"
            )

    async def _make_room_for_rows(self, going: Mapping[str, Blob], now: float) -> bool:
        """Remove some files before their rows if the disk is too full even for an eviction's transaction.

        A crash then leaves rows without files, which every lookup and the next start notice. False if the disk is not
        full, or nothing may go.
        """
        if await asyncio.to_thread(self._folders.free) >= ROWS:
            return False
        pinned = await self._tables.read(lambda c: pinned_now(c, now))
        freed, first = 0, []
        for blob in going.values():
            if blob.sha256 not in pinned and freed < ROWS:
                first.append(blob.sha256)
                freed += blob.size
        await asyncio.to_thread(self._folders.remove, first, [])
        return bool(first)

    async def _make(self, size: int) -> int:
        """Make room for ``size`` bytes; how many bytes were evicted for that."""
        quota = self.quota
        self._insist_on_quota(size)
        if quota.shortage(size) and quota.parked:
            await asyncio.to_thread(self._parts.drop_parked)
            self.count_parked()
        freed = 0
        while short := quota.shortage(size):
            found = await self._find_next(short)
            if sum(blob.size for blob in found) < short:
                raise StorageError(quota.refusal(size))
            done = (await to_the_end(self._evict(Eviction(tuple(found))))).freed
            freed += done
            if not done:
                self._next.clear()  # all of them are by now pinned or in use: look again
        await self._check_disk(size)
        return freed

    async def _find_next(self, short: int) -> list[Blob]:
        """The next blobs to go, just enough to free ``short`` bytes; all there are if they do not suffice."""
        found = self._first_of_next(short)
        if sum(blob.size for blob in found) < short:
            assert self.quota.limit is not None
            plan = await self.plan(max(short, self.quota.limit // _BATCHES))
            self._next, self.uses.since = deque(plan.blobs), set()
            found = self._first_of_next(short)
        return found

    def _first_of_next(self, short: int) -> list[Blob]:
        """Just enough of the known next blobs to free ``short`` bytes, without those used meanwhile."""
        used = (self.uses.since or set()) | self.uses.spare
        while self._next and self._next[0].sha256 in used:
            self._next.popleft()
        found: list[Blob] = []
        for blob in self._next:
            if short <= 0:
                break
            if blob.sha256 not in used:
                found.append(blob)
                short -= blob.size
        return found

    async def _check_disk(self, size: int) -> None:
        free = await asyncio.to_thread(self._folders.free)
        usable = max(0, free - MARGIN - self.quota.pending)
        if size > usable:
            raise StorageError(
                f"the disk of {self._folders.root} is full: {in_words(size)} are needed, and of {in_words(free)} "
                f"free only {in_words(usable)} may be used (the index and running downloads need space too); "
                f"free some space on it, or evict files"
            )


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin of ``owner`` ("job:JSOC_20140101_001", "person:ada"); ``until`` None: for good."""

    sha256: str
    owner: str
    reason: str
    since: float
    until: float | None


class Pins:
    """The pins of a store; ``now`` gives Unix seconds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._tables = Tables(database)
        self.now = now

    async def pin(self, hashes: Iterable[str], owner: str, reason: str, *, until: float | None = None) -> None:
        """Keep these blobs until a time in Unix seconds; replaces the owner's earlier pins on them."""
        wanted = list(dict.fromkeys(hashes))
        for sha256 in wanted:
            _insist_on_hash(sha256)
        since = self.now()

        def work(cursor: Cursor) -> None:
            _delete(cursor, owner, wanted)
            drop_old_pins(cursor, since)
            sql = "INSERT INTO mirror.pins SELECT unnest(?::VARCHAR[]), ?, ?, ?, ?"
            cursor.execute(sql, [wanted, owner, reason, since, until])

        await self._tables.write(work)

    async def unpin(self, owner: str, hashes: Iterable[str] | None = None) -> int:
        """Remove pins of an owner, those on ``hashes`` or all; how many there were."""
        wanted = None if hashes is None else list(hashes)
        return await self._tables.write(lambda c: _delete(c, owner, wanted))

    async def take(self, pins: Sequence[Pin], gone: Iterable[tuple[str, str]]) -> None:
        """Set these pins, in place of the same owners' pins on the same blobs; remove those of ``gone`` (owner, hash)."""
        for pin in pins:
            _insist_on_hash(pin.sha256)
        keys = [*((pin.owner, pin.sha256) for pin in pins), *gone]

        def work(cursor: Cursor) -> None:
            owners, hashes = [owner for owner, _ in keys], [sha256 for _, sha256 in keys]
            sql = "DELETE FROM mirror.pins WHERE (owner, sha256) IN (SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]))"
            cursor.execute(sql, [owners, hashes])
            names = ("sha256", "owner", "reason", "since", "until")
            columns = [[getattr(pin, name) for pin in pins] for name in names]
            kinds = ("VARCHAR", "VARCHAR", "VARCHAR", "DOUBLE", "DOUBLE")
            values = ", ".join(f"unnest(?::{kind}[])" for kind in kinds)
            cursor.execute(f"INSERT INTO mirror.pins SELECT {values}", columns)

        await self._tables.write(work)

    async def pins(self, owner: str | None = None) -> list[Pin]:
        """The current pins of one owner or of all, oldest first."""
        sql = (
            "SELECT sha256, owner, reason, since, until FROM mirror.pins WHERE (until IS NULL OR until > ?) "
            "AND (owner = ? OR ? IS NULL) ORDER BY since, owner, sha256"
        )
        values = [self.now(), owner, owner]
        rows = await self._tables.read(lambda c: c.execute(sql, values).fetchall())
        return [Pin(*row) for row in rows]


def _insist_on_hash(text: str) -> None:
    if not is_sha256(text):
        raise StorageError(f"{text[:80]!r} names no blob; expected 64 hexadecimal digits")


def _delete(cursor: Cursor, owner: str, hashes: list[str] | None) -> int:
    where, values = "owner = ?", [owner]
    if hashes is not None:
        where, values = f"{where} AND sha256 IN (SELECT unnest(?::VARCHAR[]))", [owner, hashes]  # type: ignore[list-item]
    row = cursor.execute(f"SELECT count(*) FROM mirror.pins WHERE {where}", values).fetchone()
    cursor.execute(f"DELETE FROM mirror.pins WHERE {where}", values)
    return row[0] if row else 0
