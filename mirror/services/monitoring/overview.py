"""How the mirror is doing, in one value for the front page: made at most once a second, however many look.

All work that somebody asked for: exports, fills and subscriptions, listed and cancelled. Plain JSON.
"""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from mirror.concurrency import SingleFlight
from mirror.errors import BadRequest, Refused
from mirror.humanize import stamp
from mirror.services.access.usage import ITSELF
from mirror.services.fills.fills import fill_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from mirror.services.access.usage import Accounting
    from mirror.services.exports.job_list import JobList
    from mirror.services.fills.fills import Fills
    from mirror.services.monitoring.status import Status, Totals
    from mirror.services.subscriptions.manager import Sync
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.index.changes import Changes


Kind = Literal["export", "fill", "subscription"]


class AllJobs:
    """The jobs of a mirror, of every kind."""

    def __init__(self, exports: JobList, fills: Fills, sync: Sync) -> None:
        self._exports = exports
        self._fills = fills
        self._sync = sync

    async def latest(self, n: int, kind: str = "") -> list[dict[str, Any]]:
        """The last ``n`` exports and fills, newest first, and then the subscriptions; of one kind if it is given."""
        if kind and kind not in get_args(Kind):
            raise BadRequest(f"kind is {kind!r}; expected export, fill or subscription")
        exports = await self._exports.latest(n) if kind in ("", "export") else []
        fills = [fill_line(job) for job in self._fills.list()] if kind in ("", "fill") else []
        standing = await self._sync.report() if kind in ("", "subscription") else []
        asked = sorted([*exports, *fills], key=lambda job: (job["created"], job["id"]), reverse=True)
        return [*asked[:n], *map(_subscription_line, standing)]

    async def one(self, job_id: str, *, places: bool = False) -> dict[str, Any]:
        """One job; of an export also its files, as ``JobList.one`` gives them. UnknownName if there is none."""
        if (fill := self._fills.get(job_id)) is not None:
            return fill_line(fill)
        for line in await self._subscriptions(job_id):
            return line
        return await self._exports.one(job_id, places=places)

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """End a fill or an export; what it has fetched stays. One that has ended stays as it is.

        UnknownName if there is none of that id; Refused for a subscription.
        """
        if self._fills.get(job_id) is not None:
            return fill_line(await self._fills.cancel(job_id))
        if await self._subscriptions(job_id):
            raise Refused(
                f"{job_id} is a subscription, which would begin again by itself; expected the id of a fill or an "
                f"export. `mirror subscribe --remove {job_id}` ends it"
            )
        return await self._exports.cancel(job_id)

    async def _subscriptions(self, name: str) -> list[dict[str, Any]]:
        return [_subscription_line(line) for line in await self._sync.report() if line["name"] == name]


def _subscription_line(told: Mapping[str, Any]) -> dict[str, Any]:
    """A subscription with the members that every job has."""
    files = bool(told["segments"])
    return {
        "id": told["name"],
        "kind": "subscription",
        "state": told["state"],
        "ready": told["files"] if files else told["records"],
        "total": told["files_wanted"] if files else told["records_wanted"],
        "counted": "files" if files else "records",
        "seconds_left": told["seconds_left"] if files else None,
        "bytes": told["bytes"],
        "ds": f"{told['series']}[{told['start']}-{told['end']}]",
        "by": "config.toml",
        "created": None,
        "updated": told["last_look"],
        "error": told["problem"] or None,
        "waits": None,
        "notes": [told["why"]] if told["why"] else [],
        "files": [],
    }


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
