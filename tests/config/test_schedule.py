"""Windows, hours, budgets and pieces of subscriptions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.schedule import DAY_MINUTES, LONGEST_PAUSE, Budget, Hours, parse_hours, parse_moment, span
from mirror.coverage.coverage import Box, Coverage, Region
from mirror.coverage.intervals import Steps
from mirror.drms.times import parse_time
from mirror.errors import SyntaxProblem
from mirror.services.subscriptions.scope import newest, pause, slots_between, time_left

NOW = parse_time("2026.11.22_12:00:00_TAI")
DAY = 86400.0


# ---- moments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [
        ("now", NOW),
        ("-30d", NOW - 30 * DAY),
        ("now-12h", NOW - DAY / 2),
        ("- 1.5 h", NOW - 5400),
        ("2024.01.01_TAI", parse_time("2024.01.01_TAI")),
        ("2024-01-01T00:00:00Z", parse_time("2024-01-01T00:00:00Z")),
    ],
)
def test_a_moment_stands_or_goes_with_the_clock(text, expected):
    assert parse_moment(text).at(NOW) == expected
    assert str(parse_moment(text)) == text


@pytest.mark.parametrize(
    "text, position", [("soon", 0), ("-30", 3), ("2024.01.01_TAI and so on", 14), ("30d", 2), ("", 0)]
)
def test_what_is_no_moment_is_refused_where_it_stops_making_sense(text, position):
    with pytest.raises(SyntaxProblem, match="expected a time such as") as caught:
        parse_moment(text)
    assert caught.value.position == position


def test_a_window_ends_now_at_the_latest_and_keeps_its_last_part():
    week = parse_moment("-7d"), parse_moment("now")
    assert span(*week, NOW) == (NOW - 7 * DAY, NOW)
    assert span(*week, NOW, keep=DAY) == (NOW - DAY, NOW)
    assert span(parse_moment("-7d"), parse_moment("2030.01.01_TAI"), NOW) == (NOW - 7 * DAY, NOW)
    assert span(parse_moment("2030.01.01_TAI"), parse_moment("now"), NOW) is None
    assert span(parse_moment("2020.01.01_TAI"), parse_moment("2020.02.01_TAI"), NOW, keep=DAY) is None


# ---- hours and budgets ------------------------------------------------------------------------


def test_hours_may_go_over_midnight():
    night = parse_hours("20:00-06:00 UTC")
    waits = [
        night.wait(datetime(2026, 1, 1, h, m, tzinfo=UTC)) for h, m in ((19, 30), (20, 0), (3, 0), (6, 0))
    ]
    assert waits == [1800.0, 0.0, 0.0, 14 * 3600.0]
    assert (str(night), night.utc, parse_hours("8:00-9:30").utc) == ("20:00-06:00 UTC", True, False)


@pytest.mark.parametrize(
    "text", ["8-9", "25:00-26:00", "08:00-08:00", "08:61-09:00", "00:00-24:00", "24:30-25:00", "night"]
)
def test_what_is_no_part_of_a_day_is_refused(text):
    with pytest.raises(SyntaxProblem, match="expected hours such as"):
        parse_hours(text)


minutes = st.integers(0, DAY_MINUTES - 1)


@given(minutes, minutes, minutes, st.integers(0, 59))
def test_after_the_wait_the_hours_have_begun_and_not_before(first, last, at, second):
    if first == last:
        return
    hours = Hours(first, last, utc=True)
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=at, seconds=second)
    wait = hours.wait(moment)
    assert 0 <= wait <= DAY
    assert hours.wait(moment + timedelta(seconds=wait)) == 0
    if wait > 1:
        assert hours.wait(moment + timedelta(seconds=wait - 1)) > 0


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(0, 10**9), st.floats(0, 1e10))
def test_a_budget_waits_for_the_next_period_if_the_next_file_would_be_too_much(size, used, typical, now):
    budget = Budget(size, 3600.0, "")
    wait = budget.wait(used, typical, now)
    assert (wait == 0) == (not used or used + typical <= size)
    assert budget.began(now) <= now < budget.began(now) + 3600
    if wait:
        assert 0 < wait <= 3600


# ---- slots and pieces --------------------------------------------------------------------------


@given(st.integers(-1000, 1000), st.integers(0, 1000), st.integers(1, 50), st.booleans())
def test_steps_lie_in_their_window_and_reach_its_end(first, length, stride, anchored):
    steps = slots_between(first, first + length, stride, anchored=anchored)
    if steps is None:
        assert not anchored
        assert length < stride
        return
    assert first <= steps.lo <= steps.hi <= first + length < steps.hi + stride
    assert steps.lo == first or not anchored
    assert anchored or stride == 1 or all(n % stride == 0 for n in (steps.lo, steps.hi))
    assert steps.step == (stride if steps.hi > steps.lo else 1) or stride == 1


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 50))
def test_a_window_that_moves_picks_the_same_slots(first, by, stride):
    before = slots_between(first, 1000, stride, anchored=False)
    after = slots_between(first + by, 1000 + by, stride, anchored=False)
    members = [set(range(s.lo, s.hi + 1, s.step)) for s in (before, after)]
    overlap = set(range(first + by, 1001))
    assert members[0] & overlap == members[1] & overlap


steps = st.builds(
    lambda lo, n, k: Steps(lo, lo + (n - 1) * k, k),
    st.integers(0, 900),
    st.integers(1, 40),
    st.integers(1, 5),
)
boxes = st.lists(st.builds(lambda *s: Box(Region(()), s), steps), max_size=4)


def members(box):
    return {n for s in box.steps for n in range(s.lo, s.hi + 1, s.step)}


@given(boxes, st.integers(1, 100))
def test_the_newest_piece_is_a_part_of_a_box_and_has_its_end(some, slots):
    piece = newest(some, slots)
    if piece is None:
        assert not some
        return
    assert max(members(piece)) == max(max(members(b)) for b in some)
    assert any(members(piece) <= members(b) for b in some)
    assert 0 < len(members(piece)) <= slots


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 60), st.integers(1, 6))
def test_piece_after_piece_fetches_all_of_a_window_newest_first_and_nothing_twice(first, length, slots, step):
    whole = Box(Region(()), (Steps(first, first + length // step * step, step),))
    coverage, fetched = Coverage(), []
    while piece := newest(coverage.gaps(whole), slots):
        fetched.append(sorted(members(piece)))
        coverage.add(piece, 0.0)
    flat = [n for part in fetched for n in part]
    assert len(flat) == len(set(flat))
    assert set(flat) == members(whole)
    assert all(a[0] > b[-1] for a, b in pairwise(fetched))


# ---- when ----------------------------------------------------------------------------------------


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_pauses_grow_to_a_bound(failures, chance):
    assert 0 < pause(failures, chance) <= LONGEST_PAUSE
    assert pause(failures + 1, chance) >= pause(failures, chance)


def test_the_time_left_is_known_once_a_rate_is():
    assert time_left(0, 0, 0) == 0
    assert time_left(10, 100, 0) is None
    assert time_left(10, 100, 50) == 20
