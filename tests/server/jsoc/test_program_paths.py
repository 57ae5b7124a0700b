"""JSOC's programs under all their names, folders of storage units, and what is told while JSOC is away."""

from __future__ import annotations

import asyncio
import re

import pytest
import pytest_asyncio

from mirror.wire.paths import PROGRAM_PATHS
from tests.filelab import ADDRESS, FETCH, file_lab

INFO = {"op": "rs_list", "ds": "hmi.sharp_720s[3563][2014.01.01_TAI]", "key": "T_REC,HARPNUM"}
SHARP = "hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}"
OUTAGE = {"fault": "outage"}


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


def paths(program):
    """Every path of a program, also as people write it."""
    return [spelled for path, name in PROGRAM_PATHS.items() if name == program for spelled in (path, f"/{path}", f"{path}/more")]


async def test_a_search_is_answered_alike_under_all_names_and_asked_once(mirror):
    told = {str((await mirror.get(path, {**INFO, "dbhost": "hmidb2"})).told) for path in paths("jsoc_info")}
    assert len(told) == 1 and "2014.01.01_00:00:00_TAI" in told.pop()
    asked = len(await mirror.log())
    texts = {(await mirror.get(path, {"ds": INFO["ds"], "key": INFO["key"], "dbhost": "hmidb2"})).body for path in paths("show_info")}
    assert texts == {b"T_REC\tHARPNUM\n2014.01.01_00:00:00_TAI\t3563\n"}
    names = {(await mirror.get(path, {"dbhost": "hmidb2"})).body for path in paths("showextseries")}
    assert len(names) == 1
    assert len(await mirror.log()) == asked + 1  # the list of series
    await mirror.faults(OUTAGE)
    assert (await mirror.get("/cgi-bin/jsocextinfo", INFO)).plan == "local"


async def test_exports_by_all_names_are_ours_and_wait_for_each_other(mirror):
    request = {"op": "exp_request", "ds": SHARP, "method": "url", "protocol": "fits", "notify": ADDRESS, "dbhost": "hmidb2"}
    answers = await asyncio.gather(*(mirror.get(path, request) for path in paths("jsoc_fetch")))
    assert len({answer.json["requestid"] for answer in answers}) == 1
    drawn = {**request, "protocol": "jpg,CT=grey.sao,scaling=MINMAX,size=1"}
    other = {**drawn, "protocol": "jpg,CT=grey.sao,scaling=MINMAX,size=2"}
    first, second = await asyncio.gather(mirror.get("/cgi-bin/ajax/jsocextfetch", drawn), mirror.get("/cgi-bin/jsocextfetch", other))
    for answer in (first, second):
        assert (await mirror.ended(answer.json["requestid"]))["status"] == "0"
    log = await mirror.log(program="jsoc_fetch")
    asked = [entry["params"]["op"] for entry in log if "fits" not in entry["params"].get("protocol", "")]
    assert asked.count("exp_request") == 2
    assert "exp_status" in asked[asked.index("exp_request") : len(asked) - asked[::-1].index("exp_request")]  # never both at once


async def test_an_export_of_a_series_that_only_another_database_has_is_jsocs_to_answer(mirror):
    request = {"op": "exp_request", "ds": "internal.only[]", "method": "url_quick", "protocol": "as-is", "notify": ADDRESS}
    ours = await mirror.get("/cgi-bin/ajax/jsoc_fetch", request)
    assert (ours.json["status"], "does not exist" in ours.json["error"]) == (4, True)
    before = len(await mirror.log())
    theirs = await mirror.get("/cgi-bin/ajax/jsocextfetch", {**request, "dbhost": "hmidb2"})
    assert theirs.plan == "forwarded"
    passed = [(e["program"], e["params"].get("dbhost")) for e in (await mirror.log())[before:]]
    assert ("jsocextfetch", "hmidb2") in passed
    await mirror.faults(OUTAGE)
    away = await mirror.get("/cgi-bin/ajax/jsocextfetch", {**request, "dbhost": "hmidb2"})
    assert away.json["status"] in (4, "4") or away.code in (502, 503, 504)


async def test_a_program_needs_the_same_role_under_every_name(mirror):
    from mirror.server.roles import role_of

    for program in set(PROGRAM_PATHS.values()):
        assert len({role_of("GET", path, path) for path, name in PROGRAM_PATHS.items() if name == program}) == 1, program


async def unit_of(mirror):
    """The path of a file that is held."""
    row = (await mirror.export(SHARP, "url_quick"))["data"][0]
    await mirror.get(row["filename"])
    await mirror.settled()
    return row["filename"]


async def test_a_folder_of_a_held_unit_is_listed_while_jsoc_is_away(mirror):
    path = await unit_of(mirror)
    folder, _, name = path.rpartition("/")
    assert (await mirror.get(f"{folder}/")).plan == "passed"
    await mirror.faults(OUTAGE)
    bare = await mirror.get(folder, allow_redirects=False)
    assert (bare.code, bare.headers["Location"]) == (301, f"{folder}/")
    listed = await mirror.get(f"/{folder}/")
    assert (listed.code, listed.plan) == (200, "stale")
    assert listed.headers["Content-Type"].startswith("text/html")
    links = re.findall(r'href="([^"]+)"', listed.body.decode())
    assert links == ["../", name]
    assert (await mirror.get(f"{folder}/{links[1]}")).plan == "local"
    unit = folder.rpartition("/")[0]
    assert 'href="S00000/"' in (await mirror.get(f"{unit}/")).body.decode()
    assert (await mirror.get("/SUM1/D1/S00000/")).code in (502, 504)
    head = await mirror.request("HEAD", f"{folder}/")
    assert (head.code, head.body) == (200, b"")


async def test_an_offline_mirror_lists_and_a_strict_one_does_not(tmp_path):
    async with file_lab(tmp_path) as mirror:
        folder = (await unit_of(mirror)).rpartition("/")[0]
        await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
        assert (await mirror.get(f"{folder}/")).code == 200
        await mirror.restart(MIRROR_UPSTREAM__POLICY="strict")
        await mirror.faults(OUTAGE)
        assert (await mirror.get(f"{folder}/")).code in (502, 504)


async def test_the_folder_of_an_export_without_its_slash_leads_to_it(mirror):
    done = await mirror.exported(SHARP)
    bare = await mirror.get(done["dir"], allow_redirects=False)
    assert (bare.code, bare.headers["Location"]) == (301, f"{done['dir']}/")
    assert (await mirror.get(done["dir"])).code == 200


async def test_an_address_that_is_too_long_for_jsoc_is_sent_as_a_form(mirror):
    await mirror.faults({"match": {"program": "jsoc_info"}, "fault": "uri_too_long"})
    assert (await mirror.get("/cgi-bin/ajax/jsoc_info", INFO)).json["count"] == 1
    for more in ({}, {"ds": f"hmi.sharp_720s[3563][2014.01.01_TAI{',2014.01.01_TAI' * 200}]"}):
        answer = await mirror.get("/cgi-bin/jsocextinfo", {**INFO, "M": "1", **more})  # JSOC's to answer
        assert (answer.plan, answer.json["count"]) == ("forwarded", 1)


# ---- while JSOC is away ----------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", ["JSOC_20210406_1196", "JSOC_20210604_1471_X_IN", "JSOC_20240919_003607"])
async def test_a_request_made_at_jsoc_is_not_yet_known_while_jsoc_is_away(mirror, request_id):
    asked = {"op": "exp_status", "requestid": request_id}
    await mirror.faults(OUTAGE)
    answer = await mirror.get(FETCH, asked)
    assert (answer.code, answer.json["status"], answer.json["requestid"]) == (200, 1, request_id)
    assert answer.json["wait"] == int(answer.headers["Retry-After"]) > 0
    text = await mirror.get(FETCH, {**asked, "format": "txt"})
    assert b"status=1" in text.body
    assert (await mirror.get(FETCH, asked, headers={"Cache-Control": "only-if-cached"})).code == 504
    far = await mirror.get(FETCH, asked, headers={"Via": "1.1 jsoc-mirror-far"})
    assert far.code in (502, 504) and "X-Mirror-Problem" in far.headers
    await mirror.faults()
    assert (await mirror.get(FETCH, asked)).plan == "forwarded"
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    assert (await mirror.get(FETCH, asked)).json["status"] == 1


async def test_the_names_of_series_come_from_whatever_list_is_held(mirror):
    listed = (await mirror.get("/cgi-bin/ajax/show_series")).json
    await mirror.faults(OUTAGE)
    names = (await mirror.get("/cgi-bin/ajax/showextseries", {"dbhost": "hmidb2"})).json["seriesList"]
    assert names == [each["name"] for each in listed["names"]]
    told = (await mirror.get("/cgi-bin/ajax/showextseries", {"dbhost": "hmidb2", "info": "1"})).json["seriesList"]
    assert told == [{each["name"]: {"description": each["note"]}} for each in listed["names"]]
    await mirror.faults()
    assert (await mirror.get("/cgi-bin/ajax/showextseries")).code == 200
    assert len(await mirror.log(program="showextseries")) >= 1  # JSOC's own list again, once it answers
