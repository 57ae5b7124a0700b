"""Blobs: written, kept, read, checked, evicted; and every refusal in words."""

import asyncio
import errno
import gc
import os
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.errors import NotHeld, StorageError, UpstreamBroken
from mirror.storage.files import eviction
from tests.storage.filestore import FaultyDisk, assert_whole, empty, memory_database, open_store, sha256

IMAGE = b"SIMPLE  =" + bytes(range(256)) * 40


@pytest.fixture(scope="module")
def shared_database():
    opened = memory_database()
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def database(shared_database):
    await empty(shared_database)
    return shared_database


@pytest_asyncio.fixture
async def store(tmp_path, database):
    return await open_store(tmp_path / "store", database)


async def limited(tmp_path, database, quota, **options):
    return await open_store(tmp_path / "limited", database, quota=quota, **options)


class Gone(Exception):
    """A download breaks off."""


async def receive(store, data, *, size=None, check=None, key=None):
    async with store.blobs.incoming(resume=key) as sink:
        await sink.write(data)
        return await sink.keep(size=size, check=check)


async def break_off(store, data, key, validator=None):
    async def download():
        async with store.blobs.incoming(resume=key) as sink:
            sink.validator = validator
            await sink.write(data)
            raise Gone

    with pytest.raises(Gone):
        await download()


def open_files():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


# ---- keeping ----


async def test_a_file_is_kept_under_its_hash_read_only_and_readable_again(store):
    blob = await store.keep(IMAGE)
    assert (blob.sha256, blob.size) == (sha256(IMAGE), len(IMAGE))
    assert await store.blobs.find(blob.sha256) == blob
    assert await store.bytes_of(blob) == IMAGE
    assert store.file_of(blob).stat().st_mode & 0o777 == 0o444
    assert store.incoming() == []
    await assert_whole(store)


async def test_chunks_of_any_size_add_up(store):
    async with store.blobs.incoming() as sink:
        for size in (0, 1, 100, 5000, 3):
            await sink.write(IMAGE[sink.written : sink.written + size])
            assert sink.path.stat().st_size == sink.written
        await sink.write(IMAGE[sink.written :])
        blob = await sink.keep()
        assert await sink.keep() is blob
    assert await store.bytes_of(blob) == IMAGE


async def test_the_same_content_twice_is_one_blob_and_counts_once(store):
    first, second = await store.keep(IMAGE), await store.keep(IMAGE)
    assert first.sha256 == second.sha256
    assert second.kept_at == first.kept_at
    assert second.verified_at > first.verified_at
    assert store.blobs.usage().held == len(IMAGE)
    await assert_whole(store)


async def test_the_same_content_at_once_is_one_blob(store):
    blobs = await asyncio.gather(*(store.keep(IMAGE) for _ in range(8)))
    assert len({blob.sha256 for blob in blobs}) == 1
    await assert_whole(store)


async def test_content_that_comes_again_heals_a_damaged_file(store):
    blob = await store.keep(IMAGE)
    store.file_of(blob).chmod(0o600)
    store.file_of(blob).write_bytes(b"x" * len(IMAGE))
    await store.keep(IMAGE)
    assert await store.bytes_of(blob) == IMAGE
    await assert_whole(store)


async def test_a_sink_that_is_not_kept_leaves_nothing(store):
    async with store.blobs.incoming() as sink:
        await sink.write(IMAGE)
    assert store.incoming() == []
    await assert_whole(store)


async def test_a_file_that_is_cut_short_or_too_long_is_not_kept(store):
    for size, words in ((len(IMAGE) + 1, "cut short"), (len(IMAGE) - 1, "longer")):
        with pytest.raises(UpstreamBroken, match=f"{words}: {len(IMAGE)} bytes of {size}"):
            await receive(store, IMAGE, size=size)
    await assert_whole(store)


async def test_a_check_looks_at_the_file_and_may_refuse_it(store):
    seen = []
    with pytest.raises(UpstreamBroken, match="incomplete file was received: it is a web page"):
        await receive(store, IMAGE, key="key", check=lambda p: seen.append(p.read_bytes()) or "it is a web page")
    assert seen == [IMAGE]
    assert store.incoming() == []  # bad bytes are not worth continuing
    await assert_whole(store)


async def test_a_download_that_is_cancelled_leaves_nothing(store):
    async def download():
        async with store.blobs.incoming() as sink:
            await sink.write(IMAGE)
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    task = asyncio.create_task(download())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_whole(store)
    assert store.incoming() == []


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_cancelling_at_any_moment_keeps_a_file_whole_or_not_at_all(store, turns):
    task = asyncio.create_task(store.keep(IMAGE + bytes([turns])))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await assert_whole(store)
    assert store.incoming() == []


async def test_no_file_stays_open(store):
    await store.keep(IMAGE)
    before = open_files()
    for n in range(5):
        await store.keep(IMAGE + bytes([n]))
        await break_off(store, IMAGE, f"/D{n}/S00000/a.fits")
    assert open_files() == before


# ---- resuming ----


async def test_a_download_that_broke_off_goes_on_where_it_was(store):
    await break_off(store, IMAGE[:1000], "/D1/S00000/a.fits", '"etag"')
    assert store.blobs.usage().parked == 1000
    async with store.blobs.incoming(len(IMAGE), resume="/D1/S00000/a.fits") as sink:
        assert (sink.offset, sink.validator, sink.written) == (1000, '"etag"', 1000)
        await sink.write(IMAGE[1000:])
        blob = await sink.keep(size=len(IMAGE))
    assert await store.bytes_of(blob) == IMAGE
    assert store.incoming() == []
    assert store.blobs.usage().parked == 0
    await assert_whole(store)


async def test_a_parked_download_survives_a_restart(store, database):
    await break_off(store, IMAGE[:1000], "/D1/S00000/a.fits", '"etag"')
    again = await open_store(store.root, database)
    assert again.blobs.usage().parked == 1000
    async with again.blobs.incoming(resume="/D1/S00000/a.fits") as sink:
        assert (sink.offset, sink.validator) == (1000, '"etag"')


async def test_a_source_that_does_not_continue_makes_it_begin_again(store):
    await break_off(store, IMAGE[:1000], "/D1/S00000/a.fits")
    async with store.blobs.incoming(resume="/D1/S00000/a.fits") as sink:
        await sink.restart()
        assert (sink.offset, sink.written) == (0, 0)
        await sink.write(IMAGE)
        blob = await sink.keep()
    assert await store.bytes_of(blob) == IMAGE


@pytest.mark.parametrize("harm", ["flip", "cut", "no mark", "bad mark", "other key"])
async def test_a_parked_part_whose_bytes_are_not_as_noted_is_not_continued(store, harm):
    await break_off(store, IMAGE[:1000], "/D1/S00000/a.fits")
    part, mark = (next((store.root / "incoming").glob(f"*.{kind}")) for kind in ("part", "mark"))
    if harm == "flip":
        part.write_bytes(b"?" + part.read_bytes()[1:])
    elif harm == "cut":
        part.write_bytes(part.read_bytes()[:-1])
    elif harm == "no mark":
        mark.unlink()
    else:
        mark.write_text("{" if harm == "bad mark" else mark.read_text().replace("D1", "D2"))
    async with store.blobs.incoming(resume="/D1/S00000/a.fits") as sink:
        assert (sink.offset, sink.written, sink.path.stat().st_size) == (0, 0, 0)


async def test_bytes_behind_the_good_ones_are_cut_off(store):
    await break_off(store, IMAGE[:1000], "/D1/S00000/a.fits")
    part = next((store.root / "incoming").glob("*.part"))
    part.write_bytes(part.read_bytes() + b"left by a crash")
    async with store.blobs.incoming(resume="/D1/S00000/a.fits") as sink:
        assert sink.written == sink.path.stat().st_size == 1000


async def test_a_key_is_received_once_at_a_time(store):
    async with store.blobs.incoming(resume="/D1/S00000/a.fits"):
        with pytest.raises(StorageError, match=r"a\.fits is being received already"):
            async with store.blobs.incoming(resume="/D1/S00000/a.fits"):
                pass
    async with store.blobs.incoming(resume="/D1/S00000/a.fits") as sink:
        assert sink.offset == 0


async def test_parked_parts_make_way_for_downloads(tmp_path, database):
    store = await limited(tmp_path, database, 2000)
    await break_off(store, IMAGE[:1500], "/D1/S00000/a.fits")
    (await store.blobs.reserve(1000)).release()
    assert store.blobs.usage().parked == 0
    assert store.incoming() == []


async def test_parts_nobody_came_back_for_are_swept_after_a_week(store, database):
    await break_off(store, IMAGE[:1000], "/D1/S00000/a.fits")
    for path in (store.root / "incoming").iterdir():
        os.utime(path, (1.0, 1.0))
    again = await open_store(store.root, database)
    assert again.incoming() == []
    assert again.blobs.usage().parked == 0


# ---- room ----


async def test_room_is_promised_before_a_download_starts(tmp_path, database):
    store = await limited(tmp_path, database, 1000)
    promise = await store.blobs.reserve(700)
    with pytest.raises(StorageError, match=r"no space for 400 B: of the store's quota of 1 kB, 0 B are in use and 700 B"):
        await store.blobs.reserve(400)
    async with store.blobs.incoming(reservation=promise) as sink:
        await sink.write(b"a" * 600)
        await sink.keep()
    usage = store.blobs.usage()
    assert (usage.held, usage.reserved) == (600, 0)


async def test_a_promise_is_free_again_however_the_download_ends(tmp_path, database):
    store = await limited(tmp_path, database, 1000)
    with pytest.raises(Gone):
        async with store.blobs.incoming(1000):
            raise Gone
    with await store.blobs.reserve(1000):
        assert store.blobs.usage().reserved == 1000
    assert store.blobs.usage().reserved == 0


async def test_what_is_larger_than_the_quota_is_refused_and_nothing_evicted_for_it(tmp_path, database):
    store = await limited(tmp_path, database, 1000)
    await store.keep(b"a" * 900)
    with pytest.raises(StorageError, match=r"1\.2 kB exceed the store's quota of 1 kB"):
        await store.blobs.reserve(1200)
    assert store.blobs.usage().held == 900


async def test_a_download_that_is_larger_than_it_said_gets_more_room_or_an_error(tmp_path, database):
    store = await limited(tmp_path, database, 1000)
    async with store.blobs.incoming(10) as sink:
        await sink.write(b"a" * 500)
        assert store.blobs.usage().reserved == 500
        with pytest.raises(StorageError, match=r"no space for 501 B"):
            await sink.write(b"a" * 501)
    assert store.incoming() == []
    await assert_whole(store)


async def test_the_least_recently_used_makes_room(tmp_path, database):
    store = await limited(tmp_path, database, 1000)
    old, used, new = [await store.keep(c * 300) for c in (b"a", b"b", b"c")]
    await store.bytes_of(old)
    fresh = await store.keep(b"d" * 300)
    assert await store.blobs.find(used.sha256) is None
    assert [await store.blobs.find(b.sha256) is not None for b in (old, new, fresh)] == [True] * 3
    assert not store.file_of(used).exists()
    await assert_whole(store)


async def test_what_somebody_else_removed_does_not_count_as_evicted(tmp_path, database, monkeypatch):
    monkeypatch.setattr(eviction, "_BATCHES", 1)
    store = await limited(tmp_path, database, 1000)
    _, next_one, _ = [await store.keep(c * 300) for c in (b"a", b"b", b"c")]
    (await store.blobs.reserve(200)).release()  # from now on it is known who would go next
    store.file_of(next_one).unlink()
    assert (await store.blobs.verify(next_one.sha256)).problem
    (await store.blobs.reserve(800)).release()
    await assert_whole(store)


async def test_a_file_that_is_kept_while_its_download_is_cancelled_can_be_evicted(store, monkeypatch):
    begun, keep_part = asyncio.Event(), store.blobs._receiving.keep_part

    async def slow(*given):
        begun.set()
        return await keep_part(*given)

    monkeypatch.setattr(store.blobs._receiving, "keep_part", slow)
    task = asyncio.create_task(receive(store, IMAGE))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (await store.blobs.evict(len(IMAGE))).freed == len(IMAGE)
    await assert_whole(store)


async def test_a_file_that_leaves_while_the_folders_are_read_is_no_error(store, monkeypatch):
    blob = await store.keep(IMAGE)
    scandir = os.scandir

    def then_it_leaves(path):
        found = list(scandir(path))
        if any(entry.name == blob.sha256 for entry in found):
            store.file_of(blob).unlink()
        return found

    monkeypatch.setattr(os, "scandir", then_it_leaves)
    assert blob.sha256 in (await store.blobs.check.disagreements()).missing


async def test_pinned_blobs_stay_and_when_that_leaves_no_room_nothing_goes(tmp_path, database):
    store = await limited(tmp_path, database, 1000)
    pinned, free = await store.keep(b"a" * 600), await store.keep(b"b" * 300)
    await store.pins.pin([pinned.sha256], "person:ada", "the flare")
    with pytest.raises(StorageError, match="remove pins"):
        await store.blobs.reserve(500)
    assert await store.blobs.find(free.sha256)
    await store.pins.unpin("person:ada")
    (await store.blobs.reserve(500)).release()
    assert await store.blobs.find(pinned.sha256) is None


async def test_a_dry_run_says_what_would_go_and_changes_nothing(store):
    blobs = [await store.keep(c * 300) for c in (b"a", b"b", b"c")]
    plan = await store.blobs.evict(400, dry_run=True)
    assert [b.sha256 for b in plan.blobs] == [b.sha256 for b in blobs[:2]]
    assert plan.freed == 600
    assert store.blobs.usage().held == 900
    done = await store.blobs.evict(400)
    assert [b.sha256 for b in done.blobs] == [b.sha256 for b in plan.blobs]
    assert store.blobs.usage().held == 300
    await assert_whole(store)


async def test_a_blob_that_is_read_or_still_arriving_is_not_evicted(store):
    blob = await store.keep(IMAGE)
    with store.blobs.reading(blob) as path:
        assert (await store.blobs.evict(10**9)).blobs == ()
        assert path.read_bytes() == IMAGE
    async with store.blobs.incoming() as sink:
        await sink.write(b"new")
        kept = await sink.keep()
        assert [b.sha256 for b in (await store.blobs.evict(10**9)).blobs] == [blob.sha256]
    assert await store.blobs.find(kept.sha256)
    await assert_whole(store)


async def test_a_pin_that_comes_between_plan_and_eviction_holds(store, monkeypatch):
    blob = await store.keep(IMAGE)
    plan = await store.blobs.evict(1, dry_run=True)
    await store.pins.pin([blob.sha256], "job:1", "to be fetched")
    done = await store.blobs._room._evict(plan)
    assert done.blobs == ()
    await assert_whole(store)


async def test_many_downloads_at_once_never_run_over_the_quota(tmp_path, database):
    store = await limited(tmp_path, database, 5000)
    highest = 0

    async def download(n):
        nonlocal highest
        async with store.blobs.incoming(700) as sink:
            for _ in range(7):
                await sink.write(bytes([n]) * 100)
                usage = store.blobs.usage()
                highest = max(highest, usage.held + usage.reserved)
            await sink.keep()

    results = await asyncio.gather(*(download(n) for n in range(30)), return_exceptions=True)
    assert all(r is None or isinstance(r, StorageError) for r in results)
    assert sum(r is None for r in results) >= 7
    assert highest <= 5000
    await assert_whole(store)


async def test_a_disk_with_too_little_left_is_refused_before_a_download_starts(tmp_path, database):
    class Small(FaultyDisk):
        def free(self, path):
            return eviction.MARGIN + 1000

    store = await limited(tmp_path, database, None, disk=Small(None))
    await store.keep(b"a" * 900)
    promise = await store.blobs.reserve(600)
    with pytest.raises(StorageError, match=r"disk of .* is full: 500 B are needed, .* 400 B may be used"):
        await store.blobs.reserve(500)
    promise.release()
    assert store.blobs.usage().held == 900  # nothing was evicted for the disk's sake


# ---- reading and checking ----


async def test_a_blob_is_named_by_a_hash_and_nothing_else(store):
    blob = await store.keep(IMAGE)
    for name in ("", "../../etc/passwd", "A" * 64, blob.sha256[:-1], "/" + blob.sha256[1:]):
        with pytest.raises((StorageError, NotHeld), match=r"names no blob|no file"):
            await store.blobs.verify(name)
        with pytest.raises(StorageError, match="names no blob"):
            store.blobs._folders.blob(name)


async def test_a_file_that_lost_its_length_or_is_gone_is_not_served(store):
    blob = await store.keep(IMAGE)
    store.file_of(blob).chmod(0o600)
    store.file_of(blob).write_bytes(IMAGE[:-1])
    with pytest.raises(NotHeld, match=f"{len(IMAGE) - 1} bytes instead of {len(IMAGE)}"), store.blobs.reading(blob):
        pass
    store.file_of(blob).unlink()
    with pytest.raises(NotHeld, match="No such file"), store.blobs.reading(blob):
        pass
    assert "gone" in (await store.blobs.verify(blob.sha256)).problem
    await assert_whole(store)


@pytest.mark.parametrize("cut", [False, True])
async def test_a_blob_that_is_looked_up_is_seen_to_be_lost(store, cut):
    blob, other = await store.keep(IMAGE), await store.keep(b"other")
    if cut:
        store.file_of(blob).chmod(0o600)
        store.file_of(blob).write_bytes(IMAGE[:-1])
    else:
        store.file_of(blob).unlink()
    departures = store.blobs.departures.number
    assert await store.blobs.find(blob.sha256) is None
    assert (await store.blobs.find(other.sha256)).sha256 == other.sha256
    assert store.blobs.usage().held == other.size
    assert store.blobs.departures.number > departures
    await assert_whole(store)


async def test_the_lost_among_many_are_found_and_counted_once(store):
    blobs = [await store.keep(b"%d" % n) for n in range(20)]
    gone = blobs[::3]
    for blob in gone:
        store.file_of(blob).unlink()
    found = await asyncio.gather(*(store.blobs.lost([*blobs, *blobs]) for _ in range(3)))
    assert found == [{blob.sha256 for blob in gone}] * 3
    assert store.blobs.usage().held == sum(blob.size for blob in blobs if blob not in gone)
    assert await store.blobs.lost(blobs) == {blob.sha256 for blob in gone}
    await assert_whole(store)


async def test_a_disk_that_is_not_mounted_any_more_is_an_error_and_loses_nothing(store):
    blob = await store.keep(IMAGE)
    away = store.root / "blobs"
    away.rename(store.root / "elsewhere")
    with pytest.raises(StorageError, match="mounted"):
        await store.blobs.find(blob.sha256)
    with pytest.raises(StorageError, match="mounted"):
        await store.blobs.verify(blob.sha256)
    (store.root / "elsewhere").rename(away)
    assert await store.blobs.find(blob.sha256) == blob


async def test_a_good_blob_verifies_and_notes_when(store):
    blob = await store.keep(IMAGE)
    verdict = await store.blobs.verify(blob.sha256)
    assert verdict.problem is None
    assert (await store.blobs.find(blob.sha256)).verified_at > blob.verified_at


async def test_a_damaged_blob_goes_into_quarantine_and_is_not_found_any_more(store):
    blob, other = await store.keep(IMAGE), await store.keep(b"other")
    await store.pins.pin([blob.sha256], "person:ada", "the flare")
    store.file_of(blob).chmod(0o600)
    store.file_of(blob).write_bytes(IMAGE[:-1] + b"?")
    verdict = await store.blobs.verify(blob.sha256)
    assert "sha256" in verdict.problem
    assert await store.blobs.find(blob.sha256) is None
    assert [p.name[:64] for p in (store.root / "quarantine").iterdir()] == [blob.sha256]
    assert len(await store.pins.pins()) == 1
    assert store.blobs.usage().held == other.size
    await assert_whole(store)
    await store.keep(IMAGE)
    assert (await store.blobs.verify(blob.sha256)).problem is None


async def test_the_blobs_to_check_next_are_those_checked_longest_ago(store):
    first, second = await store.keep(b"a"), await store.keep(b"b")
    await store.blobs.verify(first.sha256)
    assert [b.sha256 for b in await store.blobs.oldest_checked(1)] == [second.sha256]


async def test_when_blobs_were_used_outlives_a_restart(store, database):
    first, second = await store.keep(b"a"), await store.keep(b"b")
    await store.bytes_of(first)
    await store.blobs.note_uses()
    again = await open_store(store.root, database)
    assert [b.sha256 for b in (await again.blobs.evict(1, dry_run=True)).blobs] == [second.sha256]


# ---- refusals in words ----


@pytest.mark.parametrize(
    "number, words",
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk quota of this user is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "the disk reports an input/output error"),
        (errno.EACCES, "permission denied; the store must belong to the user who runs the mirror"),
        (errno.ENOTDIR, "Not a directory|made up"),
    ],
)
async def test_what_the_system_refuses_is_told_with_the_file_and_what_to_do(tmp_path, database, number, words):
    disk = FaultyDisk(None, number)
    store = await open_store(tmp_path / "store", database, disk=disk)
    disk.fails_at = len(disk.steps) + 2  # the first write
    with pytest.raises(StorageError, match=rf"cannot \w+ {tmp_path}.*: ({words})"):
        await store.keep(IMAGE)
    await assert_whole(store)
    await store.keep(IMAGE)
    await assert_whole(store)
