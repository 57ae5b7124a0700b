"""The log of coverage: what is written again replays to the same, and it does not grow for ever."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.coverage.coverage import Between, Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS
from mirror.storage.index.changes import SOME, CoverageLog, region_from_json, region_to_json
from mirror.storage.index.index import Index
from tests.emptystore import open_empty
from tests.storage.archive import SERIES, Record, answer

RESTRICTIONS = (
    st.none() | st.sampled_from(["a", "it's", ""]) | st.builds(Between, st.just(1), st.integers(1, 3))
)
REGIONS = st.builds(Region, st.tuples(RESTRICTIONS, RESTRICTIONS), st.booleans()) | st.just(RECNUMS)


@st.composite
def claims(draw):
    lo, hi = sorted((draw(st.integers(0, 30)), draw(st.integers(0, 30))))
    ends = draw(st.sampled_from([(lo, hi), (MIN, hi), (lo, MAX)]))
    step = draw(st.sampled_from([1, 1, 3])) if ends == (lo, hi) else 1
    box = Box(draw(REGIONS), (Steps(*ends, step),))
    return (
        draw(st.sampled_from(["lab.one", "Lab.Two"])),
        box,
        draw(st.sampled_from([0.0, 500.0, 1000.0, 9000.0])),
    )


def as_values(coverage):
    return {name: {region: list(spans) for region, spans in held} for name, held in coverage.items()}


@given(REGIONS)
def test_a_region_is_read_as_it_was_written(region):
    assert region_from_json(region_to_json(region)) == region


@settings(max_examples=25)
@given(st.lists(claims(), max_size=25))
def test_a_log_written_anew_replays_to_the_same_coverage(tmp_path_factory, added):
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        database = open_empty(Path(folder))

        def work(cursor):
            log = CoverageLog()
            for series, box, at in added:
                log.add(cursor, series, [box], at)
            before = as_values(log.replay(cursor))
            log.compact(cursor)
            rows = cursor.execute("SELECT count(*), count(DISTINCT id) FROM mirror.coverage").fetchone()
            fresh = CoverageLog()
            assert as_values(fresh.replay(cursor)) == before
            assert rows == (sum(len(s) for held in before.values() for s in held.values()),) * 2
            fresh.add(cursor, "lab.one", [Box(RECNUMS, (Steps(500, 500),))], 1.0)
            assert fresh.replay(cursor)["lab.one"]

        try:
            asyncio.run(database.write(work))
        finally:
            database.close()


async def test_a_store_whose_ranges_are_checked_again_and_again_does_not_grow(tmp_path):
    database = open_empty(tmp_path)
    try:
        index = await Index.load(database)
        await index.keep_series(SERIES, 0.0)
        box = Box(Region((None, None)), (Steps(0, 9),))
        await index.keep(SERIES, answer([Record(1, 5)]), complete=(box,), checked_at=0.0)
        parts = tuple(Box(box.region, (Steps(k, k),)) for k in range(10))
        for turn in range(SOME // 10 * 3):
            await index.confirm(SERIES, parts, 1000.0 * turn)
        rows = await database.read(lambda c: c.execute("SELECT count(*) FROM mirror.coverage").fetchone())
        assert rows[0] < 2 * SOME
        again = await Index.load(database)
        assert [list(s) for _, s in again.coverage(SERIES)] == [list(s) for _, s in index.coverage(SERIES)]
    finally:
        database.close()
