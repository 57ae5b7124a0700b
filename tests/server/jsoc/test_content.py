"""Exported FITS files over HTTP: put together while they are sent, and like any other file to who asks."""

from __future__ import annotations

import asyncio
import io
import tarfile

import pytest_asyncio
from astropy.io import fits

from tests.filelab import file_lab

PATCHES = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI/24m]{magnetogram,bitmap}"
ONE = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram}"


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


async def exported(mirror, ds=ONE, **more):
    """The path of the first file of an export, and what came for it."""
    done = await mirror.exported(ds, protocol="fits", **more)
    path = f"{done['dir']}/{done['data'][0]['filename']}"
    return path, await mirror.get(path)


def front_of(data):
    """Where the new headers end."""
    with fits.open(io.BytesIO(data)) as hdus:
        return hdus[1].fileinfo()["datLoc"]


async def test_an_export_takes_no_room_but_for_the_archived_files(mirror):
    archived = {row["filename"] for row in (await mirror.export(PATCHES, "url_quick"))["data"]}
    sizes = [len(await mirror.original(path)) for path in archived]
    done = await mirror.exported(PATCHES, protocol="fits")
    assert len(done["data"]) == len(sizes) == 4
    assert mirror.running.blobs.usage().held == sum(sizes)
    assert len([p for p in (mirror.path / "blobs").rglob("*") if len(p.name) == 64]) == 4


async def test_any_range_of_an_assembled_file_is_that_part_of_it(mirror):
    path, whole = await exported(mirror)
    size, front = len(whole.body), front_of(whole.body)
    head = await mirror.request("HEAD", path)
    assert (head.code, int(head.headers["Content-Length"]), head.body) == (200, size, b"")
    assert head.headers["Content-Type"] == "image/fits"
    for first, last in (
        (0, 79),
        (front - 10, front + 9),
        (front, size - 1),
        (1, size - 2),
        (size - 1, size - 1),
    ):
        part = await mirror.get(path, headers={"Range": f"bytes={first}-{last}"})
        assert (part.code, part.body) == (206, whole.body[first : last + 1])
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    assert (await mirror.get(path, headers={"Range": f"bytes={size}-"})).code == 416


async def test_its_tag_and_its_bytes_are_the_same_after_a_restart(mirror):
    path, whole = await exported(mirror)
    tag = whole.headers["Etag"]
    assert (await mirror.get(path, headers={"If-None-Match": tag})).code == 304
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    again = await mirror.get(path)
    assert (again.body, again.headers["Etag"], again.headers["Last-Modified"]) == (
        whole.body, tag, whole.headers["Last-Modified"],
    )  # fmt: skip
    part = await mirror.get(path, headers={"If-Range": tag, "Range": "bytes=2880-"})
    assert (part.code, part.body) == (206, whole.body[2880:])


async def test_its_date_is_good_for_conditions_too(mirror):
    mirror.clock.forward(seconds=0.75)
    path, whole = await exported(mirror)
    date = whole.headers["Last-Modified"]
    part = await mirror.get(path, headers={"If-Range": date, "Range": "bytes=2880-"})
    assert (part.code, part.body) == (206, whole.body[2880:])
    assert (await mirror.get(path, headers={"If-Modified-Since": date})).code == 304


async def test_it_has_another_tag_than_the_archived_file_and_than_one_with_other_values(mirror):
    _, whole = await exported(mirror)
    (row,) = (await mirror.export(ONE, "url_quick"))["data"]
    archived = await mirror.get(row["filename"])
    mirror.clock.forward(minutes=1)  # which its CHECKSUM tells
    _, later = await exported(mirror, filenamefmt="later.{segment}")
    tags = {answer.headers["Etag"] for answer in (whole, archived, later)}
    assert len(tags) == 3
    assert whole.body != later.body


async def test_its_checksums_are_valid(mirror):
    _, whole = await exported(mirror)
    with fits.open(io.BytesIO(whole.body), checksum=True, disable_image_compression=True) as hdus:
        hdus.verify("exception")
        assert (hdus[1].verify_checksum(), hdus[1].verify_datasum()) == (1, 1)


async def test_an_eviction_spares_what_its_data_are_in_and_it_is_made_again_after_that_went(mirror):
    path, whole = await exported(mirror)
    assert (await mirror.running.blobs.evict(10**12)).blobs == ()
    assert (await mirror.get(path)).body == whole.body
    mirror.clock.forward(days=8)
    assert len((await mirror.running.blobs.evict(10**12)).blobs) == 1
    again = await mirror.get(path)
    assert again.code == 200
    assert again.body[front_of(whole.body) :] == whole.body[front_of(whole.body) :]


async def test_a_blob_that_somebody_deleted_is_fetched_anew_for_it(mirror):
    path, whole = await exported(mirror)
    (blob,) = (p for p in (mirror.path / "blobs").rglob("*") if len(p.name) == 64)
    blob.unlink()
    again = await mirror.get(path)
    assert (again.code, len(again.body)) == (200, len(whole.body))


async def test_many_at_once_get_the_same_bytes(mirror):
    path, whole = await exported(mirror)
    answers = await asyncio.gather(*(mirror.get(path) for _ in range(20)))
    assert {answer.body for answer in answers} == {whole.body}


async def test_a_tar_file_of_assembled_files_is_resumed_anywhere(mirror):
    done = await mirror.exported(PATCHES, "url-tar", "fits")
    whole = (await mirror.get(done["tarfile"])).body
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        sizes = {m.name.removeprefix("./"): m.size for m in archive.getmembers()}
    for row in done["data"]:
        assert sizes[row["filename"]] == len((await mirror.get(f"{done['dir']}/{row['filename']}")).body)
    tag = (await mirror.request("HEAD", done["tarfile"])).headers["Etag"]
    for start in range(0, len(whole), len(whole) // 7):
        part = await mirror.get(done["tarfile"], headers={"Range": f"bytes={start}-", "If-Range": tag})
        assert (part.code, part.body) == (206, whole[start:])


async def test_the_list_of_its_files_tells_their_sizes_and_no_place(mirror):
    path, whole = await exported(mirror)
    told = (await mirror.get(f"/api/jobs/{path.split('/')[2]}", {"places": "1"})).json
    (file,) = told["files"]
    assert (file["path"], file["size"], file["sha256"], file["place"]) == (path, len(whole.body), None, None)
    assert told["bytes"] == len(whole.body)
