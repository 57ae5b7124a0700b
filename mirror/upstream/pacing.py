"""Paces requests to JSOC: few at a time, people first, with pauses after failures.

Three parts, each usable alone: ``Turnstile`` says who goes next, ``Circuit`` (a value) whether to ask at
all, ``Retries`` (a value) how long to wait before asking again; ``Pacer`` puts them together. Clock,
sleep and randomness are passed in. ``Rates`` learns how fast JSOC sends.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from mirror.errors import ClusterAway, UpstreamBroken, UpstreamError, UpstreamUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.upstream.client import Exchange

T = TypeVar("T")


class Priority(IntEnum):
    """Who waits for the answer; the lowest goes first."""

    PEOPLE = 0
    SOON = 1  #: a subscription that goes before the others
    SUBSCRIPTION = 2
    SPARE = 3  #: a subscription that waits for all others


_attended: ContextVar[bool] = ContextVar("attended", default=True)


@contextmanager
def unattended() -> Iterator[None]:
    """While this is open nobody waits: claims with the priority of people get that of a subscription."""
    token = _attended.set(False)
    try:
        yield
    finally:
        _attended.reset(token)


def _of_whom(priority: Priority) -> Priority:
    return Priority.SUBSCRIPTION if priority is Priority.PEOPLE and not _attended.get() else priority


class Claim:
    """A request for a turn, whose priority may rise while it waits, when somebody else wants the same thing."""

    def __init__(self, priority: Priority = Priority.PEOPLE) -> None:
        self.priority = _of_whom(priority)
        self._watchers: list[Callable[[], None]] = []

    def raise_to(self, priority: Priority) -> None:
        """Wait no longer than ``priority`` would; never lowers it."""
        priority = _of_whom(priority)
        if priority < self.priority:
            self.priority = priority
            for tell in tuple(self._watchers):
                tell()

    @contextmanager
    def watched(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call ``tell`` when the priority rises, until the end of the ``with``."""
        self._watchers.append(tell)
        try:
            yield
        finally:
            self._watchers.remove(tell)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A waiter: its claim, when it came, and what to do when its turn has come."""

    claim: Claim
    arrival: int
    turn: asyncio.Future[None]

    def rank(self) -> tuple[Priority, int]:
        return self.claim.priority, self.arrival


class Turnstile:
    """Lets ``places`` through at a time; next is the waiter with the highest priority who came first.

    ``kept`` places stay free for people: nobody else takes the last ones, so that a person does not wait until a
    subscription's request has been answered.
    """

    def __init__(self, places: int, *, kept: int = 0) -> None:
        self._free = places
        self._places = places
        self._kept = kept
        self._arrivals = 0
        self._queue: list[_Waiting] = []

    @property
    def inside(self) -> int:
        """How many are through and have not left."""
        return self._places - self._free

    @property
    def waiting(self) -> int:
        """How many wait, without those who gave up."""
        return sum(not waiting.turn.done() for waiting in self._queue)

    @asynccontextmanager
    async def turn(self, priority: Priority | Claim = Priority.PEOPLE) -> AsyncIterator[None]:
        """Wait for a place, and hold it until the end of the ``async with``."""
        await self._enter(priority if isinstance(priority, Claim) else Claim(priority))
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, claim: Claim) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        waiting = _Waiting(claim, self._arrivals, turn)
        self._queue.append(waiting)
        self._let_in()
        try:
            with claim.watched(self._let_in):
                await turn
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
            elif not turn.cancelled():  # the place came just when its waiter gave up
                self._leave()
            raise

    def _leave(self) -> None:
        self._free += 1
        self._let_in()

    def _let_in(self) -> None:
        """Give free places to the next waiters."""
        while self._queue:
            first = min(self._queue, key=_Waiting.rank)
            if not first.turn.done():
                if self._free <= (self._kept if first.claim.priority > Priority.PEOPLE else 0):
                    return
                self._free -= 1
                first.turn.set_result(None)
            self._queue.remove(first)


@dataclass(frozen=True, slots=True)
class Circuit:
    """Whether asking upstream is worthwhile. Times are seconds of one clock.

    Closed at first. ``threshold`` failures in a row open it: nobody asks for ``first_pause``. Then one request
    goes through as a probe, while for others the circuit is still open. If the probe succeeds the circuit closes;
    if it fails the pause doubles, up to ``longest_pause``.
    """

    threshold: int = 5
    first_pause: float = 5.0
    longest_pause: float = 300.0
    failures: int = 0  #: in a row, up to now
    open_until: float | None = None  #: None while closed
    probing: bool = False

    def admits(self, now: float) -> bool:
        """True if a request may be made."""
        return self.open_until is None or (now >= self.open_until and not self.probing)

    def asked(self) -> Circuit:
        """When a request is made after ``admits``; if the circuit is open, it is the probe."""
        return replace(self, probing=self.open_until is not None)

    def succeeded(self) -> Circuit:
        """After an answer, whatever it says."""
        return replace(self, failures=0, open_until=None, probing=False)

    def failed(self, now: float) -> Circuit:
        """After no answer."""
        failures = self.failures + 1
        if failures < self.threshold:
            return replace(self, failures=failures, probing=False)
        return replace(self, failures=failures, probing=False, open_until=now + self.pause(failures))

    def abandoned(self) -> Circuit:
        """After a request whose outcome is unknown, since nobody waited for it: the next one may be the probe."""
        return replace(self, probing=False)

    def pause(self, failures: int) -> float:
        """Seconds to leave upstream alone after ``failures`` in a row, which are at least ``threshold``."""
        doublings = min(failures - self.threshold, 30)  # enough for any pause, and no overflow
        return float(min(self.longest_pause, self.first_pause * 2**doublings))


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to ask again, and when: at most ``attempts`` in all, none after ``patience`` seconds.

    The pause before the n-th repetition (from 1) is a random part of ``first_delay * 2**(n - 1)``, so that requests
    that failed together do not come back together.
    """

    attempts: int = 3
    patience: float = 30.0
    first_delay: float = 1.0
    longest_delay: float = 30.0

    def delay(self, repetition: int, chance: float) -> float:
        """Seconds to wait before a repetition; ``chance`` is uniform between 0 and 1."""
        return chance * min(self.longest_delay, self.first_delay * 2.0 ** (repetition - 1))

    def allow(self, repetition: int, elapsed: float) -> bool:
        """True if the n-th repetition may begin ``elapsed`` seconds after the first attempt did."""
        return repetition < self.attempts and elapsed <= self.patience


@dataclass(frozen=True, slots=True)
class Pace:
    """The state of a pacer, for status pages. ``open_for`` is the rest of the pause in seconds, 0 if closed."""

    running: int
    waiting: int
    failures: int
    open_for: float


class Pacer:
    """Runs requests to upstream: ``places`` at a time, repeated after failures, none while it is down.

    ``clock`` is monotonic, in seconds, ``sleep`` waits for seconds, ``chance`` gives 0 to 1.
    """

    def __init__(
        self,
        places: int = 2,
        *,
        retries: Retries | None = None,
        circuit: Circuit | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._turnstile = Turnstile(places, kept=int(places > 1))
        self._retries = retries or Retries()
        self._circuit = circuit or Circuit()
        self._clock, self._sleep, self._chance = clock, sleep, chance

    def pace(self) -> Pace:
        """The present state."""
        until = self._circuit.open_until
        rest = 0.0 if until is None else max(0.0, until - self._clock())
        return Pace(self._turnstile.inside, self._turnstile.waiting, self._circuit.failures, rest)

    def turn(self, priority: Priority | Claim = Priority.PEOPLE) -> AbstractAsyncContextManager[None]:
        """A place among the requests, for one that is neither repeated nor watched."""
        return self._turnstile.turn(priority)

    async def run(self, request: Callable[[], Awaitable[T]], priority: Priority | Claim = Priority.PEOPLE) -> T:
        """The result of ``request()``, called when its turn has come.

        UpstreamUnreachable and UpstreamBroken are repeated with growing delays and raised in the end;
        only the former open the circuit. While it is open, UpstreamUnreachable is raised at once.
        """
        began = self._clock()
        repetition = 0
        while True:
            try:
                return await self._once(request, priority)
            except ClusterAway:
                raise
            except (UpstreamUnreachable, UpstreamBroken):
                repetition += 1
                again = self._circuit.admits(self._clock())
                if not (again and self._retries.allow(repetition, self._clock() - began)):
                    raise
            await self._sleep(self._retries.delay(repetition, self._chance()))

    async def _once(self, request: Callable[[], Awaitable[T]], priority: Priority | Claim) -> T:
        self._check()  # before waiting for a turn, so that nobody queues in vain
        async with self._turnstile.turn(priority):
            self._check()  # and after it: those ahead may have failed
            self._circuit = self._circuit.asked()
            return await self._watched(request)

    def _check(self) -> None:
        if not self._circuit.admits(self._clock()):
            rest = self.pace().open_for
            raise UpstreamUnreachable(
                f"JSOC is not responding; retrying in {rest:.0f} s"
            )

    async def _watched(self, request: Callable[[], Awaitable[T]]) -> T:
        """One request, whose outcome is reported to the circuit."""
        try:
            answer = await request()
        except ClusterAway:  # upstream was not asked
            self._circuit = self._circuit.abandoned()
            raise
        except UpstreamUnreachable:
            self._circuit = self._circuit.failed(self._clock())
            raise
        except UpstreamError:  # a bad answer is still an answer: upstream is there
            self._circuit = self._circuit.succeeded()
            raise
        except BaseException:
            self._circuit = self._circuit.abandoned()
            raise
        self._circuit = self._circuit.succeeded()
        return answer


# ---- how fast JSOC sends ---------------------------------------------------------------------------
# Measured on ordinary requests.

#: Answers of fewer records measure the time to begin rather than the rate.
FEWEST = 100
#: The weight of an earlier exchange after each later one.
DECAY = 0.9
#: The rates until something is measured: those of a slow day at JSOC.
RECORDS_PER_SECOND, BYTES_PER_SECOND, SECONDS_PER_FILE = 500.0, 5e6, 5.0


@dataclass(slots=True)
class _Sum:
    """Amounts and the seconds they took; what is older counts less."""

    amount: float = 0.0
    number: float = 0.0
    seconds: float = 0.0

    def add(self, amount: float, seconds: float) -> None:
        self.amount = self.amount * DECAY + amount
        self.number = self.number * DECAY + 1
        self.seconds = self.seconds * DECAY + seconds


class Rates:
    """The rates of records and of files since the start, the latest exchanges counting most."""

    def __init__(self) -> None:
        self._records, self._files = _Sum(), _Sum()

    def count_exchange(self, exchange: Exchange) -> None:
        """Learn from one exchange, if it is large enough."""
        if exchange.outcome != "ok" or exchange.seconds <= 0:
            return
        if exchange.program == "file" and exchange.bytes:
            self._files.add(exchange.bytes, exchange.seconds)
        elif exchange.records >= FEWEST:
            self._records.add(exchange.records, exchange.seconds)

    @property
    def measured(self) -> tuple[bool, bool]:
        """Whether the rate of records, and that of files, were measured."""
        return self._records.seconds > 0, self._files.seconds > 0

    def for_records(self, records: int) -> float:
        """Seconds that so many records take, one request after the other."""
        known = self._records
        return records / (known.amount / known.seconds if known.seconds else RECORDS_PER_SECOND)

    def for_files(self, files: int, size: int | None) -> float:
        """Seconds that so many files of ``size`` bytes in all take, one after the other; None: of unknown size."""
        known = self._files
        if size is None:
            return files * (known.seconds / known.number if known.seconds else SECONDS_PER_FILE)
        return size / (known.amount / known.seconds if known.seconds else BYTES_PER_SECOND)
