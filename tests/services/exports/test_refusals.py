"""What JSOC's export system refuses, and what becomes of it: wait and try again, ask for less, or tell.

The texts are those that people met at JSOC.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from mirror.drms.export import ExportRequest
from mirror.drms.exportrules import failure, record_sets
from mirror.errors import UpstreamRefused
from mirror.services.exports.cutting import (
    LONGEST_DS,
    is_too_large,
    most_numbers,
    part_request,
    passes,
    pieces_of,
)
from tests.filelab import FETCH, file_lab

HASH = "Cant save new export-request hash."
TOO_LONG = "Record-set specification is too long."
PENDING = "User ADDRESS has 1 pending export requests (JSOC_20210524_001); please wait until at least one request has completed."
JPG = {"protocol": "jpg,CT=grey.sao,scaling=MINMAX,size=1"}
SPAN = "hmi.sharp_720s[3563][2014.01.01_TAI/24m]{magnetogram}"
TWO = "hmi.sharp_720s[3563][2014.01.01_TAI]{magnetogram},hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram}"


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


def refusing(status, message, **more):
    return {"match": {"op": "exp_request"}, "fault": "status", "status": status, "message": message, **more}


async def requests(mirror):
    """The record sets that JSOC was asked to export, in order."""
    return [entry["params"]["ds"] for entry in await mirror.log(op="exp_request")]


@pytest.mark.parametrize("rule", [
    refusing(4, HASH, times=2), refusing(7, PENDING, times=2), {"match": {"op": "exp_request"}, "fault": "http500", "times": 8},
], ids=["hash", "pending", "overrun"])  # fmt: skip
async def test_what_is_over_after_some_time_is_accepted_and_tried_again(mirror, rule):
    await mirror.faults(rule)
    accepted = await mirror.export(SPAN, **JPG)
    assert accepted["status"] == 2, accepted
    for _ in range(4):
        await mirror.working()
        if (await mirror.get(f"/api/jobs/{accepted['requestid']}")).json["waits"] is None:
            break
        told = await mirror.export_status(accepted["requestid"])
        assert (told["status"], told["wait"] > 0) == (1, True)
        await mirror.later()
    assert (await mirror.ended(accepted["requestid"]))["status"] == "0"


async def test_a_record_set_that_is_too_long_is_asked_for_by_its_records_in_halves(mirror):
    await mirror.faults(refusing(4, TOO_LONG, times=1))
    told = await mirror.ended((await mirror.export(SPAN, **JPG))["requestid"])
    assert (told["status"], told["count"]) == ("0", "2")
    first, *rest = await requests(mirror)
    assert first == SPAN
    assert [":#" in ds for ds in rest] == [True, True]


async def test_what_jsoc_would_accept_and_fail_on_is_asked_for_by_its_records_at_once(mirror):
    told = await mirror.ended((await mirror.export(TWO, **JPG))["requestid"])
    assert (told["status"], told["count"]) == ("0", "2")
    long = f"hmi.sharp_720s[3563][2014.01.01_TAI{',2014.01.01_00:12_TAI' * 100}]{{magnetogram}}"
    assert len(long) > LONGEST_DS
    posted = {"op": "exp_request", "ds": long, "method": "url", "notify": "a@example.com", **JPG}
    answer = (await mirror.request("POST", FETCH, data=posted)).json
    assert (await mirror.ended(answer["requestid"]))["count"] == "2"
    asked = await requests(mirror)
    assert len(asked) == 2
    assert all("," in ds and ds.startswith("hmi.sharp_720s[:#") and len(ds) < 100 for ds in asked)


async def test_a_final_refusal_is_told_as_jsocs(mirror):
    await mirror.faults(refusing(4, "the series is closed"))
    told = await mirror.export(SPAN, **JPG)
    assert (told["status"], told["error"]) == (4, "JSOC refused: the series is closed")


async def test_a_search_that_is_too_large_for_jsocs_database_is_asked_in_halves(mirror):
    rule = {"match": {"op": "rs_list", "ds": r"24m"}, "fault": "status", "status": 1, "message": "query failed: out of memory for query result"}
    await mirror.faults({**rule, "match": {"op": "rs_list"}, "times": 1})
    answer = await mirror.ask("hmi.sharp_720s[3563][2014.01.01_TAI/24m]", "T_REC")
    assert (answer.json["status"], answer.json["count"]) == (0, 2)


# ---- pure ----------------------------------------------------------------------------------------------


def test_texts_of_jsoc_are_told_apart():
    assert all(map(passes, [UpstreamRefused(4, HASH), UpstreamRefused(4, PENDING), UpstreamRefused(7, "any")]))
    assert not passes(UpstreamRefused(4, TOO_LONG))
    assert is_too_large(UpstreamRefused(4, TOO_LONG))
    assert not is_too_large(UpstreamRefused(4, HASH))
    assert failure(UpstreamRefused(4, "JSOC refused: no")).error == "JSOC refused: no"  # of a mirror on the way


def test_no_request_for_a_part_is_longer_than_jsoc_works_on():
    whole = ExportRequest("hmi.M_720s[2020.10.17/30d][? quality < 5 ?]{magnetogram}")
    query = record_sets(whole)
    recnums = list(range(2_147_000_000, 2_147_001_000))
    pieces = pieces_of(query, [recnums])
    assert [n for piece in pieces for n in piece] == recnums
    lengths = [len(part_request(whole, query, piece).ds) for piece in pieces]
    assert max(lengths) <= LONGEST_DS < max(lengths) + 20
    assert most_numbers([1], "x" * 5000) == 1
