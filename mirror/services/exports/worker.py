"""The work behind an export: fetch the files, assemble them, keep them for the client; continue after a restart.

A job's row records its progress. Whatever is done twice after a crash gives the same: cached files are not fetched
again, and a request that upstream has accepted is polled under its id. A job that fails because upstream is away is
retried, at growing intervals, until nothing more has arrived for a day.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.concurrency import SingleFlight, cancel, nap
from mirror.drms.exportrules import RETENTION
from mirror.errors import MirrorError, StorageError, UpstreamBroken, UpstreamRefused
from mirror.services.exports.cutting import FIRST_PAUSE, given_up, next_try, passes
from mirror.services.exports.jobs import RunningJob
from mirror.services.exports.making import NO_FILES
from mirror.services.exports.planning import request_of
from mirror.upstream.budget import asking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mirror.drms.export import ExportRequest
    from mirror.readthrough.policy import Rules
    from mirror.services.exports.jobs import Job, JobFile, Jobs
    from mirror.services.exports.making import ExportMaking, WholeRequests
    from mirror.services.exports.staging import UpstreamExports
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.eviction import Pins

log = logging.getLogger(__name__)

#: Seconds that a client waits for upstream to accept its request; then it is asked to poll.
PATIENCE = 60.0

#: Seconds by which the answer to a request is delayed, so that it can include files that are ready at once: the drms
#: client polls only after five seconds, whatever the answer says.
HOLD = 1.0

#: The error of a job that somebody ended.
CANCELLED = "cancelled"


class ExportJobs:
    """Works on jobs; ``sleep`` waits for seconds before one that failed is tried again."""

    def __init__(
        self,
        jobs: Jobs,
        making: ExportMaking,
        whole: WholeRequests,
        exports: UpstreamExports,
        blobs: Blobs,
        pins: Pins,
        rules: Rules,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._jobs = jobs
        self._making = making
        self._whole = whole
        self._exports = exports
        self._blobs = blobs
        self._pins = pins
        self._rules = rules
        self._sleep = sleep
        self._tasks: dict[str, tuple[RunningJob, asyncio.Task[None]]] = {}
        self._mending = SingleFlight[str, None]()
        self.hold = HOLD

    async def resume(self) -> None:
        """Continue every job that had not ended; one that cannot be read stays as it is."""
        for job in await self._jobs.unfinished():
            try:
                request_of(job)
            except StorageError as problem:
                log.warning("export not resumed error=%s", problem)
                continue
            with asking(f"job:{job.id}"):
                await self.start(job)

    async def start(self, job: Job) -> None:
        """Work on a job from here on."""
        self._start(job)

    async def take_over(self, job: Job) -> None:
        """Continue a job of another mirror from here on."""
        job = await self._jobs.take_over(job)
        if not job.finished:
            await self.start(job)

    async def start_whole(self, job: Job) -> None:
        """Work on a request that goes upstream; raises its refusal, and what prevents upstream from answering.

        Then the job has failed. Where other requests come first, or upstream is overloaded, the job waits for its turn.
        """
        request = request_of(job)
        waits = self._exports.busy(request.notify)
        heard: asyncio.Future[MirrorError | None] = asyncio.get_running_loop().create_future()
        self._start(job, None if waits else heard)
        if waits:
            return
        done, _ = await asyncio.wait([heard], timeout=PATIENCE)
        if done and (refusal := heard.result()) is not None:
            raise refusal

    def makes(self, request: ExportRequest) -> bool:
        """Whether the files of a request can be made here."""
        return self._making.makes(request)

    def progress(self, job_id: str) -> tuple[int, int] | None:
        """How many files of a job are ready, of how many; None if it is not running, or not known yet."""
        work, _ = self._tasks.get(job_id, (None, None))
        if work is None or work.total is None:
            return None
        return work.ready, max(work.ready, work.total)

    async def settled(self, job_id: str, hold: float | None = None) -> None:
        """Return once a job is not running, or pauses until it is retried; after ``hold`` seconds in any case."""
        work, task = self._tasks.get(job_id, (None, None))
        if work is None or task is None:
            return
        try:
            async with asyncio.timeout(self.hold if hold is None else hold):
                await _until_paused_or_done(work, task)
        except TimeoutError:
            return  # the client asks again

    async def idle(self) -> None:
        """Return once no job is running, except those that pause until they are retried."""
        while running := [pair for pair in self._tasks.values() if not pair[0].paused.is_set()]:
            await asyncio.gather(*(_until_paused_or_done(*pair) for pair in running))

    def try_now(self) -> None:
        """Continue every paused job: what kept it waiting is over."""
        for work, _ in self._tasks.values():
            if work.paused.is_set():
                work.woken.set()

    async def still_held(self, job: Job) -> bool:
        """True if every file of a finished job is cached; otherwise the job runs again."""
        hashes = {f.sha256 for f in job.files if is_file(f)}
        if all([sha and await self._blobs.find(sha) for sha in hashes]):
            return True
        await self.start(await self._jobs.restart(job.id))
        return False

    async def remake(self, job: Job) -> None:
        """Make a finished export once more, under its id; cached files are not fetched again."""
        if job.id not in self._tasks:
            await self.start(await self._jobs.restart(job.id))

    async def refilled(self, job: Job) -> Job:
        """A job that has ended, with all its files: what left the store is fetched or made again.

        Raises what prevents that. The job's state does not change meanwhile, so its other files stay available.
        """
        if job.id in self._tasks:
            work, task = self._tasks[job.id]
            await _until_paused_or_done(work, task)
            if work.problem is not None:
                raise work.problem
        else:
            await self._mending.run(job.id, lambda: self._mend(job))
        return await self._jobs.get(job.id) or job

    async def cancel(self, job: Job) -> None:
        """End a job that has not ended: it has failed. Files under way still arrive, and are kept."""
        work, task = self._tasks.get(job.id, (None, None))
        if task is not None:
            await cancel(task)
        now = await self._jobs.get(job.id)
        if now is None or now.finished:
            return
        try:
            await self._jobs.advance(job.id, "failed", error=CANCELLED)
        except StorageError:
            now = await self._jobs.get(job.id)
            if now is None or now.finished:  # it was about to end, and that was written down first
                return
            raise
        await self._pins.unpin(f"job:{job.id}")
        if work is not None:
            work.hear(MirrorError(CANCELLED))

    async def stop(self) -> None:
        """End; the jobs continue at the next start."""
        tasks = [task for _, task in self._tasks.values()]
        await cancel(*tasks)

    # ---- one job ---------------------------------------------------------------------------------

    def _start(self, job: Job, heard: asyncio.Future[MirrorError | None] | None = None) -> None:
        if job.id not in self._tasks:
            work = RunningJob(job, request_of(job), {}, heard=heard)
            task = asyncio.ensure_future(self._work(work))
            self._tasks[job.id] = work, task
            task.add_done_callback(lambda _: self._ended(work))

    def _ended(self, work: RunningJob) -> None:
        self._tasks.pop(work.job.id, None)
        work.hear(MirrorError("the mirror is shutting down"))

    async def _work(self, work: RunningJob) -> None:
        while True:
            try:
                if await self._tried(work):
                    return
            except StorageError as problem:  # its row cannot be written, as on a full disk
                if not await self._outlasted(work, problem):
                    return
            except Exception:
                log.exception("export failed job=%s", work.job.id)
                with suppress(StorageError):
                    await self._fail(work, MirrorError("internal error in this export; see the mirror's log"))
                return

    async def _outlasted(self, work: RunningJob, problem: StorageError) -> bool:
        """Wait until its row may be written again; False if it turns out to have ended."""
        log.warning("export waits job=%s seconds=%.0f error=%s", work.job.id, FIRST_PAUSE, problem)
        work.hear(None)
        work.pause(problem)
        await nap(self._sleep, FIRST_PAUSE, work.woken)
        work.pause(None)
        job = await self._jobs.get(work.job.id)
        return job is not None and not job.finished

    async def _tried(self, work: RunningJob) -> bool:
        """One try of a job, and the pause after it if it fails; True if the job has ended."""
        try:
            await self._keep(work.job, await self._files_of(work))
            await self._jobs.advance(work.job.id, "done")
        except MirrorError as problem:
            first = work.heard is not None and not work.heard.done()
            if not passes(problem) or (first and not isinstance(problem, UpstreamRefused | UpstreamBroken)):
                return await self._fail(work, problem)
            work.hear(None)  # JSOC is there, but overloaded
            return await self._pause(work, problem)
        return True

    async def _fail(self, work: RunningJob, problem: MirrorError) -> bool:
        """Fail the job: a client that still waits gets the error; an identical request makes a new job from now on."""
        log.warning("export failed job=%s error=%s", work.job.id, problem)
        await self._jobs.advance(work.job.id, "failed", error=str(problem))
        await self._pins.unpin(f"job:{work.job.id}")  # its files are not available any more
        work.hear(problem)
        return True

    async def _pause(self, work: RunningJob, problem: MirrorError) -> bool:
        """Wait until the next try; True if it has waited long enough."""
        before = None if work.gained else work.job.trouble
        trouble = next_try(before, problem, self._rules.timestamp())
        if trouble is None:
            return await self._fail(work, MirrorError(given_up(before, str(problem))))
        pause = trouble.next_at - self._rules.timestamp()
        log.warning(
            "export waits job=%s seconds=%.0f tries=%s error=%s", work.job.id, pause, trouble.tries, problem
        )
        work.job = await self._jobs.troubled(work.job.id, trouble)
        await self._pin(work.job, list(work.files.values()))
        work.pause(problem)
        await nap(self._sleep, pause, work.woken)
        work.pause(None)
        return False

    async def _mend(self, job: Job) -> None:
        """Make its files again. The job keeps its rows, since clients know it by its id."""
        made = {(f.record, f.name): f for f in await self._files_of(RunningJob(job, request_of(job), {}))}
        lost = (replace(f, sha256=None, size=None) for f in job.files)
        await self._keep(job, [made.get((f.record, f.name), f) for f in lost])

    async def _files_of(self, work: RunningJob) -> list[JobFile]:
        """The files of a job; those that are cached already stay as they are."""
        # Files with printed values are made again: the full values may be available by now.
        known = {(f.record, f.name): f for f in work.job.files if not f.printed} | work.files
        work.files = {
            key: f for key, f in known.items() if f.sha256 and await self._blobs.find(f.sha256) is not None
        }
        here = self._making.makes(work.request) and work.job.upstream_id is None
        maker = self._making if here or not work.request.alters_data else self._whole
        return await maker.files(work)

    async def _keep(self, job: Job, files: Sequence[JobFile]) -> None:
        await self._pin(job, files)
        await self._jobs.set_files(job.id, files)

    async def _pin(self, job: Job, files: Sequence[JobFile]) -> None:
        until = self._rules.timestamp() + RETENTION * 86400
        hashes = [f.sha256 for f in files if f.sha256]
        await self._pins.pin(hashes, f"job:{job.id}", "files of an export", until=until)


async def _until_paused_or_done(work: RunningJob, task: asyncio.Task[None]) -> None:
    paused = asyncio.ensure_future(work.paused.wait())
    try:
        await asyncio.wait([task, paused], return_when=asyncio.FIRST_COMPLETED)
    finally:
        paused.cancel()


def is_file(row: JobFile) -> bool:
    """False for a row that only says that there is no file, or whose file has left the store and lost its hash."""
    return row.name not in NO_FILES
