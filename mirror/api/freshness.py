"""Cached records that JSOC has replaced, and the policy, which may change while the mirror runs."""

from __future__ import annotations

from typing import Any, Literal

from mirror.api.contract import Answer, Asked, Count, Endpoint, Moment, Nothing, Stamp

PolicyName = Literal["strict", "fallback", "offline"]


class ChangesQuery(Asked, frozen=True, kw_only=True):
    """The last ``n`` changes, at most 100,000, of a series if one is named, since a moment."""

    series: str | None = None
    since: Moment | None = None
    n: Count = 1_000


class Change(Answer, frozen=True, kw_only=True):
    """A record that got another number; ``new`` null: JSOC has withdrawn it."""

    found_at: Stamp
    record: str
    old: int
    new: int | None
    series: str


class PolicyState(Answer, frozen=True, kw_only=True):
    """The policy in force, and the one of the configuration."""

    policy: PolicyName
    configured: PolicyName


class PolicyBody(Asked, frozen=True, kw_only=True):
    """One of the three, or ``online`` for the configured one."""

    policy: Literal["strict", "fallback", "offline", "online"]


CHANGES = Endpoint(
    method="GET", path="/api/changes", role="read", asked=ChangesQuery, answer=list[Change],
    text="The last changes, newest first. `since` is a date, or `7d` for a week ago.",
)  # fmt: skip
POLICY = Endpoint(
    method="GET", path="/api/policy", role="read", asked=Nothing, answer=PolicyState,
    text="The policy in force, and the one of the configuration.",
)  # fmt: skip
SET_POLICY = Endpoint(
    method="POST", path="/api/policy", role="admin", asked=PolicyBody, answer=PolicyState,
    text="Another policy, or `online` for what the configuration says. Holds until the mirror is started again, or the "
    "policy of the configuration is edited.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (CHANGES, POLICY, SET_POLICY)
