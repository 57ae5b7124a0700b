"""PostgreSQL's arithmetic on Python values."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import Refused
from mirror.simulator.sql.functions import FUNCTIONS
from mirror.simulator.sql.operators import COMPARISONS, OPERATORS, compare, divide, like, quotient, remainder
from mirror.simulator.sql.types import choose

INTEGERS = st.integers(-(2**31), 2**31 - 1)


def applied(name, *args, types):
    catalogue = OPERATORS if name in OPERATORS else FUNCTIONS
    return choose(catalogue[name], types).run(*args)


@given(INTEGERS, INTEGERS.filter(bool))
def test_division_truncates_and_the_remainder_has_the_sign_of_the_dividend(left, right):
    quotient, rest = divide(left, right), remainder(left, right)
    assert quotient * right + rest == left
    assert abs(rest) < abs(right)
    assert rest == 0 or (rest < 0) == (left < 0)


@given(st.floats(), st.floats())
def test_comparison_is_a_total_order_with_nan_on_top(left, right):
    assert compare(left, right) == -compare(right, left)
    assert compare(math.nan, left) == (0 if math.isnan(left) else 1)
    assert sum(COMPARISONS[op](compare(left, right)) for op in ("<", "=", ">")) == 1


@pytest.mark.parametrize(
    "types, result",
    [
        (("smallint", "integer"), "integer"),
        (("integer", "numeric"), "numeric"),
        (("integer", "real"), "double precision"),
        (("real", "real"), "real"),
        (("numeric", "real"), "double precision"),
        (("bigint", "unknown"), "bigint"),
    ],
)
def test_the_wider_type_of_two_is_that_of_the_sum(types, result):
    assert choose(OPERATORS["+"], types).result == result


@pytest.mark.parametrize(
    "left, right, digits",
    [
        ("1.0", "3", "0.33333333333333333333"),
        ("7.0", "2", "3.5000000000000000"),
        ("1", "7000000", "0.000000142857142857142857"),
        ("123456789.5", "0.001", "123456789500.00000000"),
    ],
)
def test_a_numeric_quotient_has_the_digits_that_postgresql_gives_it(left, right, digits):
    assert quotient(Decimal(left), Decimal(right)) == Decimal(digits)


@pytest.mark.parametrize(
    "name, args, types, result",
    [
        ("round", (2.5,), ("double precision",), 2.0),
        ("round", (Decimal("2.5"),), ("numeric",), Decimal(3)),
        ("round", (Decimal("2.345"), 2), ("numeric", "integer"), Decimal("2.35")),
        ("floor", (-1.5,), ("double precision",), -2.0),
        ("sign", (math.nan,), ("double precision",), 0.0),
        ("upper", ("abc\xe4",), ("text",), "ABC\xe4"),
        ("substr", ("alpha", -1, 3), ("text", "integer", "integer"), "a"),
        ("split_part", ("a,b,c", ",", -1), ("text", "text", "integer"), "c"),
        ("power", (Decimal("2.0"), Decimal(-3)), ("numeric", "numeric"), Decimal("0.125")),
    ],
)
def test_functions(name, args, types, result):
    assert applied(name, *args, types=types) == result


@given(INTEGERS, st.integers(0, 31))
def test_shifts_stay_within_four_bytes(value, bits):
    assert -(2**31) <= applied("<<", value, bits, types=("integer", "integer")) < 2**31
    assert applied(">>", value, bits, types=("integer", "integer")) == value >> bits


@given(INTEGERS, INTEGERS)
def test_a_sum_that_the_type_does_not_hold_is_refused(left, right):
    if -(2**31) <= left + right < 2**31:
        assert applied("+", left, right, types=("integer", "integer")) == left + right
    else:
        with pytest.raises(Refused, match="integer out of range"):
            applied("+", left, right, types=("integer", "integer"))


@given(st.text(), st.text())
def test_an_escaped_text_is_like_itself_only(text, other):
    pattern = "".join("\\" + c for c in text)
    assert like(text, pattern, any_case=False)
    assert like(other, pattern, any_case=False) == (other == text)


@given(st.text("ab%_", max_size=6), st.text("ab", max_size=6))
def test_like_is_what_its_regular_expression_matches(pattern, text):
    import re

    expression = "".join({"%": ".*", "_": "."}.get(c, c) for c in pattern)
    assert like(text, pattern, any_case=False) == (re.fullmatch(expression, text) is not None)
