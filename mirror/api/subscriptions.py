"""Subscriptions: their state, and their tables in config.toml."""

from __future__ import annotations

from typing import Any

from mirror.api.contract import UNSET, Answer, Asked, Endpoint, Nothing, Stamp, UnsetType
from mirror.api.fills import Estimate

#: As in config.toml: ``3600``, ``"1h"``.
Amount = int | float | str


class SubscriptionBudget(Answer, frozen=True, kw_only=True):
    """How much may come until ``until``, and how much has; ``limit`` as in config.toml."""

    limit: str
    bytes: int
    used: int
    until: Stamp


class Subscription(Answer, frozen=True, kw_only=True):
    """The state of a subscription. Sizes are bytes, ``rate`` bytes per second, ``passes`` how often it has rested."""

    name: str
    series: str
    start: str
    end: str
    segments: list[str]
    state: str
    why: str
    records: int
    records_wanted: int
    files: int
    files_wanted: int
    files_absent: int
    bytes: int
    rate: int
    seconds_left: int | None
    last_look: Stamp | None
    next_look: Stamp
    problem: str
    budget: SubscriptionBudget | None
    passes: int


class SubscriptionTable(Asked, frozen=True, kw_only=True):
    """The keys of a [[subscription]], as in config.toml."""

    series: str | UnsetType = UNSET
    start: str | UnsetType = UNSET
    end: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    keys: dict[str, Any] | UnsetType = UNSET
    where: str | UnsetType = UNSET
    step: Amount | UnsetType = UNSET
    segments: list[Any] | UnsetType = UNSET
    protocol: str | UnsetType = UNSET
    every: Amount | UnsetType = UNSET
    keep: Amount | UnsetType = UNSET
    priority: str | UnsetType = UNSET
    hours: str | UnsetType = UNSET
    budget: str | UnsetType = UNSET
    pictures: bool | UnsetType = UNSET


class Named(Answer, frozen=True, kw_only=True):
    """The name of what was written, changed or removed."""

    name: str


class SyncBody(Asked, frozen=True, kw_only=True):
    """One subscription; by default all."""

    name: str | None = None


SUBSCRIPTIONS = Endpoint(
    method="GET", path="/api/subscriptions", role="read", asked=Nothing, answer=list[Subscription],
    text="All subscriptions, each with its progress and estimate.",
)  # fmt: skip
ADD = Endpoint(
    method="POST", path="/api/subscriptions", role="admin", asked=SubscriptionTable, answer=Named, status=201,
    text="Add a [[subscription]] to config.toml.",
)  # fmt: skip
ESTIMATE_SUBSCRIPTION = Endpoint(
    method="POST", path="/api/subscriptions/estimate", role="export", asked=SubscriptionTable, answer=Estimate,
    text="Check a subscription and estimate what it would fetch. Nothing is written.",
)  # fmt: skip
CHANGE = Endpoint(
    method="PUT", path="/api/subscriptions/{name}", role="admin", asked=SubscriptionTable, answer=Named,
    text="Replace a subscription.",
)  # fmt: skip
REMOVE = Endpoint(
    method="DELETE", path="/api/subscriptions/{name}", role="admin", asked=Nothing, answer=Named,
    text="Remove a subscription from config.toml; its data stay cached.",
)  # fmt: skip
SYNC = Endpoint(
    method="POST", path="/api/sync", role="admin", asked=SyncBody, answer=dict[str, int], status=202,
    text="Sync one subscription, or all, now. The answer has the number of passes of each so far; a sync is done when "
    "this has increased.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (SUBSCRIPTIONS, ADD, ESTIMATE_SUBSCRIPTION, CHANGE, REMOVE, SYNC)
