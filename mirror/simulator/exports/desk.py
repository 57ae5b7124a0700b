"""The desk for exports: answers jsoc_fetch, lets accepted requests finish with time, and finds their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from mirror.drms.export import (
    CONTACT,
    ERRORS,
    AppliedStep,
    ExportAnswer,
    ExportFile,
    ExportRequest,
    Failed,
    Finished,
    Format,
    Immediate,
    Pending,
    StatusRequest,
    StorageUnits,
    UnitsRequest,
)
from mirror.drms.exportrules import Verdict, failure, identity, index_of, megabytes, verdict
from mirror.errors import BadRequest, MirrorError
from mirror.simulator.addresses import is_registered
from mirror.simulator.exports.contents import Content, Whole
from mirror.simulator.exports.folders import content, index_files
from mirror.simulator.exports.ledger import Job, Kept, Ledger, Pace
from mirror.simulator.exports.loading import pillow
from mirror.simulator.exports.pictures import FILMS, PICTURES, shrink_of
from mirror.simulator.exports.planning import file_owner, plan
from mirror.simulator.exports.processing import check
from mirror.simulator.exports.products import directory_files, label, products
from mirror.simulator.exports.recorded import RecordedExports
from mirror.simulator.exports.shelf import LINKED, storage_units
from mirror.wire.export import decode_fetch, wanted_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.simulator.archive import Archive
    from mirror.simulator.exports.planning import Plan
    from mirror.simulator.exports.shelf import Shelf
    from mirror.simulator.exports.staging import Staging

Answer = ExportAnswer | StorageUnits

#: Requests of one address that may be pending at a time; JSOC's own limit for all addresses of a host.
MOST_PENDING = 10
_UNREGISTERED = "Cannot process your request. email address has been neither validated nor registered"
_OFFLINE = (
    "One or more data files are offline; please send a request for help to jsoc@sun.stanford.edu and we will "
    "place the requested data online, and then you may try again; {}"
)
_SIMULATED = ("as-is", "fits", *PICTURES, *FILMS)
_WAIT = 10
_KEPT_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, and the requested format; ``records`` is how many it is about."""

    answer: Answer
    format: Format

    @property
    def status(self) -> int:
        return self.answer.status if isinstance(self.answer, Pending | Failed) else 0

    @property
    def records(self) -> int:
        answer = self.answer
        if isinstance(answer, StorageUnits):
            return len(answer.units)
        return answer.count if isinstance(answer, Finished) else answer.rcount


@dataclass
class Desk:
    """``pace`` is that of every export for which no fault sets another; ``now`` gives Unix time."""

    archive: Archive
    shelf: Shelf
    staging: Staging
    now: Callable[[], float]
    pace: Pace
    recorded: RecordedExports = field(default_factory=RecordedExports)

    def __post_init__(self) -> None:
        self.ledger, self._lock = Ledger(), Lock()
        self._made, self._making = Kept[bytes](_KEPT_BYTES), Lock()

    def answer(self, params: Mapping[str, str], pace: Pace | None = None) -> Told:
        """The answer of jsoc_fetch; an error is an answer too. ``pace`` is for a request that is accepted."""
        try:
            with self._lock:
                return Told(self._answer(params, pace or self.pace), wanted_format(params))
        except MirrorError as problem:
            return Told(failure(problem), wanted_format(params))

    def _answer(self, params: Mapping[str, str], pace: Pace) -> Answer:
        if params.get("op") not in ("exp_request", "exp_su") and not params.get("requestid"):
            raise BadRequest("RequestID must be provided")
        request = decode_fetch(params)
        if isinstance(request, ExportRequest):
            return self._export(request, pace)
        if isinstance(request, StatusRequest):
            return self._status(request.request_id)
        if isinstance(request, UnitsRequest):
            return storage_units(request, self.archive, self.recorded.units)
        raise BadRequest("Re-Export requests temporarily disabled.")

    # ---- exp_request ---------------------------------------------------------------------------------

    def _export(self, request: ExportRequest, pace: Pace) -> Answer:
        if request.notify is None or not is_registered(request.notify):
            raise BadRequest(_UNREGISTERED)
        for step in request.process.steps:
            check(step)
        wanted = plan(request, self.archive)
        decided = verdict(request, wanted.survey())
        if isinstance(decided, Failed):
            return self._offline() if decided.status == 25 else decided
        if decided is Verdict.AT_ONCE:
            _all_there(wanted)
            return _at_once(request, wanted)
        return self._accept(request, wanted, pace)

    def _offline(self) -> Failed:
        return Failed(25, _OFFLINE.format(self.ledger.new_id(self.now())))

    def _accept(self, request: ExportRequest, wanted: Plan, pace: Pace) -> Answer:
        if request.protocol.name not in _SIMULATED:
            raise BadRequest(
                f"protocol {request.protocol.name!r} is not simulated; expected one of {', '.join(_SIMULATED)}"
            )
        if request.protocol.name in (*PICTURES, *FILMS):
            pillow()
            shrink_of(request.protocol)
        # Without records only the query distinguishes requests.
        now, same = self.now(), identity(request, wanted.query, wanted.recnums or None)
        survey, known = wanted.survey(), self.ledger.identical(same, now)
        if known is not None:
            return _pending(known, status=2, wait=0, rcount=survey.records, size=0)
        if self.ledger.pending(request.notify or "", now) >= MOST_PENDING:
            return Failed(
                7, f"{MOST_PENDING} export requests of {request.notify} are pending; wait for one of them"
            )
        size, unit = megabytes(survey.size), self.ledger.new_unit()
        job = Job(self.ledger.new_id(now), request, same, now, pace, survey.records, size, unit)
        self.ledger.add(job)
        return _pending(job, status=2, wait=_WAIT, rcount=survey.records, size=size)

    # ---- exp_status ----------------------------------------------------------------------------------

    def _status(self, request_id: str) -> Answer:
        job = self.ledger.jobs.get(request_id)
        if job is None:
            missing = Failed(4, f"invalid export DRMS record for ID {request_id}")
            return self.recorded.answers.get(request_id, missing)
        job.polls += 1
        now = self.now()
        if not job.is_over(now):
            return _pending(job, status=1, wait=_WAIT, rcount=0, size=job.size)
        if job.is_expired(now):
            return _failed(job, 5, "")
        return _failed(job, job.pace.status, job.pace.error) if job.pace.status else self._finish(job)

    def _finish(self, job: Job) -> Answer:
        """The index; the first time the files are listed, and offline units come online."""
        if job.directory is None:
            try:
                self._make(job)
            except MirrorError as problem:
                job.pace = Pace(0, 0, 4, str(problem))
                return _failed(job, 4, str(problem))
        assert job.directory is not None
        return job.directory.index

    def _make(self, job: Job) -> None:
        wanted = plan(job.request, self.archive)
        owners = [file_owner(file, self.archive) for file in wanted.files if file.offline]
        numbers = {int(owner.row.stored("sunum").values[0]) for owner in owners if owner is not None}
        if numbers - self.staging.units:
            self.staging.units |= numbers
            wanted = plan(job.request, self.archive)
        rows = products(job.request, wanted, self.shelf)
        index = index_of(
            job.request_id,
            job.request,
            [row.told for row in rows],
            directory=job.path,
            size=wanted.survey().size,
            made=datetime.fromtimestamp(self.now(), UTC),
            processing=[_applied(step.name, step.arguments) for step in job.request.process.steps],
        )
        job.directory = directory_files(
            index, rows, index_files(index, wanted), partial(self._product, job.path)
        )

    def _product(self, path: str, name: str, make: Callable[[], bytes]) -> bytes:
        """The bytes of a file of an export; recent ones are cached."""
        with self._making:
            return self._made.get((path, name), make)

    # ---- files ---------------------------------------------------------------------------------------

    def is_directory(self, path: str) -> bool:
        """Whether there is an export at ``path``, which has no slash at its end."""
        return any(job.directory is not None and job.path == path for job in list(self.ledger.jobs.values()))

    def content(self, path: str) -> Content | None:
        """The file of that path, in the archive or an export; None if there is none."""
        for job in list(self.ledger.jobs.values()):
            if job.directory is not None and (path + "/").startswith(job.path + "/"):
                return content(job.directory, path.removeprefix(job.path).strip("/"), job.accepted)
        data = self.shelf.read(path)
        return None if data is None else Whole(data)


def _at_once(request: ExportRequest, wanted: Plan) -> Immediate:
    files = tuple(ExportFile(label(file), file.path) for file in wanted.files if file.path is not None)
    survey = wanted.survey()
    size = megabytes(survey.size)
    return Immediate(survey.records, size, files, request.method, request.protocol.text)


def _all_there(wanted: Plan) -> None:
    """BadRequest for records without a storage unit, on which the real program crashes."""
    for file in wanted.files:
        if file.path is None and not file.offline and not file.segment.protocol.startswith(LINKED):
            raise BadRequest(
                f"{file.record} has no file for {file.segment.name}; expected records that have all"
            )


def _pending(job: Job, **told: int) -> Pending:
    return Pending(job.request_id, job.request.method, job.request.protocol.text, **told)


def _failed(job: Job, status: int, error: str) -> Failed:
    request = job.request
    told = error or ERRORS.get(status, f"the request failed with status {status}")
    failed = partial(Failed, status, told, job.request_id, request.method, request.protocol.text)
    return failed(size=job.size, contact=CONTACT)


def _applied(name: str, arguments: tuple[tuple[str, str | None], ...]) -> AppliedStep:
    return AppliedStep(name, tuple((argument, value or "") for argument, value in arguments))
