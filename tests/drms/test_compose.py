"""Record sets put together from fields: they parse, mean what was filled in, and come apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.compose import Span, apart, compose
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import BadRequest
from tests.lab import world

SHARP, EUV, ZOO, NONE = (
    next(s.structure for s in world() if s.structure and s.structure.name == name)
    for name in ("hmi.sharp_720s", "aia.lev1_euv_12s", "su_test.zoo", "su_test.noprime")
)
TIMES = st.sampled_from(["2014.01.01_TAI", "2014.01.01_12:00_UTC", "2014.05_TAI"])
LENGTHS = st.sampled_from(["", "1d", "90m", "2.5h"])
SPANS = st.builds(lambda start, length, step: Span(start, "", length, step if length else ""), TIMES, LENGTHS, LENGTHS) | st.builds(
    lambda start, end, step: Span(start, end, "", step), TIMES, TIMES, LENGTHS
)


@given(st.sampled_from(["", "377", "1,2,3", "4000-4100"]), SPANS, st.sampled_from(["", "QUALITY = 0"]))
def test_what_is_composed_parses_binds_and_comes_apart_again(harp, span, where):
    keys = {"HARPNUM": harp, "T_REC": span}
    made = compose(SHARP, keys, where=where)
    assert parse_query(str(made)).sets == (made,)
    bind(made, SHARP, text=str(made))
    assert apart(SHARP, made) == (keys, where)


@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_nothing_that_is_filled_in_breaks_out_of_its_place(value, start, where):
    try:
        made = compose(SHARP, {"HARPNUM": value, "T_REC": Span(start)}, where=where)
    except BadRequest:
        return
    assert parse_query(str(made)).sets == (made,)
    assert len(made.filters) <= 3


@pytest.mark.parametrize(
    "start, end, text",
    [
        ("2014-01-01", "", "2014.01.01_TAI"),
        ("2014-01-01T12:30", "2014-01-02 06:00", "2014.01.01_12:30_TAI-2014.01.02_06:00_TAI"),
        ("2014-01-01T00:00:00Z", "", "2014.01.01_00:00:00_UTC"),
        ("2014.01.01_UTC", "", "2014.01.01_UTC"),
        ("2014.01.01", "", "2014.01.01_TAI"),
        ("$", "", "$"),
    ],
)
def test_times_as_people_write_them_become_those_of_drms(start, end, text):
    assert str(compose(SHARP, {"T_REC": Span(start, end)})) == f"hmi.sharp_720s[][{text}]"


def test_a_date_without_a_zone_has_that_of_its_key():
    assert str(compose(EUV, {"T_REC": Span("2014-01-01", length="1h"), "WAVELNTH": "171,193"})) == (
        "aia.lev1_euv_12s[2014.01.01_UTC/1h][171,193]"
    )


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"T_REC": Span("", "2014.01.02")}, "T_REC has no start"),
        ({"T_REC": Span("", "", "1d")}, "T_REC has no start"),
        ({"T_REC": Span("2014.01.01", "2014.01.02", "1d")}, "an end and a length"),
        ({"T_REC": Span("2014.01.01", step="1h")}, "a step but no end"),
        ({"HARPNUM": "3][4"}, "expected no brackets"),
    ],
)
def test_what_cannot_be_is_told(keys, words):
    with pytest.raises(BadRequest, match=words):
        compose(SHARP, keys)


def test_a_series_without_prime_keys_has_conditions_only():
    assert str(compose(NONE, {}, where="x > 1")) == "su_test.noprime[? x > 1 ?]"


@pytest.mark.parametrize(
    "ds", ["hmi.sharp_720s[:#1-#9]", "hmi.sharp_720s[][2014,2015]", "hmi.sharp_720s[T_REC=2014]", "hmi.sharp_720s[! 1=1 !]"]
)
def test_what_the_fields_cannot_say_does_not_come_apart(ds):
    assert apart(SHARP, parse_query(ds).sets[0]) is None
