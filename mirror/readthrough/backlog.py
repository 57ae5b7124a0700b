"""How many answers may be fetched and not yet kept: the one writer is slower than upstream.

Without a bound the answers of a large fill would all wait in memory. What is small does not wait for a
place: what a person asked for does not stand behind the chunks of a fill in the background.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from mirror.upstream.budget import Need
from mirror.upstream.pacing import Turnstile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.upstream.budget import Budget
    from mirror.upstream.pacing import Claim

#: A fetch of less than this part of a chunk is small.
SMALL = 10


class Backlog:
    """Lets ``places`` large fetches at a time through, from their request to their commit."""

    def __init__(self, places: int, chunk_records: int, budget: Budget | None = None) -> None:
        self._budget = budget
        self._turnstile = Turnstile(places)
        self._small = chunk_records / SMALL

    @asynccontextmanager
    async def place(self, records: float, claim: Claim) -> AsyncIterator[None]:
        """A place for a fetch of about so many records; never asked for while one is held.

        What waits for the budget does so before it has a place: it would keep others from theirs for an hour.
        """
        turn = nullcontext() if self._budget is None else self._budget.turn(claim, Need(round(records)))
        async with turn, self._of_large(records, claim):
            yield

    @asynccontextmanager
    async def _of_large(self, records: float, claim: Claim) -> AsyncIterator[None]:
        if records <= self._small:
            yield
            return
        async with self._turnstile.turn(claim):
            yield
