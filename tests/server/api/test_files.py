"""The API of files: what it takes, and what it refuses with which words. The rest is tested by the commands."""

import json

import pytest

from tests.filelab import file_lab, synthetic

SHARPS = "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path, synthetic()) as made:
        yield made


async def send(lab, method, path, body, headers=JSON):
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return await lab.request(method, path, data=data, headers=headers)


async def test_files_are_listed_with_where_they_are_and_places_only_when_asked(lab):
    listed = (await lab.get("/api/files", {"ds": SHARPS, "n": "2", "name": "{HARPNUM}.{segment}"})).json
    assert [f["state"] for f in listed] == ["online", "online"]
    assert all(f["name"].endswith(".Br.fits") and f["path"].startswith("/SUM") for f in listed)
    assert {(f["size"], f["sha256"], f["place"]) for f in listed} == {(None, None, None)}
    body = (await lab.get(listed[0]["path"])).body
    for download in lab.running.downloads.running():
        await download.blob
    held = (await lab.get("/api/files", {"ds": SHARPS, "n": "1"})).json[0]
    placed = (await lab.get("/api/files", {"ds": SHARPS, "n": "1", "places": "1"})).json[0]
    assert (held["state"], held["size"], held["place"]) == ("held", len(body), None)
    assert placed["place"] == str(lab.path / "blobs" / held["sha256"][:2] / held["sha256"])


async def test_the_last_records_are_those_of_a_negative_n(lab):
    everything = (await lab.get("/api/files", {"ds": SHARPS})).json
    last = (await lab.get("/api/files", {"ds": SHARPS, "n": "-2"})).json
    assert [f["record"] for f in last] == [f["record"] for f in everything[-2:]]


WRONG_BODIES = [
    ("/api/jobs", {}, 400, "ds is missing"),
    ("/api/jobs", {"ds": 7}, 400, "ds is 7; expected a text"),
    ("/api/jobs", {"ds": SHARPS, "n": True}, 400, "n is True; expected a whole number"),
    ("/api/jobs", {"ds": SHARPS, "colour": "red"}, 400, "'colour' is not known; expected some of ds, seg"),
    ("/api/jobs", {"ds": SHARPS, "method": "url_quick"}, 400, "expected url or url-tar"),
    ("/api/jobs", {"ds": SHARPS, "method": "ftp"}, 400, "expected url or url-tar"),
    ("/api/jobs", {"ds": SHARPS, "protocol": "su"}, 403, "expected as-is or fits"),
    ("/api/jobs", [SHARPS], 400, "not a JSON object"),
    ("/api/jobs", "{", 400, "no JSON"),
    ("/api/jobs", b"\xff\xfe\x00", 400, "no JSON"),
    ("/api/jobs", "[" * 60_000, 400, "nested too deep"),
    ("/api/jobs", "[" * 100_000, 413, "the body has 100,000 bytes"),
    ("/api/pins", {"ds": SHARPS}, 400, "owner is missing"),
    ("/api/pins", {"owner": "ada"}, 400, "ds is missing"),
    ("/api/pins", {"ds": SHARPS, "owner": "ada", "seconds": "1d"}, 400, "expected a number"),
    ("/api/evict", {}, 400, "need is missing"),
    ("/api/evict", {"need": "1GB"}, 400, "expected a whole number"),
    ("/api/evict", {"need": 1, "dry_run": "yes"}, 400, "expected true or false"),
]


async def test_a_wrong_body_is_one_message(lab):
    for path, body, code, message in WRONG_BODIES:
        answer = await send(lab, "POST", path, body)
        assert (answer.code, message in answer.json["error"]) == (code, True), (path, body, answer.body)


async def test_a_form_of_some_other_page_changes_nothing(lab):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for method, path in (("POST", "/api/jobs"), ("POST", "/api/pins"), ("DELETE", "/api/pins"), ("POST", "/api/evict")):
        answer = await send(lab, method, path, "need=1&ds=x", form)
        assert answer.code == 400
        assert "expected a JSON object, with the header" in answer.json["error"]


async def test_a_job_that_is_not_there_is_404(lab):
    for name in ("JSOC_20140101_1", "..%2f..%2fetc%2fpasswd", "%00", "x" * 5000):
        assert (await lab.get(f"/api/jobs/{name}")).code == 404


async def test_pins_of_one_do_not_go_by_the_word_of_another(lab):
    listed = (await lab.get("/api/files", {"ds": SHARPS, "n": "1"})).json
    await lab.get(listed[0]["path"])
    for download in lab.running.downloads.running():
        await download.blob
    pin = {"ds": SHARPS, "n": 1}
    assert (await send(lab, "POST", "/api/pins", {**pin, "owner": "ada", "seconds": 60})).json["pinned"] == 1
    assert (await send(lab, "DELETE", "/api/pins", {**pin, "owner": "bob"})).json == {"removed": 0}
    assert [p["owner"] for p in (await lab.get("/api/pins")).json] == ["person:ada"]
    lab.clock.forward(seconds=61)
    assert (await lab.get("/api/pins")).json == []
