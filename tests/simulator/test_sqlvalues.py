"""PostgreSQL's arithmetic on Python values."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.simulator.sqlvalues import arithmetic, call, compare, like

INTEGERS = st.integers(-(2**31), 2**31 - 1)


@given(INTEGERS, INTEGERS.filter(bool))
def test_division_truncates_and_the_remainder_has_the_sign_of_the_dividend(left, right):
    quotient, rest = arithmetic("/", left, right), arithmetic("%", left, right)
    assert quotient * right + rest == left
    assert abs(rest) < abs(right)
    assert rest == 0 or (rest < 0) == (left < 0)


@given(st.floats(), st.floats())
def test_comparison_is_a_total_order_with_nan_on_top(left, right):
    assert compare(left, right) == -compare(right, left)
    assert compare(math.nan, left) == (0 if math.isnan(left) else 1)


def test_a_double_compares_with_a_decimal_as_double():
    assert compare(0.1, Decimal("0.1")) == 0
    assert compare(1, Decimal("1.5")) == -1


@pytest.mark.parametrize(
    "name, args, result",
    [
        ("round", (2.5,), 2.0),
        ("round", (Decimal("2.5"),), Decimal(3)),
        ("round", (Decimal("2.345"), 2), Decimal("2.35")),
        ("floor", (-1.5,), -2.0),
        ("ceil", (1,), 1.0),
        ("trunc", (-1.7,), -1.0),
        ("sign", (-3,), -1.0),
        ("mod", (-7, 4), -3),
        ("upper", ("abc",), "ABC"),
    ],
)
def test_functions(name, args, result):
    assert call(name, args) == result


@given(INTEGERS, st.integers(0, 31))
def test_shifts_stay_within_four_bytes(value, bits):
    assert -(2**31) <= arithmetic("<<", value, bits) < 2**31
    assert arithmetic(">>", value, bits) == value >> bits


@given(st.text(), st.text())
def test_an_escaped_text_is_like_itself_only(text, other):
    pattern = "".join("\\" + c for c in text)
    assert like(text, pattern, "\\", any_case=False)
    assert like(other, pattern, "\\", any_case=False) == (other == text)
