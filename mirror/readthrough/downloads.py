"""Files on their way in: each is fetched once however many wait.

A download resumes by Range after it broke off, as long as the source says it is the same file; it is
kept only if it has its whole length and is what its name says. It outlives whoever asked for it.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Protocol

from mirror.errors import (
    MirrorError,
    UpstreamBroken,
    UpstreamError,
    UpstreamLacks,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mirror.fits.integrity import file_problem
from mirror.readthrough.download import Download
from mirror.upstream.pacing import Claim, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.incoming import Sink
    from mirror.storage.files.table import Blob

#: Attempts in a row that bring nothing more of a file, before whoever waits is told that it cannot be had.
ATTEMPTS = 5
#: Seconds before the second attempt; doubled with each that brings nothing more.
FIRST_PAUSE = 0.5
#: "Not now", said by gateways and by servers that are overrun.
AWAY = frozenset({429, 502, 503, 504})
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")
#: Bytes of a file whose length is not announced: what may have no end is not followed for ever.
MOST_UNANNOUNCED = 4 << 30


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

    def file(
        self, path: str, headers: Mapping[str, str], priority: Priority | Claim = Priority.PEOPLE
    ) -> AbstractAsyncContextManager[Answer]:
        """A file by its path, streamed."""
        ...


class Downloads:
    """The downloads that are under way. ``sleep`` waits for seconds."""

    def __init__(
        self, blobs: Blobs, source: FileSource, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._blobs = blobs
        self._source = source
        self._sleep = sleep
        self._running: dict[str, tuple[Download, asyncio.Task[None]]] = {}
        self.ended = 0  #: how many downloads have ended, so that others see that something has changed

    def start(
        self, path: str, kept: Callable[[Blob], Awaitable[None]], priority: Priority = Priority.PEOPLE
    ) -> Download:
        """The download of ``path``, begun now or already running; ``kept`` notes the file before it counts.

        One that waits at a lower priority goes on waiting at this one.
        """
        running = self._running.get(path)
        if running is not None:
            running[0].claim.raise_to(priority)
            return running[0]
        download = Download(path, Claim(priority))
        task = asyncio.ensure_future(self._run(download, kept))
        self._running[path] = download, task
        task.add_done_callback(lambda _: self._landed(path))
        return download

    def _landed(self, path: str) -> None:
        self._running.pop(path, None)
        self.ended += 1

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
            with self._blobs.reading(blob) as place:
                await download.ended(blob, None, place)
        except asyncio.CancelledError:
            await download.ended(None, UpstreamBroken(f"{download.path}: the mirror stops"))
            raise
        except MirrorError as problem:
            await download.ended(None, problem)
        except Exception as problem:  # noqa: BLE001  (whoever waits must hear of it)
            await download.ended(None, problem)

    async def _persist(self, download: Download) -> Blob:
        """Ask until the file is whole, or it is clear that it cannot be had: nothing more of it comes."""
        pause, furthest, left = FIRST_PAUSE, 0, ATTEMPTS
        while True:
            try:
                return await self._attempt(download)
            except (UpstreamRefused, UpstreamLacks):
                raise
            except UpstreamError:
                left -= 1
                if download.written > furthest:
                    pause, furthest, left = FIRST_PAUSE, download.written, ATTEMPTS - 1
                if not left:
                    raise
            await self._sleep(pause)
            pause *= 2

    async def _attempt(self, download: Download) -> Blob:
        path = download.path
        async with self._blobs.incoming(resume=path) as sink:
            async with self._source.file(path, _resume_headers(sink), download.claim) as answer:
                size = await _placed(sink, answer, path)
                sink.validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
                if size is not None:
                    await sink.expect(size)
                await download.begins(sink, size)
                most = MOST_UNANNOUNCED if size is None else size
                async for piece in answer.body:
                    if sink.written + len(piece) > most:
                        sink.discard()
                        raise UpstreamBroken(f"{path}: more than {most:,} bytes came")
                    await sink.write(piece)
                    await download.went_on(sink)
            problem = await asyncio.to_thread(file_problem, sink.path, path)
            if problem is None and size in (None, sink.written):
                await download.is_whole(sink.written)  # readers need not wait until it lasts
            return await sink.keep(size=size, check=lambda _: problem)


def _resume_headers(sink: Sink) -> dict[str, str]:
    """Ask for the rest, if what is there came from a source that can tell whether it has changed."""
    if not sink.offset or not sink.validator:
        return {}
    return {"Range": f"bytes={sink.offset}-", "If-Range": sink.validator}


async def _placed(sink: Sink, answer: Answer, path: str) -> int | None:
    """See that what comes next belongs at the end of the sink; the length of the whole file."""
    if answer.status in (401, 403, 404, 410):
        raise UpstreamRefused(answer.status, f"{path} is not to be had (HTTP {answer.status})")
    part = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status == 206 and part and int(part[1]) == sink.offset:
        return int(part[2])
    if answer.status in (206, 416):  # another part, or none after what is there: begin anew next time
        at = sink.offset
        await sink.restart()
        raise UpstreamBroken(f"{path}: the source does not go on at byte {at}")
    if answer.status in AWAY:
        raise UpstreamUnreachable(f"{path}: upstream is away: HTTP {answer.status}")
    if answer.status != 200:
        raise UpstreamBroken(f"{path}: HTTP {answer.status} instead of the file")
    if sink.offset:
        await sink.restart()
    length = answer.headers.get("Content-Length", "")
    return int(length) if _LENGTH.fullmatch(length) else None
