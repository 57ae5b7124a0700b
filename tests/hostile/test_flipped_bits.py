"""A disk that loses a bit and tells nobody: whatever is read whole and right, or it is an error; never wrong bytes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
import tarfile
from contextlib import suppress

import aiohttp
import pytest
import pytest_asyncio

from mirror.storage.files import receiving
from mirror.storage.files.receiving import Verified
from tests import processes
from tests.filelab import file_lab

BITMAP = "/SUM0/D440000100/S00000/bitmap.fits"
PATCH = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram,bitmap}"
DAY = 86_400.0
QUICK = {"ds": PATCH, "number": "1"}


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


def flip(path, at=None):
    """Change one bit in a file, and nothing that a look at the file would show but its ctime."""
    found = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 0x10
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(data)
    path.chmod(0o444)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def flip_all(mirror, at=None):
    for path in mirror.blob_files().values():
        flip(path, at)


async def held(mirror):
    whole = (await mirror.get(BITMAP)).body
    await mirror.settled()
    assert (await mirror.get(BITMAP)).plan == "local"
    return whole


# ---- files of the archive ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 2880, None, -1])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_damaged_file_is_fetched_again_in_the_same_request(mirror, at, restart):
    whole = await held(mirror)
    flip_all(mirror, at)
    if restart:
        await mirror.restart()
    answer = await mirror.get(BITMAP)
    assert (answer.code, answer.plan, answer.body) == (200, "filled", whole)
    await mirror.settled()
    again = await mirror.get(BITMAP)
    assert (again.plan, again.body, again.headers.get("Etag")) == ("local", whole, f'"{hashlib.sha256(whole).hexdigest()}"')
    assert len(list((mirror.path / "quarantine").iterdir())) == 1


async def test_a_range_that_is_not_damaged_itself_is_not_sent_either(mirror):
    whole = await held(mirror)
    flip_all(mirror, 5)
    part = await mirror.get(BITMAP, headers={"Range": "bytes=10000-10099"})
    assert (part.code, part.plan, part.body) == (206, "filled", whole[10000:10100])
    await mirror.settled()
    flip_all(mirror, 10_050)
    head = await mirror.request("HEAD", BITMAP)
    assert (head.code, int(head.headers["Content-Length"]), head.plan) == (200, len(whole), "filled")


@pytest.mark.parametrize("policy", ["offline", "fallback"])
async def test_without_jsoc_a_damaged_file_is_one_clear_error_with_no_byte_of_it(mirror, policy):
    whole = await held(mirror)
    await mirror.restart(MIRROR_UPSTREAM__POLICY=policy)
    await mirror.faults({"fault": "outage"})
    flip_all(mirror)
    answer = await mirror.get(BITMAP)
    assert (answer.code, answer.headers.get("Etag")) == (503 if policy == "offline" else 504, None)
    assert answer.json["error"]
    await mirror.restart(MIRROR_UPSTREAM__POLICY="fallback")
    await mirror.faults()
    assert (await mirror.get(BITMAP)).body == whole


async def test_many_clients_of_a_file_have_it_read_once_and_fetched_once(mirror, monkeypatch):
    whole = await held(mirror)
    looks = []
    problem = mirror.running.blobs._folders.problem
    monkeypatch.setattr(mirror.running.blobs._folders, "problem", lambda *a, **k: looks.append(a) or problem(*a, **k))
    before = len(await mirror.downloads())
    flip_all(mirror)

    async def ask():
        return (await mirror.get(BITMAP)).body

    assert set(await asyncio.gather(*(ask() for _ in range(20)))) == {whole}
    assert len(looks) == 2  # and once more before it is set aside
    assert len(await mirror.downloads()) == before + 1


async def test_a_file_that_is_sent_again_and_again_is_looked_at_once_a_day(mirror, monkeypatch):
    await held(mirror)
    await mirror.restart()
    looks, clock = [], [1000.0]
    problem = mirror.running.blobs._folders.problem
    monkeypatch.setattr(mirror.running.blobs._folders, "problem", lambda *a, **k: looks.append(a) or problem(*a, **k))
    mirror.running.blobs.verified._now = lambda: clock[0]
    for after, read in ((0, 1), (10, 1), (DAY - 20, 1), (20, 2)):
        clock[0] += after
        for _ in range(3):
            assert (await mirror.get(BITMAP)).plan == "local"
        assert len(looks) == read


def test_what_is_remembered_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(receiving, "MOST", 10)
    (tmp_path / "a").write_bytes(b"x")
    seen, stamp = Verified(lambda: 0.0, 10.0), receiving.stamp_of(tmp_path / "a")
    for n in range(25):
        seen.note(str(n), tmp_path / "a", stamp)
    assert [n for n in range(25) if seen.holds(str(n))] == list(range(15, 25))


async def test_too_few_descriptors_are_not_taken_for_damage(mirror, monkeypatch):
    whole = await held(mirror)
    await mirror.restart()

    def exhausted(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("mirror.storage.files.folders.digest_of", exhausted)
    answer = await mirror.get(BITMAP)
    assert (answer.code, "open files" in answer.json["error"]) == (507, True)
    monkeypatch.undo()
    assert ((await mirror.get(BITMAP)).plan, (await mirror.get(BITMAP)).body) == ("local", whole)
    assert not list((mirror.path / "quarantine").iterdir())


# ---- exports, tar files, quick looks ---------------------------------------------------------------------


async def export_files(mirror, done):
    return [(await mirror.get(f"{done['dir']}/{row['filename']}")).body for row in done["data"]]


def without_sums(data):
    """Cards of a FITS file but for those that tell when it was made, and its data."""
    cards = [data[i : i + 80] for i in range(0, len(data), 80)]
    return [card for card in cards if not card.startswith((b"CHECKSUM", b"DATASUM", b"DATE "))]


@pytest.mark.parametrize("protocol", ["as-is", "fits"])
async def test_files_of_an_export_are_had_or_made_again(mirror, protocol):
    done = await mirror.exported(PATCH, protocol=protocol)
    before = await export_files(mirror, done)
    for at in (None, 40, -1):
        flip_all(mirror, at)
        assert [without_sums(x) for x in await export_files(mirror, done)] == [without_sums(x) for x in before]


async def test_the_tar_file_of_an_export_is_whole(mirror):
    done = await mirror.exported(PATCH, "url-tar")
    before = (await mirror.get(done["tarfile"])).body
    flip_all(mirror)
    again = (await mirror.get(done["tarfile"])).body
    with tarfile.open(fileobj=io.BytesIO(before)) as one, tarfile.open(fileobj=io.BytesIO(again)) as other:
        contents = [[(m.name, x.extractfile(m).read()) for m in x if m.name.endswith(".fits")] for x in (one, other)]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


async def test_a_large_tar_file_breaks_off_before_a_damaged_file_and_is_whole_the_next_time(mirror, monkeypatch):
    done = await mirror.exported(PATCH, "url-tar")
    before = (await mirror.get(done["tarfile"])).body
    monkeypatch.setattr("mirror.services.exports.directory.LOOKED_AT_FIRST", 0)
    monkeypatch.setattr("mirror.server.jsoc.files._FEW", 0)
    flip_all(mirror)
    with pytest.raises(aiohttp.ClientPayloadError):
        await mirror.get(done["tarfile"])
    await mirror.get(f"{done['dir']}/{done['data'][0]['filename']}")
    for row in done["data"]:
        await mirror.get(f"{done['dir']}/{row['filename']}")
    assert len((await mirror.get(done["tarfile"])).body) == len(before)


async def test_a_quick_look_is_never_made_of_a_damaged_file_nor_sent_damaged(mirror):
    first = await mirror.get("/api/quicklook", {**QUICK, "fetch": "1"})
    assert first.body.startswith(b"\x89PNG")
    for picture in (mirror.path / "pictures").rglob("*.png"):
        flip(picture)
    assert (await mirror.get("/api/quicklook", QUICK)).body == first.body
    for picture in (mirror.path / "pictures").rglob("*.png"):
        picture.unlink()
    flip_all(mirror, -4000)
    assert (await mirror.get("/api/quicklook", QUICK)).code == 503
    assert (await mirror.get("/api/quicklook", {**QUICK, "fetch": "1"})).body == first.body


async def test_kept_headers_of_exports_that_were_damaged_are_an_error_and_not_sent(mirror):
    done = await mirror.exported(PATCH, protocol="fits")
    sql = "UPDATE mirror.fronts SET data = from_hex(hex(data)[1:40] || 'FF' || hex(data)[43:])"
    await mirror.restart()
    await mirror.running.database.write(lambda c: c.execute(sql))
    with pytest.raises(aiohttp.ClientPayloadError):
        await mirror.get(f"{done['dir']}/{done['data'][0]['filename']}")


async def test_a_part_of_a_download_that_was_damaged_is_not_continued(mirror):
    whole = await mirror.original(BITMAP)
    await mirror.faults({"match": {"program": "file"}, "fault": "truncate"})
    with suppress(aiohttp.ClientPayloadError):
        await mirror.get(BITMAP)
    await mirror.settled()
    (part,) = (mirror.path / "incoming").glob("*.part")
    flip(part, 100)
    await mirror.faults()
    assert (await mirror.get(BITMAP)).body == whole


# ---- copies -----------------------------------------------------------------------------------------------


async def test_a_bundle_has_no_damaged_file(mirror, tmp_path_factory):
    await mirror.exported(PATCH)
    for held_only in (False, True):
        flip_all(mirror)
        to = tmp_path_factory.mktemp("bundle") / "b"
        body = {"recordsets": [PATCH], "to": str(to), "files": True, "held": held_only}
        answer = await mirror.request("POST", "/api/bundle", json=body)
        assert answer.code == 200, answer.body
        files = [p for p in to.rglob("*") if p.is_file() and len(p.name) == 64]
        assert all(hashlib.sha256(p.read_bytes()).hexdigest() == p.name for p in files)
        assert len(files) == (0 if held_only else 2)
        assert (b"damaged in the store" in answer.body) is held_only


async def test_fetch_does_not_link_a_damaged_file(mirror, tmp_path_factory):
    await mirror.exported(PATCH)
    right = {row: hashlib.sha256(p.read_bytes()).hexdigest() for row, p in mirror.blob_files().items()}
    flip_all(mirror)
    to = tmp_path_factory.mktemp("out")

    told = await asyncio.to_thread(
        processes.run, "-m", "mirror", "fetch", PATCH, "--to", str(to), "--url", mirror.url
    )
    assert told.returncode == 0, told.stderr
    assert {hashlib.sha256(p.read_bytes()).hexdigest() for p in to.iterdir()} == set(right)
    assert "2 linked" in told.stderr, "they were fetched again, and these are linked"


# ---- many ways to ask, bits anywhere ------------------------------------------------------------------------


async def test_one_hundred_flipped_bits_and_no_wrong_byte(mirror):
    chance = random.Random(3)
    whole = await held(mirror)
    tag = f'"{hashlib.sha256(whole).hexdigest()}"'
    for n in range(100):
        flip_all(mirror, chance.randrange(len(whole)))
        start = chance.randrange(len(whole))
        end = min(len(whole), start + chance.randrange(1, 5000))
        asked = chance.choice([{}, {"Range": f"bytes={start}-{end - 1}"}, {"Range": f"bytes={start}-"}, {"If-Range": tag, "Range": f"bytes={start}-{end - 1}"}])  # fmt: skip
        if n % 25 == 0:
            await mirror.restart()
        answer = await mirror.get(BITMAP, headers=asked)
        expected = {200: whole, 206: whole[start : len(whole) if asked.get("Range", "").endswith("-") else end]}
        assert answer.body == expected[answer.code]
        await mirror.settled()
