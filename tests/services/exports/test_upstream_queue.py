"""Requests upstream: in turn, polled as JSOC says, and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from mirror.drms.export import ExportRequest, Failed, Finished, Pending
from mirror.errors import UpstreamRefused
from mirror.services.exports.staging import LONGEST_WAIT, PATIENCE, RUNNING, UpstreamExports

REQUEST = ExportRequest("hmi.m_720s[:#1]")
DONE = Finished("JSOC_20260101_1", "url", "as-is", 0, 0, "")


class Upstream:
    """Gives prepared answers, the last one for ever; counts what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def export(self, request):
        self.asked.append(type(request).__name__)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def pending(wait):
    return Pending("JSOC_20260101_1", "url", "as-is", wait)


async def made(upstream, known=None):
    pauses, ids = [], []

    async def sleep(seconds):
        pauses.append(seconds)

    async def accepted(request_id):
        ids.append(request_id)

    exports = UpstreamExports(upstream, None, sleep)
    try:
        found = await exports.made(REQUEST, known, accepted)
    except UpstreamRefused as problem:
        found = problem
    return found, pauses, ids


async def test_looks_come_when_jsoc_says_within_limits():
    upstream = Upstream(pending(10), pending(7), pending(0), pending(100_000), DONE)
    assert await made(upstream) == (DONE, [7.0, 1.0, LONGEST_WAIT], ["JSOC_20260101_1"])


async def test_a_request_that_stays_pending_is_given_up_after_a_day():
    found, pauses, _ = await made(Upstream(pending(3600)))
    assert found.status == RUNNING
    assert "not done after 24 hours" in found.message
    assert sum(pauses) == PATIENCE


async def test_a_request_that_is_not_known_yet_is_asked_about_again_a_few_times():
    unknown = Failed(6, "no such request")
    found, pauses, _ = await made(Upstream(pending(1), unknown, unknown, DONE))
    assert (found, len(pauses)) == (DONE, 2)
    found, pauses, _ = await made(Upstream(pending(1), unknown))
    assert (found.status, len(pauses)) == (6, 5)


async def test_a_request_that_upstream_has_forgotten_is_made_anew():
    upstream = Upstream(Failed(5, "deleted"), pending(1), DONE)
    assert (await made(upstream, "JSOC_20250101_1"))[0] == DONE
    assert upstream.asked == ["StatusRequest", "ExportRequest", "StatusRequest"]
    upstream = Upstream(DONE)
    assert (await made(upstream, "JSOC_20250101_1"))[0] == DONE
    assert upstream.asked == ["StatusRequest"]


async def test_one_address_has_one_request_pending_and_others_need_not_wait():
    exports = UpstreamExports(Upstream(DONE), "lab@b.c")
    async with exports.turn("A@b.c"):
        assert exports.busy(" a@B.c")
        assert not exports.busy("b@b.c")
        assert not exports.busy(None)
        async with exports.turn(None):
            assert exports.busy("lab@b.c")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), exports.turn("a@b.c"):
                pass
    assert not exports.busy("a@b.c")
