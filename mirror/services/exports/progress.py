"""A job that is being worked on: how far it is, over all tries of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.drms.export import ExportRequest
    from mirror.errors import MirrorError
    from mirror.services.exports.jobs import Job, JobFile

#: A file by the record that the index shows, and its name.
FileKey = tuple[str, str]


@dataclass
class RunningJob:
    """One job. ``files`` are those that it has, which no further try makes again.

    ``ready`` of ``total`` files are there, as far as that is known; ``gained`` counts what came since the
    last failure. ``problem`` is why it pauses, None while it does not.
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
    #: What upstream said to it at first: its refusal, or None where that has accepted it.
    heard: asyncio.Future[MirrorError | None] | None = None

    def begin(self, total: int) -> None:
        """A try begins, for so many files."""
        self.ready, self.total = 0, total

    def came(self, key: FileKey, file: JobFile) -> None:
        """A file is there."""
        self.ready += 1
        self.gained += key not in self.files
        self.files[key] = file

    def hear(self, refusal: MirrorError | None) -> bool:
        """Tell whoever waits what upstream said; True if somebody did."""
        if self.heard is None or self.heard.done():
            return False
        self.heard.set_result(refusal)
        return True

    def pause(self, problem: MirrorError | None) -> None:
        """It pauses because of a problem, or goes on."""
        self.problem, self.gained = problem, 0
        if problem is None:
            self.paused.clear()
        else:
            self.paused.set()
