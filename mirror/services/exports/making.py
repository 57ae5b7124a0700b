"""The files of as-is and FITS exports: fetched, or brought back from tape, and given their headers here."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from mirror.drms.export import NO_DATA_FILE
from mirror.errors import BadRequest, MirrorError, UpstreamRefused
from mirror.humanize import utc
from mirror.services.exports.cutting import passes
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

    from mirror.drms.export import ExportRequest
    from mirror.readthrough.files import Files
    from mirror.services.exports.assembling import Assembler
    from mirror.services.exports.content import ReplacedHeader
    from mirror.services.exports.jobs import Jobs, RunningJob, State
    from mirror.services.exports.planning import ExportPlanner, Plan
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.exports.staging import Staging
    from mirror.storage.files.adopted_exports import Adopted
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
