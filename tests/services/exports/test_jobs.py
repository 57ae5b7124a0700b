"""Jobs and pins: rows that a restart goes on from."""

import asyncio

import pytest
import pytest_asyncio

from mirror.errors import StorageError
from mirror.services.exports.jobs import JobFile, Jobs
from mirror.storage.database.database import Database
from mirror.storage.files.eviction import Pins
from tests.storage.filestore import Clock, empty, memory_database, open_store

DAY = "20140101"


def name(n):
    return f"JSOC_{DAY}_{n:03d}"


@pytest.fixture(scope="module")
def database():
    opened = memory_database()
    yield opened
    opened.close()


@pytest.fixture
def clock():
    return Clock()


@pytest_asyncio.fixture
async def jobs(database, clock):
    await empty(database)
    return Jobs(database, clock)


async def submit(jobs, identity="one", since=0.0):
    return await jobs.submit('{"ds": "hmi.v_45s"}', identity, day=DAY, name=name, same_since=since)


async def test_a_job_waits_under_the_next_number_of_the_day(jobs):
    (first, new), (second, _) = await submit(jobs, "one"), await submit(jobs, "two")
    assert (first.id, second.id, new) == (name(1), name(2), True)
    assert (first.state, first.request, first.finished) == ("waiting", '{"ds": "hmi.v_45s"}', False)
    assert await jobs.get(first.id) == first
    assert await jobs.get("JSOC_19000101_001") is None


async def test_the_same_request_gets_the_same_job_even_at_once(jobs):
    found = await asyncio.gather(*(submit(jobs) for _ in range(10)))
    assert {job.id for job, _ in found} == {name(1)}
    assert sum(new for _, new in found) == 1


async def test_an_old_job_and_one_that_failed_are_not_the_same_request_any_more(jobs, clock):
    first, _ = await submit(jobs)
    second, new = await submit(jobs, since=clock.now + 1)
    assert (second.id, new) == (name(2), True)
    await jobs.advance(second.id, "failed", error="no such series")
    await jobs.advance(first.id, "failed", error="no such series")
    assert (await submit(jobs))[0].id == name(3)


async def test_numbers_are_not_used_again_nor_ids_of_upstream(jobs):
    first, _ = await submit(jobs)
    await jobs.advance(first.id, "staging", upstream_id=name(2))
    second, _ = await submit(jobs, "two")
    assert second.id == name(3)
    await jobs.remove([first.id, second.id])
    assert await jobs.get(first.id) is None
    assert (await submit(jobs, "three"))[0].id == name(4)


async def test_a_job_is_found_by_the_id_that_upstream_gave(jobs):
    job, _ = await submit(jobs)
    await jobs.advance(job.id, "staging", upstream_id="JSOC_20140101_777")
    assert (await jobs.get("JSOC_20140101_777")).id == job.id


async def test_a_job_goes_forward_only_and_what_ended_stays(jobs):
    job, _ = await submit(jobs)
    staging = await jobs.advance(job.id, "staging", upstream_id="JSOC_20140101_777")
    assert staging.updated > job.updated
    fetching = await jobs.advance(job.id, "fetching")
    assert fetching.upstream_id == "JSOC_20140101_777"
    with pytest.raises(StorageError, match="is fetching; it cannot become staging"):
        await jobs.advance(job.id, "staging")
    assert (await jobs.advance(job.id, "done")).finished
    with pytest.raises(StorageError, match="is done; it cannot become failed"):
        await jobs.advance(job.id, "failed", error="late")
    with pytest.raises(StorageError, match="there is no job 'nope'"):
        await jobs.advance("nope", "done")
    again = await jobs.restart(job.id)
    assert (again.state, again.upstream_id) == ("waiting", None)


async def test_the_files_of_a_job_keep_their_order_and_come_one_by_one(jobs, tmp_path, database):
    store = await open_store(tmp_path, database)
    job, _ = await submit(jobs)
    files = [JobFile(f"hmi.v_45s[{n}]", f"{n}.fits") for n in range(12)]
    await jobs.set_files(job.id, files)
    assert (await jobs.get(job.id)).files == tuple(files)
    blob = await store.keep(b"image")
    files[3] = JobFile("hmi.v_45s[3]", "3.fits", blob.sha256, 5)
    await jobs.set_files(job.id, files)
    assert (await jobs.get(job.id)).files[3] == files[3]
    await store.blobs.evict(1)
    assert (await jobs.get(job.id)).files[3].sha256 is None
    await jobs.set_files(job.id, [])
    assert (await jobs.get(job.id)).files == ()


async def test_a_restart_finds_the_jobs_to_go_on_with(tmp_path, clock):
    database = Database.open(tmp_path / "index.duckdb")
    jobs = Jobs(database, clock)
    ended, waiting, staging = [(await submit(jobs, x))[0] for x in ("a", "b", "c")]
    await jobs.advance(ended.id, "done")
    await jobs.advance(staging.id, "staging", upstream_id="JSOC_20140101_777")
    await jobs.set_files(staging.id, [JobFile("hmi.v_45s[1]", "1.fits")])
    database.close()
    database = Database.open(tmp_path / "index.duckdb")
    try:
        again = Jobs(database, clock)
        assert [job.id for job in await again.unfinished()] == [waiting.id, staging.id]
        assert (await again.unfinished())[1].files == (JobFile("hmi.v_45s[1]", "1.fits"),)
        assert [job.id for job in await again.latest(2)] == [staging.id, waiting.id]
        assert (await submit(again, "d"))[0].id == name(4)
    finally:
        database.close()


# ---- pins ----


async def test_pins_have_owners_reasons_and_an_end(jobs, database, clock):
    pins = Pins(database, clock)
    a, b = "a" * 64, "b" * 64
    await pins.pin([a, b], "job:1", "to be fetched", until=clock.now + 100)
    await pins.pin([a], "person:ada", "the flare")
    assert {(p.sha256, p.owner) for p in await pins.pins()} == {(a, "job:1"), (b, "job:1"), (a, "person:ada")}
    clock.now += 200
    assert [(p.owner, p.reason) for p in await pins.pins()] == [("person:ada", "the flare")]
    assert await pins.unpin("person:ada", [b]) == 0
    assert await pins.unpin("person:ada") == 1
    assert await pins.pins("person:ada") == []


async def test_pinning_again_replaces_the_reason_and_the_end(jobs, database, clock):
    pins = Pins(database, clock)
    for reason in ("first", "second"):
        await pins.pin(["a" * 64, "a" * 64], "person:ada", reason)
    assert [p.reason for p in await pins.pins("person:ada")] == ["second"]


async def test_a_pin_that_is_over_does_not_hold_a_blob_back(jobs, database, clock, tmp_path):
    store = await open_store(tmp_path, database, clock=clock)
    blob = await store.keep(b"image")
    await store.pins.pin([blob.sha256], "job:1", "to be fetched", until=clock.now + 100)
    assert (await store.blobs.evict(1)).blobs == ()
    clock.now += 200
    assert len((await store.blobs.evict(1)).blobs) == 1


async def test_what_is_no_hash_cannot_be_pinned(jobs, database, clock):
    with pytest.raises(StorageError, match="names no blob"):
        await Pins(database, clock).pin(["../../x"], "person:ada", "no")
