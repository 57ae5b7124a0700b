"""Answers as the index keeps them: bounded, cut where records change, and read again at the next start."""

from __future__ import annotations

import pytest
import pytest_asyncio

from mirror.coverage.claims import without
from mirror.coverage.coverage import Box, Coverage, Region
from mirror.coverage.intervals import Steps
from mirror.storage.index import answers as module
from mirror.storage.index.answers import AnswerKind, NewAnswer
from mirror.storage.index.index import Index
from tests.emptystore import open_empty
from tests.storage.archive import SERIES, Record, answer

NAME = SERIES.name


def box(lo, hi):
    return Box(Region((None, None)), (Steps(lo, hi),))


@pytest_asyncio.fixture
async def database(tmp_path):
    opened = open_empty(tmp_path)
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def index(database):
    made = await Index.load(database)
    await made.keep_series(SERIES, 0.0)
    records = [Record(n, n) for n in range(1, 11)]
    await made.keep(SERIES, answer(records), complete=(box(1, 10),), checked_at=1.0)
    return made


def told(key, lo, hi, *numbers, kind=AnswerKind.CONDITION):
    return NewAnswer(kind, key, (box(lo, hi),), frozenset(numbers))


async def numbers(index, key, kind=AnswerKind.CONDITION):
    kept = index.answers.find(NAME, kind, key)
    return await index._database.read(lambda cursor: module.numbers_of(cursor, kept))


async def test_answers_to_one_condition_add_up_and_later_ones_count(index, database):
    await index.keep_answer(SERIES, told("c", 1, 5, 1, 3), 10.0)
    await index.keep_answer(SERIES, told("c", 4, 8, 5, 8), 20.0)
    await index.keep_answer(SERIES, told("c", 1, 2, 2), 30.0)
    for each in (index, await Index.load(database)):
        kept = each.answers.find("LAB.small", AnswerKind.CONDITION, "c")
        assert kept.holds((box(1, 8),))
        assert not kept.holds((box(1, 9),))
        assert await numbers(each, "c") == [2, 3, 5, 8]
        assert kept.checked_at((box(1, 8),)) == 10.0
    assert len(index.answers.of(NAME)) == 1


async def test_a_replaced_record_cuts_what_was_said_of_its_place(index):
    await index.keep_answer(SERIES, told("c", 1, 5, 1, 3), 10.0)
    await index.keep_answer(SERIES, told("whole", 1, 5, 1, 3, kind=AnswerKind.RECORDS), 10.0)
    await index.keep_answer(SERIES, told("beside", 6, 9, 7, kind=AnswerKind.RECORDS), 10.0)
    before = index.answers.find(NAME, AnswerKind.CONDITION, "c")
    await index.keep(SERIES, answer([Record(20, 3)]), complete=(), checked_at=11.0)
    kept = index.answers.find(NAME, AnswerKind.CONDITION, "c")
    assert kept.coverage.gaps(box(1, 5)) == [box(3, 3)]
    assert index.answers.find(NAME, AnswerKind.RECORDS, "whole") is None
    assert index.answers.find(NAME, AnswerKind.RECORDS, "beside") is not None
    assert not await index._database.read(lambda cursor: module.is_there(cursor, before))


async def test_a_record_that_comes_where_all_were_held_cuts_too(index):
    await index.keep_answer(SERIES, told("c", 1, 9, 1), 10.0)
    all_there = [Record(n, n) for n in range(1, 11)]
    again = answer([*all_there, Record(30, 4, w=1)])
    await index.keep(SERIES, again, complete=(box(1, 10),), checked_at=11.0)
    assert index.answers.find(NAME, AnswerKind.CONDITION, "c").coverage.gaps(box(1, 9)) == [box(4, 4)]


async def test_records_that_are_dropped_are_named_no_more(index):
    await index.keep_answer(SERIES, told("c", 1, 9, 2, 5), 10.0)

    def work(cursor):
        cursor.execute(f"DELETE FROM {index.layout(SERIES).table} WHERE recnum = 2")

    await index.drop(SERIES, lambda coverage: without(coverage, (box(2, 2),)), work)
    assert await numbers(index, "c") == [5]
    assert await index.drop_broken_answers(SERIES) == 0
    await index.drop(SERIES, lambda _: Coverage(), lambda _: None)
    assert index.answers.of(NAME) == []


async def test_an_answer_that_names_what_is_not_held_is_broken(index):
    await index.keep_answer(SERIES, told("c", 1, 9, 2, 99), 10.0)
    await index.keep_answer(SERIES, told("d", 1, 9, 2), 10.0)
    assert await index.drop_broken_answers(SERIES) == 1
    assert [kept.key for kept in index.answers.of(NAME)] == ["d"]


async def test_what_was_used_longest_ago_goes_first(index, monkeypatch):
    monkeypatch.setattr(module, "MOST_ANSWERS", 10)
    for i in range(10):
        await index.keep_answer(SERIES, told(f"c{i}", 1, 9, 1), 10.0)
    index.answers.find(NAME, AnswerKind.CONDITION, "c0")
    await index.keep_answer(SERIES, told("new", 1, 9, 1), 10.0)
    left = {kept.key for kept in index.answers.of(NAME)}
    assert {"c0", "new"} <= left
    assert "c1" not in left
    assert len(left) <= 10


@pytest.mark.parametrize(
    "large",
    [
        told("c", 1, 9, *range(module.MOST_NUMBERS + 1)),
        told("c" * (module.LONGEST_KEY + 1), 1, 9, 1),
        NewAnswer(AnswerKind.BODY, "c", (box(1, 9),), body=b"x" * (module.LARGEST_BODY + 1)),
        NewAnswer(AnswerKind.CONDITION, "c", (Box(Region((None, None)), (Steps(0, 10**6, 7),)),)),
    ],
    ids=["numbers", "key", "body", "spans"],
)
async def test_what_is_too_large_is_not_kept(index, large):
    await index.keep_answer(SERIES, large, 10.0)
    assert index.answers.of(NAME) == []


class Broken(Exception):
    pass


async def fails(index, monkeypatch, change):
    """Let a change fail at the end of its transaction, as on a full disk."""

    def refuse(*_):
        raise Broken

    with monkeypatch.context() as patched:
        patched.setattr(index._log, "add", refuse)
        patched.setattr(index._file, "drop", refuse)
        with pytest.raises(Broken):
            await change


@pytest.fixture
def put():
    """Adds to an answer within a transaction that does more."""

    async def put(index, what, checked_at):
        await index.keep(SERIES, answer([Record(n, n) for n in range(1, 11)]), complete=(), checked_at=checked_at, more=(what,))

    return put


async def test_what_was_not_committed_takes_nothing_away_from_an_answer(index, database, monkeypatch, put):
    await index.keep_answer(SERIES, told("c", 1, 3, 1, 3), 10.0)
    await fails(index, monkeypatch, put(index, told("c", 4, 6, 5), 20.0))
    await index.keep_answer(SERIES, told("c", 4, 6, 5), 30.0)
    for each in (index, await Index.load(database)):
        assert each.answers.find(NAME, AnswerKind.CONDITION, "c").holds((box(1, 6),))
        assert await numbers(each, "c") == [1, 3, 5]


async def test_an_answer_is_cut_after_a_change_of_it_that_was_not_committed(index, database, monkeypatch, put):
    await index.keep_answer(SERIES, told("c", 1, 3, 1, 3), 10.0)
    await fails(index, monkeypatch, put(index, told("c", 4, 6, 5), 20.0))
    await index.keep(SERIES, answer([Record(20, 3)]), complete=(), checked_at=30.0)
    for each in (index, await Index.load(database)):
        kept = each.answers.find(NAME, AnswerKind.CONDITION, "c")
        assert kept.coverage.gaps(box(1, 6)) == [box(3, 6)]


async def test_an_answer_that_was_to_make_room_is_cut_too_if_it_did_not_go(index, database, monkeypatch, put):
    await index.keep_answer(SERIES, told("c", 1, 3, 1, 3), 10.0)
    with monkeypatch.context() as patched:
        patched.setattr(module, "MOST_ANSWERS", 1)
        await fails(index, monkeypatch, put(index, told("d", 4, 6, 5), 20.0))
    await index.keep(SERIES, answer([Record(20, 3)]), complete=(), checked_at=30.0)
    for each in (index, await Index.load(database)):
        assert each.answers.find(NAME, AnswerKind.CONDITION, "c").coverage.gaps(box(1, 3)) == [box(3, 3)]


async def test_an_answer_that_is_gone_from_the_index_is_not_added_to(index, database):
    await index.keep_answer(SERIES, told("c", 1, 3, 1, 3), 10.0)
    await database.write(lambda cursor: cursor.execute("DELETE FROM mirror.answers"))
    await index.keep_answer(SERIES, told("c", 4, 6, 5), 20.0)
    kept = index.answers.find(NAME, AnswerKind.CONDITION, "c")
    assert kept.coverage.gaps(box(1, 6)) == [box(1, 3)]
    assert await numbers(index, "c") == [5]
