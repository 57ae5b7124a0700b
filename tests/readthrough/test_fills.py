"""Fills through the whole mirror: what is missing is asked for once, whoever asks, and however."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter

import pytest
import pytest_asyncio

from tests.lab import JSOC_INFO, lab, recnums
from tests.waiting import PAUSE

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


async def whole(mirror, ds):
    """The mirror's record numbers, seen to be those of the simulator; how many."""
    got = await mirror.recnums(ds)
    before = await mirror.fetched()
    assert got == await mirror.upstream(ds), ds
    assert await mirror.fetched() == before
    return len(got)


# ---- many clients -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ds, chunk",
    [
        (V45, "10000"),
        (V45, "30"),
        ("hmi.v_45s[2014.01.01_TAI/6h]", "100"),
        ("hmi.v_45s[2014.01.01_TAI/6h@10m]", "10"),
        ("hmi.v_45s[$]", "10000"),
        ("hmi.v_45s[:#1-#80]", "30"),
        ("aia.lev1_euv_12s[2014.01.01/10m][171,193]", "40"),
        ("hmi.sharp_720s[3563]", "10"),
        ("hmi.v_sht_modes[]", "2"),
        ("su_test.zoo[]", "10000"),
        ("su_test.noprime[]", "10000"),
        ("su_test.nokeyidx[]", "10000"),
    ],
)
async def test_fifty_clients_of_one_range_fetch_each_record_once(tmp_path, ds, chunk):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS=chunk) as mirror:
        answers = await asyncio.gather(*(mirror.ask(ds) for _ in range(50)))
        expected = await mirror.upstream(ds)
        assert expected
        assert {tuple(recnums(a)) for a in answers} == {tuple(expected)}
        assert await mirror.fetched() == len(expected)
        # What is asked beside the records is not asked for each client either.
        asked = Counter(str(sorted(e["params"].items())) for e in await mirror.log())
        assert max(asked.values()) <= 3


async def test_clients_of_overlapping_ranges_share_what_they_have_in_common(small_chunks):
    ranges = [f"hmi.v_45s[2014.01.01_{h:02}:{m:02}_TAI/2h]" for h in range(4) for m in (0, 20, 40)]
    answers = await asyncio.gather(*map(small_chunks.ask, ranges * 3))
    distinct = {n for a in answers for n in recnums(a)}
    assert await small_chunks.fetched() == len(distinct)


async def test_a_client_that_hangs_up_does_not_stop_the_fill(tmp_path):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="100", latency=20.0) as mirror:
        impatient = asyncio.ensure_future(mirror.ask("hmi.v_45s[2014.01.01_TAI/6h]"))
        while not await mirror.log(op="rs_list"):  # noqa: ASYNC110  (what upstream is asked has no event)
            await asyncio.sleep(PAUSE)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        # The next client waits for the same fill instead of starting one.
        found = await mirror.recnums("hmi.v_45s[2014.01.01_TAI/6h]")
        assert found == await mirror.upstream("hmi.v_45s[2014.01.01_TAI/6h]")
        assert await mirror.fetched() == len(found)


async def test_a_mirror_that_stops_in_a_fill_keeps_what_is_committed(tmp_path):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="60", latency=20.0) as mirror:
        client = asyncio.ensure_future(mirror.ask("hmi.v_45s[2014.01.01_TAI/12h]"))
        while len(await mirror.log(op="rs_list")) < 8:  # noqa: ASYNC110  (what upstream is asked has no event)
            await asyncio.sleep(PAUSE)
        await mirror.restart()
        await asyncio.gather(client, return_exceptions=True)
        kept = sum(s["records"] for s in (await mirror.get("/api/series")).json)
        assert kept > 0
        before = await mirror.fetched()
        found = await mirror.recnums("hmi.v_45s[2014.01.01_TAI/12h]")
        assert found == await mirror.upstream("hmi.v_45s[2014.01.01_TAI/12h]")
        assert await mirror.fetched() - before == len(found) - kept


# ---- overlapping ranges ---------------------------------------------------------------------------


def overlapping(seed, count):
    """Random ranges of one day, with restrictions, steps, lists and conditions."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.choice([velocities, wavelengths, harps])(chance)


def clock(seconds):
    return f"2014.01.01_{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}_TAI"


def span(chance, step, slots):
    first = chance.randrange(slots)
    last = min(slots, first + chance.randrange(1, slots // 4))
    return f"{clock(first * step)}-{clock(last * step)}"


def velocities(chance):
    end = chance.choice(["", "", "@90s", "@10m", "[2]", "[][? QUALITY = 0 ?]", "[? DATAMEAN < 0 ?]"])
    inside, _, outside = end.partition("[") if end.startswith("[") else (end, "", "")
    return f"hmi.v_45s[{span(chance, 45, 900)}{inside}]" + (f"[{outside}" if outside else "")


def wavelengths(chance):
    waves = chance.choice(["", "[171]", "[94,131]", "[171-211]", "[193,304,335]", "[WAVELNTH=304]"])
    return f"aia.lev1_euv_12s[{span(chance, 12, 300)}]{waves}"


def harps(chance):
    harp = chance.choice(["", "3563", "3560-3570", "3563,3564", "1-5000"])
    return f"hmi.sharp_720s[{harp}][{span(chance, 720, 60)}]"


@pytest.mark.parametrize("seed", range(2))
async def test_random_overlapping_queries_ask_for_each_missing_record_once(tmp_path, seed):
    """In sequence each gap is known exactly, so records asked for and records missing are the same."""
    async with lab(tmp_path) as mirror:
        kept = set()
        for ds in overlapping(seed, 30):
            found = await mirror.recnums(ds)
            assert found == await mirror.upstream(ds), ds
            kept |= {(ds.partition("[")[0], n) for n in found}
        held = sum(s["records"] for s in (await mirror.get("/api/series")).json)
        assert await mirror.fetched() == held
        assert held >= len(kept)


async def test_overlapping_ranges_of_record_numbers_are_asked_for_once(tmp_path):
    chance = random.Random(5)
    async with lab(tmp_path) as mirror:
        kept = set()
        for _ in range(25):
            first = chance.randrange(1, 500)
            ds = f"hmi.m_45s[:#{first}-#{first + chance.randrange(80)}]"
            kept |= set(found := await mirror.recnums(ds))
            assert found == await mirror.upstream(ds), ds
        assert await mirror.fetched() == len(kept)


async def test_random_overlapping_queries_at_a_time_do_as_well(tmp_path):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="200") as mirror:
        asked = [ds for ds in overlapping(9, 40) if "[?" not in ds]
        answers = await asyncio.gather(*map(mirror.ask, asked))
        for ds, answer in zip(asked, answers, strict=True):
            assert recnums(answer) == await mirror.upstream(ds), ds
        held = sum(s["records"] for s in (await mirror.get("/api/series")).json)
        assert await mirror.fetched() == held


# ---- forms of queries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wide, narrow",
    [
        ("hmi.v_45s[2014.01.01_TAI/1h]", ["hmi.v_45s[2014.01.01_00:10_TAI/10m]", "HMI.V_45S[2014.01.01_TAI/1h@90s][2]"]),
        ("aia.lev1_euv_12s[2014.01.01/10m]", ["aia.lev1_euv_12s[2014.01.01/10m][171]", "aia.lev1_euv_12s[2014.01.01/1m][94,131]"]),
        ("hmi.sharp_720s[3563]", ["hmi.sharp_720s[3563][2014.01.01_TAI/2h]", "hmi.sharp_720s[3563][^]", "hmi.sharp_720s[3563][$]", "hmi.sharp_720s[3563][? QUALITY = 0 ?]"]),
        ("hmi.sharp_720s[][2014.01.01_TAI/3h]", ["hmi.sharp_720s[3563-3564][2014.01.01_TAI/1h]"]),
        ("hmi.v_sht_modes", ["hmi.v_sht_modes[$]", "hmi.v_sht_modes[^]", "hmi.v_sht_modes[]"]),
        ("su_test.zoo", ["su_test.zoo[beta]", "su_test.zoo[? I1 > 0 ?]", "su_test.zoo[][$]"]),
        ("su_test.noprime", ["su_test.noprime"]),
        ("hmi.v_45s[:#10-#50]", ["hmi.v_45s[:#20]", "hmi.v_45s[:#10-#50@7]", "hmi.v_45s[:#11,#13-#15]"]),
        ("hmi.v_45s[2014.01.01_TAI/1h][! 1=1 !]", ["hmi.v_45s[2014.01.01_TAI/1h]", "hmi.v_45s[2014.01.01_TAI/1h][! QUALITY=0 !]"]),
    ],
)  # fmt: skip
async def test_what_a_wide_query_filled_answers_narrow_ones(tmp_path, wide, narrow):
    async with lab(tmp_path) as mirror:
        expected = {ds: await mirror.upstream(ds) for ds in (wide, *narrow)}
        assert expected[wide]
        assert await mirror.recnums(wide) == expected[wide]
        await mirror.faults({"fault": "outage"})
        for ds in (wide, *narrow):
            answer = await mirror.ask(ds)
            assert (recnums(answer), answer.plan) == (expected[ds], "local"), ds


@pytest.mark.parametrize(
    "ds",
    ["hmi.v_45s[$]", "hmi.v_45s[^]", "aia.lev1_euv_12s[$]", "aia.lev1_euv_12s[$][171]", "hmi.sharp_720s[$][]",
     "hmi.sharp_720s[3563][$]", "su_test.zoo[$]", "su_test.carr[$]", "hmi.v_45s[^,$]"],
)  # fmt: skip
async def test_first_and_last_are_asked_for_once_and_then_remembered_for_a_while(tmp_path, ds):
    async with lab(tmp_path) as mirror:
        answer = await mirror.ask(ds)
        assert recnums(answer) == await mirror.upstream(ds)
        before = len(await mirror.log())
        assert recnums(await mirror.ask(ds)) == recnums(answer)
        assert len(await mirror.log()) == before
        mirror.clock.forward(days=200)
        assert recnums(await mirror.ask(ds)) == recnums(answer)
        assert len(await mirror.log()) > before


async def test_times_that_print_less_than_they_are_never_lead_to_another_answer(tmp_path):
    """The prime key of this series is a plain time, printed in whole seconds: it does not tell the record."""
    queries = [
        "su_test.nokeyidx" + f for f in ("[$]", "[^]", "[2014.01.01_UTC/10s]", "[2013.01.01-2015.01.01]", "")
    ]
    async with lab(tmp_path) as mirror:
        expected = {ds: await mirror.upstream(ds) for ds in queries}
        for ds in queries * 2:
            assert await mirror.recnums(ds) == expected[ds], ds
        await mirror.faults({"fault": "outage"})
        for ds in queries:
            answer = await mirror.ask(ds)
            assert answer.json["status"] == 1 or recnums(answer) == expected[ds], ds
        assert (await mirror.ask("su_test.nokeyidx")).plan == "local"


async def test_two_series_that_are_filled_at_a_time_keep_their_own_fields(tmp_path):
    series = ["hmi.v_45s[2014.01.01_TAI/5m]", "aia.lev1_euv_12s[2014.01.01/1m]", "hmi.sharp_720s[3563][2014.01.01_TAI/1h]",
              "su_test.zoo", "hmi.v_sht_modes", "hmi.m_720s[2014.01.01_TAI/2h]"]  # fmt: skip
    async with lab(tmp_path) as mirror:
        together = await asyncio.gather(*(mirror.ask(ds, "**ALL**", seg="**ALL**") for ds in series))
        await mirror.restart()
        for ds, answer in zip(series, together, strict=True):
            direct = await mirror.session.get(
                mirror.simulator.make_url(JSOC_INFO),
                params={"op": "rs_list", "ds": ds, "key": "**ALL**", "seg": "**ALL**"},
            )
            expected = await direct.json(content_type=None, encoding="latin-1")
            del expected["runtime"]
            assert answer.told == expected
            assert (await mirror.ask(ds, "**ALL**", seg="**ALL**")).told == expected


# ---- limits -------------------------------------------------------------------------------------


async def test_the_limit_of_one_answer_is_met_by_smaller_requests(tmp_path, monkeypatch):
    monkeypatch.setattr("mirror.simulator.evaluate.MOST_RECORDS", 150)
    async with lab(tmp_path) as mirror:
        found = await mirror.recnums("hmi.v_45s[2014.01.01_TAI/12h]")
        assert len(found) > 800
        assert await mirror.fetched() == len(found)


async def test_more_than_a_client_should_wait_for_is_forwarded_and_nothing_goes_on_behind_it(tmp_path):
    settings = {"MIRROR_FILL__WAITING_LIMIT": "200", "MIRROR_FILL__CHUNK_RECORDS": "100"}
    async with lab(tmp_path, **settings) as mirror:
        answer = await mirror.ask("hmi.v_45s[2014.01.01_TAI/6h]")
        assert answer.plan == "forwarded"
        assert recnums(answer) == await mirror.upstream("hmi.v_45s[2014.01.01_TAI/6h]")
        assert not mirror.running.filler.progress()
        assert not mirror.running.fills.list()
        assert all("answer" in line for line in (await mirror.get("/api/coverage")).json)  # no record is claimed


async def test_a_condition_without_bounds_is_forwarded_and_claims_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("mirror.readthrough.records.SMALL_SERIES", 50)
    async with lab(tmp_path) as mirror:
        answer = await mirror.ask("hmi.v_45s[? QUALITY <> 0 ?]")
        assert answer.plan == "forwarded"
        assert recnums(answer) == await mirror.upstream("hmi.v_45s[? QUALITY <> 0 ?]")
        assert all("answer" in line for line in (await mirror.get("/api/coverage")).json)  # no record is claimed


@pytest.mark.parametrize(
    "ds",
    [
        "hmi.v_45s[2009.01.01_TAI/1h]",
        "hmi.v_45s[2033.01.01_TAI/1h]",
        "aia.lev1_euv_12s[2014.01.01/10m@1m][195]",
        "aia.lev1_euv_12s[2014.01.01/10m@1m][? WAVELNTH = 195 ?]",
        "hmi.sharp_720s[9999][2014.01.01_TAI/1h]",
    ],
)
async def test_what_is_empty_is_proved_so_by_looking_near_it(mirror, ds):
    assert (await mirror.ask(ds)).json["count"] == 0
    asked = [entry["params"]["ds"] for entry in await mirror.log(program="jsoc_info")]
    assert len(asked) > 1
    assert not any(re.search(r"=(-10{12}|.*-10{12}\])", text) for text in asked), asked
    await mirror.faults({"fault": "outage"})
    assert (await mirror.ask(ds)).json["count"] == 0
