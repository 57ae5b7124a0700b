"""Subscriptions: how they are doing, and their tables in config.toml."""

from __future__ import annotations

from typing import Any

from mirror.api.contract import UNSET, Answer, Asked, Endpoint, Nothing, Stamp, UnsetType
from mirror.api.fills import Estimate

#: As config.toml has it: ``3600``, ``"1h"``.
Amount = int | float | str


class SubscriptionBudget(Answer, frozen=True, kw_only=True):
    """How much may come until ``until``, and how much of it came; ``limit`` as config.toml says it."""

    limit: str
    bytes: int
    used: int
    until: Stamp


class Subscription(Answer, frozen=True, kw_only=True):
    """How a subscription is doing. Sizes are bytes, ``rate`` bytes a second, ``passes`` how often it has rested."""

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
    """The keys of a [[subscription]], as config.toml has them."""

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


class Named(Answer, frozen=True, kw_only=True):
    """The name of what was written, changed or taken out."""

    name: str


class SyncBody(Asked, frozen=True, kw_only=True):
    """One subscription; without it all."""

    name: str | None = None


SUBSCRIPTIONS = Endpoint(
    method="GET", path="/api/subscriptions", role="read", asked=Nothing, answer=list[Subscription],
    text="All subscriptions, each with its progress and estimate.",
)  # fmt: skip
ADD = Endpoint(
    method="POST", path="/api/subscriptions", role="admin", asked=SubscriptionTable, answer=Named, status=201,
    text="Write one more [[subscription]] into config.toml.",
)  # fmt: skip
ESTIMATE_SUBSCRIPTION = Endpoint(
    method="POST", path="/api/subscriptions/estimate", role="export", asked=SubscriptionTable, answer=Estimate,
    text="What is wrong with a subscription, else what it would fetch by now. Nothing is written.",
)  # fmt: skip
CHANGE = Endpoint(
    method="PUT", path="/api/subscriptions/{name}", role="admin", asked=SubscriptionTable, answer=Named,
    text="Put a subscription in the place of the one of that name.",
)  # fmt: skip
REMOVE = Endpoint(
    method="DELETE", path="/api/subscriptions/{name}", role="admin", asked=Nothing, answer=Named,
    text="Take a subscription out of config.toml; what it has fetched stays.",
)  # fmt: skip
SYNC = Endpoint(
    method="POST", path="/api/sync", role="admin", asked=SyncBody, answer=dict[str, int], status=202,
    text="Have one subscription, or all, look for what is new now. The answer says how often each has rested so far: "
    "when it has once more, it is done.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (SUBSCRIPTIONS, ADD, ESTIMATE_SUBSCRIPTION, CHANGE, REMOVE, SYNC)
