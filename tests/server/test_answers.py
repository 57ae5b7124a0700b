"""What JSOC answered once is answered again: conditions that only JSOC evaluates, counts, first records, flags."""

from __future__ import annotations

import asyncio
import re

import pytest
import pytest_asyncio

from tests.filelab import synthetic
from tests.lab import AJAX, JSOC_INFO, lab, recnums

SHARP = "hmi.sharp_720s[3563]"
#: A condition on a column that is not held: JSOC alone can evaluate it.
UNDECIDED = "[? sg_000_file = 'x' OR sg_000_file <> 'x' ?]"


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        yield made


async def asked(mirror, before=0):
    """What JSOC was asked since: the record sets."""
    return [e["params"].get("ds", "") for e in (await mirror.log())[before:]]


async def quietly(mirror, ds, **params):
    """The answer to a question that JSOC must not be asked for."""
    before = len(await mirror.log())
    answer = await mirror.ask(ds, **params)
    assert await asked(mirror, before) == []
    assert answer.json["status"] == 0, answer.body
    return answer


async def test_a_condition_is_answered_over_any_part_of_where_it_was_asked(mirror):
    whole = await mirror.ask(f"{SHARP}[2014.01.01_TAI/4h]{UNDECIDED}")
    assert whole.plan == "forwarded"
    assert (await quietly(mirror, f"{SHARP}[2014.01.01_TAI/4h]{UNDECIDED}")).told == whole.told
    part = f"{SHARP}[2014.01.01_01:00_TAI/1h]"
    spelled = "[?  SG_000_FILE='x'   or sg_000_FILE  <>'x'?]"
    answer = await quietly(mirror, part + spelled)
    assert answer.plan == "local"
    assert recnums(answer) == await mirror.upstream(part + UNDECIDED)
    few = await quietly(mirror, part + UNDECIDED, n="-2")
    assert recnums(few) == recnums(answer)[-2:]


async def test_only_the_part_is_asked_that_was_not_answered(mirror):
    await mirror.ask(f"{SHARP}[2014.01.01_TAI/2h]{UNDECIDED}")
    before = len(await mirror.log())
    found = await mirror.recnums(f"{SHARP}[2014.01.01_TAI/4h]{UNDECIDED}")
    conditional = [ds for ds in await asked(mirror, before) if "[?" in ds]
    assert conditional == ["hmi.sharp_720s[T_REC_index=920410-920419][HARPNUM=3563][? sg_000_file = 'x' OR sg_000_file <> 'x' ?]"]
    assert found == await mirror.upstream(f"{SHARP}[2014.01.01_TAI/4h]{UNDECIDED}")


async def test_a_check_that_is_due_asks_for_numbers(mirror):
    ds = f"{SHARP}[2014.01.01_TAI/2h]{UNDECIDED}"
    first = await mirror.ask(ds)
    mirror.clock.forward(days=200)
    before = await mirror.fetched()
    assert (await mirror.ask(ds)).told == first.told
    assert await mirror.fetched() == before
    (new,) = await mirror.reprocess(f"{SHARP}[2014.01.01_00:24_TAI]")
    mirror.clock.forward(days=200)
    assert new in recnums(await mirror.ask(ds))
    assert await mirror.fetched() - before <= 2
    await quietly(mirror, ds)


async def test_a_replaced_record_takes_its_verdict_with_it(mirror):
    ds = f"{SHARP}[2014.01.01_TAI/2h]{UNDECIDED}"
    await mirror.ask(ds)
    (new,) = await mirror.reprocess(f"{SHARP}[2014.01.01_00:24_TAI]")
    plain = {"op": "rs_list", "ds": f"{SHARP}[2014.01.01_TAI/1h]", "key": "*recnum*"}
    assert new in recnums(await mirror.get(JSOC_INFO, plain, headers={"Cache-Control": "no-cache"}))
    before = len(await mirror.log())
    assert recnums(await mirror.ask(ds)) == await mirror.upstream(ds)
    assert [d for d in await asked(mirror, before) if "T_REC_index" in d] == [
        "hmi.sharp_720s[T_REC_index=920402][HARPNUM=3563][? sg_000_file = 'x' OR sg_000_file <> 'x' ?]"
    ]


async def test_with_jsoc_away_an_answer_is_given_however_old(mirror):
    ds = f"{SHARP}[2014.01.01_TAI/2h]{UNDECIDED}"
    first = await mirror.ask(ds)
    await mirror.faults({"fault": "outage"})
    assert (await mirror.ask(ds)).plan == "local"
    mirror.clock.forward(days=200)
    old = await mirror.ask(ds)
    assert (old.plan, old.told, old.headers["Age"]) == ("stale", first.told, str(200 * 86400))
    assert "not cached" in (await mirror.ask(f"{SHARP}[2014.01.01_TAI/5h]{UNDECIDED}")).json["error"]


@pytest.mark.parametrize(
    "ds, params",
    [
        (f"hmi.sharp_720s{UNDECIDED}", {}),
        (f"hmi.sharp_720s{UNDECIDED}", {"n": "3"}),
        ("hmi.v_45s[:#$]", {}),
        ("hmi.v_45s[1970.01.01_TAI-2100.01.01_TAI@1h]", {}),
        ("su_test.zoo[? i1 is null ?]", {}),
        ("su_test.zoo[! i1 is null !]", {}),
        ("su_test.nokeyidx[$]", {"R": "1"}),
        ("hmi.M_720s", {"op": "rs_summary"}),
        ("hmi.v_45s[! 1=1 !]", {"op": "rs_summary", "n": "-3"}),
        ("hmi.nosuch[1]", {"op": "rs_summary", "n": "3"}),
        ("hmi.M_720s[2014.01.01_TAI/24m]", {"M": "1"}),
        ("hmi.M_720s[2014.01.01_TAI/24m]", {"f": "1", "R": "1"}),
        ("hmi.sharp_720s", {"op": "series_struct", "o": "1"}),
    ],
)
async def test_the_second_time_jsoc_is_not_asked_and_need_not_be_there(mirror, ds, params):
    first = await mirror.ask(ds, **params)
    assert first.json["status"] == 0, first.body
    assert (await quietly(mirror, ds, **params)).told == first.told
    await mirror.restart()
    assert (await quietly(mirror, ds, **params)).told == first.told
    mirror.clock.forward(days=300)
    await mirror.faults({"fault": "outage"})
    assert (await mirror.ask(ds, **params)).told == first.told


async def test_errors_are_not_kept(mirror):
    await mirror.faults({"fault": "status", "status": 1, "message": "out of order", "times": 1, "match": {"op": "rs_list"}})
    first = await mirror.ask("hmi.M_720s[2014.01.01_TAI/24m]", M="1")
    assert first.json["status"] == 1
    assert (await mirror.ask("hmi.M_720s[2014.01.01_TAI/24m]", M="1")).json["status"] == 0


async def test_what_only_storage_tells_is_asked_each_time(mirror):
    params = {"op": "rs_list", "ds": "hmi.M_720s[2014.01.01_TAI]", "key": "*logdir*"}
    await mirror.get(JSOC_INFO, params)
    assert (await mirror.get(JSOC_INFO, params)).plan == "forwarded"


async def test_show_info_uses_what_jsoc_info_was_answered(mirror):
    ds = f"{SHARP}[2014.01.01_TAI/2h]{UNDECIDED}"
    found = recnums(await mirror.ask(ds))
    before = len(await mirror.log())
    text = await mirror.get(AJAX + "show_info", {"ds": ds, "key": "HARPNUM", "r": "1", "q": "1"})
    assert [int(line.split()[0]) for line in text.body.decode().splitlines()] == found
    count = await mirror.get(AJAX + "show_info", {"ds": ds, "c": "1"})
    assert count.body.startswith(str(len(found)).encode())
    assert await asked(mirror, before) == []


async def test_a_prime_key_in_a_condition_bounds_what_is_fetched(mirror):
    answer = await mirror.ask("hmi.sharp_720s[? HARPNUM = 3563 or (HARPNUM in (3564) and QUALITY >= 0) ?]")
    assert answer.plan == "filled"
    assert await mirror.fetched() == answer.json["count"]
    assert recnums(answer) == await mirror.upstream("hmi.sharp_720s[3563,3564]")


async def test_coverage_shows_what_was_answered_over_what(mirror):
    await mirror.ask(f"{SHARP}[2014.01.01_TAI/2h]{UNDECIDED}")
    (line,) = [x for x in (await mirror.get("/api/coverage")).json if x.get("answer") == "condition"]
    assert line["condition"] == "[? sg_000_file = 'x' or sg_000_file <> 'x' ?]"
    assert (line["restriction"], line["slots"], line["records"]) == ("HARPNUM=3563", 10, 10)
    assert (line["first"], line["checked_at"]) == ("2014.01.01_00:00:00_TAI", mirror.clock.seconds)


async def test_forgotten_records_take_what_was_said_of_them_along(mirror):
    ds = f"{SHARP}[2014.01.01_TAI/2h]{UNDECIDED}"
    await mirror.ask(ds)
    gone = await mirror.request("POST", "/api/forget", json={"ds": f"{SHARP}[2014.01.01_TAI/1h]", "records": True})
    assert gone.code == 200, gone.body
    await mirror.faults({"fault": "outage"})
    assert (await mirror.ask(ds)).json["status"] == 1
    assert (await mirror.ask(f"{SHARP}[2014.01.01_01:00_TAI/1h]{UNDECIDED}")).plan == "local"


@pytest.mark.parametrize(
    "condition",
    [
        "T_REC >= $(2014.01.01_12:00_TAI)",
        "T_REC = $(2014.01.01_12:00_TAI)",
        "T_REC > $(2014.01.01_12:00_TAI) AND T_REC <= $(2014.01.01_18:00_TAI)",
        "T_REC_index < 920460 and T_REC <> $(2014.01.01_01:00_TAI)",
    ],
)
async def test_a_slot_tells_the_exact_time(mirror, condition):
    await mirror.recnums("hmi.M_720s[2014.01.01_TAI/1d]")
    ds = f"hmi.M_720s[2014.01.01_TAI/1d][? {condition} ?]"
    answer = await quietly(mirror, ds)
    assert answer.plan == "local"
    assert recnums(answer) == await mirror.upstream(ds)


# ---- the same question at a time ----------------------------------------------------------------


@pytest.mark.parametrize(
    "path, first, other",
    [
        (JSOC_INFO, {"op": "rs_list", "key": "*recnum*"}, {"key": "*recnum*", "op": "rs_list"}),
        (JSOC_INFO, {"op": "rs_summary"}, {"op": "rs_summary"}),
        (JSOC_INFO, {"op": "rs_list", "key": "*recnum*", "M": "1"}, {"M": "1", "op": "rs_list", "key": "*recnum*"}),
        (AJAX + "show_info", {"key": "T_REC", "b": "1"}, {"b": "1", "key": "T_REC"}),
        (AJAX + "show_info", {"h": "1"}, {"h": "1"}),  # its text begins with the name of the program
    ],
)
async def test_what_several_ask_at_a_time_is_asked_once(tmp_path, path, first, other):
    async with lab(tmp_path, latency=100.0) as mirror:
        await mirror.ask(f"{SHARP}[2014.01.01_TAI/12m]")  # its structure
        before = len(await mirror.log())
        ds = f"{SHARP}[2014.01.01_TAI/4h]"
        spellings = (UNDECIDED, UNDECIDED.replace("OR", " or "))
        asked_for = [{**params, "ds": ds + text} for params, text in zip((first, other), spellings, strict=True)] * 5
        answers = await asyncio.gather(*(mirror.get(path, params) for params in asked_for))
        assert {answer.code for answer in answers} == {200}
        assert len({re.sub(rb'"runtime": ?"?[0-9.]+"?', b"", answer.body) for answer in answers}) == 1
        assert len([ds for ds in await asked(mirror, before) if "sg_000_file" in ds.lower()]) == 1


async def test_who_waits_for_an_answer_that_fails_asks_himself(tmp_path):
    async with lab(tmp_path, latency=100.0) as mirror:
        await mirror.ask(f"{SHARP}[2014.01.01_TAI/12m]")
        await mirror.faults({"fault": "broken_json", "times": 1})
        params = {"op": "rs_list", "ds": f"{SHARP}[2014.01.01_TAI/4h]", "key": "*recnum*", "M": "1"}
        answers = await asyncio.gather(*(mirror.get(JSOC_INFO, params) for _ in range(3)))
        good = [answer.body for answer in answers if answer.body.startswith(b'{"keywords":')]
        assert len(good) == 2
        assert good[0].partition(b"runtime")[0] == good[1].partition(b"runtime")[0]


# ---- formats ------------------------------------------------------------------------------------


async def test_missing_numbers_print_as_the_program_prints_them_by_formats_that_are_asked_for_once(tmp_path):
    blank = "[2014.01.01_TAI/60d][? QUALITY < 0 ?]"
    async with lab(tmp_path, synthetic()) as mirror:
        params = {"ds": f"hmi.V_45s{blank}", "key": "T_REC,T_OBS,QUALITY,DATAVALS,DATAMEAN,CRPIX1", "n": "3"}
        async with mirror.session.get(mirror.simulator.make_url(AJAX + "show_info"), params=params) as told:
            expected = await told.read()
        assert b"-2147483648" in expected
        before = len(await mirror.log())
        assert (await mirror.get(AJAX + "show_info", params)).body == expected
        assert "hmi.V_45s[:#$]" in await asked(mirror, before)
        before = len(await mirror.log())
        assert (await mirror.get(AJAX + "show_info", params)).body == expected
        assert await asked(mirror, before) == []


@pytest.mark.parametrize(
    "params",
    [
        {"key": "HISTORY"},
        {"key": "T_REC, COMMENT"},
        {"a": "1", "q": "1"},
        {"key": "**ALL**"},
        {"key": "T_REC,*sunum*"},
        {"key": "T_REC,CAMERA,T_REC"},
        {"key": "T_REC", "seg": "**ALL**"},
        {"key": "T_REC", "c": "1", "n": "2"},
        {"key": "T_REC", "ds": "hmi.V_45s[2014.01.01_TAI/3m],hmi.M_720s[2014.01.01_TAI/1h]"},
        {"key": "ObservationTime", "ds": "jsoc.noaa_active_regions[2014.01.01]", "A": "1", "P": "1"},
        {"key": "T_REC", "ds": "hmi.V_45s[1990.01.01_TAI/1h]", "q": "1", "M": "1"},
    ],
)
async def test_show_info_prints_what_the_program_prints_again_and_while_jsoc_is_away(tmp_path, params):
    params = {"ds": "hmi.V_45s[2014.01.01_TAI/3m]", **params}
    async with lab(tmp_path, synthetic()) as mirror:
        async with mirror.session.get(mirror.simulator.make_url(AJAX + "show_info"), params=params) as told:
            expected = await told.read()
        assert (await mirror.get(AJAX + "show_info", params)).body == expected
        before = len(await mirror.log())
        assert (await mirror.get(AJAX + "show_info", params)).body == expected
        assert await asked(mirror, before) == []
        await mirror.faults({"fault": "outage"})
        assert (await mirror.get(AJAX + "show_info", params)).body == expected


async def test_a_missing_text_of_cached_records_is_printed_while_jsoc_is_away(tmp_path):
    params = {"ds": "hmi.V_45s[2014.01.01_TAI/45s]", "key": "HISTORY", "q": "1"}
    async with lab(tmp_path, synthetic()) as mirror:
        await mirror.get(JSOC_INFO, {"op": "rs_list", "ds": params["ds"], "key": "T_REC"})
        await mirror.faults({"fault": "outage"})
        assert (await mirror.get(AJAX + "show_info", params)).body == b"MISSING\n"


async def test_records_that_rs_list_refuses_are_printed_by_show_info(tmp_path):
    params = {"ds": "hmi.V_45s[2014.01.01_TAI/3m]", "key": "T_REC", "q": "1"}
    async with lab(tmp_path, synthetic()) as mirror:
        await mirror.faults({"match": {"op": "rs_list"}, "fault": "status"})
        found = await mirror.get(AJAX + "show_info", params)
        assert (len(found.body.split()), found.plan) == (4, "forwarded")
        await mirror.faults({"fault": "outage"})
        assert (await mirror.get(AJAX + "show_info", params)).body == found.body


async def test_what_storage_tells_of_now_is_asked_each_time_and_remembered_for_an_outage(tmp_path):
    params = {"op": "rs_list", "ds": "hmi.V_45s[2014.01.01_TAI/3m]", "key": "T_REC,*logdir*"}
    async with lab(tmp_path, synthetic()) as mirror:
        first = (await mirror.get(JSOC_INFO, params)).body
        before = len(await mirror.log())
        await mirror.get(JSOC_INFO, params)
        assert await asked(mirror, before) == [params["ds"]]
        await mirror.faults({"fault": "outage"})
        assert (await mirror.get(JSOC_INFO, params)).body.partition(b'"runtime"')[0] == first.partition(b'"runtime"')[0]


# ---- computed conditions ------------------------------------------------------------------------


async def test_a_computed_condition_is_decided_here_in_whatever_way_it_is_asked(mirror):
    span = f"{SHARP}[2014.01.01_TAI/4h]"
    await mirror.ask(span)
    for condition in ("sqrt(power(LAT_MIN,2)+power(LON_MIN,2)) < 60", "abs(LAT_MIN)+abs(LON_MIN) > 10 AND HARPNUM = 3563"):
        ds = f"{span}[? {condition} ?]"
        expected = await mirror.upstream(ds)
        before = len(await mirror.log())
        assert recnums(await mirror.ask(ds)) == expected
        assert recnums(await mirror.ask(ds, n="-2")) == expected[-2:]
        counted = await mirror.get(JSOC_INFO, {"op": "rs_summary", "ds": ds})
        assert int(counted.json["count"]) == len(expected) > 0
        assert await asked(mirror, before) == []
