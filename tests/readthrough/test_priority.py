"""Who goes first upstream: what a person needs goes on at a person's priority, whoever began it."""

from __future__ import annotations

import asyncio

import pytest_asyncio

from mirror.coverage.plan import need
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.readthrough.downloads import Downloads
from mirror.readthrough.filler import Filler
from mirror.upstream.pacing import Claim, Priority
from tests.lab import lab

SPAN = "hmi.v_45s[2014.01.01_TAI/30m]"


class Asked:
    """Passes questions on once the gate is open; remembers the claims."""

    def __init__(self, upstream):
        self._upstream = upstream
        self.claims = []
        self.gate = asyncio.Event()

    async def rs_list(self, request, priority=Priority.PEOPLE):
        self.claims.append(priority)
        await self.gate.wait()
        return await self._upstream.rs_list(request, priority)

    async def rs_summary(self, ds, priority=Priority.PEOPLE):
        self.claims.append(priority)
        return await self._upstream.rs_summary(ds, priority)


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        yield made


async def filling(mirror):
    """A filler in front of a gate, and the series and boxes to fill."""
    search = mirror.running.search
    series = await search.structure("hmi.v_45s")
    asked = Asked(mirror.running.upstream)
    filler = Filler(search._index, asked, mirror.running.rules, mirror.running.filler._settings)
    return filler, asked, series, need(bind(parse_query(SPAN).sets[0], series))


async def begun(tasks):
    """Let tasks run until they wait for the gate."""
    for _ in range(20):
        await asyncio.sleep(0)
    return tasks


async def test_what_a_subscription_fetches_is_claimed_as_such(mirror):
    filler, asked, series, boxes = await filling(mirror)
    asked.gate.set()
    await filler.fill(series, boxes, priority=Priority.SUBSCRIPTION)
    assert [claim.priority for claim in asked.claims] == [Priority.SUBSCRIPTION]


async def test_a_person_who_needs_a_piece_under_way_shares_it_and_raises_it(mirror):
    filler, asked, series, boxes = await filling(mirror)
    slow = asyncio.ensure_future(filler.fill(series, boxes, priority=Priority.SUBSCRIPTION))
    await begun(slow)
    assert [claim.priority for claim in asked.claims] == [Priority.SUBSCRIPTION]
    person = asyncio.ensure_future(filler.fill(series, boxes))
    await begun(person)
    assert [claim.priority for claim in asked.claims] == [Priority.PEOPLE], "the same request, now a person's"
    asked.gate.set()
    await asyncio.gather(slow, person)
    assert len(asked.claims) == 1


async def test_a_download_that_a_person_asks_for_is_raised(mirror):
    claims = []

    class Source:
        def file(self, path, headers, priority=Priority.PEOPLE):
            claims.append(priority)
            raise AssertionError("not reached in this test")

    async def noted(_):
        """Nothing."""

    downloads = Downloads(mirror.running.blobs, Source())
    one = downloads.start("/SUM1/D1/S00000/a.fits", noted, Priority.SPARE)
    assert one.claim.priority is Priority.SPARE
    assert downloads.start("/SUM1/D1/S00000/a.fits", noted) is one
    assert one.claim.priority is Priority.PEOPLE
    await downloads.stop()


def test_a_claim_never_sinks():
    claim = Claim(Priority.SOON)
    claim.raise_to(Priority.SPARE)
    assert claim.priority is Priority.SOON
