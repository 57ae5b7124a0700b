"""Slots of times, of Carrington time and of plain numbers."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.series import Keyword, PrimeKey, Series
from mirror.drms.slots import SlotAxis, slot_axis
from mirror.drms.times import parse_time


def keyword(
    name: str, defval: str, type_: str = "double", recscope: str = "constant", units: str = ""
) -> Keyword:
    return Keyword(name, type_, recscope, defval, units, "")


def series(*keywords: Keyword) -> Series:
    return Series("su.x", "", 0, 0, 0, 0, (PrimeKey(keywords[0].name, True),), (), keywords, (), ())


def timed(step: str, *more: Keyword, scope: str = "ts_eq", epoch: str = "1993.01.01_TAI") -> SlotAxis:
    axis = slot_axis(
        series(
            keyword("T", "", "time", scope),
            keyword("T_epoch", epoch, "time"),
            keyword("T_step", step, "float"),
            *more,
        ),
        "t",
    )
    assert axis is not None
    return axis


EVERY_45_S = timed("45.000000", keyword("T_unit", "secs", "string"))
EPOCH = parse_time("1993.01.01_TAI")


@given(st.integers(-(10**9), 10**9))
def test_a_slot_contains_its_start(slot):
    assert EVERY_45_S.slot(EVERY_45_S.start(slot)) == slot


@given(st.floats(-1e10, 1e10), st.floats(0, 1e10))
def test_slots_grow_with_their_values(value, more):
    assert EVERY_45_S.slot(value) <= EVERY_45_S.slot(value + more)


@pytest.mark.parametrize("offset, slot", [(0, 0), (22.4, 0), (22.5, 1), (-22.5, 0), (-22.6, -1)])
def test_a_time_snaps_to_the_nearest_slot_and_ties_go_up(offset, slot):
    assert EVERY_45_S.slot(EPOCH + offset) == slot


@pytest.mark.parametrize("offset, slot", [(0, 0), (52.4, 0), (52.5, 1), (59, 1), (60, 1), (-7.6, -1)])
def test_a_ts_slot_begins_half_its_rounding_early(offset, slot):
    axis = timed("60.0", keyword("T_round", "15.0"), scope="ts_slot")
    assert axis.slot(EPOCH + offset) == slot


def test_a_ts_slot_without_rounding_begins_on_time():
    axis = timed("12.0", scope="ts_slot")
    assert [axis.slot(EPOCH + t) for t in (-0.1, 0, 11.9, 12)] == [-1, 0, 0, 1]


@pytest.mark.parametrize(
    "length, count",
    [(-180, 1), (0, 1), (44, 1), (45, 1), (89, 1), (90, 2), (240, 5), (86400, 1920), (1e12, -(1 << 31))],
)
def test_a_length_counts_whole_slots_but_at_least_one(length, count):
    assert EVERY_45_S.count(length) == count


@given(st.integers(1, 10**6))
def test_a_length_of_n_slots_counts_n(n):
    assert EVERY_45_S.count(n * 45.0) == n


@pytest.mark.parametrize(
    "step, stride",
    [(45, 1), (600, 13), (67.5, 2), (50, 1), (22.5, 1), (22, 0), (0, 0), (-45, 0), (-90, 1), (-135, 2)],
)
def test_a_step_is_the_nearest_number_of_slots(step, stride):
    assert EVERY_45_S.stride(step) == stride


@pytest.mark.parametrize("unit, seconds", [("mins", 60), ("days", 86400), ("secs", 1), ("tenthsecs", 0.1)])
def test_the_unit_scales_the_width_but_not_the_step_of_a_query(unit, seconds):
    axis = timed("96.0", keyword("T_unit", unit, "string"))
    assert axis.step == 96 * seconds
    assert axis.stride(192) == 2


def test_a_step_may_be_a_duration_or_a_time():
    text = series(
        keyword("T", "", "time", "ts_eq"),
        keyword("T_epoch", "MDI_EPOCH", "string"),
        keyword("T_step", "2h", "string"),
    )
    axis = slot_axis(text, "T")
    assert axis is not None
    assert (axis.step, axis.epoch) == (7200.0, EPOCH)
    days = series(
        keyword("T", "", "time", "ts_eq"),
        keyword("T_epoch", "1993.01.01_12:00:00_UTC", "time"),
        keyword("T_step", "1", "time", units="day"),
    )
    axis = slot_axis(days, "T")
    assert axis is not None
    assert axis.step == 86400.0


def test_carrington_time_counts_degrees_from_0():
    carr = series(
        keyword("CR", "nan", "double", "carr"),
        keyword("CR_step", "15.0"),
        keyword("CR_unit", "degrees", "string"),
    )
    axis = slot_axis(carr, "CR")
    assert axis is not None
    assert (axis.epoch, axis.index, axis.timed) == (0.0, "CR_index", False)
    assert [axis.slot(x) for x in (772200, 772207.4, 772207.5)] == [51480, 51480, 51481]


def test_plain_numbers_count_from_their_base():
    lat = series(
        keyword("LAT", "nan", "double", "slot"), keyword("LAT_base", "-90"), keyword("LAT_step", "5")
    )
    axis = slot_axis(lat, "lat")
    assert axis is not None
    assert (axis.slot(-90), axis.slot(12.4), axis.start(20)) == (0, 20, 10.0)


def test_values_that_no_integer_holds_become_the_lowest_one():
    assert EVERY_45_S.slot(math.nan) == EVERY_45_S.slot(math.inf) == -(1 << 63)


def test_keys_without_slots_or_constants_have_no_axis():
    plain = series(keyword("N", "0", "int", "variable"))
    assert slot_axis(plain, "N") is None
    assert slot_axis(plain, "nothing") is None
    bare = series(keyword("T", "", "time", "ts_eq"), keyword("T_step", "45"))
    assert slot_axis(bare, "T") is None
    nothing = replace(bare, keywords=(*bare.keywords, keyword("T_epoch", "-4712.01.01_11:59:28_TAI", "time")))
    assert slot_axis(nothing, "T") is None
