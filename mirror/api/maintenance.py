"""Pins, eviction, checks, and giving data up."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from mirror.api.contract import (
    UNSET,
    Answer,
    Asked,
    Count,
    Endpoint,
    Nothing,
    RecordSets,
    Stamp,
    UnsetType,
    Whole,
)

Scope = Literal["files", "index", "all"]
#: What became of something that a check found.
Outcome = Literal["repaired", "quarantined", "missing", "open", "harmless"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class PinGroup(Answer, frozen=True, kw_only=True):
    """The pins of one owner for one reason; ``until`` null: for good."""

    owner: str
    reason: str
    files: int
    since: Stamp
    until: Stamp | None


class PinBody(Asked, frozen=True, kw_only=True):
    """What is cached of a record set, for good or for ``seconds``; ``reason`` is by default the record set."""

    ds: RecordSets
    owner: Annotated[str, Meta(description="who the pin is for")]
    seg: str = ""
    n: Whole | None = None
    reason: str = ""
    seconds: float | None = None


class Pinned(Answer, frozen=True, kw_only=True):
    """Pinned files, their bytes, and how many are not cached."""

    pinned: int
    bytes: int
    not_held: int


class Unpinned(Answer, frozen=True, kw_only=True):
    """Pins that were removed."""

    removed: int


class EvictBody(Asked, frozen=True, kw_only=True):
    """Bytes that are needed; optional for a dry run, which only says what would go."""

    need: Whole | None = None
    dry_run: bool = False


class EvictedFile(Answer, frozen=True, kw_only=True):
    """A content that goes, and its places, separated by commas."""

    file: str
    size: int
    last_used: Stamp
    sha256: str


class Evicted(Answer, frozen=True, kw_only=True):
    """``freed`` bytes, the number of contents and the first of them; bytes ``held`` now, and the ``quota`` if any."""

    dry_run: bool
    freed: int
    blobs: int
    held: int
    quota: int | None
    files: list[EvictedFile]


class CheckBody(Asked, frozen=True, kw_only=True):
    """``budget``: bytes after which the check stops, to be continued later. ``restart``: from the beginning."""

    scope: Scope = "all"
    budget: Count | None = None
    restart: bool = False


class CheckRun(Answer, frozen=True, kw_only=True):
    """A check: ``step`` of ``steps`` is under way (``doing`` in words), up to ``place``. Times are in Unix seconds."""

    id: int
    scope: Scope
    background: bool
    started_at: float
    ended_at: float | None
    step: str
    place: str
    files: int
    bytes: int
    records: int
    doing: str
    steps: list[str]


class CheckFinding(Answer, frozen=True, kw_only=True):
    """A problem: the kind of thing, its place, what was wrong, what was done."""

    kind: str
    place: str
    problem: str
    outcome: Outcome
    action: str


class CheckProgress(Answer, frozen=True, kw_only=True):
    """The last requested check (``run`` null: there was none), and what it found; ``ok``: all is well, or well again.

    For one just begun: whether it ``joined`` a running one, or ``resumed`` one that had been stopped.
    """

    running: bool
    run: CheckRun | None
    findings: list[CheckFinding]
    more_findings: int | UnsetType = UNSET
    ok: bool
    joined: bool | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET


class ForgetBody(Asked, frozen=True, kw_only=True):
    """A record set, or a series; ``files``, ``records``, both without either. ``force``: pinned ones too."""

    ds: RecordSets
    files: bool | None = None
    records: bool | None = None
    force: bool = False
    dry_run: bool = False


class Forgotten(Answer, frozen=True, kw_only=True):
    """What goes; ``pinned`` files and those that are ``shared`` with other records stay.

    ``kept`` records stay because data sets have them; with ``force``, ``warnings`` say which data sets lose some.
    """

    dry_run: bool
    records: int
    files: int
    blobs: int
    bytes: int
    pinned: int
    shared: int
    kept: int
    warnings: list[str]


PINS = Endpoint(
    method="GET", path="/api/pins", role="read", asked=Nothing, answer=list[PinGroup], text="The active pins.",
)  # fmt: skip
PIN = Endpoint(
    method="POST", path="/api/pins", role="export", asked=PinBody, answer=Pinned,
    text="Pin the cached files of a record set.",
)  # fmt: skip
UNPIN = Endpoint(
    method="DELETE", path="/api/pins", role="export", asked=PinBody, answer=Unpinned,
    text="Remove the pins of one owner from the files of a record set.",
)  # fmt: skip
EVICT = Endpoint(
    method="POST", path="/api/evict", role="admin", asked=EvictBody, answer=Evicted,
    text="Evict the least recently used files, or list what would be evicted.",
)  # fmt: skip
CHECK = Endpoint(
    method="GET", path="/api/check", role="read", asked=Nothing, answer=CheckProgress,
    text="Progress and findings of the last requested check.",
)  # fmt: skip
BEGIN_CHECK = Endpoint(
    method="POST", path="/api/check", role="admin", asked=CheckBody, answer=CheckProgress, status=202,
    text="Start a check, resume one, or join the one that runs.",
)  # fmt: skip
FORGET = Endpoint(
    method="POST", path="/api/forget", role="admin", asked=ForgetBody, answer=Forgotten,
    text="Delete cached files, records or both of a record set, or show what would be deleted.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (PINS, PIN, UNPIN, EVICT, CHECK, BEGIN_CHECK, FORGET)
