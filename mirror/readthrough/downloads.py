"""Files on their way in: each is fetched once however many wait.

A download resumes by Range after it broke off, as long as the source says it is the same file; it is
kept only if it has its whole length and is what its name says. It outlives whoever asked for it.

A file that is arriving: readers follow it while it comes, and hear what ended it.

One side writes down how far it is (``begins``, ``went_on``, ``is_whole``, ``ended``), the other waits for that.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mirror.concurrency import Version
from mirror.errors import (
    MirrorError,
    UpstreamBroken,
    UpstreamError,
    UpstreamLacks,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mirror.fits.integrity import file_problem
from mirror.upstream.budget import person
from mirror.upstream.pacing import Claim, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.incoming import Sink
    from mirror.storage.files.table import Blob


#: Bytes that a reader of an arriving file takes at a time.
PIECE = 256 * 1024


class Download:
    """One file that is arriving. ``size`` is its length, None until the source has told; ``who`` waits for it.

    What has come may be read at once, but for its last byte: that waits until the whole file is known to
    be what it should be. So nobody who got all bytes got a damaged file.
    """

    def __init__(self, path: str, claim: Claim | None = None) -> None:
        self.path = path
        self.claim = claim or Claim()
        self.size: int | None = None
        #: Of the answer that brings it; empty until that has come.
        self.headers: Mapping[str, str] = {}
        self.written = 0
        self.who: dict[str, None] = {person(): None}  #: in the order in which they came; "" is the mirror itself
        self.begun_at: float | None = None  #: by the clock of the event loop, and how much there was then
        self.resumed = 0
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

    @property
    def is_being_kept(self) -> bool:
        """Whether all has come, and only the store has still to do with it."""
        return self._whole and not self.blob.done()

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
            if self.begun_at is None:
                self.begun_at, self.resumed = asyncio.get_running_loop().time(), sink.written
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


#: Seconds that files which have come whole have to be kept when the mirror stops: clients may have them already.
KEEPING = 30.0
#: Bytes of an answer that is not the file: a page that says why.
MOST_OTHER = 1 << 20


class Unchanged(MirrorError):
    """The file is as the one who asked knows it."""


class OtherBytes(UpstreamBroken):
    """What came is not what the source itself says that it is."""


class OtherAnswer(MirrorError):
    """The source answered with something else than the file: that it has moved, or is not there."""

    def __init__(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        super().__init__(f"{path} is not available (HTTP {status})")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a file is asked for, beside its path.

    ``headers`` go with the first byte that is asked for: conditions, of which one may be met (``Unchanged``). ``check``
    says what is wrong with a file that came. With ``pages`` an answer that is no file is raised as ``OtherAnswer``.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    host: str | None = None
    check: Callable[[Path, str], str | None] = file_problem
    attempts: int = ATTEMPTS
    pages: bool = False


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
        self.ends = Version()  #: advances when a download ends

    def start(
        self,
        path: str,
        kept: Callable[[Blob], Awaitable[None]],
        priority: Priority = Priority.PEOPLE,
        manner: Manner = Manner(),
    ) -> Download:
        """The download of ``path``, begun now or already running; ``kept`` notes the file before it counts.

        One that waits at a lower priority goes on waiting at this one, in the manner in which it began.
        """
        running = self._running.get(path)
        if running is not None:
            running[0].claim.raise_to(priority)
            running[0].who[person()] = None
            return running[0]
        download = Download(path, Claim(priority))
        task = asyncio.ensure_future(self._run(download, kept, manner))
        self._running[path] = download, task
        task.add_done_callback(lambda _: self._finished(path))
        return download

    def _finished(self, path: str) -> None:
        self._running.pop(path, None)
        self.ends.advance()

    def running(self) -> list[Download]:
        """What is arriving now."""
        return [download for download, _ in self._running.values()]

    async def stop(self) -> None:
        """End everything: what has come whole is kept, and of the rest what has come is parked, and goes on at the next ask."""
        running = list(self._running.values())
        for download, task in running:
            if not download.is_being_kept:
                task.cancel()
        if kept := [task for download, task in running if download.is_being_kept]:
            await asyncio.wait(kept, timeout=KEEPING)
        for _, task in running:
            task.cancel()
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)

    async def _run(
        self, download: Download, kept: Callable[[Blob], Awaitable[None]], manner: Manner
    ) -> None:
        try:
            blob = await self._persist(download, manner)
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

    async def _persist(self, download: Download, manner: Manner) -> Blob:
        """Ask until the file is whole, or it is clear that it cannot be had: nothing more of it comes."""
        pause, furthest, left = FIRST_PAUSE, 0, manner.attempts
        while True:
            try:
                return await self._attempt(download, manner)
            except (UpstreamRefused, UpstreamLacks):
                raise
            except UpstreamError:
                left -= 1
                if download.written > furthest:
                    pause, furthest, left = FIRST_PAUSE, download.written, max(1, manner.attempts - 1)
                if not left:
                    raise
            await self._sleep(pause)
            pause *= 2

    async def _attempt(self, download: Download, manner: Manner) -> Blob:
        path = download.path
        async with self._blobs.incoming(resume=path) as sink:
            async with self._source.file(path, _asked_with(sink, manner), download.claim) as answer:
                if manner.pages:
                    await _check_is_file(answer, path)
                size = await _placed(sink, answer, path)
                sink.validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
                download.headers = answer.headers
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
                _check_digest(sink, answer, path)
            problem = await asyncio.to_thread(manner.check, sink.path, path)
            if problem is None and size in (None, sink.written):
                await download.is_whole(sink.written)  # readers need not wait until it lasts
            return await sink.keep(size=size, check=lambda _: problem)


def digest_header(sha256: str) -> str:
    """A hash of a whole file as the header Repr-Digest has it (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def _check_digest(sink: Sink, answer: Answer, path: str) -> None:
    """OtherBytes, and nothing of it stays, if the source told the hash of the file, and this has another."""
    told = answer.headers.get("Repr-Digest", "")
    if told.startswith("sha-256=:") and told != digest_header(sink.sha256):
        sink.discard()
        raise OtherBytes(f"{path}: {sink.written:,} bytes came of another hash than the source says")


def _asked_with(sink: Sink, manner: Manner) -> dict[str, str]:
    """Ask for the rest, if what is there came from a source that can tell whether it has changed."""
    host = {} if manner.host is None else {"Host": manner.host}
    if not sink.offset or not sink.validator:
        return {**host, **manner.headers}
    return {**host, "Range": f"bytes={sink.offset}-", "If-Range": sink.validator}


async def _check_is_file(answer: Answer, path: str) -> None:
    """Pass if a file comes, or may come another time; raise what comes instead of it."""
    if answer.status == 304:
        raise Unchanged(f"{path} has not changed")
    if answer.status in (200, 206, 416) or answer.status in AWAY or answer.status >= 500:
        return
    body = bytearray()
    async for piece in answer.body:
        body += piece
        if len(body) > MOST_OTHER:
            raise UpstreamBroken(f"{path}: more than {MOST_OTHER:,} bytes came with the code {answer.status}")
    raise OtherAnswer(path, answer.status, answer.headers, bytes(body))


async def _placed(sink: Sink, answer: Answer, path: str) -> int | None:
    """See that what comes next belongs at the end of the sink; the length of the whole file."""
    if answer.status in (401, 403, 404, 410):
        raise UpstreamRefused(answer.status, f"{path} is not available (HTTP {answer.status})")
    part = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status == 206 and part and int(part[1]) == sink.offset:
        return int(part[2])
    if answer.status in (206, 416):  # another part, or none after what is there: start again next time
        at = sink.offset
        await sink.restart()
        raise UpstreamBroken(f"{path}: the source does not go on at byte {at}")
    if answer.status in AWAY:
        raise UpstreamUnreachable(f"{path}: JSOC is not responding: HTTP {answer.status}")
    if answer.status != 200:
        raise UpstreamBroken(f"{path}: HTTP {answer.status} instead of the file")
    if sink.offset:
        await sink.restart()
    length = answer.headers.get("Content-Length", "")
    return int(length) if _LENGTH.fullmatch(length) else None
