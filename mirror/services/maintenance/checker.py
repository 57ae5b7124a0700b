"""Checks of the whole store: begun, continued, watched. One runs at a time; a background one gives way.

``check_files`` and ``check_index`` have the steps of a check, ``check_plan`` their order. Progress is stored after each
piece of work, so a check that was stopped resumes where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from msgspec.structs import replace as replace_in

from mirror.api.maintenance import CheckFinding, CheckProgress, CheckRun
from mirror.errors import MirrorError, Refused
from mirror.humanize import day_of
from mirror.services.maintenance.check_plan import (
    STEPS,
    Budget,
    CheckStep,
    Finding,
    advanced,
    covers,
    is_good,
    steps_of,
)

if TYPE_CHECKING:
    from mirror.services.maintenance.check_files import FileSteps
    from mirror.services.maintenance.check_index import IndexSteps, LakeSteps
    from mirror.services.maintenance.check_plan import CheckTable, Run, Scope

log = logging.getLogger(__name__)

#: Does a piece of a step: from a place on, for a check begun at a given time, reading about so many bytes at most.
Step = Callable[[str, float, int], Awaitable[CheckStep]]
#: Called after each piece of a background check, with the bytes that it read and the seconds that it took.
Breather = Callable[[int, float], Awaitable[bool]]

#: Bytes of a piece where no budget says less.
_PIECE = 256_000_000
#: Findings that are listed; the others are counted.
MOST_TOLD = 1000


class Checker:
    """Runs checks. ``now`` gives Unix seconds, ``clock`` seconds that only go forward."""

    def __init__(
        self,
        table: CheckTable,
        files: FileSteps,
        index: IndexSteps,
        lake: LakeSteps,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._now = now
        self._clock = clock
        self._steps: dict[str, Step] = {
            name: getattr(steps, name)
            for steps in (index, files, lake)
            for name in STEPS
            if hasattr(steps, name)
        }
        self._task: asyncio.Task[None] | None = None
        self._run: Run | None = None
        self._turn = asyncio.Lock()
        self._beginning = asyncio.Lock()
        self.found: dict[str, int] = {}  #: findings since the start, by outcome

    # ---- for people ------------------------------------------------------------------------------

    async def start(self, scope: Scope, budget: int | None = None, *, restart: bool = False) -> CheckProgress:
        """Begin a check, resume an unfinished one unless it is to ``restart``, or join one that runs.

        ``budget``: bytes after which it stops, to be resumed. Refused while one of another scope runs.
        """
        async with self._beginning:
            if self.is_running:
                assert self._run is not None
                if not covers(self._run.scope, scope):
                    raise Refused(
                        f"a check of {self._run.scope} is running; wait until it has ended"
                    )
                return replace_in(await self.progress(), joined=True)
            await self._table.make_readable()
            earlier = None if restart else await self._table.unfinished(scope, background=False)
            run = earlier or await self._begin(scope, background=False)
            self._run = run
            self._task = asyncio.ensure_future(self._whole(run, Budget(budget)))
        return replace_in(await self.progress(), joined=False, resumed=earlier is not None)

    @property
    def is_running(self) -> bool:
        """True while a check that somebody asked for runs."""
        return self._task is not None and not self._task.done()

    async def progress(self) -> CheckProgress:
        """The progress of the check that was asked for last, and what it found."""
        run = self._run or await self._table.last(background=False)
        if run is None:
            return CheckProgress(running=False, run=None, findings=[], ok=True)
        findings = await self._table.findings(run.id)
        return CheckProgress(
            running=self.is_running,
            run=CheckRun(**asdict(run), doing=STEPS[run.step], steps=list(steps_of(run.scope))),
            findings=[CheckFinding(**asdict(f)) for f in findings[:MOST_TOLD]],
            more_findings=max(0, len(findings) - MOST_TOLD),
            ok=is_good(findings),
        )

    async def wait(self) -> None:
        """Return once no check that somebody asked for runs."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        """End what runs; it resumes at the next start."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # ---- in the background -----------------------------------------------------------------------

    async def go_on(self, scope: Scope, left: int | None, breathe: Breather) -> Run:
        """Begin or resume the background check, until it has ended or ``breathe`` stops it.

        ``left``: bytes that it may read, None: no limit.
        """
        run = await self._table.unfinished(scope, background=True)
        run = run or await self._begin(scope, background=True)
        budget = Budget(left)
        while run.ended_at is None and not budget.is_used_up:
            began, before = self._clock(), run.bytes
            run = await self._piece(run, budget)
            budget = budget.after(run.bytes - before)
            if not await breathe(run.bytes - before, self._clock() - began):
                break
        return run

    async def spent_today(self) -> int:
        """Bytes that background checks have read today."""
        return await self._table.spent(day_of(self._now()))

    async def last_background(self) -> Run | None:
        """The background check that was begun last."""
        return await self._table.last(background=True)

    # ---- inside ----------------------------------------------------------------------------------

    async def _begin(self, scope: Scope, *, background: bool) -> Run:
        step = steps_of(scope)[0]
        return await self._table.begin(scope, self._now(), background=background, step=step)

    async def _whole(self, run: Run, budget: Budget) -> None:
        while run.ended_at is None and not budget.is_used_up:
            before = run.bytes
            run = self._run = await self._piece(run, budget)
            budget = budget.after(run.bytes - before)

    async def _piece(self, run: Run, budget: Budget) -> Run:
        """Do one piece, and store the outcome."""
        async with self._turn:
            most = min(_PIECE, budget.left or _PIECE)
            try:
                piece = await self._steps[run.step](run.place, run.started_at, most)
            except MirrorError as problem:  # of one step; the others may still work
                piece = CheckStep(
                    None, (Finding(run.step, "", str(problem), "open", "the remainder of this step was skipped"),)
                )
            at = self._now()
            after = advanced(run, piece, at)
            await self._table.note(after, piece.findings, at, day=day_of(at), read=after.bytes - run.bytes)
        for finding in piece.findings:
            self._tell(finding)
        return after

    def _tell(self, finding: Finding) -> None:
        self.found[finding.outcome] = self.found.get(finding.outcome, 0) + 1
        level = logging.INFO if is_good([finding]) else logging.WARNING
        outcome = (finding.kind, finding.place, finding.problem, finding.outcome)
        log.log(level, "check kind=%s place=%s problem=%s outcome=%s", *outcome)
