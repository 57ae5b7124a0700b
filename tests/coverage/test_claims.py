from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.claims import at_places, numbered, without
from mirror.coverage.coverage import Between, Box, Coverage, Region
from mirror.coverage.intervals import Steps
from mirror.coverage.plan import RECNUMS
from tests.storage.archive import SERIES

SMALL = st.integers(0, 6)
BETWEEN = st.builds(lambda a, b: Between(min(a, b), max(a, b)), SMALL, SMALL)
TEXTS = st.sampled_from("ab")
REGIONS = st.builds(Region, st.tuples(st.none() | BETWEEN, st.none() | TEXTS), st.booleans())
STEPS = st.builds(lambda a, n, k: Steps(a, a + n * k, k), SMALL, SMALL, st.integers(1, 3))
BOXES = st.builds(Box, REGIONS, st.tuples(STEPS))
POINTS = [(x, w, name) for x in range(-1, 26) for w in range(-1, 8) for name in "abc"]


def admits(restriction, value):
    return restriction is None or (
        restriction.lo <= value <= restriction.hi
        if isinstance(restriction, Between)
        else restriction == value
    )


def in_box(box, point):
    x, w, name = point
    along = any(s.lo <= x <= s.hi and (x - s.lo) % s.step == 0 for s in box.steps)
    return along and admits(box.region.others[0], w) and admits(box.region.others[1], name)


def claimed(coverage):
    return {
        (point, region.all_versions)
        for region, spans in coverage
        for span in spans
        for point in POINTS
        if in_box(Box(region, (Steps(span.lo, span.hi),)), point)
    }


@given(st.lists(BOXES, max_size=3), BOXES)
def test_nothing_of_what_went_is_claimed_and_nothing_new_is(held, gone):
    coverage = Coverage()
    for box in held:
        coverage.add(box, 1.0)
    before, after = claimed(coverage), claimed(without(coverage, [gone]))
    assert after <= before
    assert not any(in_box(gone, point) for point, _ in after)


@given(st.lists(BOXES, max_size=3), BOXES)
def test_what_lies_at_other_steps_stays_claimed(held, gone):
    coverage = Coverage()
    for box in held:
        coverage.add(box, 1.0)
    lost = claimed(coverage) - claimed(without(coverage, [gone]))
    places = {x for (x, _, _), _ in lost}
    assert all(any(s.lo <= x <= s.hi and (x - s.lo) % s.step == 0 for s in gone.steps) for x in places)


@given(st.lists(BOXES, max_size=3), BETWEEN, STEPS)
def test_a_range_of_numbers_is_cut_out_exactly(held, wave, steps):
    coverage = Coverage()
    for box in held:
        coverage.add(box, 1.0)
    gone = Box(Region((wave, None)), (steps,))
    assert claimed(without(coverage, [gone])) == {c for c in claimed(coverage) if not in_box(gone, c[0])}


def test_record_numbers_and_keys_are_cut_apart():
    coverage = Coverage()
    coverage.add(Box(RECNUMS, (Steps(1, 9),)), 1.0)
    coverage.add(Box(Region((None, None)), (Steps(1, 9),)), 2.0)
    left = dict(without(coverage, [numbered([4, 5]), at_places(SERIES, [(7, 7)])]))
    assert [(s.lo, s.hi) for s in left[RECNUMS]] == [(1, 3), (6, 9)]
    assert [(s.lo, s.hi, s.checked_at) for s in left[Region((None, None))]] == [(1, 6, 2.0), (8, 9, 2.0)]
