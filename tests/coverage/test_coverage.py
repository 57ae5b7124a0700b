"""Laws of coverage, against brute force: every record of a small space is looked at by itself.

A point is (axis value, values of the other keys, is it an old version). A query needs the newest
versions of its box, or all of them.
"""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.coverage.coverage import MAX_PIECES, Between, Box, Coverage, Freshness, Region
from mirror.coverage.intervals import MAX, MIN, Steps

AXIS = range(6)
#: Values of the two other keys: integers, which may be cut, and texts, which may not.
NUMBERS, TEXTS = range(3), ("a", "b")
POINTS = list(product(AXIS, NUMBERS, TEXTS, (False, True)))
NOW = 10_000.0


@st.composite
def boxes(draw, *, stepped=True):
    number = draw(st.none() | st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)).map(sorted))
    text = draw(st.none() | st.sampled_from(TEXTS))
    steps = draw(st.lists(steps_of(stepped=stepped), min_size=1, max_size=3))
    others = (None if number is None else Between(*number), text)
    return Box(Region(others, draw(st.booleans())), tuple(steps))


@st.composite
def steps_of(draw, *, stepped):
    lo, hi = sorted((draw(st.sampled_from(AXIS)), draw(st.sampled_from(AXIS))))
    open_ended = draw(st.integers(0, 9))
    if open_ended == 0:
        return Steps(MIN, hi)
    if open_ended == 1:
        return Steps(lo, MAX)
    if open_ended == 2:
        return Steps(MIN, MAX)
    return Steps(lo, hi, draw(st.integers(1, 4)) if stepped else 1)


def has(box, point):
    x, number, text, old = point
    within, exactly = box.region.others
    return (
        any(s.lo <= x <= s.hi and (s.step == 1 or (x - s.lo) % s.step == 0) for s in box.steps)
        and (within is None or within.lo <= number <= within.hi)
        and exactly in (None, text)
        and (box.region.all_versions or not old)
    )


def points(found):
    return {p for p in POINTS if any(has(box, p) for box in found)}


def covering(held, at=0.0):
    coverage = Coverage()
    for box in held:
        coverage.add(box, at)
    return coverage


HELD = st.lists(boxes(), max_size=6)


@given(HELD, boxes())
@settings(max_examples=120)
def test_gaps_hold_whatever_is_needed_and_not_held(held, need):
    gaps = points(covering(held).gaps(need))
    assert points([need]) - points(held) <= gaps <= points([need])


@given(HELD, boxes())
@settings(max_examples=120)
def test_gaps_hold_nothing_that_is_held_where_the_pieces_are_few(held, need):
    gaps = covering(held).gaps(need)
    cut_by_text = need.region.others[1] is None and any(b.region.others[1] for b in held)
    cut_by_version = need.region.all_versions and not all(b.region.all_versions for b in held)
    if not cut_by_text and not cut_by_version and len(gaps) < MAX_PIECES // 2:
        assert points(gaps) == points([need]) - points(held)


@given(HELD, boxes())
def test_gaps_do_not_overlap_each_other_more_than_the_need_itself(held, need):
    if len(need.steps) == 1:
        gaps = covering(held).gaps(need)
        assert sum(len(points([gap])) for gap in gaps) == len(points(gaps))


@given(HELD, boxes())
def test_what_was_filled_is_not_missing_any_more(held, need):
    coverage = covering(held)
    for gap in coverage.gaps(need):
        coverage.add(gap, NOW)
    left = coverage.gaps(need)
    # Where there are too many pieces the whole is asked for; then that is held, too.
    for gap in left:
        coverage.add(gap, NOW)
    assert not coverage.gaps(need)


@given(boxes())
def test_what_is_held_is_not_missing(held):
    assert covering([held]).gaps(held) == []


@given(HELD, boxes(), boxes())
def test_more_coverage_never_makes_more_gaps_beyond_the_bound_of_pieces(held, more, need):
    before = points(covering(held).gaps(need))
    after_gaps = covering([*held, more]).gaps(need)
    assert points(after_gaps) <= before or len(after_gaps) <= MAX_PIECES


# ---- freshness ----------------------------------------------------------------------------------

AGES = st.sampled_from([50.0, 150.0, 1500.0])
FRESHNESS = Freshness(now=NOW, young_age=100.0, settled_age=1000.0, settled=3)


def is_fresh(x, age):
    return age <= (FRESHNESS.settled_age if x <= FRESHNESS.settled else FRESHNESS.young_age)


@given(st.lists(st.tuples(boxes(), AGES), max_size=5), boxes())
@settings(max_examples=120)
def test_whatever_is_held_but_not_known_to_be_fresh_is_stale(held, need):
    coverage = Coverage()
    for box, age in held:
        coverage.add(box, NOW - age)
    known = points(box for box, _ in held) & points([need])
    # A later addition to the same region replaces the moment of an earlier one.
    fresh = {
        p
        for region in {box.region for box, _ in held}
        for p in known
        if (last := [age for box, age in held if box.region == region and has(box, p)])
        and is_fresh(p[0], last[-1])
    }
    gaps, stale = points(coverage.gaps(need)), points(coverage.stale(need, FRESHNESS))
    assert known - fresh - gaps <= stale <= points([need])
    assert not stale & gaps


@given(st.lists(st.tuples(boxes(), AGES), max_size=5), boxes())
def test_what_one_region_holds_and_is_fresh_has_neither_gaps_nor_stale_parts(held, need):
    coverage = Coverage()
    for box, age in held:
        coverage.add(box, NOW - age)
    if coverage.is_fresh(need, FRESHNESS):
        assert not coverage.gaps(need)
        assert not coverage.stale(need, FRESHNESS)
    elif len({box.region for box, _ in held}) == 1 and held[0][0].region.covers(need.region):
        ends = Box(need.region, tuple(Steps(s.lo, s.hi) for s in need.steps))
        assert coverage.gaps(ends) or coverage.stale(ends, FRESHNESS)


@given(HELD, boxes())
def test_nothing_is_stale_right_after_a_check(held, need):
    assert covering(held, NOW).stale(need, FRESHNESS) == []


@given(HELD, boxes())
def test_what_was_checked_is_not_stale_any_more(held, need):
    coverage = covering(held, 0.0)
    for _ in range(2):
        for box in coverage.stale(need, FRESHNESS):
            coverage.add(box, NOW)
    assert coverage.stale(need, FRESHNESS) == []


def test_old_data_are_checked_less_often_than_young_ones():
    coverage = covering([box(0, 9)], NOW - 500.0)
    assert coverage.stale(box(0, 9), FRESHNESS) == [box(4, 9)]
    assert coverage.stale(box(0, 3), FRESHNESS) == []


def box(lo, hi, step=1, *, number=None, text=None, all_versions=False):
    return Box(Region((number, text), all_versions), (Steps(lo, hi, step),))


# ---- examples -----------------------------------------------------------------------------------


def test_one_wavelength_is_covered_by_all_of_them():
    assert covering([box(0, 9)]).gaps(box(2, 3, number=Between(1, 1))) == []


def test_all_wavelengths_lack_those_beside_the_one_that_is_held():
    held = covering([box(0, 9, number=Between(2, 2))])
    assert held.gaps(box(0, 9)) == [box(0, 9, number=Between(MIN, 1)), box(0, 9, number=Between(3, MAX))]


def test_of_a_held_day_only_the_rest_of_the_week_is_missing():
    assert covering([box(3, 5)]).gaps(box(0, 9)) == [
        Box(Region((None, None)), (Steps(0, 2), Steps(6, 9))),
    ]


def test_steps_keep_their_phase_behind_what_is_held():
    assert covering([box(0, 4)]).gaps(box(0, 9, 3)) == [box(6, 9, 3)]


def test_newest_versions_do_not_vouch_for_old_ones():
    need = box(0, 9, all_versions=True)
    assert covering([box(0, 9)]).gaps(need) == [need]
    assert covering([need]).gaps(box(0, 9)) == []


def test_a_restriction_by_text_covers_only_that_text():
    held = covering([box(0, 9, text="a")])
    assert held.gaps(box(0, 9, text="a")) == []
    assert held.gaps(box(0, 9, text="b")) == [box(0, 9, text="b")]
    assert held.gaps(box(0, 9)) == [box(0, 9)]


def test_a_need_in_many_pieces_is_asked_for_whole():
    held = covering([box(0, 9, number=Between(n, n)) for n in range(0, 40, 2)])
    assert held.gaps(box(0, 9)) == [box(0, 9)]
