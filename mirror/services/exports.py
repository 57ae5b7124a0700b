"""Exports: what jsoc_fetch answers. A request is decided on here, and made by ``mirror.services.exportjobs``.

Everything that the mirror holds needs no JSOC: as-is files by their paths, FITS files assembled here.
Processing and pictures are JSOC's: such a request goes there whole, and its files are kept under it.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from mirror.drms.errors import BadRequest, MirrorError, NotHeld, UnknownSeries
from mirror.drms.export import ExportFile, ExportRequest, Failed, Immediate, Pending, RequestId
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
from mirror.services.exportplan import Plan, finished, request_of, request_text
from mirror.services.wanted import Wanted, Where
from mirror.wire.address import AddressRequest

if TYPE_CHECKING:
    from mirror.drms.export import ExportAnswer
    from mirror.engine.policy import Rules
    from mirror.services.exportjobs import ExportJobs
    from mirror.services.exportplan import ExportPlanner
    from mirror.services.listing import Listing
    from mirror.storage.holdings import Holding, Holdings
    from mirror.storage.jobs import Job, Jobs

#: Request ids of ours count from here, far above what JSOC hands out in a day, so that none is both.
FIRST_NUMBER = 900_000
#: Seconds that a client is told to wait before it asks again.
WAIT = 1
NOT_REGISTERED = "Cannot process your request. email address has been neither validated nor registered"
REGISTERED = 2


class Exports:
    """Answers to exp_request and exp_status."""

    def __init__(
        self,
        planner: ExportPlanner,
        holdings: Holdings,
        jobs: Jobs,
        worker: ExportJobs,
        listing: Listing,
        rules: Rules,
        default_address: str | None,
    ) -> None:
        self._planner = planner
        self._holdings = holdings
        self._jobs = jobs
        self._worker = worker
        self._listing = listing
        self._rules = rules
        self._default_address = default_address

    async def request(self, request: ExportRequest, *, nameless: bool = False) -> ExportAnswer:
        """The answer to an export request; what is wrong with it is an answer too.

        JSOC wants an address with every request. With ``nameless`` files of the archive are given without:
        JSOC is asked for one only if it must bring them back from tape.
        """
        try:
            needs_address = request.alters_data or not nameless
            if needs_address and not await self._may_export(request):
                return Failed(4, NOT_REGISTERED)
            if request.alters_data:
                return await self._whole(request)
            return await self._of_files(await self._planner.plan(request))
        except UnknownSeries as problem:
            return Failed(4, f"Cannot export series '{problem.name}' - it does not exist.\n")
        except MirrorError as problem:
            return failure(problem)

    async def status(self, request_id: str) -> ExportAnswer | None:
        """How a request is doing; None if it is none of ours."""
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
            return Pending(job.id, request.method, request.protocol.text, WAIT, rcount, 0, status=1)
        return finished(job)

    async def _of_files(self, plan: Plan) -> ExportAnswer:
        """The answer to a request for files as they are archived, or with keywords."""
        request = plan.request
        held = await self._held(plan)
        decided = verdict(request, _survey(plan, held))
        if isinstance(decided, Failed):
            return decided
        if decided is Verdict.AT_ONCE:
            _all_have_units(plan)
            return _immediate(plan, held)
        name = identity(request, plan.query, [row.recnum for row in plan.rows])
        job, new = await self._submit(request, name)
        size = megabytes(sum(h.blob.size for h in held.values())) or int(bool(plan.files))
        if not new:
            return Pending(job.id, request.method, request.protocol.text, 0, len(plan.rows), 0)
        await self._worker.start(job)
        return Pending(job.id, request.method, request.protocol.text, WAIT, len(plan.rows), size)

    async def _whole(self, request: ExportRequest) -> ExportAnswer:
        """The answer to a request that only JSOC can work on."""
        query = record_sets(request)
        job, new = await self._submit(request, identity(request, query))
        if not new:
            return Pending(job.id, request.method, request.protocol.text, 0, 0, 0)
        if not self._rules.may_ask:
            why = f"{request.process.text or request.protocol.text} is made by JSOC only"
            await self._jobs.advance(job.id, "failed", error=f"{why}, and the mirror is offline")
            raise NotHeld(f"{why}, and the mirror is offline", (request.ds,))
        answer = await self._worker.start_whole(job)
        return answer or Pending(job.id, request.method, request.protocol.text, WAIT, 0, 0)

    async def _submit(self, request: ExportRequest, name: str) -> tuple[Job, bool]:
        now = self._rules.now().astimezone(UTC)
        day = f"{now:%Y%m%d}"
        return await self._jobs.submit(
            request_text(request),
            name,
            day=day,
            name=lambda n: str(RequestId(day, FIRST_NUMBER + n)),
            same_since=now.timestamp() - IDENTICAL_WINDOW * 3600,
        )

    async def _may_export(self, request: ExportRequest) -> bool:
        """True if the address is registered; where nobody can tell, nothing will be asked with it either."""
        address = request.notify or self._default_address
        if not address:
            return False
        try:
            return (await self._listing.check_address(AddressRequest(address))).status == REGISTERED
        except NotHeld:
            return True

    async def _held(self, plan: Plan) -> dict[tuple[int, str], Holding]:
        """The files of a plan that are held, by record number and segment."""
        recnums = [row.recnum for row in plan.rows]
        found = await self._holdings.of_records(plan.series.name, recnums)
        return {(h.record.recnum, h.record.segment): h for h in found if h.record is not None}


def _key(wanted: Wanted) -> tuple[int, str]:
    return wanted.owner.recnum, wanted.owner.segment


def _survey(plan: Plan, held: dict[tuple[int, str], Holding]) -> Survey:
    existing = [w for w in plan.files if w.place is not Where.NOWHERE or _key(w) in held]
    offline = [w for w in existing if w.place is Where.OFFLINE and _key(w) not in held]
    sizes = [held[_key(w)].blob.size for w in existing if _key(w) in held]
    typical = sum(sizes) // len(sizes) if sizes else 1
    total = sum(sizes) + typical * (len(existing) - len(sizes))
    return Survey(len(plan.rows), len(existing), total, online=not offline)


def _all_have_units(plan: Plan) -> None:
    """BadRequest for a record that never had files of its own; JSOC's program dies of it."""
    linked = {s.name for s in plan.series.segments if s.protocol.startswith("link via ")}
    for w in plan.files:
        if w.place is Where.NOWHERE and w.sunum < 0 and w.segment not in linked:
            raise BadRequest(f"{w.record} has no file for {w.segment}; expected records that have all")


def _immediate(plan: Plan, held: dict[tuple[int, str], Holding]) -> Immediate:
    files = []
    for w in plan.files:
        holding = held.get(_key(w))
        path = w.path or (holding.path if holding else "")
        if path:
            files.append(ExportFile(f"{w.record}{{{w.segment}}}", path))
    size = megabytes(sum(h.blob.size for h in held.values())) or 1
    records = len({f.record.rpartition("{")[0] for f in files})
    return Immediate(records, size, tuple(files), plan.request.method, plan.request.protocol.text)
