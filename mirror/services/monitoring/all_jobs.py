"""All work that somebody asked for: exports, fills and subscriptions, listed and cancelled. Plain JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from mirror.errors import BadRequest, Refused
from mirror.services.fills.gaps import fill_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.services.exports.job_list import JobList
    from mirror.services.fills.fills import Fills
    from mirror.services.subscriptions.manager import Sync

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
