"""The filler's own bookkeeping: what it claims beside the records that it fetched, and what it says is under way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest_asyncio

from mirror.config.loading import Fill
from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.readthrough.chunks import Extent
from mirror.readthrough.filler import Filler
from mirror.readthrough.policy import Rules
from mirror.storage.index.index import Index
from mirror.upstream.pacing import Priority
from tests.emptystore import open_empty
from tests.storage.archive import SERIES, Record, answer

NAME = SERIES.name.lower()


class Silent:
    """JSOC, which does not answer."""

    def __init__(self):
        self.asked = asyncio.Event()

    async def rs_list(self, *_):
        self.asked.set()
        await asyncio.Event().wait()


@pytest_asyncio.fixture
async def index(tmp_path):
    database = open_empty(tmp_path)
    made = await Index.load(database)
    await made.keep_series(SERIES, 0.0)
    yield made
    database.close()


def filler(index):
    return Filler(index, Silent(), Rules("fallback", lambda _: None, lambda: datetime(2026, 1, 1, tzinfo=UTC)), Fill())


def box(lo, hi):
    return Box(Region((None, None)), (Steps(lo, hi),))


async def test_what_came_by_number_is_gone_where_jsoc_has_no_records(index, monkeypatch):
    await index.keep(SERIES, answer([Record(1, 1), Record(5, 5)]), complete=(), checked_at=0.0)
    made = filler(index)

    async def extent(*_):
        return Extent(5, 3, 7)

    monkeypatch.setattr(made._sizes, "extent", extent)
    await made.extent(SERIES, box(MIN, MAX), Priority.PEOPLE)
    assert index.coverage(SERIES).gaps(box(MIN, MAX)) == [box(3, 7)]
    found = await index.select(bind(parse_query("lab.small[0-9]").sets[0], SERIES))
    assert [row.recnum for row in found.rows] == [5]


async def test_a_fetch_that_was_given_up_does_not_count_for_those_after_it(index):
    made = filler(index)
    first = asyncio.create_task(made.fetch(SERIES, box(0, 9), Priority.SUBSCRIPTION))
    await made._upstream.asked.wait()
    # The next fetch begins before the task of the first has ended.
    first.add_done_callback(lambda _: made._take_off(SERIES, [box(20, 29)], made._fetch, MAX, Priority.SUBSCRIPTION))
    first.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert [(p.total, p.done) for p in made.progress().values()] == [(1, 0)]
    await made.stop()
