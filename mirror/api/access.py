"""The audit log, and how much each client used the mirror."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from mirror.api.contract import Answer, Asked, Count, Endpoint, Moment, Stamp


class AuditQuery(Asked, frozen=True, kw_only=True):
    """The last ``n``, at most 10,000, since a moment."""

    since: Moment | None = None
    n: Count = 100


class AuditLine(Answer, frozen=True, kw_only=True):
    """Who did what, from where, and how it ended; ``about`` is what was sent along, shortened."""

    at: Stamp
    who: str
    address: str
    action: str
    outcome: Literal["done", "refused", "failed"]
    code: int
    about: str


class UsageQuery(Asked, frozen=True, kw_only=True):
    """From a day on; by default, the last 30 days."""

    since: Annotated[str | None, Meta(description="a day", examples=["2026-11-22"])] = None


class UsageLine(Answer, frozen=True, kw_only=True):
    """What somebody used on a day; ``upstream_bytes`` are those that JSOC had to send for that."""

    day: str
    who: str
    requests: int
    records: int
    bytes: int
    upstream_bytes: int


AUDIT = Endpoint(
    method="GET", path="/api/audit", role="admin", asked=AuditQuery, answer=list[AuditLine],
    text="The log of actions, newest first. `since` is a date, or `7d` for a week ago.",
)  # fmt: skip
USAGE = Endpoint(
    method="GET", path="/api/usage", role="admin", asked=UsageQuery, answer=list[UsageLine],
    text="Usage per user and day, from the day `since` on.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (AUDIT, USAGE)
