"""jsoc_info and show_info: what is answered here, what goes to JSOC as it stands."""

from __future__ import annotations

import gzip
import json

import pytest

from mirror.simulator.world import load_world
from mirror.wire.params import decode_params
from tests import lab
from tests.recorded import WORLD

SHOW_INFO = lab.AJAX + "show_info"
HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"
TWO = "hmi.v_45s[2014.01.01_00:07:30_TAI/90s]"


@pytest.mark.parametrize(
    "path, query",
    [
        (lab.JSOC_INFO, f"op=rs_list&ds={HOUR}&key=T_REC&b=1"),
        (lab.JSOC_INFO, f"op=rs_list&ds={HOUR}&key=T_REC&n=many"),
        (lab.JSOC_INFO, f"op=rs_list&ds={HOUR}&key=T_REC&n="),
        (lab.JSOC_INFO, f"op=rs_summary&ds={HOUR}&DRMS_DBUTF8CLIENTENCODING=1"),
        (lab.JSOC_INFO, "op=series_struct&ds=hmi.v_45s&M="),
        (SHOW_INFO, f"ds={HOUR}&key=T_REC&b=1"),
        (SHOW_INFO, f"ds={HOUR}&key=T_REC&t=1"),
        (SHOW_INFO, "sunum=400000001"),
        (SHOW_INFO, f"ds={HOUR}&key=T_REC&n=+"),
    ],
)
async def test_parameters_that_only_jsoc_understands_reach_it_as_they_stand(tmp_path, path, query):
    async with lab.lab(tmp_path) as mirror:
        answer = await mirror.get(path, query)
        assert answer.plan == "forwarded"
        assert decode_params(query) in [asked["params"] for asked in await mirror.log()]
        await mirror.faults({"fault": "outage"})
        again = (await mirror.get(path, query)).body
        kept = "ds=" in query  # an answer about no series is not
        assert again == answer.body if kept else b"disconnected" in again or b"cannot be reached" in again


async def test_an_error_of_a_program_that_prints_text_is_asked_again(tmp_path):
    query = {"ds": HOUR + "[? jsoc_knows(QUALITY) = any(array[0]) ?]", "key": "T_REC", "b": "1"}
    async with lab.lab(tmp_path) as mirror:
        for times in (1, 2):
            answer = await mirror.get(SHOW_INFO, query)
            assert (answer.plan, answer.body[:3]) == ("forwarded", b"###")
            assert len(await mirror.log(program="show_info")) == times


async def test_a_condition_that_only_jsoc_can_evaluate_is_asked_of_it_and_nothing_else_is(tmp_path):
    ds = HOUR + "[? jsoc_knows(QUALITY) = any(array[0]) ?]"
    async with lab.lab(tmp_path) as mirror:
        answer = await mirror.get(lab.JSOC_INFO, {"op": "rs_list", "ds": ds, "key": "T_REC"})
        assert [a["params"]["ds"].lower() for a in await mirror.log(op="rs_list")] == [ds.lower()]
        assert answer.told["status"] == 1  # what its own evaluator has to say of such a function
        await mirror.faults({"fault": "outage"})
        away = (await mirror.get(lab.JSOC_INFO, {"op": "rs_list", "ds": ds, "key": "T_REC"})).told["error"]
        assert "only JSOC evaluates its condition" in away


@pytest.mark.parametrize(
    "condition, count",
    [
        ("INSTRUME ~ 'FRONT2$'", 80),
        ("INSTRUME !~* 'front'", 0),
        ("INSTRUME similar to 'HMI_(FRONT|SIDE)_'", 80),
        ("case when CAMERA = 2 then 1 else 0 end = 1", 80),
        ("greatest(CAMERA, 1) = 2 and substring(INSTRUME from 1 for 3) || '!' = $$HMI!$$", 80),
        ("cos(radians(CAMERA)) > 0.9 and CAMERA ^ 2 = 4 and CAMERA::text = '2'", 80),
        ("(QUALITY & x'80000000'::int) = 0 is not distinct from true", 79),
    ],
)
async def test_a_condition_that_is_certain_is_answered_from_what_is_held(tmp_path, condition, count):
    async with lab.lab(tmp_path) as mirror:
        whole = await mirror.ask(HOUR, key="T_REC")
        assert whole.told["count"] == 80
        await mirror.faults({"fault": "outage"})
        answer = await mirror.ask(f"{HOUR}[? {condition} ?]", key="T_REC")
        assert (answer.told.get("count"), answer.plan) == (count, "local"), answer.told


async def test_the_last_of_all_versions_are_those_that_jsoc_takes_for_them(tmp_path):
    async with lab.lab(tmp_path) as mirror:
        answer = await mirror.get(lab.JSOC_INFO, {"op": "rs_list", "ds": TWO + "[! 1=1 !]", "key": "T_REC", "n": "-2"})
        assert (answer.plan, answer.told["count"]) == ("forwarded", 2)
        assert [a["params"]["n"] for a in await mirror.log(op="rs_list")] == ["-2"]


@pytest.fixture
def doubled(tmp_path):
    """The world's hmi.v_45s with a structure that names CAMERA twice."""
    folder = tmp_path / "world"
    folder.mkdir()
    found = json.loads(gzip.decompress((WORLD / "hmi.V_45s.json.gz").read_bytes()))
    structure = json.loads(found["series_struct"])
    again = next(k for k in structure["keywords"] if k["name"] == "CAMERA")
    structure["keywords"].append({**again, "name": "Camera"})
    found["series_struct"] = json.dumps(structure)
    (folder / "hmi.V_45s.json.gz").write_bytes(gzip.compress(json.dumps(found).encode()))
    return list(load_world(folder))


async def test_a_structure_that_names_a_keyword_twice_is_served_and_searched(tmp_path, doubled):
    async with lab.lab(tmp_path / "store", doubled) as mirror:
        told = (await mirror.get(lab.JSOC_INFO, {"op": "series_struct", "ds": "hmi.v_45s"})).told
        assert [k["name"] for k in told["keywords"] if k["name"].lower() == "camera"] == ["CAMERA", "Camera"]
        answer = await mirror.ask(HOUR + "[? camera = 2 ?]", key="CAMERA,Camera")
        assert answer.told["count"] == 80, answer.told
        assert [set(column["values"]) for column in answer.told["keywords"]] == [{"2"}, {"2"}]
