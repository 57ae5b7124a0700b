"""Large fills: everything that is missing of a record set is fetched, because somebody asked for it.

1. A fill is cut into chunks, open ends included: first it is determined how many records there are and where, then
   the chunks are fetched in order, two at a time. Memory does not grow with the fill.
2. ``Filler.fetch`` fetches a chunk after everything that people ask for. A request for a part of the fill waits for
   at most the chunk that has it, and gets no error of another chunk.
3. A chunk that fails is retried after all others. While nothing arrives, the pauses grow, and after a day of them the
   fill has failed; a chunk that JSOC refuses is tried three times. The last error is shown all the while.
4. What is committed stays, whatever happens to the fill. One that has not ended when the mirror stops continues when it
   starts: its row has the record set, the coverage what is still missing.

``Filling`` shows people what a record set lacks, and starts fills.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import asdict as asdict_of

from mirror.api.contract import UNSET
from mirror.api.coverage import Gap, Gaps
from mirror.api.exports import ENDED_STATES, Job, Waits
from mirror.api.fills import Fill
from mirror.concurrency import cancel, nap
from mirror.coverage.axis import coverage_axis
from mirror.coverage.intervals import MAX
from mirror.coverage.plan import Forward, need
from mirror.coverage.wording import ends, restriction
from mirror.drms.parser import parse_query
from mirror.drms.recordset import RecordSetQuery
from mirror.errors import (
    BadRequest,
    MirrorError,
    NotHeld,
    Refused,
    TooMany,
    UnknownName,
    UpstreamRefused,
)
from mirror.humanize import stamp, utc
from mirror.readthrough.chunks import chunks, head_and_rest
from mirror.services.exports.cutting import given_up, next_try
from mirror.services.search.names import check_segments
from mirror.storage.database.database import KeyedTable, Tables, if_possible
from mirror.upstream.pacing import Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from mirror.coverage.coverage import Box
    from mirror.drms.series import Series
    from mirror.readthrough.filler import Filler
    from mirror.readthrough.first_last import FirstLast
    from mirror.readthrough.policy import Rules
    from mirror.services.estimates import Estimates
    from mirror.services.exports.jobs import Trouble
    from mirror.services.search.search import Search
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.index import Index

log = logging.getLogger(__name__)

State = Literal["running", "waiting", "done", "failed", "cancelled", "unreadable"]

#: The ids of fills; the number tells which mirror of a cluster has it.
FILL = re.compile(r"FILL_\d{8}_(\d{1,18})")

#: Fills that may run at a time, and ended ones that are kept.
MOST, REMEMBERED = 50, 100
#: Chunks of one fill under way at a time: one is fetched while another is stored.
_ABREAST = 2
#: How often a chunk that JSOC refuses is tried.
_REFUSALS = 3
#: The factor by which pieces grow where a span turns out to be sparse.
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class FillJob:
    """A fill, as it is now. Times are Unix seconds.

    ``records`` have arrived of about ``total`` (None: not counted yet), at ``rate`` records a second. It is
    ``running``; ``waiting`` until ``next_try`` because of ``error``; ``done``; ``failed`` with its last ``error``; or
    ``cancelled``. One whose row cannot be read is ``unreadable``, with an ``error`` that says why; the row stays as it
    is.
    """

    id: str
    ds: str
    by: str
    state: State
    created: float
    updated: float
    records: int = 0
    total: int | None = None
    rate: float = 0.0
    error: str | None = None
    next_try: float | None = None

    @property
    def ended(self) -> bool:
        """True if nothing happens any more."""
        return self.state in ENDED_STATES

    @property
    def seconds_left(self) -> float | None:
        """The time left, as far as it is known."""
        if self.ended or self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.records) / self.rate


@dataclass(slots=True)
class _Stride:
    """The axis values of a piece, adapted so that pieces have about as many records as they should."""

    slots: int


@dataclass(frozen=True, slots=True)
class _Span:
    """A part of a fill that is fetched in pieces; ``refused`` counts JSOC's refusals."""

    series: Series
    box: Box
    stride: _Stride
    refused: int = 0


@dataclass(slots=True)
class _Run:
    """A fill under way: its value, what is left, the errors since something last arrived, and what wakes it."""

    job: FillJob
    began: float
    spans: deque[_Span] = field(default_factory=deque)
    trouble: Trouble | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Fills:
    """The fills of a mirror; ``sleep`` waits for seconds, ``number`` gives what no other mirror calls the n-th of a day."""

    def __init__(
        self,
        search: Search,
        extremes: FirstLast,
        index: Index,
        filler: Filler,
        rules: Rules,
        database: Database,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        number: Callable[[int], int] = lambda n: n,
    ) -> None:
        self._search = search
        self._extremes = extremes
        self._index = index
        self._filler = filler
        self._rules = rules
        self._tables = Tables(database)
        self._table = KeyedTable(database, "fills")
        self._sleep = sleep
        self._number = number
        self._jobs: dict[str, FillJob] = {}  #: oldest first
        self._running: dict[str, tuple[_Run, asyncio.Task[None]]] = {}

    # ---- for others --------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Load the fills of this store, and continue those that had not ended."""
        rows = await self._table.rows()
        known = sorted((_read(*row) for row in rows), key=lambda job: (job.created, job.id))
        for job in known:
            if job.state == "unreadable":
                log.warning("fill not resumed id=%s error=%s", job.id, job.error)
        self._jobs |= {job.id: job for job in known}
        for job in known:
            if not job.ended:  # what it has fetched is no longer missing, and is not counted again
                self._begin(replace(job, state="running", records=0, total=None, rate=0.0, next_try=None))

    async def start(self, ds: str, by: str) -> FillJob:
        """Begin to fetch what is missing of a record set, asked for by ``by``; or join the same fill if it is under way.

        Raises what is wrong with the record set, Refused for what cannot be fetched in parts, TooMany if too many
        others run, NotHeld if JSOC must not be asked.
        """
        if not self._rules.may_ask:
            raise NotHeld("the mirror is offline, nothing can be fetched", (ds,))
        gaps = await self.gaps(ds)
        for series, box in gaps:
            if coverage_axis(series) is None:
                await self._filler.extent(series, box, Priority.PEOPLE)  # Refused unless it is small
        # From here on without any await, until it runs: others may begin the same one meanwhile.
        for run, _ in self._running.values():
            if run.job.ds == ds:
                return run.job
        if len(self._running) >= MOST:
            raise TooMany(f"{MOST} fills are running already; wait until one has ended")
        now = self._rules.timestamp()
        job = FillJob(self._new_id(), ds, by, "running", now, now)
        if gaps:
            self._begin(job)
        else:
            job = replace(job, state="done", total=0)
        await if_possible(self._keep(job), "the row of a fill")
        return job

    def list(self) -> tuple[FillJob, ...]:
        """The fills that are under way, and the last that ended, newest first."""
        return tuple(self._jobs.values())[::-1]

    def get(self, fill_id: str) -> FillJob | None:
        """The fill of that id, or None."""
        return self._jobs.get(fill_id)

    async def cancel(self, fill_id: str) -> FillJob:
        """End a fill: only chunks that somebody else needs are still fetched. One that has ended stays as it is.

        UnknownName if there is none of that id.
        """
        if fill_id not in self._jobs:
            raise UnknownName(f"no fill {fill_id!r}; see `mirror jobs` for IDs")
        if fill_id in self._running:
            run, task = self._running[fill_id]
            await cancel(task)
            if not run.job.ended:
                await self._change(run, state="cancelled", next_try=None)
        return self._jobs[fill_id]

    async def ended(self, fill_id: str) -> FillJob:
        """The fill once it has ended."""
        if fill_id in self._running:
            await asyncio.wait([self._running[fill_id][1]])
        return self._jobs[fill_id]

    def try_now(self) -> None:
        """Continue every paused fill: what kept it waiting is over."""
        for run, _ in self._running.values():
            if run.job.state == "waiting":
                run.woken.set()

    async def stop(self) -> None:
        """End all work; it continues at the next start."""
        tasks = [task for _, task in self._running.values()]
        await cancel(*tasks)

    async def gaps(self, ds: str) -> tuple[tuple[Series, Box], ...]:
        """What is not cached of a record set; Refused for one whose records only JSOC can determine."""
        found: tuple[tuple[Series, Box], ...] = ()
        for selection in await self._search.selections(ds):
            check_segments(selection.series, selection.source.segments)
            resolved = (await self._extremes.resolve(selection)).selection
            boxes = need(resolved) if resolved is not None else ()
            if isinstance(boxes, Forward):
                raise Refused(f"{ds!r} cannot be fetched in parts: {boxes.reason}")
            coverage = self._index.coverage(selection.series)
            found += tuple((selection.series, gap) for box in boxes for gap in coverage.gaps(box))
        return found

    # ---- one fill ----------------------------------------------------------------------------------

    def _begin(self, job: FillJob) -> None:
        run = _Run(job, self._rules.timestamp())
        self._jobs[job.id] = job
        task = asyncio.ensure_future(self._work(run))
        self._running[job.id] = run, task
        task.add_done_callback(lambda _: self._running.pop(job.id, None))

    async def _work(self, run: _Run) -> None:
        try:
            while not await self._surveyed(run):
                pass
            while run.spans:
                await self._round(run)
            await self._change(run, state="done", error=None)
        except BadRequest as problem:
            await self._fail(run, str(problem))
        except _GivenUp as end:
            await self._fail(run, str(end))
        except Exception:
            log.exception("fill failed id=%s", run.job.id)
            await self._fail(run, "internal error in this fill; see the mirror's log")

    async def _surveyed(self, run: _Run) -> bool:
        """Find out what is missing, and how much that is; False if it must be retried."""
        try:
            surveys = [
                await self._survey(series, box)
                for series, gap in await self.gaps(run.job.ds)
                for box in chunks(gap, MAX)
            ]
        except BadRequest:
            raise
        except MirrorError as problem:
            await self._note(run, problem)
            await self._rest(run)
            return False
        run.spans, run.trouble = deque(span for span, _ in surveys if span.box.steps), None
        total = run.job.records + sum(count for _, count in surveys)
        await self._change(run, state="running", total=total)
        return True

    async def _survey(self, series: Series, box: Box) -> tuple[_Span, int]:
        """A box cut to its first and last record, and about how many records it has."""
        guess = self._filler.guess(series, box)
        if box.bounded and guess <= self._filler.background_records():
            return _Span(series, box, _Stride(MAX)), round(guess)
        extent = await self._filler.extent(series, box, Priority.SUBSCRIPTION)
        if extent.first is not None and extent.last is not None:
            inner = [cut for s in box.steps if (cut := s.cut(extent.first, extent.last))]
            box = replace(box, steps=tuple(inner))
        return _Span(series, box, _Stride(self._slots(box, extent.count))), extent.count

    def _slots(self, box: Box, count: int) -> int:
        """How many axis values a piece has, so that it has about as many records as are fetched while nobody waits."""
        if not box.bounded or not count:
            return MAX
        return max(1, box.slots() * self._filler.background_records() // count)

    async def _round(self, run: _Run) -> None:
        """Fetch everything that is left once; what fails is left for the next round."""
        later: deque[_Span] = deque()
        flying: set[asyncio.Task[None]] = set()
        try:
            while run.spans or flying:
                while run.spans and len(flying) < _ABREAST and run.job.state == "running":
                    span = run.spans.popleft()
                    head, rest = head_and_rest(span.box, span.stride.slots)
                    if rest is not None:
                        run.spans.appendleft(replace(span, box=rest))
                    flying.add(asyncio.ensure_future(self._piece(run, replace(span, box=head), later)))
                if flying:
                    done, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                if run.trouble is not None and not flying:
                    await self._rest(run)
        finally:
            await cancel(*flying)
        run.spans = later

    async def _piece(self, run: _Run, span: _Span, later: deque[_Span]) -> None:
        """Fetch one piece; if it fails, it is left for later."""
        try:
            came = await self._filler.fetch(span.series, span.box, Priority.SUBSCRIPTION)
        except UpstreamRefused as problem:
            if span.refused + 1 >= _REFUSALS:
                raise _GivenUp(f"JSOC refused a part {_REFUSALS} times: {problem.message}") from problem
            later.append(replace(span, refused=span.refused + 1))
            await self._note(run, problem)
        except BadRequest:
            raise
        except MirrorError as problem:
            later.append(span)
            await self._note(run, problem)
        else:
            self._adapt(span.stride, span.box, came)
            run.trouble = None
            records = run.job.records + came
            seconds = self._rules.timestamp() - run.began
            rate = records / seconds if seconds > 0 else 0.0
            await self._change(run, state="running", records=records, rate=rate, next_try=None)

    def _adapt(self, stride: _Stride, piece: Box, came: int) -> None:
        """Larger pieces where the last had few records, smaller where it had many."""
        wanted = self._filler.background_records()
        if piece.bounded and piece.slots() >= stride.slots and not wanted // 2 <= came <= wanted * 2:
            fitting = piece.slots() * wanted // max(1, came)
            stride.slots = max(1, min(fitting, stride.slots * _GROWTH))

    # ---- what went wrong ------------------------------------------------------------------------------

    async def _note(self, run: _Run, problem: MirrorError) -> None:
        """Note a failure that may pass; another piece that fails meanwhile counts once."""
        if run.job.state == "waiting":
            return
        now = self._rules.timestamp()
        trouble = next_try(run.trouble, problem, now)
        if trouble is None:
            raise _GivenUp(given_up(run.trouble, str(problem)))
        run.trouble = trouble
        log.warning("fill waits id=%s seconds=%.0f error=%s", run.job.id, trouble.next_at - now, problem)
        await self._change(run, state="waiting", error=str(problem), next_try=trouble.next_at)

    async def _rest(self, run: _Run) -> None:
        """Wait until the next try is due."""
        if run.job.state != "waiting" or run.trouble is None:
            return
        await nap(self._sleep, run.trouble.next_at - self._rules.timestamp(), run.woken)
        await self._change(run, state="running", next_try=None)

    async def _fail(self, run: _Run, why: str) -> None:
        log.warning("fill failed id=%s error=%s", run.job.id, why)
        await self._change(run, state="failed", error=why, next_try=None)

    # ---- values and rows ------------------------------------------------------------------------------

    async def _change(self, run: _Run, **changes: object) -> None:
        """Change the value of a fill; a row is written when its state changes.

        One that cannot be written, on a full disk, ends no fill: after a restart it goes on from its last row.
        """
        before = run.job
        job = replace(before, **changes, updated=self._rules.timestamp())  # type: ignore[arg-type]
        run.job = self._jobs[job.id] = job
        if job.state != before.state:
            await if_possible(self._keep(job), "the row of a fill")

    async def _keep(self, job: FillJob) -> None:
        self._jobs[job.id] = job
        ended = [known.id for known in self._jobs.values() if known.ended and known.state != "unreadable"]
        gone = ended[: max(0, len(ended) - REMEMBERED)]
        for fill_id in gone:
            del self._jobs[fill_id]

        def work(cursor: Cursor) -> None:
            self._table.write(cursor, job.id, json.dumps(asdict(job)), job.updated)
            for fill_id in gone:
                self._table.drop(cursor, fill_id)

        await self._tables.write(work)

    def _new_id(self) -> str:
        day = f"FILL_{utc(self._rules.timestamp()):%Y%m%d}_"
        highest = max((int(known[1]) for job_id in self._jobs if (known := FILL.fullmatch(job_id)) and job_id.startswith(day)), default=0)
        return f"{day}{next(number for n in count(1) if (number := self._number(n)) > highest):03d}"


def _read(key: str, value: str, noted_at: float) -> FillJob:
    """A fill as its row has it; members that a newer version added are passed over."""
    try:
        job = msgspec.json.decode(value, type=FillJob)
    except (msgspec.DecodeError, UnicodeEncodeError) as problem:
        return FillJob(key, "", "", "unreadable", noted_at, noted_at, error=f"fill {key} cannot be read: {problem}")
    return replace(job, id=key)


class _GivenUp(MirrorError):
    """A fill is not tried any more, and why."""


#: Gaps that are listed one by one; the others are summed up.
MOST_LISTED = 500


class Filling:
    """Finds gaps, and fills them."""

    def __init__(self, fills: Fills, estimates: Estimates) -> None:
        self._fills = fills
        self._estimates = estimates

    async def gaps(self, ds: str) -> Gaps:
        """The parts of a record set that are not completely cached."""
        return _listed(await self._fills.gaps(ds))

    async def fill(self, ds: str, by: str) -> Fill:
        """Start a fill of what is missing of a record set: the gaps, and the fill. Raises as ``Fills.start``."""
        missing = _listed(await self._fills.gaps(ds))
        job = asdict_of(fill_line(await self._fills.start(ds, by)))
        return Fill(**asdict_of(missing), **{name: value for name, value in job.items() if value is not UNSET})

    async def estimate(self, ds: str) -> Fill:
        """What a fill of a record set would fetch: records only, whatever segments it names."""
        missing = _listed(await self._fills.gaps(ds))
        sets = tuple(replace(part, segments=None) for part in parse_query(ds).sets)
        found = await self._estimates.estimate(str(RecordSetQuery(sets)))
        return Fill(**asdict_of(missing), estimate=found.summary())


def fill_line(job: FillJob) -> Job:
    """A fill with the members that every job has."""
    left = job.seconds_left
    waits = Waits(why=job.error, next_try=stamp(job.next_try)) if job.next_try is not None else None
    return Job(
        id=job.id,
        kind="fill",
        state=job.state,
        ready=job.records,
        total=job.records if job.state == "done" else job.total or 0,
        counted="records",
        seconds_left=None if left is None else round(left),
        bytes=0,
        ds=job.ds,
        by=job.by,
        created=stamp(job.created),
        updated=stamp(job.updated),
        error=job.error,
        waits=waits,
        notes=[],
        files=[],
    )


def _listed(found: Sequence[tuple[Series, Box]]) -> Gaps:
    lines = [line for series, box in found for line in _lines(series, box)]
    slots = [line.slots for line in lines if line.slots is not None]
    return Gaps(
        gaps=lines[:MOST_LISTED], count=len(lines), slots=sum(slots) if len(slots) == len(lines) else None
    )


def _lines(series: Series, box: Box) -> Iterator[Gap]:
    for steps in box.steps:
        first, last = ends(series, box.region, steps.lo, steps.hi)
        yield Gap(
            series=series.name,
            restriction=restriction(series, box.region),
            first=first,
            last=last,
            slots=len(steps) if box.bounded else None,
        )
