from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.calendar import (
    LEAP_TIMES,
    Date,
    clock_seconds,
    date_of_day,
    leap_seconds,
    leap_seconds_by_clock,
    month_days,
    zone_offset,
)


@given(st.dates(date(1582, 10, 15), date(9999, 12, 31)))
def test_the_gregorian_calendar_is_that_of_python(day):
    number = (day - date(1977, 1, 1)).days
    assert clock_seconds(Date(day.year, day.month, day.day), 0.0) == 86400.0 * number
    assert date_of_day(number) == (day.year, day.month, day.day)


@given(st.integers(-4_000_000, -144_000))
def test_a_julian_date_is_the_date_of_its_day(number):
    day = date_of_day(number)
    assert clock_seconds(day, 0.0) == 86400.0 * number
    assert 1 <= day.day <= month_days(day.year)[day.month - 1]


def test_the_day_after_the_last_julian_one_is_the_first_gregorian_one():
    first = int(clock_seconds(Date(1582, 10, 15), 0.0) / 86400.0)
    assert [date_of_day(first - 1), date_of_day(first)] == [(1582, 10, 4), (1582, 10, 15)]


@given(st.integers(1, 9999), st.integers(-30, 30), st.integers(-400, 400))
def test_months_and_days_beyond_their_range_carry_over(year, month, day):
    years, month0 = divmod(month - 1, 12)
    first = clock_seconds(Date(year + years, month0 + 1, 1), 0.0)
    # Around the change of calendar the server's carrying is its own business.
    if abs(year + years - 1582) > 4:
        assert clock_seconds(Date(year, month, day), 0.0) == first + 86400.0 * (day - 1)


def test_century_years_are_leap_years_until_1600_only_or_by_four_hundred():
    assert [month_days(y)[1] for y in (1500, 1600, 1700, 1900, 2000, 2014, 2016)] == [
        29,
        29,
        28,
        28,
        29,
        28,
        29,
    ]


@pytest.mark.parametrize("time", LEAP_TIMES)
def test_a_leap_second_is_the_second_before_the_count_is_complete(time):
    before, _ = leap_seconds(time - 1.5)
    assert leap_seconds(time - 1.0) == (before + 1, True)
    assert leap_seconds(time - 0.001) == (before + 1, True)
    assert leap_seconds(time) == (before + 1, False)


@given(st.timedeltas(timedelta(days=-30000), timedelta(days=30000)))
def test_both_ways_of_counting_leap_seconds_agree_outside_of_one(distance):
    seconds = distance.total_seconds()
    count, inside = leap_seconds(seconds)
    if not inside:
        assert leap_seconds_by_clock(seconds - count) == count


@pytest.mark.parametrize(
    "zone, hours",
    [
        ("+0530", 5.5),
        ("-0800", -8),
        ("-2014", -20 - 14 / 60),
        ("A", 1),
        ("I", 9),
        ("K", 10),
        ("M", 12),
        ("N", -1),
        ("X", -11),
        ("Y", -12),
        ("Z", 0),
        ("z", 0),
        ("PST", -8),
        ("NZDT", 13),
        ("UTC", 0),
        ("", 0),
        ("NONE", 0),
    ],
)
def test_zones_are_hours_ahead_of_utc(zone, hours):
    assert zone_offset(zone) == pytest.approx(hours * 3600)
