"""What was used of the budget towards JSOC, kept over a restart."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.storage.index.index import Index
    from mirror.upstream.budget import Budget

log = logging.getLogger(__name__)

KIND = "budget"


class BudgetMemory:
    """Writes down what was used, and reads it at the start; ``now`` gives Unix seconds."""

    def __init__(self, budget: Budget, index: Index, now: Callable[[], float]) -> None:
        self._budget = budget
        self._index = index
        self._now = now
        self._kept = ""

    async def recall(self) -> None:
        """Count what was used before the start."""
        found = await self._index.fact(KIND, KIND)
        if found is None:
            return
        try:
            self._budget.restore(json.loads(found[0]))
        except (
            ValueError,
            TypeError,
            AttributeError,
        ) as problem:  # what was used is not worth a mirror that does not start
            log.warning("budget not recalled error=%s", problem)

    async def keep(self) -> None:
        """Write down what was used by now, if that has changed."""
        state = json.dumps(self._budget.state())
        if state != self._kept:
            await self._index.keep_fact(KIND, KIND, state, self._now())
            self._kept = state
