"""Cutting boxes into requests loses nothing, doubles nothing and keeps the order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.readthrough.chunks import MAX_RANGES, chunks, halves

REGION = Region((None,))


@st.composite
def boxes(draw):
    """Boxes with disjoint ascending steps, as gaps are."""
    found, at = [], 0
    for _ in range(draw(st.integers(95, 110) if draw(st.booleans()) else st.integers(1, 4))):
        at += draw(st.integers(1, 5))
        step = draw(st.integers(1, 3))
        last = at + draw(st.integers(0, 9)) * step
        found.append(Steps(at, last, step if last > at else 1))
        at = last + 1
    return Box(REGION, tuple(found))


def members(box):
    return [x for s in box.steps for x in range(s.lo, s.hi + 1, s.step)]


@settings(max_examples=40)
@given(boxes(), st.integers(1, 40))
def test_chunks_are_the_box_in_order_and_none_is_too_large(box, slots):
    parts = list(chunks(box, slots))
    assert [x for part in parts for x in members(part)] == members(box)
    assert all(part.region == box.region for part in parts)
    assert all(1 <= part.slots() <= slots and len(part.steps) <= MAX_RANGES for part in parts)


@settings(max_examples=40)
@given(boxes(), st.integers(1, 40))
def test_chunks_are_as_few_as_their_size_and_the_ranges_allow(box, slots):
    parts = list(chunks(box, slots))
    assert len(parts) <= -(-box.slots() // slots) + -(-len(box.steps) // MAX_RANGES)


@settings(max_examples=40)
@given(boxes())
def test_halves_are_the_box_and_each_is_smaller(box):
    cut = halves(box)
    if box.slots() == 1:
        assert cut is None
        return
    first, second = cut
    assert members(first) + members(second) == members(box)
    assert 0 < first.slots() < box.slots()
    if len(box.steps) <= MAX_RANGES:
        assert abs(first.slots() - second.slots()) <= 1


@settings(max_examples=40)
@given(boxes())
def test_halving_again_and_again_ends_at_single_slots(box):
    left, ends = [box], []
    while left:
        piece = left.pop()
        cut = halves(piece)
        if cut is None:
            ends.append(piece)
        else:
            left += cut
    assert sorted(x for end in ends for x in members(end)) == members(box)


def test_a_box_with_an_open_end_is_one_part_and_has_no_halves():
    for steps in (Steps(MIN, 5), Steps(5, MAX), Steps(MIN, MAX)):
        box = Box(REGION, (steps,))
        assert list(chunks(box, 10)) == [box]
        assert halves(box) is None
