"""Incoming files, hashed as they are written, then kept, parked or discarded; and the quota that gives them room.

A ``ParkedDownload`` is one file in ``incoming/``, used from worker threads; a ``Sink`` is what a download writes to.
Nothing under ``incoming/`` is ever served as a held file. An interrupted download may leave its part to be
continued: the part then has a mark beside it, which says how many of its bytes are good, and their hash.

``Quota`` has the bytes that the store may have, has, and has promised to running downloads. It is plain arithmetic
without files: a download reserves its size before it starts, so that no two together can exceed the quota. It is
used from the event loop only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mirror.concurrency import to_the_end
from mirror.errors import StorageError, UpstreamBroken
from mirror.humanize import in_words

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from mirror.storage.disk import Disk
    from mirror.storage.files.table import Blob


class Quota:
    """``limit`` bytes (None: no limit), of which blobs take ``held``, parked parts ``parked``."""

    def __init__(self, limit: int | None, *, held: int = 0, parked: int = 0) -> None:
        self.limit = limit
        self.held = held
        self.parked = parked
        self.promises: set[Reservation] = set()

    @property
    def reserved(self) -> int:
        """Bytes promised to running downloads."""
        return sum(r.size for r in self.promises)

    @property
    def pending(self) -> int:
        """Bytes promised but not yet on the disk."""
        return sum(max(0, r.size - r.written) for r in self.promises)

    def shortage(self, size: int) -> int:
        """Bytes that must be freed before there is room for ``size`` more."""
        if self.limit is None:
            return 0
        return max(0, self.held + self.parked + self.reserved + size - self.limit)

    def reserve(self, size: int) -> Reservation:
        """Promise ``size`` bytes; StorageError if there is no room."""
        if size < 0:
            raise StorageError(f"cannot reserve {size} bytes; expected a size of 0 or more")
        self.check(size)
        reservation = Reservation(self, size)
        self.promises.add(reservation)
        return reservation

    def check(self, size: int) -> None:
        """Raise StorageError if there is no room for ``size`` more bytes."""
        if self.shortage(size):
            raise StorageError(self.refusal(size))

    def refusal(self, size: int) -> str:
        """Why there is no room for ``size`` more bytes, and what helps."""
        assert self.limit is not None
        if size > self.limit:
            return f"{in_words(size)} exceed the store's quota of {in_words(self.limit)}; raise [storage] quota"
        return (
            f"no space for {in_words(size)}: of the store's quota of {in_words(self.limit)}, "
            f"{in_words(self.held)} are in use and {in_words(self.reserved + self.parked)} reserved for downloads, "
            f"and too little can be evicted; remove pins, or raise [storage] quota"
        )


class Reservation:
    """Room promised to one download; return it by ``release``, or say by ``settle`` what became of it.

    ``written`` is how much of it is on the disk by now, ``evicted`` how much was evicted for it. ``announced``: the
    length of the download is known.
    """

    def __init__(self, quota: Quota, size: int) -> None:
        self._quota = quota
        self.size = size
        self.written = 0
        self.evicted = 0
        self.announced = False

    def grow(self, by: int) -> None:
        """Promise more bytes; StorageError if there is no room."""
        self._quota.check(by)
        self.size += by

    def settle(self, *, held: int) -> None:
        """End the download: ``held`` of its bytes count as held, the rest of the promise is free again."""
        self.release()
        self._quota.held += held

    def release(self) -> None:
        """Return the room of a download that left nothing. May be called again, and after ``settle``."""
        self._quota.promises.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


#: Returns what is wrong with a file, or None.
Check = Callable[[Path], str | None]

_BLOCK = 1 << 20


class ParkedDownload:
    """One open file under ``incoming/``. Calls are mutually exclusive, so that ``close`` waits for ``write``."""

    def __init__(self, disk: Disk, path: Path, fd: int) -> None:
        self.path = path
        self.length = 0  #: bytes of complete writes
        self._disk = disk
        self._fd = fd
        self._hash = hashlib.sha256()
        self._turn = threading.Lock()

    @classmethod
    def create(cls, disk: Disk, path: Path) -> ParkedDownload:
        """A new, empty part."""
        return cls(disk, path, disk.create(path))

    @classmethod
    def reopen(cls, disk: Disk, path: Path, length: int, sha256: str) -> ParkedDownload | None:
        """The part, if its first ``length`` bytes have that hash; else None."""
        if not path.is_file():
            return None
        part = cls(disk, path, disk.open(path))
        try:
            if part._take_in(length) and part.sha256 == sha256:
                return part
        except BaseException:
            part.close()
            raise
        part.close()
        return None

    def _take_in(self, length: int) -> bool:
        while self.length < length:
            wanted = min(_BLOCK, length - self.length)
            block = self._disk.read(self.path, self._fd, wanted, self.length)
            if not block:
                return False
            self._hash.update(block)
            self.length += len(block)
        if os.fstat(self._fd).st_size > length:  # otherwise a linked file would count as changed
            self._disk.truncate(self.path, self._fd, length)
        return True

    @property
    def sha256(self) -> str:
        """The hash of the bytes so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append; after an error the part has the bytes that it had before."""
        with self._turn:
            self._still_open()
            self._disk.write(self.path, self._fd, data, self.length)
            self._hash.update(data)
            self.length += len(data)

    def restart(self) -> None:
        """Empty the part."""
        with self._turn:
            self._still_open()
            self._disk.truncate(self.path, self._fd, 0)
            self._hash, self.length = hashlib.sha256(), 0

    def seal(self) -> None:
        """Make the whole part read-only and durable."""
        with self._turn:
            self._still_open()
            self._disk.seal(self.path, self._fd)

    def settle(self) -> None:
        """Make the good bytes durable, and cut off what a failed write left after them."""
        with self._turn:
            self._still_open()
            self._disk.truncate(self.path, self._fd, self.length)
            self._disk.sync(self.path, self._fd)

    def close(self) -> None:
        """Close the file, once whatever writes to it has ended. May be called again."""
        with self._turn:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _still_open(self) -> None:
        if self._fd < 0:
            raise StorageError(f"{self.path} is closed; its download has ended")


class Keeper(Protocol):
    """What makes blobs of parts: the store."""

    async def announced(self, reservation: Reservation, size: int) -> None:
        """Check that there can be room for ``size`` bytes; StorageError if not."""

    async def room_for(self, reservation: Reservation, by: int) -> None:
        """Let a reservation grow, by eviction if need be; StorageError if there is no room."""

    async def begin_again(self, part: ParkedDownload) -> None:
        """Empty a part, and forget its mark."""

    async def keep_part(self, part: ParkedDownload, reservation: Reservation) -> Blob:
        """Make a part a blob."""


class Sink:
    """Takes one download; see ``Blobs.incoming``.

    ``offset`` is how many bytes existed already when it was opened, and ``validator`` what was noted
    about their source (an ETag, a date); set it when the answer's headers are known. ``path`` and
    ``written`` let others read what has come so far; the file stays readable through an open descriptor.
    """

    def __init__(self, keeper: Keeper, part: ParkedDownload, reservation: Reservation, validator: str | None) -> None:
        self.validator = validator
        self.offset = part.length
        self.reservation = reservation
        self._keeper = keeper
        self._part = part
        self.blob: Blob | None = None  #: set once it is kept
        self.spoiled = False  #: its bytes are wrong, and must not be parked
        reservation.written = part.length

    @property
    def path(self) -> Path:
        """Where the bytes are until they are kept."""
        return self._part.path

    @property
    def written(self) -> int:
        """Bytes in the file by now, including those before ``offset``."""
        return self._part.length

    @property
    def sha256(self) -> str:
        """The hash of these bytes."""
        return self._part.sha256

    async def expect(self, size: int) -> None:
        """Announce a file of ``size`` bytes; StorageError if there can be no room. Room is made as the bytes come."""
        try:
            await self._keeper.announced(self.reservation, size)
        except StorageError:
            self.spoiled = True
            raise

    async def write(self, chunk: bytes) -> None:
        """Append; StorageError if there is no room, in which case nothing of the download is kept."""
        try:
            beyond = self.written + len(chunk) - self.reservation.size
            if beyond > 0:
                await self._keeper.room_for(self.reservation, beyond)
            await asyncio.to_thread(self._part.write, chunk)
        except StorageError:
            self.spoiled = True
            raise
        self.reservation.written = self.written

    async def restart(self) -> None:
        """Begin again at byte 0: the source does not continue what is there."""
        try:
            await self._keeper.begin_again(self._part)
        except StorageError:
            self.spoiled = True
            raise
        self.offset = self.reservation.written = 0

    async def keep(self, *, size: int | None = None, check: Check | None = None) -> Blob:
        """The blob of all that was written, once it lasts.

        ``size`` is the length it must have, ``check`` looks at the file. UpstreamBroken if it is shorter,
        longer, or fails the check; StorageError if it cannot be kept.
        """
        if self.blob is not None:
            return self.blob
        self._measure(size)
        problem = None if check is None else await asyncio.to_thread(check, self.path)
        if problem is not None:
            self.spoiled = True
            raise UpstreamBroken(f"an incomplete file was received: {problem}")
        return await to_the_end(self._sealed())

    def discard(self) -> None:
        """Leave nothing behind, whatever happens."""
        self.spoiled = True

    def _measure(self, size: int | None) -> None:
        if size is None or self.written == size:
            return
        self.spoiled = self.written > size
        how = "longer" if self.spoiled else "cut short"
        raise UpstreamBroken(f"a file came {how}: {self.written} bytes of {size}")

    async def _sealed(self) -> Blob:
        try:
            await asyncio.to_thread(self._part.seal)
            blob = self.blob = await self._keeper.keep_part(self._part, self.reservation)
        except StorageError:
            self.spoiled = True
            raise
        return blob
