"""What tasks that run at the same time need of each other: one fetch for all, counters of changes, waiting."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable


K = TypeVar("K", bound="Hashable")
V = TypeVar("V")
T = TypeVar("T")


class Version:
    """Counts the changes of what others look up, and may find changed once they have awaited something.

    The rule: whoever changes it calls ``advance`` when the change is made and before awaiting anything else, so that
    nobody sees the change with the number of before. Whoever looks takes ``number`` first. While that stays, what was
    found still holds; what was found under another number is looked up again. Two numbers are only ever compared for
    being equal, and they begin at zero with each start: none is written down.
    """

    def __init__(self) -> None:
        self.number = 0

    def advance(self) -> None:
        """It has changed."""
        self.number += 1

    async def steady(self, look: Callable[[], Awaitable[T]]) -> T:
        """What ``look`` finds, once nothing changed while it looked."""
        while True:
            before = self.number
            found = await look()
            if self.number == before:
                return found


class SingleFlight(Generic[K, V]):
    """Runs one fetch a key at a time; those who come while it runs share its result or error."""

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[V]] = {}

    async def run(self, key: K, fetch: Callable[[], Awaitable[V]]) -> V:
        """The result of ``fetch``, run now or already running; a caller that gives up does not end it."""
        task = self._flights.get(key)
        if task is None:
            task = asyncio.ensure_future(_await(fetch))
            self._flights[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)

    def _finished(self, key: K, task: asyncio.Task[V]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # looked at here, since everybody who waited may have gone


async def _await(fetch: Callable[[], Awaitable[V]]) -> V:
    return await fetch()


async def nap(sleep: Callable[[float], Awaitable[object]], seconds: float, woken: asyncio.Event) -> None:
    """Sleep for so many seconds, or until woken; whoever wakes once more ends the next nap."""
    sleeps = asyncio.ensure_future(sleep(seconds))
    waits = asyncio.ensure_future(woken.wait())
    try:
        await asyncio.wait((sleeps, waits), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeps.cancel()
        waits.cancel()
        woken.clear()


class Offload:
    """Computes what is long in a thread, and what is short at once: a thread costs more than that."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, "offload")

    async def run(self, work: Callable[[], T], *, long: bool) -> T:
        """What ``work`` returns or raises; it must not touch what others change meanwhile."""
        if not long:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``; if the caller is cancelled meanwhile, finish it first and be cancelled then.

    For pairs of steps, one in the database and one on the disk, that belong together.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever is cancelled does not hear of it
        raise

#: Seconds after which a task that goes on although it was cancelled is cancelled again.
AGAIN = 1.0


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and return once all have ended.

    More than once where that is needed: what fails at that moment, a statement whose connection is cut, say, takes the place
    of the cancellation, and whoever meets it goes on.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
