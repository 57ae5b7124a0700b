"""The API of freshness: which cached records JSOC has replaced, and the policy, which may change at run time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirror.api import freshness as api
from mirror.drms.times import parse_time, to_datetime
from mirror.errors import BadRequest, SyntaxProblem
from mirror.humanize import stamp
from mirror.server.endpoints import serve

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.api.contract import Nothing
    from mirror.readthrough.policy import Rules
    from mirror.storage.index.changes import Change, Changes

#: The most changes in an answer.
MOST = 100_000
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
        serve(router, api.CHANGES, self.changes)
        serve(router, api.POLICY, self.policy)
        serve(router, api.SET_POLICY, self.set_policy)

    async def changes(self, _: web.Request, asked: api.ChangesQuery) -> list[api.Change]:
        """The last changes, newest first."""
        since = moment(asked.since, self._rules.timestamp()) if asked.since else None
        return list(map(_told, await self._changes.found(asked.series, since, min(asked.n, MOST))))

    async def policy(self, _: web.Request, __: Nothing) -> api.PolicyState:
        """The policy in force, and the one of the configuration."""
        return api.PolicyState(policy=self._rules.policy, configured=self._rules.configured)

    async def set_policy(self, _: web.Request, asked: api.PolicyBody) -> api.PolicyState:
        """Another policy, until the mirror is restarted."""
        if asked.policy == "online":
            # If the configured policy is offline, going online means the usual policy.
            configured = self._rules.configured
            self._rules.policy = "fallback" if configured == "offline" else configured
        else:
            self._rules.policy = asked.policy
        return api.PolicyState(policy=self._rules.policy, configured=self._rules.configured)


def moment(text: str, now: float) -> float:
    """Unix seconds of a date in ISO or JSOC form (UTC if it has no zone), or of so long ago: ``7d``, ``12h``."""
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
            f"since = {text!r}; expected a date such as 2026-11-01 or 2026.11.01_12:00:00_UTC, or 7d for the last 7 days"
        ) from error


def _told(change: Change) -> api.Change:
    return api.Change(
        found_at=stamp(change.found_at),
        record=change.name,
        old=change.old,
        new=change.new,
        series=change.series,
    )
