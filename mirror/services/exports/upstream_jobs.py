"""Requests that only upstream can process: processing, pictures, movies. Its files are kept under the job.

A request that upstream calls too large is made again in parts by its records, one after the other, and joined in order.
Parts are rows: a restart continues with the first that is not done.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mirror.drms.export import NO_DATA_FILE
from mirror.drms.exportrules import RETENTION, record_sets
from mirror.errors import UpstreamRefused
from mirror.services.exports.cutting import (
    as_asked_upstream,
    check_divisible,
    is_too_large,
    is_too_much_at_once,
    part_request,
    pieces_of,
    smaller,
    why_indivisible,
)
from mirror.services.exports.jobs import JobFile
from mirror.services.exports.segment_files import check_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.export import ExportFile, Finished
    from mirror.readthrough.policy import Rules
    from mirror.services.exports.jobs import JobPart, JobParts, Jobs, RunningJob
    from mirror.services.exports.planning import ExportPlanner, Plan
    from mirror.services.exports.staging import Staging, UpstreamExports
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.eviction import Pins

#: What stands for a file that is not there.
NO_FILES = frozenset({"", NO_DATA_FILE})


class WholeRequests:
    """Has requests made upstream."""

    def __init__(
        self,
        jobs: Jobs,
        parts: JobParts,
        planner: ExportPlanner,
        exports: UpstreamExports,
        staging: Staging,
        blobs: Blobs,
        pins: Pins,
        rules: Rules,
    ) -> None:
        self._jobs = jobs
        self._parts = parts
        self._planner = planner
        self._exports = exports
        self._staging = staging
        self._blobs = blobs
        self._pins = pins
        self._rules = rules

    async def files(self, work: RunningJob) -> list[JobFile]:
        """The files of a request, in order; raises what prevents upstream from making them."""
        parts = await self._parts.of(work.job.id)
        query = record_sets(work.request)
        divided = is_too_much_at_once(work.request, query) and why_indivisible(work.request, query) is None
        if not parts and divided and work.job.upstream_id is None:
            parts = await self._divided(work, None)
        if not parts:
            try:
                return await self._undivided(work)
            except UpstreamRefused as problem:
                if not is_too_large(problem):
                    raise
                refusal = problem
            parts = await self._divided(work, refusal)
        return await self._put_together(work, parts)

    # ---- undivided -------------------------------------------------------------------------------

    async def _undivided(self, work: RunningJob) -> list[JobFile]:
        async def accepted(upstream_id: str) -> None:
            if not work.job.finished:
                work.job = await self._jobs.advance(work.job.id, "staging", upstream_id=upstream_id)
            work.hear(None)

        async with self._exports.turn(work.request.notify):
            index = await self._exports.made(as_asked_upstream(work.request), work.job.upstream_id, accepted)
        work.hear(None)
        if work.job.state != "fetching" and not work.job.finished:
            work.job = await self._jobs.advance(work.job.id, "fetching")
        work.begin(len(index.files))
        return [await self._kept(work, index, row) for row in index.files]

    async def _kept(self, work: RunningJob, index: Finished, row: ExportFile) -> JobFile:
        if row.filename in NO_FILES:
            return JobFile(row.record, row.filename)
        name = row.filename.rpartition("/")[2]
        file = work.files.get((row.record, name))
        if file is None:
            folder = index.dir.rstrip("/")
            blob = await self._staging.fetched(f"{folder}/{row.filename}" if folder else row.filename)
            file = JobFile(row.record, name, blob.sha256, blob.size)
        work.came((row.record, name), file)
        return file

    # ---- in parts --------------------------------------------------------------------------------

    async def _divided(self, work: RunningJob, problem: UpstreamRefused | None) -> list[JobPart]:
        """The parts of a request; ``problem`` is upstream's answer to the whole, raised if it cannot be divided.

        Without a problem upstream is not asked for the whole. No parts if there are no records.
        """
        if problem is not None:
            check_divisible(work.request, record_sets(work.request), problem.message)
            work.hear(None)
        plan = await self._planner.plan(work.request)
        recnums = list(dict.fromkeys(row.recnum for row in plan.rows))
        if problem is not None and len(recnums) < 2:
            raise problem
        if not recnums:
            return []
        work.hear(None)
        pieces = [recnums] if problem is None else smaller(recnums, [])
        return await self._parts.divide(work.job.id, pieces_of(plan.query, pieces))

    async def _put_together(self, work: RunningJob, parts: Sequence[JobPart]) -> list[JobFile]:
        plan = await self._planner.plan(work.request)
        work.begin(sum(len(part.recnums) for part in parts))
        done: list[JobFile] = []
        left = list(parts)
        while left:
            part = left.pop(0)
            try:
                done += await self._known(part) or await self._part(work, plan, part)
            except UpstreamRefused as problem:
                if not is_too_large(problem) or len(part.recnums) < 2:
                    raise
                pieces = pieces_of(plan.query, smaller(part.recnums, [rest.recnums for rest in left]))
                left = [
                    p for p in await self._parts.divide(work.job.id, pieces) if p.position >= part.position
                ]
        check_files(work.request.filenamefmt, done)
        return done

    async def _known(self, part: JobPart) -> list[JobFile] | None:
        """The files of a finished part, if they are all cached."""
        if part.files is None:
            return None
        files = [JobFile(*row) for row in json.loads(part.files)]
        held = [f.sha256 is None or await self._blobs.find(f.sha256) is not None for f in files]
        return files if all(held) else None

    async def _part(self, work: RunningJob, plan: Plan, part: JobPart) -> list[JobFile]:
        async def accepted(upstream_id: str) -> None:
            await self._parts.accepted(work.job.id, part, upstream_id)

        request = part_request(work.request, plan.query, part.recnums)
        async with self._exports.turn(work.request.notify):
            index = await self._exports.made(request, part.upstream_id, accepted)
        files = [await self._kept(work, index, row) for row in index.files]
        await self._pin(work, files)
        rows = [(f.record, f.name, f.sha256, f.size) for f in files]
        await self._parts.done(work.job.id, part, json.dumps(rows))
        return files

    async def _pin(self, work: RunningJob, files: Sequence[JobFile]) -> None:
        until = self._rules.timestamp() + RETENTION * 86400
        hashes = [f.sha256 for f in files if f.sha256]
        await self._pins.pin(hashes, f"job:{work.job.id}", "files of an export", until=until)
