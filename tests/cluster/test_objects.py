"""Objects are put once, come as they were put, and each refusal says what to mend. On an S3 and on a folder."""

import asyncio
import errno
import hashlib
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.cluster import objects as module
from mirror.cluster.check import LOOKED, Mark
from mirror.cluster.objects import Objects, open_objects, probe
from mirror.errors import (
    ConfigError,
    ObjectDamaged,
    ObjectMissing,
    ObjectStoreAway,
    ObjectStoreError,
    ObjectStoreRefused,
    StorageError,
)
from tests.liar import Liar
from tests.servers import KEYS, bucket


@pytest.fixture(params=["s3", "file"])
def objects(request, tmp_path) -> Objects:
    if request.param == "file":
        return open_objects(f"file://{tmp_path}/shared folder", None)
    return open_objects(*bucket(), KEYS)


async def listed(objects: Objects, prefix: str = "") -> dict[str, int]:
    return {key: size async for key, size in objects.list(prefix)}


async def test_an_object_is_put_once(objects):
    assert await objects.put_new("chunks/hmi.V_45s/a.parquet", b"first")
    assert not await objects.put_new("chunks/hmi.V_45s/a.parquet", b"second")
    assert await objects.get("chunks/hmi.V_45s/a.parquet") == b"first"


async def test_of_many_at_a_time_one_puts_it(objects):
    won = await asyncio.gather(*(objects.put_new("blobs/ab/one", b"%d" % n) for n in range(12)))
    assert sum(won) == 1
    assert await objects.get("blobs/ab/one") == b"%d" % won.index(True)


async def test_a_file_goes_up_and_comes_down(objects, tmp_path):
    data = hashlib.sha256(b"seed").digest() * 200_000
    (tmp_path / "up").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    assert await objects.put_new("blobs/up", tmp_path / "up")
    assert await objects.exists("blobs/up") == len(data)
    await objects.get_to("blobs/up", tmp_path / "down", sha256=digest)
    assert (tmp_path / "down").read_bytes() == data
    async with objects.reading("blobs/up", 6_399_990) as rest:
        assert (rest.size, [piece async for piece in rest.pieces]) == (len(data), [data[-10:]])
    assert await objects.get_range("blobs/up", 30, 50) == data[30:50]
    assert await objects.get_range("blobs/up", len(data) - 5, len(data) + 5) == data[-5:]


async def test_what_the_disk_refuses_is_an_error_of_ours_and_leaves_no_half_of_it(tmp_path, monkeypatch):
    objects = open_objects(f"file://{tmp_path}/shared", None)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(module.os, "fsync", full)
        with pytest.raises(ObjectStoreAway, match=r"cannot put .*shared/chunks/one: "):
            await objects.put_new("chunks/one", b"first")
    assert (await objects.exists("chunks/one"), objects.problem) == (None, "")
    assert await objects.put_new("chunks/one", b"second")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", full)
        with pytest.raises(StorageError, match=r"cannot write .*down: "):
            await objects.get_to("chunks/one", tmp_path / "down")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared"]


async def test_other_bytes_than_promised_are_no_object(objects, tmp_path):
    await objects.put_new("blobs/x", b"other")
    with pytest.raises(ObjectDamaged, match=r"blobs/x has other bytes than its sha256"):
        await objects.get("blobs/x", sha256="0" * 64)
    with pytest.raises(ObjectDamaged):
        await objects.get_to("blobs/x", tmp_path / "x", sha256="0" * 64)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


async def test_what_is_not_there_is_missing(objects):
    with pytest.raises(ObjectMissing, match="nothing/here is not in the object store"):
        await objects.get("nothing/here")
    assert await objects.exists("nothing/here") is None
    assert await listed(objects, "nothing") == {}
    await objects.delete("nothing/here")


async def test_lists_show_whole_folders(objects):
    for key in ("a/1", "a/b/2", "ab/3"):
        await objects.put_new(key, key.encode())
    assert await listed(objects, "a") == {"a/1": 3, "a/b/2": 5}
    assert await listed(objects) == {"a/1": 3, "a/b/2": 5, "ab/3": 4}
    await objects.delete("a/1")
    assert await listed(objects, "a/") == {"a/b/2": 5}


async def test_a_store_that_can_all_passes_and_keeps_nothing_of_the_probe(objects):
    await objects.put_new("chunks/keep", b"1")
    await probe(objects)
    assert await listed(objects) == {"chunks/keep": 1}


async def test_a_store_that_begins_to_overwrite_objects_while_mirrors_run_is_found_out_and_spared():
    liar = Liar()
    async with TestServer(liar.application()) as server:
        store = open_objects("s3://bucket/v1", f"http://127.0.0.1:{server.port}", KEYS)
        mark = Mark(SimpleNamespace(identity="cluster-1"), store)
        await mark.join()
        assert (await mark.look(), store.unfit) == (LOOKED, "")
        liar.habit = "overwrites"
        held = dict(liar.held)
        assert await mark.look() < LOOKED
        assert "ignores If-None-Match" in store.unfit
        assert liar.held == held, "the look itself changes nothing"
        with pytest.raises(ObjectStoreAway, match=r"s3://bucket/v1 lets objects be overwritten"):
            await store.put_new("chunks/x", b"1")
        assert await mark.look() < LOOKED, "it is not over"
        liar.habit = "page"
        assert await mark.look() < LOOKED, "what says something else says nothing about this"
        liar.habit = "none"
        assert (await mark.look(), store.unfit) == (LOOKED, "")
        assert await store.put_new("chunks/x", b"1")
        liar.held.clear()
        assert (await mark.look(), store.unfit) == (LOOKED, ""), "a mark that is gone is another matter"


@pytest.mark.parametrize(
    "change, said",
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS_SECRET_ACCESS_KEY is not that of AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not know the key in AWS_ACCESS_KEY_ID"),
    ],
)
async def test_a_wrong_key_is_refused_with_the_reason(change, said):
    with pytest.raises(ObjectStoreRefused, match=said):
        await probe(open_objects(*bucket(), {**KEYS, **change}))


async def test_a_bucket_that_is_not_there_is_named():
    store = open_objects("s3://no-such-bucket/v1", bucket()[1], KEYS)
    with pytest.raises(ObjectStoreRefused, match=r"s3://no-such-bucket/v1.*has no such bucket; make it first"):
        await probe(store)


@pytest.mark.parametrize(
    "status, body, kind, said",
    [
        (404, b"<html>Not Found</html>", ObjectStoreRefused, "is there an S3 at the endpoint"),
        (301, b"<Error><Code>PermanentRedirect</Code></Error>", ObjectStoreRefused, "another region; set AWS_REGION"),
        (403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>", ObjectStoreRefused, "finds the clock of this machine wrong"),
        (200, b"<html>Log in, please</html>", ObjectStoreError, "what comes is not what a store says"),
        (503, b"", ObjectStoreAway, "HTTP 503"),
    ],
)
async def test_what_answers_and_is_no_store_of_ours_is_named(status, body, kind, said):
    async def answer(_):
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        with pytest.raises(kind, match=said):
            await probe(open_objects("s3://bucket/v1", f"http://127.0.0.1:{server.port}", KEYS))


async def test_the_endpoint_may_come_from_the_environment_of_other_programs():
    objects, endpoint = bucket()
    store = open_objects(objects, None, {**KEYS, "AWS_ENDPOINT_URL": endpoint})
    assert await store.put_new("x", b"1")


async def test_nobody_at_the_endpoint_is_away():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        objects = open_objects("s3://bucket/v1", f"http://127.0.0.1:{nobody.getsockname()[1]}", KEYS)
        with pytest.raises(ObjectStoreAway, match="is it up, and is the endpoint right"):
            await objects.get("x")
        with pytest.raises(ObjectStoreAway):
            await probe(objects)


def test_what_can_be_no_store_is_said_before_anything_is_asked(tmp_path):
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_objects("s3://bucket", "http://127.0.0.1:1", {})
    for half in KEYS:
        with pytest.raises(ConfigError, match="half a key; expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
            open_objects("s3://bucket", None, {half: KEYS[half]})
    with pytest.raises(ConfigError, match="these values cannot be used"):
        open_objects("s3://bucket/a/../b", None, KEYS)
    with pytest.raises(ConfigError, match='expected "s3://bucket/prefix" or "file:///folder"'):
        open_objects("gs://bucket", None, KEYS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        open_objects(f"file://{tmp_path}/file/below", None)


@pytest.mark.parametrize(
    "habit, kind, said",
    [
        ("none", None, ""),
        ("overwrites", ObjectStoreRefused, "lacks create-only puts"),
        ("stale", ObjectStoreRefused, "lacks listing: a new object is not shown at once"),
        ("keeps", ObjectStoreRefused, "lacks deleting"),
        ("whole", ObjectStoreError, "range"),
        ("short", ObjectStoreError, "probe/"),
        ("page", ObjectDamaged, "what comes is not what a store says"),
        ("other", ObjectStoreRefused, "reading: what was put is not what comes"),
        ("forgets", ObjectStoreRefused, "listing: a new object is not shown at once"),
    ],
)
async def test_a_store_that_lies_is_refused_with_what_it_lacks(habit, kind, said):
    async with TestServer(Liar(habit).application()) as server:
        store = open_objects("s3://bucket", f"http://127.0.0.1:{server.port}", KEYS)
        if kind is None:
            await probe(store)
            return
        with pytest.raises(kind, match=said) as problem:
            await probe(store)
        assert "\n" not in str(problem.value)


async def test_what_keeps_a_store_from_its_work_is_remembered_until_it_answers(monkeypatch):
    liar = Liar("silent")
    async with TestServer(liar.application()) as server:
        store = open_objects("s3://bucket", f"http://127.0.0.1:{server.port}", KEYS)
        monkeypatch.setattr(module, "FIRST", 0.1)
        with pytest.raises(ObjectStoreAway, match=r"cannot look for .*/x: it says nothing"):
            await store.exists("x")
        asked = liar.asked
        with pytest.raises(ObjectStoreAway, match="it says nothing"):
            await store.get("y")
        assert liar.asked == asked  # nobody else waits for it
        assert "it says nothing" in store.problem
        liar.habit = "none"
        monkeypatch.setattr(store, "_silent_until", 0.0)
        assert await store.exists("x") is None
        assert store.problem == ""
