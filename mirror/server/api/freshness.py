"""The API of freshness: what JSOC replaced of what was held, and the policy, which may change while running."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from aiohttp import web

from mirror.config.loading import Policy
from mirror.drms.times import parse_time, to_datetime
from mirror.errors import BadRequest, SyntaxProblem
from mirror.server.bodies import json_object, limit
from mirror.server.requests import parameters

if TYPE_CHECKING:
    from mirror.readthrough.policy import Rules
    from mirror.storage.index.changes import Change, Changes

#: Changes that are told if nobody says how many, and at most.
USUAL, MOST = 1_000, 100_000
#: The policy to go back to is told by this word.
ONLINE = "online"
_AGO = re.compile(r"-?(\d+)\s*([smhdw])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_ISO = re.compile(r"\d{4}-\d\d-\d\d")


class FreshnessApi:
    """The handlers of /api that are about changes and the policy."""

    def __init__(self, changes: Changes, rules: Rules) -> None:
        self._changes = changes
        self._rules = rules

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/changes", self.changes)
        router.add_get("/api/policy", self.policy)
        router.add_post("/api/policy", self.set_policy)

    async def changes(self, request: web.Request) -> web.Response:
        """``series``, ``since`` (a date, or ``7d`` for a week ago) and ``n``: the last changes, newest first."""
        given = await parameters(request)
        since = moment(given["since"], self._rules.timestamp()) if given.get("since") else None
        found = await self._changes.found(given.get("series") or None, since, limit(given, USUAL, MOST))
        return web.json_response(list(map(_told, found)))

    async def policy(self, _: web.Request) -> web.Response:
        """The policy in force, and the one of the configuration."""
        return web.json_response(self._policies())

    async def set_policy(self, request: web.Request) -> web.Response:
        """``policy``: one of the three, or ``online`` for what the configuration says.

        Holds until the mirror is started again, or the policy of the configuration is edited.
        """
        wanted = (await json_object(request, {"policy": str})).get("policy", "")
        if wanted == ONLINE:
            # Who configured the mirror to be offline and wants it online means to use it as usual.
            configured = self._rules.configured
            wanted = "fallback" if configured == "offline" else configured
        if wanted not in get_args(Policy):
            known = ", ".join((*get_args(Policy), ONLINE))
            raise BadRequest(f"policy is {wanted!r}; expected one of {known}")
        self._rules.policy = wanted
        return web.json_response(self._policies())

    def _policies(self) -> dict[str, str]:
        return {"policy": self._rules.policy, "configured": self._rules.configured}


def moment(text: str, now: float) -> float:
    """Unix seconds of a date in ISO or JSOC form (UTC where no zone is named), or so long ago: ``7d``, ``12h``."""
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        if _ISO.match(text):
            at = datetime.fromisoformat(text)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        return to_datetime(parse_time(text)).timestamp()
    except (ValueError, OverflowError, SyntaxProblem) as error:
        raise BadRequest(
            f"since is {text!r}; expected a date such as 2026-11-01 or 2026.11.01_12:00:00_UTC, or 7d for a week ago"
        ) from error


def _told(change: Change) -> dict[str, Any]:
    found = datetime.fromtimestamp(change.found_at, UTC).isoformat(timespec="seconds")
    return {
        "found_at": found.replace("+00:00", "Z"),
        "record": change.name,
        "old": change.old,
        "new": change.new,
        "series": change.series,
    }
