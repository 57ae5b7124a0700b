"""Times of the lake, and the months it is cut by."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.calendar import LEAP_TIMES
from mirror.drms.times import from_datetime, parse_time, to_datetime
from mirror.storage.lake.columns import utc
from mirror.storage.lake.table import ALL, NONE, Print, bounds, month_of, together

MODERN = st.floats(200_000.0, 3.8e9).map(lambda x: to_datetime(round(x, 3)))


@pytest.fixture(scope="module")
def engine():
    with duckdb.connect() as connection:
        yield connection


def in_sql(engine: duckdb.DuckDBPyConnection, seconds: float) -> datetime | None:
    row = engine.execute(f"SELECT {utc('x')} FROM (SELECT ?::DOUBLE AS x)", [seconds]).fetchone()
    assert row is not None
    return row[0]


@given(moment=MODERN)
def test_a_time_reads_in_utc_as_drms_reckons_it(engine, moment):
    found = in_sql(engine, from_datetime(moment))
    assert found is not None
    assert abs((found - moment.replace(tzinfo=None)).total_seconds()) < 2e-6


@pytest.mark.parametrize("leap", [t for t in LEAP_TIMES if t > 16])
def test_both_sides_of_a_leap_second_are_right(engine, leap):
    for seconds in (leap - 2.0, leap, leap + 1.0):
        assert in_sql(engine, seconds) == to_datetime(seconds).replace(tzinfo=None)


def test_the_day_of_an_observation_as_jsoc_writes_it(engine):
    found = in_sql(engine, parse_time("2014.01.01_00:00:00_TAI"))
    assert found is not None
    assert found.isoformat() == "2013-12-31T23:59:25"


@pytest.mark.parametrize("seconds", [1e18, -1e18, float("inf"), float("-inf"), float("nan")])
def test_what_is_no_time_is_null(engine, seconds):
    assert in_sql(engine, seconds) is None


@given(day=st.integers(-40_000, 60_000))
def test_a_day_lies_within_the_bounds_of_its_month(day):
    first, after = bounds(month_of(day, timed=True)) or (0.0, 0.0)
    assert first <= day * 86400.0 < after


def test_months_follow_each_other_without_a_gap():
    ends = [bounds(month_of(day, timed=True)) for day in range(-1000, 20000, 15)]
    spans = sorted({span for span in ends if span})
    assert all(a[1] == b[0] for a, b in pairwise(spans))


def test_records_without_a_time_are_together():
    assert (month_of(None, timed=True), month_of(None, timed=False)) == (NONE, ALL)
    assert bounds(NONE) is None


@given(st.lists(st.tuples(st.sampled_from(["2014-01", "2014-02"]), st.integers(1, 9), st.integers(0, 2**64 - 1))))
def test_the_print_of_a_month_does_not_depend_on_the_order_of_its_days(days):
    parts = [(month, Print(n, h)) for month, n, h in days]
    assert together(parts) == together(reversed(parts))
    assert sum(p.records for p in together(parts).values()) == sum(n for _, n, _ in days)
