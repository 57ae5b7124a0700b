"""What may be asked of JSOC in an hour and in a day, and who waits when that is used up.

1. Everything that JSOC sends counts: the records of any answer, and all bytes. The periods are those that end
   now: an hour of records, a day of bytes, whenever one looks.
2. What nobody waits for (fills, subscriptions, checks, the inbox) waits for its part of the budget, and goes on by
   itself when enough of what was used is old enough. Among those that wait the priority decides. What is wanted
   is reserved before it is asked for, so that many that begin together do not exceed a limit together. What is
   larger than a quarter of a limit (MOST_AT_ONCE) goes when a quarter is free: people's questions, which always
   use a little, would otherwise keep it waiting for good.
3. People's small questions never wait and are never refused: SMALL_RECORDS records and SMALL_BYTES bytes of each
   question, and of each person PERSON_BYTES bytes in a day. What a question takes beyond that while a limit is used
   up is refused, with the moment from which on there is more. An export is one question, and is tried again then.
4. Whoever needs what is waiting raises its claim, and that lets it go at once.
5. What waits here holds no connection, no place among the requests, and no room in memory.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from mirror.bounded import Bounded
from mirror.errors import OverBudget
from mirror.upstream.pacing import Claim, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

HOUR, DAY = 3600.0, 86400.0
#: What a question may take although a limit is used up, and what all questions of one person may in a day.
SMALL_RECORDS, SMALL_BYTES, PERSON_BYTES = 10_000, 100_000_000, 5_000_000_000
#: People whose bytes are remembered.
MOST_PEOPLE = 1000
#: Parts of a period: what was used counts until all of its part is older than the period.
PARTS = 60
#: Bytes from which on something without records is a file, and what an earlier size counts still after another.
FILE, FADES = 100_000, 0.9
#: The part of a limit that has to be free for what is larger than that.
MOST_AT_ONCE = 4
#: Seconds after which whoever waits looks at the clock again, which may have been set.
LONGEST_NAP = 60.0


@dataclass(slots=True)
class _Question:
    """What a person, or a job for one, asks for in one request: how much it has taken of JSOC so far."""

    who: str
    records: int = 0
    bytes: int = 0


_question: ContextVar[_Question | None] = ContextVar("question", default=None)


@contextmanager
def asking(who: str) -> Iterator[None]:
    """What is asked of JSOC while this is open, also in tasks that begin meanwhile, is one question of ``who``."""
    token = _question.set(_Question(who))
    try:
        yield
    finally:
        _question.reset(token)


def person() -> str:
    """For whom what runs here and now asks JSOC; "" for the mirror itself."""
    question = _question.get()
    return "" if question is None else question.who


@dataclass(frozen=True, slots=True)
class Need:
    """Records and bytes: what is used, wanted or allowed."""

    records: int = 0
    bytes: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(self.records + other.records, self.bytes + other.bytes)

    def __sub__(self, other: Need) -> Need:
        return Need(self.records - other.records, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Records in an hour and bytes in a day; None: any number."""

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
    """How much there was in the last ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._width = seconds / PARTS
        self._parts: dict[int, int] = {}
        self._others: dict[int, int] = {}  #: the same of other mirrors, which have the budget together with this one
        self._sum = 0
        self._tidied: int | None = None  #: the part in which that was last done

    def add(self, amount: int, now: float) -> None:
        """There was so much more now."""
        self._tidy(now)
        part = int(now // self._width)
        self._parts[part] = self._parts.get(part, 0) + amount
        self._sum += amount

    def used(self, now: float) -> int:
        """How much there was in the period that ends now."""
        self._tidy(now)
        return self._sum

    def until(self, most: int, now: float) -> float:
        """From when on no more than ``most`` counts, in Unix seconds; ``now`` if that is so already."""
        over, moment = self.used(now) - max(0, most), now
        for part, amount in sorted([*self._parts.items(), *self._others.items()]):
            if over <= 0:
                break
            over, moment = over - amount, self._ends(part)
        return moment

    def parts(self) -> list[tuple[int, int]]:
        """What ``restore`` takes."""
        return sorted(self._parts.items())

    def restore(self, parts: Sequence[tuple[int, int]]) -> None:
        """What there was before a restart counts too."""
        for part, amount in parts:
            self._parts[part] = self._parts.get(part, 0) + amount
            self._sum += amount
        self._tidied = None

    def share(self, parts: Mapping[int, int]) -> None:
        """What other mirrors used counts too; in place of what was said before."""
        self._others, self._tidied = dict(parts), None

    def _ends(self, part: int) -> float:
        return (part + 1) * self._width + self.seconds

    def _tidy(self, now: float) -> None:
        current = int(now // self._width)
        if current == self._tidied:
            return
        ahead = sum(self._parts.pop(part) for part in [p for p in self._parts if p > current])
        if ahead:  # the clock was set back: it was used all the same, at the latest now
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
    """Those that wait for one thing; the first is that of the highest priority which has waited for longest.

    A fill of a series has thousands of chunks, so everything here takes about as long for many as for few.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Priority, int, _Waiting]] = []
        self.length = 0

    def add(self, waiting: _Waiting) -> None:
        """One more waits."""
        self.length += 1
        self.moved(waiting)

    def moved(self, waiting: _Waiting) -> None:
        """The priority of one that waits has risen."""
        heappush(self._heap, (waiting.claim.priority, waiting.arrival, waiting))

    def remove(self, waiting: _Waiting) -> None:
        """One does not wait any more."""
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
        self._typical = Need()  #: a large answer, a large file, as they came last
        self._people: Bounded[str, Period] = Bounded(MOST_PEOPLE)

    # ---- for those who ask ---------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(self, claim: Claim, need: Need | None = None) -> AsyncIterator[None]:
        """Waits until about so much more may be asked for, and reserves it until the end of the ``async with``.

        Without ``need`` it is taken to be what the last one was. A claim that has its turn already does not wait.
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
        """What a file is taken to need."""
        return Need(0, max(1, self._typical.bytes))

    def check(self, claim: Claim) -> None:
        """OverBudget for what a person asks for, if a limit is used up and the question is not a small one."""
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
        """JSOC sent so much for a claim."""
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
        """Other limits hold from now on."""
        self._limits = limits
        self.look()

    def look(self) -> None:
        """Have those look again whose turn is next."""
        for queue in self._queues:
            if (first := queue.first()) is not None:
                first.woken.set()

    def hold(self) -> Hold | None:
        """Why and until when nothing is asked for that nobody waits for; None if it is."""
        firsts = [first for queue in self._queues if (first := queue.first()) is not None]
        holds = [self._hold(need) for need in (self._typical, *(first.need for first in firsts))]
        return max((hold for hold in holds if hold is not None), key=lambda hold: hold.until, default=None)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(queue.length for queue in self._queues)

    @property
    def limits(self) -> BudgetLimits:
        """The limits that hold."""
        return self._limits

    def used(self) -> Need:
        """What was used in the last hour, and in the last day."""
        now = self._now()
        return Need(self._records.used(now), self._bytes.used(now))

    def spread(self, records: int, size: int) -> float:
        """Seconds over which the budget spreads so much; 0 if all of it may come at once."""
        now = self._now()
        waits = [0.0]
        for period, limit, amount in self._each(Need(records, size)):
            over = amount - max(0, limit - period.used(now))
            if amount and over > 0:
                waits.append(over / limit * period.seconds)
        return max(waits)

    # ---- over a restart ------------------------------------------------------------------------------

    def state(self) -> dict[str, list[tuple[int, int]]]:
        """What was used, as plain JSON."""
        return {"records": self._records.parts(), "bytes": self._bytes.parts()}

    def restore(self, state: Mapping[str, Sequence[tuple[int, int]]]) -> None:
        """What was used before a restart counts too."""
        self._records.restore(state.get("records", ()))
        self._bytes.restore(state.get("bytes", ()))

    # ---- with other mirrors --------------------------------------------------------------------------

    def share(self, others: Mapping[str, Mapping[int, int]]) -> None:
        """What other mirrors used, as the parts that ``state`` gives, in place of what was said before."""
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
        """Until it is worth another look; those behind the first are woken when that has gone."""
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
        """The periods that have a limit, with it and with an amount."""
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
        """Why so much may not be asked for now, whatever is reserved."""
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
    """What has to be free of a limit for so much: something of it, and not all."""
    return max(1, min(amount, limit // MOST_AT_ONCE))
