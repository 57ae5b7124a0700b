"""Sleeping that can be ended early."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


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
