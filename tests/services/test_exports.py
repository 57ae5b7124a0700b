"""Exports through a mirror: the recorded answers of the real jsoc_fetch, and a life of a request."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
import pytest_asyncio

from mirror.simulator.exports.ledger import Pace
from tests import recorded
from tests.filelab import ADDRESS, FETCH, file_lab

SHARP = "hmi.sharp_720s[3563][2014.01.01_TAI/24m]{magnetogram,bitmap}"
ONE = "hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}"
OFFLINE = "hmi.m_720s[2014.01.01_TAI/2d]{magnetogram}"
NEVER = Pace(None, None)
ID = re.compile(r"JSOC_20[0-9]{6}_[0-9]+(_IN)?")


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


# ---- recorded answers -----------------------------------------------------------------------------


def lines(*, status):
    """The recorded lines whose status is one of these; None stands for a crash of the real program."""
    asked = recorded.lines("exports")
    return [x for x in asked if (int(x["response"].get("status", 0)) if x["response"] else None) in status]


def is_of_the_lab(line):
    """True for a question about a request that the recorded server had just accepted."""
    return line["params"].get("requestid", "").startswith("JSOC_20261122")


async def test_what_jsoc_answered_with_status_0_comes_out_equal(mirror):
    asked = [*lines(status={0}), *(x for x in recorded.lines("exports") if x["params"].get("format") == "txt")]
    assert len(asked) > 12
    for line in asked:
        answer = await mirror.get(FETCH, line["params"])
        assert answer.body.decode("latin-1")[: len(line["raw_head"])] == line["raw_head"], line["tag"]


async def test_it_comes_out_equal_while_jsoc_is_away_once_it_was_asked(mirror):
    asked = [line for line in lines(status={0}) if line["params"]["op"] == "exp_request"]
    for line in asked:
        await mirror.get(FETCH, line["params"])
    await mirror.faults({"fault": "outage"})
    for line in asked:
        answer = await mirror.get(FETCH, line["params"])
        assert answer.body.decode("latin-1")[: len(line["raw_head"])] == line["raw_head"], line["tag"]


async def test_what_jsoc_refused_is_refused_with_the_same_status(mirror):
    asked = lines(status={None, 3, 4, 5, 6, 7, 25})
    assert len(asked) > 15
    for line in asked:
        answer = await mirror.get(FETCH, line["params"])
        told = answer.json
        expected = line["response"]["status"] if line["response"] else 4
        assert (answer.code, told["status"]) == (200, expected), (line["tag"], told)
        assert told["error"].strip()
        if line["response"] and "requestid" in line["response"]:
            assert told == line["response"]


async def test_what_jsoc_accepted_is_accepted(mirror):
    for line in lines(status={1, 2}):
        if is_of_the_lab(line):
            continue
        told = (await mirror.get(FETCH, line["params"])).json
        assert list(told) == list(line["response"]), line["tag"]
        same = {"status", "method", "protocol", "rcount"}
        assert {k: told[k] for k in same} == {k: line["response"][k] for k in same}, line["tag"]
        assert ID.fullmatch(told["requestid"])


# ---- the life of a request ----------------------------------------------------------------------------


async def test_a_request_is_accepted_then_done_and_its_files_are_there(mirror):
    accepted = await mirror.export(SHARP)
    assert accepted["status"] == 2
    done = await mirror.ended(accepted["requestid"])
    assert all(isinstance(v, str) for k, v in done.items() if k != "data")
    assert (done["status"], done["count"], len(done["data"])) == ("0", "4", 4)
    quick = await mirror.export(SHARP, "url_quick")
    for row, archived in zip(done["data"], quick["data"], strict=True):
        assert row["record"] == archived["record"]
        answer = await mirror.get(f"{done['dir']}/{row['filename']}")
        assert answer.body == await mirror.original(archived["filename"])


async def test_the_same_request_has_the_same_id_for_a_day(mirror):
    first = await mirror.export(SHARP)
    assert (await mirror.export(SHARP.replace("24m", "30m")))["requestid"] == first["requestid"]
    await mirror.ended(first["requestid"])
    again = await mirror.export(SHARP)
    assert (again["requestid"], again["wait"]) == (first["requestid"], 0)
    ids = {first["requestid"]}
    for different in (
        {"ds": SHARP, "method": "url-tar"},
        {"ds": SHARP, "protocol": "fits"},
        {"ds": SHARP, "filenamefmt": "{recnum}.{segment}"},
        {"ds": SHARP, "max_recs": "1"},
        {"ds": ONE},
    ):
        ids.add((await mirror.export(**different))["requestid"])
    assert len(ids) == 6
    mirror.clock.forward(hours=25)
    assert (await mirror.export(SHARP))["requestid"] not in ids


async def test_ten_clients_of_one_export_get_one_id_and_one_download_of_each_file(mirror):
    answers = await asyncio.gather(*(mirror.export(SHARP) for _ in range(10)))
    assert len({a["requestid"] for a in answers}) == 1
    await mirror.ended(answers[0]["requestid"])
    paths = [e["params"]["path"] for e in await mirror.downloads()]
    assert len(paths) == len(set(paths)) == 4


async def test_an_export_of_held_files_needs_no_jsoc(mirror):
    await mirror.exported(SHARP, protocol="fits")
    await mirror.exported(SHARP)
    await mirror.faults({"fault": "outage"})
    before = len(await mirror.log())
    for method in ("url", "url-tar"):
        for protocol in ("as-is", "fits"):
            done = await mirror.exported(SHARP, method, protocol, filenamefmt=f"{method}.{{segment}}.{{recnum:%d}}")
            assert done["count"] == "4"
    assert (await mirror.export(SHARP, "url_quick"))["status"] == 0
    assert len(await mirror.log()) == before


async def test_other_records_than_those_held_are_told_as_missing_while_jsoc_is_away(mirror):
    await mirror.exported(ONE)
    await mirror.faults({"fault": "outage"})
    told = await mirror.export("hmi.sharp_720s[3563][2014.01.01_TAI/48m]{bitmap}")
    assert told["status"] == 4
    assert told["error"]


@pytest.mark.parametrize("wait", [{"polls": 3}, {"polls": 0}])
async def test_offline_files_come_back_by_one_request_upstream(tmp_path, wait):
    async with file_lab(tmp_path) as mirror:
        await mirror.faults({"match": {"program": "jsoc_fetch"}, "fault": "staging", **wait})
        done = await mirror.exported(OFFLINE, o="1")
        names = [row["filename"] for row in done["data"]]
        assert "NoDataFile" not in names
        asked = await mirror.log(op="exp_request")
        assert len(asked) == 1
        data = await asyncio.gather(*(mirror.get(f"{done['dir']}/{n}") for n in names[:3]))
        assert all(d.body.startswith(b"SIMPLE") for d in data)
        await mirror.faults({"fault": "outage"})
        again = await mirror.exported(OFFLINE, protocol="fits", o="1")
        assert again["count"] == done["count"]


@pytest.mark.parametrize("status", [3, 4, 5, 7, 25])
async def test_staging_that_fails_is_told(tmp_path, status):
    async with file_lab(tmp_path) as mirror:
        rule = {"fault": "staging", "polls": 1, "status": status, "message": "the tape is torn"}
        await mirror.faults({"match": {"program": "jsoc_fetch"}, **rule})
        accepted = await mirror.export(OFFLINE, o="1")
        assert accepted["status"] == 2
        told = await mirror.ended(accepted["requestid"])
        assert "the tape is torn" in told["error"]
        assert told["requestid"] == accepted["requestid"]


async def test_staging_outlives_an_outage(tmp_path):
    async with file_lab(tmp_path) as mirror:
        await mirror.faults({"match": {"program": "jsoc_fetch"}, "fault": "staging", "polls": 2},
                            {"match": {"op": "exp_status"}, "fault": "refuse", "times": 12})  # fmt: skip
        done = await mirror.exported(OFFLINE, o="1")
        assert done["count"] != "0"
        assert len(await mirror.log(op="exp_request")) == 1


async def test_requests_made_at_jsoc_itself_are_asked_there(mirror):
    for line in lines(status={0}):
        if line["params"]["op"] == "exp_status":
            answer = await mirror.get(FETCH, line["params"])
            assert answer.plan == "forwarded"


async def test_the_id_of_a_request_that_went_upstream_is_valid_too(tmp_path):
    from tests.filelab import synthetic

    async with file_lab(tmp_path, synthetic()) as mirror:
        process = {"process=n": "0|rebin,method=boxcar,scale=0.25"}
        done = await mirror.exported("hmi.M_720s[2020-10-17_22:12:00_TAI]{magnetogram}", protocol="fits", **process)
        assert done["data"][0]["record"].lower().startswith("hmi.m_720s_mod")
        job = await mirror.running.export_jobs._jobs.get(done["requestid"])
        assert job.upstream_id
        assert (await mirror.export_status(job.upstream_id))["status"] == "0"
        assert (await mirror.get(f"{done['dir']}/{done['data'][0]['filename']}")).body.startswith(b"SIMPLE")


# ---- bad requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"notify": ""},
        {"notify": "notregistered@example.com"},
        {"notify": "a@nowhere.org"},
        {"method": "carrier-pigeon"},
        {"protocol": "papyrus"},
        {"ds": ""},
        {"ds": "hmi.nosuch[1]"},
        {"ds": "hmi.sharp_720s[3563][2014.01.01_TAI/24m]{nosuch}"},
        {"ds": "hmi.sharp_720s[3563][2014.01.01_TAI/24m]{nosuch}", "method": "url_quick"},
        {"ds": "hmi.sharp_720s[? nosuch = 1 ?]"},
        {"ds": "hmi.sharp_720s["},
        {"sizeratio": "-1"},
        {"filenamefmt": "../{segment}"},
        {"filenamefmt": "{nosuch}"},
        {"filenamefmt": "same"},
        {"filenamefmt": "a/b/{segment}"},
        {"ds": "\x00"},
        {"ds": "hmi.sharp_720s[" + "1," * 100_000 + "1]"},
    ],
    ids=lambda more: str(more)[:60],
)
async def test_a_bad_request_is_one_clear_error_and_makes_no_job(mirror, more):
    params = {"op": "exp_request", "ds": SHARP, "method": "url", "protocol": "fits", "notify": ADDRESS, **more}
    answer = await mirror.request("POST", FETCH, data=params)
    told = json.loads(answer.body)
    if more.get("filenamefmt") and told["status"] == 2:
        told = await mirror.ended(told["requestid"])
        names = [row["filename"] for row in told.get("data", [])]
        assert told["status"] != "0" or (len(set(names)) == len(names) and not any("/" in n for n in names)), names
        return
    assert (answer.code, told["status"]) == (200, 4)
    assert told["error"].strip()
    assert await mirror.running.export_jobs._jobs.latest() == []


@pytest.mark.parametrize("request_id", ["bogus", "../x", "JSOC_20260101_1\x00", "JSOC_20260101_" + "9" * 400, "'; --"])
async def test_a_bad_id_is_an_error(mirror, request_id):
    told = await mirror.export_status(request_id)
    assert told["status"] in (4, 6)
    assert told["error"].strip()
