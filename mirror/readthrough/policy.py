"""Whether JSOC may be contacted, and what its failure means, decided here for every read.

strict    an answer that needs JSOC fails when JSOC fails
fallback  held data that are due for a check are served unchecked when JSOC fails
offline   JSOC is never asked

A single request may demand more than the policy: to have what it reads checked, or JSOC left alone.

``JsocInfo`` is what the read-through needs of JSOC, and ``mirror.upstream.client.UpstreamClient`` provides. It is a
protocol, so that the read-through is free of HTTP and can be tested without a server.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from mirror.coverage.axis import coverage_axis
from mirror.coverage.coverage import Freshness
from mirror.coverage.intervals import GRAIN, MIN
from mirror.drms.times import from_datetime
from mirror.upstream.budget import MOST_AT_ONCE
from mirror.upstream.pacing import Claim, Priority

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mirror.config.loading import Fill, FreshnessRule, Policy, Upstream
    from mirror.drms.series import Series
    from mirror.wire.info import RsListRequest
    from mirror.wire.rs_list import RsList


#: A maximum age in seconds that no check satisfies.
NEVER = float("-inf")


def within(fill: Fill, upstream: Upstream) -> Fill:
    """The sizes of fetches, reduced so that one chunk takes only a part of the hourly budget."""
    hourly = upstream.records_per_hour
    if hourly is None:
        return fill
    return replace(fill, chunk_records=min(fill.chunk_records, max(1, hourly // MOST_AT_ONCE)))


class CacheDemand(Enum):
    """The freshness that one request demands."""

    DEFAULT = "usual"  #: as the rules say
    REVALIDATE = "check"  #: everything that it reads is checked with upstream now, however recent the last check
    ONLY_IF_CACHED = "held"  #: upstream is not asked, whatever is missing or old


@dataclass
class Rules:
    """The rules in force; ``policy`` may change at run time, ``configured`` is what it returns to.

    ``now`` gives the present as an aware datetime, ``rule_for`` the freshness rule of a series name.
    """

    policy: Policy
    rule_for: Callable[[str], FreshnessRule]
    now: Callable[[], datetime]
    configured: Policy = field(init=False)

    def __post_init__(self) -> None:
        """Begin with ``policy`` as the configured one."""
        self.configured = self.policy

    def configure(self, policy: Policy) -> None:
        """Set the policy from the configuration, in place of one set at run time."""
        self.policy = self.configured = policy

    @property
    def may_ask(self) -> bool:
        """True if upstream may be asked."""
        return self.policy != "offline"

    @property
    def stale_on_failure(self) -> bool:
        """True if held data are served unchecked when the check fails."""
        return self.policy != "strict"

    def asks(self, demand: CacheDemand) -> bool:
        """True if upstream may be asked for a request with this demand."""
        return self.may_ask and demand is not CacheDemand.ONLY_IF_CACHED

    def why_not(self, demand: CacheDemand) -> str:
        """Why upstream is not asked, for people."""
        if not self.may_ask:
            return "the mirror is offline"
        return "this request allows cached data only" if demand is CacheDemand.ONLY_IF_CACHED else "JSOC may be contacted"

    def timestamp(self) -> float:
        """The present in Unix seconds."""
        return self.now().timestamp()

    def acceptable(self, series: Series, demand: CacheDemand = CacheDemand.DEFAULT) -> Freshness:
        """How old a check may be right after asking: upstream may be a mirror that could not check itself."""
        if demand is CacheDemand.REVALIDATE:
            return Freshness(self.timestamp(), GRAIN, GRAIN, MIN)
        return self.freshness(series)

    def freshness(self, series: Series, demand: CacheDemand = CacheDemand.DEFAULT) -> Freshness:
        """How old checks of this series may be, and the slot up to which its data have settled.

        Without a time axis old data cannot be told from new: then everything counts as new.
        """
        rule, now = self.rule_for(series.name), self.now()
        if demand is CacheDemand.REVALIDATE:
            return Freshness(now.timestamp(), NEVER, NEVER, MIN)
        axis = coverage_axis(series)
        settled = None
        if axis is not None and rule.settled_after is not None:
            settled = axis.place(from_datetime(now) - rule.settled_after)
        return Freshness(
            now.timestamp(), rule.max_age, rule.settled_max_age, MIN if settled is None else settled
        )


class JsocInfo(Protocol):
    """JSOC's jsoc_info, and what only show_info tells; every method raises UpstreamError."""

    async def rs_list(self, request: RsListRequest, priority: Priority | Claim = Priority.PEOPLE) -> RsList:
        """The records of a request."""
        ...

    async def rs_summary(self, ds: str, priority: Priority | Claim = Priority.PEOPLE) -> int:
        """How many records a record set has."""
        ...

    async def series_struct(self, ds: str) -> Series:
        """The structure of the series that ``ds`` begins with."""
        ...

    async def print_formats(self, series: str) -> dict[str, str]:
        """The formats by which the keywords of a series print."""
        ...
