"""Long computations aside of the event loop, one at a time.

What is computed holds Python's lock, so several at once would only make the loop wait for each of them in turn.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Offload:
    """Computes what is long in a thread, and what is short at once: a thread costs more than that."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, "offload")

    async def run(self, work: Callable[[], T], *, long: bool) -> T:
        """What ``work`` returns or raises; it must not touch what others change meanwhile."""
        if not long:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
