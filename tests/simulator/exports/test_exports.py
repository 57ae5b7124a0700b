"""Exports from request to download, over the recorded world."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from astropy.io import fits

from mirror.simulator.exports.ledger import Pace
from mirror.simulator.faults import Fault

from .conftest import FETCH

SHARP = "hmi.sharp_720s[3563][2014.01.01_TAI/24m]{magnetogram,bitmap}"
TEXTS = "hmi.v_sht_modes[][][][]{m6}"


async def test_an_export_is_accepted_then_running_then_done(start):
    simulated = await start()
    accepted = await simulated.request(SHARP)
    assert (accepted["status"], accepted["rcount"], accepted["wait"]) == (2, 2, 10)
    running, done = [await simulated.status(accepted["requestid"]) for _ in range(2)]
    assert running["status"] == 1
    assert (done["status"], done["count"], done["protocol"]) == ("0", "4", "fits")
    assert [row["record"] for row in done["data"]][::2] == [
        "hmi.sharp_720s[3563][2014.01.01_00:00:00_TAI]",
        "hmi.sharp_720s[3563][2014.01.01_00:12:00_TAI]",
    ]


async def test_an_export_is_done_by_the_clock_even_if_nobody_asks(start, turned):
    simulated = await start()
    accepted = await simulated.request(SHARP)
    turned.now += 10
    assert (await simulated.status(accepted["requestid"]))["status"] == "0"


async def test_the_files_of_an_export_are_fits_with_the_keywords_of_the_record(start):
    simulated = await start()
    done = await simulated.finished(SHARP, filenamefmt="sharp.{HARPNUM}.{T_REC:A}.{segment}")
    assert done["data"][0]["filename"] == "sharp.3563.20140101_000000_TAI.magnetogram.fits"
    code, headers, data = await simulated.file(f"{done['dir']}/{done['data'][0]['filename']}")
    assert (code, int(headers["Content-Length"])) == (200, len(data))
    with fits.open(io.BytesIO(data), checksum=True) as hdus:
        hdus.verify("exception")
        head = hdus[1].header
        assert (head["HARPNUM"], head["T_REC"]) == (3563, "2014.01.01_00:00:00.000_TAI")
        assert head["DRMS_ID"] == f"hmi.sharp_720s:{head['RECNUM']}:magnetogram"
        assert head["PRIMARYK"] == "HARPNUM, T_REC"


async def test_the_data_of_an_exported_file_are_those_of_the_archived_one(start):
    simulated = await start()
    ds = "hmi.sharp_720s[3563][2014.01.01_TAI]{magnetogram}"
    done, quick = await simulated.finished(ds), await simulated.request(ds, "url_quick", "as-is")
    _, _, exported = await simulated.file(f"{done['dir']}/{done['data'][0]['filename']}")
    _, _, archived = await simulated.file(quick["data"][0]["filename"])
    parts = [data[data.index(b"END" + b" " * 77, 2880) :].lstrip(b"END ") for data in (exported, archived)]
    assert parts[0] == parts[1]


async def test_the_index_files_and_keywords_lie_in_the_directory(start):
    simulated = await start()
    done = await simulated.finished(TEXTS, protocol="as-is")
    text = (await simulated.file(f"{done['dir']}/index.txt"))[2].decode()
    assert text.startswith("# JSOC Export File List\nversion=1\n")
    assert json.loads((await simulated.file(f"{done['dir']}/index.json"))[2]) == done
    html = await simulated.file(f"{done['dir']}/")
    assert (html[0], html[1]["Content-Type"]) == (200, "text/html")
    keywords = (await simulated.file(done["keywords"]))[2].decode().splitlines()
    assert keywords[0].split("\t")[:2] == ["query", "T_START"]
    assert len(keywords) == 2 + len(done["data"])


async def test_the_index_is_answered_as_text_too(start):
    simulated = await start()
    done = await simulated.finished(TEXTS, protocol="as-is")
    params = {"op": "exp_status", "requestid": done["requestid"], "format": "txt"}
    response = await simulated.client.get(FETCH, params=params)
    assert response.headers["Content-Type"].startswith("text/plain")
    assert await response.read() == (await simulated.file(f"{done['dir']}/index.txt"))[2]


async def test_a_tar_file_holds_the_directory_and_the_files_are_only_there(start):
    simulated = await start()
    done = await simulated.finished(SHARP, method="url-tar")
    _, headers, data = await simulated.file(done["tarfile"])
    assert int(headers["Content-Length"]) == len(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [name.removeprefix("./") for name in archive.getnames()] == [
            *("index.txt", "index.json", "index.html"),
            *(row["filename"] for row in done["data"]),
        ]
        member = archive.extractfile(f"./{done['data'][0]['filename']}").read()
    assert fits.open(io.BytesIO(member))[1].header["HARPNUM"] == 3563
    assert (await simulated.file(f"{done['dir']}/{done['data'][0]['filename']}"))[0] == 404


async def test_any_range_of_a_tar_file_is_that_part_of_it(start):
    simulated = await start()
    done = await simulated.finished(SHARP, method="url-tar")
    _, _, whole = await simulated.file(done["tarfile"])
    for first, last in ((0, 0), (500, 2600), (len(whole) - 3, len(whole) - 1)):
        code, _, part = await simulated.file(done["tarfile"], Range=f"bytes={first}-{last}")
        assert (code, part) == (206, whole[first : last + 1])


async def test_the_identical_request_gets_the_same_id_for_a_day(start, turned):
    simulated = await start()
    first = await simulated.request(SHARP)
    same = await simulated.request(SHARP.replace("24m", "30m"))
    other = await simulated.request(SHARP, protocol="as-is")
    assert same["requestid"] == first["requestid"] != other["requestid"]
    turned.now += 25 * 3600
    assert (await simulated.request(SHARP))["requestid"] != first["requestid"]


async def test_results_are_deleted_after_a_week(start, turned):
    simulated = await start()
    accepted = await simulated.request(SHARP)
    turned.now += 8 * 86400
    told = await simulated.status(accepted["requestid"])
    assert (told["status"], told["requestid"]) == (5, accepted["requestid"])


async def test_too_many_pending_requests_are_status_7(start):
    simulated = await start(pace=Pace(None, None))
    for hour in range(10):
        assert (await simulated.request(f"hmi.sharp_720s[3563][2014.01.01_0{hour}:00_TAI]"))["status"] == 2
    assert (await simulated.request("hmi.sharp_720s[3563][2014.01.01_10:12_TAI]"))["status"] == 7
    assert (await simulated.request("hmi.sharp_720s[3563][2014.01.01_10:12_TAI]", notify="b@c.de"))[
        "status"
    ] == 2


async def test_a_request_beyond_the_size_limit_is_status_3_and_void(start):
    simulated = await start()
    told = await simulated.request(SHARP, sizeratio="1000000")
    assert (told["status"], told["requestid"], told["count"]) == (3, "VOID", 2)


@pytest.mark.parametrize(
    "more",
    [
        {"notify": ""},
        {"notify": "notregistered@example.com"},
        {"method": "carrier-pigeon"},
        {"protocol": "papyrus"},
        {"process=n": "0|transmogrify,a=1"},
        {"ds": "hmi.nosuch[1]"},
        {"ds": "hmi.v_45s[2014"},
        {"ds": ""},
    ],
    ids=str,
)
async def test_a_bad_request_is_status_4_with_a_message(start, more):
    told = await (await start()).request(**{"ds": SHARP, **more})
    assert told["status"] == 4
    assert told["error"]


async def test_a_filename_format_that_cannot_be_filled_ends_the_export_with_status_4(start):
    simulated = await start()
    accepted = await simulated.request(SHARP, filenamefmt="{NOSUCH}")
    told = [await simulated.status(accepted["requestid"]) for _ in range(2)][-1]
    assert (told["status"], "NOSUCH" in told["error"]) == (4, True)


async def test_an_export_without_records_is_done_and_empty(start):
    simulated = await start()
    done = await simulated.finished("hmi.v_45s[2030.01.01_TAI]")
    assert (done["count"], done["data"][0]["filename"]) == ("0", "")


async def test_rebin_makes_images_of_the_series_with_mod_behind_its_name(start):
    simulated = await start()
    ds = "hmi.sharp_720s[3563][2014.01.01_TAI]{magnetogram}"
    done = await simulated.finished(ds, **{"process=n": "0|rebin,method=boxcar,scale=0.25"})
    (row,) = done["data"]
    assert row["record"] == "hmi.sharp_720s_mod[3563][2014.01.01_00:00:00_TAI]"
    before, after = [
        fits.open(io.BytesIO((await simulated.file(f"{job['dir']}/{job['data'][0]['filename']}"))[2]))[1]
        for job in (await simulated.finished(ds), done)
    ]
    assert after.shape == tuple(size // 4 for size in before.shape)
    assert after.header["CDELT1"] == pytest.approx(4 * before.header["CDELT1"])


async def test_requests_are_in_the_log_with_their_status(start):
    simulated = await start()
    accepted = await simulated.request(SHARP)
    await simulated.status(accepted["requestid"])
    await simulated.status("bogus")
    entries = await simulated.log("jsoc_fetch")
    assert [(entry["params"]["op"], entry["status"]) for entry in entries] == [
        ("exp_request", 2),
        ("exp_status", 1),
        ("exp_status", 4),
    ]
    assert entries[0]["records"] == 2


# ---- units that are offline ----------------------------------------------------------------------------


async def offline_record(simulated):
    told = await simulated.rs_list("hmi.M_720s[2014.01.01_TAI/2d]", key="T_REC,CAMERA", seg="magnetogram")
    at = told["segments"][0]["values"].index("NoDataDirectory")
    cells = [column["values"][at] for column in told["keywords"]]
    return f"hmi.M_720s[{cells[0]}][{cells[1]}]" + "{magnetogram}"


async def test_what_is_offline_is_refused_unless_staging_is_allowed(start):
    simulated = await start()
    record = await offline_record(simulated)
    for method in ("url_quick", "url"):
        assert (await simulated.request(record, method, "as-is"))["status"] == 25
    assert (await simulated.request(record, "url_quick", "as-is", o="1"))["status"] == 2


async def test_an_export_brings_units_online_for_everybody(start):
    simulated = await start()
    record = await offline_record(simulated)
    done = await simulated.finished(record, protocol="as-is", o="1")
    assert done["count"] == "1"
    told = await simulated.rs_list(record, key="*online*,*recdir*", seg="magnetogram")
    (path,) = told["segments"][0]["values"]
    assert [column["values"][0] for column in told["keywords"]] == ["Y", path.rpartition("/")[0]]
    assert (await simulated.client.head(path)).status == 200
    assert (await simulated.request(record, "url_quick", "as-is"))["data"][0]["filename"] == path


# ---- what goes wrong on command -------------------------------------------------------------------------


async def test_staging_never_ends_if_a_fault_says_so(start, turned):
    simulated = await start(Fault("staging", seconds=float("inf"), op="exp_request"))
    accepted = await simulated.request(SHARP)
    turned.now += 3 * 86400
    assert {(await simulated.status(accepted["requestid"]))["status"] for _ in range(20)} == {1}


@pytest.mark.parametrize("status", [3, 4, 5, 7])
async def test_an_export_ends_with_the_status_of_a_fault(start, status):
    fault = Fault("staging", polls=0, seconds=float("inf"), status=status, message="no luck", ds="sharp")
    simulated = await start(fault)
    accepted = await simulated.request(SHARP)
    told = await simulated.status(accepted["requestid"])
    assert (told["status"], told["error"], told["requestid"]) == (status, "no luck", accepted["requestid"])


async def test_a_request_is_answered_with_any_status_on_command(start):
    simulated = await start(
        Fault("status", program="jsoc_fetch", op="exp_status", status=6, message="not yet")
    )
    accepted = await simulated.request(SHARP)
    assert await simulated.status(accepted["requestid"]) == {"status": 6, "error": "not yet"}


async def test_faults_of_staging_come_over_http(start):
    simulated = await start()
    rules = [{"match": {"op": "exp_request"}, "fault": "staging", "polls": 3}]
    await simulated.client.post("/_simulator/faults", json=rules)
    accepted = await simulated.request(SHARP)
    assert [str((await simulated.status(accepted["requestid"]))["status"]) for _ in range(4)] == [
        "1",
        "1",
        "1",
        "0",
    ]


# ---- storage units ----------------------------------------------------------------------------------------


async def test_exp_su_tells_of_units(start):
    simulated = await start()
    told = await simulated.json(
        FETCH, op="exp_su", sunum="440000100,99", method="url_quick", requestid="NOASYNCREQUEST"
    )
    assert [(unit["sunum"], unit["sustatus"], unit["path"]) for unit in told["data"]] == [
        ("440000100", "Y", "/SUM0/D440000100"),
        ("99", "I", "NA"),
    ]


async def test_exp_repeat_is_disabled_as_at_jsoc(start):
    told = await (await start()).json(FETCH, op="exp_repeat", requestid="JSOC_20140101_001")
    assert (told["status"], told["error"]) == (4, "Re-Export requests temporarily disabled.")
