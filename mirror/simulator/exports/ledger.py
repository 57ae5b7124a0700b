"""Accepted export requests: their ids, who made them, their progress. Kept as long as the program runs."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from mirror.drms.export import RequestId
from mirror.drms.exportrules import IDENTICAL_WINDOW, RETENTION

if TYPE_CHECKING:
    from mirror.drms.export import ExportRequest
    from mirror.simulator.exports.products import Directory

_HOUR, _DAY = 3600.0, 86400.0
_FIRST_UNIT = 600_000_000_000  #: storage unit of the very first export


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an export takes: until it was polled more than ``polls`` times, or ``seconds`` have passed.

    Whichever comes first; None is never. Then its status is ``status``, 0 if it is done, and ``error`` says why not.
    """

    polls: int | None = 1
    seconds: float | None = 10.0
    status: int = 0
    error: str = ""


@dataclass
class Job:
    """An accepted request; ``accepted`` in seconds of Unix time."""

    request_id: str
    request: ExportRequest
    identity: str
    accepted: float
    pace: Pace
    rcount: int
    size: int  #: MB
    unit: int  #: the storage unit of its directory
    polls: int = 0
    directory: Directory | None = None

    @property
    def path(self) -> str:
        """The directory of its files."""
        return f"/SUM{self.unit % 90}/D{self.unit}/S00000"

    def is_over(self, now: float) -> bool:
        """True if it is done or has failed."""
        pace = self.pace
        by_polls = pace.polls is not None and self.polls > pace.polls
        return by_polls or (pace.seconds is not None and now - self.accepted >= pace.seconds)

    def is_expired(self, now: float) -> bool:
        """True if its files are deleted."""
        return now - self.accepted > RETENTION * _DAY


@dataclass
class Ledger:
    """All jobs, by request id."""

    jobs: dict[str, Job] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)

    def new_id(self, now: float) -> str:
        """The next request id of the day."""
        day = f"{datetime.fromtimestamp(now, UTC):%Y%m%d}"
        self._numbers[day] += 1
        return str(RequestId(day, self._numbers[day]))

    def add(self, job: Job) -> None:
        self.jobs[job.request_id] = job

    def new_unit(self) -> int:
        """A storage unit that no other job has."""
        return _FIRST_UNIT + len(self.jobs)

    def identical(self, identity: str, now: float) -> Job | None:
        """The latest job of the last day with the same files that did not fail."""
        for job in reversed(self.jobs.values()):
            if (
                job.identity == identity
                and now - job.accepted < IDENTICAL_WINDOW * _HOUR
                and job.pace.status == 0
            ):
                return job
        return None

    def pending(self, address: str, now: float) -> int:
        """How many jobs of an address are not over."""
        asked = (job for job in self.jobs.values() if (job.request.notify or "").lower() == address.lower())
        return sum(not job.is_over(now) for job in asked)


T = TypeVar("T", bound=Sized)


class Kept(Generic[T]):
    """Cached values by key; ``len()`` of a value is its size. One thread at a time."""

    def __init__(self, most: int) -> None:
        self._most, self._total = most, 0
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value, made if it is not there."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        self._values[key] = value
        self._total += len(value)
        while self._total > self._most and len(self._values) > 1:
            self._total -= len(self._values.popitem(last=False)[1])
        return value
