"""Exports while JSOC is away in the middle: they go on later, say why they wait, and keep what came."""

from __future__ import annotations

import pytest
import pytest_asyncio

from mirror.errors import StorageError
from mirror.services.exports.cutting import LONGEST_PAUSE, PATIENCE
from tests.filelab import FETCH, file_lab

SHARP = "hmi.sharp_720s[3563][2014.01.01_TAI/24m]{magnetogram,bitmap}"
OFFLINE = "hmi.sharp_720s[:#439]{bitmap,magnetogram}"
FILES = {"match": {"program": "file"}}
VALUES = {"match": {"program": "jsoc_info", "ds": ":#"}, "fault": "refuse"}


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


async def waiting(mirror, request_id):
    """What the list of jobs says of a job that pauses."""
    await mirror.working()
    job = (await mirror.get(f"/api/jobs/{request_id}")).json
    assert job["waits"] is not None, job
    return job


async def test_a_file_that_does_not_come_is_tried_again_and_those_that_came_stay(mirror):
    await mirror.faults({**FILES, "fault": "refuse", "skip": 2})
    accepted = (await mirror.export(SHARP))["requestid"]
    job = await waiting(mirror, accepted)
    assert "cannot be reached" in job["waits"]["why"]
    assert (job["waits"]["tries"], job["waits"]["next_try"]) == (1, "2023-11-14T22:13:35Z")
    assert (job["ready"], job["total"]) == (2, 4)
    told = await mirror.export_status(accepted)
    assert (told["status"], told["wait"]) == (1, 15)
    came = {e["params"]["path"] for e in (await mirror.downloads())[:2]}
    await mirror.faults()
    await mirror.later()
    done = await mirror.ended(accepted)
    assert (done["status"], done["count"]) == ("0", "4")
    paths = [e["params"]["path"] for e in await mirror.downloads()]
    assert all(paths.count(path) == 1 for path in came)
    assert (await mirror.get(f"/api/jobs/{accepted}")).json["waits"] is None


async def test_it_goes_on_at_once_when_jsoc_is_back(mirror):
    await mirror.faults({**FILES, "fault": "refuse"})
    accepted = (await mirror.export(SHARP))["requestid"]
    await waiting(mirror, accepted)
    await mirror.faults()
    mirror.mirror.go_on()
    assert (await mirror.ended(accepted))["status"] == "0"


async def test_what_comes_meanwhile_makes_the_pauses_short_again(mirror):
    await mirror.faults({**FILES, "fault": "refuse"})
    accepted = (await mirror.export(SHARP))["requestid"]
    for tries in (1, 2, 3):
        assert (await waiting(mirror, accepted))["waits"]["tries"] == tries
        await mirror.later()
    await mirror.faults({**FILES, "fault": "refuse", "skip": 1})
    await mirror.later()
    assert (await waiting(mirror, accepted))["waits"]["tries"] == 1


async def test_after_a_day_it_is_given_up_and_said_so(mirror):
    mirror.held_from = 1e9
    rule = {"fault": "status", "status": 7, "message": "one request at a time"}
    await mirror.faults({"match": {"op": "exp_request"}, **rule})
    accepted = (await mirror.export(OFFLINE, o="1"))["requestid"]
    told = await mirror.ended(accepted)
    assert told["status"] == 4
    assert told["error"].startswith("gave up after") and "24 hours" in told["error"]
    assert "one request at a time" in told["error"]
    pauses = [p for p in mirror.pauses if p >= 15]
    assert max(pauses) == LONGEST_PAUSE
    assert sum(pauses) <= PATIENCE
    await mirror.faults()
    assert (await mirror.exported(OFFLINE, o="1"))["requestid"] != accepted


@pytest.mark.parametrize("method", ["troubled", "advance"])
async def test_a_job_whose_row_cannot_be_written_for_a_while_goes_on(mirror, monkeypatch, method):
    jobs = mirror.running.export_jobs._jobs

    async def full(*_, **__):
        raise StorageError("the disk is full")

    if method == "troubled":
        await mirror.faults({**FILES, "fault": "refuse"})
    with monkeypatch.context() as broken:
        broken.setattr(jobs, method, full)
        accepted = (await mirror.export(SHARP))["requestid"]
        await mirror.working()
        assert (await mirror.export_status(accepted))["status"] == 1
    await mirror.faults()
    await mirror.later()
    done = await mirror.ended(accepted)
    assert (done["status"], done["count"]) == ("0", "4")


async def test_a_refusal_that_is_final_does_not_wait(mirror):
    await mirror.faults(
        {"match": {"op": "exp_request"}, "fault": "status", "status": 4, "message": "the tape is lost"}
    )
    told = await mirror.ended((await mirror.export(OFFLINE, o="1"))["requestid"])
    assert (told["status"], "the tape is lost" in told["error"]) == (4, True)


async def test_too_many_pending_requests_at_jsoc_are_waited_for(mirror):
    rule = {
        "match": {"op": "exp_request"},
        "fault": "status",
        "status": 7,
        "message": "one request at a time",
    }
    await mirror.faults({**rule, "times": 2})
    accepted = (await mirror.export(OFFLINE, o="1"))["requestid"]
    for _ in range(2):
        assert "one request at a time" in (await waiting(mirror, accepted))["waits"]["why"]
        await mirror.later()
    assert (await mirror.ended(accepted))["count"] == "2"


async def test_a_restart_goes_on_with_a_job_that_waits(mirror):
    await mirror.faults({**FILES, "fault": "refuse", "skip": 1})
    accepted = (await mirror.export(SHARP))["requestid"]
    await waiting(mirror, accepted)
    came = (await mirror.downloads())[0]["params"]["path"]
    await mirror.faults()
    await mirror.restart()
    done = await mirror.ended(accepted)
    assert (done["status"], done["count"]) == ("0", "4")
    assert [e["params"]["path"] for e in await mirror.downloads()].count(came) == 1


async def test_a_job_that_meets_an_offline_mirror_waits_until_it_may_ask_again(mirror):
    await mirror.faults({**FILES, "fault": "refuse", "skip": 1})
    accepted = (await mirror.export(SHARP))["requestid"]
    await waiting(mirror, accepted)
    await mirror.faults()
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    assert "the mirror is offline" in (await waiting(mirror, accepted))["waits"]["why"]
    await mirror.restart(MIRROR_UPSTREAM__POLICY="fallback")
    assert (await mirror.ended(accepted))["count"] == "4"


async def test_an_outage_while_jsoc_stages_is_lived_through_with_one_request(mirror):
    await mirror.faults({"match": {"op": "exp_status"}, "fault": "refuse"})
    accepted = (await mirror.export(OFFLINE, o="1"))["requestid"]
    await waiting(mirror, accepted)
    await mirror.restart()
    await waiting(mirror, accepted)
    await mirror.faults()
    await mirror.later()
    assert (await mirror.ended(accepted))["count"] == "2"
    assert len(await mirror.log(op="exp_request")) == 1


# ---- values as they print -------------------------------------------------------------------------


async def test_files_made_of_printed_values_say_so(mirror):
    await mirror.exported(SHARP)
    await mirror.faults(VALUES)
    done = await mirror.exported(SHARP, protocol="fits")
    status = await mirror.get(FETCH, {"op": "exp_status", "requestid": done["requestid"]})
    assert status.headers["X-Mirror-Values"] == "printed"
    file = await mirror.get(f"{done['dir']}/{done['data'][0]['filename']}")
    assert (file.code, file.headers["X-Mirror-Values"]) == (200, "printed")
    job = (await mirror.get(f"/api/jobs/{done['requestid']}")).json
    assert "files have keywords with fewer digits" in job["notes"][0]
    assert {f["values"] for f in job["files"]} == {"printed"}
    index = (await mirror.get(f"{done['dir']}/index.txt")).body
    assert b"printed" not in index


async def test_an_identical_request_has_full_values_once_jsoc_is_back(mirror):
    await mirror.exported(SHARP)
    await mirror.faults(VALUES)
    done = await mirror.exported(SHARP, protocol="fits")
    again = await mirror.exported(SHARP, protocol="fits")  # JSOC is still away: as good as it gets
    assert again["requestid"] == done["requestid"]
    await mirror.faults()
    downloads = len(await mirror.downloads())
    better = await mirror.exported(SHARP, protocol="fits")
    assert better["requestid"] == done["requestid"]
    file = await mirror.get(f"{better['dir']}/{better['data'][0]['filename']}")
    assert (file.code, file.headers.get("X-Mirror-Values")) == (200, None)
    assert len(await mirror.downloads()) == downloads
    values = [e for e in await mirror.log(op="rs_list") if e["params"].get("M") == "1"]
    await mirror.exported(SHARP, protocol="fits")
    assert [e for e in await mirror.log(op="rs_list") if e["params"].get("M") == "1"] == values


async def test_files_made_of_exact_values_say_nothing(mirror):
    done = await mirror.exported(SHARP, "url-tar", "fits")
    for path in (f"{done['dir']}/{done['data'][0]['filename']}", done["tarfile"]):
        assert "X-Mirror-Values" not in (await mirror.get(path)).headers
    assert (await mirror.get(f"/api/jobs/{done['requestid']}")).json["notes"] == []
