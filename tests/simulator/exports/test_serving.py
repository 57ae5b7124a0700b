"""Downloads: parts of files, and every way in which they go wrong."""

from __future__ import annotations

import aiohttp
import pytest

from mirror.simulator.exports.recorded import RecordedExports
from mirror.simulator.faults import Fault

PATH = "/SUM0/D440000100/S00000/bitmap.fits"


async def test_a_file_of_the_archive_is_served_whole(start):
    simulated = await start()
    code, headers, data = await simulated.file(PATH)
    assert (code, int(headers["Content-Length"]), data[:9]) == (200, len(data), b"SIMPLE  =")
    assert headers["Accept-Ranges"] == "bytes"


async def test_head_tells_the_size_and_sends_nothing(start):
    simulated = await start()
    _, _, data = await simulated.file(PATH)
    response = await simulated.client.head(PATH)
    assert (response.status, int(response.headers["Content-Length"])) == (200, len(data))
    assert await response.read() == b""


@pytest.mark.parametrize(
    "asked, part",
    [
        ("bytes=0-", slice(0, None)),
        ("bytes=100-199", slice(100, 200)),
        ("bytes=2880-999999999", slice(2880, None)),
        ("bytes=-80", slice(-80, None)),
    ],
)
async def test_a_range_is_that_part_of_the_file(start, asked, part):
    simulated = await start()
    _, _, whole = await simulated.file(PATH)
    code, headers, data = await simulated.file(PATH, Range=asked)
    assert (code, data) == (206, whole[part])
    first, last = range(len(whole))[part][0], range(len(whole))[part][-1]
    assert headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


async def test_a_range_beyond_the_end_is_416(start):
    code, headers, _ = await (await start()).file(PATH, Range="bytes=99999999-")
    assert code == 416
    assert headers["Content-Range"].startswith("bytes */")


async def test_a_range_that_is_none_is_passed_over(start):
    assert (await (await start()).file(PATH, Range="lines=1-2"))[0] == 200


async def test_a_tag_says_whether_a_file_is_still_the_same(start):
    simulated = await start()
    _, headers, data = await simulated.file(PATH)
    tag = headers["ETag"]
    assert (await simulated.file(PATH, **{"If-None-Match": tag}))[0] == 304
    assert (await simulated.file(PATH, **{"If-Range": tag, "Range": "bytes=0-9"}))[2] == data[:10]
    assert (await simulated.file(PATH, **{"If-Range": '"old"', "Range": "bytes=0-9"}))[2] == data


@pytest.mark.parametrize(
    "path",
    [
        "/SUM0/D440000100/S00000/nosuch.fits",
        "/SUM1/D440000100/S00000/bitmap.fits",  # another disk
        "/SUM0/D440000100/S00001/bitmap.fits",
        "/SUM0/D1/S00000/bitmap.fits",
        "/SUM0/D999999999999999999999/S00000/bitmap.fits",
        "/SUM0/D440000100/S00000/%2e%2e/%2e%2e/etc/passwd",
        "/SUM0/",
    ],
)
async def test_what_is_not_there_is_404(start, path):
    simulated = await start()
    assert (await simulated.file(path))[0] == 404


async def test_a_world_brings_files_along(start, tmp_path):
    (tmp_path / "D440000100" / "S00000").mkdir(parents=True)
    (tmp_path / "D440000100" / "S00000" / "bitmap.fits").write_bytes(b"as it was recorded")
    simulated = await start(recorded=RecordedExports(files=tmp_path))
    assert (await simulated.file(PATH))[2] == b"as it was recorded"


async def test_downloads_are_in_the_log_with_their_bytes(start):
    simulated = await start()
    _, _, data = await simulated.file(PATH)
    await simulated.file(PATH, Range="bytes=10-19")
    await simulated.client.head(PATH)
    await simulated.file("/SUM1/nothing")
    entries = await simulated.log("file")
    assert [(entry["status"], entry["bytes"]) for entry in entries] == [
        (200, len(data)),
        (206, 10),
        (200, 0),
        (404, 0),
    ]
    assert entries[1]["params"] == {"path": PATH, "method": "GET", "range": "bytes=10-19"}


async def read_into(response, got):
    async for chunk in response.content.iter_any():
        got += chunk


# ---- faults -------------------------------------------------------------------------------------------


async def test_a_download_is_cut_after_as_many_bytes_as_wanted(start):
    simulated = await start(Fault("cut", program="file", at=3000, times=1))
    response, got = await simulated.client.get(PATH), bytearray()
    with pytest.raises(aiohttp.ClientPayloadError):
        await read_into(response, got)
    assert len(got) == 3000
    _, _, rest = await simulated.file(PATH, Range="bytes=3000-")
    assert bytes(got) + rest == (await simulated.file(PATH))[2]


@pytest.mark.parametrize("kind", ["truncate", "refuse", "timeout"])
async def test_other_cuts_are_errors_of_the_connection(start, kind):
    simulated = await start(Fault(kind, path="bitmap", times=1))
    with pytest.raises(aiohttp.ClientError):
        await simulated.file(PATH)
    assert (await simulated.file(PATH))[0] == 200


async def test_a_length_that_is_too_large_ends_in_a_cut(start):
    simulated = await start(Fault("wrong_length", delta=100))
    with pytest.raises(aiohttp.ClientPayloadError):
        await simulated.file(PATH)


async def test_a_length_that_is_too_small_hides_the_rest(start):
    simulated = await start(Fault("wrong_length", delta=-2880, times=1))
    _, headers, short = await simulated.file(PATH)
    _, _, whole = await simulated.file(PATH)
    assert len(short) == int(headers["Content-Length"]) == len(whole) - 2880
    assert whole.startswith(short)


async def test_a_gateway_sends_its_page_instead(start):
    code, headers, data = await (await start(Fault("gateway"))).file(PATH)
    assert (code, headers["Content-Type"]) == (200, "text/html")
    assert b"<html>" in data


async def test_slow_bytes_take_their_time_and_arrive_whole(start, turned):
    simulated = await start(Fault("slow", seconds=4.0, times=1))
    _, _, slow = await simulated.file(PATH)
    assert slow == (await simulated.file(PATH))[2]
    assert sum(turned.waits) == pytest.approx(4.0, abs=0.3)


async def test_an_outage_hits_downloads_too(start):
    simulated = await start(Fault("outage", seconds=float("inf"), op="rs_list", times=1))
    for call in (simulated.rs_list("hmi.m_45s[$]", key="T_REC"), simulated.file(PATH)):
        with pytest.raises(aiohttp.ClientError):
            await call


async def test_faults_of_answers_leave_downloads_alone(start):
    simulated = await start(Fault("broken_json"))
    assert (await simulated.file(PATH))[2].startswith(b"SIMPLE")
