"""Exports: what jsoc_fetch answers. A request is decided here, and made by ``mirror.services.exports.worker``.

Cached data need no JSOC: as-is files are given by their paths, FITS files are assembled here. JSOC does processing and
pictures, except for steps that are configured to be made here: such a request goes to JSOC whole, and its files are
kept under it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from mirror.drms.export import ExportFile, ExportRequest, Failed, Finished, Immediate, Pending, RequestId
from mirror.drms.exportrules import (
    IDENTICAL_WINDOW,
    Survey,
    Verdict,
    failure,
    identity,
    megabytes,
    record_sets,
    verdict,
)
from mirror.errors import BadRequest, MirrorError, NotHeld, UnknownSeries
from mirror.humanize import of_several
from mirror.readthrough.records import CacheStatus
from mirror.readthrough.shared import Alone
from mirror.services.exports.content import PRINTED
from mirror.services.exports.planning import Plan, finished, is_readable, request_of, request_text
from mirror.services.exports.segment_files import FileLocation, label
from mirror.wire.export import AddressRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.drms.export import ExportAnswer
    from mirror.readthrough.files import Files
    from mirror.readthrough.policy import Rules
    from mirror.readthrough.shared import Shared
    from mirror.readthrough.structures import Listing
    from mirror.services.exports.jobs import Job, Jobs
    from mirror.services.exports.planning import ExportPlanner
    from mirror.services.exports.worker import ExportJobs
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.holdings import Holding, Holdings

#: Our request ids count from here, far above what JSOC assigns in a day, so that the two never collide.
FIRST_NUMBER = 900_000
#: Seconds that a client is asked to wait before it polls again.
WAIT, LONGEST_WAIT = 1, 600
NOT_REGISTERED = "Cannot process your request. email address has been neither validated nor registered"
REGISTERED = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer to an export request; ``origin`` and ``checked_at`` say how its records were found.

    ``absent``: the answer is an error because JSOC knows no such series, at least not in the database that it asks
    first.
    """

    answer: ExportAnswer
    origin: CacheStatus = CacheStatus.LOCAL
    checked_at: float | None = None
    absent: bool = False
    elsewhere: str | None = None  #: another mirror of the cluster has the identical request, under this id


class _MadeElsewhere(Exception):
    """Another mirror has the identical request."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class Exports:
    """Answers to exp_request and exp_status; ``upstream_answers`` is false while upstream is left alone."""

    def __init__(
        self,
        planner: ExportPlanner,
        holdings: Holdings,
        adopted: Adopted,
        jobs: Jobs,
        worker: ExportJobs,
        listing: Listing,
        rules: Rules,
        files: Files,
        default_address: str | None,
        upstream_answers: Callable[[], bool],
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared or Alone()
        self._upstream_answers = upstream_answers
        self._files = files
        self._planner = planner
        self._holdings = holdings
        self._adopted = adopted
        self._jobs = jobs
        self._worker = worker
        self._listing = listing
        self._rules = rules
        self._default_address = default_address

    async def asked(self, request: ExportRequest, *, nameless: bool = False, alone: bool = True) -> Asked:
        """The answer to an export request, and how its records were found; errors are answers too.

        JSOC wants an address with every request. With ``nameless`` archived files are given without one: JSOC is asked
        for an address only if it must bring them back from tape. Unless ``alone``, another mirror of the cluster that
        made the identical request is named instead of making it again.
        """
        try:
            needs_address = request.alters_data or not nameless
            if needs_address and not await self._may_export(request):
                return Asked(Failed(4, NOT_REGISTERED))
            if not self._worker.makes(request):
                return Asked(await self._whole(request, alone=alone), CacheStatus.FORWARDED)
            plan = await self._planner.plan(request)
            return Asked(await self._of_files(plan, alone=alone), plan.origin, plan.checked_at)
        except _MadeElsewhere as made:
            there = Pending(made.request_id, request.method, request.protocol.text, WAIT, 0, 0)
            return Asked(there, elsewhere=made.request_id)
        except UnknownSeries as problem:
            failed = Failed(4, f"Cannot export series '{problem.name}' - it does not exist.\n")
            return Asked(failed, absent=True)
        except MirrorError as problem:
            return Asked(failure(problem, request))

    async def status(self, request_id: str) -> ExportAnswer | None:
        """The state of a request; None if it is not one of ours."""
        job = await self._jobs.get(request_id)
        if job is None:
            return None
        request = request_of(job)
        if job.state == "failed":
            return Failed(
                4, job.error or "", job.id, request.method, request.protocol.text, contact="this mirror"
            )
        if job.state != "done" or not await self._worker.still_held(job):
            rcount = len({f.record for f in job.files})
            return Pending(
                job.id, request.method, request.protocol.text, self._wait(job), rcount, 0, status=1
            )
        return finished(job)

    async def values(self, request_id: str) -> str | None:
        """PRINTED if keywords in files of an export have only the digits that print, else None."""
        job = await self._jobs.get(request_id)
        return PRINTED if job is not None and any(f.printed for f in job.files) else None

    def _wait(self, job: Job) -> int:
        """Seconds after which it may be worth polling a running job."""
        if job.trouble is None:
            return WAIT
        return min(LONGEST_WAIT, max(WAIT, math.ceil(job.trouble.next_at - self._rules.timestamp())))

    async def _of_files(self, plan: Plan, *, alone: bool) -> ExportAnswer:
        """The answer to a request for files as archived, or with keywords."""
        request = plan.request
        held = await self._held(plan)
        decided = verdict(request, _survey(plan, held))
        if isinstance(decided, Failed):
            return decided
        if decided is Verdict.AT_ONCE:
            _all_have_units(plan)
            # Clients fetch these by their paths only.
            self._files.expect(w.source for w in plan.files if w.path)
            return _immediate(plan, held)
        name = identity(request, plan.query, [row.recnum for row in plan.rows])
        job, new = await self._submit(request, name, alone=alone)
        size = megabytes(sum(h.blob.size for h in held.values())) or int(bool(plan.files))
        if new and (lacking := await self._lacking(plan, held)):
            several = of_several(len(lacking), len(plan.files), "file", "is", "are")
            why = f"the mirror is offline, and {several} not cached: {lacking[0]}"
            await self._jobs.advance(job.id, "failed", error=why)
            raise NotHeld(why, tuple(lacking))
        if not new and not self._may_be_better(job):
            return await self._in_a_moment(
                Pending(job.id, request.method, request.protocol.text, 0, len(plan.rows), 0)
            )
        await (self._worker.start(job) if new else self._worker.remake(job))
        return await self._in_a_moment(
            Pending(job.id, request.method, request.protocol.text, WAIT, len(plan.rows), size)
        )

    async def _in_a_moment(self, accepted: Pending) -> ExportAnswer:
        """The answer to a request that was just accepted: its files, if they are ready in a moment."""
        await self._worker.settled(accepted.request_id)
        answer = await self.status(accepted.request_id)
        return answer if isinstance(answer, Finished) else accepted

    async def _whole(self, request: ExportRequest, *, alone: bool) -> ExportAnswer:
        """The answer to a request that only JSOC can work on."""
        query = record_sets(request)
        job, new = await self._submit(request, identity(request, query), alone=alone)
        if not new:
            return await self._in_a_moment(Pending(job.id, request.method, request.protocol.text, 0, 0, 0))
        if not self._rules.may_ask:
            why = f"{request.process.text or request.protocol.text} must be made by JSOC"
            await self._jobs.advance(job.id, "failed", error=f"{why}, and the mirror is offline")
            raise NotHeld(f"{why}, and the mirror is offline", (request.ds,))
        await self._worker.start_whole(job)
        return Pending(job.id, request.method, request.protocol.text, WAIT, 0, 0)

    async def _lacking(self, plan: Plan, held: dict[tuple[int, str], Holding]) -> list[str]:
        """The files that an offline mirror cannot give, as record sets; a job would only wait for them."""
        if self._rules.may_ask:
            return []
        fits = not plan.request.protocol.as_is
        recnums = [row.recnum for row in plan.rows]
        exports = await self._adopted.of_records(plan.series.name, recnums) if fits else {}
        wanted = [w for w in plan.files if w.place is not FileLocation.NOWHERE]
        return [
            f"{w.record}{{{w.segment}}}" for w in wanted if w.key not in held and w.owner not in exports
        ]

    def _may_be_better(self, job: Job) -> bool:
        """True if an export was made from printed values while JSOC was away, and JSOC is back."""
        return job.state == "done" and any(f.printed for f in job.files) and self._upstream_answers()

    async def _submit(self, request: ExportRequest, name: str, *, alone: bool) -> tuple[Job, bool]:
        now = self._rules.now().astimezone(UTC)
        day = f"{now:%Y%m%d}"
        since = now.timestamp() - IDENTICAL_WINDOW * 3600
        if not alone and (made := await self._shared.same_export(name, since)) is not None:
            raise _MadeElsewhere(made)
        return await self._jobs.submit(
            request_text(request),
            name,
            day=day,
            name=lambda n: str(RequestId(day, FIRST_NUMBER + self._shared.job_number(n))),
            same_since=since,
            readable=is_readable,
        )

    async def _may_export(self, request: ExportRequest) -> bool:
        """True if the address is registered; if that cannot be checked, JSOC will not be asked with it either."""
        address = request.notify or self._default_address
        if not address:
            return False
        try:
            return (await self._listing.check_address(AddressRequest(address))).status == REGISTERED
        except NotHeld:
            return True

    async def _held(self, plan: Plan) -> dict[tuple[int, str], Holding]:
        """The cached files of a plan, by record number and segment."""
        recnums = [row.recnum for row in plan.rows]
        found = await self._holdings.of_records(plan.series.name, recnums)
        return {(h.record.recnum, h.record.segment): h for h in found if h.record is not None}


def _survey(plan: Plan, held: dict[tuple[int, str], Holding]) -> Survey:
    existing = [w for w in plan.files if w.place is not FileLocation.NOWHERE or w.key in held]
    offline = [w for w in existing if w.place is FileLocation.OFFLINE and w.key not in held]
    sizes = [held[w.key].blob.size for w in existing if w.key in held]
    typical = sum(sizes) // len(sizes) if sizes else 1
    total = sum(sizes) + typical * (len(existing) - len(sizes))
    return Survey(len(plan.rows), len(existing), total, online=not offline)


def _all_have_units(plan: Plan) -> None:
    """BadRequest for a record that never had files of its own; JSOC's program crashes on it."""
    linked = {s.name for s in plan.series.segments if s.protocol.startswith("link via ")}
    for w in plan.files:
        if w.place is FileLocation.NOWHERE and w.sunum < 0 and w.segment not in linked:
            raise BadRequest(f"{w.record} has no file for {w.segment}; expected records that have all")


def _immediate(plan: Plan, held: dict[tuple[int, str], Holding]) -> Immediate:
    files = []
    for w in plan.files:
        holding = held.get(w.key)
        path = w.path or (holding.path if holding else "")
        if path:
            files.append(ExportFile(label(plan.series, w), path))
    size = megabytes(sum(h.blob.size for h in held.values())) or 1
    records = len({f.record.rpartition("{")[0] for f in files})
    return Immediate(records, size, tuple(files), plan.request.method, plan.request.protocol.text)
