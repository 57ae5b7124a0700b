"""Reading as the C library does."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.scanner import Scanner, single
from mirror.errors import SyntaxProblem


@given(st.floats(allow_nan=False))
def test_every_double_is_read_back_from_its_text(value):
    scanner = Scanner(repr(value) + ",")
    assert scanner.float_("a number") == value
    assert scanner.peek() == ","


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_long_integer_is_read_back_from_its_text(value):
    assert Scanner(str(value)).decimal("a number") == value


@pytest.mark.parametrize(
    "text, value, rest",
    [
        (" 1.5e3x", 1500.0, "x"),
        ("0x10s", 16.0, "s"),
        (".5.5", 0.5, ".5"),
        ("1e", 1.0, "e"),
        ("-inf", -math.inf, ""),
    ],
)
def test_a_number_ends_where_strtod_ends_it(text, value, rest):
    scanner = Scanner(text)
    assert scanner.float_("a number") == value
    assert scanner.ahead(9) == rest


@pytest.mark.parametrize(
    "type_, text, value",
    [
        ("int", "010", 10),
        ("longlong", "010", 8),
        ("longlong", "0x10", 16),
        ("int", "0x80000000", -(1 << 31)),
        ("char", "-128", -128),
        ("short", " +7.5", 7),
        ("longlong", "09", 0),
    ],
)
def test_integers_are_read_by_the_rules_of_their_type(type_, text, value):
    assert Scanner(text).integer(type_, "a number") == value


@pytest.mark.parametrize(
    "type_, text", [("int", "99999999999"), ("char", "128"), ("short", "0x10000"), ("int", "x")]
)
def test_integers_that_do_not_fit_their_type_fail(type_, text):
    with pytest.raises(SyntaxProblem):
        Scanner(text).integer(type_, "a number")


def test_a_number_beyond_the_doubles_fails():
    with pytest.raises(SyntaxProblem, match="out of range"):
        Scanner("1e400").float_("a number")


@pytest.mark.parametrize(
    "text, seconds", [("90s", 90), ("1.5h", 5400), ("-3m", -180), ("2d", 172800), ("3u", 135), ("1e2s", 100)]
)
def test_a_duration_is_in_seconds_and_u_counts_slots(text, seconds):
    scanner = Scanner(text)
    assert scanner.at_duration()
    assert scanner.duration(45.0) == seconds


@pytest.mark.parametrize("text", ["900", "3M", "s", "3 s", ""])
def test_a_duration_without_its_unit_fails(text):
    assert not Scanner(text).at_duration()
    with pytest.raises(SyntaxProblem):
        Scanner(text).duration(45.0)


@given(st.text(max_size=20), st.sampled_from("'\""))
def test_a_quoted_string_is_read_back(value, quote):
    escaped = value.replace("\\", "\\\\").replace(quote, "\\" + quote)
    scanner = Scanner(f"{quote}{escaped}{quote}]")
    assert scanner.quoted() == value
    assert scanner.peek() == "]"


@pytest.mark.parametrize("text", ["'abc", "'abc\\", '"a\\"', "'"])
def test_a_quote_that_is_not_closed_fails_at_its_start(text):
    with pytest.raises(SyntaxProblem) as caught:
        Scanner(text, whole="[" + text, offset=1).quoted()
    assert caught.value.position == 1


def test_a_bare_string_ends_at_a_blank_or_a_delimiter():
    assert Scanner(" \ta-b'c,d").string(",]") == "a-b'c"
    assert Scanner("a b").string(",]") == "a"


def test_single_rounds_as_a_c_float_does():
    assert single(0.1) == 0.10000000149011612
    assert single(-1e39) == -math.inf
