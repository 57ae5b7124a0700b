"""Empty answers explain themselves: where the series begins and ends, and what is easily written wrong."""

from __future__ import annotations

import pytest

from tests.lab import lab

EARLY = "hmi.v_45s[2001.01.01_TAI/1h]"


@pytest.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        yield made


async def test_a_search_before_the_series_begins_says_when_it_does(mirror):
    answer = (await mirror.get("/api/search", {"ds": EARLY})).json
    structure = (await mirror.get("/cgi-bin/ajax/jsoc_info", {"op": "series_struct", "ds": "hmi.v_45s"})).json
    first, last = (structure["Interval"][name].split("[")[1].rstrip("]") for name in ("FirstRecord", "LastRecord"))
    expected = f"No records match, here or at JSOC. hmi.V_45s starts {first}; its newest record is {last}."
    assert answer["note"].lower() == expected.lower()
    page = (await mirror.get("/search", {"ds": EARLY})).body.decode()
    assert f"starts {first}" in page


async def test_a_range_of_iso_times_without_its_z_is_pointed_out(mirror):
    ds = "hmi.v_45s[2001-01-01T00:00:00-2001-01-02T00:00:00]"
    answer = await mirror.get("/api/search", {"ds": ds})
    assert "each end needs its Z" in answer.body.decode()


async def test_an_answer_with_records_and_one_of_jsocs_own_programs_have_no_note(mirror):
    assert "note" not in (await mirror.get("/api/search", {"ds": "hmi.v_45s[2014.01.01_TAI/3m]"})).json
    assert (await mirror.ask(EARLY)).json["count"] == 0


@pytest.mark.parametrize(
    "ds, words",
    [
        ("hmi.v_45s[2014.01.02-2014.01.01]", "The range 2014.01.02-2014.01.01 ends before it begins."),
        ("hmi.v_45s[2014.01.01_12:00_TAI - 2014.01.01_06:00_TAI]", "ends before it begins."),
        ("hmi.v_45s[2014.01.01_TAI/1h][3-2]", "The range 3-2 ends before it begins."),
    ],
)
async def test_a_range_the_wrong_way_round_is_said(tmp_path, ds, words):
    async with lab(tmp_path) as mirror:
        found = (await mirror.get("/api/search", {"ds": ds, "key": "T_REC"})).json
    assert (found["count"], words in found["note"]) == (0, True)
