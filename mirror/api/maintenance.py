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
    """What is held of a record set, for good or for so many ``seconds``; ``reason`` is the record set without one."""

    ds: RecordSets
    owner: Annotated[str, Meta(description="who the pin is for")]
    seg: str = ""
    n: Whole | None = None
    reason: str = ""
    seconds: float | None = None


class Pinned(Answer, frozen=True, kw_only=True):
    """Files that are pinned, their bytes, and how many are not held."""

    pinned: int
    bytes: int
    not_held: int


class Unpinned(Answer, frozen=True, kw_only=True):
    """Pins that were taken away."""

    removed: int


class EvictBody(Asked, frozen=True, kw_only=True):
    """Bytes that are needed; only a dry run, which says what would go, does without."""

    need: Whole | None = None
    dry_run: bool = False


class EvictedFile(Answer, frozen=True, kw_only=True):
    """A content that goes: where it stands, separated by commas."""

    file: str
    size: int
    last_used: Stamp
    sha256: str


class Evicted(Answer, frozen=True, kw_only=True):
    """``freed`` bytes of so many contents, the first of them by name; what is ``held`` now, of a ``quota`` if any."""

    dry_run: bool
    freed: int
    blobs: int
    held: int
    quota: int | None
    files: list[EvictedFile]


class CheckBody(Asked, frozen=True, kw_only=True):
    """``budget``: bytes after which it stops, to be continued later. ``restart``: from the beginning."""

    scope: Scope = "all"
    budget: Count | None = None
    restart: bool = False


class CheckRun(Answer, frozen=True, kw_only=True):
    """A check: ``step`` of ``steps`` is under way (``doing`` in words), up to ``place``. Times in Unix seconds."""

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
    """Something that was not as it should be: what kind of thing, where, what was wrong, what was done."""

    kind: str
    place: str
    problem: str
    outcome: Outcome
    action: str


class CheckProgress(Answer, frozen=True, kw_only=True):
    """The check that was asked for last (``run`` null: none was), and what it found; ``ok``: all is well, or again.

    Of one that was just begun: whether it ``joined`` the one that ran, or ``resumed`` one that had been stopped.
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

    ``kept`` records stay because data sets have them; of a forced one, ``warnings`` say which lose some.
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
