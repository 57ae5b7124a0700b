"""Turns finished downloads into blobs, and remembers which files this process has recently verified.

``Receiving`` opens the sinks of downloads, and settles what becomes of their parts.

``Verified``: a file is read completely before it is first sent, and again when the system says that it has changed in
any way, or after ``lasts`` seconds, since a disk that loses a bit tells nobody. In between, a look costs one ``stat``.
None of this is written to disk: it costs no write, and a crash loses nothing, since the next start looks again.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from mirror.concurrency import Bounded, to_the_end
from mirror.errors import StorageError
from mirror.storage.files.incoming import Sink
from mirror.storage.files.table import Blob, find_blob, links_of, put_blob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from mirror.storage.database.database import Cursor, Tables
    from mirror.storage.files.eviction import Evictor
    from mirror.storage.files.folders import Folders
    from mirror.storage.files.incoming import ParkedDownload, Reservation
    from mirror.storage.files.parked import ParkedDownloads


#: Files that are remembered, in some ten megabytes.
MOST = 50_000
#: What changes with a file: its inode, its length, and the times when content and inode last changed.
Stamp = tuple[int, int, int, int]


def stamp_of(path: Path | str) -> Stamp:
    """The stamp of a file now; raises OSError."""
    found = os.stat(path)  # noqa: PTH116  (called for every answer, and a string is quicker)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Verified:
    """Remembers verified files, each for ``lasts`` seconds. ``now`` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float], lasts: float) -> None:
        self._now = now
        self.lasts = lasts
        self._seen: Bounded[str, tuple[str, Stamp, float]] = Bounded(MOST)

    def holds(self, sha256: str) -> bool:
        """True if the file was verified recently, and has not changed since."""
        seen = self._seen.get(sha256)
        if seen is None or self._now() - seen[2] >= self.lasts:
            return False
        try:
            return stamp_of(seen[0]) == seen[1]
        except OSError:
            return False

    def note(self, sha256: str, path: Path, stamp: Stamp) -> None:
        """Note that the file was just read and found right; ``stamp`` is from before that."""
        self._seen[sha256] = str(path), stamp, self._now()

    def forget(self, sha256: str) -> None:
        """Have the file read again before it is next sent."""
        self._seen.pop(sha256, None)


class Receiving:
    """Opens sinks, and makes blobs of what they took."""

    def __init__(
        self,
        tables: Tables,
        folders: Folders,
        parts: ParkedDownloads,
        room: Evictor,
        now: Callable[[], float],
        verified: Verified,
    ) -> None:
        self.verified = verified
        self._tables = tables
        self._folders = folders
        self.parts = parts
        self._room = room
        self._now = now
        self._keys: set[str] = set()  #: of running downloads that can be resumed

    @asynccontextmanager
    async def sink(self, promise: Reservation, key: str | None) -> AsyncIterator[Sink]:
        """See ``Blobs.incoming``."""
        async with AsyncExitStack() as stack:
            stack.enter_context(promise)
            stack.enter_context(self._alone(key))
            yield await to_the_end(self._begin(stack, promise, key))

    @asynccontextmanager
    async def taking(
        self, promise: Reservation, source: Path, size: int, sha256: str, *, link: bool
    ) -> AsyncIterator[Sink]:
        """See ``Blobs.taking``."""
        async with AsyncExitStack() as stack:
            stack.enter_context(promise)
            yield await to_the_end(self._take_in(stack, promise, (source, size, sha256), link))

    # ---- for sinks -------------------------------------------------------------------------------

    async def announced(self, promise: Reservation, size: int) -> None:
        """Check that there can be room for ``size`` bytes; StorageError if not."""
        await self._room.announce(promise, size)

    async def room_for(self, promise: Reservation, by: int) -> None:
        """Let a reservation grow, by eviction if need be; StorageError if there is no room."""
        await self._room.grow(promise, by)

    async def begin_again(self, part: ParkedDownload) -> None:
        """Empty a part, and forget its mark."""
        await asyncio.to_thread(self.parts.begin_again, part)

    async def keep_part(self, part: ParkedDownload, promise: Reservation) -> Blob:
        """Make a sealed part a blob; it is not evicted until the download has ended."""
        async with self._room.changing:
            try:
                await self._take(part)
                at = self._now()
                blob, new = await self._tables.write(lambda c: _enter(c, part, at))
            except StorageError:
                await self._undo(part.sha256)
                raise
            with suppress(OSError):  # it was hashed as it was written
                path = self._folders.blob(blob.sha256)
                self.verified.note(blob.sha256, path, stamp_of(path))
            self._room.uses.hold(blob.sha256)
            promise.settle(held=blob.size if new else 0)
        return blob

    # ---- inside ----------------------------------------------------------------------------------

    @contextmanager
    def _alone(self, key: str | None) -> Iterator[None]:
        if key is not None and key in self._keys:
            raise StorageError(f"{key} is being received already; only one download at a time can resume it")
        keys = set() if key is None else {key}
        self._keys |= keys
        try:
            yield
        finally:
            self._keys -= keys

    async def _begin(self, stack: AsyncExitStack, promise: Reservation, key: str | None) -> Sink:
        part, validator = await asyncio.to_thread(self.parts.open, key)
        self._room.count_parked()
        sink = Sink(self, part, promise, validator)
        stack.push_async_callback(self._ended, sink, part, key)
        return sink

    async def _take_in(
        self, stack: AsyncExitStack, promise: Reservation, file: tuple[Path, int, str], link: bool
    ) -> Sink:
        source, size, sha256 = file
        part = await asyncio.to_thread(self.parts.take_in, source, size, sha256, link=link)
        if part is None:
            raise StorageError(f"{source} changed while it was read")
        sink = Sink(self, part, promise, None)
        stack.push_async_callback(self._ended, sink, part, None)
        return sink

    async def _ended(self, sink: Sink, part: ParkedDownload, key: str | None) -> None:
        await to_the_end(self._end(sink, part, key))

    async def _end(self, sink: Sink, part: ParkedDownload, key: str | None) -> None:
        # What cannot be removed now is removed at the next start; meanwhile nobody takes it for a file.
        with suppress(StorageError):
            if sink.blob is not None:
                self._room.uses.let_go(sink.blob.sha256)
                await asyncio.to_thread(self.parts.done, part)
            elif key is None or sink.spoiled or not part.length:
                await asyncio.to_thread(self.parts.drop, part)
            else:
                await asyncio.to_thread(self.parts.park, part, key, sink.validator)
        self._room.count_parked()

    async def _take(self, part: ParkedDownload) -> None:
        if not await asyncio.to_thread(self._folders.take, part.path, part.sha256, part.length):
            return
        links = await self._tables.read(lambda c: links_of(c, part.sha256))
        path = self._folders.blob(part.sha256)
        for link in links:
            await asyncio.to_thread(self._folders.tree.place, link, path)

    async def _undo(self, sha256: str) -> None:
        """Remove a file that has no row and would only take room; if this fails, the next start finds it."""
        with suppress(StorageError):
            if await self._tables.read(lambda c: find_blob(c, sha256)) is None:
                await asyncio.to_thread(self._folders.remove, [sha256], [])


def _enter(cursor: Cursor, part: ParkedDownload, at: float) -> tuple[Blob, bool]:
    """Write the row of a blob that came; the blob, and whether it is new."""
    known = find_blob(cursor, part.sha256)
    blob = Blob(part.sha256, part.length, known.kept_at if known else at, at, at)
    put_blob(cursor, blob)
    return blob, known is None
