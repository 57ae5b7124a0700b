"""Plans: the boxes that a query needs hold all of its records, and a box is written as a query for itself."""

from __future__ import annotations

import gzip
import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.coverage import Between, Box, Coverage, Freshness, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import (
    RECNUMS,
    Fetch,
    Forward,
    Local,
    box_query,
    extreme_position,
    has_where,
    need,
    other_keys,
    plan_read,
    restricts_keys,
)
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import MirrorError
from mirror.wire.structure import decode_series_struct
from tests import recorded

NOW = 1_700_000_000.0
NEVER_STALE = Freshness(NOW, 1e9, 1e9, 0)
NAMES = [
    "hmi.V_45s",
    "aia.lev1_euv_12s",
    "hmi.sharp_720s",
    "hmi.v_sht_2drls",
    "hmi.v_sht_modes",
    "su_test.zoo",
    "su_test.noprime",
    "su_test.carr",
    "su_test.latslot",
    "su_test.tsslot",
]


@cache
def series(name):
    path = next(p for p in recorded.WORLD.iterdir() if p.name.lower() == f"{name.lower()}.json.gz")
    world = json.loads(gzip.decompress(path.read_bytes()))
    return decode_series_struct(world["series_struct"].encode("latin-1"), name_hint=world["series"])


def selection(text):
    (record_set,) = parse_query(text).sets
    return bind(record_set, series(record_set.series), text=text)


def boxes(text):
    found = need(selection(text))
    assert not isinstance(found, Forward), found
    return found


# ---- a box as a query ---------------------------------------------------------------------------


@st.composite
def steps(draw, *, lowest, stepped):
    found = []
    for _ in range(draw(st.integers(1, 3))):
        lo = draw(st.integers(lowest, 10**6))
        step = draw(st.integers(1, 50)) if stepped else 1
        last = lo + draw(st.integers(0, 10_000)) * step
        found.append(Steps(lo, last, step if last > lo else 1))
    return tuple(found)


@st.composite
def series_and_box(draw):
    of = series(draw(st.sampled_from(NAMES)))
    axis = coverage_axis(of)
    if draw(st.integers(0, 9)) == 0:
        return of, Box(RECNUMS, draw(steps(lowest=1, stepped=True)))
    whole = axis is None or draw(st.booleans())
    along = (Steps(MIN, MAX),) if whole else draw(steps(lowest=-(10**6), stepped=True))
    others = tuple(draw(restriction(of, key)) for key in other_keys(of))
    return of, Box(Region(others, draw(st.booleans())), along)


def restriction(of, key):
    if of.keyword(key).type == "string":
        return st.none() | st.text("abcXYZ 0-9.,][{}'_", min_size=1, max_size=8).filter(writable)
    numbers = st.tuples(st.integers(-1000, 10**6), st.integers(-1000, 10**6)).map(sorted)
    return st.none() | numbers.map(lambda ends: Between(*ends))


def writable(text):
    return text == text.strip()


@given(series_and_box())
def test_the_query_of_a_box_parses_and_binds_back_to_the_same_box(drawn):
    of, box = drawn
    text = str(box_query(of, box))
    (record_set,) = parse_query(text).sets
    assert str(record_set) == text
    bound = bind(record_set, of, text=text)
    assert not has_where(bound) or box.region.all_versions
    (again,) = need(bound)
    assert again == box


def recorded_selections():
    """Every selection of the recorded queries that the mirror binds, with a query that it comes from."""
    for line in recorded.lines("queries") + recorded.lines("random"):
        try:
            sets = parse_query(line["params"].get("ds", "")).sets
            for record_set in sets:
                yield line["params"]["ds"], bind(record_set, series(record_set.series))
        except (MirrorError, StopIteration):
            continue


def test_the_boxes_of_all_recorded_queries_are_written_as_queries_for_them():
    seen = 0
    for text, bound in recorded_selections():
        found = () if extreme_position(bound) is not None else need(bound)
        if isinstance(found, Forward):
            continue
        for box in found:
            axis = coverage_axis(bound.series)
            if axis is not None and axis.kind is Kind.MILLISECONDS:
                continue
            (record_set,) = parse_query(str(box_query(bound.series, box))).sets
            (again,) = need(bind(record_set, bound.series))
            assert covers(again, box), text
            seen += 1
    assert seen > 900


def covers(wide, narrow):
    held = Coverage()
    held.add(wide, 0.0)
    return not held.gaps(narrow)


@pytest.mark.parametrize(
    "value", ["it's", "a b", "a,b", "[x]", "a-b", "{seg}", "semi;colon", "'", '"', "#1", "$", "^"]
)
def test_a_text_that_means_something_in_brackets_is_written_so_that_it_does_not(value):
    zoo = series("su_test.zoo")
    box = Box(Region((value,)), (Steps(MIN, MAX),))
    text = str(box_query(zoo, box))
    (record_set,) = parse_query(text).sets
    assert need(bind(record_set, zoo, text=text)) == (box,)


# ---- needs --------------------------------------------------------------------------------------


def test_a_range_of_slots_is_needed_under_no_restriction():
    assert boxes("hmi.v_45s[#10-#20]") == (Box(Region((None,)), (Steps(10, 20),)),)


def test_a_key_beside_the_axis_restricts():
    (box,) = boxes("aia.lev1_euv_12s[#10-#20][171]")
    assert box == Box(Region((Between(171, 171),)), (Steps(10, 20),))


def test_several_values_of_a_key_are_a_box_each():
    found = boxes("aia.lev1_euv_12s[#10-#20,#40][94,131]")
    assert [b.region.others for b in found] == [(Between(94, 94),), (Between(131, 131),)]
    assert all(b.steps == (Steps(10, 20), Steps(40, 40)) for b in found)


def test_a_harp_is_needed_over_all_time():
    assert boxes("hmi.sharp_720s[4864][]") == (Box(Region((Between(4864, 4864),)), (Steps(MIN, MAX),)),)


def test_a_series_without_an_axis_is_needed_whole():
    assert boxes("su_test.noprime") == (Box(Region(()), (Steps(MIN, MAX),)),)


def test_steps_end_at_the_last_slot_that_they_meet():
    assert boxes("hmi.v_45s[#10-#20@4]") == (Box(Region((None,)), (Steps(10, 18, 4),)),)


def test_all_versions_are_needed_for_conditions_on_all_versions():
    (box,) = boxes("hmi.v_45s[#10-#20][! 1=1 !]")
    assert box.region.all_versions


def test_record_numbers_are_their_own_axis():
    assert boxes("hmi.v_45s[:#5-#9]") == (Box(RECNUMS, (Steps(5, 9),)),)
    assert boxes("hmi.v_45s[:#9-#5]") == ()


@pytest.mark.parametrize(
    "text, reason",
    [
        ("hmi.v_45s[:#$]", "highest record number"),
        ("hmi.v_45s[1980.01.01_TAI-2100.01.01_TAI@90s]", "too many separate slots"),
        ("aia.lev1_euv_12s[#1][" + ",".join(map(str, range(500))) + "]", "too many values"),
    ],
)
def test_what_cannot_be_kept_as_coverage_is_forwarded_with_the_reason(text, reason):
    found = need(selection(text))
    assert isinstance(found, Forward)
    assert reason in found.reason


# ---- plans --------------------------------------------------------------------------------------


def test_what_is_held_and_fresh_is_answered_locally():
    coverage = Coverage()
    for box in boxes("hmi.v_45s[#10-#20]"):
        coverage.add(box, NOW)
    for text in ("hmi.v_45s[#10-#20]", "hmi.v_45s[#12/3]", "hmi.v_45s[#10-#20@5][2][? QUALITY = 0 ?]"):
        assert plan_read(selection(text), coverage, NEVER_STALE) == Local(boxes(text))


def test_what_is_missing_and_what_is_old_are_told_apart():
    coverage = Coverage()
    for box in boxes("hmi.v_45s[#10-#20]"):
        coverage.add(box, NOW - 500.0)
    plan = plan_read(selection("hmi.v_45s[#15-#30]"), coverage, Freshness(NOW, 100.0, 100.0, 0))
    region = Region((None,))
    assert plan == Fetch((Box(region, (Steps(21, 30),)),), (Box(region, (Steps(15, 20),)),))


def test_an_unsatisfiable_range_needs_nothing():
    assert plan_read(selection("hmi.v_45s[#20-#10]"), Coverage(), NEVER_STALE) == Local(())


@pytest.mark.parametrize(
    "text, restricted, condition",
    [
        ("hmi.v_45s", False, False),
        ("hmi.v_45s[? QUALITY = 0 ?]", False, True),
        ("hmi.v_45s[#10-#20][? QUALITY = 0 ?]", True, True),
        ("hmi.v_45s[#10-#]", False, False),
        ("hmi.v_45s[][2]", True, False),
        ("hmi.v_45s[:#5]", True, False),
    ],
)
def test_a_query_says_whether_its_keys_are_bounded_and_whether_it_has_a_condition(
    text, restricted, condition
):
    bound = selection(text)
    assert (restricts_keys(bound), has_where(bound)) == (restricted, condition)


@pytest.mark.parametrize(
    "text, position",
    [("hmi.v_45s[$]", 0), ("hmi.v_45s[#1-#9]", None), ("hmi.sharp_720s[3563][$]", 1), ("hmi.v_45s[^][$]", 0)],
)
def test_the_first_filter_with_a_mark_is_found(text, position):
    assert extreme_position(selection(text)) == position
