"""Record sets checked while they are typed: what is held, what would be fetched, what is wrong and where."""

from __future__ import annotations

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.drms.parser import parse_query
from tests.lab import lab

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/2h]")
        yield made


async def check(mirror, ds):
    answer = await mirror.get("/api/check-query", {"ds": ds})
    assert answer.code == 200
    return answer.json


@pytest.mark.parametrize(
    "ds, plan, slots, missing",
    [
        ("hmi.v_45s[2014.01.01_TAI/1h]", "local", 80, 0),
        ("hmi.v_45s[2014.01.01_TAI/4h]", "fetch", 320, 160),
        ("hmi.v_45s[2014.01.01_TAI/1h][? QUALITY >= 0 ?]", "local", 80, 0),
        ("hmi.v_45s[]", "fetch", None, None),
        ("hmi.v_45s[2000.01.01_TAI/9000d@90s]", "forward", None, None),
    ],
)
async def test_a_check_tells_what_a_search_would_fetch(mirror, ds, plan, slots, missing):
    told = await check(mirror, ds)
    [outlook] = told["sets"]
    assert told["ok"]
    assert [outlook[k] for k in ("plan", "slots", "missing")] == [plan, slots, missing]
    assert outlook["text"]


async def test_what_is_held_is_counted_as_a_search_would(mirror):
    ds = "hmi.v_45s[2014.01.01_TAI/1h][? QUALITY >= 0 ?]"
    assert (await check(mirror, ds))["sets"][0]["held"] == len(await mirror.recnums(ds))


@pytest.mark.parametrize(
    "ds, at, words",
    [
        ("hmi.v_45s[2014.13.01]", "2014", "a time such as"),
        ("hmi.v_45s[2014", "[2014", "']'"),
        ("hmi.v_45s[2014][? NOPE > 3 ?]", "NOPE", ""),
        ("hmi.v_45s[FOO=3]", "3", "one of T_REC"),
        ("hmi.M_72s[2014]", "hmi.M_72s", "did you mean hmi.M_720s"),
        ("hmi.v_45s[2014],hmi.nothing_like_it", "hmi.nothing", "the name of a series"),
        ("", "", "the name of a series"),
    ],
)
async def test_what_is_wrong_is_told_with_its_place(mirror, ds, at, words):
    told = await check(mirror, ds)
    assert not told["ok"]
    assert words in told["expected"]
    assert ds[told["position"] :].startswith(at)


async def test_a_check_asks_jsoc_for_no_record_and_for_no_series_that_is_not_listed(mirror):
    before = await mirror.log()
    for ds in ("hmi.v_45s[2014.03.01_TAI/1d]", "hmi.v_45s[$]", "hmi.v", "hmi.v_", "hmi.v_4", "hmi.v_45"):
        await check(mirror, ds)
    after = await mirror.log()
    assert {e["program"] for e in after[len(before) :]} <= {"show_series"}


async def test_offline_it_says_that_nothing_is_fetched(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/1h]")
        await made.restart(MIRROR_UPSTREAM__POLICY="offline")
        assert "offline" in (await check(made, "hmi.v_45s[2014.01.01_TAI/4h]"))["sets"][0]["text"]
        assert not (await check(made, "hmi.nothing"))["ok"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ds=st.text(st.sampled_from("hmi.v_45s[]{}?!$^#:-/@,;2014.01TAI_ '\"=<>&é\x00"), max_size=40))
async def test_no_text_makes_a_check_fail(mirror, ds):
    told = await check(mirror, ds)
    if told["ok"]:
        parse_query(ds)
    elif told["position"] is not None:
        assert 0 <= told["position"] <= len(ds)


async def test_the_builder_makes_a_record_set_and_checks_it(mirror):
    filled = {"b.series": "hmi.sharp_720s", "v.HARPNUM": "3536", "start.T_REC": "2014-01-01", "length.T_REC": "1d"}
    told = (await mirror.get("/api/build-query", filled)).json
    assert (told["ok"], told["ds"]) == (True, "hmi.sharp_720s[3536][2014.01.01_TAI/1d]")
    wrong = (await mirror.get("/api/build-query", {**filled, "start.T_REC": ""})).json
    assert (wrong["ok"], "T_REC has no start" in wrong["error"]) == (False, True)


async def test_names_are_found_by_what_they_are_about_and_known_ones_come_first(mirror):
    found = (await mirror.get("/api/names", {"q": "hmi"})).json
    assert found[0]["known"] and not found[-1]["known"]
    assert "hmi.V_45s" in [one["series"] for one in found if one["known"]]
    assert any("SHARP" in one["note"] for one in (await mirror.get("/api/names", {"q": "active region"})).json)
    assert (await mirror.get("/api/names", {"q": "nothing like it"})).json == []
