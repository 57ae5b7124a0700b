"""Files deleted or cut short in the store while the mirror runs: noticed when wanted, and had again at once."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
import pytest_asyncio

from tests.filelab import file_lab, synthetic

BITMAP = "/SUM0/D440000100/S00000/bitmap.fits"
#: Of this record FITS files can be made; of the one before a link leads nowhere.
PATCH = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram,bitmap}"
OFFLINE = "hmi.m_720s[:#4007]{magnetogram}"
PROCESSED = "hmi.M_720s[2020-10-17_22:12:00_TAI]{magnetogram}"
REBIN = {"process=n": "0|rebin,method=boxcar,scale=0.25"}


def delete(path):
    path.unlink()


def cut_short(path):
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-2880])


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


WAYS = pytest.mark.parametrize("way", [delete, cut_short])


def lose(mirror, content=None, way=delete):
    """Lose all files of a mirror, or that of one content."""
    found = mirror.blob_files()
    wanted = found if content is None else [hashlib.sha256(content).hexdigest()]
    assert wanted
    for name in wanted:
        way(found[name])


async def export_files(mirror, done):
    answers = [await mirror.get(f"{done['dir']}/{row['filename']}") for row in done["data"]]
    assert {a.code for a in answers} == {200}, [a.body[:200] for a in answers if a.code != 200]
    return [a.body for a in answers]


def without_sums(data):
    """Cards of a FITS file but for those that tell when it was made, and its data."""
    cards = [data[i : i + 80] for i in range(0, len(data), 80)]
    return [card for card in cards if not card.startswith((b"CHECKSUM", b"DATASUM"))]


async def held(mirror):
    await mirror.get(BITMAP)
    await mirror.settled()
    answer = await mirror.get(BITMAP)
    assert answer.plan == "local"
    return answer.body


# ---- paths of the archive ---------------------------------------------------------------------------


@WAYS
async def test_a_lost_file_is_fetched_again_in_the_same_request(mirror, way):
    whole = await held(mirror)
    lose(mirror, way=way)
    answer = await mirror.get(BITMAP)
    assert (answer.code, answer.plan, answer.body) == (200, "filled", whole)
    await mirror.settled()
    assert (await mirror.get(BITMAP)).plan == "local"
    assert mirror.running.blobs.usage().held == len(whole)


async def test_head_and_a_range_notice_it_too(mirror):
    whole = await held(mirror)
    lose(mirror)
    head = await mirror.request("HEAD", BITMAP)
    assert (head.code, int(head.headers["Content-Length"])) == (200, len(whole))
    await mirror.settled()
    lose(mirror)
    part = await mirror.get(BITMAP, headers={"Range": "bytes=100-199"})
    assert (part.code, part.body) == (206, whole[100:200])


async def test_while_jsoc_is_away_a_lost_file_is_one_clear_error_and_comes_back_with_it(mirror):
    whole = await held(mirror)
    lose(mirror)
    await mirror.faults({"fault": "outage"})
    answer = await mirror.get(BITMAP)
    assert (answer.code, "cannot be reached" in answer.json["error"]) == (504, True)
    await mirror.faults()
    assert (await mirror.get(BITMAP)).body == whole


async def test_offline_a_lost_file_is_not_held(mirror):
    await held(mirror)
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    lose(mirror)
    answer = await mirror.get(BITMAP)
    assert (answer.code, answer.json["missing"]) == (503, [BITMAP])


async def test_a_store_whose_disk_is_gone_forgets_nothing(mirror):
    whole = await held(mirror)
    folder = mirror.path / "blobs"
    folder.rename(mirror.path / "elsewhere")
    answer = await mirror.get(BITMAP)
    assert (answer.code, "mounted" in answer.json["error"]) == (507, True)
    folder.rmdir() if folder.exists() else None
    (mirror.path / "elsewhere").rename(folder)
    answer = await mirror.get(BITMAP)
    assert (answer.plan, answer.body) == ("local", whole)


# ---- exports ----------------------------------------------------------------------------------------


@WAYS
async def test_files_of_an_as_is_export_are_fetched_again(mirror, way):
    done = await mirror.exported(PATCH)
    before = await export_files(mirror, done)
    lose(mirror, way=way)
    assert await export_files(mirror, done) == before


async def test_a_file_that_was_made_here_is_made_again_and_the_others_are_left_alone(mirror):
    done = await mirror.exported(PATCH, protocol="fits")
    first, second = await export_files(mirror, done)
    quick = await mirror.export(PATCH, "url_quick")
    lose(mirror, await mirror.original(quick["data"][0]["filename"]))
    mirror.clock.forward(minutes=5)
    again, other = await export_files(mirror, done)
    assert without_sums(again) == without_sums(first)
    assert other == second
    told = await mirror.export_status(done["requestid"])
    assert told["data"] == done["data"]


async def test_everything_lost_is_made_again_from_what_jsoc_has(mirror):
    done = await mirror.exported(PATCH, protocol="fits")
    before = await export_files(mirror, done)
    lose(mirror)
    assert [without_sums(x) for x in await export_files(mirror, done)] == [without_sums(x) for x in before]


@WAYS
async def test_the_tar_file_of_an_export_is_whole_again(mirror, way):
    done = await mirror.exported(PATCH, "url-tar", "fits")
    before = (await mirror.get(done["tarfile"])).body
    lose(mirror, way=way)
    again = (await mirror.get(done["tarfile"])).body
    with tarfile.open(fileobj=io.BytesIO(before)) as one, tarfile.open(fileobj=io.BytesIO(again)) as other:
        assert [(m.name, m.size) for m in one] == [(m.name, m.size) for m in other]


async def test_while_jsoc_is_away_what_was_not_lost_of_an_export_is_served_and_the_rest_an_error(mirror):
    done = await mirror.exported(PATCH, "url-tar")
    (bitmap,) = [row["filename"] for row in done["data"] if "bitmap" in row["filename"]]
    (magnetogram,) = [row["filename"] for row in done["data"] if "magnetogram" in row["filename"]]
    content = await mirror.original((await mirror.export(PATCH, "url_quick"))["data"][1]["filename"])
    lose(mirror, content)
    await mirror.faults({"fault": "outage"})
    for path in (f"{done['dir']}/{bitmap}", done["tarfile"]):
        answer = await mirror.get(path)
        assert (answer.code, "cannot be reached" in answer.json["error"]) == (504, True)
    assert (await mirror.get(f"{done['dir']}/{magnetogram}")).code == 200
    assert (await mirror.get(f"{done['dir']}/index.json")).json["data"] == done["data"]
    await mirror.faults()
    assert (await mirror.get(f"{done['dir']}/{bitmap}")).body == content


async def test_a_file_that_jsoc_does_not_have_any_more_is_an_error_and_stays_listed(mirror):
    done = await mirror.exported(PATCH)
    lose(mirror)
    await mirror.faults({"match": {"program": "file"}, "fault": "gone"},
                        {"match": {"op": "exp_request"}, "fault": "status", "status": 4, "message": "no"})  # fmt: skip
    answer = await mirror.get(f"{done['dir']}/{done['data'][0]['filename']}")
    assert (answer.code, "was evicted" in answer.json["error"]) == (503, True)
    assert (await mirror.get(f"{done['dir']}/index.json")).json["data"] == done["data"]
    await mirror.faults()
    await export_files(mirror, done)


async def test_a_file_from_tape_is_brought_back_again(mirror):
    done = await mirror.exported(OFFLINE, o="1")
    before = await export_files(mirror, done)
    lose(mirror)
    assert await export_files(mirror, done) == before


async def test_a_processed_file_comes_again_from_the_request_that_made_it(tmp_path):
    async with file_lab(tmp_path, synthetic()) as mirror:
        done = await mirror.exported(PROCESSED, protocol="fits", **REBIN)
        before = await export_files(mirror, done)
        lose(mirror)
        assert await export_files(mirror, done) == before
        assert len(await mirror.log(op="exp_request")) == 1


async def test_clients_of_many_lost_files_make_one_download_of_each(mirror):
    done = await mirror.exported(PATCH)
    before = len(await mirror.downloads())
    lose(mirror)
    await export_files(mirror, done)
    assert len(await mirror.downloads()) == before + 2


# ---- lists, quick looks -------------------------------------------------------------------------------


async def test_lists_do_not_call_a_lost_file_held(mirror):
    await mirror.exported(PATCH)
    asked = {"ds": PATCH, "places": "1"}
    assert [f["state"] for f in (await mirror.get("/api/files", asked)).json] == ["held", "held"]
    lose(mirror)
    listed = (await mirror.get("/api/files", asked)).json
    assert [(f["state"], f["place"]) for f in listed] == [("online", None), ("online", None)]
    assert all([(await mirror.get(f["path"])).body.startswith(b"SIMPLE") for f in listed])


async def test_a_quick_look_of_a_lost_file_is_made_of_a_new_one(mirror):
    asked = {"ds": PATCH, "number": "1", "fetch": "1"}
    first = await mirror.get("/api/quicklook", asked)
    assert first.body.startswith(b"\x89PNG")
    lose(mirror)
    assert (await mirror.get("/api/quicklook", asked)).body == first.body


async def test_pins_wait_for_what_was_lost(mirror):
    await mirror.exported(PATCH)
    pinned = await mirror.request("POST", "/api/pins", json={"ds": PATCH, "owner": "ada"})
    assert pinned.json["pinned"] == 2
    lose(mirror)
    await mirror.exported(PATCH)
    assert [p["files"] for p in (await mirror.get("/api/pins")).json if p["owner"] == "person:ada"] == [2]
