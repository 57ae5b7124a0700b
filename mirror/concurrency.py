"""Tools for concurrent tasks: one fetch for all, counters of changes, waiting, orderly ends."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Version:
    """Counts changes of something that others look up, and that may change while they await something else.

    The rule: a writer calls ``advance`` after the change and before it awaits anything else, so that nobody sees the
    change with the old number. A reader takes ``number`` first. As long as that stays, what it found is valid; what was
    found under another number is looked up again. Numbers are only compared for equality, and start at zero with each
    start of the mirror: none is written down.
    """

    def __init__(self) -> None:
        self.number = 0

    def advance(self) -> None:
        """Note a change."""
        self.number += 1

    async def steady(self, look: Callable[[], Awaitable[T]]) -> T:
        """The result of ``look``, repeated until nothing changed during it."""
        while True:
            before = self.number
            found = await look()
            if self.number == before:
                return found


class SingleFlight(Generic[K, V]):
    """Runs one fetch per key at a time; callers that come while it runs share its result or error."""

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
            task.exception()  # retrieved here, since everybody who waited may have gone


async def _await(fetch: Callable[[], Awaitable[V]]) -> V:
    return await fetch()


async def nap(sleep: Callable[[float], Awaitable[object]], seconds: float, woken: asyncio.Event) -> None:
    """Sleep for a number of seconds, or until woken; a later wake-up ends the next sleep."""
    sleeps = asyncio.ensure_future(sleep(seconds))
    waits = asyncio.ensure_future(woken.wait())
    try:
        await asyncio.wait((sleeps, waits), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeps.cancel()
        waits.cancel()
        woken.clear()


class Offload:
    """Runs long computations in a thread, and short ones directly, since a thread costs more than they do."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, "offload")

    async def run(self, work: Callable[[], T], *, long: bool) -> T:
        """Return or raise what ``work`` does; it must not touch what others change meanwhile."""
        if not long:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``; if the caller is cancelled meanwhile, finish it first and be cancelled then.

    For pairs of steps that belong together, one in the database and one on the disk.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _ended(task)
        if not task.cancelled():
            task.exception()  # a cancelled caller does not get it
        raise


async def _ended(task: asyncio.Task[Any]) -> None:
    while not task.done():
        with suppress(asyncio.CancelledError):  # cancelled once more: ``end`` does that
            await asyncio.wait([task])


async def taken(work: Coroutine[Any, Any, T], give_back: Callable[[T], Coroutine[Any, Any, object]]) -> T:
    """Await ``work``, which takes something for the caller; if that is cancelled meanwhile, what comes is given back.

    For what stays taken elsewhere, whoever waits for the answer.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _ended(task)
        if not task.cancelled() and task.exception() is None:
            await to_the_end(give_back(task.result()))
        raise


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and return once all have ended, however they do."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def lasting(work: Callable[[], Awaitable[object]], pause: float) -> None:
    """Work that never ends by itself; an error that it does not handle is logged, and it begins again after ``pause`` seconds.

    A task that ended by such an error would be missed by nobody.
    """
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work failed work=%s", getattr(work, "__qualname__", work))
        await asyncio.sleep(pause)


#: Seconds after which a task that runs on although it was cancelled is cancelled again.
AGAIN = 1.0


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and return once all have ended.

    Tasks are cancelled repeatedly if need be: an error at that moment, such as a statement whose connection is cut, may
    replace the cancellation, and a task that handles it runs on.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


# ---- a dictionary of bounded size ----------------------------------------------------------------


class Bounded(dict[K, V]):
    """At most ``most`` entries. Setting an entry, or ``recall``, counts as use; other methods do not."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        self.pop(key, None)
        super().__setitem__(key, value)
        while len(self) > self._most:
            del self[next(iter(self))]

    def recall(self, key: K) -> V | None:
        """The value of a key, which counts as used; None if there is none."""
        value = self.get(key)
        if value is not None:
            self[key] = value
        return value
