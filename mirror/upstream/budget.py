"""What may be asked of JSOC in an hour and in a day, and who waits when that is used up.

1. Everything that JSOC sends counts: the records of any answer, and all bytes. The periods always end now: the last
   hour for records, the last day for bytes.
2. Background work (fills, subscriptions, checks, the inbox) waits for its part of the budget, and continues by itself
   when enough of the use is old enough; priority decides who is next. The need is reserved before the request, so that
   many that start together do not exceed a limit together. A need larger than a quarter of a limit (MOST_AT_ONCE)
   goes when a quarter is free: otherwise people's questions, which always use a little, would keep it waiting for good.
3. People's small questions never wait and are never refused: SMALL_RECORDS records and SMALL_BYTES bytes for each
   question, PERSON_BYTES bytes a day for each person. What a question takes beyond that while a limit is used up is
   refused, with the time at which there will be more. An export is one question, and is tried again then.
4. A person who needs what is waiting raises its claim, which lets it go at once.
5. What waits here holds no connection, no place among the requests, and no memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from mirror.concurrency import Bounded
from mirror.errors import OverBudget
from mirror.storage.database.database import KeyedTable
from mirror.upstream.pacing import Claim, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from mirror.storage.database.database import Database

log = logging.getLogger(__name__)

HOUR, DAY = 3600.0, 86400.0
#: What a question may take although a limit is used up, and what all questions of one person may in a day.
SMALL_RECORDS, SMALL_BYTES, PERSON_BYTES = 10_000, 100_000_000, 5_000_000_000
#: People whose bytes are remembered.
MOST_PEOPLE = 1000
#: Parts of a period: use counts until its whole part is older than the period.
PARTS = 60
#: From FILE bytes on an answer without records is a file; FADES is the weight of earlier sizes after each new one.
FILE, FADES = 100_000, 0.9
#: The divisor of a limit: this part of it must be free for a larger need.
MOST_AT_ONCE = 4
#: Seconds after which waiters look at the clock again, since it may have been set.
LONGEST_NAP = 60.0


@dataclass(slots=True)
class _Question:
    """One request of a person, or of a job for one: how much it has taken from JSOC so far."""

    who: str
    records: int = 0
    bytes: int = 0


_question: ContextVar[_Question | None] = ContextVar("question", default=None)


@contextmanager
def asking(who: str) -> Iterator[None]:
    """Everything asked of JSOC while this is open, also by tasks that start meanwhile, is one question of ``who``."""
    token = _question.set(_Question(who))
    try:
        yield
    finally:
        _question.reset(token)


def person() -> str:
    """On whose behalf the current task asks JSOC; "" for the mirror itself."""
    question = _question.get()
    return "" if question is None else question.who


@dataclass(frozen=True, slots=True)
class Need:
    """Records and bytes that are used, wanted or allowed."""

    records: int = 0
    bytes: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(self.records + other.records, self.bytes + other.bytes)

    def __sub__(self, other: Need) -> Need:
        return Need(self.records - other.records, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Records per hour and bytes per day; None: any number."""

    records: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing more is asked for now, and until when, in Unix seconds."""

    why: str
    until: float

    def __str__(self) -> str:
        return (
            f"{self.why}; more is available from {datetime.fromtimestamp(self.until, UTC):%Y-%m-%d %H:%M} UTC on"
        )


class Period:
    """The use of the last ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._width = seconds / PARTS
        self._parts: dict[int, int] = {}
        self._others: dict[int, int] = {}  #: the same for other mirrors that share the budget
        self._sum = 0
        self._tidied: int | None = None  #: the part in which old parts were last removed

    def add(self, amount: int, now: float) -> None:
        """Add use now."""
        self._tidy(now)
        part = int(now // self._width)
        self._parts[part] = self._parts.get(part, 0) + amount
        self._sum += amount

    def used(self, now: float) -> int:
        """The use in the period that ends now."""
        self._tidy(now)
        return self._sum

    def until(self, most: int, now: float) -> float:
        """When no more than ``most`` will count, in Unix seconds; ``now`` if that is already so."""
        over, moment = self.used(now) - max(0, most), now
        for part, amount in sorted([*self._parts.items(), *self._others.items()]):
            if over <= 0:
                break
            over, moment = over - amount, self._ends(part)
        return moment

    def parts(self) -> list[tuple[int, int]]:
        """The use in the form that ``restore`` takes."""
        return sorted(self._parts.items())

    def restore(self, parts: Sequence[tuple[int, int]]) -> None:
        """Count the use from before a restart too."""
        for part, amount in parts:
            self._parts[part] = self._parts.get(part, 0) + amount
            self._sum += amount
        self._tidied = None

    def share(self, parts: Mapping[int, int]) -> None:
        """Count other mirrors' use too, in place of what was set before."""
        self._others, self._tidied = dict(parts), None

    def _ends(self, part: int) -> float:
        return (part + 1) * self._width + self.seconds

    def _tidy(self, now: float) -> None:
        current = int(now // self._width)
        if current == self._tidied:
            return
        ahead = sum(self._parts.pop(part) for part in [p for p in self._parts if p > current])
        if ahead:  # the clock was set back: the use counts all the same, as of now at the latest
            self._parts[current] = self._parts.get(current, 0) + ahead
        self._parts = {part: amount for part, amount in self._parts.items() if self._ends(part) > now}
        self._others = {part: amount for part, amount in self._others.items() if self._ends(part) > now}
        self._sum, self._tidied = sum(self._parts.values()) + sum(self._others.values()), current


@dataclass(eq=False, slots=True)
class _Waiting:
    claim: Claim
    arrival: int
    need: Need
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False


class _Queue:
    """Waiters for one thing: first the one with the highest priority that has waited longest.

    A fill of a series has thousands of chunks, so every operation takes about as long for many as for few.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Priority, int, _Waiting]] = []
        self.length = 0

    def add(self, waiting: _Waiting) -> None:
        """Add a waiter."""
        self.length += 1
        self.moved(waiting)

    def moved(self, waiting: _Waiting) -> None:
        """Move a waiter whose priority has risen."""
        heappush(self._heap, (waiting.claim.priority, waiting.arrival, waiting))

    def remove(self, waiting: _Waiting) -> None:
        """Remove a waiter."""
        waiting.gone = True
        self.length -= 1

    def first(self) -> _Waiting | None:
        """Whose turn is next."""
        while self._heap and self._heap[0][2].gone:
            heappop(self._heap)
        return self._heap[0][2] if self._heap else None


class Budget:
    """The budget towards JSOC; ``now`` gives Unix seconds."""

    def __init__(self, limits: BudgetLimits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._records, self._bytes = Period(HOUR), Period(DAY)
        self._reserved: dict[Claim, Need] = {}
        self._taken = Need()  #: the sum of what is reserved
        self._queues = (_Queue(), _Queue())  #: for records, and for files
        self._arrivals = 0
        self._typical = Need()  #: of recent large answers and large files
        self._people: Bounded[str, Period] = Bounded(MOST_PEOPLE)

    # ---- for those who ask ---------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(self, claim: Claim, need: Need | None = None) -> AsyncIterator[None]:
        """Wait until about ``need`` more may be asked for, and reserve it until the end of the ``async with``.

        Without ``need`` recent answers are the estimate. A claim that already has its turn does not wait.
        """
        if claim in self._reserved:
            yield
            return
        need = need or Need(self._typical.records, 0)
        if claim.priority > Priority.PEOPLE:
            await self._wait(claim, need)
        need = self._reserved[claim] = need if claim.priority > Priority.PEOPLE else Need()
        self._taken += need
        try:
            yield
        finally:
            del self._reserved[claim]
            self._taken -= need
            self.look()

    @property
    def file(self) -> Need:
        """The estimated need of a file."""
        return Need(0, max(1, self._typical.bytes))

    def check(self, claim: Claim) -> None:
        """Raise OverBudget for a person's question if a limit is used up and the question is not small."""
        question, now = _question.get(), self._now()
        if claim.priority > Priority.PEOPLE or question is None:
            return
        hold = self._hold(Need(1, 1))
        if hold is None:
            return
        small = question.records < SMALL_RECORDS and question.bytes < SMALL_BYTES
        person = self._people.get(question.who)
        if not small or (person is not None and person.used(now) >= PERSON_BYTES):
            raise OverBudget(f"{hold}. Cached data and small searches are still served", hold.until)

    def count(self, records: int, size: int, claim: Claim) -> None:
        """Count what JSOC sent for a claim."""
        now, typical, question = self._now(), self._typical, _question.get()
        spent = self._hold(Need(1, 1)) is not None
        self._records.add(records, now)
        self._bytes.add(size, now)
        if records:
            self._typical = Need(max(records, round(typical.records * FADES)), typical.bytes)
        elif size >= FILE:
            self._typical = Need(typical.records, max(size, round(typical.bytes * FADES)))
        if question is None or claim.priority > Priority.PEOPLE:
            return
        question.records += records
        question.bytes += size
        if spent and size:
            self._person(question.who).add(size, now)

    # ---- for those who look --------------------------------------------------------------------------

    def configure(self, limits: BudgetLimits) -> None:
        """Set the limits."""
        self._limits = limits
        self.look()

    def look(self) -> None:
        """Wake the next waiters, to look again."""
        for queue in self._queues:
            if (first := queue.first()) is not None:
                first.woken.set()

    def hold(self) -> Hold | None:
        """Why, and until when, background work is held back; None if it is not."""
        firsts = [first for queue in self._queues if (first := queue.first()) is not None]
        holds = [self._hold(need) for need in (self._typical, *(first.need for first in firsts))]
        return max((hold for hold in holds if hold is not None), key=lambda hold: hold.until, default=None)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(queue.length for queue in self._queues)

    @property
    def limits(self) -> BudgetLimits:
        """The limits in force."""
        return self._limits

    def used(self) -> Need:
        """The records used in the last hour, and the bytes used in the last day."""
        now = self._now()
        return Need(self._records.used(now), self._bytes.used(now))

    def spread(self, records: int, size: int) -> float:
        """Seconds over which the budget spreads such an amount; 0 if all of it may come at once."""
        now = self._now()
        waits = [0.0]
        for period, limit, amount in self._each(Need(records, size)):
            over = amount - max(0, limit - period.used(now))
            if amount and over > 0:
                waits.append(over / limit * period.seconds)
        return max(waits)

    # ---- over a restart ------------------------------------------------------------------------------

    def state(self) -> dict[str, list[tuple[int, int]]]:
        """The use, as plain JSON."""
        return {"records": self._records.parts(), "bytes": self._bytes.parts()}

    def restore(self, state: Mapping[str, Sequence[tuple[int, int]]]) -> None:
        """Count the use from before a restart too."""
        self._records.restore(state.get("records", ()))
        self._bytes.restore(state.get("bytes", ()))

    # ---- with other mirrors --------------------------------------------------------------------------

    def share(self, others: Mapping[str, Mapping[int, int]]) -> None:
        """Count other mirrors' use, in parts as ``state`` gives them, in place of what was set before."""
        self._records.share(others.get("records", {}))
        self._bytes.share(others.get("bytes", {}))
        self.look()

    # ---- inside --------------------------------------------------------------------------------------

    async def _wait(self, claim: Claim, need: Need) -> None:
        self._arrivals += 1
        waiting, queue = _Waiting(claim, self._arrivals, need), self._queues[need.bytes > 0]

        def risen() -> None:
            queue.moved(waiting)
            waiting.woken.set()

        queue.add(waiting)
        try:
            with claim.watched(risen):
                while claim.priority > Priority.PEOPLE:
                    first = queue.first() is waiting
                    if first and self._fits(need):
                        break
                    await self._nap(waiting, first=first)
        finally:
            queue.remove(waiting)
            self.look()

    async def _nap(self, waiting: _Waiting, *, first: bool) -> None:
        """Sleep until another look is worthwhile; those behind the first are woken when it has gone."""
        waiting.woken.clear()
        if not first:
            await waiting.woken.wait()
            return
        hold = self._hold(waiting.need)
        seconds = LONGEST_NAP if hold is None else min(LONGEST_NAP, max(1.0, hold.until - self._now()))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await waiting.woken.wait()

    def _each(self, need: Need) -> Iterator[tuple[Period, int, int]]:
        """The periods that have a limit, each with that and the amount needed."""
        for period, limit, amount in (
            (self._records, self._limits.records, need.records),
            (self._bytes, self._limits.bytes, need.bytes),
        ):
            if limit is not None:
                yield period, limit, amount

    def _fits(self, need: Need) -> bool:
        now, reserved = self._now(), self._taken
        return all(
            period.used(now) + held + _at_once(amount, limit) <= limit
            for (period, limit, amount), (_, _, held) in zip(
                self._each(need), self._each(reserved), strict=True
            )
        )

    def _hold(self, need: Need) -> Hold | None:
        """Why ``need`` may not be asked for now, apart from reservations."""
        now, holds = self._now(), []
        for period, limit, amount in self._each(need):
            until = period.until(limit - _at_once(amount, limit), now)
            if until > now:
                kind = "records in an hour" if period is self._records else "bytes in a day"
                why = f"the budget for JSOC is used up: {period.used(now):,} of {limit:,} {kind}"
                holds.append(Hold(why, until))
        return max(holds, key=lambda hold: hold.until, default=None)

    def _person(self, who: str) -> Period:
        period = self._people[who] = self._people.get(who) or Period(DAY)
        return period


def _at_once(amount: int, limit: int) -> int:
    """How much of a limit must be free for an amount: at least something, and never all."""
    return max(1, min(amount, limit // MOST_AT_ONCE))


# ---- what survives a restart -----------------------------------------------------------------------

#: The table of what was used of the budget, and the key of its one row.
BUDGET = "budget"


class BudgetMemory:
    """Writes down what was used, and reads it at the start; ``now`` gives Unix seconds."""

    def __init__(self, budget: Budget, database: Database, now: Callable[[], float]) -> None:
        self._budget = budget
        self._table = KeyedTable(database, BUDGET)
        self._now = now
        self._kept = ""

    async def recall(self) -> None:
        """Load what was used before the start."""
        found = await self._table.get(BUDGET)
        if found is None:
            return
        try:
            self._budget.restore(json.loads(found[0]))
        except (
            ValueError,
            TypeError,
            AttributeError,
        ) as problem:  # the used budget is no reason not to start
            log.warning("budget not recalled error=%s", problem)

    async def keep(self) -> None:
        """Store what has been used, if that has changed."""
        state = json.dumps(self._budget.state())
        if state != self._kept:
            await self._table.put(BUDGET, state, self._now())
            self._kept = state
