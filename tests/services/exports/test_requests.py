"""Exports through a mirror: the recorded answers of the real jsoc_fetch, and a life of a request."""

from __future__ import annotations

import asyncio
import io
import json
import re
import tarfile

import pytest
import pytest_asyncio

from tests import recorded
from tests.filelab import ADDRESS, FETCH, file_lab, synthetic

SHARP = "hmi.sharp_720s[3563][2014.01.01_TAI/24m]{magnetogram,bitmap}"
ONE = "hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}"
OFFLINE = "hmi.m_720s[:#4007,#4104]{magnetogram}"
PROCESSED = "hmi.M_720s[2020-10-17_22:12:00_TAI]{magnetogram}"
REBIN = {"process=n": "0|rebin,method=boxcar,scale=0.25"}
ID = re.compile(r"JSOC_20[0-9]{6}_[0-9]+(_IN)?")


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def synthetic_mirror(tmp_path):
    async with file_lab(tmp_path, synthetic()) as made:
        yield made


# ---- recorded answers -----------------------------------------------------------------------------


def lines(*, status):
    """The recorded lines whose status is one of these; None stands for a crash of the real program."""
    asked = [x for x in recorded.lines("exports") if x["params"].get("format") != "txt"]
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


async def test_an_offline_mirror_refuses_at_once_what_it_does_not_hold(tmp_path):
    async with file_lab(tmp_path, synthetic()) as mirror:
        held, other = (f"hmi.sharp_cea_720s[][2014.01.01/12m]{{{name}}}" for name in ("Br", "Bt"))
        await mirror.ended((await mirror.export(held))["requestid"])
        await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
        told = await mirror.export(other)
        assert told["status"] == 4
        assert re.search(r"the mirror is offline, and (\d+) of \1 files? (is|are) not cached", told["error"])
        assert "{Bt}" in told["error"]
        assert (await mirror.export(held))["status"] == "0"


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


async def test_an_export_of_held_files_is_told_of_in_the_first_answer(mirror):
    await mirror.exported(SHARP)
    mirror.running.export_jobs.hold = 60.0
    for protocol, method in (("fits", "url"), ("as-is", "url-tar")):
        told = await mirror.export(SHARP, method, protocol)
        assert (told["status"], told["count"]) == ("0", "2" if protocol == "fits" else "4")
        assert told == await mirror.export_status(told["requestid"])
        assert (await mirror.export(SHARP, method, protocol)) == told
    assert ("tarfile" in told) and (await mirror.get(told["tarfile"])).code == 200


async def test_what_is_not_ready_in_a_moment_is_accepted_and_not_waited_for(mirror):
    mirror.running.export_jobs.hold = 60.0
    await mirror.faults({"match": {"program": "file"}, "fault": "refuse"})
    told = await mirror.export(SHARP)  # it pauses until it is tried again, and nobody waits for that
    assert (told["status"], told["wait"]) == (2, 1)
    await mirror.faults()
    mirror.running.export_jobs.hold = 0.001
    assert (await mirror.export(SHARP, protocol="fits"))["status"] == 2


async def test_the_same_request_has_the_same_id_for_a_day(mirror):
    first = await mirror.export(SHARP)
    assert (await mirror.export(SHARP.replace("24m", "30m")))["requestid"] == first["requestid"]
    await mirror.ended(first["requestid"])
    again = await mirror.export(SHARP)
    assert (again["requestid"], again["status"]) == (first["requestid"], "0")
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
    fits = await mirror.exported(SHARP, protocol="fits")
    counts = {"fits": fits["count"], "as-is": (await mirror.exported(SHARP))["count"]}
    await mirror.faults({"fault": "outage"})
    before = len(await mirror.log())
    for method in ("url", "url-tar"):
        for protocol in ("as-is", "fits"):
            done = await mirror.exported(SHARP, method, protocol, filenamefmt=f"{method}.{{segment}}.{{recnum:%d}}")
            assert done["count"] == counts[protocol] != "0"
    assert (await mirror.export(SHARP, "url_quick"))["status"] == 0
    assert len(await mirror.log()) == before


async def test_other_records_than_those_held_are_told_as_missing_while_jsoc_is_away(mirror):
    await mirror.exported(ONE)
    await mirror.faults({"fault": "outage"})
    told = await mirror.export("hmi.sharp_720s[3563][2014.01.01_TAI/48m]{bitmap}")
    assert told["status"] == 4
    assert told["error"]


async def test_offline_files_come_back_by_one_request_upstream(tmp_path):
    async with file_lab(tmp_path) as mirror:
        await mirror.faults({"match": {"program": "jsoc_fetch"}, "fault": "staging", "polls": 3})
        done = await mirror.exported(OFFLINE, o="1")
        names = [row["filename"] for row in done["data"]]
        assert len(names) == 2 and "NoDataFile" not in names
        asked = await mirror.log(op="exp_request")
        assert len(asked) == 1
        data = await asyncio.gather(*(mirror.get(f"{done['dir']}/{n}") for n in names[:3]))
        assert all(d.body.startswith(b"SIMPLE") for d in data)
        await mirror.faults({"fault": "outage"})
        again = await mirror.exported(OFFLINE, protocol="fits", o="1")
        assert again["count"] == done["count"]


async def test_staging_that_fails_is_told(mirror):
    for status in (3, 4, 5, 25):
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


async def test_the_id_of_a_request_that_went_upstream_is_valid_too(synthetic_mirror):
    mirror = synthetic_mirror
    done = await mirror.exported(PROCESSED, protocol="fits", **REBIN)
    assert done["data"][0]["record"].lower().startswith("hmi.m_720s_mod")
    asked = await mirror.log(op="exp_status")
    upstream_id = asked[0]["params"]["requestid"]
    assert upstream_id != done["requestid"]
    assert (await mirror.export_status(upstream_id))["status"] == "0"
    assert (await mirror.get(f"{done['dir']}/{done['data'][0]['filename']}")).body.startswith(b"SIMPLE")


# ---- bad requests -----------------------------------------------------------------------------------


BAD = [
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
    {"ds": "\x00"},
]
TEMPLATES = ["../{segment}", "{nosuch}", "same", "a/b/{segment}", "", "{", "{recnum:%n}", "x" * 300]
BAD_IDS = ["bogus", "../x", "JSOC_20260101_1\x00", "JSOC_20260101_" + "9" * 400, "'; --"]


async def test_a_bad_request_is_one_clear_error_and_makes_no_job(mirror):
    for more in BAD:
        params = {"op": "exp_request", "ds": SHARP, "method": "url", "protocol": "fits", "notify": ADDRESS, **more}
        answer = await mirror.request("POST", FETCH, data=params)
        told = json.loads(answer.body)
        assert (answer.code, told["status"]) == (200, 4), more
        assert told["error"].strip()
    assert (await mirror.get("/api/jobs")).json == []


@pytest.mark.parametrize("protocol", ["as-is", "fits"])
async def test_no_template_of_names_leads_elsewhere_or_loses_a_file(mirror, protocol):
    for template in TEMPLATES:
        told = await mirror.export(SHARP, protocol=protocol, filenamefmt=template)
        if told["status"] == 2:
            told = await mirror.ended(told["requestid"])
        if told["status"] != "0":
            assert told["status"] == 4 and told["error"].strip()
            continue
        names = [row["filename"] for row in told["data"]]
        assert len(set(names)) == len(names) == int(told["count"])
        assert not any("/" in name or len(name) > 255 for name in names)


async def test_a_bad_id_is_an_error(mirror):
    for request_id in BAD_IDS:
        told = await mirror.export_status(request_id)
        assert told["status"] in (4, 6)
        assert told["error"].strip()


# ---- what goes wrong on the way ------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["as-is", "fits"])
async def test_files_that_have_left_their_disk_are_brought_back_by_one_request(mirror, protocol):
    await mirror.faults({"match": {"program": "file", "path": "/D44000"}, "fault": "gone"})
    done = await mirror.exported(SHARP, protocol=protocol)
    assert "NoDataFile" not in [row["filename"] for row in done["data"]]
    assert int(done["count"]) > 1
    asked = await mirror.log(op="exp_request")
    assert len(asked) == 1
    assert asked[0]["params"]["protocol"] == "as-is"


async def test_a_file_that_nobody_can_bring_is_told_as_such(mirror):
    await mirror.faults({"match": {"program": "file"}, "fault": "gone"},
                        {"match": {"op": "exp_request"}, "fault": "status", "status": 4, "message": "no"})  # fmt: skip
    done = await mirror.exported(SHARP)
    assert [row["filename"] for row in done["data"]] == ["NoDataFile"] * 4
    assert done["count"] == "0"


async def test_a_request_for_processing_that_does_not_reach_jsoc_is_an_error_and_may_be_repeated(synthetic_mirror):
    mirror = synthetic_mirror
    await mirror.export(PROCESSED, protocol="fits", notify="nobody")
    await mirror.get("/cgi-bin/ajax/checkAddress.sh?address=a%40example.com&checkonly=1")
    await mirror.faults({"match": {"program": "jsoc_fetch"}, "fault": "refuse"})
    told = await mirror.export(PROCESSED, protocol="fits", **REBIN)
    assert (told["status"], "cannot be reached" in told["error"]) == (4, True)
    await mirror.faults()
    assert (await mirror.exported(PROCESSED, protocol="fits", **REBIN))["count"] == "1"


async def test_a_processed_export_as_tar_has_its_files(synthetic_mirror):
    mirror = synthetic_mirror
    done = await mirror.exported(PROCESSED, "url-tar", "fits", **REBIN)
    data = (await mirror.get(done["tarfile"])).body
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = {name.removeprefix("./") for name in archive.getnames()}
    assert {row["filename"] for row in done["data"]} <= names
    text = (await mirror.get(f"{done['dir']}/index.txt")).body.decode()
    assert "Processing-step applied: rebin" in text


async def test_a_processed_export_is_kept_and_served_again_while_jsoc_is_away(synthetic_mirror):
    mirror = synthetic_mirror
    first = await mirror.exported(PROCESSED, protocol="fits", **REBIN)
    await mirror.faults({"fault": "outage"})
    again = await mirror.exported(PROCESSED, protocol="fits", **REBIN)
    assert again == first
    assert (await mirror.get(f"{again['dir']}/{again['data'][0]['filename']}")).body.startswith(b"SIMPLE")


async def test_too_many_records_are_refused_soon_and_with_a_message(synthetic_mirror):
    told = await synthetic_mirror.export("hmi.v_45s[2012.01.01_TAI/3650d]")
    assert told["status"] in (3, 4)
    assert told["error"].strip()


async def test_questions_about_exports_do_not_wait_for_downloads(mirror):
    await mirror.faults({"match": {"program": "file"}, "fault": "slow", "seconds": 1.0})
    mirror.gate.clear()
    download = asyncio.ensure_future(mirror.get("/SUM0/D440000100/S00000/bitmap.fits"))
    line = next(x for x in recorded.lines("exports") if x["tag"] == "status-0")
    assert (await mirror.get(FETCH, line["params"])).json["status"] == "0"
    assert not download.done()
    mirror.gate.set()
    assert (await download).code == 200
