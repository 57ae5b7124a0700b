"""Subscriptions: a worker for each in config.toml, started, stopped and changed as the file is; and reports on them.

Start and edit go the same way: ``reconcile``, with the wanted subscriptions. A worker that stops leaves nothing behind
but records and files; pins of a subscription that is no longer wanted are removed. A report has the progress in
figures: what a subscription has, what is left, and how long that takes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.api import subscriptions as api
from mirror.concurrency import cancel
from mirror.errors import BadRequest, StorageError
from mirror.humanize import stamp
from mirror.metrics import gauge
from mirror.services.subscriptions.holdings import Tally
from mirror.services.subscriptions.scope import time_left
from mirror.services.subscriptions.worker import Worker, WorkerParts
from mirror.storage.database.database import if_possible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mirror.config.loading import Subscription
    from mirror.metrics import Metric
    from mirror.services.subscriptions.worker import WorkerParts


#: The suffix of a subscription that is run once although another mirror runs it.
ONCE = " once"


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many records and files there will be, extrapolated from the cached ones."""

    records: int
    files: int


def estimate(tally: Tally, slots: int, missing: int, segments: int) -> Estimate:
    """Of ``slots`` axis values ``missing`` are not cached; they are assumed to be like the cached ones."""
    covered = slots - missing
    density = tally.records / covered if covered and tally.records else 1.0
    records = tally.records + round(missing * density)
    share = tally.with_files / tally.records if tally.records else 1.0
    return Estimate(records, (tally.with_files + round(missing * density * share)) * segments)


async def report(worker: Worker, parts: WorkerParts) -> api.Subscription:
    """The state of a subscription."""
    subscription, state, memory = worker.subscription, worker.state, worker.memory
    now = parts.rules.timestamp()
    tally, wanted = await _figures(worker, parts)
    segments = len(worker.target.scope.segments) if worker.target else 0
    wanted_files = max(tally.files, wanted.files - len(worker.spared.absent)) if segments else 0
    left = wanted_files - tally.files
    typical = tally.bytes // tally.files if tally.files else 0
    until = time_left(left, typical, state.rate)
    return api.Subscription(
        name=subscription.identity,
        series=subscription.series,
        start=str(subscription.start),
        end=str(subscription.end),
        segments=list(subscription.segments),
        state=_state(worker),
        why=state.problem or (state.resting.why if state.resting else ""),
        records=tally.records,
        records_wanted=wanted.records,
        files=tally.files,
        files_wanted=wanted_files,
        files_absent=len(worker.spared.absent),
        bytes=tally.bytes,
        rate=round(state.rate),
        # While it rests, for its budget or its hours, the rate does not show when it will be done.
        seconds_left=None if until is None or (left and state.resting is not None) else round(until),
        last_look=stamp(memory.looked) if memory and memory.looked else None,
        next_look=stamp(max(now, worker.next_look)),
        problem=state.problem,
        budget=None if subscription.budget is None else _budget(worker, now),
        passes=state.passes,
    )


#: Members of a report that are gauges, with their meaning; each has the subscription's name as its label.
_GAUGES = {
    "records": "Records held of a subscription.",
    "records_wanted": "Records that a subscription will hold, as far as can be told.",
    "files": "Files held of a subscription.",
    "files_wanted": "Files that a subscription will hold, as far as can be told.",
    "files_absent": "Files of a subscription that are not available.",
    "bytes": "Bytes of files held of a subscription.",
    "rate": "Bytes a second at which files of a subscription were fetched recently.",
}


def gauges(reports: Sequence[api.Subscription]) -> Iterator[Metric]:
    """Reports for Prometheus."""
    for member, text in _GAUGES.items():
        yield gauge(f"mirror_subscription_{member}", text, {r.name: getattr(r, member) for r in reports}, "name")
    left = {r.name: r.seconds_left for r in reports if r.seconds_left is not None}
    yield gauge("mirror_subscription_seconds_left", "Seconds until a subscription is complete.", left, "name")
    failing = {r.name: int(r.state == "failing") for r in reports}
    yield gauge("mirror_subscription_failing", "1 while a subscription waits after a failure.", failing, "name")


async def _figures(worker: Worker, parts: WorkerParts) -> tuple[Tally, Estimate]:
    found = worker.target
    if found is None:
        return Tally(), Estimate(0, 0)
    try:
        tally = await parts.standing.tally(found.scope)
    except StorageError:  # the figures are not worth failing the whole status
        return Tally(), Estimate(0, 0)
    coverage = parts.index.coverage(found.series)
    missing = sum(gap.slots() for box in found.boxes for gap in coverage.gaps(box))
    slots = sum(box.slots() for box in found.boxes)
    return tally, estimate(tally, slots, missing, len(found.scope.segments))


def _state(worker: Worker) -> str:
    if worker.state.problem:
        return "failing"
    rest = worker.state.resting
    if rest is None:
        return "working"
    return "waiting" if rest.why else "current"


def _budget(worker: Worker, now: float) -> api.SubscriptionBudget:
    budget, memory = worker.subscription.budget, worker.memory
    assert budget is not None
    began = budget.began(now)
    used = memory.used if memory is not None and memory.period == began else 0
    until = stamp(began + budget.seconds)
    return api.SubscriptionBudget(limit=str(budget), bytes=budget.size, used=used, until=until)


@dataclass(frozen=True, slots=True)
class Changes:
    """What to start and stop so that exactly the wanted subscriptions run."""

    start: tuple[Subscription, ...]
    stop: tuple[str, ...]
    change: tuple[Subscription, ...]


def reconcile(current: Mapping[str, Subscription], wanted: Iterable[Subscription]) -> Changes:
    """Compare by identity: new subscriptions, removed ones, and different ones under the same name."""
    by_name = {subscription.identity: subscription for subscription in wanted}
    return Changes(
        start=tuple(subscription for name, subscription in by_name.items() if name not in current),
        stop=tuple(name for name in current if name not in by_name),
        change=tuple(subscription for name, subscription in by_name.items() if name in current and current[name] != subscription),
    )


class Sync:
    """The workers. ``active`` ones run by themselves; others only when ``once`` asks them to."""

    def __init__(self, parts: WorkerParts, *, active: bool = True) -> None:
        self._parts = parts
        self._active = active
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._changing = asyncio.Lock()

    async def reconcile(self, wanted: Iterable[Subscription]) -> Changes:
        """Run these subscriptions from now on, and no others; returns the changes."""
        subscriptions = tuple(wanted)
        async with self._changing:
            changes = reconcile({name: worker.subscription for name, worker in self._workers.items()}, subscriptions)
            for name in (*changes.stop, *(subscription.identity for subscription in changes.change)):
                await self._stop(name)
            # A store that is opened for one command only may have no configuration.
            if self._active or changes.stop:
                released = self._parts.standing.release(subscription.identity for subscription in subscriptions)
                await if_possible(released, "release of subscriptions that are gone")
            for subscription in (*changes.start, *changes.change):
                self._start(subscription)
        return changes

    async def once(self, name: str | None = None) -> dict[str, int]:
        """Make one subscription, or all, look for new data now; returns how often each has rested so far.

        When one has rested once more, it has done everything. BadRequest for an unknown name.
        """
        chosen = [w for n, w in self._workers.items() if name is None or n.lower() == name.lower()]
        if name is not None and not chosen:
            known = ", ".join(self._workers)
            raise BadRequest(f"no subscription {name!r}; {f'expected one of: {known}' if known else 'there are none'}")
        before = {worker.subscription.identity: worker.state.passes for worker in chosen}
        for worker in chosen:
            worker.look_now()
            if not self._active or worker.is_elsewhere:
                self._run_once(worker)
        return before

    def try_now(self) -> None:
        """Continue every subscription that rests after a failure: what kept it waiting is over."""
        for worker in self._workers.values():
            worker.try_now()

    async def finished(self) -> None:
        """Return when everything that ``once`` began has ended; only for those that are not active."""
        await asyncio.gather(*self._tasks.values())

    async def report(self) -> list[api.Subscription]:
        """The state of each subscription."""
        return [await report(worker, self._parts) for worker in list(self._workers.values())]

    async def stop(self) -> None:
        """End all work; fetched data stay, and what is missing is fetched after the next start."""
        async with self._changing:
            for name in list(self._workers):
                await self._stop(name)

    def _start(self, subscription: Subscription) -> None:
        worker = self._workers[subscription.identity] = Worker(subscription, self._parts)
        if self._active:
            self._tasks[subscription.identity] = asyncio.ensure_future(worker.run())

    def _run_once(self, worker: Worker) -> None:
        name = worker.subscription.identity + (ONCE if self._active else "")
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.ensure_future(worker.until_rest())

    async def _stop(self, name: str) -> None:
        del self._workers[name]
        tasks = [task for key in (name, name + ONCE) if (task := self._tasks.pop(key, None)) is not None]
        await cancel(*tasks)
