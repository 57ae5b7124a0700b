"""Files of a cluster: one mirror asks JSOC for each, all have it, and faults of the object store lose nothing."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from mirror.cluster.units import blob_key
from mirror.errors import ObjectStoreAway
from tests.clusterlab import ClusterLab, cluster
from tests.filelab import synthetic
from tests.servers import KEYS, bucket
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from mirror.cluster.files import SharedFiles
    from tests.lab import Lab


async def some_paths(mirror: Lab, count: int = 1) -> list[str]:
    """Paths of files of the made-up series."""
    told = await mirror.ask("hmi.sharp_720s[][2014.02.10_00:00_TAI]", "*recnum*", seg="bitmap")
    return told.json["segments"][0]["values"][:count]


async def downloads(made: ClusterLab) -> list[str]:
    """The files that JSOC was asked for."""
    return [e["params"]["path"] for e in await made.mirrors[0].log(program="file")]


def files_of(mirror: Lab) -> SharedFiles:
    found = mirror.running.shared_files
    assert found is not None
    return found


async def uploaded(mirror: Lab) -> None:
    async with asyncio.timeout(PATIENCE):
        for download in mirror.running.downloads.running():
            await download.kept()
        await files_of(mirror).uploaded()


async def settled(made: ClusterLab) -> None:
    for mirror in made.mirrors:
        await uploaded(mirror)


async def wipe(mirror: Lab) -> None:
    """The disk of a mirror is new."""
    await mirror.stop()
    shutil.rmtree(mirror.path)
    mirror.path.mkdir()
    await mirror.start()


def object_of(made: ClusterLab, body: bytes):
    return made.objects / blob_key(hashlib.sha256(body).hexdigest())


@pytest_asyncio.fixture
async def made(tmp_path):
    async with cluster(tmp_path, 2, synthetic()) as made:
        yield made


async def test_one_mirror_asks_and_the_other_has_it_too(made):
    first, second = made.mirrors
    (path,) = await some_paths(first)
    got = await first.get(path)
    assert got.code == 200 and len(got.body) > 1000
    await uploaded(first)
    assert object_of(made, got.body).read_bytes() == got.body
    again = await second.get(path)
    assert (again.code, again.body) == (200, got.body)
    assert await downloads(made) == [path]
    assert files_of(second).counts["got"] == 1
    told = (await second.get("/api/cluster")).json
    assert (told["files"], told["file_bytes"], told["files_problem"]) == (1, len(got.body), "")
    assert 'mirror_cluster_files_total{what="got"} 1' in (await second.get("/metrics")).body.decode()


async def test_many_clients_of_several_mirrors_want_one_file(tmp_path):
    async with cluster(tmp_path, 4, synthetic()) as made:
        (path,) = await some_paths(made.mirrors[0])
        got = await asyncio.gather(*(mirror.get(path) for mirror in made.mirrors for _ in range(50)))
        assert {answer.code for answer in got} == {200}
        assert len({answer.body for answer in got}) == 1
        assert await downloads(made) == [path]


async def test_many_files_are_fetched_once_each_whoever_is_first(made):
    paths = await some_paths(made.mirrors[0], 12)
    assert len(set(paths)) == 12
    one, other = made.mirrors
    wanted = [(one, path) for path in paths] + [(other, path) for path in reversed(paths)]
    got = await asyncio.gather(*(mirror.get(path) for mirror, path in wanted))
    assert [a.body for a in got[:12]] == [a.body for a in reversed(got[12:])]
    assert sorted(await downloads(made)) == sorted(paths)


async def test_all_goes_on_with_a_wiped_disk_and_nobody_asks_jsoc(made):
    first, _ = made.mirrors
    paths = await some_paths(first, 3)
    bodies = [(await first.get(path)).body for path in paths]
    await uploaded(first)
    await made.published()
    asked = await downloads(made)
    await wipe(first)
    assert [(await first.get(path)).body for path in paths] == bodies
    assert await downloads(made) == asked
    assert files_of(first).counts["got"] == 3


async def test_what_lies_beside_the_objects_is_served_while_jsoc_may_not_be_asked(made):
    first, second = made.mirrors
    (path,) = await some_paths(first)
    body = (await first.get(path)).body
    await uploaded(first)
    await second.restart(MIRROR_UPSTREAM__POLICY="offline")
    assert (await second.get(path)).body == body


async def test_what_the_objects_have_is_evicted_first(made):
    first, _ = made.mirrors
    here, there = (await some_paths(first, 2))[:2]
    await first.get(here)  # used before, and would go first
    await first.get(there)
    await uploaded(first)
    sha256 = hashlib.sha256((await first.get(here)).body).hexdigest()
    await files_of(first)._known.drop(sha256)
    gone = await first.running.blobs.evict(1)
    assert [blob.sha256 for blob in gone.blobs] != [sha256]
    assert (await first.get(there)).code == 200
    assert len(await downloads(made)) == 2


async def test_while_the_objects_are_away_local_files_go_on_and_go_up_after_a_restart(made, monkeypatch):
    first, second = made.mirrors
    objects = files_of(first)._objects

    async def away(*_, **__):
        raise ObjectStoreAway("the object store cannot put: no answer")

    for name in ("put_new", "exists", "get"):
        monkeypatch.setattr(objects, name, away)
    paths = await some_paths(first, 2)
    bodies = [(await first.get(path)).body for path in paths]
    async with asyncio.timeout(PATIENCE):
        while not files_of(first).problem:  # noqa: ASYNC110  (nobody else needs to be told)
            await asyncio.sleep(0.01)
    assert "no answer" in files_of(first).problem
    assert [(await first.get(path)).body for path in paths] == bodies
    await first.restart()
    await uploaded(first)
    assert [(await second.get(path)).body for path in paths] == bodies
    assert sorted(await downloads(made)) == sorted(paths)


@pytest.mark.parametrize("damage", ["gone", "other bytes", "shorter"])
async def test_an_object_that_is_gone_or_damaged_is_asked_of_jsoc_again(made, damage):
    first, second = made.mirrors
    (path,) = await some_paths(first)
    body = (await first.get(path)).body
    await uploaded(first)
    place = object_of(made, body)
    if damage == "gone":
        place.unlink()
    else:
        place.write_bytes(body[:-1] + bytes([body[-1] ^ 1]) if damage == "other bytes" else body[:-100])
    got = await second.get(path)
    assert (got.code, got.body) == (200, body)
    assert await downloads(made) == [path, path]
    await settled(made)
    assert place.read_bytes() == body
    kept = list((made.objects / "damaged").glob("*"))
    assert len(kept) == (damage != "gone")
    await wipe(first)
    assert (await first.get(path)).body == body
    assert len(await downloads(made)) == 2


async def test_an_object_that_breaks_off_is_asked_for_again_and_then_jsoc(made):
    first, second = made.mirrors
    (path,) = await some_paths(first)
    body = (await first.get(path)).body
    await uploaded(first)
    objects = files_of(second)._objects
    whole, tries = objects._pieces, []

    async def short(key, stream, expected):
        tries.append(key)
        async for piece in whole(key, stream, expected):
            yield piece[:1000]
            raise ObjectStoreAway("the connection broke")

    objects._pieces = short
    assert (await second.get(path)).body == body
    assert len(tries) == 2
    assert await downloads(made) == [path, path]


async def test_an_empty_folder_instead_of_the_objects_is_no_loss(made):
    """The shared folder is not mounted: rows stay, so that the files are there when it is again."""
    first, second = made.mirrors
    (path,) = await some_paths(first)
    body = (await first.get(path)).body
    await uploaded(first)
    made.objects.rename(made.path / "unmounted")
    made.objects.mkdir()
    assert (await second.get(path)).code == 504
    made.objects.rmdir()
    (made.path / "unmounted").rename(made.objects)
    assert (await second.get(path)).body == body
    assert await downloads(made) == [path]


async def test_a_mirror_that_ends_before_its_upload_leaves_no_lock(made):
    first, second = made.mirrors
    (path,) = await some_paths(first)
    files_of(first)._upload = _never
    body = (await first.get(path)).body
    await first.stop()
    async with asyncio.timeout(PATIENCE):
        assert (await second.get(path)).body == body
    await first.start()


async def _never(_):
    await asyncio.Event().wait()


async def test_on_s3_too(tmp_path, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    objects, endpoint = bucket()
    settings = {"MIRROR_CLUSTER__OBJECTS": objects, "MIRROR_CLUSTER__ENDPOINT": endpoint}
    async with cluster(tmp_path, 2, synthetic(), **settings) as made:
        first, second = made.mirrors
        paths = await some_paths(first, 3)
        bodies = [(await first.get(path)).body for path in paths]
        await uploaded(first)
        assert [(await second.get(path)).body for path in paths] == bodies
        assert sorted(await downloads(made)) == sorted(paths)


async def test_a_check_finds_objects_that_are_gone_and_has_them_put_again(made):
    first, second = made.mirrors
    paths = await some_paths(first, 4)
    bodies = [(await first.get(path)).body for path in paths]
    await uploaded(first)
    object_of(made, bodies[0]).unlink()
    object_of(made, bodies[1]).write_bytes(b"short")
    (made.objects / "blobs/00").mkdir(exist_ok=True)
    (made.objects / "blobs/00" / ("0" * 64)).write_bytes(b"nobody's")
    findings = [f for digit in "0123456789abcdef" for f in (await files_of(second).check(digit))[0]]
    assert sorted((f.problem, f.action) for f in findings) == [
        (f"it has 5 bytes instead of {len(bodies[1]):,}", "its files are asked of JSOC when somebody wants them"),
        ("it is gone", "its files are asked of JSOC when somebody wants them"),
        ("no row knows it", "left alone"),
    ]
    await first.restart()  # it sees that its files have no row any more
    await uploaded(first)
    assert [object_of(made, body).read_bytes() for body in bodies] == bodies
    assert [(await second.get(path)).body for path in paths] == bodies
    assert len(await downloads(made)) == 4


async def test_mirror_check_tells_of_them(made):
    first, _ = made.mirrors
    (path,) = await some_paths(first)
    body = (await first.get(path)).body
    await uploaded(first)
    object_of(made, body).unlink()
    await first.request("POST", "/api/check", data=b'{"scope": "files"}', headers={"Content-Type": "application/json"})
    await first.running.upkeep.checker.wait()
    told = (await first.get("/api/check")).json
    assert told["ok"] and [(f["kind"], f["action"]) for f in told["findings"]] == [("object", "put there again")]
    await uploaded(first)
    assert object_of(made, body).read_bytes() == body


async def test_a_bundle_has_what_left_the_store_for_the_objects(made, tmp_path):
    first, _ = made.mirrors
    (path,) = await some_paths(first)
    body = (await first.get(path)).body
    await uploaded(first)
    sharp = (await first.ask("hmi.sharp_720s[][2014.02.10_00:00_TAI]", "HARPNUM")).json["keywords"][0]["values"][0]
    assert (await first.running.blobs.evict(1)).blobs
    target = tmp_path / "bundle"
    order = {"recordsets": [f"hmi.sharp_720s[{sharp}][2014.02.10_00:00_TAI]{{bitmap}}"], "to": str(target), "held": True}
    told = await first.request("POST", "/api/bundle", json=order)
    assert told.code == 200, told.body
    assert [p.read_bytes() for p in target.rglob("*") if p.is_file() and p.stat().st_size == len(body)] == [body]
    assert len(await downloads(made)) == 1
