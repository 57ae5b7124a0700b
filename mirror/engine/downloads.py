"""Files on their way in: each is fetched once however many wait, and read while it arrives.

A download resumes by Range after it broke off, as long as the source says it is the same file; it is
kept only if it has its whole length and is what its name says. It outlives whoever asked for it.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Protocol

from mirror.drms.errors import MirrorError, UpstreamBroken, UpstreamError, UpstreamRefused
from mirror.storage.fitscheck import file_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob
    from mirror.storage.incoming import Sink

#: Times that a file is asked for before whoever waits is told that it cannot be had.
ATTEMPTS = 5
#: Seconds before the second attempt; doubled with each that brings nothing.
FIRST_PAUSE = 0.5
#: Bytes that a reader of an arriving file takes at a time.
PIECE = 256 * 1024
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class Answer(Protocol):
    """What upstream says to the request for a file."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> AsyncIterator[bytes]: ...


class FileSource(Protocol):
    """Where files come from: ``mirror.upstream.client.UpstreamClient``."""

    def file(self, path: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Answer]:
        """A file by its path, streamed."""
        ...


class Download:
    """One file that is arriving. ``size`` is its length, None until the source has told."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size: int | None = None
        self.written = 0
        self._file: Path | None = None
        self._changed = asyncio.Condition()
        self.blob: asyncio.Future[Blob] = asyncio.get_running_loop().create_future()
        self.blob.add_done_callback(_looked_at)

    async def begun(self) -> None:
        """Return once the source has told the length; raises what ended the download before that."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.size is not None or self.blob.done())
        if self.blob.done():
            self.blob.result()

    async def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes ``start`` to ``end`` as they come; raises if the download fails in the middle."""
        await self.begun()
        at, last = start, self.size or 0
        last = last if end is None else min(end, last)
        opened: tuple[Path, int] | None = None
        try:
            while at < last:
                await self._beyond(at)
                opened = self._reopened(opened)
                piece = await asyncio.to_thread(os.pread, opened[1], min(PIECE, last - at), at)
                if not piece:
                    raise UpstreamBroken(f"{self.path} broke off at byte {at} of {self.size}")
                at += len(piece)
                yield piece
        finally:
            if opened is not None:
                os.close(opened[1])

    async def _beyond(self, at: int) -> None:
        """Return once there are bytes from ``at`` on; raises if there never will be."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.written > at or self.blob.done())
        if self.blob.done():
            self.blob.result()

    def _reopened(self, opened: tuple[Path, int] | None) -> tuple[Path, int]:
        """The file that is written now; a new attempt may have another one."""
        if self._file is None:
            raise UpstreamBroken(f"{self.path} has not begun")
        if opened is not None and (opened[0] == self._file or self.blob.done()):
            return opened
        fd = os.open(self._file, os.O_RDONLY)
        if opened is not None:
            os.close(opened[1])
        return self._file, fd

    async def went_on(self, sink: Sink, size: int | None) -> None:
        """More has come."""
        async with self._changed:
            self._file, self.written = sink.path, sink.written
            self.size = size if size is not None else self.size
            self._changed.notify_all()

    async def ended(
        self, blob: Blob | None, problem: BaseException | None, place: Path | None = None
    ) -> None:
        """It is kept, or it failed."""
        async with self._changed:
            if blob is not None:
                self.size, self.written, self._file = blob.size, blob.size, place or self._file
                self.blob.set_result(blob)
            else:
                self.blob.set_exception(problem or UpstreamBroken(f"{self.path}: the download ended"))
            self._changed.notify_all()


class Downloads:
    """The downloads that are under way. ``sleep`` waits for seconds."""

    def __init__(
        self, blobs: Blobs, source: FileSource, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._blobs = blobs
        self._source = source
        self._sleep = sleep
        self._running: dict[str, tuple[Download, asyncio.Task[None]]] = {}

    def start(self, path: str, kept: Callable[[Blob], Awaitable[None]]) -> Download:
        """The download of ``path``, begun now or already running; ``kept`` notes the file before it counts."""
        running = self._running.get(path)
        if running is not None:
            return running[0]
        download = Download(path)
        task = asyncio.ensure_future(self._run(download, kept))
        self._running[path] = download, task
        task.add_done_callback(lambda _: self._running.pop(path, None))
        return download

    def running(self) -> list[Download]:
        """What is arriving now."""
        return [download for download, _ in self._running.values()]

    async def stop(self) -> None:
        """End everything; what has come is parked, and goes on at the next ask."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, download: Download, kept: Callable[[Blob], Awaitable[None]]) -> None:
        try:
            blob = await self._persist(download)
            await kept(blob)
        except asyncio.CancelledError:
            await download.ended(None, UpstreamBroken(f"{download.path}: the mirror stops"))
            raise
        except MirrorError as problem:
            await download.ended(None, problem)
        except Exception as problem:  # noqa: BLE001  (whoever waits must hear of it)
            await download.ended(None, problem)
        else:
            with self._blobs.reading(blob) as place:
                await download.ended(blob, None, place)

    async def _persist(self, download: Download) -> Blob:
        """Ask until the file is whole, or it is clear that it cannot be had."""
        pause = FIRST_PAUSE
        for attempt in range(1, ATTEMPTS + 1):
            before = download.written
            try:
                return await self._attempt(download)
            except UpstreamRefused:
                raise
            except UpstreamError:
                if attempt == ATTEMPTS:
                    raise
            pause = FIRST_PAUSE if download.written > before else pause * 2
            await self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, download: Download) -> Blob:
        async with self._blobs.incoming(resume=download.path) as sink:
            async with self._source.file(download.path, _resume_headers(sink)) as answer:
                size = await _placed(sink, answer, download.path)
                sink.validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
                await download.went_on(sink, size)
                async for piece in answer.body:
                    await sink.write(piece)
                    await download.went_on(sink, size)
            return await sink.keep(size=size, check=lambda path: file_problem(path, download.path))


def _resume_headers(sink: Sink) -> dict[str, str]:
    """Ask for the rest, if what is there came from a source that can tell whether it has changed."""
    if not sink.offset or not sink.validator:
        return {}
    return {"Range": f"bytes={sink.offset}-", "If-Range": sink.validator}


async def _placed(sink: Sink, answer: Answer, path: str) -> int | None:
    """See that what comes next belongs at the end of the sink; the length of the whole file."""
    if answer.status in (401, 403, 404, 410):
        raise UpstreamRefused(answer.status, f"{path} is not to be had (HTTP {answer.status})")
    if answer.status == 206 and (found := _RANGE.fullmatch(answer.headers.get("Content-Range", ""))):
        if int(found[1]) == sink.offset:
            return int(found[2])
        await sink.restart()
        raise UpstreamBroken(f"{path}: the source went on at byte {found[1]}")
    if answer.status != 200:
        raise UpstreamBroken(f"{path}: HTTP {answer.status} instead of the file")
    if sink.offset:
        await sink.restart()
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _looked_at(future: asyncio.Future[Blob]) -> None:
    if not future.cancelled():
        future.exception()
