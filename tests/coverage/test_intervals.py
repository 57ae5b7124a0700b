"""Laws of sets of integers, against plain Python sets over a small space."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.intervals import MAX, MIN, Span, SpanMap, Steps

NUMBERS = st.integers(0, 30)
MOMENTS = st.sampled_from([0.0, 100.0, 700.0, 1300.0, 5000.0])


@st.composite
def intervals(draw):
    return tuple(sorted((draw(NUMBERS), draw(NUMBERS))))


ADDITIONS = st.lists(st.tuples(intervals(), MOMENTS), max_size=12)


def naive(additions):
    """The moment at which each integer was last covered."""
    return {x: at for (lo, hi), at in additions for x in range(lo, hi + 1)}


def made(additions, **options):
    spans = SpanMap(**options)
    for (lo, hi), at in additions:
        spans.add(lo, hi, at)
    return spans


def members(pairs):
    return {x for lo, hi in pairs for x in range(lo, hi + 1)}


@given(ADDITIONS)
def test_a_map_covers_what_was_added_and_nothing_else(additions):
    assert members((s.lo, s.hi) for s in made(additions)) == naive(additions).keys()


@given(ADDITIONS)
def test_without_grain_each_integer_has_the_moment_of_the_last_addition(additions):
    known = {x: s.checked_at for s in made(additions, grain=0.0) for x in range(s.lo, s.hi + 1)}
    assert known == naive(additions)


@given(ADDITIONS)
def test_a_moment_is_never_later_than_the_last_addition(additions):
    last = naive(additions)
    assert all(s.checked_at <= last[x] for s in made(additions) for x in range(s.lo, s.hi + 1))


@given(ADDITIONS)
def test_spans_are_disjoint_and_ascending_and_without_grain_as_few_as_can_be(additions):
    for grain in (0.0, 600.0):
        spans = list(made(additions, grain=grain))
        for before, after in pairwise(spans):
            assert before.hi < after.lo
            assert grain or before.hi + 1 < after.lo or before.checked_at != after.checked_at


@given(ADDITIONS, intervals())
def test_gaps_are_the_maximal_intervals_that_are_not_covered(additions, asked):
    covered = naive(additions)
    gaps = list(made(additions).gaps(*asked))
    assert members(gaps) == {x for x in range(asked[0], asked[1] + 1) if x not in covered}
    assert all(a[1] + 1 < b[0] for a, b in pairwise(gaps))


@given(ADDITIONS, intervals())
def test_within_cuts_the_spans_to_what_was_asked(additions, asked):
    found = list(made(additions).within(*asked))
    assert members((s.lo, s.hi) for s in found) == {x for x in naive(additions) if asked[0] <= x <= asked[1]}
    assert all(asked[0] <= s.lo <= s.hi <= asked[1] for s in found)


@given(ADDITIONS, intervals())
def test_removing_forgets_just_that(additions, removed):
    spans = made(additions, grain=0.0)
    spans.remove(*removed)
    left = {x: at for x, at in naive(additions).items() if not removed[0] <= x <= removed[1]}
    assert {x: s.checked_at for s in spans for x in range(s.lo, s.hi + 1)} == left


@given(ADDITIONS)
def test_a_map_made_again_from_its_spans_is_the_same(additions):
    spans = made(additions)
    assert list(SpanMap(spans)) == list(spans)
    assert len(spans) == len(list(spans))


def test_touching_spans_checked_at_about_the_same_time_become_one_with_the_older_moment():
    spans = SpanMap([Span(1, 5, 1000.0), Span(6, 9, 1500.0), Span(10, 12, 9000.0)])
    assert list(spans) == [(1, 9, 1000.0), (10, 12, 9000.0)]


def test_open_ends_are_covered_as_far_as_they_go():
    spans = SpanMap([Span(MIN, 10, 0.0), Span(20, MAX, 0.0)])
    assert list(spans.gaps(MIN, MAX)) == [(11, 19)]
    assert list(spans.gaps(-(10**12), 10**12)) == [(11, 19)]


def test_an_empty_span_is_refused():
    with pytest.raises(ValueError, match=r"5\.\.4 is empty"):
        SpanMap().add(5, 4, 0.0)


# ---- steps --------------------------------------------------------------------------------------


@st.composite
def steps(draw):
    lo, hi = draw(intervals())
    return Steps(lo, hi, draw(st.integers(1, 7)))


def of(s):
    return set(range(s.lo, s.hi + 1, s.step))


@given(steps())
def test_steps_count_their_members_and_list_them_as_intervals(s):
    assert len(s) == len(of(s))
    assert members(s.intervals()) == of(s)


@given(steps(), intervals())
def test_a_cut_keeps_the_members_within_and_its_own_ends_are_members(s, asked):
    cut = s.cut(*asked)
    left = {x for x in of(s) if asked[0] <= x <= asked[1]}
    if cut is None:
        assert not left
    else:
        assert of(cut) == left
        assert {cut.lo, cut.hi} <= left


def test_steps_that_end_before_they_begin_are_empty():
    assert len(Steps(5, 3)) == 0
    assert Steps(5, 3).cut(0, 10) is None
