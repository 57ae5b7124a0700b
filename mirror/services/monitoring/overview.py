"""How the mirror is doing, in one value for the front page: made at most once a second, however many look."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mirror.concurrency import SingleFlight
from mirror.humanize import stamp
from mirror.services.access.usage import ITSELF

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from mirror.services.access.usage import Accounting
    from mirror.services.monitoring.all_jobs import AllJobs
    from mirror.services.monitoring.status import Status
    from mirror.services.monitoring.totals import Totals
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.index.changes import Changes

#: Seconds for which an answer counts, and for which that part of it counts that takes a look at many rows.
FRESH, SLOW = 1.0, 5.0
#: Days of use that are summed up.
DAYS = 30
_CHANGES = 8
_JOBS = 40
#: How a search came about, where JSOC was not needed, and where it was.
_LOCAL, _ASKED = ("local", "stale"), ("filled", "forwarded")


class Overview:
    """Gathers the state; ``clock`` gives seconds that only go forward, ``root`` is the store's folder."""

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
    ) -> None:
        self._status = status
        self._accounting = accounting
        self._blobs = blobs
        self._totals = totals
        self._changes = changes
        self._jobs = jobs
        self._root = root
        self._clock = clock
        self._flights: SingleFlight[str, dict[str, Any]] = SingleFlight()
        self._made: dict[str, tuple[float, dict[str, Any]]] = {}

    async def state(self) -> dict[str, Any]:
        """Everything, as plain JSON."""
        slow = await self._recent("slow", SLOW, self._slow)
        return await self._recent("state", FRESH, lambda: self._fast(slow))

    async def _recent(
        self, name: str, seconds: float, make: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """What was made last if it is young enough, else made anew; once for all who wait."""
        known = self._made.get(name)
        if known is None or self._clock() - known[0] >= seconds:
            made = await self._flights.run(name, make)
            known = self._made[name] = (self._clock(), made)
        return known[1]

    async def _fast(self, slow: dict[str, Any]) -> dict[str, Any]:
        brief, usage = self._status.brief(), self._blobs.usage()
        searches: Mapping[str, int] = brief["searches"]
        local, asked = _sum(searches, _LOCAL), _sum(searches, _ASKED)
        files = {
            "count": await self._totals.files(),
            "bytes": usage.held,
            "quota": usage.limit,
            "reserved": usage.reserved,
        }
        return {
            **slow,
            **brief,
            "answers": {"local": local, "asked": asked, "all": local + asked},
            "files": files,
        }

    async def _slow(self) -> dict[str, Any]:
        status = await self._status.slow()
        disk = await asyncio.to_thread(shutil.disk_usage, self._root)
        jobs = [job for kind in ("fill", "export") for job in await self._jobs.latest(_JOBS, kind)]
        changes = await self._changes.found(None, None, _CHANGES)
        return {
            **status,
            "bytes": spared(await self._usage()),
            "disk": {"free": disk.free, "total": disk.total},
            "jobs": [job for job in jobs if job["state"] not in ("done", "failed", "cancelled")],
            "changes": [
                {"record": c.name, "series": c.series, "gone": c.new is None, "found_at": stamp(c.found_at)}
                for c in changes
            ],
        }

    async def _usage(self) -> Sequence[Mapping[str, Any]]:
        since = datetime.fromtimestamp(self._status.now(), UTC) - timedelta(days=DAYS)
        return await self._accounting.usage(f"{since:%Y-%m-%d}")


def spared(usage: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Of so many days: bytes that went to people, that JSOC had to send for them, and the difference.

    What the mirror fetches by itself, for subscriptions, is told apart: nobody waited for it.
    """
    people = [line for line in usage if line["who"] != ITSELF]
    told = sum(line["bytes"] for line in people)
    asked = sum(line["upstream_bytes"] for line in people)
    ahead = sum(line["upstream_bytes"] for line in usage) - asked
    return {"days": DAYS, "sent": told, "asked": asked, "ahead": ahead, "spared": max(0, told - asked)}


def _sum(counts: Mapping[str, int], names: Sequence[str]) -> int:
    return sum(counts.get(name, 0) for name in names)
