"""A series that gets another keyword: records that were cached before are fetched again when they records."""

from __future__ import annotations

import dataclasses

import pytest_asyncio

from mirror.readthrough.structures import STRUCTURE_AGE
from tests.lab import lab, rows, world

SERIES, KEYWORD = "hmi.v_45s", "QUALITY"
HOUR = f"{SERIES}[2014.01.01_TAI/15m]"


class Growing:
    """A series of the world that has a keyword only once it has grown."""

    def __init__(self, data):
        self._data, self.grown = data, False

    @property
    def structure(self):
        whole = self._data.structure
        keywords = tuple(k for k in whole.keywords if self.grown or k.name != KEYWORD)
        return dataclasses.replace(whole, keywords=keywords)

    def __getattr__(self, name):
        return getattr(self._data, name)


@pytest_asyncio.fixture
async def mirror(tmp_path):
    """A mirror that holds records of a series which has grown since, and has just heard of it."""
    series = [Growing(d) if d.structure.name.lower() == SERIES else d for d in world()]
    async with lab(tmp_path, series) as made:
        made.before = await values(made, "DATAMEAN")
        assert set(await values(made, KEYWORD)) == {"Invalid KeyLink"}
        for data in series:
            if isinstance(data, Growing):
                data.grown = True
        made.clock.seconds += STRUCTURE_AGE + 1
        yield made


async def values(made, key, ds=HOUR):
    told = (await made.ask(ds, key)).json
    assert told["status"] == 0, told
    return told["keywords"][0]["values"] if told["count"] else []


async def upstream(made, key, ds=HOUR):
    params = {"op": "rs_list", "ds": ds, "key": key}
    async with made.session.get(made.simulator.make_url("/cgi-bin/ajax/jsoc_info"), params=params) as response:
        return (await response.json(content_type=None))["keywords"][0]["values"]


async def test_the_new_keyword_is_fetched_with_the_next_search_and_then_held(mirror):
    assert await values(mirror, KEYWORD) == await upstream(mirror, KEYWORD)
    asked = await mirror.log()
    assert await values(mirror, KEYWORD) == await upstream(mirror, KEYWORD)
    assert await values(mirror, "DATAMEAN") == mirror.before
    assert len(await mirror.log()) == len(asked) + 1  # that of this test
    assert (await mirror.get("/api/changes")).json == []


async def test_a_condition_on_the_new_keyword_finds_the_old_records(mirror):
    ds = f"{HOUR}[? {KEYWORD} = 0 ?]"
    expected = await upstream(mirror, "T_REC", ds)
    assert expected
    assert await values(mirror, "T_REC", ds) == expected
    asked = await mirror.log()
    assert await values(mirror, "T_REC", ds) == expected
    assert await mirror.log() == asked


async def test_without_jsoc_the_old_keywords_are_answered_and_the_new_one_is_an_error(mirror):
    await mirror.get(f"/cgi-bin/ajax/jsoc_info?op=series_struct&ds={SERIES}")
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    assert await values(mirror, "DATAMEAN") == mirror.before
    told = (await mirror.ask(HOUR, KEYWORD)).json
    assert told["status"] == 1
    assert f"were cached before hmi.v_45s had {KEYWORD}" in told["error"].lower().replace(KEYWORD.lower(), KEYWORD)


async def test_records_that_are_asked_for_by_number_are_fetched_again_too(mirror):
    number = (await mirror.recnums(HOUR))[0]
    await mirror.restart()
    found = await values(mirror, KEYWORD, f"{SERIES}[:#{number}]")
    assert found == (await upstream(mirror, KEYWORD))[:1]
    fetched = await mirror.fetched()
    await values(mirror, KEYWORD, f"{SERIES}[:#{number}]")
    checked = {"headers": {"Cache-Control": "no-cache"}}
    assert (await mirror.get("/api/search", {"ds": f"{SERIES}[:#{number}]"}, **checked)).code == 200
    assert await mirror.fetched() == fetched  # there is nothing more to know of it


async def test_the_lake_follows(mirror):
    statement = f"SELECT count({KEYWORD}), count(*) FROM {SERIES}"
    await mirror.get(f"/cgi-bin/ajax/jsoc_info?op=series_struct&ds={SERIES}")
    [[known, records]] = await rows(mirror, statement)
    assert (known, records) == (0, len(mirror.before))
    expected = sum(value != "MISSING" for value in await values(mirror, KEYWORD))
    assert expected
    assert await rows(mirror, statement) == [[expected, records]]
