"""The read-through for records: from the index, after a fill where something is missing, or forwarded.

``mirror.drms.plan`` decides, this obeys. Search, export, sync and the command line all read here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from mirror.drms.errors import NotHeld, UpstreamError
from mirror.drms.plan import Fetch, Forward, Local, box_query, has_where, need, plan_read, restricts_keys
from mirror.drms.recordset import RecordSet
from mirror.engine.filler import MOST_PER_SLOT
from mirror.storage.batch import fill_request, raw_records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.config import Fill
    from mirror.drms.coverage import Box
    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.engine.extremes import Extremes
    from mirror.engine.filler import Filler
    from mirror.engine.policy import Rules
    from mirror.engine.upstream import Upstream
    from mirror.storage.index import Index
    from mirror.storage.layout import Row


class Origin(IntEnum):
    """How a read was answered; of several reads the highest tells how the whole was."""

    LOCAL = 0  #: from what was held, and checked recently enough
    FILLED = 1  #: from what is held now, after asking upstream for the rest
    FORWARDED = 2  #: by upstream, asked the query as it stands
    STALE = 3  #: from what is held, although it should have been checked


@dataclass(frozen=True, slots=True)
class Read:
    """The records of a selection in order."""

    rows: list[Row]
    origin: Origin


#: A series of at most this many records is filled whole for a condition without bounds.
SMALL_SERIES = 5_000
#: Missing spans that an error names; the rest is counted.
NAMED_SPANS = 5


class Records:
    """Reads selections of any series."""

    def __init__(
        self,
        index: Index,
        upstream: Upstream,
        filler: Filler,
        extremes: Extremes,
        rules: Rules,
        settings: Fill,
    ) -> None:
        self._index = index
        self._upstream = upstream
        self._filler = filler
        self._extremes = extremes
        self._rules = rules
        self._settings = settings

    async def read(self, selection: Selection, n: int | None = None) -> Read:
        """The records of ``selection``, at most the first (or last) ``n`` of them.

        Raises NotHeld if upstream may not be asked or does not answer, and something is missing.
        """
        resolved = await self._extremes.resolve(selection)
        least = Origin.STALE if resolved.stale else Origin.FILLED if resolved.asked else Origin.LOCAL
        if resolved.selection is None:
            return Read([], least)
        ready = await self._make_ready(resolved.selection, n)
        if isinstance(ready, Read):
            return replace(ready, origin=max(ready.origin, least))
        selected = await self._index.select(resolved.selection, n)
        if selected.undecided:
            return await self._forward(selection, n, "the condition cannot be decided from printed values")
        return Read(selected.rows, max(ready, least))

    async def count(self, selection: Selection, n: int | None = None) -> tuple[int, Origin]:
        """How many records ``read`` would give, and from where; raises as it does."""
        resolved = await self._extremes.resolve(selection)
        least = Origin.STALE if resolved.stale else Origin.FILLED if resolved.asked else Origin.LOCAL
        if resolved.selection is None:
            return 0, least
        ready = await self._make_ready(resolved.selection, n)
        if isinstance(ready, Read):
            return len(ready.rows), max(ready.origin, least)
        total, undecided = await self._index.tally(resolved.selection)
        if undecided:
            read = await self.read(selection, n)
            return len(read.rows), read.origin
        return min(total, abs(n)) if n else total, max(ready, least)

    async def _make_ready(self, selection: Selection, n: int | None) -> Origin | Read:
        """See that the index can answer; the origin of its answer, or the answer if it was forwarded."""
        series = selection.series
        plan = plan_read(selection, self._index.coverage(series), self._rules.freshness(series))
        if isinstance(plan, Local):
            return Origin.LOCAL
        if isinstance(plan, Forward):
            return await self._forward(selection, n, plan.reason)
        if not self._rules.may_ask:
            self._insist_on_held(series, plan.missing)
            return Origin.STALE
        return await self._fetch(selection, n, plan)

    async def _fetch(self, selection: Selection, n: int | None, plan: Fetch) -> Origin | Read:
        series = selection.series
        try:
            if plan.missing:
                reason = await self._too_much(selection, n, plan.missing)
                if reason:
                    return await self._forward(selection, n, reason)
            await self._filler.fill(series, plan.missing, plan.stale)
        except UpstreamError as error:
            if not self._rules.stale_on_failure:
                raise
            # Only a failed check may be passed over: what is missing stays missing.
            self._insist_on_held(series, self._still_missing(selection), error)
            return Origin.STALE
        return Origin.FILLED

    async def _too_much(self, selection: Selection, n: int | None, missing: tuple[Box, ...]) -> str:
        """Why the client should not wait for this fill, or "" if it may."""
        bounded = all(box.bounded for box in missing)
        if bounded and sum(box.slots() for box in missing) <= self._settings.chunk_records // MOST_PER_SLOT:
            return ""
        size = await self._filler.size(selection.series, missing)
        if not bounded and not restricts_keys(selection) and (has_where(selection) or n):
            return "" if size <= SMALL_SERIES else "nothing bounds the prime keys"
        if size <= self._settings.waiting_limit:
            return ""
        self._filler.fill_later(selection.series, missing)
        return f"about {size:,.0f} records are missing; they are being fetched in the background"

    async def _forward(self, selection: Selection, n: int | None, reason: str) -> Read:
        """Ask upstream the query as it stands; keep the rows, claim no coverage."""
        series = selection.series
        ds = str(RecordSet(series.name, selection.source.filters))
        if not self._rules.may_ask:
            raise NotHeld(f"the mirror is offline and cannot answer {ds} alone: {reason}", (ds,))
        layout = self._index.layout(series)
        try:
            answer = await self._upstream.rs_list(fill_request(layout, ds, n=n))
        except UpstreamError as error:
            if not self._rules.stale_on_failure:
                raise
            raise NotHeld(f"{error}; the mirror cannot answer {ds} alone: {reason}", (ds,)) from error
        await self._index.keep(series, answer, complete=(), checked_at=self._rules.timestamp())
        return Read(raw_records(layout, answer), Origin.FORWARDED)

    def _still_missing(self, selection: Selection) -> tuple[Box, ...]:
        boxes = need(selection)
        coverage = self._index.coverage(selection.series)
        return () if isinstance(boxes, Forward) else tuple(gap for box in boxes for gap in coverage.gaps(box))

    def _insist_on_held(
        self, series: Series, missing: Iterable[Box], cause: UpstreamError | None = None
    ) -> None:
        spans = [str(box_query(series, box)) for box in missing]
        if not spans:
            return
        why = f"upstream does not answer ({cause})" if cause else "the mirror is offline"
        more = f" and {len(spans) - NAMED_SPANS} more" if len(spans) > NAMED_SPANS else ""
        raise NotHeld(
            f"{why}, and not held are: {', '.join(spans[:NAMED_SPANS])}{more}", tuple(spans)
        ) from cause
