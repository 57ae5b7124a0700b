"""Records that change upstream: they are found by a check, and just what changed is fetched."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import pytest_asyncio

from tests.lab import lab, world

SPAN = "hmi.v_45s[2014.01.01_TAI/1d]"
WAVES = "aia.lev1_euv_12s[2014.01.01/20m]"


class Growing:
    """A series of which only records numbered up to ``last`` are there yet, and none of ``gone`` any more."""

    def __init__(self, data):
        self._data = data
        self.structure = data.structure
        self.last = 10**9
        self.gone = set()

    def candidates(self, selection, n=None):
        rows = self._data.candidates(selection, None)
        numbers = rows.stored("recnum").values
        here = (numbers <= self.last) & ~np.isin(numbers, list(self.gone))
        return rows.take(np.nonzero(here)[0])

    def count(self, selection):
        return None


@pytest_asyncio.fixture
async def archive():
    return {d.structure.name: Growing(d) for d in world()}


@pytest_asyncio.fixture
async def mirror(tmp_path, archive):
    async with lab(tmp_path, list(archive.values())) as made:
        yield made


async def changes(mirror, ds, change):
    """Fill ``ds``, let time pass and upstream change, ask again; how many records came, and how it was answered."""
    first = await mirror.recnums(ds)
    assert first == await mirror.upstream(ds)
    change()
    assert (await mirror.ask(ds)).plan == "local", "not looked after before it is due"
    mirror.clock.forward(days=100)
    before = await mirror.fetched()
    answer = await mirror.ask(ds)
    assert answer.plan == "filled"
    assert answer.json["keywords"][0]["values"] == await mirror.upstream(ds)
    return await mirror.fetched() - before, first


async def test_nothing_changed_is_nothing_fetched(mirror):
    fetched, _ = await changes(mirror, SPAN, lambda: None)
    assert fetched == 0


async def test_reprocessed_records_replace_the_old_ones(mirror, archive):
    velocities = archive["hmi.V_45s"]
    everything = await mirror.upstream("hmi.v_45s[2014.01.01_TAI/1d][!1=1!]")
    assert everything
    velocities.last = max(everything) - 1
    fetched, first = await changes(mirror, SPAN, lambda: setattr(velocities, "last", 10**9))
    assert fetched > 0
    assert await mirror.recnums(SPAN) != first


async def test_records_that_appear_are_found_and_those_that_vanish_are_dropped(mirror, archive):
    waves = archive["aia.lev1_euv_12s"]
    numbers = await mirror.upstream(WAVES)
    waves.gone = set(numbers[10:20])

    def change():
        waves.gone = set(numbers[300:310])

    _, first = await changes(mirror, WAVES, change)
    assert set(first) == set(numbers) - set(numbers[10:20])
    assert set(await mirror.recnums(WAVES)) == set(numbers) - set(numbers[300:310])


async def test_only_what_is_asked_for_is_checked(mirror):
    await mirror.recnums(SPAN)
    mirror.clock.forward(days=100)
    await mirror.recnums("hmi.v_45s[2014.01.01_TAI/1h]")
    checks = [e for e in await mirror.log(op="rs_list") if e["params"]["key"] == "*recnum*"]
    assert [e["records"] for e in checks] == [80]


@pytest.mark.parametrize(
    "ds", ["hmi.v_45s[]", "hmi.sharp_720s[3563]", "su_test.zoo", "su_test.nokeyidx", "su_test.noprime"]
)
async def test_open_ranges_are_checked_as_a_whole(mirror, archive, ds):
    series = next(s for s in archive.values() if s.structure.name.lower() == ds.partition("[")[0])
    numbers = sorted(await mirror.upstream(ds))
    series.last = numbers[len(numbers) // 2]
    fetched, first = await changes(mirror, ds, lambda: setattr(series, "last", 10**9))
    assert fetched > 0
    assert len(await mirror.recnums(ds)) > len(first)
    before = len(await mirror.log())
    await mirror.recnums(ds)
    assert len(await mirror.log()) == before


async def test_all_versions_are_checked_too(mirror, archive):
    velocities = archive["hmi.V_45s"]
    ds = "hmi.v_45s[2014.01.01_TAI/2h][!1=1!]"
    numbers = sorted(await mirror.upstream(ds))
    velocities.last = numbers[-1] - 1
    fetched, _ = await changes(mirror, ds, lambda: setattr(velocities, "last", 10**9))
    assert fetched > 0


async def test_the_last_record_moves_on_when_it_is_due(mirror, archive):
    velocities = archive["hmi.V_45s"]
    velocities.last = 1000
    fetched, first = await changes(mirror, "hmi.v_45s[$]", lambda: setattr(velocities, "last", 10**9))
    assert fetched > 0
    assert await mirror.recnums("hmi.v_45s[$]") != first


async def test_fifty_clients_of_an_old_range_check_it_once(mirror):
    ds = "hmi.v_45s[2014.01.01_TAI/2h]"
    await mirror.recnums(ds)
    mirror.clock.forward(days=100)
    before = len(await mirror.log())
    answers = await asyncio.gather(*(mirror.ask(ds) for _ in range(50)))
    assert len({a.body.split(b'"runtime"')[0] for a in answers}) == 1
    checks = [e for e in (await mirror.log())[before:] if e["params"].get("op") == "rs_list"]
    assert [e["params"]["key"] for e in checks] == ["*recnum*"]


async def test_forms_of_a_query_that_see_one_record_agree_after_it_changed(mirror, archive):
    """A newer version that came by its number is what a search by time gives from then on."""
    velocities = archive["hmi.V_45s"]
    ds = "hmi.v_45s[2014.01.01_TAI/1d]"
    versions = sorted(await mirror.upstream(ds + "[!1=1!]"))
    newest = versions[-1]
    velocities.last = newest - 1
    before = await mirror.recnums(ds)
    assert newest not in before
    velocities.last = 10**9
    assert await mirror.recnums(f"hmi.v_45s[:#{newest}]") == [newest]
    after = await mirror.recnums(ds)
    assert len(after) in (len(before), len(before) + 1)
    assert newest in after
