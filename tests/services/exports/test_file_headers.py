"""FileHeaders: kept once, as long as a file of a job names them, and never given out damaged."""

from __future__ import annotations

import pytest
import pytest_asyncio

from mirror.errors import StorageError
from mirror.services.exports.content import FileHeaders, ReplacedHeader
from mirror.services.exports.jobs import JobFile, Jobs
from tests.storage.filestore import Clock, empty, memory_database, open_store

DATA = b"SIMPLE  =                    T".ljust(80) * 180


@pytest.fixture(scope="module")
def database():
    opened = memory_database()
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def jobs(database):
    await empty(database)
    return Jobs(database, Clock())


async def submit(jobs, identity):
    made = {"day": "20140101", "name": lambda n: f"JSOC_20140101_{n}", "same_since": 0.0}
    return (await jobs.submit("{}", identity, **made))[0].id


async def kept(database):
    return await database.read(
        lambda c: c.execute("SELECT count(*), sum(octet_length(data)) FROM mirror.fronts").fetchone()
    )


def file(front, name="a.fits"):
    return JobFile("hmi.v_45s[1]", name, "0" * 64, front.whole, front=front)


async def test_a_front_is_kept_with_the_files_of_a_job_and_packed(jobs, database):
    front = ReplacedHeader.of(DATA, 5760, 1000)
    job = await submit(jobs, "one")
    await jobs.set_files(job, [file(front)])
    (found,) = (await jobs.get(job)).files
    assert found == file(front)
    assert (found.front.packed, found.front.whole) == (None, len(DATA) + 1000)
    assert await FileHeaders(database).read(found.front) == DATA
    assert (await kept(database))[1] < len(DATA) / 5


async def test_the_same_bytes_are_kept_once_and_go_with_the_last_that_names_them(jobs, database):
    one, two = await submit(jobs, "one"), await submit(jobs, "two")
    front, other = ReplacedHeader.of(DATA, 5760, 1000), ReplacedHeader.of(DATA + b"x", 5760, 1000)
    await jobs.set_files(one, [file(front), file(other, "b.fits")])
    await jobs.set_files(two, [file(front)])
    assert (await kept(database))[0] == 2
    await jobs.remove([one])
    assert (await kept(database))[0] == 1
    assert await FileHeaders(database).read(front) == DATA
    await jobs.set_files(two, [])
    assert (await kept(database))[0] == 0


async def test_files_that_a_job_has_already_keep_their_fronts(jobs, database):
    job = await submit(jobs, "one")
    await jobs.set_files(job, [file(ReplacedHeader.of(DATA, 0, 10))])
    (before,) = (await jobs.get(job)).files
    await jobs.set_files(job, [before, file(ReplacedHeader.of(DATA + b"x", 0, 10), "b.fits")])
    assert (await kept(database))[0] == 2
    assert await FileHeaders(database).read(before.front) == DATA


async def test_a_front_without_its_bytes_is_refused_with_its_file(jobs, database):
    job = await submit(jobs, "one")
    front = ReplacedHeader.of(DATA, 0, 10)
    bare = ReplacedHeader(front.sha256, front.size, 0, 10)
    with pytest.raises(StorageError, match="are missing"):
        await jobs.set_files(job, [file(bare)])
    assert (await jobs.get(job)).files == ()
    with pytest.raises(StorageError, match="are missing"):
        await FileHeaders(database).read(front)


@pytest.mark.parametrize("damage", [b"", b"no zlib", b"x\x9c\x03\x00\x00\x00\x00\x01"])
async def test_damaged_bytes_are_never_given_out(jobs, database, damage):
    job, front = await submit(jobs, "one"), ReplacedHeader.of(DATA, 0, 10)
    await jobs.set_files(job, [file(front)])
    await database.write(lambda c: c.execute("UPDATE mirror.fronts SET data = ?", [damage]))
    with pytest.raises(StorageError, match="are damaged"):
        await FileHeaders(database).read(front)


async def test_a_file_whose_blob_left_has_no_front_and_the_job_changes(jobs, database, tmp_path):
    store = await open_store(tmp_path, database)
    blob = await store.keep(b"data")
    job, front = await submit(jobs, "one"), ReplacedHeader.of(DATA, 0, 4)
    await jobs.set_files(job, [JobFile("r", "a.fits", blob.sha256, front.whole, front=front)])
    await store.blobs.evict(1)
    assert (await jobs.get(job)).files == (JobFile("r", "a.fits"),)


async def test_every_write_counts_as_a_change(jobs):
    counts = [jobs.version.number]
    job = await submit(jobs, "one")
    counts.append(jobs.version.number)
    await jobs.set_files(job, [])
    counts.append(jobs.version.number)
    await jobs.get(job)
    assert counts == sorted(set(counts))
    assert jobs.version.number == counts[-1]
