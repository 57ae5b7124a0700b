"""The work behind an export: get the files, assemble them, keep them for the client; go on after a restart.

A job's row says how far it is. Whatever is done twice after a crash gives the same: files that are held
are not fetched again, and a request that upstream has accepted is asked about under its id.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.drms.errors import BadRequest, MirrorError, UpstreamRefused
from mirror.drms.export import NO_DATA_FILE, ExportFile, Failed, Immediate, StatusRequest
from mirror.drms.exportrules import RETENTION
from mirror.engine.files import SegmentFile
from mirror.services.exportnames import check_files, check_names, told_apart
from mirror.services.exportplan import request_of
from mirror.services.wanted import Wanted, Where
from mirror.storage.jobs import JobFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.export import ExportAnswer, ExportRequest
    from mirror.engine.files import Files
    from mirror.engine.policy import Rules
    from mirror.services.assembling import Assembler
    from mirror.services.exportplan import ExportPlanner, Plan
    from mirror.services.staging import Staging
    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob
    from mirror.storage.holdings import RecordSegment
    from mirror.storage.jobs import Job, Jobs
    from mirror.storage.pins import Pins
    from mirror.upstream.client import UpstreamClient

log = logging.getLogger(__name__)

#: What stands for a file that is not there.
NO_FILES = frozenset({"", NO_DATA_FILE})
#: Files of one job that are fetched or assembled side by side; downloads still come one at a time.
AT_ONCE = 4


class ExportJobs:
    """Works on jobs."""

    def __init__(
        self,
        jobs: Jobs,
        planner: ExportPlanner,
        files: Files,
        assembler: Assembler,
        staging: Staging,
        blobs: Blobs,
        pins: Pins,
        upstream: UpstreamClient,
        rules: Rules,
    ) -> None:
        self._jobs = jobs
        self._planner = planner
        self._files = files
        self._assembler = assembler
        self._staging = staging
        self._blobs = blobs
        self._pins = pins
        self._upstream = upstream
        self._rules = rules
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, tuple[int, int]] = {}

    async def resume(self) -> None:
        """Go on with every job that had not ended."""
        for job in await self._jobs.unfinished():
            await self.start(job)

    async def start(self, job: Job) -> None:
        """Work on a job from here on."""
        if job.id not in self._tasks:
            task = asyncio.ensure_future(self._work(job))
            self._tasks[job.id] = task
            task.add_done_callback(lambda _: self._ended(job.id))

    def progress(self, job_id: str) -> tuple[int, int] | None:
        """How many files of a job are ready, of how many; None if it is not worked on, or not known yet."""
        return self._progress.get(job_id)

    async def start_whole(self, job: Job) -> ExportAnswer | None:
        """Hand a request to upstream; its refusal, or None if it is being worked on."""
        try:
            answer = await self._upstream.export(_as_asked_upstream(request_of(job)))
        except MirrorError as problem:  # nobody works on it: an identical request must be a new one
            await self._jobs.advance(job.id, "failed", error=str(problem))
            raise
        if isinstance(answer, Failed):
            await self._jobs.advance(job.id, "failed", error=answer.error)
            return answer
        if not isinstance(answer, Immediate):
            job = await self._jobs.advance(job.id, "staging", upstream_id=answer.request_id)
        await self.start(job)
        return None

    async def still_held(self, job: Job) -> bool:
        """True if every file of a job that is done is held; else it is worked on again."""
        hashes = {f.sha256 for f in job.files if is_file(f)}
        if all([sha and await self._blobs.find(sha) for sha in hashes]):
            return True
        await self.start(await self._jobs.begin_anew(job.id))
        return False

    async def stop(self) -> None:
        """End; the jobs go on at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, job_id: str) -> None:
        self._tasks.pop(job_id, None)
        self._progress.pop(job_id, None)

    # ---- one job ---------------------------------------------------------------------------------

    async def _work(self, job: Job) -> None:
        request = request_of(job)
        try:
            if request.alters_data:
                files = await self._made_upstream(job, request)
            else:
                files = await self._made_here(job, await self._planner.plan(request))
            await self._finish(job, files)
        except MirrorError as problem:
            log.warning("export failed job=%s error=%s", job.id, problem)
            await self._jobs.advance(job.id, "failed", error=str(problem))
        except Exception:
            log.exception("export failed job=%s", job.id)
            await self._jobs.advance(
                job.id, "failed", error="the mirror failed on this export; its log says why"
            )

    async def _finish(self, job: Job, files: Sequence[JobFile]) -> None:
        until = self._rules.timestamp() + RETENTION * 86400
        hashes = [f.sha256 for f in files if f.sha256]
        await self._pins.pin(hashes, f"job:{job.id}", "files of an export", until=until)
        await self._jobs.set_files(job.id, files)
        await self._jobs.advance(job.id, "done")

    async def _made_here(self, job: Job, plan: Plan) -> list[JobFile]:
        """The files of a request for as-is or FITS files."""
        self._progress[job.id] = 0, len(plan.files)
        offline = [w for w in plan.files if w.place is Where.OFFLINE]
        staged = await self._staging.bring_back(plan.series, offline, plan.request.notify) if offline else {}
        if not plan.request.protocol.as_is:
            await self._assembler.prepare(plan)
        files = [staged.get(w.owner, w) for w in plan.files]
        template = plan.request.filenamefmt
        named = told_apart(plan, files, await self._assembler.file_names(plan, files))
        check_names(template, [name for _, name in named])
        room = asyncio.Semaphore(AT_ONCE)

        async def made(wanted: Wanted, name: str) -> JobFile | None:
            async with room:
                file = await self._one(plan, wanted, name)
            self._progress[job.id] = self._progress[job.id][0] + 1, len(plan.files)
            return file

        tried = await asyncio.gather(*(made(*pair) for pair in named))
        gone = [wanted for (wanted, _), file in zip(named, tried, strict=True) if file is None]
        came = await self._returned(plan, gone) if gone else {}
        ready = [
            file or await self._one(plan, came.get(wanted.owner, wanted), name) or _no_file(plan, wanted)
            for (wanted, name), file in zip(named, tried, strict=True)
        ]
        check_files(template, ready)
        if plan.request.protocol.as_is:
            return list(ready)
        # Of what cannot be made a FITS export says nothing, as at JSOC.
        return [file for file in ready if file.sha256]

    async def _returned(self, plan: Plan, gone: Sequence[Wanted]) -> dict[RecordSegment, Wanted]:
        """Files that have left their place since it was noted, on tape perhaps: brought back as offline ones are."""
        try:
            return await self._staging.bring_back(plan.series, gone, plan.request.notify)
        except UpstreamRefused as problem:
            log.warning("files are gone series=%s files=%s error=%s", plan.series.name, len(gone), problem)
            return {}

    async def _one(self, plan: Plan, wanted: Wanted, name: str) -> JobFile | None:
        """A file of the export; None if it is not at its place in the archive any more."""
        if not wanted.path:
            return _no_file(plan, wanted)
        try:
            blob = await self._files.get(SegmentFile(wanted.path, wanted.owner, wanted.day))
            if not plan.request.protocol.as_is:
                blob = await self._assembler.assembled(plan, wanted, blob)
        except UpstreamRefused:
            return None
        except BadRequest as problem:
            log.warning("not exported record=%s segment=%s error=%s", wanted.record, wanted.segment, problem)
            return _no_file(plan, wanted)
        return JobFile(_shown(plan, wanted), name, blob.sha256, blob.size)

    async def _made_upstream(self, job: Job, request: ExportRequest) -> list[JobFile]:
        """The files of a request that upstream works on, or has worked on."""
        if job.upstream_id is None:
            answer = await self._upstream.export(_as_asked_upstream(request))
            if isinstance(answer, Failed):
                raise UpstreamRefused(answer.status, answer.error)
            if isinstance(answer, Immediate):
                return [await self._kept("", row) for row in answer.files]
            job = await self._jobs.advance(job.id, "staging", upstream_id=answer.request_id)
        index = await self._staging.finished(StatusRequest(job.upstream_id or ""))
        if job.state != "fetching":
            await self._jobs.advance(job.id, "fetching")
        return [await self._kept(index.dir, row) for row in index.files]

    async def _kept(self, folder: str, row: ExportFile) -> JobFile:
        if row.filename in NO_FILES:
            return JobFile(row.record, row.filename)
        path = row.filename if not folder else f"{folder.rstrip('/')}/{row.filename}"
        blob: Blob = await self._staging.fetched(path)
        return JobFile(row.record, row.filename.rpartition("/")[2], blob.sha256, blob.size)


def _as_asked_upstream(request: ExportRequest) -> ExportRequest:
    """The request whose files can be had one by one: those of a tar file are only there, and ours is made here."""
    return replace(request, method=request.method.removesuffix("-tar"))


def is_file(row: JobFile) -> bool:
    """False for a row that only says that there is no file; one that left the store has lost its hash."""
    return row.name not in NO_FILES


def _shown(plan: Plan, wanted: Wanted) -> str:
    """The record as the index shows it."""
    return f"{wanted.record}{{{wanted.segment}}}" if plan.request.protocol.as_is else wanted.record


def _no_file(plan: Plan, wanted: Wanted) -> JobFile:
    return JobFile(_shown(plan, wanted), NO_DATA_FILE)
