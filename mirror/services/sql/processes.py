"""The processes in which statements run: a few at a time, each killed when it takes more than it may.

A worker that ended a statement well is used again; one that ran out of time or memory, or whose client disconnected, is
killed, and replaced at once. The daemon passes bytes on, and supplies the tables that a statement turns out to need; it
does not parse statements.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mirror.errors import BadRequest, MirrorError, OutOfTime, Refused, SyntaxProblem, TooLarge, TooMany
from mirror.services.sql.confinement import Confinement
from mirror.services.sql.messages import Frame, Kind, Missing, Pipe, Supply

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mirror.services.sql.messages import Question

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Seconds within which a worker must start; imports take a third of a second on a quiet machine.
START = 30.0
#: Seconds within which an answer must be read.
READING = 600.0
#: Statements after which a worker is replaced, so that nothing accumulates in it.
WORN = 500
#: Bytes that are sent to a worker at a time.
_PIECE = 1 << 20
#: The variables of the daemon's environment that a worker needs: the paths of modules, and the encoding of texts.
_ENVIRONMENT = (
    "PATH",
    "HOME",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONUSERBASE",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
)
#: The log message, written once, about how the processes are confined.
_CONFINED = {
    Confinement.LANDLOCK: "landlock: they read the lake and their own libraries, and write nothing",
    Confinement.NAMESPACE: "a mount namespace: every file system is read-only for them",
    Confinement.USER: "the user nobody, to whom the store does not belong",
}
_NOT_CONFINED = (
    "this system has neither landlock nor namespaces for them: that they change no file of the lake is left to DuckDB, "
    "transactions that are read only, and a limit of 0 bytes for what a file may grow to"
)
#: The signals that end a crashing process.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


class Unreadable(BadRequest):
    """A statement that DuckDB could not run, perhaps because of a damaged file."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What the workers may use: ``places`` at a time, ``memory`` in bytes and ``threads`` each.

    ``waiting`` more may wait for a place; one client never takes the last place if there is more than one.
    """

    places: int = 2
    waiting: int = 16
    memory: int = 1 << 30
    threads: int = 2


@dataclass
class Answer:
    """An answer under way: its columns (name, DuckDB type), and ``pieces`` of bytes in its form."""

    columns: list[tuple[str, str]]
    pieces: AsyncIterator[bytes]


@dataclass(eq=False)
class _Worker:
    """One process, ready or busy."""

    process: Process
    pipe: Pipe
    folder: tuple[int, int]  #: device and inode of the folder that it may read
    asked: int = 0
    confinement: Confinement = Confinement.NONE

    @classmethod
    async def start(cls, folder: Path, powers: WorkerLimits) -> _Worker:
        module = "mirror.services.sql.entry"
        there = await asyncio.to_thread(_made, folder)
        pipe = Pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", module, str(folder), str(powers.memory), str(powers.threads)),
                env=_environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=pipe.writing_end,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # ctrl-C in the daemon's terminal is for the daemon only
            )
        except BaseException:
            pipe.close()
            raise
        finally:
            pipe.given_away()
        worker = cls(process, pipe, there)
        try:
            async with asyncio.timeout(START):
                worker.confinement = Confinement((await pipe.frame()).document["confinement"])
        except BaseException:
            await worker.dismiss()
            raise
        return worker

    async def say(self, message: bytes) -> None:
        """Send a question, or what it needs. If the worker is dead, the next read shows it."""
        assert self.process.stdin is not None
        with suppress(ConnectionError):
            for at in range(0, len(message), _PIECE):
                self.process.stdin.write(message[at : at + _PIECE])
                await self.process.stdin.drain()

    def is_usable(self, folder: Path) -> bool:
        """True if it can be asked, and the folder that it may read still has the same name."""
        try:
            there = _identity(folder)
        except OSError:
            return False
        return self.process.returncode is None and self.asked < WORN and there == self.folder

    async def kill(self) -> None:
        """End it, whatever it is doing; whoever reads from it gets an error."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def dismiss(self) -> None:
        """End it once nobody reads from it."""
        try:
            await self.kill()
        finally:
            self.pipe.close()


def _made(folder: Path) -> tuple[int, int]:
    """The identity of a folder, created if need be: a worker could never read one that is created after its start."""
    folder.mkdir(parents=True, exist_ok=True)
    return _identity(folder)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _environment() -> dict[str, str]:
    """The environment of a worker: only what it needs of the daemon's, which may have passwords in it."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    here = str(Path(__file__).parents[3])  # -P leaves out the daemon's working folder
    modules = [here, *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    # OpenBLAS would start a thread per processor, and nothing here multiplies matrices.
    return {**kept, "PYTHONPATH": os.pathsep.join(modules), "OPENBLAS_NUM_THREADS": "1"}


async def _nothing(_: Missing) -> Supply:
    """What is supplied where nothing is."""
    return Supply()


class Unsupplied(Exception):
    """What a statement needs cannot be supplied, for this ``reason``.

    With ``call`` and ``position`` the reason is at that place of the record set of that call.
    """

    def __init__(self, reason: MirrorError, call: int | None = None, position: int = 0) -> None:
        self.reason = reason
        self.call = call
        self.position = position
        super().__init__(str(reason))


@asynccontextmanager
async def _reading() -> AsyncIterator[None]:
    """Limits the time in which the client must read an answer."""
    try:
        async with asyncio.timeout(READING):
            yield
    except TimeoutError:
        raise OutOfTime(f"the answer was not read in {READING:g} s; expected a faster reader") from None


@dataclass
class Workers:
    """Runs statements on the files below ``folder``."""

    folder: Path
    powers: WorkerLimits
    _spare: list[_Worker] = field(default_factory=list)
    _busy: set[_Worker] = field(default_factory=set)
    _clients: Counter[str] = field(default_factory=Counter)
    _waiting: int = 0
    _warming: asyncio.Lock = field(default_factory=asyncio.Lock)
    _freed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _replacing: asyncio.Future[None] | None = None
    _stopped: bool = False
    _confinement_logged: bool = False  #: whether the confinement of the processes was logged

    async def warm(self) -> None:
        """Have a worker ready, so that the next statement need not wait for one to start."""
        async with self._warming:
            if not self._spare and not self._busy:
                self._spare.append(await self._started())

    @asynccontextmanager
    async def run(
        self, question: Question, principal: str = "", supply: Callable[[Missing], Awaitable[Supply]] = _nothing
    ) -> AsyncIterator[Answer]:
        """The answer to a question of ``principal``, as it comes; leaving early ends the statement.

        ``supply`` gives the tables that it turns out to need; if it raises Unsupplied, its reason is raised. Raises
        BadRequest, Refused, OutOfTime, TooLarge or TooMany, also while the pieces are read.
        """
        async with self._place(principal), _reading():
            worker = await self._ready()
            self._busy.add(worker)
            talk = _WorkerSession(worker, question, supply)
            try:
                yield Answer(await talk.columns(), talk.pieces())
            finally:
                self._busy.discard(worker)
                if talk.over and worker.asked < WORN:
                    self._spare.append(worker)
                else:
                    await worker.dismiss()
                    self._replace()

    async def _ready(self) -> _Worker:
        async with self._warming:  # wait for one that is starting rather than start another
            while self._spare:
                worker = self._spare.pop()
                if worker.is_usable(self.folder):
                    return worker
                await worker.dismiss()
        return await self._started()

    async def _started(self) -> _Worker:
        worker = await _Worker.start(self.folder, self.powers)
        if not self._confinement_logged:
            self._confinement_logged = True
            if how := _CONFINED.get(worker.confinement):
                log.info("statements of SQL are confined by %s", how)
            else:
                log.warning("statements of SQL are not confined: %s", _NOT_CONFINED)
        return worker

    def _replace(self) -> None:
        """Start a worker in place of one that is gone, while nobody waits for it."""
        if not self._stopped and (self._replacing is None or self._replacing.done()):
            self._replacing = asyncio.ensure_future(self._replaced())

    async def _replaced(self) -> None:
        with suppress(OSError, EOFError, TimeoutError):  # the next statement gets the reason why none can be started
            async with self._warming:
                if not self._spare and len(self._busy) < self.powers.places:
                    self._spare.append(await self._started())

    def running(self) -> list[int]:
        """The process ids of the workers that have a statement."""
        return [worker.process.pid for worker in self._busy]

    async def stop(self) -> None:
        """End every worker, whatever it is doing."""
        self._stopped = True
        if self._replacing is not None:
            self._replacing.cancel()
            await asyncio.wait([self._replacing])
        spare, self._spare = self._spare, []
        await asyncio.gather(*(w.dismiss() for w in spare), *(w.kill() for w in self._busy))

    @asynccontextmanager
    async def _place(self, principal: str) -> AsyncIterator[None]:
        await self._enter(principal)
        try:
            yield
        finally:
            self._clients[principal] -= 1
            if not self._clients[principal]:
                del self._clients[principal]
            async with self._freed:
                self._freed.notify_all()

    async def _enter(self, principal: str) -> None:
        share = max(1, self.powers.places - 1)

        def free() -> bool:
            return self._clients.total() < self.powers.places and self._clients[principal] < share

        if not free():
            if self._waiting >= self.powers.waiting:
                raise TooMany(
                    f"{self._waiting} statements are waiting already; try again later"
                )
            self._waiting += 1
            try:
                async with self._freed:
                    await self._freed.wait_for(free)
            finally:
                self._waiting -= 1
        self._clients[principal] += 1


class _WorkerSession:
    """One question put to one worker."""

    def __init__(
        self, worker: _Worker, question: Question, supply: Callable[[Missing], Awaitable[Supply]]
    ) -> None:
        self._worker = worker
        self._pipe = worker.pipe
        self._question = question
        self._supply = supply
        self._left = question.limits.seconds
        self._unsupplied: Unsupplied | None = None
        self.over = False  #: the worker has sent everything, and is ready for another

    async def columns(self) -> list[tuple[str, str]]:
        """The columns, once they are known."""
        self._worker.asked += 1
        await self._timed(self._worker.say(self._question.to_bytes()))
        while True:
            kind, size = await self._timed(self._pipe.head())
            header = await self._document(kind, size)
            if kind is not Kind.MISSING:
                return [(name, kind) for name, kind in header["columns"]]
            await self._supplied(Missing.of(header))

    async def _supplied(self, missing: Missing) -> None:
        """Give the worker what it needs, or let it end. This does not count towards its time."""
        try:
            supply = await self._supply(missing)
        except Unsupplied as problem:
            self._unsupplied = problem
            place = None if problem.call is None else (problem.call, problem.position)
            supply = Supply(given_up=place is None, problem=place)
        message = await asyncio.to_thread(supply.to_bytes) if supply.views else supply.to_bytes()
        await self._timed(self._worker.say(message))

    async def pieces(self) -> AsyncIterator[bytes]:
        """The remaining pieces of the answer."""
        while True:
            kind, left = await self._timed(self._pipe.head())
            if kind is not Kind.DATA:
                await self._document(kind, left)
                return
            while left:
                yield (piece := await self._timed(self._pipe.some(left)))
                left -= len(piece)

    async def _document(self, kind: Kind, size: int) -> dict[str, Any]:
        """The content of a JSON frame; raises the error that it reports."""
        payload = Frame(kind, await self._timed(self._pipe.whole(size))).document
        self.over = kind in (Kind.END, Kind.FAILURE) and not payload["last"]
        if kind is Kind.FAILURE:
            raise self._problem(payload)
        return payload

    def _problem(self, payload: dict[str, Any]) -> MirrorError:
        """The error for a failure; the reason if something could not be supplied."""
        if payload["kind"] != "given up" or self._unsupplied is None:
            return _error(payload, self._question.sql)
        reason, position = self._unsupplied.reason, payload["position"]
        if not isinstance(reason, SyntaxProblem) or position is None:
            return reason
        text = self._question.sql
        return SyntaxProblem(reason.message, text=text, position=position, expected=reason.expected)

    async def _timed(self, reading: Awaitable[T]) -> T:
        """Read; time counts only while we wait for the worker, not while it waits for the reader."""
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
        """Why the worker is gone: the kernel refused it memory, or it crashed."""
        if -await self._worker.process.wait() in _CRASHES:
            return Unreadable("the statement crashed its process")
        return TooLarge("the statement needs more memory than it may have")


def _error(payload: dict[str, Any], sql: str) -> MirrorError:
    kind, message = payload["kind"], payload["message"]
    if kind == "unreadable":
        return Unreadable(message)
    if kind == "large":
        return TooLarge(message)
    if kind == "refused":
        return Refused(message)
    if "position" in payload:
        return SyntaxProblem(message, text=sql, position=payload["position"], expected=payload["expected"])
    return BadRequest(message)
