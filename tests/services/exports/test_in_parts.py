"""Exports that JSOC calls too large, and many files from tape: in parts, as tar files, put together in order."""

from __future__ import annotations

import io

import pytest
import pytest_asyncio

from tests.filelab import ADDRESS, FETCH, file_lab

#: 32 small files of each record; all are offline.
PATCHES = "hmi.sharp_720s[:#148,#245,#439]"
SEGMENTS = "{magnetogram,bitmap,Dopplergram,continuum}"
PROCESSED = "hmi.sharp_720s[3563][2014.01.01_TAI/84m]{magnetogram}"
REBIN = {"process=n": "0|rebin,method=boxcar,scale=0.5"}
TOO_LARGE = {"fault": "status", "status": 3, "message": "Request exceeds max byte limit of 10000MB"}


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


def more_than(records):
    """A rule: requests for more records than this are too large, those for a span of time always."""
    several = ",".join(["#\\d+"] * (records + 1))
    return {"match": {"op": "exp_request", "ds": f"{several}|_TAI/"}, **TOO_LARGE}


async def asked(mirror):
    """The requests that upstream has accepted."""
    return [e["params"] for e in await mirror.log(op="exp_request") if e["status"] == 2]


def lacking(done):
    """The segments of which there is no file: one is a link that leads nowhere."""
    return [row["record"].partition("{")[2][:-1] for row in done["data"] if row["filename"] == "NoDataFile"]


async def notes(mirror, request_id):
    return (await mirror.get(f"/api/jobs/{request_id}")).json["notes"]


# ---- requests that only JSOC can work on ------------------------------------------------------------


async def test_a_request_that_is_too_large_is_made_in_parts_and_put_together_in_order(mirror):
    whole = await mirror.exported(PROCESSED, protocol="fits", **REBIN)
    await mirror.faults(more_than(2))
    parts = await mirror.exported(PROCESSED, protocol="fits", filenamefmt="x.{recnum:%d}.{segment}", **REBIN)
    assert [row["record"] for row in parts["data"]] == [row["record"] for row in whole["data"]]
    assert len(parts["data"]) == 7
    for one, other in zip(parts["data"], whole["data"], strict=True):
        got = [
            (await mirror.get(f"{x['dir']}/{row['filename']}")).body
            for x, row in ((parts, one), (whole, other))
        ]
        assert len(got[0]) == len(got[1]) > 2880
    requests = (await asked(mirror))[1:]
    assert [r["ds"].count("#") for r in requests] == [1] * 7
    assert {r["process=n"] for r in requests} == {"0|rebin,method=boxcar,scale=0.5"}
    assert await notes(mirror, parts["requestid"]) == ["requested from JSOC in 7 parts, 7 done"]
    again = await mirror.exported(PROCESSED, protocol="fits", filenamefmt="x.{recnum:%d}.{segment}", **REBIN)
    assert again == parts


async def test_parts_are_asked_for_one_after_the_other(mirror):
    await mirror.faults(more_than(3), {"match": {"op": "exp_request"}, "fault": "staging", "polls": 2})
    await mirror.exported(PROCESSED, protocol="fits", **REBIN)
    order = [(e["params"]["op"], e["status"]) for e in await mirror.log(program="jsoc_fetch")]
    pending = 0
    for op, status in order:
        pending += (op, status) == ("exp_request", 2)
        pending -= (op, status) == ("exp_status", 0)
        assert pending <= 1, order
    assert pending == 0


async def test_a_restart_goes_on_with_the_first_part_that_is_not_done(mirror):
    await mirror.faults(more_than(3), {"match": {"op": "exp_request"}, "fault": "refuse", "skip": 2})
    accepted = (await mirror.export(PROCESSED, protocol="fits", **REBIN))["requestid"]
    await mirror.working()
    before = [r["ds"] for r in await asked(mirror)]
    assert before
    await mirror.faults(more_than(3))
    await mirror.restart()
    done = await mirror.ended(accepted)
    assert (done["status"], done["count"]) == ("0", "7")
    after = [r["ds"] for r in await asked(mirror)]
    assert len(after) == len(set(after)) == 3
    assert after[: len(before)] == before


async def test_one_record_that_is_too_large_is_told(mirror):
    await mirror.faults({"match": {"op": "exp_request"}, **TOO_LARGE})
    accepted = await mirror.export(PROCESSED, protocol="fits", **REBIN)
    told = await mirror.ended(accepted["requestid"])
    assert "max byte limit of 10000MB" in told["error"]


async def test_a_film_cannot_be_made_in_parts_and_the_answer_says_so(mirror):
    await mirror.faults(more_than(2))
    for more in ({"protocol": "mp4"}, {"protocol": "jpg", "filenamefmt": "{#:%03d}"}):
        told = await mirror.export(PROCESSED, **more)
        assert (told["status"], told["requestid"]) == (3, "VOID")
        assert "10000MB" in told["error"]
        assert "cannot be split" in told["error"]


async def test_more_records_than_one_export_may_have_are_status_3(mirror):
    params = {
        "op": "exp_request",
        "ds": "hmi.v_45s[2012.01.01_TAI/3650d]",
        "notify": ADDRESS,
        "method": "url",
    }
    await mirror.faults({"match": {"op": "rs_summary"}, "fault": "wrong_count", "delta": 7_000_000})
    told = (await mirror.get(FETCH, params)).json
    assert (told["status"], told["requestid"]) == (3, "VOID")
    assert "100,000" in told["error"] and "split" in told["error"]


# ---- pictures ---------------------------------------------------------------------------------------


async def test_pictures_and_films_come_from_jsoc_once_and_are_served_again(mirror):
    from PIL import Image

    shapes = {}
    for protocol, size in (("jpg", "2"), ("png", "1")):
        done = await mirror.exported(PROCESSED, protocol=f"{protocol},CT=grey.sao,SCALING=MINMAX,size={size}")
        assert len(done["data"]) == 7
        data = (await mirror.get(f"{done['dir']}/{done['data'][0]['filename']}")).body
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            shapes[protocol] = image.format, image.size
        assert b"hmi.sharp_720s[3563]" in (await mirror.get(done["keywords"])).body
    assert shapes == {"jpg": ("JPEG", (307, 152)), "png": ("PNG", (613, 303))}
    film = await mirror.exported(PROCESSED, protocol="mp4")
    await mirror.faults({"fault": "outage"})
    again = await mirror.exported(PROCESSED, protocol="mp4")
    assert again == film
    data = (await mirror.get(f"{film['dir']}/{film['data'][0]['filename']}")).body
    assert data[4:12] == b"ftypisom"


# ---- files from tape --------------------------------------------------------------------------------


async def test_many_files_from_tape_come_as_one_tar_file_that_is_let_go(mirror):
    done = await mirror.exported(PATCHES, o="1")
    assert (done["count"], lacking(done)) == ("95", ["fulldisk"])
    assert [r["method"] for r in await asked(mirror)] == ["url-tar"]
    paths = [e["params"]["path"] for e in await mirror.downloads()]
    assert len(paths) == 1 and paths[0].endswith(".tar")
    sample = done["data"][33]
    file = await mirror.get(f"{done['dir']}/{sample['filename']}")
    assert file.body.startswith(b"SIMPLE")
    assert mirror.blob_files()
    assert not any(f.read_bytes()[257:262] == b"ustar" for f in mirror.blob_files().values())
    again = await mirror.exported(PATCHES, o="1", filenamefmt="{recnum:%d}.{segment}")
    assert again["count"] == "95"
    assert len(await mirror.downloads()) == 1


async def test_a_tar_file_that_breaks_off_is_gone_on_with(mirror):
    await mirror.faults(
        {"match": {"program": "file", "path": "tar$"}, "fault": "cut", "at": 300_000, "times": 3}
    )
    done = await mirror.exported(PATCHES, o="1")
    assert done["count"] == "95"
    ranges = [e["params"]["range"] for e in await mirror.downloads()]
    starts = [int(r.removeprefix("bytes=").removesuffix("-") or 0) for r in ranges]
    assert starts == sorted(starts)
    assert starts[0] == 0 < starts[-1]
    assert len(starts) == 4


@pytest.mark.parametrize("fault", ["gateway", "gone"])
async def test_where_the_tar_file_is_not_right_files_come_one_by_one(mirror, fault):
    await mirror.faults({"match": {"program": "file", "path": "tar$"}, "fault": fault})
    done = await mirror.exported("hmi.sharp_720s[:#148]", o="1")
    assert (done["count"], lacking(done)) == ("31", ["fulldisk"])
    assert [r["method"] for r in await asked(mirror)] == ["url-tar", "url"]


async def test_staging_that_is_too_large_is_asked_for_in_halves(mirror):
    await mirror.faults(more_than(1))
    done = await mirror.exported(PATCHES + SEGMENTS, o="1")
    assert done["count"] == "12"
    assert [r["ds"].count("#") for r in await asked(mirror)] == [1, 1, 1]


async def test_two_exports_of_the_same_files_have_them_brought_back_once(mirror):
    first = await mirror.export(PATCHES + SEGMENTS, o="1")
    second = await mirror.export(PATCHES + SEGMENTS, o="1", protocol="fits")
    assert (await mirror.ended(first["requestid"]))["count"] == "12"
    assert (await mirror.ended(second["requestid"]))["status"] == "0"
    assert len({r["ds"] for r in await asked(mirror)}) == 1
    paths = [e["params"]["path"] for e in await mirror.downloads()]
    assert len(paths) == len(set(paths)) == 12


# ---- storage units ----------------------------------------------------------------------------------


async def test_a_unit_whose_file_is_held_is_answered_without_jsoc(mirror):
    quick = await mirror.export("hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}", "url_quick")
    path = quick["data"][0]["filename"]
    sunum = path.split("/")[2].removeprefix("D")
    units = {"op": "exp_su", "sunum": sunum, "method": "url_quick", "protocol": "as-is"}
    before = (await mirror.get(FETCH, units)).json
    await mirror.get(path)
    await mirror.settled()
    await mirror.faults({"fault": "outage"})
    told = (await mirror.get(FETCH, units)).json
    assert told["status"] == 0
    assert told["data"][0]["sunum"] == sunum
    assert (told["data"][0]["sustatus"], told["data"][0]["series"]) == ("Y", "hmi.sharp_720s")
    assert told["data"][0]["path"] == before["data"][0]["path"]
    assert list(told) == list(before)
    other = (await mirror.get(FETCH, {**units, "sunum": "400000005"})).json
    assert other["status"] == 4


async def test_files_that_are_got_by_the_paths_of_a_quick_export_are_in_the_readable_tree(mirror):
    quick = await mirror.export("hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}", "url_quick")
    await mirror.get(quick["data"][0]["filename"])
    await mirror.settled()
    assert [p.name for p in mirror.path.glob("by-record/hmi.sharp_720s/20140101/*")]
