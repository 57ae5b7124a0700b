"""A mirror that is killed while it fills loses nothing that it claimed, and claims nothing that it lost."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from mirror.coverage.coverage import Box
from mirror.coverage.intervals import Steps
from mirror.coverage.plan import Local, box_query, plan_read
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from tests import processes
from tests.lab import JSOC_INFO, lab
from tests.recorded import WORLD
from tests.waiting import PAUSE

#: Fills of many small requests, over several series and restrictions at a time.
QUERIES = [
    "hmi.v_45s[2014.01.01_TAI/12h]",
    "hmi.m_45s[2014.01.01_TAI/1d]",
    "aia.lev1_euv_12s[2014.01.01/1h][171]",
    "aia.lev1_euv_12s[2014.01.01/1h][94]",
    "hmi.sharp_720s[]",
    "hmi.v_45s[:#100-#900]",
]
#: Requests upstream after which the mirror is killed, one life after the other on the same store.
LIVES = (25, 35)


async def ask(session, url, ds):
    params = {"op": "rs_list", "ds": ds, "key": "*recnum*"}
    async with session.get(url + JSOC_INFO, params=params) as response:
        told = await response.json(content_type=None)
    return [] if not told["count"] else told["keywords"][0]["values"]


async def requests(session, url):
    async with session.get(url + "/_simulator/log") as response:
        return sum(e["params"].get("op") == "rs_list" for e in await response.json())


async def fill_until(session, mirror, simulator, limit):
    """Let clients fill until upstream has seen ``limit`` more requests, or all is there; then kill the mirror."""
    start = await requests(session, simulator.url)
    clients = [asyncio.ensure_future(ask(session, mirror.url, ds)) for ds in QUERIES]
    while await requests(session, simulator.url) < start + limit and not all(c.done() for c in clients):  # noqa: ASYNC110  (another process)
        await asyncio.sleep(PAUSE)
    mirror.kill()
    await asyncio.gather(*clients, return_exceptions=True)


async def test_after_kill_9_every_claimed_span_is_whole_and_fills_go_on(tmp_path):
    claims = []
    with processes.simulate(WORLD) as simulator:
        async with aiohttp.ClientSession() as session:
            for limit in LIVES:
                with processes.serve(
                    simulator.url, tmp_path, MIRROR_FILL__CHUNK_RECORDS="60", MIRROR_UPSTREAM__QUERIES="4"
                ) as mirror:
                    await fill_until(session, mirror, simulator, limit)
                claims.append(await check_claims(tmp_path))
    assert claims[0] > 0
    async with lab(tmp_path) as again:
        for ds in QUERIES:
            assert await again.recnums(ds) == await again.upstream(ds)


async def check_claims(path):
    """Open the store offline: each span it claims has the very records that upstream has; how many spans."""
    checked = 0
    async with lab(path, MIRROR_UPSTREAM__POLICY="offline") as reopened:
        reopened.clock.seconds = time.time()  # the mirror that was killed went by the real one
        index = reopened.running.search._index
        for series in index.all_series():
            for region, spans in index.coverage(series):
                for span in spans:
                    await check_span(reopened, index, series, region, span)
                    checked += 1
    return checked


async def check_span(reopened, index, series, region, span):
    text = str(box_query(series, Box(region, (Steps(span.lo, span.hi),))))
    (record_set,) = parse_query(text).sets
    selection = bind(record_set, series)
    assert isinstance(plan_read(selection, index.coverage(series), reopened.running.rules.freshness(series)), Local)
    held = [row.recnum for row in (await index.select(selection)).rows]
    assert held == await reopened.upstream(text), text
