"""Blocks that are cut ahead: found again after a restart, and never those of records that have changed since."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from dataclasses import replace

import pytest
import pytest_asyncio

from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import StorageError
from mirror.storage.disk import Disk
from mirror.storage.index import blocks
from mirror.storage.index.affected import delete_records
from mirror.storage.index.block_file import BlockFile, Packed
from mirror.storage.index.index import Index
from mirror.storage.index.record_check import mend_versions
from tests.emptystore import open_empty
from tests.storage.archive import SERIES, Record, answer

NAME = SERIES.name.lower()


class Store:
    """A store with ten records, in blocks of two."""

    def __init__(self, path):
        self.path = path

    async def open(self):
        self.database = open_empty(self.path)
        self.index = await Index.load(self.database)
        return self

    def close(self):
        self.database.close()

    async def restart(self):
        self.close()
        await self.open()

    async def keep(self, *records):
        await self.index.keep(SERIES, answer(records), complete=(), checked_at=0.0)

    async def cut(self):
        self.index._ahead._next_look.clear()
        await self.index.cut_ahead(lambda: True)

    def numbers(self):
        return sorted(self.index._file.numbers(NAME, 2))

    async def values(self, first, last):
        found = await self.index.select(bind(parse_query(f"lab.small[{first}-{last}]").sets[0], SERIES))
        return [row["VALUE"] for row in found.rows]

    async def from_file(self, first, last):
        """The same, without the index."""

        async def unused(*_):
            raise AssertionError("the index was read")

        self.database.read, read = unused, self.database.read
        try:
            return await self.values(first, last)
        finally:
            self.database.read = read


@pytest_asyncio.fixture
async def store(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "SLOTS", 2)
    made = await Store(tmp_path).open()
    await made.index.keep_series(SERIES, 0.0)
    await made.keep(*(Record(k + 1, k, value=f"{k}.5") for k in range(10)))
    yield made
    made.close()


async def test_what_was_cut_is_found_after_a_restart_without_the_index(store):
    await store.cut()
    await store.restart()
    assert await store.from_file(3, 6) == ["3.5", "4.5", "5.5", "6.5"]
    assert await store.from_file(3, 6) == ["3.5", "4.5", "5.5", "6.5"]


async def test_the_last_block_waits_until_it_is_full(store):
    await store.keep(Record(11, 10, value="10.5"))
    await store.cut()
    assert store.numbers() == [0, 1, 2, 3, 4]
    await store.keep(Record(12, 11, value="11.5"))
    await store.cut()
    assert store.numbers() == [0, 1, 2, 3, 4, 5]


async def test_only_the_blocks_whose_records_change_are_cut_again(store):
    await store.cut()
    await store.keep(Record(20, 5, value="9.0"))
    assert store.numbers() == [0, 1, 3, 4]
    assert await store.values(4, 6) == ["4.5", "9.0", "6.5"]
    await store.cut()
    await store.restart()
    assert await store.from_file(4, 6) == ["4.5", "9.0", "6.5"]


async def test_a_record_that_is_gone_takes_its_block_away(store):
    await store.cut()
    box = Box(Region((None, None)), (Steps(4, 5),))
    await store.index.amend(SERIES, [], box, gone=[6], checked_at=1.0)
    assert store.numbers() == [0, 1, 3, 4]
    assert await store.values(4, 6) == ["4.5", "6.5"]


async def test_what_is_forgotten_is_not_in_the_file_any_more(store):
    await store.cut()
    layout = store.index.layout(SERIES)
    await store.index.drop(SERIES, lambda c: c, lambda cursor: delete_records(cursor, layout, frozenset({6})))
    assert store.numbers() == []
    assert await store.values(4, 6) == ["4.5", "6.5"]


async def test_a_structure_that_is_another_has_other_blocks(store):
    await store.cut()
    await store.index.keep_series(SERIES, 1.0)
    assert store.numbers() == [0, 1, 2, 3, 4]
    await store.index.keep_series(replace(SERIES, note="another"), 2.0)
    assert store.numbers() == []


async def test_a_check_that_finds_nothing_wrong_leaves_them(store):
    await store.cut()
    layout = store.index.layout(SERIES)
    assert await store.index.mend(SERIES, lambda cursor: mend_versions(cursor, layout)) == []
    assert store.numbers() == [0, 1, 2, 3, 4]
    await store.index.mend(SERIES, lambda _: ["something was"])
    assert store.numbers() == []


async def test_an_index_that_was_put_back_does_not_believe_newer_blocks(store):
    await store.cut()
    store.close()
    copy = store.path / "copy"
    shutil.copy(store.path / "index.duckdb", copy)
    await store.open()
    await store.keep(Record(20, 5, value="9.0"))
    await store.cut()
    store.close()
    shutil.copy(copy, store.path / "index.duckdb")
    await store.open()
    assert await store.values(5, 5) == ["5.5"]
    assert store.numbers() == []


async def test_a_transaction_that_was_lost_takes_its_blocks_with_it(store):
    write = store.database.write

    def losing(work, **_):
        def lost(cursor):
            work(cursor)
            raise KeyError("lost")

        return write(lost)

    await store.cut()
    await store.keep(Record(20, 5, value="9.0"))
    store.database.write = losing
    with pytest.raises(KeyError):
        await store.cut()
    await store.restart()
    assert store.numbers() == []
    assert await store.values(5, 5) == ["9.0"]


async def test_blocks_that_cannot_be_taken_away_are_deleted_with_the_file(store):
    await store.cut()
    store.index._file._writes.execute("PRAGMA query_only = ON")
    await store.keep(Record(20, 5, value="9.0"))
    assert not (store.path / "blocks.sqlite").exists()
    assert await store.values(5, 5) == ["9.0"]
    await store.cut()
    await store.restart()
    assert await store.from_file(5, 5) == ["9.0"]


async def test_nothing_changes_where_not_even_the_file_can_be_deleted(store, monkeypatch):
    await store.cut()
    store.index._file._writes.execute("PRAGMA query_only = ON")

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(type(store.path), "unlink", refused)
        for _ in range(2):  # the second time too
            with pytest.raises(StorageError, match="which is out of date: Permission denied"):
                await store.keep(Record(20, 5, value="9.0"))
    assert await store.values(5, 5) == ["5.5"]


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(b"x" * 9000), lambda path: changed(path, "UPDATE state SET format = 0")],
    ids=["no database", "another format"],
)
async def test_a_file_that_cannot_be_used_is_made_again(store, damage):
    await store.cut()
    store.close()
    damage(store.path / "blocks.sqlite")
    await store.open()
    assert store.numbers() == []
    assert await store.values(5, 5) == ["5.5"]
    await store.cut()
    assert store.numbers() == [0, 1, 2, 3, 4]


async def test_a_block_whose_bytes_have_changed_is_read_from_the_index(store):
    await store.cut()
    store.close()
    path = store.path / "blocks.zst"
    path.write_bytes(path.read_bytes()[::-1])
    await store.open()
    assert await store.values(3, 6) == ["3.5", "4.5", "5.5", "6.5"]


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1])],
    ids=["lost", "cut off"],
)
async def test_blocks_that_are_not_all_there_are_made_again(store, damage):
    await store.cut()
    store.close()
    damage(store.path / "blocks.zst")
    await store.open()
    assert store.numbers() == []
    assert await store.values(3, 6) == ["3.5", "4.5", "5.5", "6.5"]
    await store.cut()
    await store.restart()
    assert await store.from_file(3, 6) == ["3.5", "4.5", "5.5", "6.5"]


async def test_blocks_without_their_places_are_overwritten(store):
    await store.cut()
    size = (store.path / "blocks.zst").stat().st_size
    store.close()
    (store.path / "blocks.sqlite").unlink()
    await store.open()
    await store.cut()
    assert (store.path / "blocks.zst").stat().st_size == size
    assert await store.from_file(3, 6) == ["3.5", "4.5", "5.5", "6.5"]


async def test_what_was_dropped_does_not_fill_the_disk(store, monkeypatch):
    await store.cut()
    size = (store.path / "blocks.zst").stat().st_size
    monkeypatch.setattr("mirror.storage.index.block_file.SPARE", size // 2)
    store.index._file._full = size // 2
    sizes = []
    for n in range(20):
        for place in range(0, 10, 2):
            await store.keep(Record(100 + 10 * n + place, place, value=f"{n}.0"))
        await store.cut()
        assert store.numbers() == [0, 1, 2, 3, 4]
        assert await store.from_file(3, 6) == ["3.5", f"{n}.0", "5.5", f"{n}.0"]
        sizes.append((store.path / "blocks.zst").stat().st_size)
    assert max(sizes) < 4 * size


class Threads(list):
    """Counts what is done in threads."""

    async def __call__(self, work, *arguments):
        self.append(work)
        return work(*arguments)


def has_it(preadv, descriptor, buffers, offset):
    return preadv(descriptor, buffers, offset)


def waits(*_):
    raise BlockingIOError(11, "Resource temporarily unavailable")


def reads_half(_, __, buffers, ___):
    return len(buffers[0]) // 2


def cannot_tell(*_):
    raise OSError(95, "Operation not supported")


@pytest.mark.parametrize("memory, in_threads", [(has_it, 0), (waits, 1), (reads_half, 1), (cannot_tell, 1)])
async def test_only_what_must_be_waited_for_is_read_in_a_thread(store, monkeypatch, memory, in_threads):
    threads, preadv = Threads(), os.preadv
    monkeypatch.setattr("mirror.storage.index.block_file._IN_MEMORY", 8)
    monkeypatch.setattr(os, "preadv", lambda *given: memory(preadv, *given[:3]) if given[3] else preadv(*given))
    monkeypatch.setattr("mirror.storage.index.reader.asyncio.to_thread", threads)
    await store.cut()
    await store.restart()
    threads.clear()
    assert await store.from_file(3, 4) == ["3.5", "4.5"]
    assert len(threads) == in_threads


async def test_blocks_are_read_in_a_thread_where_a_system_always_waits(store, monkeypatch):
    monkeypatch.setattr("mirror.storage.index.block_file._IN_MEMORY", None)
    await store.cut()
    await store.restart()
    assert await store.from_file(3, 4) == ["3.5", "4.5"]


async def test_a_disk_that_takes_no_blocks_leaves_all_else_as_it_is(store):
    await store.cut()
    await store.keep(Record(20, 5, value="9.0"))
    store.index._file._writes.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError, match="blocks cannot be written to"):
        await store.cut()
    assert await store.values(4, 6) == ["4.5", "9.0", "6.5"]


async def test_a_file_that_was_only_begun_is_completed(store):
    """A full disk may leave it so; nothing is to be deleted by hand when there is room again."""
    (store.path / "blocks.sqlite").touch()
    await store.cut()
    assert store.numbers() == [0, 1, 2, 3, 4]
    await store.restart()
    assert await store.from_file(5, 5) == ["5.5"]


async def test_cutting_ends_as_soon_as_it_may_not_go_on(store, monkeypatch):
    monkeypatch.setattr("mirror.storage.index.blocks_ahead.CUT_AT_ONCE", 2)
    asked = iter([True, True, False])
    await store.index.cut_ahead(lambda: next(asked))
    assert store.numbers() == [0, 1]
    await store.cut()
    assert store.numbers() == [0, 1, 2, 3, 4]


async def test_a_dense_series_gets_shorter_blocks_that_are_found_after_a_restart(store, monkeypatch):
    monkeypatch.setattr(blocks, "SLOTS", 8)
    monkeypatch.setattr(blocks, "MOST_IN_BLOCK", 4)
    await store.cut()
    assert store.index._file.slots == {NAME: 4}
    await store.restart()
    assert await store.from_file(1, 6) == [f"{k}.5" for k in range(1, 7)]


async def test_blocks_that_become_shorter_while_they_are_read_are_not_taken_for_others(store, monkeypatch):
    monkeypatch.setattr(blocks, "SLOTS", 4)
    monkeypatch.setattr(blocks, "MOST_IN_BLOCK", 4)
    await store.keep(*(Record(100 + w, 1, w=w, value="x") for w in range(1, 5)))
    everything = ["0.5", "1.5", *["x"] * 4, *(f"{k}.5" for k in range(2, 10))]
    assert await store.values(0, 9) == everything
    assert await store.values(2, 3) == ["2.5", "3.5"]
    assert await store.values(0, 9) == everything


async def test_records_change_though_somebody_deleted_the_blocks(store):
    await store.cut()
    (store.path / "blocks.zst").unlink()
    await store.keep(Record(20, 5, value="9.0"))
    assert await store.values(4, 6) == ["4.5", "9.0", "6.5"]


async def test_blocks_of_a_series_that_does_not_change_are_made_again_when_all_were_given_up(store):
    await store.cut()
    store.index._file._writes.execute("PRAGMA query_only = ON")
    store.index._file.drop(NAME, None)
    assert store.numbers() == []
    await store.cut()
    assert store.numbers() == [0, 1, 2, 3, 4]


async def test_a_file_that_is_deleted_stays_so_in_a_crash_before_its_log_is(store, monkeypatch):
    await store.cut()
    store.index._file._writes.execute("PRAGMA query_only = ON")
    left = []
    monkeypatch.setattr(Disk, "sync_folder", lambda _, folder: left.append({p.name for p in folder.glob("blocks.*")}))
    store.index._file.drop(NAME, None)
    assert left == [{"blocks.sqlite-wal", "blocks.sqlite-shm", "blocks.zst"}]


async def test_blocks_in_the_order_of_an_earlier_structure_are_not_put_into_the_file(store):
    write = store.database.write
    other = replace(SERIES, primekeys=(SERIES.primekeys[1], SERIES.primekeys[0], SERIES.primekeys[2]))

    async def after_another_structure(work, **_):
        store.database.write = write
        await store.index.keep_series(other, 1.0)
        return await write(work)

    store.database.write = after_another_structure
    await store.cut()
    assert store.numbers() == []


async def test_a_wide_window_of_a_dense_series_is_not_read_block_by_block(store, monkeypatch):
    monkeypatch.setattr("mirror.storage.index.reader.MOST_FILED", 3)
    await store.cut()
    assert await store.from_file(0, 7) == [f"{k}.5" for k in range(8)]
    with pytest.raises(AssertionError, match="the index was read"):
        await store.from_file(0, 8)
    assert await store.values(0, 9) == [f"{k}.5" for k in range(10)]


async def test_memory_follows_a_change_whose_caller_is_gone_before_it_is_committed(store):
    assert await store.values(5, 5) == ["5.5"]
    begun, write = asyncio.Event(), store.database.write

    def begins(*given):
        begun.set()
        return write(*given)

    store.database.write = begins
    change = asyncio.create_task(store.keep(Record(20, 5, value="9.0")))
    await begun.wait()
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    store.database.write = write
    await write(lambda _: None)  # it has been committed when this is
    assert await store.values(5, 5) == ["9.0"]


async def test_cutting_makes_do_with_the_memory_that_reading_has(store):
    async def limit():
        return await store.database.read(lambda c: c.execute("SELECT current_setting('memory_limit')").fetchone())

    before = await limit()
    await store.database.rest()
    resting = await limit()
    assert resting != before
    await store.cut()
    assert store.numbers() == [0, 1, 2, 3, 4]
    assert await limit() == resting
    await store.keep(Record(20, 5, value="9.0"))
    assert await limit() == before


def changed(path, sql):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql)
    connection.close()


def test_without_a_path_there_is_no_file():
    file = BlockFile(None)
    file.open("x")
    file.put("s", 2, [Packed(1, 0, b"")], "x")
    file.drop("s", None)
    assert file.get("s", 2, [0, 5]) == []
    assert file.slots == {}
    file.close()
