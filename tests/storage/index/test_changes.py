"""What is noted when records are replaced or withdrawn, and what it means for their files."""

from __future__ import annotations

import pytest_asyncio

from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from mirror.storage.files.table import Blob, head, put_blob
from mirror.storage.index.changes import Changes
from mirror.storage.index.index import Index
from tests.emptystore import open_empty
from tests.storage.archive import SERIES, Record, answer

BOX = Box(Region((None, None)), (Steps(0, 9),))
SHARED, ALONE = "a" * 64, "b" * 64


@pytest_asyncio.fixture
async def store(tmp_path):
    database = open_empty(tmp_path)
    index = await Index.load(database)
    await index.keep_series(SERIES, 0.0)
    yield database, index
    database.close()


async def told(database):
    found = await Changes(database).found(None, None, 100)
    return [(c.old, c.new, c.name, c.found_at) for c in found]


async def test_a_first_fill_is_no_change(store):
    database, index = store
    await index.keep(SERIES, answer([Record(1, 5), Record(2, 5)]), complete=(BOX,), checked_at=1.0)
    assert await told(database) == []


async def test_replaced_and_withdrawn_records_are_noted_once(store):
    database, index = store
    records = [Record(1, 5), Record(2, 6), Record(3, 7)]
    await index.keep(SERIES, answer(records), complete=(BOX,), checked_at=1.0)
    await index.amend(SERIES, [answer([Record(9, 5)])], BOX, gone={1, 3}, checked_at=2.0)
    await index.keep(SERIES, answer([Record(2, 6), Record(9, 5)]), complete=(BOX,), checked_at=3.0)
    name = "lab.Small[{}][0][a]".format
    assert await told(database) == [(1, 9, name(5), 2.0), (3, None, name(7), 2.0)]
    assert sorted(await index.recnums(SERIES, "TRUE")) == [2, 9]
    assert sorted(await index.recnums(SERIES, "TRUE", all_versions=True)) == [1, 2, 3, 9]


async def test_a_newer_version_that_comes_unasked_is_a_change_only_of_what_was_vouched_for(store):
    database, index = store
    await index.keep(SERIES, answer([Record(1, 5)]), complete=(BOX,), checked_at=1.0)
    await index.keep(SERIES, answer([Record(2, 50)]), complete=(), checked_at=1.0)
    await index.keep(SERIES, answer([Record(3, 5), Record(4, 50)]), complete=(), checked_at=2.0)
    assert [(old, new) for old, new, *_ in await told(database)] == [(1, 3)]


async def test_an_older_version_that_is_the_newest_again_takes_its_place_back(store):
    database, index = store
    await index.keep(SERIES, answer([Record(1, 5)]), complete=(BOX,), checked_at=1.0)
    await index.amend(SERIES, [answer([Record(2, 5)])], BOX, gone={1}, checked_at=2.0)
    await index.amend(SERIES, [answer([Record(1, 5)])], BOX, gone={2}, checked_at=3.0)
    assert await index.recnums(SERIES, "TRUE") == {1}
    assert [(old, new) for old, new, *_ in await told(database)] == [(2, 1), (1, 2)]


async def test_files_that_only_replaced_records_have_are_evicted_first(store):
    database, index = store
    await index.keep(SERIES, answer([Record(1, 5), Record(2, 6)]), complete=(BOX,), checked_at=1.0)

    def work(cursor):
        for sha256 in (SHARED, ALONE):
            put_blob(cursor, Blob(sha256, 10, 5.0, 5.0, 500.0))
        for recnum, sha256 in ((1, SHARED), (2, SHARED), (1, ALONE)):
            row = [
                "lab.small",
                recnum,
                "image",
                recnum,
                0,
                f"{sha256[:3]}.fits",
                "SUM1",
                None,
                head(sha256),
                sha256,
            ]
            cursor.execute("INSERT INTO mirror.holdings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    await database.write(work)
    await index.amend(SERIES, [answer([Record(9, 5)])], BOX, gone={1}, checked_at=2.0)
    used = await database.read(
        lambda c: dict(c.execute("SELECT sha256, last_used FROM mirror.blobs").fetchall())
    )
    assert used == {SHARED: 500.0, ALONE: 0.0}


async def test_changes_are_told_newest_first_of_a_series_since_a_moment_and_so_many(store):
    database, index = store
    await index.keep(SERIES, answer([Record(1, 5)]), complete=(BOX,), checked_at=1.0)
    for n in range(2, 6):
        await index.amend(SERIES, [answer([Record(n, 5)])], BOX, gone={n - 1}, checked_at=float(n))
    changes = Changes(database)
    assert [c.new for c in await changes.found("LAB.small", 3.0, 2)] == [5, 4]
    assert [c.new for c in await changes.found("lab.small", 3.0, 9)] == [5, 4, 3]
    assert await changes.found("lab.other", None, 9) == []
