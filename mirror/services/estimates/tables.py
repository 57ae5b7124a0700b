"""What survives between estimates: how fast JSOC sends, measured on ordinary requests, and the used budget.

The used budget is stored, so that it survives a restart.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.storage.database.database import KeyedTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.storage.database.database import Database
    from mirror.upstream.budget import Budget
    from mirror.upstream.client import Exchange

#: Answers of fewer records measure the time to begin rather than the rate.
FEWEST = 100
#: The weight of an earlier exchange after each later one.
DECAY = 0.9
#: The rates until something is measured: those of a slow day at JSOC.
RECORDS_PER_SECOND, BYTES_PER_SECOND, SECONDS_PER_FILE = 500.0, 5e6, 5.0


@dataclass(slots=True)
class _Sum:
    """Amounts and the seconds they took; what is older counts less."""

    amount: float = 0.0
    number: float = 0.0
    seconds: float = 0.0

    def add(self, amount: float, seconds: float) -> None:
        self.amount = self.amount * DECAY + amount
        self.number = self.number * DECAY + 1
        self.seconds = self.seconds * DECAY + seconds


class Rates:
    """The rates of records and of files since the start, the latest exchanges counting most."""

    def __init__(self) -> None:
        self._records, self._files = _Sum(), _Sum()

    def count_exchange(self, exchange: Exchange) -> None:
        """Learn from one exchange, if it is large enough."""
        if exchange.outcome != "ok" or exchange.seconds <= 0:
            return
        if exchange.program == "file" and exchange.bytes:
            self._files.add(exchange.bytes, exchange.seconds)
        elif exchange.records >= FEWEST:
            self._records.add(exchange.records, exchange.seconds)

    @property
    def measured(self) -> tuple[bool, bool]:
        """Whether the rate of records, and that of files, were measured."""
        return self._records.seconds > 0, self._files.seconds > 0

    def for_records(self, records: int) -> float:
        """Seconds that so many records take, one request after the other."""
        known = self._records
        return records / (known.amount / known.seconds if known.seconds else RECORDS_PER_SECOND)

    def for_files(self, files: int, size: int | None) -> float:
        """Seconds that so many files of ``size`` bytes in all take, one after the other; None: of unknown size."""
        known = self._files
        if size is None:
            return files * (known.seconds / known.number if known.seconds else SECONDS_PER_FILE)
        return size / (known.amount / known.seconds if known.seconds else BYTES_PER_SECOND)


log = logging.getLogger(__name__)

#: The table of what was used of the budget, and the key of its one row.
BUDGET = "budget"


class BudgetMemory:
    """Writes down what was used, and reads it at the start; ``now`` gives Unix seconds."""

    def __init__(self, budget: Budget, database: Database, now: Callable[[], float]) -> None:
        self._budget = budget
        self._table = KeyedTable(database, BUDGET)
        self._now = now
        self._kept = ""

    async def recall(self) -> None:
        """Load what was used before the start."""
        found = await self._table.get(BUDGET)
        if found is None:
            return
        try:
            self._budget.restore(json.loads(found[0]))
        except (
            ValueError,
            TypeError,
            AttributeError,
        ) as problem:  # the used budget is no reason not to start
            log.warning("budget not recalled error=%s", problem)

    async def keep(self) -> None:
        """Store what has been used, if that has changed."""
        state = json.dumps(self._budget.state())
        if state != self._kept:
            await self._table.put(BUDGET, state, self._now())
            self._kept = state
