"""Fills through the whole mirror: what is missing is asked for once, whoever asks, and however."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
import pytest_asyncio

from tests.lab import JSOC_INFO, lab, recnums, world
from mirror.wire.params import encode_params

V45 = "hmi.v_45s[2014.01.01_TAI/1h]"


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def small_chunks(tmp_path):
    """A mirror that asks for few records at a time, so that a fill is many requests."""
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="100") as made:
        yield made


async def upstream(mirror, ds):
    """What the simulator itself answers."""
    params = {"op": "rs_list", "ds": ds, "key": "*recnum*"}
    async with mirror.session.get(mirror.simulator.make_url(JSOC_INFO), params=params) as response:
        told = await response.json(content_type=None)
    assert told["status"] == 0, told
    return told["keywords"][0]["values"] if told["count"] else []


async def whole(mirror, ds):
    """The mirror's record numbers, seen to be those of the simulator; how many."""
    got = await mirror.recnums(ds)
    before = await mirror.fetched()
    assert got == await upstream(mirror, ds), ds
    assert await mirror.fetched() == before
    return len(got)


# ---- many clients -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ds",
    [
        V45,
        "hmi.v_45s[2014.01.01_TAI/1d]",
        "hmi.v_45s[]",
        "hmi.v_45s",
        "hmi.v_45s[$]",
        "aia.lev1_euv_12s[2014.01.01/1h][171,193]",
        "hmi.sharp_720s[]",
        "hmi.v_sht_modes[]",
        "su_test.zoo[]",
        "su_test.noprime[]",
        "hmi.v_45s[:#1-#300]",
        "hmi.v_45s[2014.01.01_TAI/1d@10m]",
    ],
)
@pytest.mark.parametrize("chunk", ["100", "10000"])
async def test_fifty_clients_of_one_range_fetch_each_record_once(tmp_path, ds, chunk):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS=chunk) as mirror:
        answers = await asyncio.gather(*(mirror.ask(ds) for _ in range(50)))
        expected = await upstream(mirror, ds)
        assert {tuple(recnums(a)) for a in answers} == {tuple(expected)}
        structs = await mirror.log(op="series_struct")
        assert len(structs) == 1
        assert await mirror.fetched() == len(expected)


async def test_clients_of_overlapping_ranges_share_what_they_have_in_common(small_chunks):
    ranges = [f"hmi.v_45s[2014.01.01_{h:02}:{m:02}_TAI/2h]" for h in range(4) for m in (0, 20, 40)]
    answers = await asyncio.gather(*map(small_chunks.ask, ranges * 3))
    distinct = {n for a in answers for n in recnums(a)}
    assert await small_chunks.fetched() == len(distinct)
