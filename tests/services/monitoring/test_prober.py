"""A probe finds out that JSOC is back, and asks nothing while it need not."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from mirror.config.loading import FreshnessRule
from mirror.errors import UpstreamRefused, UpstreamUnreachable
from mirror.readthrough.policy import Rules
from mirror.services.monitoring.status import LOOK, Prober, pause
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
    rules = Rules(policy, lambda name: FreshnessRule("*"), lambda: None)
    return Prober(upstream, rules, upstream.sleep, back=lambda: None)


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


class Looks:
    """So many looks, before each of which something may happen; when the prober told that upstream is back."""

    def __init__(self, upstream, policy, *happens):
        self.rules = Rules(policy, lambda name: FreshnessRule("*"), lambda: None)
        self._upstream, self._happens, self._looks, self.told = upstream, happens, 0, []

    async def run(self):
        with suppress(asyncio.CancelledError):
            await Prober(self._upstream, self.rules, self._sleep, lambda: self.told.append(self._looks)).run()
        return self.told

    async def _sleep(self, seconds):
        await self._upstream.sleep(seconds)
        if seconds != LOOK:
            return
        if self._looks == len(self._happens):
            raise asyncio.CancelledError
        happens = self._happens[self._looks]
        self._looks += 1
        if happens is not None:
            await happens(self)


async def goes(looks):
    await down(looks._upstream)


async def comes(looks):
    looks._upstream.problem = None


def policy(name):
    async def happens(looks):
        looks.rules.policy = name

    return happens


async def test_whoever_waits_is_told_once_when_upstream_is_back():
    assert await Looks(Upstream(), "fallback", None, goes, None, comes, None, None).run() == [4]


async def test_an_outage_between_two_looks_is_noticed_as_well():
    async def flaps(looks):
        await goes(looks)
        await comes(looks)

    assert await Looks(Upstream(), "fallback", None, flaps, None).run() == [2]


async def test_a_mirror_that_is_online_again_tells_it_too():
    found = Looks(Upstream(), "fallback", None, policy("offline"), None, policy("fallback"), None)
    assert await found.run() == [4]


def test_the_pause_is_the_rest_of_the_circuits():
    assert pause(Pace(0, 0, 0, 0.0), may_ask=True) is None
    assert pause(Pace(0, 0, 3, 0.0), may_ask=True) == 0.0
    assert pause(Pace(0, 0, 7, 12.0), may_ask=True) == 12.0
    assert pause(Pace(0, 0, 7, 12.0), may_ask=False) is None
