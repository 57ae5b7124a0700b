import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.drms.times import MISSING_TIME, format_time
from mirror.simulator.synthetic.printing import missing_value, print_column, print_times

LEAP_2017 = 1262304037.0  # 2017.01.01_00:00:00 UTC
times = st.one_of(
    st.floats(min_value=-1e9, max_value=3e9, allow_nan=False).map(lambda t: round(t, 4)),
    st.floats(min_value=LEAP_2017 - 5, max_value=LEAP_2017 + 5).map(lambda t: round(t, 3)),
    st.integers(0, 2_000_000_000).map(lambda t: t + 0.5),
)


@given(
    seconds=st.lists(times, min_size=1, max_size=8),
    zone=st.sampled_from(["TAI", "UTC", "ISO", "TDT"]),
    decimals=st.sampled_from([0, 2, 3]),
)
@example(seconds=[0.5, 1.5], zone="UTC", decimals=0)
@example(seconds=[1e9 + 0.5, 1e9 + 1.5], zone="ISO", decimals=0)
def test_a_column_of_times_is_printed_as_each_time_alone(seconds, zone, decimals):
    # Halves of the last digit are left out: which way they go depends on the double's own last bits.
    clear = [t for t in seconds if abs(t * 10**decimals % 1 - 0.5) > 1e-3 or decimals == 0]
    printed = print_times(np.array(clear), zone, decimals)
    assert printed == [format_time(t, zone, decimals) for t in clear]


def test_missing_times_are_missing_among_others():
    column = np.array([0.0, MISSING_TIME, 45.0, np.nan])
    expected = ["1977.01.01_00:00:00_TAI", "MISSING", "1977.01.01_00:00:45_TAI", "MISSING"]
    assert print_column(column, "time", "0", "TAI", precise=False) == expected


@pytest.mark.parametrize(
    "values,kind,form,expected",
    [
        ([3313.10498, np.nan], "float", "%f", ["3313.104980", "MISSING"]),
        ([1.5, 2.25], "double", "%.1f", ["1.5", "2.2"]),
        ([2.71476e22], "float", "%.6e", ["2.714760e+22"]),
        ([0.0, 97304.0], "double", "%g", ["0", "97304"]),
        ([149597870691.0], "double", "%.0f", ["149597870691"]),
        ([0, 0x400, -(1 << 31)], "int", "0x%08x", ["0x00000000", "0x00000400", "MISSING"]),
        ([0x80000200 - (1 << 32)], "int", "0x%08x", ["0x80000200"]),
        ([0x1112], "longlong", "0x%016x", ["0x0000000000001112"]),
        ([7, -32768], "short", "%hd", ["7", "MISSING"]),
        ([-9223372036854775808, 5], "longlong", "%lld", ["MISSING", "5"]),
    ],
)
def test_numbers_are_printed_as_the_format_says(values, kind, form, expected):
    assert print_column(np.array(values), kind, form, "none", precise=False) == expected


def test_strings_become_wire_text_and_empty_ones_are_missing():
    column = np.array(["SDO/HMI", "", 'a "b"'], dtype=object)
    assert print_column(column, "string", "%s", "none", precise=False) == [r"SDO\/HMI", "MISSING", r"a \"b\""]


def test_precise_floats_have_nine_digits_and_doubles_seventeen():
    third = np.array([np.float64(np.float32(1 / 3)), 1.0])
    assert print_column(third, "float", "%f", "none", precise=True) == ["0.333333343", "1"]
    assert print_column(np.array([1 / 3, 1.0]), "double", "%f", "none", precise=True) == [
        "0.33333333333333331",
        "1",
    ]
    assert print_column(np.array([45.0]), "time", "0", "TAI", precise=True) == [
        "1977.01.01_00:00:45.000000_TAI"
    ]


@pytest.mark.parametrize("kind", ["char", "short", "int", "longlong", "float", "double", "time", "string"])
def test_every_type_has_a_value_that_prints_as_missing(kind):
    form = {"float": "%f", "double": "%f", "time": "0", "string": "%s"}.get(kind, "%d")
    dtype = object if kind == "string" else None
    column = np.array([missing_value(kind)], dtype=dtype)
    assert print_column(column, kind, form, "TAI", precise=False) == ["MISSING"]


def test_an_empty_column_prints_nothing():
    assert print_column(np.empty(0), "time", "0", "TAI", precise=False) == []
    assert print_column(np.empty(0), "float", "%f", "none", precise=False) == []
