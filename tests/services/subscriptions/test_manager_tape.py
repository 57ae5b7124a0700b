"""Subscriptions to files that JSOC has on tape only: brought back by an export request, if there is an address."""

from dataclasses import replace

import pytest

from mirror.config.loading import Subscription
from mirror.config.schedule import parse_moment
from tests.filelab import ADDRESS, file_lab

#: Seven records, of which that of 01:24 is on tape.
MAGNETOGRAMS = Subscription(
    "hmi.M_720s",
    parse_moment("2014.01.01_01:12:00_TAI"),
    parse_moment("2014.01.01_01:36:00_TAI"),
    name="magnetograms",
    segments=("magnetogram",),
)
ON_TAPE = 4007


async def one_pass(lab, wish):
    await lab.running.sync.reconcile([wish])
    await lab.running.sync.once()
    await lab.running.sync.finished()
    [report] = await lab.running.sync.report()
    return report


async def requests(lab):
    return [e["params"] for e in await lab.log(op="exp_request")]


async def test_a_file_on_tape_is_brought_back_by_one_request_with_the_mirrors_address(tmp_path):
    async with file_lab(tmp_path, MIRROR_UPSTREAM__EMAIL=ADDRESS) as lab:
        report = await one_pass(lab, MAGNETOGRAMS)
        assert (report.state, report.files_absent) == ("current", 0)
        assert report.files == report.files_wanted == report.records > 1
        (request,) = await requests(lab)
        assert request["notify"] == ADDRESS
        assert f"#{ON_TAPE}" in request["ds"]
        asked = len(await lab.log())
        assert (await one_pass(lab, replace(MAGNETOGRAMS))).files == report.files
        assert len(await lab.log()) == asked


async def test_it_is_pinned_and_served_like_the_others(tmp_path):
    async with file_lab(tmp_path, MIRROR_UPSTREAM__EMAIL=ADDRESS) as lab:
        await one_pass(lab, MAGNETOGRAMS)
        listed = (await lab.get("/api/files", {"ds": f"hmi.M_720s[:#{ON_TAPE}]"})).json
        assert [file["state"] for file in listed] == ["held"]
        assert len((await lab.get(listed[0]["path"])).body) == listed[0]["size"]
        pins = (await lab.get("/api/pins")).json
        assert [p["owner"] for p in pins] == ["subscription:magnetograms"]


async def test_without_an_address_it_is_left_alone_and_the_others_come(tmp_path):
    async with file_lab(tmp_path) as lab:
        report = await one_pass(lab, MAGNETOGRAMS)
        assert report.files_absent == 1
        assert report.files == report.records - 1
        assert await requests(lab) == []


@pytest.mark.parametrize("status", [4, 7])
async def test_a_refusal_spares_the_file_and_not_the_others(tmp_path, status):
    async with file_lab(tmp_path, MIRROR_UPSTREAM__EMAIL=ADDRESS) as lab:
        refusal = {"fault": "status", "status": status, "message": "not now"}
        await lab.faults({"match": {"op": "exp_request"}, **refusal})
        report = await one_pass(lab, MAGNETOGRAMS)
        assert report.files == report.records - 1
        await lab.faults()
        lab.clock.forward(days=2)
        report = await one_pass(lab, MAGNETOGRAMS)
        assert report.files == report.records
