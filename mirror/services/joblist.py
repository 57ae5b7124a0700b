"""Export jobs as people see them: asked for, watched, listed. Everything given is plain JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mirror.drms.errors import BadRequest, MirrorError, Refused, UnknownName, UpstreamRefused
from mirror.drms.export import NO_DATA_FILE, Failed, Immediate
from mirror.drms.exportrules import tarfile_of
from mirror.services.exportplan import EXPORTS, request_of

if TYPE_CHECKING:
    from mirror.drms.export import ExportRequest
    from mirror.services.exportjobs import ExportJobs
    from mirror.services.exports import Exports
    from mirror.services.filelist import FileLists
    from mirror.storage.blobs import Blobs
    from mirror.storage.jobs import Job, JobFile, Jobs

#: Statuses of jsoc_fetch with which it is the request that is wrong, and those with which it is too much.
_WRONG, _TOO_MUCH = 4, (3, 7)


class JobList:
    """The exports of this mirror."""

    def __init__(
        self, jobs: Jobs, exports: Exports, worker: ExportJobs, blobs: Blobs, lists: FileLists
    ) -> None:
        self._jobs = jobs
        self._exports = exports
        self._worker = worker
        self._blobs = blobs
        self._lists = lists

    async def latest(self, n: int) -> list[dict[str, Any]]:
        """The last ``n`` exports, newest first."""
        return [self._summary(job) for job in await self._jobs.latest(n)]

    async def one(self, job_id: str, *, places: bool = False) -> dict[str, Any]:
        """An export with its files; UnknownName if there is none of that id.

        With ``places`` it is said where the files lie on this machine, which counts as a use of them.
        """
        job = await self._jobs.get(job_id)
        if job is None:
            raise UnknownName(f"no export {job_id!r} at this mirror; expected an id that `mirror jobs` lists")
        files = [await self._file(job, file, places=places) for file in job.files]
        return {**self._summary(job), "files": files}

    async def submit(self, request: ExportRequest) -> dict[str, Any]:
        """The export of a request, begun now or the one that an identical request began; raises what is wrong.

        ``request.method`` must not be url_quick, which has no export but an answer.
        """
        answer = await self._exports.request(request, nameless=True)
        if isinstance(answer, Failed):
            raise _problem(answer)
        if isinstance(answer, Immediate):
            raise Refused(f"the protocol {request.protocol.text!r} has no export here; expected as-is or fits")
        return await self.one(answer.request_id)

    async def _file(self, job: Job, file: JobFile, *, places: bool) -> dict[str, Any]:
        blob = await self._blobs.find(file.sha256) if file.sha256 else None
        told = {
            "record": file.record,
            "name": file.name,
            "size": file.size,
            "sha256": file.sha256,
            "path": f"{_directory(job)}{file.name}" if blob else "",
        }
        return {**told, "place": self._lists.place(blob)} if places and blob else told

    def _summary(self, job: Job) -> dict[str, Any]:
        request = request_of(job)
        there = [f for f in job.files if f.name not in ("", NO_DATA_FILE)]
        ready, total = self._worker.progress(job.id) or (len(there), len(job.files))
        return {
            "id": job.id,
            "state": job.state,
            "ready": ready,
            "total": total,
            "bytes": sum(f.size or 0 for f in there),
            "ds": request.ds,
            "method": request.method,
            "protocol": request.protocol.text,
            "process": request.process.text,
            "created": stamp(job.created),
            "updated": stamp(job.updated),
            "upstream_id": job.upstream_id,
            "directory": _directory(job),
            "tar": tarfile_of(f"{EXPORTS}/{job.id}", job.id, request.method),
            "error": job.error,
        }


def _directory(job: Job) -> str:
    return f"{EXPORTS}/{job.id}/"


def stamp(seconds: float) -> str:
    """A time of the store, in Unix seconds, as the API tells it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _problem(failed: Failed) -> MirrorError:
    """The error that a refused request is, with JSOC's words."""
    error = failed.error.strip()
    if failed.status == _WRONG:
        return BadRequest(error)
    return Refused(error) if failed.status in _TOO_MUCH else UpstreamRefused(failed.status, error)
