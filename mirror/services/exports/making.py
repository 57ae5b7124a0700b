"""How the files of an export come about: here, as as-is and FITS files, or at JSOC, where only JSOC can make them.

As-is and FITS files are fetched, or brought back from tape, and given their headers here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Protocol

from mirror.drms.export import NO_DATA_FILE
from mirror.drms.exportrules import RETENTION, record_sets
from mirror.errors import BadRequest, MirrorError, UpstreamRefused
from mirror.humanize import utc
from mirror.services.exports.cutting import (
    as_asked_upstream,
    check_divisible,
    is_too_large,
    is_too_much_at_once,
    part_request,
    passes,
    pieces_of,
    smaller,
    why_indivisible,
)
from mirror.services.exports.jobs import JobFile, is_before
from mirror.services.exports.segment_files import (
    FileLocation,
    check_files,
    check_names,
    distinct_names,
    label,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from mirror.drms.export import ExportFile, ExportRequest, Finished
    from mirror.readthrough.files import Files
    from mirror.readthrough.policy import Rules
    from mirror.services.exports.assembling import Assembler
    from mirror.services.exports.content import ReplacedHeader
    from mirror.services.exports.jobs import JobPart, JobParts, Jobs, RunningJob, State
    from mirror.services.exports.planning import ExportPlanner, Plan
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.exports.staging import Staging, UpstreamExports
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.eviction import Pins
    from mirror.storage.files.holdings import RecordSegment
    from mirror.storage.files.table import Blob

log = logging.getLogger(__name__)

#: Files of one job that are fetched or assembled concurrently; downloads still run one at a time.
AT_ONCE = 4


class Processor(Protocol):
    """What makes processing steps here (``mirror.services.cutouts.processing``)."""

    def makes(self, request: ExportRequest) -> bool:
        """Whether the files of a request are made here."""
        ...

    def file(self, plan: Plan, wanted: RequestedFile, archived: Blob, front: ReplacedHeader) -> Awaitable[Blob]:
        """A processed file, kept in the store; BadRequest for one that cannot be made."""
        ...


class ExportMaking:
    """Makes the files of exports that need no processing, or only steps that are made here."""

    def __init__(
        self,
        jobs: Jobs,
        planner: ExportPlanner,
        files: Files,
        assembler: Assembler,
        staging: Staging,
        adopted: Adopted,
        processor: Processor,
    ) -> None:
        self._processor = processor
        self._jobs = jobs
        self._planner = planner
        self._files = files
        self._assembler = assembler
        self._staging = staging
        self._adopted = adopted

    def makes(self, request: ExportRequest) -> bool:
        """Whether the files of a request can be made here, without JSOC's processing."""
        return not request.alters_data or self._processor.makes(request)

    async def files(self, work: RunningJob) -> list[JobFile]:
        """The files of a request, in order; raises what prevented one of them, after the others were made."""
        plan = await self._planner.plan(work.request)
        work.begin(len(plan.files))
        adopted = await self._adopted_of(plan)
        offline = [w for w in plan.files if w.place is FileLocation.OFFLINE and w.owner not in adopted]
        if offline:
            await self._reach(work, "staging")
        staged = await self._brought_back(work, plan, offline) if offline else {}
        await self._reach(work, "fetching")
        if not plan.request.protocol.as_is and any(w.owner not in adopted for w in plan.files):
            await self._assembler.prepare(plan)
        named = await self._named(plan, [staged.get(w.owner, w) for w in plan.files])
        tried = await self._tried(work, plan, named, adopted)
        gone = [wanted for (wanted, _), file in zip(named, tried, strict=True) if file is None]
        came = await self._returned(work, plan, gone) if gone else {}
        ready = [
            file
            or await self._one(plan, came.get(wanted.owner, wanted), name, adopted)
            or _no_file(plan, wanted)
            for (wanted, name), file in zip(named, tried, strict=True)
        ]
        check_files(plan.request.filenamefmt, ready)
        if plan.request.protocol.as_is:
            return ready
        # A FITS export leaves out what cannot be made, as JSOC's does.
        return [file for file in ready if file.sha256]

    async def _reach(self, work: RunningJob, state: State) -> None:
        if is_before(work.job.state, state):
            work.job = await self._jobs.advance(work.job.id, state)

    async def _named(self, plan: Plan, files: Sequence[RequestedFile]) -> list[tuple[RequestedFile, str]]:
        named = distinct_names(plan, files, await self._assembler.file_names(plan, files))
        check_names(plan.request.filenamefmt, [name for _, name in named])
        return named

    # ---- files that are online -------------------------------------------------------------------

    async def _tried(
        self,
        work: RunningJob,
        plan: Plan,
        named: Sequence[tuple[RequestedFile, str]],
        adopted: Mapping[RecordSegment, Blob],
    ) -> list[JobFile | None]:
        """The files as they arrive, None for one that is not at its place; the first problem stops the others."""
        room = asyncio.Semaphore(AT_ONCE)
        problems: list[MirrorError] = []

        async def made(wanted: RequestedFile, name: str) -> JobFile | None:
            key = _shown(plan, wanted), name
            async with room:
                if problems:
                    return None
                try:
                    file = work.files.get(key) or await self._one(plan, wanted, name, adopted)
                except MirrorError as problem:
                    problems.append(problem)
                    return None
            if file is not None:
                work.came(key, file)
            return file

        tried = await asyncio.gather(*(made(*pair) for pair in named))
        if problems:
            raise next((p for p in problems if not passes(p)), problems[0])
        return tried

    async def _one(
        self, plan: Plan, wanted: RequestedFile, name: str, adopted: Mapping[RecordSegment, Blob]
    ) -> JobFile | None:
        """A file of the export; None if it is no longer at its place in the archive."""
        export = adopted.get(wanted.owner)
        if export is not None and not (wanted.path and await self._files.held(wanted.path)):
            return JobFile(_shown(plan, wanted), name, export.sha256, export.size)
        if not wanted.path:
            return _no_file(plan, wanted)
        try:
            blob = await self._files.get(wanted.source)
            if plan.request.protocol.as_is:
                return JobFile(_shown(plan, wanted), name, blob.sha256, blob.size)
            exact = await self._assembler.exact(plan.series, wanted.owner.recnum)
            if plan.request.process.steps:
                return await self._processed(plan, wanted, name, blob, exact=exact)
            front = await self._assembler.front(plan, wanted, blob)
        except UpstreamRefused:
            return None
        except BadRequest as problem:
            log.warning("not exported record=%s segment=%s error=%s", wanted.record, wanted.segment, problem)
            return _no_file(plan, wanted)
        if front is None:
            return JobFile(_shown(plan, wanted), name, blob.sha256, blob.size)
        return JobFile(_shown(plan, wanted), name, blob.sha256, front.whole, front, printed=not exact)

    async def _processed(self, plan: Plan, wanted: RequestedFile, name: str, blob: Blob, *, exact: bool) -> JobFile:
        """A file that is processed here; its header has the date of the archived one, so that it is always the same."""
        front = await self._assembler.front(plan, wanted, blob, now=utc(blob.kept_at))
        if front is None or front.packed is None:
            return _no_file(plan, wanted)
        made = await self._processor.file(plan, wanted, blob, front)
        return JobFile(_shown(plan, wanted), name, made.sha256, made.size, printed=not exact)

    async def _adopted_of(self, plan: Plan) -> Mapping[RecordSegment, Blob]:
        """Adopted exports that JSOC made earlier; they serve where FITS is requested."""
        if plan.request.protocol.as_is or plan.request.process.steps:
            return {}
        return await self._adopted.of_records(plan.series.name, [row.recnum for row in plan.rows])

    # ---- files that are not ----------------------------------------------------------------------

    async def _returned(self, work: RunningJob, plan: Plan, gone: Sequence[RequestedFile]) -> dict[RecordSegment, RequestedFile]:
        """Files that have left their place since it was recorded, perhaps to tape: brought back like offline ones."""
        try:
            return await self._brought_back(work, plan, gone)
        except UpstreamRefused as problem:
            if passes(problem):
                raise
            log.warning("files are gone series=%s files=%s error=%s", plan.series.name, len(gone), problem)
            return {}

    async def _brought_back(
        self, work: RunningJob, plan: Plan, files: Sequence[RequestedFile]
    ) -> dict[RecordSegment, RequestedFile]:
        sizes = {row.recnum: int(row["*size*"]) for row in plan.rows if row["*size*"].isdigit()}
        address = plan.request.notify
        return await self._staging.bring_back(plan.series, files, address, job=work.job.id, sizes=sizes)


def _shown(plan: Plan, wanted: RequestedFile) -> str:
    """The record as the index shows it."""
    return label(plan.series, wanted) if plan.request.protocol.as_is else wanted.record


def _no_file(plan: Plan, wanted: RequestedFile) -> JobFile:
    return JobFile(_shown(plan, wanted), NO_DATA_FILE)


# ---- what only JSOC can make ---------------------------------------------------------------------
# Processing, pictures, movies. The files are kept under the job.
#
# A request that upstream calls too large is made again in parts by its records, one after the other, and joined in order.
# Parts are rows: a restart continues with the first that is not done.

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
