"""How long ago an answer was last checked, for mirrors that take it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.drms.carried import oldest_check
from mirror.drms.plan import Forward, extreme_position, need
from mirror.engine.records import Origin

if TYPE_CHECKING:
    from mirror.drms.recordset import Selection
    from mirror.engine.policy import Rules
    from mirror.services.search import Search
    from mirror.storage.index import Index


class Ages:
    """Tells ages from coverage."""

    def __init__(self, index: Index, search: Search, rules: Rules) -> None:
        self._index = index
        self._search = search
        self._rules = rules

    async def of(self, ds: str, origin: Origin) -> int:
        """Seconds since the records of a query were checked, rounded up; 0 if they were just asked for.

        What is stale is at least so old that whoever has the same rules takes it for stale too.
        """
        if origin is Origin.FORWARDED:
            return 0
        ages = [self._one(s, origin) for s in await self._search.selections(ds)]
        return max([0, *(-int(-age // 1) for age in ages)])

    def _one(self, selection: Selection, origin: Origin) -> float:
        least = self._rules.rule_for(selection.series.name).max_age + 1 if origin is Origin.STALE else 0.0
        boxes = None if extreme_position(selection) is not None else need(selection)
        if boxes is None or isinstance(boxes, Forward):
            return least
        oldest = oldest_check(self._index.coverage(selection.series), boxes)
        return least if oldest is None else max(least, self._rules.timestamp() - oldest)
