"""The algebra of the journal: what is free, what a row says that is news, what is left once something was given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cluster.journal import (
    Entry,
    boxes_from_json,
    boxes_to_json,
    claims_from_json,
    claims_to_json,
    coverage_of,
    dropped,
    free_parts,
    lacking,
    rows_of,
    touch,
)
from mirror.coverage.coverage import Between, Box, Coverage, Region
from mirror.coverage.intervals import GRAIN, MAX, MIN, Steps

#: Far enough apart that the spans of two moments never become one.
MOMENTS = [1e9 + 3 * GRAIN * n for n in range(6)]

steps = st.tuples(st.integers(0, 60), st.integers(0, 20), st.sampled_from([1, 1, 3])).map(lambda t: Steps(t[0], t[0] + t[1], t[2]))
restrictions = st.one_of(
    st.none(), st.tuples(st.integers(0, 5), st.integers(0, 3)).map(lambda t: Between(t[0], t[0] + t[1])), st.sampled_from(["a", "b"])
)
regions = st.tuples(restrictions, st.booleans()).map(lambda t: Region((t[0],), t[1]))
boxes = st.tuples(regions, st.lists(steps, min_size=1, max_size=3)).map(lambda t: Box(t[0], tuple(t[1])))
plain = st.lists(steps, min_size=1, max_size=3).map(lambda s: Box(Region((None,)), tuple(s)))


def slots(found):
    return {x for box in found for s in box.steps for x in range(s.lo, s.hi + 1, s.step)}


@given(st.lists(plain, max_size=4), st.lists(plain, max_size=4))
def test_what_is_free_is_all_that_no_flight_is_about(wanted, flights):
    free = free_parts(wanted, flights)
    assert slots(free) == slots(wanted) - slots(flights)


@given(st.lists(boxes, max_size=4), st.lists(boxes, max_size=4))
def test_nothing_is_free_that_a_flight_touches(wanted, flights):
    assert not any(touch(part, box) for part in free_parts(wanted, flights) for box in flights)


@given(boxes, boxes)
def test_touching_goes_both_ways_and_holds_for_a_box_itself(one, other):
    assert touch(one, other) == touch(other, one)
    assert touch(one, one)


@pytest.mark.parametrize("claims", [None, {}, "text", {"x": 1}, [["x", [[1, 2]]]], [[{}, [[5, 1, 0]]]], [[[], [[1, 2, "z"]]]]])
def test_a_row_that_cannot_be_read_is_left_out_and_the_others_are_read(claims):
    good = (2, "content", claims_to_json([(Box(Region((None,)), (Steps(1, 5),)), 1e9)]), None, "chunks/b", "s", 1e9)
    found = rows_of([(1, "content", claims, None, "chunks/a", "s", 1e9), good])
    assert "chunks/b" in [entry.object for entry, _, _ in found]
    assert all(entry.object == "chunks/b" or not entry.claims for entry, _, _ in found)


@given(st.lists(boxes, max_size=3), st.sampled_from(MOMENTS))
def test_what_is_written_reads_the_same(found, at):
    claims = [(box, at) for box in found]
    assert boxes_from_json(boxes_to_json(found)) == tuple(found)
    before, after = Coverage(), Coverage()
    for box, moment in claims:
        before.add(box, moment)
    for box, moment in claims_from_json(claims_to_json(claims)):
        after.add(box, moment)
    assert [(r, list(s)) for r, s in before] == [(r, list(s)) for r, s in after]


entries = st.lists(st.tuples(st.sampled_from(["content", "content", "same", "drop"]), plain), max_size=8)


def rows(found):
    """Rows as servers write them: what is the same is so since some moment, and later than all before."""
    made = []
    for number, (kind, box) in enumerate(found, start=1):
        at = 1e9 + 3 * GRAIN * number
        since = 1e9 if kind == "same" else None
        made.append(Entry(number, kind, ((box, 0.0 if kind == "drop" else at),), since))
    return made


@given(entries)
def test_a_reader_who_takes_rows_over_in_order_knows_what_the_journal_says(found):
    """However lazily: by one row at a time, what a row says that is news is all that has to be taken over."""
    told, known = rows(found), Coverage()
    journal = coverage_of(told)
    waiting = []
    for entry in told:
        if entry.kind == "drop":
            known = coverage_of([*_as_rows(known), entry])
            waiting = [e for e in (dropped(each, entry) for each in waiting) if e is not None]
        else:
            waiting.append(entry)
    for entry in waiting:
        for part, at in entry.news(known, entry.boxes):
            known.add(part, at)
    assert slots(_boxes(known)) == slots(_boxes(journal))
    for box in _boxes(journal):
        assert not any(lacking(known, box, at - GRAIN) for at in journal.checked(box) if at == min(journal.checked(box)))
    assert not any(entry.tells(known, entry.boxes) for entry in waiting)


def _boxes(coverage):
    return [Box(region, (Steps(s.lo, s.hi),)) for region, spans in coverage for s in spans]


def _as_rows(coverage):
    claims = [(Box(region, (Steps(s.lo, s.hi),)), s.checked_at) for region, spans in coverage for s in spans]
    return [Entry(0, "content", tuple(claims))] if claims else []


def test_a_drop_without_claims_gives_all_up():
    held = Entry(1, "content", ((Box(Region((None,)), (Steps(0, 10),)), 1e9),))
    assert not list(coverage_of([held, Entry(2, "drop", ())]))
    assert dropped(held, Entry(2, "drop", ())) is None


def test_open_ends_touch_whatever_lies_beyond():
    everything, one = Box(Region((None,)), (Steps(MIN, MAX),)), Box(Region((None,)), (Steps(5, 5),))
    assert touch(everything, one)
    assert free_parts([one], [everything]) == []
    assert slots([one]) == {5}
