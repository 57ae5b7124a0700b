"""Downloads of files: each file is fetched once, however many wait for it.

An interrupted download resumes by Range, as long as the source says that the file is the same; a file is
kept only if it has its whole length and is what its name says. A download outlives whoever asked for it.

Readers follow a ``Download`` as it arrives, and get the error that ends it. The task that fetches it reports progress
(``begins``, ``went_on``, ``is_whole``, ``ended``), and readers wait for that.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mirror.concurrency import Version, cancel
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
    """One arriving file. ``size`` is its length, None until the source has told it; ``who`` waits for it.

    What has come can be read at once, except for the last byte, which waits until the whole file is known to
    be right. So nobody who got all bytes got a damaged file.
    """

    def __init__(self, path: str, claim: Claim | None = None) -> None:
        self.path = path
        self.claim = claim or Claim()
        self.size: int | None = None
        #: Headers of the answer that brings the file; empty until then.
        self.headers: Mapping[str, str] = {}
        self.written = 0
        self.who: dict[str, None] = {person(): None}  #: in the order in which they came; "" is the mirror itself
        self.begun_at: float | None = None  #: by the event loop's clock; ``resumed`` bytes were there then
        self.resumed = 0
        self._file: Path | None = None
        self._validator: str | None = None
        self._attempt = 0  #: each attempt may write to another file
        self._edition = 0  #: counts how often the bytes so far were discarded: later ones may differ
        self._whole = False
        self._changed = asyncio.Condition()
        self.blob: asyncio.Future[Blob] = asyncio.get_running_loop().create_future()
        self.blob.add_done_callback(_looked_at)

    # ---- for readers -----------------------------------------------------------------------------

    async def kept(self) -> Blob:
        """The file once it is kept; raises what ended the download. Cancelling the wait does not stop it."""
        return await asyncio.shield(self.blob)

    async def begun(self) -> int:
        """The length of the file, once enough has come to start sending; raises what ended the download before.

        A small file only counts as begun when it is known to be right, so that a client gets the error instead.
        """
        async with self._changed:
            await self._changed.wait_for(self._can_begin)
        if self.blob.done():
            return self.blob.result().size
        return self.written if self.size is None else self.size

    @property
    def is_being_kept(self) -> bool:
        """Whether everything has come, and only the store still has work to do."""
        return self._whole and not self.blob.done()

    def _can_begin(self) -> bool:
        return (
            self.blob.done() or self._whole or (self.size is not None and PIECE <= self.written < self.size)
        )

    async def read(self, start: int, end: int, size: int) -> AsyncIterator[bytes]:
        """The bytes ``start`` to ``end`` as they come, of a file with ``size`` bytes according to ``begun``.

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
                if not piece and await self._starts_over(opened.attempt):
                    continue
                if not piece or (self._edition, self.size) != (edition, size):
                    raise UpstreamBroken(f"{self.path} changed at byte {at} of {size} while it was sent")
                at += len(piece)
                yield piece
        finally:
            opened.close()

    async def _readable(self, at: int, end: int) -> int:
        """How many bytes can be read from ``at``, once there are some; raises if there never will be any."""

        def there() -> int:
            return min(self.written, end if self._whole else end - 1) - at

        async with self._changed:
            await self._changed.wait_for(lambda: self.blob.done() or there() > 0)
        if self.blob.done():
            self.blob.result()
        return there()

    async def _starts_over(self, attempt: int) -> bool:
        """Whether another attempt than this begins, which empties the file first, or none; waits until it is known."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.blob.done() or self._attempt != attempt)
        return self._attempt != attempt or self.blob.exception() is not None

    async def _open(self) -> int:
        """A descriptor of the file being written; if it was just moved to its place, of that."""
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
        """An attempt writes to ``sink``; according to the source the whole file has ``size`` bytes."""
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
        """Everything has come, and it is right."""
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


#: Attempts in a row that bring no more bytes of a file before the download fails.
ATTEMPTS = 5
#: Seconds before the second attempt; doubled after each that brings no more bytes.
FIRST_PAUSE = 0.5
#: "Not now", from gateways and overloaded servers.
AWAY = frozenset({429, 502, 503, 504})
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")
#: Most bytes of a file without an announced length, which might never end.
MOST_UNANNOUNCED = 4 << 30


#: Seconds at a stop for keeping files that have come completely, since clients may have them already.
KEEPING = 30.0
#: Most bytes of an answer that is not the file, but a page that says why.
MOST_OTHER = 1 << 20


class Unchanged(MirrorError):
    """The file has not changed since the caller last saw it."""


class OtherBytes(UpstreamBroken):
    """The bytes that came differ from the hash that the source gave."""


class OtherAnswer(MirrorError):
    """The source answered with something other than the file: that it has moved, or does not exist."""

    def __init__(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        super().__init__(f"{path} is not available (HTTP {status})")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a file is requested, besides its path.

    ``headers`` are sent with requests from byte 0: conditions, which may be met (``Unchanged``). ``check`` says what
    is wrong with a file that came. With ``pages``, an answer that is not a file is raised as ``OtherAnswer``.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    host: str | None = None
    check: Callable[[Path, str], str | None] = file_problem
    attempts: int = ATTEMPTS
    pages: bool = False


class Answer(Protocol):
    """Upstream's answer to the request for a file."""

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
    """The running downloads. ``sleep`` waits for seconds."""

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

        One that waits at a lower priority is raised to this one, but keeps the manner in which it began.
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
        """The downloads that are arriving now."""
        return [download for download, _ in self._running.values()]

    async def stop(self) -> None:
        """End all downloads: those that have come whole are kept, others are parked and continued at the next request."""
        running = list(self._running.values())
        for download, task in running:
            if not download.is_being_kept:
                task.cancel()
        if kept := [task for download, task in running if download.is_being_kept]:
            await asyncio.wait(kept, timeout=KEEPING)
        await cancel(*(task for _, task in running))

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
        except Exception as problem:  # noqa: BLE001  (those who wait must get it)
            await download.ended(None, problem)

    async def _persist(self, download: Download, manner: Manner) -> Blob:
        """Retry until the file is complete, or no more of it comes."""
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
                await download.is_whole(sink.written)  # readers need not wait until it is durable
            return await sink.keep(size=size, check=lambda _: problem)


def digest_header(sha256: str) -> str:
    """A hash of a whole file as the header Repr-Digest has it (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def _check_digest(sink: Sink, answer: Answer, path: str) -> None:
    """Raise OtherBytes, and discard the bytes, if they differ from the hash that the source gave."""
    told = answer.headers.get("Repr-Digest", "")
    if told.startswith("sha-256=:") and told != digest_header(sink.sha256):
        sink.discard()
        raise OtherBytes(f"{path}: {sink.written:,} bytes came of another hash than the source says")


def _asked_with(sink: Sink, manner: Manner) -> dict[str, str]:
    """The headers of a request: for the rest, if the source of what is there can tell whether it has changed."""
    host = {} if manner.host is None else {"Host": manner.host}
    if not sink.offset or not sink.validator:
        return {**host, **manner.headers}
    return {**host, "Range": f"bytes={sink.offset}-", "If-Range": sink.validator}


async def _check_is_file(answer: Answer, path: str) -> None:
    """Return if a file comes, or may come later; raise what comes instead of it."""
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
    """Make sure that what comes next belongs at the end of the sink; the length of the whole file."""
    if answer.status in (401, 403, 404, 410):
        raise UpstreamRefused(answer.status, f"{path} is not available (HTTP {answer.status})")
    part = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status == 206 and part and int(part[1]) == sink.offset:
        return int(part[2])
    if answer.status in (206, 416):  # another part, or nothing after what is there: start over next time
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
