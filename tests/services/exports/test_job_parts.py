"""Parts of jobs: rows that a restart goes on from."""

import pytest
import pytest_asyncio

from mirror.services.exports.jobs import JobFile, JobParts, Jobs, Trouble
from tests.storage.filestore import Clock, empty, memory_database

JOB = "JSOC_20140101_001"


@pytest.fixture(scope="module")
def database():
    opened = memory_database()
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def jobs(database):
    await empty(database)
    made = Jobs(database, Clock())
    await made.submit("{}", "one", day="20140101", name=lambda n: f"JSOC_20140101_{n:03d}", same_since=0)
    return made


async def test_a_part_is_accepted_packed_and_done(jobs, database):
    parts = JobParts(database)
    assert await parts.of(JOB) == []
    first, second = await parts.divide(JOB, [[1, 2], [3]])
    assert (first.recnums, second.recnums, first.done) == ((1, 2), (3,), False)
    await parts.accepted(JOB, first, "JSOC_20140101_7")
    await parts.packed(JOB, first, "a" * 64)
    await parts.done(JOB, first, "[]")
    first = (await parts.of(JOB))[0]
    assert (first.upstream_id, first.tar, first.files, first.done) == (
        "JSOC_20140101_7",
        "a" * 64,
        "[]",
        True,
    )
    assert await parts.progress([JOB, "other"]) == {JOB: (1, 2)}


async def test_what_is_not_done_is_divided_anew_after_what_is(jobs, database):
    parts = JobParts(database)
    first, _ = await parts.divide(JOB, [[1, 2], [3, 4]])
    await parts.done(JOB, first, "[]")
    assert [p.recnums for p in await parts.divide(JOB, [[3], [4]])] == [(1, 2), (3,), (4,)]
    assert [p.position for p in await parts.of(JOB)] == [0, 1, 2]


async def test_a_job_that_begins_anew_or_is_forgotten_has_no_parts(jobs, database):
    parts = JobParts(database)
    for end in (jobs.restart(JOB), jobs.remove([JOB])):
        await parts.divide(JOB, [[1]])
        await end
        assert await parts.of(JOB) == []


async def test_why_a_job_waits_is_kept_until_it_ends(jobs):
    trouble = Trouble(2, 45.0, 1_700_000_030.0, "no answer")
    assert (await jobs.troubled(JOB, trouble)).trouble == trouble
    assert (await jobs.get(JOB)).trouble == trouble
    assert (await jobs.advance(JOB, "done")).trouble is None


async def test_which_files_have_printed_values_is_kept(jobs):
    files = (JobFile("a[1]", "1.fits", printed=True), JobFile("a[2]", "2.fits"))
    await jobs.set_files(JOB, files)
    assert (await jobs.get(JOB)).files == files
