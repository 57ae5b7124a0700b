"""Manners towards JSOC: few requests at a time, people first, patience after failures.

Three parts, each usable alone: ``Turnstile`` says who goes next, ``Circuit`` (a value) whether to ask at
all, ``Retries`` (a value) how long to wait before asking again; ``Pacer`` puts them together. Clock,
sleep and randomness are passed in.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

from mirror.drms.errors import UpstreamBroken, UpstreamError, UpstreamUnreachable

T = TypeVar("T")


class Priority(IntEnum):
    """Who waits for the answer; the lower goes first."""

    PEOPLE = 0
    SUBSCRIPTION = 1


class Turnstile:
    """Lets ``places`` through at a time; of those who wait the first of the highest priority is next."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._places = places
        self._arrivals = 0
        self._queue: list[tuple[Priority, int, asyncio.Future[None]]] = []

    @property
    def inside(self) -> int:
        """How many are through and have not left."""
        return self._places - self._free

    @property
    def waiting(self) -> int:
        """How many wait, without those who gave up."""
        return sum(not turn.done() for _, _, turn in self._queue)

    @asynccontextmanager
    async def turn(self, priority: Priority = Priority.PEOPLE) -> AsyncIterator[None]:
        """Waits for a place, and holds it until the end of the ``async with``."""
        await self._enter(priority)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, priority: Priority) -> None:
        if self._free:  # then nobody waits: a place that gets free goes straight to the next in the queue
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._queue, (priority, self._arrivals, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the place came in the moment in which its taker gave up
                self._leave()
            raise

    def _leave(self) -> None:
        while self._queue:
            turn = heapq.heappop(self._queue)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


@dataclass(frozen=True, slots=True)
class Circuit:
    """Whether upstream is worth asking. Times are seconds of one clock.

    Closed at first. ``threshold`` failures in a row open it: nobody asks for ``first_pause``. Then one
    request goes through as a probe, and the others wait for its outcome as if the circuit were open. If it
    succeeds the circuit closes; if it fails the pause doubles, up to ``longest_pause``.
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
        """After ``admits``, when a request is made: if the circuit is open it is the probe."""
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
        """After a request whose outcome nobody waited for: the next one may be the probe."""
        return replace(self, probing=False)

    def pause(self, failures: int) -> float:
        """Seconds to leave upstream alone after so many failures in a row, at least ``threshold``."""
        doublings = min(failures - self.threshold, 30)  # enough for any pause, and no overflow
        return float(min(self.longest_pause, self.first_pause * 2**doublings))


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to ask again, and when: at most ``attempts`` in all, none later than ``patience`` seconds.

    Before the n-th repetition (from 1) one waits a random part of ``first_delay * 2**(n - 1)``, so that
    those who failed together do not come back together.
    """

    attempts: int = 3
    patience: float = 30.0
    first_delay: float = 1.0
    longest_delay: float = 30.0

    def delay(self, repetition: int, chance: float) -> float:
        """Seconds to wait before a repetition; ``chance`` is evenly spread over 0 to 1."""
        return chance * min(self.longest_delay, self.first_delay * 2.0 ** (repetition - 1))

    def allow(self, repetition: int, elapsed: float) -> bool:
        """True if the n-th repetition may begin ``elapsed`` seconds after the first attempt did."""
        return repetition < self.attempts and elapsed <= self.patience


@dataclass(frozen=True, slots=True)
class Pace:
    """How a pacer stands: for status pages. ``open_for`` is the rest of the pause in seconds, 0 if closed."""

    running: int
    waiting: int
    failures: int
    open_for: float


class Pacer:
    """Runs requests to upstream: ``places`` at a time, repeated after failures, none while it is down.

    ``clock`` gives seconds that never go back, ``sleep`` waits for seconds, ``chance`` gives 0 to 1.
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
        self._turnstile = Turnstile(places)
        self._retries = retries or Retries()
        self._circuit = circuit or Circuit()
        self._clock, self._sleep, self._chance = clock, sleep, chance

    def pace(self) -> Pace:
        """How things stand now."""
        until = self._circuit.open_until
        rest = 0.0 if until is None else max(0.0, until - self._clock())
        return Pace(self._turnstile.inside, self._turnstile.waiting, self._circuit.failures, rest)

    def turn(self, priority: Priority = Priority.PEOPLE) -> AbstractAsyncContextManager[None]:
        """A place among the requests, for one that is neither repeated nor watched."""
        return self._turnstile.turn(priority)

    async def run(self, request: Callable[[], Awaitable[T]], priority: Priority = Priority.PEOPLE) -> T:
        """What ``request()`` gives, when its turn has come.

        UpstreamUnreachable and UpstreamBroken are repeated with growing delays and raised in the end;
        only the former open the circuit. While it is open, UpstreamUnreachable is raised at once.
        """
        began = self._clock()
        repetition = 0
        while True:
            try:
                return await self._once(request, priority)
            except (UpstreamUnreachable, UpstreamBroken):
                repetition += 1
                again = self._circuit.admits(self._clock())
                if not (again and self._retries.allow(repetition, self._clock() - began)):
                    raise
            await self._sleep(self._retries.delay(repetition, self._chance()))

    async def _once(self, request: Callable[[], Awaitable[T]], priority: Priority) -> T:
        self._check()  # before waiting for a turn, so that nobody queues in vain
        async with self._turnstile.turn(priority):
            self._check()  # and after it: those ahead may have found out
            self._circuit = self._circuit.asked()
            return await self._watched(request)

    def _check(self) -> None:
        if not self._circuit.admits(self._clock()):
            rest = self.pace().open_for
            raise UpstreamUnreachable(
                f"upstream has not answered {self._circuit.failures} times in a row; next try in {rest:.0f} s"
            )

    async def _watched(self, request: Callable[[], Awaitable[T]]) -> T:
        """One request, whose outcome the circuit learns."""
        try:
            answer = await request()
        except UpstreamUnreachable:
            self._circuit = self._circuit.failed(self._clock())
            raise
        except UpstreamError:  # an answer, if a bad one: upstream is there
            self._circuit = self._circuit.succeeded()
            raise
        except BaseException:
            self._circuit = self._circuit.abandoned()
            raise
        self._circuit = self._circuit.succeeded()
        return answer
