"""Concurrent asks for one thing become one fetch, which outlives whoever asked first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


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
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: K, task: asyncio.Task[V]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # looked at here, since everybody who waited may have gone


async def _await(fetch: Callable[[], Awaitable[V]]) -> V:
    return await fetch()
