"""The read-through for records: from the index, after a fill where something is missing, or forwarded.

``mirror.drms.plan`` decides, this obeys. Search, export, sync and the command line all read here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from mirror.drms.coverage import Box
from mirror.drms.errors import MirrorError, NotHeld, OverBudget, UpstreamError, UpstreamLacks
from mirror.drms.plan import (
    RECNUMS,
    Fetch,
    Forward,
    Local,
    Plan,
    box_query,
    has_where,
    need,
    plan_read,
    restricts_keys,
)
from mirror.drms.recordset import RecordSet
from mirror.drms.spans import describe
from mirror.engine.checks import runs
from mirror.engine.policy import Wish
from mirror.engine.sizes import MOST_PER_SLOT
from mirror.storage.batch import fill_request, raw_records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mirror.config import Fill
    from mirror.drms.coverage import Freshness
    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.engine.extremes import Extremes
    from mirror.engine.filler import Filler
    from mirror.engine.policy import Rules
    from mirror.engine.upstream import Upstream
    from mirror.storage.index import Index
    from mirror.storage.layout import Row

T = TypeVar("T")


class Origin(IntEnum):
    """How a read was answered; of several reads the highest tells how the whole was."""

    LOCAL = 0  #: from what was held, and checked recently enough
    FILLED = 1  #: from what is held now, after asking upstream for the rest
    FORWARDED = 2  #: by upstream, asked the query as it stands
    STALE = 3  #: from what is held, although it should have been checked


@dataclass(frozen=True, slots=True)
class Read:
    """The records of a selection in order.

    ``checked_at``: of a stale read, the moment of the last check of what was checked longest ago.
    """

    rows: list[Row]
    origin: Origin
    checked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many records a selection has; ``checked_at`` as in ``Read``."""

    total: int
    origin: Origin
    checked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """The records are those that ``selection``, without ``^`` and ``$``, picks in the index, all of them decided."""

    selection: Selection
    origin: Origin
    checked_at: float | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """The index can answer; how, and of a stale answer when it was checked last."""

    origin: Origin
    checked_at: float | None = None


#: Record numbers that are looked up before the archive is asked for them.
MOST_NUMBERS = 50_000
#: A series of at most this many records is filled whole for a condition without bounds.
SMALL_SERIES = 5_000


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

    async def read(self, selection: Selection, n: int | None = None, wish: Wish = Wish.USUAL) -> Read:
        """The records of ``selection``, at most the first (or last) ``n`` of them.

        Raises NotHeld if upstream may not be asked or does not answer, and something is missing.
        """
        return await self._steadily(lambda: self._read(selection, n, wish))

    async def locate(self, selection: Selection, wish: Wish = Wish.USUAL) -> Located | Read:
        """Where the records of ``selection`` are: in the index, after a fill if need be, or in an answer of JSOC's.

        Raises as ``read`` does.
        """
        return await self._steadily(lambda: self._locate(selection, wish))

    async def count(self, selection: Selection, n: int | None = None, wish: Wish = Wish.USUAL) -> Count:
        """How many records ``read`` would give, and from where; raises as it does."""
        return await self._steadily(lambda: self._count(selection, n, wish))

    async def _steadily(self, look: Callable[[], Awaitable[T]]) -> T:
        """What ``look`` finds, once no records were taken away while it looked."""
        while True:
            drops = self._index.drops
            found = await look()
            if drops == self._index.drops:
                return found

    async def _read(self, selection: Selection, n: int | None, wish: Wish) -> Read:
        resolved = await self._extremes.resolve(selection, wish)
        least = Origin.STALE if resolved.stale else Origin.FILLED if resolved.asked else Origin.LOCAL
        if resolved.selection is None:
            return Read([], least)
        ready = await self._make_ready(resolved.selection, n, wish)
        if isinstance(ready, Read):
            return replace(ready, origin=max(ready.origin, least))
        selected = await self._index.select(resolved.selection, n)
        if selected.undecided:
            return await self._forward(
                selection, n, "the condition cannot be decided from printed values", wish
            )
        return Read(selected.rows, max(ready.origin, least), ready.checked_at)

    async def _locate(self, selection: Selection, wish: Wish) -> Located | Read:
        resolved = await self._extremes.resolve(selection, wish)
        least = Origin.STALE if resolved.stale else Origin.FILLED if resolved.asked else Origin.LOCAL
        if resolved.selection is None:
            return Read([], least)
        ready = await self._make_ready(resolved.selection, None, wish)
        if isinstance(ready, Read):
            return replace(ready, origin=max(ready.origin, least))
        if (await self._index.tally(resolved.selection))[1]:
            return await self._forward(
                selection, None, "the condition cannot be decided from printed values", wish
            )
        return Located(resolved.selection, max(ready.origin, least), ready.checked_at)

    async def _count(self, selection: Selection, n: int | None, wish: Wish) -> Count:
        resolved = await self._extremes.resolve(selection, wish)
        least = Origin.STALE if resolved.stale else Origin.FILLED if resolved.asked else Origin.LOCAL
        if resolved.selection is None:
            return Count(0, least)
        ready = await self._make_ready(resolved.selection, n, wish)
        if isinstance(ready, Read):
            return Count(len(ready.rows), max(ready.origin, least))
        total, undecided = await self._index.tally(resolved.selection)
        if undecided:
            read = await self.read(selection, n, wish)
            return Count(len(read.rows), read.origin, read.checked_at)
        return Count(min(total, abs(n)) if n else total, max(ready.origin, least), ready.checked_at)

    async def _make_ready(self, selection: Selection, n: int | None, wish: Wish) -> _Ready | Read:
        """See that the index can answer; how it will, or the answer if it was forwarded."""
        series = selection.series
        plan = plan_read(selection, self._index.coverage(series), self._rules.freshness(series, wish))
        if isinstance(plan, Fetch):
            plan = await self._without_known(series, plan)
        if isinstance(plan, Local):
            return _Ready(Origin.LOCAL)
        if isinstance(plan, Forward):
            return await self._forward(selection, n, plan.reason, wish)
        if not self._rules.asks(wish):
            self._insist_on_held(series, plan.missing, wish)
            return self._stale(selection)
        return await self._fetch(selection, n, plan, wish)

    async def _fetch(self, selection: Selection, n: int | None, plan: Fetch, wish: Wish) -> _Ready | Read:
        series = selection.series
        try:
            if plan.missing:
                reason = await self._too_much(selection, n, plan.missing)
                if reason:
                    return await self._forward(selection, n, reason, wish)
            freshness, acceptable = self._rules.freshness(series, wish), self._rules.acceptable(series, wish)
            await self._filler.fill(series, plan.missing, plan.stale, freshness=freshness)
            if self._is_older(selection, acceptable):  # upstream is a mirror that could not check it itself
                if not self._rules.stale_on_failure:
                    raise UpstreamLacks(
                        f"the mirror upstream holds {series.name} as of an earlier check only"
                    )
                return self._stale(selection)
        except (UpstreamError, OverBudget) as error:
            if not self._rules.stale_on_failure:
                raise
            # Only a failed check may be passed over: what is missing stays missing.
            self._insist_on_held(series, self._still_missing(selection), wish, error)
            return self._stale(selection)
        return _Ready(Origin.FILLED)

    async def _without_known(self, series: Series, plan: Fetch) -> Plan:
        """The plan without records that are asked for by number and held: under its number none changes."""
        boxes = [box for box in plan.missing if box.region == RECNUMS]
        if not boxes or sum(box.slots() for box in boxes) > MOST_NUMBERS:
            return plan
        numbers = {n for box in boxes for s in box.steps for n in range(s.lo, s.hi + 1, s.step)}
        unknown = numbers - await self._index.known(series, numbers, all_versions=True)
        rest = (Box(RECNUMS, tuple(runs(unknown))),) if unknown else ()
        missing = (*(box for box in plan.missing if box.region != RECNUMS), *rest)
        return Fetch(missing, plan.stale) if missing or plan.stale else Local()

    def _is_older(self, selection: Selection, freshness: Freshness) -> bool:
        """True if what is held by now was checked before it had to be when ``freshness`` was asked for."""
        boxes, coverage = need(selection), self._index.coverage(selection.series)
        return not isinstance(boxes, Forward) and any(coverage.stale(box, freshness) for box in boxes)

    def _stale(self, selection: Selection) -> _Ready:
        boxes, coverage = need(selection), self._index.coverage(selection.series)
        moments = [] if isinstance(boxes, Forward) else [at for box in boxes for at in coverage.checked(box)]
        return _Ready(Origin.STALE, min(moments, default=None))

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

    async def _forward(self, selection: Selection, n: int | None, reason: str, wish: Wish) -> Read:
        """Ask upstream the query as it stands; keep the rows, claim no coverage."""
        series = selection.series
        ds = str(RecordSet(series.name, selection.source.filters))
        if not self._rules.asks(wish):
            why = self._rules.why_not(wish)
            raise NotHeld(f"{why}, and the mirror cannot answer {ds} alone: {reason}", (ds,))
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
        self, series: Series, missing: Iterable[Box], wish: Wish, cause: MirrorError | None = None
    ) -> None:
        missing = tuple(missing)
        if not missing:
            return
        if isinstance(cause, OverBudget):
            raise cause
        why = f"JSOC does not answer ({cause})" if cause else self._rules.why_not(wish)
        spans = tuple(str(box_query(series, box)) for box in missing)
        raise NotHeld(
            f"{why}, and of {series.name} is not held: {describe(series, missing)}", spans
        ) from cause
