"""Functions for DRMS in SQL: the same as the mirror's own, for every value."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.drms.calendar import LEAP_TIMES
from mirror.drms.slots import slot_axis
from mirror.drms.times import MISSING_TIME, format_time, from_datetime, parse_time
from mirror.services.sql.functions import install, print_times, read_times, slot_macro
from mirror.storage.lake.columns import EPOCH, utc
from tests.lab import world

at = datetime.fromisoformat  # without a zone, as SQL has them
MOMENTS = st.datetimes(at("1977-01-02"), at("2100-01-01"))


@pytest.fixture(scope="module")
def sql():
    with duckdb.connect() as connection:
        install(connection)
        connection.execute(f"CREATE MACRO main.slot{slot_macro(SERIES)}")
        yield lambda text, *params: connection.execute(f"SELECT {text}", list(params) or None).fetchone()[0]


NAMES = {"hmi.V_45s", "su_test.carr", "su_test.latslot", "su_test.tsslot", "hmi.sharp_720s"}
SERIES = [data.structure for data in world() if data.structure.name in NAMES]
AXES = [
    (series.name, prime.name, axis)
    for series in SERIES
    for prime in series.primekeys
    if prime.slotted and (axis := slot_axis(series, prime.name)) is not None
]


def test_a_drms_text_is_a_moment(sql):
    assert sql("jsoc_time('2014.01.01_TAI')") == at("2013-12-31T23:59:25")
    assert sql("jsoc_time('2014-01-01T00:00:00Z')") == at("2014-01-01")
    assert sql("jsoc_seconds('1977.01.01_TAI')") == 0.0


@given(st.floats(0, 3e9).map(lambda s: round(s, 2)))
@example(max(LEAP_TIMES) - 0.5)
def test_a_text_is_the_moment_that_the_lake_would_have(sql, seconds):
    text = format_time(seconds, "TAI", 2)
    assert sql("jsoc_time(?::VARCHAR)", text) == sql(utc(f"{parse_time(text)!r}::DOUBLE"))


@pytest.mark.parametrize("text", ["MISSING", "-4712.01.01_12:00:00_TDT", "-4712.01.01_11:59:28_TAI", None])
def test_a_missing_time_is_null(sql, text):
    assert sql("jsoc_time(?::VARCHAR)", text) is None
    assert sql("jsoc_seconds(?::VARCHAR)", text) is None


@pytest.mark.parametrize("text", ["", "yesterday", "2014.01.01_TAI and more"])
def test_what_is_no_time_is_an_error(sql, text):
    with pytest.raises(duckdb.Error, match="expected a time such as"):
        sql("jsoc_time(?)", text)


@given(MOMENTS)
@example(at("2016-12-31T23:59:59.999999"))
@example(at("2017-01-01"))
def test_seconds_of_a_moment_are_the_mirrors_own(sql, moment):
    assert math.isclose(sql("jsoc_seconds(?::TIMESTAMP)", moment), from_datetime(moment), abs_tol=1e-5)


@given(MOMENTS)
def test_a_moment_comes_back_from_its_seconds(sql, moment):
    back = sql("jsoc_time(?::DOUBLE)", sql("jsoc_seconds(?::TIMESTAMP)", moment))
    assert abs(back - moment) <= timedelta(microseconds=1)


@pytest.mark.parametrize("leap", [t for t in LEAP_TIMES if t > 0])
@pytest.mark.parametrize("beside", [-1.5, -1.0, 0.0, 0.5])
def test_leap_seconds_are_counted(sql, leap, beside):
    seconds = leap + beside
    moment = sql("jsoc_time(?::DOUBLE)", seconds)
    back = sql("jsoc_seconds(?::TIMESTAMP)", moment)
    assert back == seconds - (1.0 if -1.0 <= beside < 0.0 else 0.0)  # a TIMESTAMP has no 61st second


@given(
    st.floats(0, 3e9).map(lambda s: round(s, 3)),
    st.sampled_from(["TAI", "UTC", "TT", "Z"]),
    st.integers(0, 3),
)
def test_texts_are_those_that_drms_prints(sql, seconds, zone, digits):
    assert sql("jsoc_text(?::DOUBLE, ?, ?)", seconds, zone, digits) == format_time(seconds, zone, digits)


def test_a_text_needs_no_zone(sql):
    assert sql("jsoc_text(jsoc_time('2014.01.01_12:00:00_TAI'))") == "2014.01.01_12:00:00_TAI"
    assert sql("jsoc_text(TIMESTAMP '2014-01-01', 'UTC')") == "2014.01.01_00:00:00_UTC"
    assert sql("jsoc_text(NULL::DOUBLE)") is None


def test_a_column_of_texts_may_be_written_in_many_ways():
    texts = [
        "2014.01.01_TAI",
        "2014.01.01_00:00:45_TAI",
        None,
        "MISSING",
        "2014-01-01T00:00:00Z",
        "2014.01.01_TAI",
    ]
    expected = [None if t in (None, "MISSING") else parse_time(t) for t in texts]
    assert read_times(pa.array(texts)).to_pylist() == expected


def test_printing_passes_over_what_is_not_there():
    printed = print_times(pa.array([0.0, None]), pa.array(["TAI", "TAI"]), pa.array([0, 0]))
    assert printed.to_pylist() == ["1977.01.01_00:00:00_TAI", None]


def test_a_missing_time_reads_as_such_everywhere():
    assert read_times(pa.array([format_time(MISSING_TIME)])).to_pylist() == [None]


def test_the_clock_of_timestamps_is_that_of_the_lake(sql):
    assert sql(utc("0.0::DOUBLE")) == datetime.fromtimestamp(EPOCH, UTC).replace(tzinfo=None) - timedelta(
        seconds=15
    )


# ---- slots ----------------------------------------------------------------------------------------


@given(st.sampled_from(AXES), st.integers(-100_000, 50_000_000), st.floats(-0.6, 0.6))
def test_slots_are_those_of_the_server(sql, axis, slot, beside):
    name, key, axis = axis
    value = axis.start(slot) + beside * axis.step
    assert sql("slot(?, ?::DOUBLE, ?)", name, value, key) == axis.slot(value)


def test_a_slot_can_be_asked_for_in_every_form_of_a_time(sql):
    expected = 14_726_401
    assert sql("slot('HMI.v_45s', '2014.01.01_00:00:45_TAI')") == expected
    assert sql("slot('hmi.v_45s', jsoc_time('2014.01.01_00:00:45_TAI'))") == expected
    assert sql("slot('hmi.v_45s', jsoc_seconds('2014.01.01_00:00:45_TAI'), 'T_REC')") == expected
    assert sql("slot('hmi.v_45s', NULL::DOUBLE)") is None


@pytest.mark.parametrize("call", ["slot('hmi.nowhere', 1.0)", "slot('hmi.v_45s', 1.0, 'QUALITY')"])
def test_an_unknown_slot_is_an_error(sql, call):
    with pytest.raises(duckdb.Error, match=r"no slots are known of hmi\.(nowhere|v_45s)"):
        sql(call)


# ---- quality --------------------------------------------------------------------------------------


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_bits_are_those_of_the_number(sql, quality):
    bits = [n for n in range(32) if quality >> n & 1]
    assert sql("quality_bits(?::INTEGER)", quality) == bits
    assert sql("list_filter(range(0, 32), lambda n: quality_bit(?::INTEGER, n))", quality) == bits


def test_bits_of_nothing_are_nothing(sql):
    assert sql("quality_bits(NULL::INTEGER)") is None
    assert sql("quality_bit(NULL::INTEGER, 3)") is None


def test_there_are_so_many_bits(sql):
    assert sql("quality_bit((1::BIGINT << 40), 40)") is True
    for bit in (-1, 32):
        with pytest.raises(duckdb.Error, match="expected 0 to 31"):
            sql("quality_bit(1::INTEGER, ?)", bit)
