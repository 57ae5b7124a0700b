"""Checking the files of a store while it is in use: rows against files, links, parts, and what refers to what.

What is found is a candidate until it was looked at again while nobody changes blobs: downloads and
evictions go on meanwhile. The rule of ``mirror.storage.files.blobs`` holds at any moment.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.concurrency import to_the_end
from mirror.errors import NotHeld
from mirror.storage.disk import Stopped
from mirror.storage.files.recovery import Repairs, repairs
from mirror.storage.files.references import Reference, mend_references
from mirror.storage.files.table import (
    Blob,
    all_blobs,
    due_blobs,
    find_blob,
    holding_links,
    put_blob,
    put_quarantine,
    set_all_verified,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mirror.storage.database.database import Tables
    from mirror.storage.files.eviction import Evictor
    from mirror.storage.files.folders import Folders
    from mirror.storage.files.parked import ParkedDownloads
    from mirror.storage.files.table import Verdict

#: Threads that hash: a disk, or two processors, are busy with these.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Links:
    """What was wrong in the readable tree: names that did not lead to their blob, names that nothing has."""

    placed: tuple[str, ...]
    removed: tuple[str, ...]


class FileCheck:
    """Checks and mends the files of a store; ``verify_one`` is ``Blobs.verify``."""

    def __init__(
        self,
        tables: Tables,
        folders: Folders,
        parts: ParkedDownloads,
        room: Evictor,
        now: Callable[[], float],
        verify_one: Callable[[str], Awaitable[Verdict]],
    ) -> None:
        self._tables = tables
        self._folders = folders
        self._parts = parts
        self._room = room
        self._now = now
        self._verify_one = verify_one
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the threads that read: what they had not finished is not checked."""
        self._stopped.set()

    async def free(self) -> int:
        """Bytes that may still be written to the disk."""
        return await asyncio.to_thread(self._folders.free)

    # ---- contents --------------------------------------------------------------------------------

    async def due(self, before: float, n: int) -> list[Blob]:
        """The next ``n`` blobs whose hash was not seen to be right since ``before``, oldest check first."""
        now = self._now()
        return await self._tables.read(lambda c: due_blobs(c, before, now, n))

    async def verify(self, blobs: Sequence[Blob]) -> list[Verdict]:
        """Read these blobs, two at a time; what is damaged is in quarantine then, and is returned."""
        shares = [blobs[i::THREADS] for i in range(THREADS) if blobs[i::THREADS]]
        results = await asyncio.gather(*(asyncio.to_thread(self._sound, share) for share in shares))
        sound, suspect = ([s for result in results for s in result[i]] for i in (0, 1))
        at = self._now()
        if sound:
            await self._tables.write(lambda c: set_all_verified(c, sound, at))
        verdicts = [await self._judged(sha256) for sha256 in suspect]
        return [v for v in verdicts if v is not None and v.problem is not None]

    def _sound(self, blobs: Sequence[Blob]) -> tuple[list[str], list[str]]:
        """The hashes of those that are right, and of those that are not."""
        sound: list[str] = []
        suspect: list[str] = []
        for blob in blobs:
            try:
                problem = self._folders.problem(blob.sha256, blob.size, self._stopped.is_set)
            except Stopped:
                break
            (sound if problem is None else suspect).append(blob.sha256)
        return sound, suspect

    async def _judged(self, sha256: str) -> Verdict | None:
        try:
            return await self._verify_one(sha256)
        except NotHeld:  # evicted meanwhile
            return None

    # ---- rows and files --------------------------------------------------------------------------

    async def disagreements(self) -> Repairs:
        """Where rows and files do not agree, as far as one look at a store in use can tell."""
        blobs = await self._tables.read(all_blobs)
        sizes = await asyncio.to_thread(self._folders.sizes)
        found = repairs(blobs, sizes)
        # What came while the folders were read has its row by now.
        rows = {blob.sha256 for blob in await self._tables.read(all_blobs)}
        return Repairs(
            tuple(s for s in found.missing if s in rows),
            {s: n for s, n in found.damaged.items() if s in rows},
            {s: n for s, n in found.unknown.items() if s not in rows},
        )

    async def take_in(self, sha256: str) -> str | None:
        """A file without a row becomes a blob if it is what its name says, else it goes into quarantine.

        What is wrong with it, "" if nothing is; None if it is in order by now.
        """
        return await to_the_end(self._take_in(sha256))

    async def _take_in(self, sha256: str) -> str | None:
        async with self._room.changing:
            known = await self._tables.read(lambda c: find_blob(c, sha256))
            size = await asyncio.to_thread(self._folders.size, sha256)
            if known is not None or size is None:
                return None
            problem = await asyncio.to_thread(self._folders.problem, sha256, size)
            at = self._now()
            if problem is None:
                blob = Blob(sha256, size, kept_at=at, verified_at=at, last_used=0.0)
                await self._tables.write(lambda c: put_blob(c, blob))
                self._room.quota.held += size
                return ""
            await asyncio.to_thread(self._folders.set_aside, sha256, f"{sha256}.{at:.0f}")
            await self._tables.write(lambda c: put_quarantine(c, sha256, problem, at))
            return problem

    async def strays(self) -> list[str]:
        """What else lies among the blobs, by its path there; it is left alone."""
        return await asyncio.to_thread(self._folders.strays)

    # ---- around them -----------------------------------------------------------------------------

    async def references(self) -> list[Reference]:
        """Mend what refers to blobs that are not there, and rows that cannot be; what was found."""
        return await to_the_end(self._references())

    async def _references(self) -> list[Reference]:
        async with self._room.changing:
            found = await self._tables.write(mend_references)
        if found:
            self._room.departures += 1
        links = [r.lost.link for r in found if r.lost is not None and r.lost.link is not None]
        await asyncio.to_thread(self._folders.tree.remove, links)
        return found

    async def links(self) -> Links:
        """Make the readable tree say what the holdings say."""
        wanted = await self._tables.read(holding_links)
        extra = await asyncio.to_thread(self._folders.tree.extra, wanted)
        placed = await to_the_end(self._placed())
        # A new holding has its link before its row: what has no row by now never had one.
        wanted = await self._tables.read(holding_links)
        gone = [name for name in extra if name not in wanted]
        await asyncio.to_thread(self._folders.tree.remove, gone)
        return Links(placed, tuple(gone))

    async def _placed(self) -> tuple[str, ...]:
        async with self._room.changing:
            wanted = await self._tables.read(holding_links)
            blobs = {name: self._folders.blob(sha256) for name, sha256 in wanted.items()}
            return await asyncio.to_thread(self._folders.tree.place_all, blobs)

    async def parts(self) -> list[str]:
        """Remove parked parts that are not what their marks say; the keys of those."""
        spoiled = await asyncio.to_thread(self._parts.drop_spoiled)
        self._room.count_parked()
        return spoiled
