"""The processes in which statements run: a few at a time, each killed when it takes more than it may.

A worker that ended a statement well is used again; one that ran out of time or memory, or whose asker hung up,
is killed, and the next is started when it is needed. The daemon only passes bytes on.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mirror.drms.errors import BadRequest, MirrorError, OutOfTime, Refused, SyntaxProblem, TooLarge, TooMany
from mirror.services.analytics.frames import Frame, Kind, Pipe

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from mirror.services.analytics.question import Question

T = TypeVar("T")

#: Seconds for a worker to start; imports take a third of one on a quiet machine.
START = 30.0
#: Seconds in which an answer must be taken, however slowly it is read.
READING = 600.0
#: Statements after which a worker is replaced, so that nothing can pile up in it.
WORN = 500
#: How a process ends that met what its program did not expect.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


class Unreadable(BadRequest):
    """A statement that DuckDB could not run, perhaps for a damaged file that it reads."""


@dataclass(frozen=True, slots=True)
class Powers:
    """What the workers may use: ``places`` at a time, ``memory`` in bytes and ``threads`` each.

    So many more may wait for a place; one asker never takes the last place, if there is more than one.
    """

    places: int = 2
    waiting: int = 16
    memory: int = 1 << 30
    threads: int = 2


@dataclass
class Answer:
    """An answer that is coming: its columns (name, DuckDB type), and ``pieces`` of bytes in its form."""

    columns: list[tuple[str, str]]
    pieces: AsyncIterator[bytes]


@dataclass(eq=False)
class _Worker:
    """One process that is ready or busy."""

    process: Process
    pipe: Pipe
    asked: int = 0

    @classmethod
    async def start(cls, folder: Path, powers: Powers) -> _Worker:
        module = "mirror.services.analytics.worker"
        pipe = Pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, str(folder), str(powers.memory), str(powers.threads)),
                stdin=asyncio.subprocess.PIPE,
                stdout=pipe.writing_end,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # ctrl-C in the daemon's terminal is the daemon's business
            )
        except BaseException:
            pipe.close()
            raise
        finally:
            pipe.given_away()
        worker = cls(process, pipe)
        try:
            async with asyncio.timeout(START):
                await pipe.whole((await pipe.head())[1])
        except BaseException:
            await worker.dismiss()
            raise
        return worker

    def ask(self, question: Question) -> None:
        assert self.process.stdin is not None
        self.asked += 1
        self.process.stdin.write(question.to_line())

    async def kill(self) -> None:
        """End it, whatever it is doing; whoever reads from it is told so."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def dismiss(self) -> None:
        """End it once nobody reads from it."""
        try:
            await self.kill()
        finally:
            self.pipe.close()


@asynccontextmanager
async def _reading() -> AsyncIterator[None]:
    """The time that whoever asked has to take an answer."""
    try:
        async with asyncio.timeout(READING):
            yield
    except TimeoutError:
        raise OutOfTime(f"the answer was not read in {READING:g} s; expected a faster reader") from None


@dataclass
class Workers:
    """Runs statements on the files below ``folder``."""

    folder: Path
    powers: Powers
    _spare: list[_Worker] = field(default_factory=list)
    _busy: set[_Worker] = field(default_factory=set)
    _askers: Counter[str] = field(default_factory=Counter)
    _waiting: int = 0
    _warming: asyncio.Lock = field(default_factory=asyncio.Lock)
    _freed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def warm(self) -> None:
        """Have a worker ready, so that the next statement need not wait for one to start."""
        async with self._warming:
            if not self._spare and not self._busy:
                self._spare.append(await _Worker.start(self.folder, self.powers))

    @asynccontextmanager
    async def run(self, question: Question, asker: str = "") -> AsyncIterator[Answer]:
        """The answer to a question of ``asker``, as it comes; leaving early ends the statement.

        Raises BadRequest, Refused, OutOfTime, TooLarge or TooMany, also while the pieces are read.
        """
        async with self._place(asker), _reading():
            worker = await self._ready()
            self._busy.add(worker)
            talk = _Talk(worker, question)
            try:
                yield Answer(await talk.columns(), talk.pieces())
            finally:
                self._busy.discard(worker)
                if talk.over and worker.asked < WORN:
                    self._spare.append(worker)
                else:
                    await worker.dismiss()

    async def _ready(self) -> _Worker:
        async with self._warming:  # one that is about to be ready is ready before another
            if self._spare:
                return self._spare.pop()
        return await _Worker.start(self.folder, self.powers)

    def running(self) -> list[int]:
        """The process ids of the workers that have a statement."""
        return [worker.process.pid for worker in self._busy]

    async def stop(self) -> None:
        """End every worker, whatever it is doing."""
        spare, self._spare = self._spare, []
        await asyncio.gather(*(w.dismiss() for w in spare), *(w.kill() for w in self._busy))

    @asynccontextmanager
    async def _place(self, asker: str) -> AsyncIterator[None]:
        await self._enter(asker)
        try:
            yield
        finally:
            self._askers[asker] -= 1
            if not self._askers[asker]:
                del self._askers[asker]
            async with self._freed:
                self._freed.notify_all()

    async def _enter(self, asker: str) -> None:
        share = max(1, self.powers.places - 1)

        def free() -> bool:
            return self._askers.total() < self.powers.places and self._askers[asker] < share

        if not free():
            if self._waiting >= self.powers.waiting:
                raise TooMany(
                    f"{self._waiting} statements wait already; expected fewer at a time, try again later"
                )
            self._waiting += 1
            try:
                async with self._freed:
                    await self._freed.wait_for(free)
            finally:
                self._waiting -= 1
        self._askers[asker] += 1


class _Talk:
    """One question put to one worker."""

    def __init__(self, worker: _Worker, question: Question) -> None:
        self._pipe = worker.pipe
        self._process = worker.process
        self._question = question
        self._left = question.limits.seconds
        self.over = False  #: the worker has said all, and is ready for another
        worker.ask(question)

    async def columns(self) -> list[tuple[str, str]]:
        """The columns, once there is something to tell."""
        header = await self._told(*await self._timed(self._pipe.head()))
        return [(name, kind) for name, kind in header["columns"]]

    async def pieces(self) -> AsyncIterator[bytes]:
        """The rest of the answer."""
        while True:
            kind, left = await self._timed(self._pipe.head())
            if kind is not Kind.DATA:
                await self._told(kind, left)
                return
            while left:
                yield (piece := await self._timed(self._pipe.some(left)))
                left -= len(piece)

    async def _told(self, kind: Kind, size: int) -> dict[str, Any]:
        """What a frame of JSON says; the error that it tells of."""
        told = Frame(kind, await self._timed(self._pipe.whole(size))).told
        self.over = kind in (Kind.END, Kind.FAILURE) and not told.get("broken")
        if kind is Kind.FAILURE:
            raise _error(told, self._question.sql)
        return told

    async def _timed(self, reading: Awaitable[T]) -> T:
        """What is read; time counts only while we wait for the worker, not while it waits for the reader."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._left):
                return await reading
        except TimeoutError:
            seconds = self._question.limits.seconds
            raise OutOfTime(
                f"the statement took more than {seconds:g} s; expected less work: fewer rows, or a filter"
            ) from None
        except EOFError:
            raise await self._ended() from None
        finally:
            self._left -= asyncio.get_running_loop().time() - began

    async def _ended(self) -> MirrorError:
        """Why the worker is gone: the kernel would not give it more memory, or it crashed."""
        if -await self._process.wait() in _CRASHES:
            return Unreadable("the statement ended the process that it ran in")
        return TooLarge("the statement needs more memory than it may have")


def _error(told: dict[str, Any], sql: str) -> MirrorError:
    kind, message = told["kind"], told["message"]
    if kind == "unreadable":
        return Unreadable(message)
    if kind == "large":
        return TooLarge(message)
    if kind == "refused":
        return Refused(message)
    if "position" in told:
        return SyntaxProblem(message, text=sql, position=told["position"])
    return BadRequest(message)
