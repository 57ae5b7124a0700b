"""Export jobs as people see them: requested, watched, listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from mirror.api import exports as api
from mirror.api.contract import UNSET
from mirror.drms.export import NO_DATA_FILE, Failed, Immediate
from mirror.drms.exportrules import tarfile_of
from mirror.errors import (
    BadRequest,
    MirrorError,
    Refused,
    StorageError,
    TooLarge,
    UnknownName,
    UpstreamRefused,
)
from mirror.humanize import counted, of_several, stamp
from mirror.redaction import redacted
from mirror.services.exports.planning import EXPORTS, is_readable, request_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.drms.export import ExportRequest
    from mirror.services.exports.file_list import FileLists
    from mirror.services.exports.jobs import Job, JobFile, JobParts, Jobs
    from mirror.services.exports.requests import Asked, Exports
    from mirror.services.exports.worker import ExportJobs
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob

#: Statuses of jsoc_fetch for a request that is wrong, that is too large, and that comes after too many others.
_WRONG, _TOO_LARGE, _TOO_MANY = 4, 3, 7


class JobList:
    """The exports of this mirror; ``now`` gives Unix seconds."""

    def __init__(
        self,
        jobs: Jobs,
        parts: JobParts,
        exports: Exports,
        worker: ExportJobs,
        blobs: Blobs,
        lists: FileLists,
        now: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._jobs = jobs
        self._exports = exports
        self._worker = worker
        self._blobs = blobs
        self._lists = lists
        self._now = now

    async def latest(self, n: int) -> list[api.Job]:
        """The last ``n`` exports, newest first."""
        jobs = await self._jobs.latest(n)
        parts = await self._parts.progress([job.id for job in jobs])
        return [self._line(job, parts.get(job.id)) for job in jobs]

    async def one(self, job_id: str, *, places: bool = False) -> api.Job:
        """An export with its files; UnknownName if there is none of that id.

        With ``places`` each file has its path on this machine, which counts as a use of it.
        """
        job = await self._jobs.get(job_id)
        if job is None:
            raise UnknownName(f"no job {job_id!r} at this mirror; see `mirror jobs` for IDs")
        blobs = await self._blobs.find_all({f.sha256 for f in job.files if f.sha256})
        files = [self._file(job, f, blobs.get(f.sha256 or ""), places=places) for f in job.files]
        parts = await self._parts.progress([job.id])
        return replace(self._line(job, parts.get(job.id)), files=files)

    async def submit(self, request: ExportRequest) -> tuple[api.Job, Asked]:
        """The export of a request, new or the one that an identical request began, and how its records were found.

        Raises what is wrong with it. ``request.method`` must not be url_quick, which makes no export.
        """
        asked = await self._exports.asked(request, nameless=True)
        answer = asked.answer
        if isinstance(answer, Failed):
            raise _problem(answer)
        if isinstance(answer, Immediate):
            raise Refused(
                f"the protocol {request.protocol.text!r} has no export here; expected as-is or fits"
            )
        return await self.one(answer.request_id), asked

    async def cancel(self, job_id: str) -> api.Job:
        """End an export that has not ended; UnknownName if there is none of that id."""
        job = await self._jobs.get(job_id)
        if job is None:
            raise UnknownName(f"no job {job_id!r} at this mirror; see `mirror jobs` for IDs")
        if is_readable(job):
            await self._worker.cancel(job)
        return await self.one(job.id)

    def _file(self, job: Job, file: JobFile, blob: Blob | None, *, places: bool) -> api.JobFile:
        whole = blob if file.front is None else None  # others are assembled while they are sent
        return api.JobFile(
            record=file.record,
            name=file.name,
            size=file.size,
            sha256=None if file.front else file.sha256,
            values="printed" if file.printed else "exact",
            path=f"{_directory(job)}{file.name}" if blob else "",
            place=(self._lists.place(whole) if whole else None) if places and blob else UNSET,
        )

    def _line(self, job: Job, parts: tuple[int, int] | None) -> api.Job:
        """An export as lists show it; one whose row cannot be read shows as that, and hides no other."""
        try:
            return self._summary(job, parts)
        except StorageError as problem:
            return unreadable_job(job.id, "export", str(problem), job.created, job.updated)

    def _summary(self, job: Job, parts: tuple[int, int] | None) -> api.Job:
        request = request_of(job)
        there = [f for f in job.files if f.name not in ("", NO_DATA_FILE)]
        ready, total = self._worker.progress(job.id) or (len(there), len(job.files))
        return api.Job(
            id=job.id,
            kind="export",
            by=None,
            state=job.state,
            ready=ready,
            total=total,
            counted="files",
            seconds_left=self._seconds_left(job, ready, total),
            bytes=sum(f.size or 0 for f in there),
            ds=redacted(request.ds),
            method=request.method,
            protocol=request.protocol.text,
            process=redacted(request.process.text),
            created=stamp(job.created),
            updated=stamp(job.updated),
            upstream_id=job.upstream_id,
            directory=_directory(job),
            tar=tarfile_of(f"{EXPORTS}/{job.id}", job.id, request.method),
            error=None if job.error is None else redacted(job.error),
            waits=_waits(job),
            notes=_notes(job, parts),
        )

    def _seconds_left(self, job: Job, ready: int, total: int) -> int | None:
        """The time left at the rate so far; None if that is unknown."""
        passed = self._now() - job.created
        if job.state != "fetching" or job.trouble is not None or not ready or passed <= 0:
            return None
        return round(passed / ready * (total - ready))


def _waits(job: Job) -> api.Waits | None:
    """Why a job pauses, and until when; None if it does not."""
    trouble = job.trouble
    if trouble is None or job.finished:
        return None
    return api.Waits(why=redacted(trouble.why), tries=trouble.tries, next_try=stamp(trouble.next_at))


def _notes(job: Job, parts: tuple[int, int] | None) -> list[str]:
    """Remarks on a job: its parts, and what its files lack."""
    printed = sum(f.printed for f in job.files)
    notes = []
    process = request_of(job).process
    if process.steps and job.upstream_id is None and parts is None and job.files:
        notes.append(f"processed by this mirror, not by JSOC: {process.text}")
    if parts is not None:
        notes.append(f"requested from JSOC in {counted(parts[1], 'part')}, {parts[0]} done")
    if printed:
        notes.append(
            f"{of_several(printed, len(job.files), 'file', 'has', 'have')} keywords with fewer digits than JSOC's, "
            "because JSOC was down when the exact values were requested"
        )
    return notes


def _directory(job: Job) -> str:
    return f"{EXPORTS}/{job.id}/"


def unreadable_job(job_id: str, kind: api.Kind, why: str, created: float, updated: float) -> api.Job:
    """A job whose row cannot be read, and why; times are Unix seconds."""
    return api.Job(
        id=job_id, kind=kind, by=None, state="unreadable", ready=0, total=0, counted="records" if kind == "fill" else "files",
        seconds_left=None, bytes=0, ds="", created=stamp(created), updated=stamp(updated), error=redacted(why), waits=None,
        notes=[], files=[],
    )  # fmt: skip


def _problem(failed: Failed) -> MirrorError:
    """The error for a refused request, with JSOC's words."""
    error = failed.error.strip()
    if failed.status == _WRONG:
        return BadRequest(error)
    if failed.status == _TOO_LARGE:
        return TooLarge(error)
    return Refused(error) if failed.status == _TOO_MANY else UpstreamRefused(failed.status, error)
