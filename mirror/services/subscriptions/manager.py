"""Subscriptions: a worker for each in config.toml, started, stopped and changed as the file is.

Start and edit take the same way: ``reconcile``, with what is wanted now. A worker that stops leaves
nothing behind but records and files; what its subscription's pins held back is let go when it is not
wanted any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.errors import BadRequest
from mirror.services.subscriptions.report import report
from mirror.services.subscriptions.worker import Worker, WorkerParts
from mirror.storage.database.database import if_possible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.config.loading import Subscription


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done so that exactly what is wanted is worked on."""

    start: tuple[Subscription, ...]
    stop: tuple[str, ...]
    change: tuple[Subscription, ...]


def reconcile(current: Mapping[str, Subscription], wanted: Iterable[Subscription]) -> Changes:
    """Compare by identity: what is new, what is gone, and what is another subscription under the same name."""
    by_name = {subscription.identity: subscription for subscription in wanted}
    return Changes(
        start=tuple(subscription for name, subscription in by_name.items() if name not in current),
        stop=tuple(name for name in current if name not in by_name),
        change=tuple(subscription for name, subscription in by_name.items() if name in current and current[name] != subscription),
    )


class Sync:
    """The workers. ``active`` ones work by themselves; others only when ``once`` asks them to."""

    def __init__(self, parts: WorkerParts, *, active: bool = True) -> None:
        self._parts = parts
        self._active = active
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._changing = asyncio.Lock()

    async def reconcile(self, wanted: Iterable[Subscription]) -> Changes:
        """Work on these subscriptions from now on, and on no others; what was done."""
        subscriptions = tuple(wanted)
        async with self._changing:
            changes = reconcile({name: worker.subscription for name, worker in self._workers.items()}, subscriptions)
            for name in (*changes.stop, *(subscription.identity for subscription in changes.change)):
                await self._stop(name)
            # A store that is opened for one command only may have been given no configuration.
            if self._active or changes.stop:
                released = self._parts.standing.release(subscription.identity for subscription in subscriptions)
                await if_possible(released, "release of subscriptions that are gone")
            for subscription in (*changes.start, *changes.change):
                self._start(subscription)
        return changes

    async def once(self, name: str | None = None) -> dict[str, int]:
        """Have one subscription, or all, look for what is new now; how often each has rested so far.

        When one has rested once more, it has done all that was to be done. BadRequest for an unknown name.
        """
        chosen = [w for n, w in self._workers.items() if name is None or n.lower() == name.lower()]
        if name is not None and not chosen:
            known = ", ".join(self._workers) or "there are none"
            raise BadRequest(f"there is no subscription {name!r}; expected one of: {known}")
        before = {worker.subscription.identity: worker.state.passes for worker in chosen}
        for worker in chosen:
            worker.look_now()
            if not self._active:
                self._run_once(worker)
        return before

    def try_now(self) -> None:
        """Go on with every subscription that rests after a failure: what kept it waiting is over."""
        for worker in self._workers.values():
            worker.try_now()

    async def finished(self) -> None:
        """Return when all that ``once`` began has ended; only for those that are not active."""
        await asyncio.gather(*self._tasks.values())

    async def report(self) -> list[dict[str, Any]]:
        """How each subscription is doing, as plain JSON."""
        return [await report(worker, self._parts) for worker in list(self._workers.values())]

    async def stop(self) -> None:
        """End all work; what was fetched stays, and the rest is fetched after the next start."""
        async with self._changing:
            for name in list(self._workers):
                await self._stop(name)

    def _start(self, subscription: Subscription) -> None:
        worker = self._workers[subscription.identity] = Worker(subscription, self._parts)
        if self._active:
            self._tasks[subscription.identity] = asyncio.ensure_future(worker.run())

    def _run_once(self, worker: Worker) -> None:
        name = worker.subscription.identity
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.ensure_future(worker.until_rest())

    async def _stop(self, name: str) -> None:
        del self._workers[name]
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
