"""The state of the mirror, in one value for the front page: made at most once a second, however many look.

Also all work that somebody asked for (exports, fills, films and subscriptions), listed and cancelled.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec.structs import asdict

from mirror.api.exports import ENDED_STATES, Job
from mirror.api.monitoring import (
    Answers,
    DiskSpace,
    FillProgress,
    LatestChange,
    Slow,
    Spared,
    State,
    StoredFiles,
)
from mirror.concurrency import SingleFlight
from mirror.errors import Refused
from mirror.humanize import stamp
from mirror.services.access.usage import ITSELF
from mirror.services.fills import fill_line
from mirror.services.films import film_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from mirror.api.access import UsageLine
    from mirror.api.exports import Kind
    from mirror.api.subscriptions import Subscription
    from mirror.services.access.usage import Accounting
    from mirror.services.exports.job_list import JobList
    from mirror.services.fills import Fills
    from mirror.services.films import Films
    from mirror.services.monitoring.status import Status, Totals
    from mirror.services.subscriptions.manager import Sync
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.index.changes import Changes


T = TypeVar("T")


class AllJobs:
    """The jobs of a mirror, of every kind."""

    def __init__(self, exports: JobList, fills: Fills, films: Films, sync: Sync) -> None:
        self._exports = exports
        self._fills = fills
        self._films = films
        self._sync = sync

    async def latest(self, n: int, kind: Kind | None = None) -> list[Job]:
        """The last ``n`` exports, fills and films, newest first, and then the subscriptions; of one kind if it is given."""
        exports = await self._exports.latest(n) if kind in (None, "export") else []
        fills = [fill_line(job) for job in self._fills.list()] if kind in (None, "fill") else []
        films = [film_line(job) for job in self._films.list()] if kind in (None, "film") else []
        standing = await self._sync.report() if kind in (None, "subscription") else []
        asked = sorted([*exports, *fills, *films], key=lambda job: (job.created or "", job.id), reverse=True)
        return [*asked[:n], *map(_subscription_line, standing)]

    async def one(self, job_id: str, *, places: bool = False) -> Job:
        """One job; an export also with its files, as ``JobList.one`` gives them. UnknownName if there is none."""
        if (fill := self._fills.get(job_id)) is not None:
            return fill_line(fill)
        if (film := self._films.get(job_id)) is not None:
            return film_line(film)
        for line in await self._subscriptions(job_id):
            return line
        return await self._exports.one(job_id, places=places)

    async def cancel(self, job_id: str) -> Job:
        """End a fill, an export or a film; what it has fetched stays. One that has ended stays as it is.

        UnknownName if there is none of that id; Refused for a subscription.
        """
        if self._fills.get(job_id) is not None:
            return fill_line(await self._fills.cancel(job_id))
        if self._films.get(job_id) is not None:
            return film_line(await self._films.cancel(job_id))
        if await self._subscriptions(job_id):
            raise Refused(
                f"{job_id} is a subscription; expected the ID of a fill, an export or a film. To remove it: "
                f"`mirror subscribe --remove {job_id}`"
            )
        return await self._exports.cancel(job_id)

    async def _subscriptions(self, name: str) -> list[Job]:
        return [_subscription_line(line) for line in await self._sync.report() if line.name == name]


def _subscription_line(answer: Subscription) -> Job:
    """A subscription with the members that every job has."""
    files = bool(answer.segments)
    return Job(
        id=answer.name,
        kind="subscription",
        state=answer.state,
        ready=answer.files if files else answer.records,
        total=answer.files_wanted if files else answer.records_wanted,
        counted="files" if files else "records",
        seconds_left=answer.seconds_left if files else None,
        bytes=answer.bytes,
        ds=f"{answer.series}[{answer.start}-{answer.end}]",
        by="config.toml",
        created=None,
        updated=answer.last_look,
        error=answer.problem or None,
        waits=None,
        notes=[answer.why] if answer.why else [],
        files=[],
    )


#: Seconds for which an answer is valid, and for which the part of it that reads many rows is valid.
FRESH, SLOW = 1.0, 5.0
#: Days of use that are summed up.
DAYS = 30
_CHANGES = 8
_JOBS = 40
#: The origins of searches that did not need JSOC, and of those that did.
_LOCAL, _ASKED = ("local", "stale"), ("filled", "forwarded")
#: The headers of a request without any.
NOBODY: Mapping[str, str] = MappingProxyType({})


class Overview:
    """Gathers the state; ``clock`` gives seconds that only go forward, ``root`` is the store's folder.

    ``elsewhere`` gives the jobs under way at other mirrors of the cluster, as whoever sent these headers may see them.
    """

    def __init__(
        self,
        status: Status,
        accounting: Accounting,
        blobs: Blobs,
        totals: Totals,
        changes: Changes,
        jobs: AllJobs,
        root: Path,
        clock: Callable[[], float],
        elsewhere: Callable[[Mapping[str, str]], Awaitable[list[Job]]] | None = None,
    ) -> None:
        self._status = status
        self._elsewhere = elsewhere
        self._accounting = accounting
        self._blobs = blobs
        self._totals = totals
        self._changes = changes
        self._jobs = jobs
        self._root = root
        self._clock = clock
        self._slows: _Recent[tuple[Slow, Spared, DiskSpace, list[Job], list[LatestChange]]] = _Recent(SLOW, clock)
        self._states: _Recent[State] = _Recent(FRESH, clock)

    async def state(self, headers: Mapping[str, str] = NOBODY) -> State:
        """Everything; ``headers`` are of the request of whoever looks."""
        return await self._states.get(lambda: self._state(headers))

    async def _state(self, headers: Mapping[str, str]) -> State:
        slow, spared_bytes, disk, jobs, changes = await self._slows.get(self._slow)
        there = [] if self._elsewhere is None else await self._elsewhere(headers)
        brief, usage = self._status.brief(), self._blobs.usage()
        local, asked = _sum(brief.searches, _LOCAL), _sum(brief.searches, _ASKED)
        files = StoredFiles(
            count=await self._totals.files(), bytes=usage.held, quota=usage.limit, reserved=usage.reserved
        )
        return State(
            **{**asdict(brief), "fills": [fill for fill in brief.fills if not any(_is_of(fill, job) for job in jobs)]},
            records=slow.records,
            subscriptions=slow.subscriptions,
            check=slow.check,
            files=files,
            jobs=[*jobs, *there],
            answers=Answers(local=local, asked=asked, all=local + asked),
            bytes=spared_bytes,
            disk=disk,
            changes=changes,
        )

    async def _slow(self) -> tuple[Slow, Spared, DiskSpace, list[Job], list[LatestChange]]:
        status = await self._status.slow()
        disk = await asyncio.to_thread(shutil.disk_usage, self._root)
        jobs = [*await self._jobs.latest(_JOBS, "fill"), *await self._jobs.latest(_JOBS, "film"), *await self._jobs.latest(_JOBS, "export")]
        changes = [
            LatestChange(record=c.name, series=c.series, gone=c.new is None, found_at=stamp(c.found_at))
            for c in await self._changes.found(None, None, _CHANGES)
        ]
        running = [job for job in jobs if job.state not in ENDED_STATES]
        space = DiskSpace(free=disk.free, total=disk.total)
        return status, spared(await self._usage()), space, running, changes

    async def _usage(self) -> Sequence[UsageLine]:
        since = datetime.fromtimestamp(self._status.now(), UTC) - timedelta(days=DAYS)
        return await self._accounting.usage(f"{since:%Y-%m-%d}")


def _is_of(fill: FillProgress, job: Job) -> bool:
    """True if a fetch of a series is a piece of that job, which is shown as a whole."""
    return job.kind == "fill" and job.ds.partition("[")[0].lower() == fill.series.lower() and set(fill.who) <= {job.by}


class _Recent(Generic[T]):
    """A value that is valid for so many seconds; then it is made again, once for all who wait."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._flight: SingleFlight[str, T] = SingleFlight()
        self._made: tuple[float, T] | None = None

    async def get(self, make: Callable[[], Awaitable[T]]) -> T:
        """The value, no older than its limit."""
        if self._made is None or self._clock() - self._made[0] >= self._seconds:
            made = await self._flight.run("", make)
            self._made = self._clock(), made
        return self._made[1]


def spared(usage: Sequence[UsageLine]) -> Spared:
    """For so many days: bytes sent to people, bytes that JSOC had to send for them, and the difference.

    What the mirror fetches itself, for subscriptions, is counted separately: nobody waited for it.
    """
    people = [line for line in usage if line.who != ITSELF]
    answer = sum(line.bytes for line in people)
    asked = sum(line.upstream_bytes for line in people)
    ahead = sum(line.upstream_bytes for line in usage) - asked
    return Spared(days=DAYS, sent=answer, asked=asked, ahead=ahead, spared=max(0, answer - asked))


def _sum(counts: Mapping[str, int], names: Sequence[str]) -> int:
    return sum(counts.get(name, 0) for name in names)
