"""A reprocessing upstream: found by a check, and only what it changed is fetched again."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from tests.filelab import synthetic
from tests.lab import AJAX, JSOC_INFO, lab, recnums
from tests.waiting import until

DAYS = "hmi.v_45s[2014.01.01_TAI/1d]"


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with lab(tmp_path, synthetic()) as made:
        yield made


async def since(mirror, before):
    """What was asked since: for each rs_list its keys and how many records came."""
    entries = [e for e in (await mirror.log())[before:] if e["params"].get("op") == "rs_list"]
    return [("numbers" if e["params"]["key"] == "*recnum*" else "records", e["records"]) for e in entries]


async def test_a_hundred_reprocessed_records_are_found_and_only_those_are_fetched_again(mirror):
    held = await mirror.recnums(DAYS)
    assert len(held) > 1500
    new = await mirror.reprocess("hmi.v_45s[2014.01.01_03:00:00_TAI/75m]")
    assert len(new) == 100
    assert await mirror.recnums(DAYS) == held
    mirror.clock.forward(days=100)
    before = len(await mirror.log())
    found = await mirror.recnums(DAYS)
    assert found == await mirror.upstream(DAYS)
    asked = await since(mirror, before)
    assert ("records", 100) in asked
    assert sum(n for what, n in asked if what == "records") == 100
    assert set(found) - set(held) == set(new)
    assert len(found) == len(held)


async def test_a_scattered_reprocessing_costs_one_request_a_hundred_records(mirror):
    await mirror.recnums(DAYS)
    new = await mirror.reprocess("hmi.v_45s[2014.01.01_TAI/1d@15m]")
    assert len(new) == 96
    mirror.clock.forward(days=100)
    before = len(await mirror.log())
    found = await mirror.recnums(DAYS)
    assert found == await mirror.upstream(DAYS)
    assert set(new) <= set(found)
    assert sum(n for what, n in await since(mirror, before) if what == "records") == len(new)


async def test_what_was_processed_twice_is_known_by_its_last_version(mirror):
    span = "hmi.v_45s[2014.01.01_TAI/1h]"
    await mirror.recnums(span)
    await mirror.reprocess("hmi.v_45s[2014.01.01_TAI/9m]")
    newest = await mirror.reprocess("hmi.v_45s[2014.01.01_TAI/9m]")
    mirror.clock.forward(days=100)
    assert (await mirror.recnums(span))[: len(newest)] == newest
    told = (await mirror.get("/api/changes", {"series": "hmi.v_45s"})).json
    assert sorted(c["new"] for c in told) == newest


@pytest.mark.parametrize(
    "ds, part",
    [
        ("hmi.v_45s[2014.01.01_TAI/1d@1h]", "hmi.v_45s[2014.01.01_06:00:00_TAI]"),
        ("aia.lev1_euv_12s[2014.01.01/10m][171]", "aia.lev1_euv_12s[2014.01.01/2m][171]"),
        ("aia.lev1[2014.01.01/1m]", "aia.lev1[2014.01.01/10s]"),
        ("hmi.sharp_720s[4864]", "hmi.sharp_720s[4864][2014.12.03_TAI/2h]"),
        ("hmi.v_sht_modes[]", "hmi.v_sht_modes[$]"),
        ("hmi.v_45s[2014.01.01_TAI/1h][!1=1!]", "hmi.v_45s[2014.01.01_TAI/3m]"),
    ],
)
async def test_along_every_kind_of_axis_only_what_changed_is_fetched(mirror, ds, part):
    held = await mirror.recnums(ds)
    new = await mirror.reprocess(part)
    assert new
    mirror.clock.forward(days=100)
    before = len(await mirror.log())
    found = await mirror.recnums(ds)
    assert found == await mirror.upstream(ds)
    assert set(found) - set(held) == set(new)
    assert sum(n for what, n in await since(mirror, before) if what == "records") == len(new)


async def test_a_list_of_numbers_that_is_too_large_is_asked_for_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("mirror.simulator.evaluate.MOST_RECORDS", 500)
    async with lab(tmp_path, synthetic()) as mirror:
        held = await mirror.recnums(DAYS)
        new = await mirror.reprocess("hmi.v_45s[2014.01.01_03:00:00_TAI/30m]")
        mirror.clock.forward(days=100)
        before = len(await mirror.log())
        found = await mirror.recnums(DAYS)
        assert set(found) - set(held) == set(new)
        assert sum(n for what, n in await since(mirror, before) if what == "records") == len(new)


async def test_an_open_range_with_many_records_is_checked_in_parts(tmp_path):
    async with lab(tmp_path, synthetic(), MIRROR_FILL__CHUNK_RECORDS="150") as mirror:
        ds = "hmi.sharp_720s[4864]"
        held = await mirror.recnums(ds)
        assert len(held) > 5 * 150
        new = await mirror.reprocess("hmi.sharp_720s[4864][2014.12.03_TAI/2h]")
        mirror.clock.forward(days=100)
        before = len(await mirror.log())
        found = await mirror.recnums(ds)
        assert found == await mirror.upstream(ds)
        assert sum(n for what, n in await since(mirror, before) if what == "records") < len(new) + 3
        assert set(found) - set(held) == set(new)
        assert (await mirror.ask(ds)).plan == "local"


# ---- the report ---------------------------------------------------------------------------------


async def test_what_was_reprocessed_is_reported_with_old_and_new_numbers(mirror):
    span = "hmi.v_45s[2014.01.01_TAI/1h]"
    held = await mirror.recnums(span)
    assert (await mirror.get("/api/changes")).json == [], "a first fill changes nothing"
    new = await mirror.reprocess("hmi.v_45s[2014.01.01_TAI/3m]")
    mirror.clock.forward(days=100)
    await mirror.recnums(span)
    told = (await mirror.get("/api/changes", {"series": "HMI.v_45s", "since": "1d"})).json
    assert sorted((c["old"], c["new"]) for c in told) == sorted(zip(held[: len(new)], new, strict=True))
    assert told[0]["record"] == "hmi.V_45s[2014.01.01_00:00:00_TAI][2]"
    assert (await mirror.get("/api/changes", {"series": "hmi.m_45s"})).json == []
    mirror.clock.forward(days=2)
    assert (await mirror.get("/api/changes", {"since": "1d"})).json == []


async def test_a_version_that_was_asked_for_by_number_before_the_newer_came_is_no_change(mirror):
    await mirror.reprocess("hmi.v_45s[2015.01.01_TAI]")
    (upstream,) = await mirror.upstream("hmi.v_45s[2015.01.01_TAI]")
    versions = await mirror.upstream("hmi.v_45s[2015.01.01_TAI][!1=1!]")
    assert await mirror.recnums(f"hmi.v_45s[:#{min(versions)}]") == [min(versions)]
    assert await mirror.recnums("hmi.v_45s[2015.01.01_TAI]") == [upstream]
    assert (await mirror.get("/api/changes")).json == []


async def test_old_versions_stay_and_are_found_as_such(mirror):
    span = "hmi.v_45s[2014.01.01_TAI/3m]"
    held = await mirror.recnums(span)
    await mirror.reprocess(span)
    mirror.clock.forward(days=100)
    assert await mirror.recnums(span) != held
    before = len(await mirror.log())
    assert await mirror.recnums(f"hmi.v_45s[:#{held[0]}]") == [held[0]]
    assert len(await mirror.log()) == before


# ---- what a request demands ---------------------------------------------------------------------

SPAN = "hmi.v_45s[2014.01.01_TAI/1h]"
CHECK, HELD = {"Cache-Control": "no-cache"}, {"Cache-Control": "only-if-cached"}


def rs_list(ds):
    return {"op": "rs_list", "ds": ds, "key": "*recnum*"}


async def test_a_check_is_made_on_demand_however_young_the_last_one(mirror):
    await mirror.recnums(SPAN)
    new = await mirror.reprocess("hmi.v_45s[2014.01.01_TAI/3m]")
    before = len(await mirror.log())
    answer = await mirror.get(JSOC_INFO, rs_list(SPAN), headers=CHECK)
    assert answer.plan == "filled"
    assert recnums(answer)[: len(new)] == new
    assert await since(mirror, before) == [("numbers", 80), ("records", len(new))]


async def test_the_last_record_is_asked_for_anew_on_demand(mirror):
    ds = "hmi.v_45s[$]"
    await mirror.recnums(ds)
    (new,) = await mirror.reprocess(ds)
    assert await mirror.recnums(ds) != [new]
    assert recnums(await mirror.get(JSOC_INFO, rs_list(ds), headers=CHECK)) == [new]


async def test_what_browsers_send_on_a_simple_reload_demands_nothing(mirror):
    await mirror.recnums(SPAN)
    before = len(await mirror.log())
    for words in ("max-age=0", "no-store", "no-cachet", ""):
        headers = {"Cache-Control": words, "Pragma": "no-cache"}
        assert (await mirror.get(JSOC_INFO, rs_list(SPAN), headers=headers)).plan == "local"
    assert len(await mirror.log()) == before


async def test_a_request_may_forbid_to_ask_jsoc(mirror):
    await mirror.recnums(SPAN)
    before = len(await mirror.log())
    mirror.clock.forward(days=100)
    held = await mirror.get(JSOC_INFO, rs_list(SPAN), headers=HELD)
    assert held.plan == "stale"
    assert held.headers["Warning"].startswith("110 ")
    assert int(held.headers["Age"]) == 100 * 86400
    longer = "hmi.v_45s[2014.01.01_TAI/2h]"
    words = "T_REC 2014.01.01_01:00:00_TAI to 2014.01.01_01:59:15_TAI (80 slots)"
    for path, params in [
        (JSOC_INFO, rs_list(longer)),
        (JSOC_INFO, {"op": "rs_summary", "ds": longer}),
        (AJAX + "show_info", {"ds": longer, "key": "T_REC"}),
        ("/api/search", {"ds": longer}),
    ]:
        answer = await mirror.get(path, params, headers=HELD)
        assert answer.code == 504, path
        assert words in answer.body.decode(), path
    for path, params in [
        (JSOC_INFO, {"op": "series_struct", "ds": "hmi.m_45s"}),
        (JSOC_INFO, rs_list("hmi.v_45s[? DATAMEAN > 0 ?]")),
        (JSOC_INFO, {**rs_list(SPAN), "M": "1"}),
        (AJAX + "show_series", {}),
        (AJAX + "showextseries", {}),
        (AJAX + "checkAddress.sh", {"address": "a@b.org", "checkonly": "1"}),
        ("/cgi-bin/ajax/fetch_log", {}),
    ]:
        answer = await mirror.get(path, params, headers=HELD)
        assert answer.code == 504, path
        assert answer.json["error"], path
    assert len(await mirror.log()) == before


# ---- the policy, while running ------------------------------------------------------------------


async def test_a_mirror_goes_offline_and_online_while_running(mirror):
    await mirror.recnums(SPAN)
    before = len(await mirror.log())
    told = await mirror.request("POST", "/api/policy", json={"policy": "offline"})
    assert told.json == {"policy": "offline", "configured": "fallback"}
    assert (await mirror.get("/api/status")).json["policy"] == "offline"
    assert await mirror.recnums(SPAN)
    message = (await mirror.ask("hmi.v_45s[2014.01.01_TAI/2h]")).json["error"]
    assert "the mirror is offline" in message
    assert "2014.01.01_01:00:00_TAI to 2014.01.01_01:59:15_TAI (80 slots)" in message
    assert len(await mirror.log()) == before
    told = await mirror.request("POST", "/api/policy", json={"policy": "online"})
    assert told.json["policy"] == "fallback"
    assert len(await mirror.recnums("hmi.v_45s[2014.01.01_TAI/2h]")) == 160
    wrong = await mirror.request("POST", "/api/policy", json={"policy": "sometimes"})
    assert (wrong.code, "sometimes" in wrong.json["error"]) == (400, True)


async def test_what_waits_for_its_turn_is_not_asked_any_more_once_the_mirror_is_offline(tmp_path):
    settings = {"MIRROR_FILL__CHUNK_RECORDS": "100"}
    async with lab(tmp_path, synthetic(), **settings) as mirror:
        await mirror.recnums("hmi.v_45s[2014.01.02_TAI/1m]")
        transport, asked, go = mirror.running.upstream._transport, [], asyncio.Event()
        fetch = transport.fetch

        async def held_up(path, params, most):
            if params["op"] == "rs_list":
                asked.append(params)
                await go.wait()
            return await fetch(path, params, most)

        transport.fetch = held_up
        search = asyncio.ensure_future(mirror.ask("hmi.v_45s[2014.01.01_TAI/1d]"))
        await until(lambda: len(asked) == 2)
        await mirror.request("POST", "/api/policy", json={"policy": "offline"})
        go.set()
        answer = await search
        assert "offline" in answer.json["error"]
        assert len(asked) == 2


async def test_files_and_new_exports_that_need_jsoc_are_refused_too_if_a_request_forbids_it(mirror):
    told = (await mirror.get(JSOC_INFO, {**rs_list("hmi.m_720s[2014.01.01_TAI]"), "seg": "magnetogram"})).json
    path = told["segments"][0]["values"][0]
    before = len(await mirror.log())
    export = {"op": "exp_request", "ds": "hmi.m_720s[2014.01.01_TAI]", "method": "url", "notify": "a@b.org"}
    for answer in (
        await mirror.get(path, headers=HELD),
        await mirror.get(AJAX + "jsoc_fetch", export, headers=HELD),
    ):
        assert answer.code == 504
        assert "allows cached data only" in answer.json["error"]
    assert len(await mirror.log()) == before
