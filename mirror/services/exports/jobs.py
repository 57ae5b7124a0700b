"""Export jobs: what was asked, how far it is, and its files; rows that a restart goes on from.

The store knows nothing of exports: the request is JSON text of whoever made the job. A job's state only
ever goes forward; what has ended stays as it is until it is asked to begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from mirror.errors import StorageError
from mirror.redaction import redacted
from mirror.services.exports.content import ReplacedHeader, drop_unused_headers, put_headers
from mirror.storage.database.database import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mirror.storage.database.database import Cursor, Database

T = TypeVar("T")

#: waiting: nothing was done yet. staging: upstream works on its request. fetching: files come in.
State = Literal["waiting", "staging", "fetching", "done", "failed"]
FINISHED: frozenset[State] = frozenset({"done", "failed"})

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

    With a ``front`` the file begins with that, and ``sha256`` is the blob that the rest of it comes from;
    ``size`` is always that of the file. ``printed`` tells that its keywords are values as they print, for
    want of those at full precision.
    """

    record: str
    name: str
    sha256: str | None = None
    size: int | None = None
    front: ReplacedHeader | None = None
    printed: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a job waits: ``tries`` in a row got it no further, and ``why`` the last did not.

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


class Jobs:
    """The jobs of a store; ``now`` gives Unix seconds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._tables = Tables(database)
        self._now = now
        self.changes = 0  #: writes so far: while it stays, what was read is still so, but for blobs that left

    async def submit(
        self, request: str, identity: str, *, day: str, name: Callable[[int], str], same_since: float
    ) -> tuple[Job, bool]:
        """The job for a request, and whether it is new.

        A request with the same identity gets the job made at ``same_since`` or later, unless that failed.
        A new job's id is ``name(n)`` with the next number of the ``day``; numbers are never used twice,
        nor are ids of upstream that are known here.
        """
        now = self._now()

        def work(cursor: Cursor) -> tuple[Job, bool]:
            where = "identity = ? AND created >= ? AND state <> 'failed' ORDER BY created DESC LIMIT 1"
            found = _select(cursor, where, [identity, same_since])
            if found:
                return found[0], False
            job = Job(_next_id(cursor, day, name, now), identity, None, request, "waiting", now, now, None)
            row = [job.id, identity, None, request, "waiting", now, now, None]
            cursor.execute(f"INSERT INTO mirror.jobs ({_JOB}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            return job, True

        return await self._write(work)

    async def get(self, job_id: str) -> Job | None:
        """The job of that id, ours or upstream's, or None."""
        where = "id = ? OR upstream_id = ? ORDER BY id = ? DESC, created DESC LIMIT 1"
        found = await self._tables.read(lambda c: _select(c, where, [job_id] * 3))
        return found[0] if found else None

    async def unfinished(self) -> list[Job]:
        """The jobs to go on with, oldest first."""
        return await self._tables.read(
            lambda c: _select(c, "state NOT IN ('done', 'failed') ORDER BY created, id", [])
        )

    async def latest(self, n: int = 100) -> list[Job]:
        """The last ``n`` jobs, newest first."""
        return await self._tables.read(
            lambda c: _select(c, "TRUE ORDER BY created DESC, id DESC LIMIT ?", [n])
        )

    async def advance(
        self, job_id: str, state: State, *, upstream_id: str | None = None, error: str | None = None
    ) -> Job:
        """Bring a job to a state; ``upstream_id`` and ``error`` are kept where None is given.

        Why jobs failed or wait is read by others: it is kept without the e-mail addresses that it may name.
        StorageError if there is no such job, or it has ended, or the state lies behind it.
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

        return await self._write(work)

    async def begin_anew(self, job_id: str) -> Job:
        """A job that ended waits again, without its upstream request: its files left the store, say."""
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
        """Note why a job waits, or that it does no longer."""
        values = (
            [None] * 4 if trouble is None else [trouble.tries, trouble.waited, trouble.next_at, redacted(trouble.why)]
        )
        sql = "UPDATE mirror.jobs SET tries = ?, waited = ?, next_at = ?, why = ? WHERE id = ?"

        def work(cursor: Cursor) -> Job:
            cursor.execute(sql, [*values, job_id])
            return _must_find(cursor, job_id)

        return await self._write(work)

    async def set_files(self, job_id: str, files: Sequence[JobFile]) -> None:
        """The files of a job, in their order, in place of what was noted."""
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
        """Forget jobs and which files were theirs; their blobs stay until they are evicted."""
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
            self.changes += 1


def is_before(state: State, other: State) -> bool:
    """True if a job in ``state`` still has ``other`` before it, and has not ended."""
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
    told = JobFile(record, name, sha256, size, printed=bool(printed))
    if front is None or size is None:  # without its blob a front is of no use
        return told
    return replace(told, front=ReplacedHeader(front, front_size, start, size - front_size))


def _next_id(cursor: Cursor, day: str, name: Callable[[int], str], now: float) -> str:
    """The next id of the day; the number is noted in the same transaction."""
    sql = "SELECT value FROM mirror.facts WHERE kind = 'job number' AND key = ?"
    row = cursor.execute(sql, [day]).fetchone()
    number = int(row[0]) if row else 0
    used = "SELECT 1 FROM mirror.jobs WHERE ? IN (id, upstream_id)"
    while True:
        number += 1
        if cursor.execute(used, [name(number)]).fetchone() is None:
            break
    cursor.execute("DELETE FROM mirror.facts WHERE kind = 'job number' AND key = ?", [day])
    cursor.execute("INSERT INTO mirror.facts VALUES ('job number', ?, ?, ?)", [day, str(number), now])
    return name(number)
