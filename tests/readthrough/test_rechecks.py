"""What a check finds, and how what changed is fetched: pure decisions."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS
from mirror.readthrough.chunks import MAX_RANGES
from mirror.readthrough.rechecks import REQUEST_COST, by_number, compare, runs, split

NUMBERS = st.sets(st.integers(1, 400), max_size=150)
CHUNK = 100


def members(steps):
    return [n for s in steps for n in range(s.lo, s.hi + 1, s.step)]


@given(NUMBERS)
def test_runs_are_the_fewest_intervals_with_just_these_numbers(numbers):
    found = list(runs(numbers))
    assert members(found) == sorted(numbers)
    assert all(a.hi + 1 < b.lo for a, b in pairwise(found))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_what_is_fetched_and_what_goes_makes_ours_the_same_as_theirs(certain, extra, theirs):
    known = (certain | extra) & theirs
    found = compare(certain, known, theirs)
    after = (certain - found.gone) | known | found.new
    assert after == theirs
    assert not found.new & known
    assert found.gone <= certain


@given(NUMBERS, st.integers(0, 1000))
def test_what_changed_is_fetched_by_number_unless_the_whole_costs_less(new, rest):
    there = len(new) + rest
    boxes = by_number(new, there, CHUNK)
    whole = there + REQUEST_COST * max(1, -(-there // CHUNK))
    if boxes is None:
        ranges = len(list(runs(new)))
        assert len(new) > CHUNK or len(new) + REQUEST_COST * -(-ranges // MAX_RANGES) > whole
        return
    assert members(s for box in boxes for s in box.steps) == sorted(new)
    assert all(box.region == RECNUMS and len(box.steps) <= MAX_RANGES for box in boxes)
    assert len(new) + REQUEST_COST * len(boxes) <= whole


def test_nothing_new_needs_no_request():
    assert by_number([], 0, CHUNK) == ()
    assert by_number([], 5_000, CHUNK) == ()


@given(st.integers(-50, 50), st.integers(0, 60))
def test_a_box_is_cut_into_what_lies_between_its_records_and_what_lies_beyond(first, length):
    last = first + length
    box = Box(Region((None,)), (Steps(MIN, -40), Steps(-20, 20), Steps(30, MAX)))
    inner, outer = split(box, first, last)
    wanted = {x for x in range(-100, 100) if any(s.lo <= x <= s.hi for s in box.steps)}
    inside = {x for x in wanted if any(s.lo <= x <= s.hi for s in inner.steps)}
    beyond = {x for x in wanted if any(s.lo <= x <= s.hi for s in outer.steps)}
    assert inside == {x for x in wanted if first <= x <= last}
    assert beyond == wanted - inside
