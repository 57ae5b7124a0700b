"""Which blobs go, against counting them one by one; and the arithmetic of room."""

from dataclasses import dataclass

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.errors import StorageError
from mirror.humanize import in_words
from mirror.storage.database.migrations import migrate, schema_files
from mirror.storage.files.incoming import Quota
from mirror.storage.files.table import Blob, evictable, head, put_blob
from tests.storage.filestore import TABLES, sha256

NOW = 1000.0


@pytest.fixture(scope="module")
def cursor():
    with duckdb.connect() as connection:
        migrate(connection, schema_files())
        yield connection


@dataclass(frozen=True)
class Kept:
    """A blob, and what holds it back: a holding or a job refers to it, a pin until a time, a reader."""

    size: int
    last_used: float
    held: bool
    listed: bool
    pinned: float | None
    read: bool

    @property
    def free(self):
        return not self.read and (self.pinned is None or self.pinned <= NOW)


kept = st.builds(
    Kept,
    size=st.integers(0, 20),
    last_used=st.integers(0, 4).map(float),
    held=st.booleans(),
    listed=st.booleans(),
    pinned=st.sampled_from([None, None, None, NOW - 1, NOW + 1]),
    read=st.sampled_from([False, False, False, True]),
)


def fill(cursor, all_kept):
    for table in TABLES:
        cursor.execute(f"DELETE FROM mirror.{table}")
    for hash_, each in all_kept.items():
        put_blob(cursor, Blob(hash_, each.size, 0.0, 0.0, each.last_used))
        if each.held:
            row = ["s", 1, "x", 1, 0, "a", "SUM1", None, head(hash_), hash_]
            cursor.execute("INSERT INTO mirror.holdings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        if each.listed:
            cursor.execute("INSERT INTO mirror.job_files (job, position, record, name, sha256, size) VALUES ('j', 0, 'r', 'n', ?, 1)", [hash_])
        if each.pinned is not None:
            cursor.execute("INSERT INTO mirror.pins VALUES (?, 'o', 'r', 0, ?)", [hash_, each.pinned])
    cursor.execute("INSERT INTO mirror.job_files (job, position, record, name) VALUES ('j', 0, 'r', 'n')")


def one_by_one(all_kept, need):
    order = sorted((e.held or e.listed, e.last_used, h) for h, e in all_kept.items() if e.free)
    chosen, freed = [], 0
    for _, _, hash_ in order:
        if freed >= need:
            break
        chosen.append(hash_)
        freed += all_kept[hash_].size
    return chosen


@settings(deadline=None, max_examples=60)
@given(st.lists(kept, max_size=8), st.integers(1, 60))
def test_the_least_used_that_nothing_holds_back_go_and_no_more_than_needed(cursor, blobs, need):
    all_kept = {sha256(b"%d" % n): each for n, each in enumerate(blobs)}
    fill(cursor, all_kept)
    spare = [h for h, each in all_kept.items() if each.read]
    found = [blob.sha256 for blob in evictable(cursor, need, spare=spare, now=NOW)]
    assert sorted(found) == sorted(one_by_one(all_kept, need))


@given(st.integers(0, 500), st.lists(st.tuples(st.integers(-50, 200), st.integers(0, 3), st.booleans()), max_size=20))
def test_promises_and_what_is_held_never_exceed_the_limit(limit, steps):
    quota, open_ = Quota(limit), []
    for size, which, keeps in steps:
        if which == 0 or not open_:
            try:
                open_.append(quota.reserve(size))
            except StorageError:
                assert size < 0 or quota.shortage(size)
        elif which == 1:
            promise = open_.pop()
            promise.settle(held=promise.size if keeps else 0)
        elif which == 2:
            open_.pop().release()
        assert quota.reserved == sum(r.size for r in open_)
        assert quota.held + quota.reserved <= limit


def test_a_promise_that_is_given_back_twice_counts_once():
    quota = Quota(100)
    promise = quota.reserve(60)
    promise.settle(held=40)
    promise.release()
    assert (quota.held, quota.reserved, quota.shortage(60)) == (40, 0, 0)


@pytest.mark.parametrize(
    "size, words",
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB"), (999_999, "1 MB"), (2 * 10**12, "2 TB")],
)
def test_sizes_are_told_in_words(size, words):
    assert in_words(size) == words
