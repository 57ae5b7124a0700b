"""Values from the texts that the server prints, with full precision or without."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.series import Keyword
from mirror.drms.times import parse_time
from mirror.errors import UpstreamBroken
from mirror.fits.keyword import read_value, real_text, time_text, to_single


def keyword(kind: str, unit: str = "none") -> Keyword:
    return Keyword("X", kind, "variable", "", unit, "")


@pytest.mark.parametrize(
    "kind, text, value",
    [
        ("int", "42", 42),
        ("int", "00000042", 42),
        ("int", "0x000000FF", 255),
        ("int", "0xFFFFFFFF", -1),
        ("int", "0x80000000", None),
        ("int", "-2147483648", None),
        ("short", "-32768", None),
        ("char", "-128", None),
        ("longlong", "-9223372036854775808", None),
        ("longlong", "0x0000000000042112", 270610),
        ("int", "MISSING", None),
        ("double", " 6173.0", 6173.0),
        ("double", "nan", None),
        ("double", "MISSING", None),
        ("double", "INF", math.inf),
        ("float", "149597870691", 149597863936.0),
        ("string", "MISSING", None),
        ("string", "", None),
        ("string", " x ", " x "),
    ],
)
def test_a_text_is_a_value_of_its_keywords_type(kind, text, value):
    assert read_value(keyword(kind), text) == value


def test_times_are_read_as_seconds_and_intervals_as_numbers_of_their_unit():
    text = "2014.01.01_00:00:05.089647_TAI"
    assert read_value(keyword("time", "TAI"), text) == parse_time(text)
    assert read_value(keyword("time", "mins"), "1.5") == "1.5"
    assert read_value(keyword("time", "ISO"), "-4712.01.01_11:59:28Z") is None


def test_times_are_written_with_milliseconds_in_their_unit_without_z():
    seconds = parse_time("2014.01.01_00:00:05.089647_TAI")
    assert time_text(seconds, "TAI") == "2014.01.01_00:00:05.090_TAI"
    assert time_text(seconds, "ISO") == "2013-12-31T23:59:30.090"
    assert time_text(seconds, "Z") == "2013.12.31_23:59:30.090"
    assert time_text(None, "ISO") == "-4712.01.01_11:59:28.000"


@pytest.mark.parametrize("kind, text", [("int", "x"), ("int", ""), ("double", "1,5"), ("time", "soon")])
def test_other_texts_are_errors_that_name_keyword_and_text(kind, text):
    with pytest.raises(UpstreamBroken, match="keyword X"):
        read_value(keyword(kind, "TAI"), text)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_nine_digits_keep_a_float(value):
    text = real_text(value, 9)
    assert to_single(float(text)) == value or abs(value) < 1.2e-38
    assert "." in text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_seventeen_digits_keep_a_double(value):
    text = real_text(value, 17)
    assert float(text) == value
    assert "." in text
