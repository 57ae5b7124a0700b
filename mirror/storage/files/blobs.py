"""The store of file contents, by sha256: what there is, how it is read, checked and evicted.

The invariant: a row of ``mirror.blobs`` means that a file with those bytes is durably in its place. So a file
comes before its row and goes after it; a crash between the two leaves a file without a row, which the next
``open`` finds. Readers never see an incomplete file.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.concurrency import Version, to_the_end
from mirror.errors import NotHeld, StorageError, explained
from mirror.storage.database.database import Tables
from mirror.storage.disk import Disk
from mirror.storage.files.eviction import Eviction, Evictor
from mirror.storage.files.folders import Folders
from mirror.storage.files.incoming import Quota, Reservation
from mirror.storage.files.parked import ParkedDownloads
from mirror.storage.files.receiving import Receiving, Verified, stamp_of
from mirror.storage.files.table import (
    Blob,
    Lost,
    Verdict,
    find_blob,
    find_blobs,
    forget,
    head,
    lost_exports,
    lost_files,
    oldest_checked,
    pinned_now,
    put_quarantine,
    set_verified,
)
from mirror.storage.files.verification import FileCheck, make_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.folders import Tree
    from mirror.storage.files.incoming import Sink

log = logging.getLogger(__name__)

# ---- giving up the files of certain records -------------------------------------------------------

# Their holdings go, and the contents that no other record has. As everywhere in the store, rows are deleted first, in
# one transaction, and files afterwards.

#: The tables that say whose file a blob is: as it lies in the archive, or as an export of it.
_OWNERS = ("holdings", "adopted")
_OF_SERIES = "series = ?"
_OF_RECORDS = "series = ? AND recnum IN (SELECT unnest(?::BIGINT[]))"


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """What goes, or would go: ``files`` of the records, and ``blobs``, the contents that no other record has.

    ``pinned`` stay because of a pin, ``shared`` because other records have them too.
    """

    files: int
    blobs: tuple[Blob, ...]
    pinned: int
    shared: int


class Forgetting:
    """Gives up files; ``recnums`` None stands for all records of the series."""

    def __init__(self, tables: Tables, folders: Folders, room: Evictor) -> None:
        self._tables = tables
        self._folders = folders
        self._room = room

    async def plan(
        self, series: str, recnums: Collection[int] | None, now: float, *, force: bool
    ) -> ForgetResult:
        """What ``forget`` would give up; nothing is changed."""
        return await self._tables.read(lambda c: _plan(c, series, recnums, now, force=force))

    async def forget(
        self, series: str, recnums: Collection[int] | None, now: float, *, force: bool
    ) -> ForgetResult:
        """Give the files up; those being read stay, as do pinned ones without ``force``."""
        return await to_the_end(self._forget(series, recnums, now, force=force))

    async def _forget(
        self, series: str, recnums: Collection[int] | None, now: float, *, force: bool
    ) -> ForgetResult:
        async with self._room.changing:
            plan = await self._tables.read(lambda c: _plan(c, series, recnums, now, force=force))
            with self._room.uses.leaving(plan.blobs) as going:
                hashes = [blob.sha256 for blob in going]
                stay = {blob.sha256 for blob in plan.blobs} - set(hashes)
                links = await self._tables.write(
                    lambda c: _give_up(c, series, recnums, hashes, stay, now, force=force)
                )
                self._room.departures.advance()
                self._room.quota.held -= sum(blob.size for blob in going)
                await asyncio.to_thread(self._folders.remove, hashes, links)
        return ForgetResult(plan.files, tuple(going), plan.pinned + len(stay), plan.shared)


def _plan(
    cursor: Cursor, series: str, recnums: Collection[int] | None, now: float, *, force: bool
) -> ForgetResult:
    where, values = _which(series, recnums)
    sql = " UNION ALL ".join(f"SELECT sha256 FROM mirror.{table} WHERE {where}" for table in _OWNERS)
    rows = cursor.execute(sql, values * len(_OWNERS)).fetchall()
    hashes = sorted({row[0] for row in rows})
    pinned = set() if force else pinned_now(cursor, now) & set(hashes)
    shared = _shared(cursor, where, values, hashes)
    blobs = [find_blob(cursor, s) for s in hashes if s not in pinned and s not in shared]
    free = [row[0] for row in rows if row[0] not in pinned]
    return ForgetResult(len(free), tuple(b for b in blobs if b is not None), len(pinned), len(shared - pinned))


def _give_up(
    cursor: Cursor,
    series: str,
    recnums: Collection[int] | None,
    hashes: Iterable[str],
    in_use: Collection[str],
    now: float,
    *,
    force: bool,
) -> list[str]:
    """Delete the rows; the names in the readable tree that go with them are returned."""
    where, values = _which(series, recnums)
    stay = [*in_use, *(() if force else pinned_now(cursor, now))]
    chosen, given = f"{where} AND NOT list_contains(?::VARCHAR[], sha256)", [*values, stay]
    lost = lost_files(cursor, chosen, given) + lost_exports(cursor, chosen, given)
    links = [each.link for each in lost]
    for table in _OWNERS:
        cursor.execute(f"DELETE FROM mirror.{table} WHERE {chosen}", given)
    links += [lost.link for lost in forget(cursor, hashes)]
    return [link for link in links if link is not None]


def _which(series: str, recnums: Collection[int] | None) -> tuple[str, list[object]]:
    name = series.lower()
    return (_OF_SERIES, [name]) if recnums is None else (_OF_RECORDS, [name, list(recnums)])


def _shared(cursor: Cursor, where: str, values: list[object], hashes: list[str]) -> set[str]:
    """The hashes that other records have too; a file known only by its path belongs to none."""
    sql = " UNION ".join(
        f"SELECT sha256 FROM mirror.{table} WHERE head IN (SELECT unnest(?::BIGINT[])) "
        f"AND series IS NOT NULL AND NOT ({where})"
        for table in _OWNERS
    )
    found = cursor.execute(sql, [list(map(head, hashes)), *values] * len(_OWNERS)).fetchall()
    return {row[0] for row in found} & set(hashes)


# ---- the store -----------------------------------------------------------------------------------

#: Files that are read in parallel before they are sent: more would not be quicker on a disk.
_LOOKS = 2
#: Up to this many files are looked at without a thread, whose start takes as long.
_FEW = 8


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes; ``limit`` None: no quota. ``reserved`` is promised to downloads, ``parked`` is for interrupted ones."""

    limit: int | None
    held: int
    reserved: int
    parked: int


class Blobs:
    """The blobs of a store; made by ``open``. Its methods belong to the event loop."""

    def __init__(
        self, tables: Tables, folders: Folders, room: Evictor, receiving: Receiving, now: Callable[[], float]
    ) -> None:
        self._tables = tables
        self._folders = folders
        self._room = room
        self._receiving = receiving
        self._now = now
        #: Gives up files of records.
        self.forgetting = Forgetting(tables, folders, room)
        #: Checks the files while they are in use.
        self.check = FileCheck(tables, folders, receiving.parts, room, now, self.verify)
        #: Recently verified files, which need not be read before they are sent.
        self.verified = receiving.verified
        self._looking: dict[str, asyncio.Task[bool]] = {}
        self._looks = asyncio.Semaphore(_LOOKS)

    @classmethod
    async def open(
        cls,
        root: Path,
        database: Database,
        *,
        now: Callable[[], float],
        quota: int | None = None,
        disk: Disk | None = None,
        verify_after: float = 86_400.0,
    ) -> Blobs:
        """The store below ``root``, repaired if it was not stopped in order.

        ``quota`` is in bytes, ``now`` gives Unix seconds; a file that was read and found right counts as verified for
        ``verify_after`` seconds. StorageError if the folder cannot be used.
        """
        disk = disk or Disk()
        tables, folders = Tables(database), Folders(root, disk)
        parts = ParkedDownloads(disk, folders.incoming)
        held = await make_whole(tables, folders, parts, now())
        limits = Quota(quota, held=held, parked=parts.parked)
        room = Evictor(tables, folders, parts, limits, now)
        receiving = Receiving(tables, folders, parts, room, now, Verified(time.monotonic, verify_after))
        return cls(tables, folders, room, receiving, now)

    # ---- reading ---------------------------------------------------------------------------------

    async def find(self, sha256: str) -> Blob | None:
        """The blob of that hash; None if there is none, or its file turns out to be lost (see ``lost``)."""
        blob = await self._row(sha256)
        return None if blob is None or await self.lost([blob]) else blob

    async def find_all(self, hashes: Iterable[str]) -> dict[str, Blob]:
        """The existing blobs of those hashes, as ``find`` gives them."""
        wanted = set(hashes)
        found = await self._tables.read(lambda c: find_blobs(c, wanted)) if wanted else []
        lost = await self.lost(found)
        return {blob.sha256: blob for blob in found if blob.sha256 not in lost}

    async def lost(self, blobs: Iterable[Blob]) -> set[str]:
        """The hashes of blobs whose file somebody has deleted or truncated; nothing refers to them any more.

        StorageError if the whole store is missing: then its disk is not mounted.
        """
        wanted = list(blobs)
        few = len(wanted) <= _FEW
        gone = self._gone(wanted) if few else await asyncio.to_thread(self._gone, wanted)
        for sha256 in gone:
            await self._is_right(self.verify(sha256))
        return set(gone)

    async def _is_right(self, verdict: Awaitable[Verdict]) -> bool:
        """Whether a blob is right after all; if not, it has been set aside.

        On a full disk the row stays without its file, which every lookup notices again.
        """
        try:
            return (await verdict).problem is None
        except NotHeld:  # it was evicted meanwhile
            return False
        except StorageError as error:
            if not self._folders.is_marked():
                raise
            log.warning("put off step=quarantine error=%s", error)
            return False

    async def is_sound(self, blob: Blob) -> bool:
        """True if the file of a blob has the right bytes; await this before sending it.

        A file that was verified recently, and has not changed, costs one ``stat``; otherwise it is read completely,
        once however many wait. A damaged one is set aside, and no longer held. StorageError if it cannot be read now.
        """
        if self.verified.holds(blob.sha256):
            return True
        task = self._looking.get(blob.sha256)
        if task is None:
            task = self._looking[blob.sha256] = asyncio.ensure_future(self._look(blob))
            task.add_done_callback(lambda done: self._looked(blob.sha256, done))
        return await asyncio.shield(task)

    async def all_sound(self, blobs: Iterable[Blob]) -> bool:
        """True if all of these may be sent."""
        return all([await self.is_sound(blob) for blob in blobs])

    async def _look(self, blob: Blob) -> bool:
        path = self._folders.blob(blob.sha256)
        try:
            async with self._looks:
                with self._room.uses.holding(blob.sha256):
                    stamp = await asyncio.to_thread(stamp_of, path)
                    problem = await asyncio.to_thread(self._folders.problem, blob.sha256, blob.size, needed=True)
            if problem is None:
                self.verified.note(blob.sha256, path, stamp)
                return True
            log.warning("damaged sha256=%s problem=%s", blob.sha256, problem)
        except NotHeld:  # it is being evicted
            return False
        except FileNotFoundError:
            return not await self.lost([blob])
        except OSError as error:
            raise StorageError(f"cannot read {path}: {explained(error)}") from error
        return await self._is_right(to_the_end(self._judge(blob)))

    def _looked(self, sha256: str, task: asyncio.Task[bool]) -> None:
        self._looking.pop(sha256, None)
        if not task.cancelled():
            task.exception()  # those who wait get the error

    @contextmanager
    def reading(self, blob: Blob) -> Iterator[Path]:
        """The file of a blob, which counts as used, and is not evicted while this is open.

        NotHeld if it is missing or has the wrong length; then ``verify`` it, and fetch it again.
        """
        path = self._folders.blob(blob.sha256)
        with self._room.uses.holding(blob.sha256):
            try:
                size = path.stat().st_size
            except OSError as error:
                raise NotHeld(f"the file {path} cannot be read: {error.strerror}", (blob.sha256,)) from error
            if size != blob.size:
                raise NotHeld(f"the file {path} has {size} bytes instead of {blob.size}", (blob.sha256,))
            self._room.uses.used(blob.sha256)
            yield path

    @property
    def tree(self) -> Tree:
        """The readable tree of links; ``Holdings`` keeps it up to date."""
        return self._folders.tree

    @property
    def departures(self) -> Version:
        """Advances when blobs leave: as long as it is unchanged, every blob found before still exists."""
        return self._room.departures

    async def settled(self) -> None:
        """Return when no blob is being added or removed."""
        async with self._room.changing:
            return

    async def note_uses(self) -> None:
        """Write down when blobs were last used; to be called now and then, and before the end."""
        await self._room.note_uses()

    # ---- keeping ---------------------------------------------------------------------------------

    async def reserve(self, size: int) -> Reservation:
        """Reserve room for a download before it starts; StorageError if the quota or the disk has too little.

        Blobs that nothing holds back are evicted if the quota requires it, never for the disk's sake.
        """
        return await self._room.reserve(size)

    @asynccontextmanager
    async def incoming(
        self, size_hint: int = 0, reservation: Reservation | None = None, *, resume: str | None = None
    ) -> AsyncIterator[Sink]:
        """A sink for one download. What is not kept when this closes is removed.

        ``reservation`` is taken over; without one, ``size_hint`` bytes are reserved. With ``resume``,
        a key such as the file's path, an interrupted download stays parked, and the next one with that
        key begins at ``sink.offset``. A kept blob is not evicted before this closes.
        """
        promise = reservation or await self._room.reserve(size_hint)
        async with self._receiving.sink(promise, resume) as sink:
            yield sink

    @asynccontextmanager
    async def taking(self, source: Path, size: int, sha256: str, *, link: bool) -> AsyncIterator[Sink]:
        """A sink that already has all bytes of a file on this machine with this length and hash; ``keep`` it.

        With ``link`` the file itself becomes the blob, read-only, under its old name too. StorageError if it
        cannot be linked or copied, or has changed.
        """
        promise = await self._room.reserve(size)
        async with self._receiving.taking(promise, source, size, sha256, link=link) as sink:
            yield sink

    # ---- room ------------------------------------------------------------------------------------

    def usage(self) -> Usage:
        """How the room is used now."""
        quota = self._room.quota
        return Usage(quota.limit, quota.held, quota.reserved, quota.parked)

    def limit(self, quota: int | None) -> None:
        """Set the quota, in bytes; what exceeds it is evicted when room is next needed."""
        self._room.quota.limit = quota

    async def evict(self, need: int, *, dry_run: bool = False) -> Eviction:
        """Free ``need`` bytes: first what nothing refers to, then the least recently used; never what is pinned.

        A dry run says what would go. If there is no more, less than ``need`` goes.
        """
        return await (self._room.plan(need) if dry_run else self._room.evict(need))

    async def drop(self, blob: Blob) -> None:
        """Evict a blob that was needed only for a while; it stays if it is in use or pinned."""
        await self._room.drop(blob)

    # ---- checking --------------------------------------------------------------------------------

    async def oldest_checked(self, n: int) -> list[Blob]:
        """The ``n`` blobs with the oldest checks: the next to ``verify``."""
        return await self._tables.read(lambda c: oldest_checked(c, n))

    async def verify(self, sha256: str) -> Verdict:
        """Read all of a blob and compare its hash; a damaged one goes into quarantine. NotHeld if unknown."""
        blob = await self._row(sha256)
        if blob is None:
            raise _unknown(sha256)
        with self._room.uses.holding(sha256):
            if await asyncio.to_thread(self._folders.problem, sha256, blob.size) is None:
                at = self._now()
                await self._tables.write(lambda c: set_verified(c, sha256, at))
                return Verdict(blob, None)
            return await to_the_end(self._judge(blob))

    async def _judge(self, blob: Blob) -> Verdict:
        """Check again while nobody changes blobs: the content may just have come again."""
        async with self._room.changing:
            if await self._row(blob.sha256) is None:
                raise _unknown(blob.sha256)  # somebody else found it damaged and set it aside
            if not self._folders.is_marked():
                raise StorageError(f"{self._folders.root} has no blobs folder: is its disk mounted?")
            problem = await asyncio.to_thread(self._folders.problem, blob.sha256, blob.size)
            if problem is None:
                return Verdict(blob, None)
            return Verdict(blob, problem, tuple(await self._set_aside(blob, problem)))

    async def _row(self, sha256: str) -> Blob | None:
        return await self._tables.read(lambda c: find_blob(c, sha256))

    def _gone(self, blobs: Iterable[Blob]) -> list[str]:
        return [b.sha256 for b in blobs if self._folders.is_lost(b.sha256, b.size)]

    async def _set_aside(self, blob: Blob, problem: str) -> list[Lost]:
        at = self._now()

        def work(cursor: Cursor) -> list[Lost]:
            put_quarantine(cursor, blob.sha256, problem, at)
            return forget(cursor, [blob.sha256])

        # The file first: nobody may read it once it is known to be damaged.
        self.verified.forget(blob.sha256)
        await asyncio.to_thread(self._folders.set_aside, blob.sha256, f"{blob.sha256}.{at:.0f}")
        self._room.departures.advance()
        lost = await self._tables.write(work)
        self._room.quota.held -= blob.size
        await asyncio.to_thread(self._folders.tree.remove, [x.link for x in lost if x.link is not None])
        return lost


def _unknown(sha256: str) -> NotHeld:
    return NotHeld(f"no file with sha256 {sha256} is held", (sha256,))
