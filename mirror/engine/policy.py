"""Whether JSOC may be asked, and what its failure means; decided here once for every read.

strict    an answer that needs JSOC fails when JSOC fails
fallback  data that are held but should be checked again are served as they are when JSOC fails
offline   JSOC is never asked
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.axis import coverage_axis
from mirror.drms.coverage import Freshness
from mirror.drms.intervals import MIN
from mirror.drms.times import from_datetime

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mirror.config import FreshnessRule, Policy
    from mirror.drms.series import Series


@dataclass
class Rules:
    """The rules in force; ``policy`` may be changed while running.

    ``now`` gives the present as an aware datetime; ``rule_for`` the freshness rule of a series name.
    """

    policy: Policy
    rule_for: Callable[[str], FreshnessRule]
    now: Callable[[], datetime]

    @property
    def may_ask(self) -> bool:
        """True if upstream may be asked."""
        return self.policy != "offline"

    @property
    def stale_on_failure(self) -> bool:
        """True if held data are served unchecked when the check fails."""
        return self.policy != "strict"

    def timestamp(self) -> float:
        """The present in Unix seconds."""
        return self.now().timestamp()

    def freshness(self, series: Series) -> Freshness:
        """How old checks of this series may be, with the slot up to which its data have settled.

        Without a time axis nothing tells old data from new: then everything counts as young.
        """
        rule, now = self.rule_for(series.name), self.now()
        axis = coverage_axis(series)
        settled = None
        if axis is not None and rule.settled_after is not None:
            settled = axis.place(from_datetime(now) - rule.settled_after)
        return Freshness(
            now.timestamp(), rule.max_age, rule.settled_max_age, MIN if settled is None else settled
        )
