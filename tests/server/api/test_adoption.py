"""/api/adopt: files by their paths from this machine, uploads from others, and clear words for the rest."""

import asyncio
import os

import pytest
import pytest_asyncio

from mirror.api.adoption import MOST_FILES
from tests.adoptlab import DRMS_NAME, RECORD, files, put
from tests.filelab import file_lab, synthetic

UPLOAD = "/api/adopt/upload"
FITS = {"Content-Type": "image/fits"}


@pytest_asyncio.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path / "store", synthetic()) as made:
        yield made


def entry(path, **other):
    found = path.stat()
    return {
        "path": str(path),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "inode": found.st_ino,
    } | other


async def test_files_of_this_machine_are_adopted_where_they_are(lab, tmp_path):
    paths = put(tmp_path / "have")
    answer = await lab.request("POST", "/api/adopt", json={"files": [entry(p) for p in paths]})
    assert [o["state"] for o in answer.json["outcomes"]] == ["placed"] * 3
    assert [o["path"] for o in answer.json["outcomes"]] == [str(p) for p in paths]


async def test_a_file_that_looks_otherwise_from_here_is_unseen(lab, tmp_path):
    (path, *_) = put(tmp_path / "have")
    strange = [entry(path, size=1), {**entry(path), "path": "/nowhere/x.fits"}]
    answer = await lab.request("POST", "/api/adopt", json={"files": strange})
    assert [o["state"] for o in answer.json["outcomes"]] == ["unseen", "unseen"]


async def test_an_upload_is_adopted_by_the_name_it_had_and_leaves_nothing_behind(lab):
    query = f"name={DRMS_NAME}"
    answer = await lab.request("POST", UPLOAD, query, data=files().archived, headers=FITS)
    (outcome,) = answer.json["outcomes"]
    assert (outcome["state"], outcome["record"], outcome["path"]) == ("placed", RECORD, DRMS_NAME)
    assert list((lab.path / "incoming").iterdir()) == []
    again = await lab.request("POST", UPLOAD, query, data=files().archived, headers=FITS)
    assert (again.json["outcomes"][0]["state"], again.json["outcomes"][0]["same"]) == ("held", True)


async def test_an_upload_that_is_no_fits_is_rejected_and_not_kept(lab):
    answer = await lab.request("POST", UPLOAD, "name=x.fits", data=b"junk", headers=FITS)
    assert "not FITS" in answer.json["outcomes"][0]["reason"]
    assert list((lab.path / "incoming").iterdir()) == []


GOOD = {"path": "/x.fits", "size": 1, "mtime_ns": 1, "inode": 1}


@pytest.mark.parametrize(
    "body, words",
    [
        ([], "the body is not a JSON object"),
        ({"files": ["/x.fits"]}, "files[0] is '/x.fits'; expected an object"),
        ({"files": [{**GOOD, "path": "x.fits"}]}, "absolute path"),
        ({"files": [{**GOOD, "size": "1"}]}, "expected a whole number"),
        ({"files": [GOOD], "how": "steal"}, "expected one of copy, link"),
        ({"files": [GOOD], "dry_run": 1}, "true or false"),
        ({"files": [GOOD], "other": 1}, "not known"),
        ({"files": [GOOD] * (MOST_FILES + 1)}, "at most 1000"),
    ],
)
async def test_what_is_asked_wrongly_is_told(lab, body, words):
    answer = await lab.request("POST", "/api/adopt", json=body)
    assert answer.code == 400
    assert words in answer.json["error"]


async def test_an_upload_needs_a_name_and_the_right_type(lab):
    for query, headers in [
        ("name=x", {}),
        ("", FITS),
        ("name=..%2Fx", FITS),
        ("name=x&unit=%2Fetc%2Fx", FITS),
    ]:
        answer = await lab.request("POST", UPLOAD, query, data=b"x", headers=headers)
        assert answer.code == 400, query


async def test_a_pipe_is_looked_at_and_not_waited_for(lab, tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    async with asyncio.timeout(180):
        answer = await lab.request("POST", "/api/adopt", json={"files": [entry(tmp_path / "pipe.fits")]})
    [outcome] = answer.json["outcomes"]
    assert (outcome["state"], outcome["reason"]) == ("rejected", "it is not a regular file")
