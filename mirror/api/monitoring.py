"""The state of the mirror: for people, for open pages, and for monitoring."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from mirror.api.contract import UNSET, Answer, Endpoint, Nothing, Stamp, UnsetType
from mirror.api.exports import Job
from mirror.api.subscriptions import Subscription

#: JSOC's state: its last answer was good, it failed recently, it is left alone for a while, it is not to be asked.
UpstreamState = Literal["ok", "failing", "away", "offline"]


class Used(Answer, frozen=True, kw_only=True):
    """How much was used in the last ``seconds``; ``limit`` null: no limit."""

    used: int
    limit: int | None
    seconds: int


class UpstreamBudget(Answer, frozen=True, kw_only=True):
    """The budget towards JSOC; ``until``: when there will be more, null while there is some."""

    records: Used
    bytes: Used
    waiting: int
    until: Stamp | None
    why: str


class Upstream(Answer, frozen=True, kw_only=True):
    """Traffic with JSOC: requests that run and wait, and counts since the start.

    Of the ``requests``, ``failed`` ones had no answer that can be used; ``refused`` ones were answered by JSOC with an error.
    """

    state: UpstreamState
    running: int
    waiting: int
    requests: int
    failed: int
    refused: int = 0
    bytes: int
    budget: UpstreamBudget


class FillProgress(Answer, frozen=True, kw_only=True):
    """What is being fetched of a series, in chunks; ``who`` waits for it, ``seconds_left`` null if unknown."""

    series: str
    done: int
    total: int
    who: list[str] = field(default_factory=list)
    seconds_left: int | None = None


class FileProgress(Answer, frozen=True, kw_only=True):
    """The files that are being fetched for ``who``: ``arriving`` ones have begun, ``size`` sums the known sizes."""

    who: str
    files: int
    arriving: int
    bytes: int
    size: int
    seconds_left: int | None


class ConfigState(Answer, frozen=True, kw_only=True):
    """Which file it is (null: none), since when it is in force, what is wrong with it now, what waits for a restart."""

    file: str | None
    loaded: Stamp
    problem: str
    waiting_for_restart: list[str]


class BackgroundCheck(Answer, frozen=True, kw_only=True):
    """The background check: how much it may read and has read, and how far it is. Times are in Unix seconds."""

    budget_per_day: str | None
    read_today: int
    running: bool
    step: str | None
    begun: float | None
    ended: float | None
    files: int
    bytes: int
    records: int
    found: dict[str, int]


class StoredFiles(Answer, frozen=True, kw_only=True):
    """Cached files; ``adopted`` are exports that people had, ``quota`` null if there is none."""

    count: int
    adopted: int | UnsetType = UNSET
    bytes: int
    quota: int | None
    reserved: int | UnsetType = UNSET


class Brief(Answer, frozen=True, kw_only=True):
    """The part of the status that is in memory. ``searches`` by plan, since the start."""

    policy: str
    configured_policy: str
    uptime_seconds: int
    series: int
    searches: dict[str, int]
    upstream: Upstream
    fills: list[FillProgress]
    downloads: list[FileProgress] = field(default_factory=list)
    config: ConfigState


class Slow(Answer, frozen=True, kw_only=True):
    """The part of the status that comes from the database. ``jobs``: exports by state."""

    records: int
    subscriptions: list[Subscription]
    check: BackgroundCheck
    files: StoredFiles
    jobs: dict[str, int]


class Disk(Answer, frozen=True, kw_only=True):
    """Bytes of the disk that the store is on, and of the cached files with their quota, null if there is none."""

    free: int
    total: int
    cached: int
    quota: int | None


class Status(Brief, frozen=True, kw_only=True):
    """The state of the mirror. ``jobs``: exports by state; no ``disk`` if the system does not report it."""

    records: int
    subscriptions: list[Subscription]
    check: BackgroundCheck
    files: StoredFiles
    jobs: dict[str, int]
    disk: Disk | UnsetType = UNSET


class Answers(Answer, frozen=True, kw_only=True):
    """Searches since the start: without JSOC, with it, all."""

    local: int
    asked: int
    all: int


class Spared(Answer, frozen=True, kw_only=True):
    """Bytes over a number of days: sent to people, sent by JSOC for them or ahead of them, and the difference."""

    days: int
    sent: int
    asked: int
    ahead: int
    spared: int


class DiskSpace(Answer, frozen=True, kw_only=True):
    """Bytes of the disk that the store is on."""

    free: int
    total: int


class LatestChange(Answer, frozen=True, kw_only=True):
    """A record that JSOC replaced, or withdrew (``gone``)."""

    record: str
    series: str
    gone: bool
    found_at: Stamp


class State(Brief, frozen=True, kw_only=True):
    """The front page: ``jobs`` are those under way."""

    records: int
    subscriptions: list[Subscription]
    check: BackgroundCheck
    files: StoredFiles
    jobs: list[Job]
    answers: Answers
    bytes: Spared
    disk: DiskSpace
    changes: list[LatestChange]


class Alive(Answer, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"]


class Ready(Answer, frozen=True, kw_only=True):
    """``index`` is ok, or what is wrong with it; no ``disk`` if the system does not report it.

    ``cluster``, if there is one, is ok, or why nothing is shared with its other mirrors now, while requests are still
    answered.
    """

    status: Literal["ok", "failing"]
    index: str
    upstream: UpstreamState
    disk: Disk | UnsetType = UNSET
    cluster: str | UnsetType = UNSET


class UpstreamHealth(Answer, frozen=True, kw_only=True):
    """The state of JSOC."""

    upstream: UpstreamState


STATUS = Endpoint(
    method="GET", path="/api/status", role="read", asked=Nothing, answer=Status, text="The state of the mirror.",
)  # fmt: skip
EVENTS = Endpoint(
    method="GET", path="/api/events", role="read", asked=Nothing, answer=State, media=("text/event-stream",),
    text="Events `status`, whose data is the state of the front page as JSON: the present one, and each that is news.",
)  # fmt: skip
METRICS = Endpoint(
    method="GET", path="/metrics", role="read", asked=Nothing, answer=str, media=("text/plain",),
    text="Counters for Prometheus.",
)  # fmt: skip
HEALTH = Endpoint(
    method="GET", path="/healthz", role="nobody", asked=Nothing, answer=Ready, failing=503,
    text="200 if requests can be answered, else 503.",
)  # fmt: skip
LIVE = Endpoint(
    method="GET", path="/healthz/live", role="nobody", asked=Nothing, answer=Alive,
    text="200 as long as the process answers at all.",
)  # fmt: skip
READY = Endpoint(
    method="GET", path="/healthz/ready", role="nobody", asked=Nothing, answer=Ready, failing=503,
    text="200 if requests can be answered, else 503.",
)  # fmt: skip
UPSTREAM = Endpoint(
    method="GET", path="/healthz/upstream", role="nobody", asked=Nothing, answer=UpstreamHealth, failing=503,
    text="200 if JSOC responded recently, or is not to be contacted; else 503.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (STATUS, EVENTS, METRICS, HEALTH, LIVE, READY, UPSTREAM)
