"""A probe finds out that JSOC is back, and asks nothing while it need not."""

from __future__ import annotations

import pytest

from mirror.config import FreshnessRule
from mirror.drms.errors import UpstreamRefused, UpstreamUnreachable
from mirror.engine.policy import Rules
from mirror.services.prober import Prober, pause
from mirror.upstream.pacing import Circuit, Pace, Pacer


class Upstream:
    """An upstream that is there or not; counts how often it is asked."""

    def __init__(self):
        self.seconds, self.asked, self.problem = 0.0, 0, None
        circuit = Circuit(threshold=1, first_pause=10.0)
        self.pacer = Pacer(circuit=circuit, clock=lambda: self.seconds, sleep=self.sleep)

    async def sleep(self, seconds):
        self.seconds += seconds

    def pace(self):
        return self.pacer.pace()

    async def series_struct(self, ds):
        return await self.pacer.run(self._answer)

    async def _answer(self):
        self.asked += 1
        if self.problem is not None:
            raise self.problem


def prober(upstream, policy="fallback"):
    return Prober(upstream, Rules(policy, lambda name: FreshnessRule("*"), lambda: None), upstream.sleep)


async def down(upstream):
    upstream.problem = UpstreamUnreachable("nobody there")
    with pytest.raises(UpstreamUnreachable):
        await upstream.series_struct("x")
    upstream.asked = 0


async def test_an_upstream_that_answers_is_not_probed():
    upstream = Upstream()
    assert await prober(upstream).look()
    assert upstream.asked == 0


async def test_a_probe_waits_for_the_pause_to_be_over_and_finds_upstream_back():
    upstream = Upstream()
    await down(upstream)
    assert not await prober(upstream).look()
    assert (upstream.seconds, upstream.asked) == (10.0, 1)
    upstream.problem = None
    assert await prober(upstream).look()
    assert (upstream.seconds, upstream.asked) == (30.0, 2)
    assert upstream.pace().failures == 0


async def test_an_upstream_that_refuses_is_there():
    upstream = Upstream()
    await down(upstream)
    upstream.problem = UpstreamRefused(1, "no such series")
    assert await prober(upstream).look()


async def test_a_mirror_that_is_offline_probes_nothing():
    upstream = Upstream()
    await down(upstream)
    assert await prober(upstream, "offline").look()
    assert upstream.asked == 0


def test_the_pause_is_the_rest_of_the_circuits():
    assert pause(Pace(0, 0, 0, 0.0), may_ask=True) is None
    assert pause(Pace(0, 0, 3, 0.0), may_ask=True) == 0.0
    assert pause(Pace(0, 0, 7, 12.0), may_ask=True) == 12.0
    assert pause(Pace(0, 0, 7, 12.0), may_ask=False) is None
