"""Export jobs and their parts: the request, its progress and its files, as rows from which a restart continues.

The store knows nothing of exports: a request, and the result of a part, are JSON text of their maker. A job's state
only moves forward; one that has ended stays as it is until it is restarted. A job that is too large for one request
upstream is divided into parts by record numbers. ``RunningJob`` is the progress of a job over all its tries.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from mirror.concurrency import Version
from mirror.errors import StorageError
from mirror.humanize import is_moment
from mirror.redaction import redacted
from mirror.services.exports.content import ReplacedHeader, drop_unused_headers, put_headers
from mirror.storage.database.database import Tables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from mirror.drms.export import ExportRequest
    from mirror.errors import MirrorError
    from mirror.storage.database.database import Cursor, Database

T = TypeVar("T")

#: waiting: nothing was done yet. staging: upstream works on its request. fetching: files are arriving.
State = Literal["waiting", "staging", "fetching", "done", "failed"]
FINISHED: frozenset[State] = frozenset({"done", "failed"})
#: Those to go on with, in SQL. A newer version may have written states that are not among ours: such rows are left alone.
_UNFINISHED = "('waiting', 'staging', 'fetching')"

_JOB = "id, identity, upstream_id, request, state, created, updated, error"
_TROUBLE = "tries, waited, next_at, why"
_NO_TROUBLE = "tries = NULL, waited = NULL, next_at = NULL, why = NULL"
_FILE = "record, name, sha256, size, printed, front, front_size, front_start"

#: Types of the columns job, position, and those of _FILE.
_OF_FILE = ("VARCHAR", "VARCHAR", "VARCHAR", "BIGINT", "BOOLEAN", "VARCHAR", "BIGINT", "BIGINT")
_KINDS = ("VARCHAR", "INTEGER", *_OF_FILE)


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file of an export; ``sha256`` is None as long as it is not in the store.

    With a ``front`` the file begins with that, and ``sha256`` is the blob from which the remainder comes; ``size`` is
    always that of the file. ``printed`` says that its keywords are printed values, since those at full precision were
    not available.
    """

    record: str
    name: str
    sha256: str | None = None
    size: int | None = None
    front: ReplacedHeader | None = None
    printed: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a job waits: ``tries`` in a row without progress, and ``why`` the last one failed.

    ``waited`` are the seconds between them in all, ``next_at`` is when the next one is due (Unix seconds).
    """

    tries: int
    waited: float
    next_at: float
    why: str


@dataclass(frozen=True, slots=True)
class Job:
    """An export job. Times are Unix seconds; ``identity`` is equal for requests that are the same."""

    id: str
    identity: str
    upstream_id: str | None
    request: str
    state: State
    created: float
    updated: float
    error: str | None
    files: tuple[JobFile, ...] = ()
    trouble: Trouble | None = None

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def problem(self) -> str:
        """Why the row cannot be read, as far as the request in it does not matter; "" if it can."""
        if self.state not in get_args(State):
            return f"its state is {self.state!r}; expected one of {', '.join(get_args(State))}"
        if not (is_moment(self.created) and is_moment(self.updated)):
            return f"it was created at {self.created} and updated at {self.updated}; expected Unix seconds"
        return ""


class Jobs:
    """The jobs of a store; ``now`` gives Unix seconds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._tables = Tables(database)
        self._now = now
        self.version = Version()  #: of all rows; departing blobs do not change them
        #: Called for each new job, and when upstream accepts one: other mirrors may have to continue it.
        self.on_change: Callable[[Job], Awaitable[None]] | None = None

    async def submit(
        self, request: str, identity: str, *, day: str, name: Callable[[int], str], same_since: float,
        readable: Callable[[Job], bool] = lambda _: True,
    ) -> tuple[Job, bool]:  # fmt: skip
        """The job for a request, and whether it is new.

        A request with the same identity gets the job made at ``same_since`` or later, unless that failed or is not ``readable``.
        A new job's id is ``name(n)`` with the next number of the ``day``; numbers are never used twice,
        nor are upstream ids that are known here.
        """
        now = self._now()

        def work(cursor: Cursor) -> tuple[Job, bool]:
            where = "identity = ? AND created >= ? AND state <> 'failed' ORDER BY created DESC"
            found = [job for job in _select(cursor, where, [identity, same_since]) if readable(job)]
            if found:
                return found[0], False
            job = Job(_next_id(cursor, day, name), identity, None, request, "waiting", now, now, None)
            row = [job.id, identity, None, request, "waiting", now, now, None]
            cursor.execute(f"INSERT INTO mirror.jobs ({_JOB}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            return job, True

        job, new = await self._write(work)
        if new and self.on_change is not None:
            await self.on_change(job)
        return job, new

    async def take_over(self, job: Job) -> Job:
        """Continue a job of another mirror here, under its id; returns an existing one of that id."""
        row = [job.id, job.identity, job.upstream_id, job.request, "waiting", job.created, self._now(), None]

        def work(cursor: Cursor) -> Job:
            found = _select(cursor, "id = ?", [job.id])
            if not found:
                cursor.execute(f"INSERT INTO mirror.jobs ({_JOB}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            return _must_find(cursor, job.id)

        return await self._write(work)

    async def get(self, job_id: str) -> Job | None:
        """The job of that id, ours or upstream's, or None."""
        where = "id = ? OR upstream_id = ? ORDER BY id = ? DESC, created DESC LIMIT 1"
        found = await self._tables.read(lambda c: _select(c, where, [job_id] * 3))
        return found[0] if found else None

    async def unfinished(self) -> list[Job]:
        """The jobs to continue, oldest first."""
        return await self._tables.read(
            lambda c: _select(c, f"state IN {_UNFINISHED} ORDER BY created, id", [])
        )

    async def latest(self, n: int = 100) -> list[Job]:
        """The last ``n`` jobs, newest first."""
        return await self._tables.read(
            lambda c: _select(c, "TRUE ORDER BY created DESC, id DESC LIMIT ?", [n])
        )

    async def advance(
        self, job_id: str, state: State, *, upstream_id: str | None = None, error: str | None = None
    ) -> Job:
        """Bring a job to a state; ``upstream_id`` and ``error`` stay where None is given.

        Errors are shown to others, so e-mail addresses are removed from them. StorageError if there is no such job, or
        it has ended, or the state is an earlier one.
        """
        now, why = self._now(), None if error is None else redacted(error)
        ended = f", {_NO_TROUBLE}" if state in FINISHED else ""

        def work(cursor: Cursor) -> Job:
            job = _must_find(cursor, job_id)
            if job.finished or _rank(state) < _rank(job.state):
                raise StorageError(f"job {job_id} is {job.state}; it cannot become {state}")
            sql = (
                "UPDATE mirror.jobs SET state = ?, updated = ?, upstream_id = coalesce(?, upstream_id), "
                f"error = coalesce(?, error){ended} WHERE id = ?"
            )
            cursor.execute(sql, [state, now, upstream_id, why, job_id])
            return _must_find(cursor, job_id)

        job = await self._write(work)
        if upstream_id is not None and self.on_change is not None:
            await self.on_change(job)
        return job

    async def restart(self, job_id: str) -> Job:
        """Make a job that ended wait again, without its upstream request, since its files left the store, say."""
        now = self._now()

        def work(cursor: Cursor) -> Job:
            _must_find(cursor, job_id)
            sql = (
                "UPDATE mirror.jobs SET state = 'waiting', upstream_id = NULL, error = NULL, updated = ?, "
                f"{_NO_TROUBLE} WHERE id = ?"
            )
            cursor.execute(sql, [now, job_id])
            cursor.execute("DELETE FROM mirror.job_parts WHERE job = ?", [job_id])
            return _must_find(cursor, job_id)

        return await self._write(work)

    async def troubled(self, job_id: str, trouble: Trouble | None) -> Job:
        """Record why a job waits, or that it no longer does."""
        values = (
            [None] * 4 if trouble is None else [trouble.tries, trouble.waited, trouble.next_at, redacted(trouble.why)]
        )
        sql = "UPDATE mirror.jobs SET tries = ?, waited = ?, next_at = ?, why = ? WHERE id = ?"

        def work(cursor: Cursor) -> Job:
            cursor.execute(sql, [*values, job_id])
            return _must_find(cursor, job_id)

        return await self._write(work)

    async def set_files(self, job_id: str, files: Sequence[JobFile]) -> None:
        """Record the files of a job, in their order, in place of earlier ones."""
        rows = [(job_id, n, *_row(f)) for n, f in enumerate(files)]

        def work(cursor: Cursor) -> None:
            _must_find(cursor, job_id)
            had_fronts = _drop_files(cursor, [job_id])
            columns = [list(column) for column in zip(*rows, strict=True)]
            if columns:
                values = ", ".join(f"unnest(?::{kind}[])" for kind in _KINDS)
                cursor.execute(
                    f"INSERT INTO mirror.job_files (job, position, {_FILE}) SELECT {values}", columns
                )
            put_headers(cursor, [f.front for f in files if f.front is not None])
            if had_fronts:  # after the new rows: they may name the same ones
                drop_unused_headers(cursor)

        await self._write(work)

    async def remove(self, job_ids: Iterable[str]) -> None:
        """Delete jobs and the list of their files; their blobs stay until they are evicted."""
        gone = list(job_ids)

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.jobs WHERE id IN (SELECT unnest(?::VARCHAR[]))", [gone])
            cursor.execute("DELETE FROM mirror.job_parts WHERE job IN (SELECT unnest(?::VARCHAR[]))", [gone])
            if _drop_files(cursor, gone):
                drop_unused_headers(cursor)

        await self._write(work)

    async def _write(self, work: Callable[[Cursor], T]) -> T:
        try:
            return await self._tables.write(work)
        finally:
            self.version.advance()


def is_before(state: State, other: State) -> bool:
    """True if ``other`` still lies ahead of a job in ``state``, which has not ended."""
    return state not in FINISHED and _rank(state) < _rank(other)


def _rank(state: State) -> int:
    return get_args(State).index(state)


def _must_find(cursor: Cursor, job_id: str) -> Job:
    found = _select(cursor, "id = ?", [job_id])
    if not found:
        raise StorageError(f"there is no job {job_id!r}")
    return found[0]


def _select(cursor: Cursor, where: str, values: list[object]) -> list[Job]:
    rows = cursor.execute(f"SELECT {_JOB}, {_TROUBLE} FROM mirror.jobs WHERE {where}", values).fetchall()
    files = _files(cursor, [row[0] for row in rows])
    return [_job(row, files.get(row[0], ())) for row in rows]


def _job(row: tuple[Any, ...], files: tuple[JobFile, ...]) -> Job:
    tries, waited, next_at, why = row[-4:]
    trouble = None if tries is None else Trouble(tries, waited, next_at, why)
    return replace(Job(*row[:-4]), files=files, trouble=trouble)


def _files(cursor: Cursor, job_ids: list[str]) -> dict[str, tuple[JobFile, ...]]:
    sql = f"SELECT job, {_FILE} FROM mirror.job_files WHERE job IN (SELECT unnest(?::VARCHAR[])) ORDER BY position"
    found: dict[str, list[JobFile]] = {}
    for job, *file in cursor.execute(sql, [job_ids]).fetchall():
        found.setdefault(job, []).append(_job_file(file))
    return {job: tuple(rows) for job, rows in found.items()}


def _drop_files(cursor: Cursor, job_ids: list[str]) -> bool:
    """Delete the files of jobs; True if some of them had fronts."""
    sql = "DELETE FROM mirror.job_files WHERE job IN (SELECT unnest(?::VARCHAR[])) RETURNING front"
    return any(row[0] is not None for row in cursor.execute(sql, [job_ids]).fetchall())


def _row(file: JobFile) -> tuple[object, ...]:
    front = (
        (None, None, None) if file.front is None else (file.front.sha256, file.front.size, file.front.start)
    )
    return file.record, file.name, file.sha256, file.size, file.printed, *front


def _job_file(row: Sequence[Any]) -> JobFile:
    record, name, sha256, size, printed, front, front_size, start = row
    values = JobFile(record, name, sha256, size, printed=bool(printed))
    if front is None or size is None:  # a front is useless without its blob
        return values
    return replace(values, front=ReplacedHeader(front, front_size, start, size - front_size))


def _next_id(cursor: Cursor, day: str, name: Callable[[int], str]) -> str:
    """The next id of the day; its number is recorded in the same transaction."""
    row = cursor.execute("SELECT number FROM mirror.job_numbers WHERE day = ?", [day]).fetchone()
    number = row[0] if row else 0
    used = "SELECT 1 FROM mirror.jobs WHERE ? IN (id, upstream_id)"
    while True:
        number += 1
        if cursor.execute(used, [name(number)]).fetchone() is None:
            break
    cursor.execute("DELETE FROM mirror.job_numbers WHERE day = ?", [day])
    cursor.execute("INSERT INTO mirror.job_numbers VALUES (?, ?)", [day, number])
    return name(number)


#: A file by the record that the index shows, and its name.
FileKey = tuple[str, str]


@dataclass
class RunningJob:
    """A job that is being worked on. ``files`` are those that it has, which no further try makes again.

    ``ready`` of ``total`` files are there, as far as known; ``gained`` counts files since the last failure.
    ``problem`` is why it pauses, None while it does not.
    """

    job: Job
    request: ExportRequest
    files: dict[FileKey, JobFile]
    ready: int = 0
    total: int | None = None
    gained: int = 0
    problem: MirrorError | None = None
    #: Set while it pauses.
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    #: Ends its pause.
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    #: Upstream's first answer to it: a refusal, or None if it was accepted.
    heard: asyncio.Future[MirrorError | None] | None = None

    def begin(self, total: int) -> None:
        """Begin a try, for so many files."""
        self.ready, self.total = 0, total

    def came(self, key: FileKey, file: JobFile) -> None:
        """Count a file that has arrived."""
        self.ready += 1
        self.gained += key not in self.files
        self.files[key] = file

    def hear(self, refusal: MirrorError | None) -> bool:
        """Pass upstream's answer to the waiting client; True if there was one."""
        if self.heard is None or self.heard.done():
            return False
        self.heard.set_result(refusal)
        return True

    def pause(self, problem: MirrorError | None) -> None:
        """Pause because of a problem, or go on."""
        self.problem, self.gained = problem, 0
        if problem is None:
            self.paused.clear()
        else:
            self.paused.set()


_PART = "position, recnums, upstream_id, tar, files"


@dataclass(frozen=True, slots=True)
class JobPart:
    """Some records of a job, requested together.

    ``upstream_id`` is None until upstream has accepted it, ``tar`` the hash of its tar file, if it has one;
    ``files`` is None until it is done.
    """

    position: int
    recnums: tuple[int, ...]
    upstream_id: str | None = None
    tar: str | None = None
    files: str | None = None

    @property
    def done(self) -> bool:
        return self.files is not None


class JobParts:
    """The parts of the jobs of a store."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)

    async def of(self, job_id: str) -> list[JobPart]:
        """The parts of a job, in order; none for an undivided one."""
        sql = f"SELECT {_PART} FROM mirror.job_parts WHERE job = ? ORDER BY position"
        rows = await self._tables.read(lambda c: c.execute(sql, [job_id]).fetchall())
        return [JobPart(at, tuple(json.loads(recnums)), *rest) for at, recnums, *rest in rows]

    async def progress(self, job_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        """How many parts of these jobs are done, of how many; without undivided jobs."""
        sql = (
            "SELECT job, count(files), count(*) FROM mirror.job_parts "
            "WHERE job IN (SELECT unnest(?::VARCHAR[])) GROUP BY job"
        )
        rows = await self._tables.read(lambda c: c.execute(sql, [list(job_ids)]).fetchall())
        return {job: (done, total) for job, done, total in rows}

    async def divide(self, job_id: str, parts: Sequence[Sequence[int]]) -> list[JobPart]:
        """Divide what is not done of a job into these parts, after those that are done; all parts, in order."""

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.job_parts WHERE job = ? AND files IS NULL", [job_id])
            sql = "SELECT coalesce(max(position) + 1, 0) FROM mirror.job_parts WHERE job = ?"
            row = cursor.execute(sql, [job_id]).fetchone()
            first = row[0] if row else 0
            for at, recnums in enumerate(parts, first):
                sql = "INSERT INTO mirror.job_parts (job, position, recnums) VALUES (?, ?, ?)"
                cursor.execute(sql, [job_id, at, json.dumps(list(recnums))])

        await self._tables.write(work)
        return await self.of(job_id)

    async def accepted(self, job_id: str, part: JobPart, upstream_id: str) -> None:
        """Record that upstream works on a part."""
        await self._set(job_id, part, "upstream_id", upstream_id)

    async def packed(self, job_id: str, part: JobPart, tar: str) -> None:
        """Record that the tar file of a part is in the store."""
        await self._set(job_id, part, "tar", tar)

    async def done(self, job_id: str, part: JobPart, files: str) -> None:
        """Record that a part is done; ``files`` is JSON."""
        await self._set(job_id, part, "files", files)

    async def _set(self, job_id: str, part: JobPart, column: str, value: str) -> None:
        sql = f"UPDATE mirror.job_parts SET {column} = ? WHERE job = ? AND position = ?"
        await self._tables.write(lambda c: c.execute(sql, [value, job_id, part.position]))
