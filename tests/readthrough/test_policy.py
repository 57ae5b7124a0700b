"""What the policies allow, and from when on data count as settled."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mirror.config.loading import FreshnessRule
from mirror.coverage.intervals import MAX, Span
from mirror.drms.slots import slot_axis
from mirror.drms.times import parse_time
from mirror.readthrough.policy import Rules
from tests.lab import world

NOW = datetime(2014, 3, 1, tzinfo=UTC)
DAY = 86400.0
SERIES = {s.structure.name: s.structure for s in world()}


def rules(policy="fallback", **rule):
    return Rules(policy, lambda name: FreshnessRule("*", **rule), lambda: NOW)


@pytest.mark.parametrize(
    "policy, may_ask, stale", [("strict", True, False), ("fallback", True, True), ("offline", False, True)]
)
def test_a_policy_says_whether_to_ask_and_what_a_failure_means(policy, may_ask, stale):
    found = rules(policy)
    assert (found.may_ask, found.stale_on_failure) == (may_ask, stale)


def test_data_settle_so_long_after_they_were_observed():
    series = SERIES["hmi.V_45s"]
    freshness = rules(settled_after=10 * DAY).freshness(series)
    slots = slot_axis(series, "T_REC")
    ten_days_ago = parse_time("2014.02.19_00:00:00_UTC")
    assert abs(slots.start(freshness.settled) - ten_days_ago) <= slots.step
    assert freshness.now == NOW.timestamp()


@pytest.mark.parametrize("name", ["su_test.zoo", "su_test.noprime", "su_test.carr", "hmi.v_sht_2drls"])
def test_without_times_nothing_settles(name):
    assert rules().freshness(SERIES[name]).settled == -MAX


def test_a_rule_may_say_that_data_never_settle():
    assert rules(settled_after=None).freshness(SERIES["hmi.V_45s"]).settled == -MAX


def test_young_and_settled_data_have_ages_of_their_own():
    freshness = rules(max_age=100.0, settled_after=10 * DAY, settled_max_age=1000.0).freshness(
        SERIES["hmi.V_45s"]
    )
    settled, at = freshness.settled, NOW.timestamp()
    both = Span(settled - 5, settled + 5, at - 500.0)
    assert list(freshness.stale(both)) == [(settled + 1, settled + 5)]
    assert list(freshness.stale(both._replace(checked_at=at - 5000.0))) == [
        (settled - 5, settled),
        (settled + 1, settled + 5),
    ]
    assert list(freshness.stale(both._replace(checked_at=at - 50.0))) == []


def test_the_policy_may_change_while_running():
    found = rules("strict")
    found.policy = "offline"
    assert not found.may_ask
