"""One subscription at work: looks for new data, fetches records and files, in small steps, newest first.

Each step determines from the index what is missing, so an interrupted step is simply repeated, and nothing that is
cached is fetched twice. All requests upstream wait behind people's.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING

from mirror.concurrency import nap
from mirror.drms.times import from_datetime
from mirror.errors import ClusterAway, MirrorError, NotHeld
from mirror.humanize import stamp
from mirror.readthrough.shared import Alone
from mirror.redaction import redacted
from mirror.services.search.names import newest
from mirror.services.subscriptions.files import Batch, Spared, SyncFiles
from mirror.services.subscriptions.holdings import Memory, SubscriptionHoldings
from mirror.services.subscriptions.scope import PRIORITIES, Target, edges, looking, next_piece, pause, target
from mirror.upstream.pacing import unattended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.config.loading import Subscription
    from mirror.readthrough.filler import Filler
    from mirror.readthrough.policy import Rules
    from mirror.readthrough.shared import Shared
    from mirror.readthrough.structures import Catalogue
    from mirror.services.subscriptions.scope import NextFetch
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index
    from mirror.upstream.budget import Budget

log = logging.getLogger(__name__)

#: Seconds until an offline mirror checks again whether it is offline.
OFFLINE = 30.0
#: Seconds after which a worker reads the clock again, which may have been set.
LONGEST_NAP = 600.0
#: Why a worker of a cluster rests, and seconds until it checks whether the cluster can be reached again.
ELSEWHERE, AWAY = "another server of the cluster works on it", 2.0
#: Share of the quota that subscriptions may fill: their files are not evicted, and people need room too.
SHARE = 0.8
#: The weight of the last batch in the rate of files.
NEW_PART = 0.3


@dataclass(frozen=True)
class WorkerParts:
    """What workers use; ``sleep`` waits for seconds, ``chance`` gives 0 to 1."""

    index: Index
    catalogue: Catalogue
    filler: Filler
    files: SyncFiles
    standing: SubscriptionHoldings
    blobs: Blobs
    rules: Rules
    budget: Budget
    sleep: Callable[[float], Awaitable[object]]
    chance: Callable[[], float]
    shared: Shared = field(default_factory=Alone)


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do for so many seconds, and why; "" if everything is done."""

    seconds: float
    why: str = ""
    budget: bool = False  #: because the budget towards JSOC is used up


@dataclass
class State:
    """The state of a worker. ``passes`` counts its rests, ``rate`` is in bytes of files a second."""

    resting: Rest | None = None
    passes: int = 0
    problem: str = ""
    failures: int = 0
    rate: float = 0.0


class Worker:
    """Runs one subscription; ``run`` goes on for good, ``step`` is one step of it."""

    def __init__(self, subscription: Subscription, parts: WorkerParts) -> None:
        self.subscription = subscription
        self.state = State()
        self.spared = Spared()
        self.target: Target | None = None
        self.memory: Memory | None = None
        self._parts = parts
        self._priority = PRIORITIES[subscription.priority]
        self._asked = False
        self._last: NextFetch | None = None
        self._under_way = 0  #: files that are being fetched
        self._pinned = 0  #: bytes that all subscriptions pinned at the last look
        self._came_since = 0
        self._wake = asyncio.Event()

    # ---- for whoever runs it -----------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled. Of several mirrors that share, one runs a subscription; if it is gone, another does."""
        while True:
            self.state.resting = Rest(0.0, ELSEWHERE)
            try:
                async with self._parts.shared.slot(f"subscription {self.subscription.identity.lower()}", self._priority):
                    self.state.resting = None
                    await self._work()
            except ClusterAway:
                await self._parts.sleep(AWAY)

    @property
    def is_elsewhere(self) -> bool:
        """True while another mirror runs it, or that cannot be determined."""
        return self.state.resting is not None and self.state.resting.why == ELSEWHERE

    async def _work(self) -> None:
        while True:
            rest = await self.until_rest()
            await nap(self._parts.sleep, min(rest.seconds, LONGEST_NAP), self._wake)

    async def until_rest(self) -> Rest:
        """Work until there is nothing to do for a while."""
        self.state.resting = None
        while True:
            with unattended():
                rest = await self._guarded()
            if rest is not None and not self._asked:
                self.state.resting = rest
                self.state.passes += 1
                return rest

    def look_now(self) -> None:
        """Look for new data at once, whenever the next look would be."""
        self._asked = True
        self.state.failures = 0
        self._wake.set()

    def try_now(self) -> None:
        """Continue at once if it rests after a failure, or because the budget towards JSOC was used up."""
        if self.state.failures or (self.state.resting is not None and self.state.resting.budget):
            self._wake.set()

    @property
    def next_look(self) -> float:
        """When the next look is due, in Unix seconds."""
        return (self.memory.looked if self.memory else 0.0) + self.subscription.every

    # ---- steps -----------------------------------------------------------------------------------

    async def _guarded(self) -> Rest | None:
        """A step; an error is a reason to rest, longer each time."""
        try:
            rest = await self.step()
        except MirrorError as problem:
            return self._failed(str(problem))
        except Exception:
            log.exception("subscription failed name=%s", self.subscription.identity)
            return self._failed("internal error in this subscription; see the mirror's log")
        self.state.failures, self.state.problem = 0, ""
        return rest

    def _failed(self, problem: str) -> Rest:
        state, problem = self.state, redacted(problem)
        if problem != state.problem:  # log it once, however often it is repeated
            log.warning("subscription waits name=%s error=%s", self.subscription.identity, problem)
        self._asked = False
        state.failures, state.problem = state.failures + 1, problem
        return Rest(pause(state.failures, self._parts.chance()), "retrying after a failure")

    async def step(self) -> Rest | None:
        """One look, one piece of records and one batch of files; a rest if there is nothing to do now."""
        if self.memory is None:
            self.memory = await self._parts.standing.remembered(self.subscription.identity)
        if rest := self._must_wait():
            self._asked = False
            return rest
        if self.target is None or self._asked or not self.memory.looked <= self._now() < self.next_look:
            await self._look()
        if self.target is None:
            return Rest(self._until_look(), "the window is empty")
        more = await self._records(self.target)
        more = await self._files(self.target) or more
        if more:
            return None
        if wait := self._budget_wait():
            return Rest(wait, f"budget used up until {stamp(self._now() + wait)}")
        full = self.target.scope.files is not None and self._full()
        if full:
            return Rest(self._until_look(), f"subscriptions use {SHARE:.0%} of the quota")
        return Rest(self._until_look(), await self._nothing_yet(self.target))

    async def _nothing_yet(self, found: Target) -> str:
        """The text for a window in which JSOC has no record so far; "" if there is one."""
        if await self._parts.standing.newest(found.scope.records) is not None:
            return ""
        last = newest(found.series)
        return f"no data yet; the newest record is {last}" if last else "no data yet"

    def _must_wait(self) -> Rest | None:
        if not self._parts.rules.may_ask:
            return Rest(OFFLINE, "the mirror is offline")
        hours = self.subscription.hours
        moment = self._parts.rules.now()
        wait = 0.0 if hours is None else hours.wait(moment.astimezone(UTC if hours.utc else None))
        if wait > 0:
            return Rest(wait, f"works {hours}")
        hold = self._parts.budget.hold()
        return None if hold is None else Rest(hold.until - self._now(), str(hold), budget=True)

    async def _look(self) -> None:
        """Determine the current window and new records at its end; release what has left it."""
        parts, subscription = self._parts, self.subscription
        self._asked, self._last = False, None
        series = await parts.catalogue.series(subscription.series)
        self.target = found = target(subscription, series, from_datetime(parts.rules.now()))
        if found is not None:
            last = await parts.standing.newest(found.scope.records)
            coverage, freshness = (
                parts.index.coverage(series),
                looking(parts.rules.freshness(series), subscription.every),
            )
            new = [old for box in edges(found.boxes, last) for old in coverage.stale(box, freshness)]
            if new:
                await parts.filler.fill(series, (), new, self._priority, freshness)
            await self._settle(found)
        await self._remember(looked=self._now())

    async def _records(self, found: Target) -> bool:
        """Fetch or check the newest piece of records that needs it; False if none does."""
        parts, series = self._parts, found.series
        coverage, freshness = parts.index.coverage(series), parts.rules.freshness(series)
        piece = next_piece(found.boxes, coverage, freshness, parts.filler.slots(series))
        if piece is None or piece == self._last:  # what is stale again at once waits for the next look
            return False
        await parts.filler.fill(series, piece.missing, piece.stale, self._priority)
        self._last = piece
        return True

    async def _files(self, found: Target) -> bool:
        """Fetch a batch of files; False if there are none to fetch now."""
        if found.scope.files is None or self._budget_wait() or self._full():
            return False
        came: list[int] = []
        began = self._now()
        batch = Batch(
            found.scope, self._priority, self.spared, self._may_go, lambda b: self._ended(b, came),
            pictures=self.subscription.pictures,
        )
        more, problem = False, None
        try:
            more = await self._parts.files.batch(batch)
        except MirrorError as error:
            problem = error
        if came:
            self._rated(came, self._now() - began)
            await self._settle(found)
            await self._remember()
        if problem is not None:
            raise problem
        return more

    async def _settle(self, found: Target) -> None:
        """Pin what is cached of the window; what has left it is deleted if that is wanted, and nobody else keeps it."""
        parts = self._parts
        gone = await parts.standing.pin(found.scope, self._now())
        for sha256 in gone if self.subscription.keep is not None else ():
            if (blob := await parts.blobs.find(sha256)) is not None:
                with suppress(NotHeld):
                    await parts.blobs.drop(blob)
        self._pinned, self._came_since = await parts.standing.pinned(), 0

    # ---- budget and rate -----------------------------------------------------------------------------

    def _may_go(self) -> bool:
        goes = self._must_wait() is None and not self._budget_wait() and not self._full()
        self._under_way += goes
        return goes

    def _ended(self, blob: Blob | None, came: list[int]) -> None:
        self._under_way -= 1
        if blob is None:
            return
        came.append(blob.size)
        self._came_since += blob.size
        assert self.memory is not None
        budget = self.subscription.budget
        period = budget.began(self._now()) if budget else 0.0
        used = self.memory.used if self.memory.period == period else 0
        self.memory = replace(self.memory, period=period, used=used + blob.size, typical=blob.size)

    def _budget_wait(self) -> float:
        budget, memory, now = self.subscription.budget, self.memory, self._now()
        if budget is None or memory is None or memory.period != budget.began(now):
            return 0.0
        return budget.wait(memory.used + self._under_way * memory.typical, memory.typical, now)

    def _full(self) -> bool:
        """True if subscriptions use their share of the quota."""
        limit = self._parts.blobs.usage().limit
        coming = self._under_way * (self.memory.typical if self.memory else 0)
        return limit is not None and self._pinned + self._came_since + coming >= limit * SHARE

    def _rated(self, came: list[int], seconds: float) -> None:
        if came and seconds > 0:
            rate = sum(came) / seconds
            state = self.state
            state.rate = rate if not state.rate else rate * NEW_PART + state.rate * (1 - NEW_PART)

    # ---- small things --------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._parts.rules.timestamp()

    def _until_look(self) -> float:
        return max(1.0, self.next_look - self._now())

    async def _remember(self, looked: float | None = None) -> None:
        assert self.memory is not None
        self.memory = replace(self.memory, looked=self.memory.looked if looked is None else looked)
        await self._parts.standing.remember(self.subscription.identity, self.memory)
