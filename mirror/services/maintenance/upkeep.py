"""Background work while the mirror is idle: checks, eviction, checkpoints, writing counts to the store.

There are two loops of small steps. A step that fails is logged, and tried again at its time.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import duckdb

from mirror.api.maintenance import OUTCOMES
from mirror.api.monitoring import BackgroundCheck
from mirror.concurrency import cancel
from mirror.errors import MirrorError
from mirror.humanize import in_words
from mirror.metrics import counter, gauge
from mirror.services.maintenance.check_plan import MOST_WAITS, WAIT, begins, pause
from mirror.storage.database.database import SMALL_LOG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

    from mirror.config.loading import Config, Subscription
    from mirror.metrics import Metric
    from mirror.services.access.usage import Accounting
    from mirror.services.maintenance.checker import Checker
    from mirror.storage.database.database import Database
    from mirror.storage.files.blobs import Blobs, Usage
    from mirror.storage.files.eviction import Eviction

log = logging.getLogger(__name__)

#: Seconds between two rounds of eviction, usage and the log of changes.
TICK = 30.0
#: Seconds after the start, and between two tests whether a background check is due.
LOOK = 300.0
#: Bytes of the log of changes above which it is folded in even while the mirror is busy.
MANY_CHANGES = 500_000_000
#: Seconds without a request after which the mirror counts as idle.
IDLE = 10.0


def checkpoint_due(changes: int, idle: float, *, busy: bool) -> bool:
    """True if a log of ``changes`` bytes should be folded in, after so many idle seconds."""
    return changes >= MANY_CHANGES or (changes >= SMALL_LOG and idle >= IDLE and not busy)


@dataclass(frozen=True, slots=True)
class Environment:
    """What upkeep must know about the mirror: whether somebody is being served, and the time."""

    is_busy: Callable[[], bool]
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    note: Callable[[], Awaitable[None]]  #: stores what else was counted
    seal: Callable[[Callable[[], bool]], Awaitable[None]]  #: brings the lake up to date, as long as that is allowed


class Upkeep:
    """Runs the loops between ``start`` and ``stop``."""

    def __init__(
        self,
        config: Config,
        checker: Checker,
        blobs: Blobs,
        database: Database,
        changes: Path,
        accounting: Accounting,
        around: Environment,
    ) -> None:
        self._config = config
        self.checker = checker
        self._blobs = blobs
        self._database = database
        self._changes = changes
        self._accounting = accounting
        self._around = around
        self._tasks: list[asyncio.Task[None]] = []
        self._stops = False
        self.evicted = 0  #: bytes that went because of the watermarks

    def apply(self, config: Config) -> None:
        """Use another configuration from now on."""
        self._config = config

    def subscriptions(self) -> tuple[Subscription, ...]:
        """The subscriptions in force."""
        return self._config.subscription

    def start(self) -> None:
        """Begin."""
        loops = (self._every(TICK, self.tick), self._every(LOOK, self.check))
        self._tasks = [asyncio.ensure_future(loop) for loop in loops]

    async def stop(self) -> None:
        """End the loops and any check that runs, and store what was counted."""
        self._stops = True  # first: work that ends by itself, such as sealing, does so at its next step
        self._blobs.check.stop()
        await cancel(*self._tasks)
        await self.checker.stop()
        with suppress(MirrorError):
            await self._accounting.write_down()
            await self._around.note()

    async def tick(self) -> None:
        """Evict, store counts and usage, fold changes into the index; seal changed months, when idle."""
        storage = self._config.storage
        gone = await keep(self._blobs, Marks(storage.high, storage.low, storage.keep_free))
        if gone is not None and gone.blobs:
            self.evicted += gone.freed
            log.info("made room files=%d bytes=%d", len(gone.blobs), gone.freed)
        await self._accounting.write_down()
        await self._around.note()
        await self._blobs.note_uses()
        idle = self._idle()
        if checkpoint_due(await self._logged(), idle, busy=self._around.is_busy()):
            with suppress(duckdb.TransactionException):  # something is being written: next time
                await self._database.checkpoint()
        await self._around.seal(lambda: not self._stops and self.is_idle())
        await self._database.rest()

    def is_idle(self) -> bool:
        """True if nobody is being served, and nobody was for some seconds."""
        return self._idle() >= IDLE and not self._around.is_busy()

    async def check(self) -> None:
        """Continue the background check, as far as the day's budget and hours allow."""
        left = await self._left()
        if left is None or left <= 0 or self.checker.is_running or not self._is_hour():
            return
        last = await self.checker.last_background()
        every, now = self._config.upkeep.check_every, self._around.now().timestamp()
        if last is None or last.ended_at is None or begins(last.ended_at, every, now):
            run = await self.checker.go_on("all", left, self._breathe)
            if run.ended_at is not None:
                log.info(
                    "background check ended files=%d bytes=%d records=%d", run.files, run.bytes, run.records
                )

    async def state(self) -> BackgroundCheck:
        """The state of the background check."""
        last = await self.checker.last_background()
        budget = self._config.upkeep.check_per_day
        return BackgroundCheck(
            budget_per_day=None if budget is None else in_words(budget),
            read_today=await self.checker.spent_today(),
            running=self.checker.is_running,
            step=None if last is None else last.step,
            begun=None if last is None else last.started_at,
            ended=None if last is None else last.ended_at,
            files=0 if last is None else last.files,
            bytes=0 if last is None else last.bytes,
            records=0 if last is None else last.records,
            found=dict(self.checker.found),
        )

    async def metrics(self) -> list[Metric]:
        """The state of upkeep, for Prometheus."""
        state = await self.state()
        found: dict[str, float] = {**dict.fromkeys(map(str, OUTCOMES), 0), **state.found}
        return [
            counter("mirror_check_findings_total", "What checks found since the start, by outcome.", found, "outcome"),
            gauge("mirror_check_bytes", "Bytes of files and records that the background check has read.", state.bytes),
            gauge("mirror_check_files", "Files that the background check has read.", state.files),
            gauge("mirror_check_records", "Records that the background check has read.", state.records),
            gauge("mirror_check_read_today_bytes", "Of the day's budget, what is used up.", state.read_today),
            gauge("mirror_check_ended_timestamp_seconds", "When the last background check ended.", state.ended or 0),
            counter("mirror_evicted_ahead_bytes_total", "Bytes evicted by the watermarks.", self.evicted),
        ]  # fmt: skip

    # ---- inside ----------------------------------------------------------------------------------

    def _idle(self) -> float:
        """Seconds since the last request began."""
        return self._around.now().timestamp() - self._accounting.last

    async def _breathe(self, _read: int, took: float) -> bool:
        """Leave time to others, and all of it to people; True if the check may go on now."""
        await self._around.sleep(pause(took))
        for _ in range(MOST_WAITS):
            if not self._around.is_busy():
                break
            await self._around.sleep(WAIT)
        return self._is_hour() and not self.checker.is_running

    async def _left(self) -> int | None:
        """Bytes that the background may still read today; None: it must not check."""
        budget = self._config.upkeep.check_per_day
        return None if budget is None else budget - await self.checker.spent_today()

    def _is_hour(self) -> bool:
        hours = self._config.upkeep.hours
        return hours is None or hours.wait(self._around.now().astimezone(UTC if hours.utc else None)) == 0

    async def _logged(self) -> int:
        """Bytes in the log of changes."""
        try:
            return (await asyncio.to_thread(self._changes.stat)).st_size
        except FileNotFoundError:
            return 0

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._around.sleep(seconds)
            try:
                await step()
            except MirrorError as problem:
                log.warning("upkeep step=%s problem=%s", step.__name__, problem)
            except Exception:
                log.exception("upkeep failed step=%s", step.__name__)


#: What is freed on a full disk beyond what is needed: otherwise each new file would evict again.
_AHEAD = 1.1


@dataclass(frozen=True, slots=True)
class Marks:
    """Above ``high`` of the quota, evict down to ``low`` of it; ``keep_free`` bytes of the disk stay free."""

    high: float
    low: float
    keep_free: int | None


def excess(usage: Usage, free: int, marks: Marks) -> int:
    """Bytes that should go now; 0 while all is below its mark."""
    return max(_over_quota(usage, marks), _under_disk(free, marks))


def _over_quota(usage: Usage, marks: Marks) -> int:
    used = usage.held + usage.parked + usage.reserved
    if usage.limit is None or used <= marks.high * usage.limit:
        return 0
    return max(0, used - int(marks.low * usage.limit))


def _under_disk(free: int, marks: Marks) -> int:
    if marks.keep_free is None or free >= marks.keep_free:
        return 0
    return int(marks.keep_free * _AHEAD) - free


async def keep(blobs: Blobs, marks: Marks) -> Eviction | None:
    """Evict what is above the marks; None if nothing is."""
    need = excess(blobs.usage(), await blobs.check.free(), marks)
    return await blobs.evict(min(need, blobs.usage().held)) if need and blobs.usage().held else None
