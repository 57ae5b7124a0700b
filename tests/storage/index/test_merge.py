"""Whatever is kept in whatever order: the newest of each name is in the table, the rest in ``__old``."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.coverage.coverage import Between, Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS, box_query
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.storage.database.database import Database
from mirror.storage.index.index import Index
from mirror.storage.index.layout import Layout
from mirror.storage.index.merge import departures
from tests.emptystore import open_empty
from tests.storage.archive import SERIES, Record, answer, newest, within

LAYOUT = Layout(SERIES)


@pytest_asyncio.fixture
async def index(tmp_path):
    database = open_empty(tmp_path)
    index = await Index.load(database)
    await index.keep_series(SERIES, 0.0)
    yield index
    database.close()


async def fill(index, box, records, at=0.0):
    """What a fill of ``box`` does, when upstream has ``records``."""
    await index.keep(SERIES, answer(within(box, records)), complete=(box,), checked_at=at)


async def tables(index):
    """The record numbers in the table and in the table of old versions."""

    def work(cursor):
        return [
            sorted(row[0] for row in cursor.execute(f"SELECT recnum FROM {table}").fetchall())
            for table in (LAYOUT.table, LAYOUT.old_table)
        ]

    return await index._database.read(work)


async def select(index, text):
    (record_set,) = parse_query(text).sets
    return [row.recnum for row in (await index.select(bind(record_set, SERIES))).rows]


def box(lo, hi, *, w=None, name=None, all_versions=False, step=1):
    return Box(Region((w, name), all_versions), (Steps(lo, hi, step),))


# ---- examples -----------------------------------------------------------------------------------


async def test_a_newer_version_moves_the_older_aside(index):
    await fill(index, box(0, 9), [Record(1, 5), Record(2, 6)])
    await fill(index, box(0, 9), [Record(1, 5), Record(2, 6), Record(3, 5)])
    assert await tables(index) == [[2, 3], [1]]
    assert await select(index, "lab.small[5]") == [3]


async def test_all_versions_are_kept_each_in_its_table(index):
    records = [Record(1, 5), Record(2, 6), Record(3, 5), Record(4, 5)]
    await fill(index, box(0, 9, all_versions=True), records)
    assert await tables(index) == [[2, 4], [1, 3]]
    assert await select(index, "lab.small[0-9][! 1=1 !]") == [1, 3, 4, 2]


async def test_an_old_version_that_comes_later_does_not_replace_the_newer(index):
    records = [Record(1, 5), Record(3, 5)]
    await fill(index, box(0, 9), records)
    await fill(index, Box(RECNUMS, (Steps(1, 1),)), records)
    assert await tables(index) == [[3], [1]]
    assert await select(index, "lab.small[:#1]") == [1]


async def test_a_newer_version_that_comes_by_its_number_replaces_the_older(index):
    records = [Record(1, 5), Record(3, 5)]
    await fill(index, box(0, 9), records[:1])
    await fill(index, Box(RECNUMS, (Steps(3, 3),)), records)
    assert await tables(index) == [[3], [1]]


async def test_a_record_that_is_gone_upstream_is_retired_where_it_was_checked(index):
    await fill(index, box(0, 9), [Record(1, 5), Record(2, 20)])
    await fill(index, box(20, 20), [Record(2, 20)])
    await fill(index, box(0, 9), [])
    assert await tables(index) == [[2], [1]]


async def test_records_that_come_without_a_claim_disturb_nothing(index):
    records = [Record(1, 5), Record(2, 6), Record(3, 5)]
    await fill(index, box(0, 9), records)
    await index.keep(SERIES, answer([records[0], Record(9, 30)]), complete=(), checked_at=0.0)
    assert await tables(index) == [[2, 3, 9], [1]]
    assert index.coverage(SERIES).gaps(box(30, 30)) == [box(30, 30)]


async def test_a_record_whose_values_changed_has_them_changed(index):
    await fill(index, box(0, 9), [Record(1, 5, value="1.5")])
    await fill(index, box(0, 9), [Record(1, 5, value="2.5")])
    (record_set,) = parse_query("lab.small[? VALUE > 2 ?]").sets
    (row,) = (await index.select(bind(record_set, SERIES))).rows
    assert row["VALUE"] == "2.5"


async def test_boxes_of_other_restrictions_are_left_alone(index):
    records = [Record(1, 5, w=1), Record(2, 5, w=2), Record(3, 5, w=3, name="b")]
    await fill(index, box(0, 9), records)
    await fill(index, box(0, 9, w=Between(2, 2)), [])
    await fill(index, box(0, 9, name="b"), [])
    assert await tables(index) == [[1], [2, 3]]


# ---- laws ---------------------------------------------------------------------------------------

RECORDS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from("ab")), min_size=1, max_size=14
).map(lambda keys: [Record(n + 1, *key) for n, key in enumerate(keys)])


@st.composite
def boxes(draw):
    lo, hi = sorted((draw(st.integers(0, 6)), draw(st.integers(0, 6))))
    if draw(st.integers(0, 4)) == 0:
        return Box(RECNUMS, (Steps(2 * lo, 2 * hi + 1),))
    steps = Steps(MIN, MAX) if draw(st.integers(0, 4)) == 0 else Steps(lo, hi)
    w = draw(st.none() | st.integers(0, 2).map(lambda x: Between(x, 2)))
    return Box(Region((w, draw(st.none() | st.sampled_from("ab"))), draw(st.booleans())), (steps,))


#: A fill, or (None) records that come without a claim.
ACTIONS = st.lists(boxes() | st.none(), min_size=1, max_size=6)


async def follow(path, records, actions, lost):
    database = open_empty(path)
    try:
        index = await Index.load(database)
        await index.keep_series(SERIES, 0.0)
        seen = set()
        for action in actions:
            if action is None:
                await index.keep(SERIES, answer(lost), complete=(), checked_at=0.0)
                seen |= {r.recnum for r in lost}
            else:
                await fill(index, action, records)
                seen |= {r.recnum for r in within(action, records)}
        await check(index, records, actions, seen)
        claims = list(map(as_values, index.coverage(SERIES)))
    finally:
        database.close()
    again = Database.open(path / "index.duckdb")
    try:
        index = await Index.load(again)
        await check(index, records, actions, seen)
        assert sorted(map(as_values, index.coverage(SERIES)), key=repr) == sorted(claims, key=repr)
    finally:
        again.close()


def as_values(entry):
    region, spans = entry
    return region, [tuple(span) for span in spans]


async def check(index, records, actions, seen):
    current, old = await tables(index)
    assert sorted(current + old) == sorted(seen), "each record that came is there once"
    held = [r for r in records if r.recnum in seen]
    assert current == sorted(r.recnum for r in newest(held))
    for action in actions:
        if action is not None:
            text = str(box_query(SERIES, action))
            expected = sorted(within(action, records), key=lambda r: (r.key, r.recnum))
            assert await select(index, text) == [r.recnum for r in expected], text


@settings(max_examples=12)
@given(RECORDS, ACTIONS, st.sets(st.integers(0, 13), max_size=4))
def test_fills_in_any_order_give_what_upstream_has_and_so_does_the_store_when_opened_again(
    records, actions, lost
):
    forwarded = [r for r in records if r.recnum in lost]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(follow(Path(folder), records, actions, forwarded))


# ---- what leaves ---------------------------------------------------------------------------------

PAIRS = st.dictionaries(st.integers(1, 20), st.integers(21, 40) | st.integers(1, 20), max_size=8)


@given(PAIRS, st.sets(st.integers(1, 20), max_size=8))
def test_of_two_of_one_name_the_newer_stays_unless_it_is_gone(named, leaving):
    pairs = [(held, new) for held, new in named.items() if held != new]
    found = departures(pairs, leaving)
    assert found.retired == found.replaced.keys()
    assert leaving <= found.retired
    for held, new in pairs:
        assert (held in found.retired) != (new in found.outdated) or list(named.values()).count(new) > 1
        assert found.replaced.get(held, new) == new
    assert {held for held, new in found.replaced.items() if new is None} == leaving - dict(pairs).keys()
