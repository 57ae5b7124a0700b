"""A file that is arriving: readers follow it while it comes, and hear what ended it.

One side writes down how far it is (``begins``, ``went_on``, ``is_whole``, ``ended``), the other waits for that.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import UpstreamBroken
from mirror.upstream.pacing import Claim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mirror.storage.files.incoming import Sink
    from mirror.storage.files.table import Blob

#: Bytes that a reader of an arriving file takes at a time.
PIECE = 256 * 1024


class Download:
    """One file that is arriving. ``size`` is its length, None until the source has told.

    What has come may be read at once, but for its last byte: that waits until the whole file is known to
    be what it should be. So nobody who got all bytes got a damaged file.
    """

    def __init__(self, path: str, claim: Claim | None = None) -> None:
        self.path = path
        self.claim = claim or Claim()
        self.size: int | None = None
        self.written = 0
        self._file: Path | None = None
        self._validator: str | None = None
        self._attempt = 0  #: each may write to another file
        self._edition = 0  #: counts how often what had come was thrown away: what comes now may differ
        self._whole = False
        self._changed = asyncio.Condition()
        self.blob: asyncio.Future[Blob] = asyncio.get_running_loop().create_future()
        self.blob.add_done_callback(_looked_at)

    # ---- for readers -----------------------------------------------------------------------------

    async def kept(self) -> Blob:
        """The file once it is kept; raises what ended the download. Whoever gives up waiting stops nothing."""
        return await asyncio.shield(self.blob)

    async def begun(self) -> int:
        """The length of the file, once enough has come to begin with; raises what ended the download before.

        A small file is only begun when it is known to be whole, so that whoever asks hears what is wrong.
        """
        async with self._changed:
            await self._changed.wait_for(self._can_begin)
        if self.blob.done():
            return self.blob.result().size
        return self.written if self.size is None else self.size

    def _can_begin(self) -> bool:
        return (
            self.blob.done() or self._whole or (self.size is not None and PIECE <= self.written < self.size)
        )

    async def read(self, start: int, end: int, size: int) -> AsyncIterator[bytes]:
        """The bytes ``start`` to ``end`` as they come, of a file that ``begun`` said to have ``size`` bytes.

        Raises what ends the download in the middle, and UpstreamBroken if the source has another file now.
        """
        at, edition = start, self._edition
        opened = _Opened()
        try:
            while at < end:
                count = await self._readable(at, end)
                if opened.attempt != self._attempt:
                    opened = opened.again(await self._open(), self._attempt)
                edition = self._edition if at == start else edition
                piece = await asyncio.to_thread(os.pread, opened.fd, min(PIECE, count), at)
                if not piece or (self._edition, self.size) != (edition, size):
                    raise UpstreamBroken(f"{self.path} changed at byte {at} of {size} while it was sent")
                at += len(piece)
                yield piece
        finally:
            opened.close()

    async def _readable(self, at: int, end: int) -> int:
        """How many bytes from ``at`` on may be read, once there are some; raises if there never will be."""

        def there() -> int:
            return min(self.written, end if self._whole else end - 1) - at

        async with self._changed:
            await self._changed.wait_for(lambda: self.blob.done() or there() > 0)
        if self.blob.done():
            self.blob.result()
        return there()

    async def _open(self) -> int:
        """The file that is written now; one that is just moving to its place is opened there."""
        try:
            return os.open(self._file or "", os.O_RDONLY)
        except FileNotFoundError:
            await self.kept()
        try:
            return os.open(self._file or "", os.O_RDONLY)
        except OSError as problem:
            raise UpstreamBroken(f"{self.path} has left the store while it was sent") from problem

    # ---- for the download ------------------------------------------------------------------------

    async def begins(self, sink: Sink, size: int | None) -> None:
        """An attempt writes to ``sink``; the source says that the whole file has ``size`` bytes."""
        async with self._changed:
            same = sink.validator is not None and sink.validator == self._validator
            self._edition += bool(self.written and not sink.written and not same)
            self._attempt += 1
            self._validator = sink.validator
            self._file, self.written, self.size = sink.path, sink.written, size
            self._changed.notify_all()

    async def went_on(self, sink: Sink) -> None:
        """More has come."""
        async with self._changed:
            self.written = sink.written
            self._changed.notify_all()

    async def is_whole(self, size: int) -> None:
        """All has come, and it is what it should be."""
        async with self._changed:
            self._whole, self.size = True, size
            self._changed.notify_all()

    async def ended(
        self, blob: Blob | None, problem: BaseException | None, place: Path | None = None
    ) -> None:
        """It is kept, or it failed."""
        async with self._changed:
            if blob is not None:
                self._whole, self.size, self.written = True, blob.size, blob.size
                self._file = place or self._file
                self.blob.set_result(blob)
            else:
                self.blob.set_exception(problem or UpstreamBroken(f"{self.path}: the download ended"))
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Opened:
    """The file that a reader has open, and the attempt that wrote it."""

    fd: int = -1
    attempt: int = -1

    def again(self, fd: int, attempt: int) -> _Opened:
        self.close()
        return _Opened(fd, attempt)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def _looked_at(future: asyncio.Future[Blob]) -> None:
    if not future.cancelled():
        future.exception()
