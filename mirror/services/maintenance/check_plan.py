"""How a check of the store goes: its steps, how far it is, how much it may read. Pure.

A check is a row of steps, and each step goes from place to place. After each piece of work it is written
down how far the check is: what is stopped, or killed, goes on there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.services.maintenance.check_table import Finding, Run, Scope

INDEX_STEPS = ("catalogue", "records", "series")
FILE_STEPS = ("layout", "contents", "references", "links", "parts", "lake")
#: What each step looks at, for people.
STEPS = {
    "catalogue": "the index's own tables",
    "records": "records",
    "series": "versions of records",
    "layout": "files and their rows",
    "contents": "contents of files",
    "references": "what refers to files",
    "links": "the readable tree",
    "parts": "broken-off downloads",
    "lake": "files of the lake",
}
_OF: dict[Scope, tuple[str, ...]] = {
    "index": INDEX_STEPS,
    "files": FILE_STEPS,
    "all": (*INDEX_STEPS, *FILE_STEPS),
}
#: Outcomes after which nothing is left to be done.
_GOOD = frozenset({"repaired", "harmless"})

#: Of the time that a background check takes, this share is reading; the rest is left to others.
SHARE = 0.25
#: Seconds that a background check waits at a time while people are served, and how often in a row at most.
WAIT, MOST_WAITS = 2.0, 30


@dataclass(frozen=True, slots=True)
class CheckStep:
    """A piece of a step that is done: the ``place`` to go on at, None at the step's end; what was looked at."""

    place: str | None
    findings: tuple[Finding, ...] = ()
    files: int = 0
    bytes: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that may be read; ``limit`` None: as many as there are."""

    limit: int | None
    spent: int = 0

    @property
    def left(self) -> int | None:
        """Bytes that may still be read, None: any number."""
        return None if self.limit is None else max(0, self.limit - self.spent)

    @property
    def is_used_up(self) -> bool:
        return self.left == 0

    def after(self, read: int) -> Budget:
        """The budget once so many bytes more were read."""
        return replace(self, spent=self.spent + read)


def steps_of(scope: Scope) -> tuple[str, ...]:
    """The steps of a check, in order."""
    return _OF[scope]


def advanced(run: Run, piece: CheckStep, now: float) -> Run:
    """The check after a piece of its step."""
    counted = replace(
        run,
        files=run.files + piece.files,
        bytes=run.bytes + piece.bytes,
        records=run.records + piece.records,
    )
    if piece.place is not None:
        return replace(counted, place=piece.place)
    steps = steps_of(run.scope)
    later = steps[steps.index(run.step) + 1 :]
    if not later:
        return replace(counted, place="", ended_at=now)
    return replace(counted, step=later[0], place="")


def is_good(findings: Iterable[Finding]) -> bool:
    """True if nothing is wrong any more."""
    return all(f.outcome in _GOOD for f in findings)


def covers(running: Scope, wanted: Scope) -> bool:
    """True if a check of ``running`` does what is wanted too."""
    return running in (wanted, "all")




def pause(took: float) -> float:
    """Seconds to leave to others after work that took so many."""
    return took * (1 - SHARE) / SHARE


def begins(ended_at: float | None, every: float, now: float) -> bool:
    """True if it is time for the next background check, after the one that ended last."""
    return ended_at is None or now - ended_at >= every or ended_at > now
