"""Plain files and directories, and the other ways to them and to the programs, as Apache takes them."""

from __future__ import annotations

import io

import pytest
from astropy.io import fits
from yarl import URL

from mirror.drms.times import parse_time
from mirror.simulator.published import published

HARPS = "/doc/data/hmi/harpnum_to_noaa/all_harps_with_noaa_ars.txt"
UNIT = "/SUM41/D400000001"
NOW = parse_time("2026.11.22_00:00:00_TAI")


def test_the_list_of_harps_has_a_header_and_those_of_the_series_that_have_begun():
    lines = published(HARPS, NOW).decode().splitlines()
    assert lines[0] == "HARPNUM NOAA_ARS"
    assert "377 11158" in lines
    assert "4678 12187,12191" in lines
    assert "3563 11943,11944" in lines
    assert not any(line.startswith("2 ") for line in lines)  # too short-lived for a region
    early = published(HARPS, parse_time("2013.01.01_TAI")).decode().splitlines()
    assert early == lines[: len(early)]
    assert "377 11158" in early
    assert "3563 11943,11944" not in early


def test_a_synoptic_map_is_the_same_at_every_start_and_another_for_another_rotation():
    one, other = (f"/data/hmi/synoptic/hmi.Synoptic_Mr_small.{n}.fits" for n in (2100, 2101))
    first = published(one, NOW)
    assert published(other, NOW) != first == published(one, NOW)
    assert first.startswith(b"SIMPLE  =")
    assert published("/data/hmi/synoptic/hmi.Synoptic_Mr_small.9999.fits", NOW) is None


def test_a_synoptic_map_of_full_size_is_what_sunpy_reads_as_one():
    data = published("/data/hmi/synoptic/hmi.Synoptic_Mr.2191.fits", NOW)
    with fits.open(io.BytesIO(data)) as hdus:
        header, shape = hdus[0].header, hdus[0].data.shape
    assert shape == (1440, 3600)
    assert (header["TELESCOP"], header["CAR_ROT"]) == ("SDO/HMI", 2191)
    assert "Carrington Synoptic Chart Of" in header["CONTENT"]
    assert header["T_OBS"].startswith("2017.06.09_")


def at(client, path):
    """An address as it stands: the test client takes two slashes for a host."""
    return URL(f"{str(client.make_url('/')).rstrip('/')}{path}", encoded=True)


async def test_a_file_is_revalidated_by_tag_and_by_date(client):
    first = await client.get(HARPS)
    assert first.status == 200
    for headers in (
        {"If-None-Match": f'"other", {first.headers["ETag"]}'},
        {"If-Modified-Since": first.headers["Last-Modified"]},
    ):
        assert (await client.get(HARPS, headers=headers)).status == 304
    changed = await client.get(HARPS, headers={"If-Modified-Since": "Tue, 01 Jan 2019 00:00:00 GMT"})
    assert changed.status == 200
    part = await client.get(HARPS, headers={"Range": "bytes=0-6"})
    assert (part.status, await part.text()) == (206, "HARPNUM")


@pytest.mark.parametrize(
    "path, name",
    [
        (f"{UNIT}/S00000/", "Dopplergram.fits"),
        (f"/{UNIT}/", "S00000/"),
        ("/data/hmi/", "synoptic/"),
        ("//doc//data/", "hmi/"),
    ],
)
async def test_a_directory_is_listed(client, path, name):
    page = await client.session.get(at(client, path))
    assert page.status == 200
    assert f'<a href="{name}">' in await page.text()


@pytest.mark.parametrize("path", [f"{UNIT}/S00000", UNIT, "/data", "/doc/data/hmi"])
async def test_a_directory_without_its_slash_redirects(client, path):
    answer = await client.get(path, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (301, f"{path}/")


@pytest.mark.parametrize("path", ["/data/nothing", "/SUM1/D5", "/SUM1/D5/S00000/x.fits", "/database"])
async def test_what_is_not_there_is_404(client, path):
    assert (await client.get(path)).status == 404


@pytest.mark.parametrize(
    "path",
    ["/cgi-bin/jsoc_info", "//cgi-bin//ajax/jsoc_info", "/cgi-bin/ajax/jsocextinfo", "/cgi-bin/jsocextinfo"],
)
async def test_a_program_has_several_addresses(client, path):
    params = {"op": "rs_summary", "ds": "hmi.v_45s[2014.01.01_TAI/1h]", "dbhost": "hmidb2"}
    assert (await (await client.session.get(at(client, path), params=params)).json(content_type=None))["count"] == 80


async def test_text_programs_answer_errors_as_text(client):
    told = await client.get("/cgi-bin/ajax/show_info", params={"ds": "nothing.here[]", "key": "T_REC"})
    assert (told.content_type, await told.text()) == (
        "text/plain",
        "### show_info: series nothing.here not found.\n",
    )
    told = await client.get("/cgi-bin/ajax/showextinfo", params={"ds": "nothing.here[]", "dbhost": "hmidb2"})
    assert (await told.text()).splitlines() == [
        "Error status: 6",
        "Error message: ### show_info: series nothing.here not found.",
    ]


@pytest.mark.parametrize(
    "fault, status, said",
    [
        ("out_of_memory", 1, "query failed: out of memory for query result"),
        ("hash_not_saved", 4, "Cant save new export-request hash."),
        ("too_long", 4, "Record-set specification is too long."),
        ("one_pending", 7, "User me@lab.edu has 1 pending export requests ..."),
        ("too_large", 3, "Request exceeds max byte limit of 100000MB"),
    ],
)
async def test_errors_that_people_met_come_in_their_words(client, fault, status, said):
    await client.post("/_simulator/faults", json=[{"fault": fault, "times": 1}])
    params = {
        "op": "exp_request",
        "ds": "hmi.v_45s[$]",
        "notify": "me@lab.edu",
        "method": "url",
        "protocol": "fits",
    }
    answer = await (await client.get("/cgi-bin/ajax/jsoc_fetch", params=params)).json(content_type=None)
    assert (answer["status"], answer["error"]) == (status, said)
    assert answer.get("requestid", "VOID") == "VOID"


async def test_only_a_get_is_too_long_and_only_joined_sets_fail(client):
    await client.post("/_simulator/faults", json=[{"fault": "uri_too_long"}])
    params = {"op": "rs_summary", "ds": "hmi.v_45s[2014.01.01_TAI/1h]"}
    assert (await client.get("/cgi-bin/ajax/jsoc_info", params=params)).status == 414
    assert (await client.post("/cgi-bin/ajax/jsoc_info", data=params)).status == 200
    await client.post("/_simulator/faults", json=[{"fault": "joined_sets"}])
    request = {
        "op": "exp_request",
        "notify": "me@lab.edu",
        "method": "url",
        "protocol": "fits",
        "format": "json",
    }
    ends = []
    for ds in ("hmi.v_45s[2014.01.01_TAI],hmi.v_45s[2014.01.02_TAI]", "hmi.v_45s[2014.01.01_TAI]"):
        accepted = await client.get("/cgi-bin/ajax/jsoc_fetch", params={**request, "ds": ds})
        number = (await accepted.json(content_type=None))["requestid"]
        for _ in range(3):
            asked = {"op": "exp_status", "requestid": number, "format": "json"}
            answer = await (await client.get("/cgi-bin/ajax/jsoc_fetch", params=asked)).json(
                content_type=None
            )
            if int(answer["status"]) not in (1, 2):
                break
        ends.append(int(answer["status"]))
    assert ends == [4, 0]
