"""The read-through for records: from the index, after a fill if something is missing, or forwarded.

``mirror.coverage.plan`` decides, this module obeys. Search, export, sync and the command line all read here.

What is asked of JSOC is in proportion to the question:

1. Nothing is fetched that nobody waits for; large fills are begun in ``mirror.services.fills`` only.
2. A question with ``n`` costs at most its answer and one chunk of records, over all of its record sets, and no
   count. It is filled if that is certain to suffice, and forwarded otherwise.
3. A question without ``n`` costs at most its answer and one chunk, and is forwarded if that is too much to wait for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from mirror.coverage.axis import coverage_axis
from mirror.coverage.coverage import Box
from mirror.coverage.plan import (
    RECNUMS,
    Fetch,
    Forward,
    Local,
    Plan,
    box_query,
    has_where,
    is_whole,
    need,
    plan_boxes,
    plan_read,
    restricts_keys,
)
from mirror.coverage.wording import describe
from mirror.drms.recordset import RecordSet, WhereFilter
from mirror.errors import (
    ClusterAway,
    MirrorError,
    NotHeld,
    OverBudget,
    TooLarge,
    UpstreamError,
    UpstreamLacks,
    UpstreamRefused,
)
from mirror.readthrough.answers import KeptAnswers, end_is_jsocs
from mirror.readthrough.chunks import MOST_PER_SLOT
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.rechecks import runs
from mirror.readthrough.shared import Alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.config.loading import Fill
    from mirror.coverage.coverage import Freshness
    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.readthrough.filler import Filler
    from mirror.readthrough.first_last import FirstLast
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.readthrough.shared import Shared
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Row

T = TypeVar("T")


class CacheStatus(IntEnum):
    """How a read was answered; for several reads together the highest counts."""

    LOCAL = 0  #: from what was held and checked recently enough
    FILLED = 1  #: from the index, after asking upstream for what was missing
    FORWARDED = 2  #: by upstream, with the same query
    STALE = 3  #: from what is held, although it should have been checked


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer from the index alone depends on: its selection, the boxes that this needs, the version of the series."""

    selection: Selection
    boxes: tuple[Box, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Read:
    """The records of a selection in order.

    ``checked_at``: the oldest last check of any part; None where coverage tells it.
    ``basis`` shows whether the same would be read again (``Records.holds``); None if the database must be read.
    """

    rows: Sequence[Row]
    origin: CacheStatus
    checked_at: float | None = None
    basis: Basis | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many records a selection has; ``checked_at`` as in ``Read``."""

    total: int
    origin: CacheStatus
    checked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """The records that ``selection``, without ``^`` and ``$``, picks in the index; none of them is undecided."""

    selection: Selection
    origin: CacheStatus
    checked_at: float | None = None


@dataclass
class Spare:
    """How many records one question may still fetch beyond its answer."""

    left: int


@dataclass(frozen=True, slots=True)
class _Question:
    """How a selection is asked for: the other arguments of ``read`` and ``locate``.

    With ``most`` set, no more records are forwarded or fetched: more is TooLarge.
    """

    n: int | None
    demand: CacheDemand
    spare: Spare
    most: int | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """The index can answer: how, for a stale answer when it was last checked, and for a local one from which boxes."""

    origin: CacheStatus
    checked_at: float | None = None
    boxes: tuple[Box, ...] = ()


#: Up to this many record numbers are looked up before JSOC is asked for them.
MOST_NUMBERS = 50_000
#: A series of at most this many records is filled whole for a condition without bounds.
SMALL_SERIES = 5_000


class Records:
    """Reads selections of any series."""

    def __init__(
        self,
        index: Index,
        upstream: JsocInfo,
        filler: Filler,
        extremes: FirstLast,
        rules: Rules,
        settings: Fill,
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared or Alone()
        self._index = index
        self._upstream = upstream
        self._filler = filler
        self._extremes = extremes
        self._rules = rules
        self._settings = settings
        self._answers = KeptAnswers(index, upstream, rules, settings)

    def spare(self) -> Spare:
        """How much one question with ``n`` may fetch beyond its answer: pass it to the reads of all its record sets."""
        return Spare(self._settings.chunk_records)

    async def read(
        self, selection: Selection, n: int | None = None, demand: CacheDemand = CacheDemand.DEFAULT, spare: Spare | None = None
    ) -> Read:
        """The records of ``selection``, at most the first (or last) ``n`` of them.

        Raises NotHeld if something is missing, and upstream may not be asked or does not answer.
        """
        question = _Question(n, demand, spare or self.spare())
        return await self._index.removals.steady(lambda: self._read(selection, question))

    def holds(self, basis: Basis, demand: CacheDemand) -> bool:
        """True if ``read`` would give the same again, from the index alone."""
        selection = basis.selection
        if demand is CacheDemand.REVALIDATE or not self._index.same_since(selection, basis.version):
            return False
        freshness = self._rules.freshness(selection.series, demand)
        return isinstance(plan_boxes(basis.boxes, self._index.coverage(selection.series), freshness), Local)

    async def locate(self, selection: Selection, demand: CacheDemand = CacheDemand.DEFAULT, *, few: bool = False) -> Located | Read:
        """Where the records of ``selection`` are: in the index, after a fill if need be, or in JSOC's answer.

        Raises as ``read`` does, and TooLarge if the fetch would take longer than people wait; if only a ``few`` of the
        records are wanted in the end, if it would be more than a chunk.
        """
        most = self._settings.chunk_records if few else self._settings.waiting_limit
        question = _Question(None, demand, self.spare(), most)
        return await self._index.removals.steady(lambda: self._locate(selection, question))

    async def count(self, selection: Selection, n: int | None = None, demand: CacheDemand = CacheDemand.DEFAULT) -> Count:
        """How many records ``read`` would give: counted here if they are held, else upstream. Raises as ``read`` does."""
        return await self._index.removals.steady(lambda: self._count(selection, n, demand))

    async def _read(self, selection: Selection, question: _Question) -> Read:
        n, demand = question.n, question.demand
        resolved = await self._extremes.resolve(selection, demand)
        least = CacheStatus.STALE if resolved.stale else CacheStatus.FILLED if resolved.asked else CacheStatus.LOCAL
        if resolved.selection is None:
            return Read([], least)
        try:
            if end_is_jsocs(resolved.selection, n):
                told = await self._undecided(resolved.selection, question, _OWN_END)
                return replace(told, origin=max(told.origin, least))
            versions = await self._versions_at_jsoc(resolved.selection, question)
            ready = versions or await self._make_ready(resolved.selection, question)
            if isinstance(ready, Read):
                return replace(ready, origin=max(ready.origin, least))
            version = self._index.version(selection.series)
            selected = await self._index.select(resolved.selection, n)
            versions = await self._versions_at_jsoc(resolved.selection, question)  # a check may just have found it
            if versions is not None:
                return replace(versions, origin=max(versions.origin, least))
            if not selected.undecided:
                if ready.origin is CacheStatus.FILLED and not n:
                    await self._answers.keep_decided(resolved.selection, selected.rows)
                origin = max(ready.origin, least)
                certain = origin is CacheStatus.LOCAL and resolved.selection is selection
                basis = Basis(selection, ready.boxes, version) if certain else None
                return Read(selected.rows, origin, ready.checked_at, basis)
            told = await self._undecided(resolved.selection, question)
        except (NotHeld, OverBudget) as problem:
            told = await self._however_old(resolved.selection, question, problem)
        return replace(told, origin=max(told.origin, least))

    async def _has_withdrawn(self, selection: Selection) -> bool:
        """True if a condition sees versions that are kept here, and that JSOC may have withdrawn."""
        sees_all = any(isinstance(f, WhereFilter) and f.all_versions for f in selection.filters)
        return sees_all and await self._index.has_withdrawn(selection.series)

    async def _versions_at_jsoc(self, selection: Selection, question: _Question) -> Read | None:
        """JSOC's answer to a condition on all versions, if it may have withdrawn some; None if not, or it is away."""
        if not await self._has_withdrawn(selection):
            return None
        try:
            return await self._undecided(selection, question, _WITHDRAWN)
        except NotHeld:
            return None

    async def _locate(self, selection: Selection, question: _Question) -> Located | Read:
        resolved = await self._extremes.resolve(selection, question.demand)
        least = CacheStatus.STALE if resolved.stale else CacheStatus.FILLED if resolved.asked else CacheStatus.LOCAL
        if resolved.selection is None:
            return Read([], least)
        try:
            ready = await self._make_ready(resolved.selection, question)
            if isinstance(ready, Read):
                return replace(ready, origin=max(ready.origin, least))
            if not (await self._index.tally(resolved.selection))[1]:
                return Located(resolved.selection, max(ready.origin, least), ready.checked_at)
            told = await self._undecided(resolved.selection, question)
        except (NotHeld, OverBudget) as problem:
            told = await self._however_old(resolved.selection, question, problem)
        return replace(told, origin=max(told.origin, least))

    async def _undecided(self, selection: Selection, question: _Question, reason: str = "") -> Read:
        """The records of a selection whose condition is not decided by printed values."""
        told = await self._told(selection, question)
        return told or await self._forward(selection, question.n, reason or _UNDECIDED, question.demand)

    async def _told(self, selection: Selection, question: _Question) -> Read | None:
        """The records according to a kept answer of JSOC, if that is recent enough."""
        found = await self._answers.records(selection, question.n, question.demand)
        return None if found is None else Read(found.rows, CacheStatus.LOCAL, found.checked_at)

    async def _however_old(self, selection: Selection, question: _Question, problem: MirrorError) -> Read:
        """The same, however old, since JSOC cannot be asked; without such an answer, raise ``problem``."""
        found = None
        if self._rules.stale_on_failure or not self._rules.asks(question.demand):
            found = await self._answers.records(selection, question.n, question.demand, any_age=True)
        if found is None:
            raise problem
        return Read(found.rows, CacheStatus.LOCAL if found.fresh else CacheStatus.STALE, found.checked_at)

    async def _count(self, selection: Selection, n: int | None, demand: CacheDemand) -> Count:
        resolved = await self._extremes.resolve(selection, demand)
        least = CacheStatus.STALE if resolved.stale else CacheStatus.FILLED if resolved.asked else CacheStatus.LOCAL
        if resolved.selection is None:
            return Count(0, least)
        plain = resolved.selection
        plan = await self._plan(plain, demand)
        if isinstance(plan, Local) and not await self._has_withdrawn(plain):
            total, unknown = await self._index.tally(plain)
            if not unknown:
                return Count(_at_most(total, n), least)
        told = await self._answers.count(plain, demand)
        if told is not None:
            return Count(_at_most(told[0], n), least, told[2])
        cause: UpstreamError | None = None
        if self._rules.asks(demand):
            try:
                return Count(_at_most(await self._answers.ask_count(plain), n), CacheStatus.FORWARDED)
            except UpstreamError as error:
                if not self._rules.stale_on_failure:
                    raise
                cause = error
        try:
            return await self._count_held(plain, n, plan, least, demand, cause)
        except NotHeld as problem:
            told = await self._answers.count(plain, demand, any_age=True)
            if told is None:
                raise (cause if cause is not None and not isinstance(plan, Fetch) else problem) from problem
            return Count(_at_most(told[0], n), max(least, CacheStatus.LOCAL if told[1] else CacheStatus.STALE), told[2])

    async def _count_held(
        self,
        selection: Selection,
        n: int | None,
        plan: Plan,
        least: CacheStatus,
        demand: CacheDemand,
        cause: MirrorError | None,
    ) -> Count:
        """The count of held records, however old; NotHeld if some are missing or undecided."""
        if isinstance(plan, Forward):
            raise self._cannot_alone(selection, plan.reason, demand)
        self._insist_on_held(selection.series, plan.missing if isinstance(plan, Fetch) else (), demand, cause)
        total, undecided = await self._index.tally(selection)
        if undecided:
            raise self._cannot_alone(selection, _UNDECIDED, demand)
        stale = self._stale(selection)
        return Count(_at_most(total, n), max(stale.origin, least), stale.checked_at)

    async def _plan(self, selection: Selection, demand: CacheDemand) -> Plan:
        """How to answer a selection, after taking over what the other mirrors have of it."""
        series, freshness = selection.series, self._rules.freshness(selection.series, demand)
        plan = plan_read(selection, self._index.coverage(series), freshness)
        if isinstance(plan, Fetch) and await self._shared.catch_up(series, (*plan.missing, *plan.stale)):
            plan = plan_read(selection, self._index.coverage(series), freshness)
        return plan

    async def _make_ready(self, selection: Selection, question: _Question) -> _Ready | Read:
        """Make the index able to answer; how it will, or the answer if the query was forwarded."""
        series, demand = selection.series, question.demand
        plan = await self._plan(selection, demand)
        if isinstance(plan, Fetch):
            plan = await self._without_known(series, plan)
        if isinstance(plan, Local):
            return _Ready(CacheStatus.LOCAL, boxes=plan.boxes)
        if (told := await self._told(selection, question)) is not None:
            return told
        if isinstance(plan, Forward):
            return await self._forward_if_small(selection, question, plan.reason)
        if not self._rules.asks(demand):
            self._insist_on_held(series, plan.missing, demand)
            return self._stale(selection)
        return await self._fetch(selection, question, plan)

    async def _fetch(self, selection: Selection, question: _Question, plan: Fetch) -> _Ready | Read:
        series, demand = selection.series, question.demand
        freshness, acceptable = self._rules.freshness(series, demand), self._rules.acceptable(series, demand)
        reason = ""
        try:
            if question.n:
                reason = await self._fetch_some(series, plan, question.spare)
            elif not (reason := await self._too_much(selection, plan.missing, question.most)):
                await self._filler.fill(series, plan.missing, plan.stale, freshness=freshness)
            if reason:
                return await self._forward_or_stale(selection, question, reason)
            if self._is_older(selection, acceptable):  # upstream is a mirror that could not check either
                if not self._rules.stale_on_failure:
                    raise UpstreamLacks(
                        f"the upstream mirror has only an older check of {series.name}"
                    )
                return self._stale(selection)
        except (UpstreamError, OverBudget) as error:
            if not self._rules.stale_on_failure:
                raise
            # Only a failed check may be ignored: what is missing stays missing.
            self._insist_on_held(series, self._still_missing(selection), demand, error, reason)
            return self._stale(selection)
        return _Ready(CacheStatus.FILLED)

    async def _without_known(self, series: Series, plan: Fetch) -> Plan:
        """The plan without held records that are requested by number, which never change."""
        boxes = [box for box in plan.missing if box.region == RECNUMS]
        if not boxes or sum(box.slots() for box in boxes) > MOST_NUMBERS:
            return plan
        numbers = {n for box in boxes for s in box.steps for n in range(s.lo, s.hi + 1, s.step)}
        unknown = numbers - await self._index.known(series, numbers, all_versions=True)
        rest = (Box(RECNUMS, tuple(runs(unknown))),) if unknown else ()
        missing = (*(box for box in plan.missing if box.region != RECNUMS), *rest)
        # Nothing else is needed beside numbers, and what is held of those needs no coverage.
        return Fetch(missing, plan.stale) if missing or plan.stale else Local(boxes=())

    def _is_older(self, selection: Selection, freshness: Freshness) -> bool:
        """True if what is now held was checked earlier than ``freshness`` requires."""
        boxes, coverage = need(selection, implied=True), self._index.coverage(selection.series)
        return not isinstance(boxes, Forward) and any(coverage.stale(box, freshness) for box in boxes)

    def _stale(self, selection: Selection) -> _Ready:
        boxes, coverage = need(selection, implied=True), self._index.coverage(selection.series)
        moments = [] if isinstance(boxes, Forward) else [at for box in boxes for at in coverage.checked(box)]
        return _Ready(CacheStatus.STALE, min(moments, default=None))

    async def _fetch_some(self, series: Series, plan: Fetch, spare: Spare) -> str:
        """Fetch what a question with ``n`` needs, if that is certain to be little; else why it is forwarded."""
        boxes = (*plan.missing, *plan.stale)
        if all(box.bounded for box in boxes):
            size = sum(self._filler.guess(series, box) for box in boxes)
        else:
            size = math.inf if plan.missing else 3.0 * await self._index.count(series)
        if size > spare.left:
            return "the number of records is not bounded"
        taken = await self._filler.fetch_within(series, plan.missing, plan.stale, spare.left)
        spare.left -= spare.left if taken is None else taken
        return "the record set is too large" if taken is None else ""

    async def _too_much(self, selection: Selection, missing: tuple[Box, ...], most: int | None) -> str:
        """Why the client should not wait for this fill; "" if it may."""
        chunk = self._settings.chunk_records
        bounded = all(box.bounded for box in missing)
        if bounded and sum(box.slots() for box in missing) <= chunk // MOST_PER_SLOT:
            return ""
        size = await self._filler.size(selection.series, missing)
        if not bounded and not restricts_keys(selection) and has_where(selection):
            return "" if size <= SMALL_SERIES else "the prime keys are not restricted"
        limit = self._settings.waiting_limit if most is None else most
        if size > (limit if coverage_axis(selection.series) else chunk):
            return f"about {size:,.0f} records are missing; fetch them with `mirror fill`"
        if size > chunk and not is_whole(selection):
            wanted = await self._upstream.rs_summary(str(selection.source))
            if size - wanted > chunk:
                return f"it needs {wanted:,} of about {size:,.0f} records"
        return ""

    async def _forward_or_stale(
        self, selection: Selection, question: _Question, reason: str
    ) -> Read | _Ready:
        """Upstream's answer; or what is held, unchecked, if upstream does not answer and nothing is missing."""
        try:
            return await self._forward_if_small(selection, question, reason)
        except NotHeld:
            if self._still_missing(selection):
                raise
            return self._stale(selection)

    async def _forward_if_small(self, selection: Selection, question: _Question, reason: str) -> Read:
        """As ``_forward``, after a count: TooLarge for more records than the question allows."""
        if question.most is not None and self._rules.asks(question.demand):
            wanted = await self._upstream.rs_summary(str(selection.source))
            if wanted > question.most:
                raise TooLarge(
                    f"{selection.source} has {wanted:,} records, too many to fetch at once: {reason}; expected "
                    f"at most {question.most:,}, or cached records; fetch more with `mirror fill`"
                )
        return await self._forward(selection, question.n, reason, question.demand)

    async def _forward(self, selection: Selection, n: int | None, reason: str, demand: CacheDemand) -> Read:
        """Ask upstream the same query, or the part of it that is unknown; keep what it says."""
        if not self._rules.asks(demand):
            raise self._cannot_alone(selection, reason, demand)
        try:
            found = await self._answers.ask(selection, n, demand)
        except UpstreamRefused:
            raise  # JSOC has answered, and nobody else can
        except UpstreamError as error:
            if not self._rules.stale_on_failure:
                raise
            ds = str(RecordSet(selection.series.name, selection.source.filters))
            raise NotHeld(f"{error}; the mirror cannot answer {ds} from its cache: {reason}", (ds,)) from error
        return Read(found.rows, CacheStatus.FORWARDED if found.whole else CacheStatus.FILLED, found.checked_at)

    def _cannot_alone(self, selection: Selection, reason: str, demand: CacheDemand) -> NotHeld:
        ds = str(RecordSet(selection.series.name, selection.source.filters))
        return NotHeld(f"{self._rules.why_not(demand)}; the mirror cannot answer {ds} from its cache: {reason}", (ds,))

    def _still_missing(self, selection: Selection) -> tuple[Box, ...]:
        boxes = need(selection, implied=True)
        coverage = self._index.coverage(selection.series)
        return () if isinstance(boxes, Forward) else tuple(gap for box in boxes for gap in coverage.gaps(box))

    def _insist_on_held(
        self, series: Series, missing: Iterable[Box], demand: CacheDemand, cause: MirrorError | None = None, large: str = ""
    ) -> None:
        """NotHeld if there is anything among ``missing``; ``large``: why JSOC was asked for the whole answer."""
        missing = tuple(missing)
        if not missing:
            return
        if isinstance(cause, OverBudget):
            raise cause
        away = "JSOC is not responding"
        said = isinstance(cause, UpstreamRefused | ClusterAway) or str(cause).startswith(away)
        why = (str(cause) if said else f"{away} ({cause})") if cause else self._rules.why_not(demand)
        if large and isinstance(cause, UpstreamRefused):
            why = f"{large}; JSOC, asked for all at once, refused with status {cause.status}: {cause.message.strip().rstrip('.')}"
        spans = tuple(str(box_query(series, box)) for box in missing)
        raise NotHeld(
            f"{why}; {series.name} is not cached for: {describe(series, missing)}", spans
        ) from cause


_OWN_END = "only JSOC knows which versions are the latest"
_WITHDRAWN = "JSOC has withdrawn records of this series, whose versions are still cached"
_UNDECIDED = "the printed values are not precise enough to evaluate the condition"


def _at_most(total: int, n: int | None) -> int:
    return min(total, abs(n)) if n else total
