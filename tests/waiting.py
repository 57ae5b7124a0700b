"""Waiting for what has no event of its own, without keeping the processor from those who work on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Turns of the loop after which a wait is one for threads, the disk or another process.
TURNS = 20
#: Seconds between two looks then.
PAUSE = 0.002
#: Seconds after which a wait fails a test: machines that run tests are busy.
PATIENCE = 180.0


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return once a condition holds; TimeoutError if it does not in so many seconds."""
    async with asyncio.timeout(seconds):
        turns = 0
        while not condition():
            turns += 1
            await asyncio.sleep(0 if turns < TURNS else PAUSE)
