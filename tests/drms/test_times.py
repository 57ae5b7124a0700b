import math
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.timecolumn import parse_printed_times
from mirror.drms.times import (
    MISSING_TIME,
    format_time,
    from_datetime,
    is_missing_time,
    parse_time,
    scan_time,
    time_text_resolution,
    to_datetime,
)
from mirror.errors import SyntaxProblem
from tests.recorded import lines

RECORDED = lines("times")
VALID = [line for line in RECORDED if scan_time(line["in"]) is not None]
#: Zone and precision of the forms in which JSOC prints times. Local zones are not among them: the server
#: counts leap seconds by the local clock when it reads, so that for hours around one it is a second off.
FORMS = [("TAI", 0), ("TAI", 3), ("UTC", 0), ("UTC", 2), ("Z", 1), ("ISO", 0), ("ISO", 2), ("TDT", 3)]

seconds_since_1900 = st.floats(-2.4e9, 4e9)
seconds_since_1961 = st.floats(-5.0e8, 4e9)  # before, the server is a second off at the first leap second


def name(line):
    return line["in"]


# ---- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("line", VALID, ids=name)
def test_a_text_reads_as_the_real_server_read_it(line):
    scan = scan_time(line["in"])
    # Recorded to the microsecond, half of the last digit either way.
    assert scan.seconds == pytest.approx(line["seconds"], rel=0, abs=1.001e-6)
    assert scan.consumed == line["consumed"]
    stored = line["drms_sscanf"]
    if stored["ret"] >= 0:
        assert is_missing_time(scan.seconds) == bool(stored["ismissing"])


@pytest.mark.parametrize("line", [x for x in RECORDED if x not in VALID], ids=name)
def test_a_text_that_the_real_server_found_invalid_is_no_time(line):
    assert line["invalid"]
    with pytest.raises(SyntaxProblem, match="is not a time"):
        parse_time(line["in"])


def test_a_fraction_becomes_the_same_double_as_at_the_server():
    assert scan_time("2014.01.01_00:00:00.9996_TAI").seconds == 1167609600.9995995


def test_a_scan_tells_the_zone_that_was_written():
    assert [
        scan_time(t).zone for t in ("2014.01.01", "2014.01.01_tai", "JD_1", "2014.01.01_00:00+01:00")
    ] == [
        None,
        "TAI",
        None,
        "+01",
    ]


def test_a_fraction_of_a_day_is_read_as_an_integer():
    assert (
        parse_time("2014.01.01.05_TAI") == parse_time("2014.01.01.5_TAI") == parse_time("2014.01.01_12h_TAI")
    )


def test_a_time_with_something_behind_it_is_refused_with_the_place():
    with pytest.raises(SyntaxProblem) as caught:
        parse_time("2014.01.01_TAI-2014.01.02_TAI")
    assert caught.value.position == 14


@given(st.text(max_size=300))
def test_any_text_at_all_is_a_time_or_is_not(text):
    scan = scan_time(text)
    assert scan is None or (0 < scan.consumed <= len(text) and math.isfinite(scan.seconds))


@given(st.text("0123456789.-+:_TZAIUCMJD hms", max_size=40))
def test_texts_of_time_like_characters_do_not_break_anything(text):
    scan = scan_time(text)
    assert scan is None or scan.consumed <= len(text)


# ---- printing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("line", VALID, ids=name)
def test_a_time_prints_as_the_real_server_printed_it(line):
    seconds = scan_time(line["in"]).seconds
    forms = [form.rpartition(",") for form in line["out"]]
    assert {f"{z},{p}": format_time(seconds, z, int(p)) for z, _, p in forms} == line["out"]


@given(seconds_since_1961, st.sampled_from(FORMS))
def test_a_printed_time_reads_back_to_within_its_last_digit(seconds, form):
    zone, precision = form
    read = parse_time(format_time(seconds, zone, precision))
    assert abs(read - seconds) <= 0.5 * 10.0**-precision + 2e-6


@given(st.integers(-500_000_000, 4_000_000_000), st.sampled_from(FORMS))
def test_whole_seconds_survive_printing_and_reading(seconds, form):
    zone, precision = form
    if zone != "TDT":  # TDT runs 32.184 s ahead; three decimals of it come back rounded
        assert parse_time(format_time(float(seconds), zone, precision)) == seconds


def test_what_is_not_finite_prints_as_the_missing_time():
    assert (
        format_time(math.nan)
        == format_time(math.inf)
        == format_time(MISSING_TIME)
        == "-4712.01.01_11:59:28_TAI"
    )


def test_times_beyond_the_calendar_print_as_julian_days():
    assert format_time(1e17, "TAI", 0) == "JD_1157409850552"


def test_a_leap_second_is_printed_as_a_sixtieth():
    assert format_time(1262304036.25, "ISO", 2) == "2016-12-31T23:59:60.25Z"


@given(st.floats(-1e18, 1e18), st.sampled_from([z for z, _ in FORMS]), st.integers(-6, 9))
def test_every_number_prints_in_every_form(seconds, zone, precision):
    assert format_time(seconds, zone, precision)


def test_the_missing_time_is_recognised_as_the_server_does():
    assert is_missing_time(math.nan)
    assert is_missing_time(-211087684832.184)
    assert is_missing_time(-211087684832.0)
    assert not is_missing_time(-211087684831.0)
    assert not is_missing_time(0.0)


@pytest.mark.parametrize(
    "text, resolution",
    [
        ("2014.01.01_00:00:00_TAI", 1.0),
        ("2014-01-01T00:00:00.12Z", 0.01),
        ("2014.01.01_00:00:00.500000_TDT", 1e-6),
        ("2014-01-01T00:00Z", 60.0),
        ("2014.01.01_00_TAI", 3600.0),
        ("2014.01.01_TAI", 86400.0),
        ("2014-01-01", 86400.0),
        ("2014.01_TAI", 31 * 86400.0),
        ("2014_TAI", 366 * 86400.0),
        ("JD_2456658.50", 864.0),
        ("-4712.01.01_11:59:28_TAI", 1.0),
    ],
)
def test_the_last_printed_digit_has_a_size(text, resolution):
    assert time_text_resolution(text) == pytest.approx(resolution)


def test_the_size_of_the_last_digit_of_no_time_is_an_error():
    with pytest.raises(SyntaxProblem):
        time_text_resolution("MISSING")


# ---- columns ----------------------------------------------------------------------------------


@given(
    st.lists(seconds_since_1900, min_size=1, max_size=30), st.sampled_from([*FORMS, ("GPS", 0), ("TT", 6)])
)
def test_a_column_reads_to_the_same_doubles_as_its_values_one_by_one(times, form):
    texts = [format_time(t, *form) for t in times]
    assert parse_printed_times(texts) == [scan_time(text).seconds for text in texts]


@given(st.lists(st.integers(-2, 2), min_size=1), st.sampled_from([1262304036, 1120176034, -157852791]))
def test_leap_seconds_in_a_column_are_kept(steps, near):
    texts = [format_time(float(near + step), "UTC") for step in steps]
    assert parse_printed_times(texts) == [near + step for step in steps]


def test_a_column_may_hold_missing_values_and_other_forms():
    texts = [
        "MISSING",
        "2014.01.01_00:00:00_TAI",
        "2014.01.01_00:00:35_UTC",
        "2014.01.01_TAI",
        "Invalid KeyLink",
    ]
    texts += ["2014.01.01_00:00:00_TAI ", "2014.13.01_00:00:00_TAI", "2014.01.01_00:00:00_TAIé", ""]
    read = parse_printed_times(texts)
    assert read == [None, 1167609600.0, 1167609670.0, 1167609600.0, None, None, None, None, None]


def test_a_long_text_in_a_column_does_not_take_as_much_memory_for_every_row():
    texts = ["2014.01.01_00:00:00_TAI"] * 1000 + ["x" * 100_000]
    tracemalloc.start()
    try:
        assert parse_printed_times(texts)[-2:] == [1167609600.0, None]
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_columns_may_be_empty_or_wholly_missing():
    assert parse_printed_times([]) == []
    assert parse_printed_times(["MISSING", "MISSING"]) == [None, None]


@given(st.lists(st.text("0123456789.:_TAIUCZ-", max_size=24), min_size=1))
def test_a_column_of_anything_reads_as_its_values_do(texts):
    texts = ["2014.01.01_00:00:00_TAI", *texts]
    scans = [scan_time(text) for text in texts]
    whole = [s.seconds if s and s.consumed == len(t) else None for s, t in zip(scans, texts, strict=True)]
    assert parse_printed_times(texts) == whole


# ---- datetime ---------------------------------------------------------------------------------


@given(st.datetimes(datetime(1961, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_datetime_survives_to_the_microsecond(moment):
    assert abs(to_datetime(from_datetime(moment)) - moment) <= timedelta(microseconds=2)


def test_datetimes_are_utc_whatever_their_zone():
    here = datetime(2014, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    naive = datetime(2014, 1, 1)  # noqa: DTZ001
    assert from_datetime(here) == from_datetime(naive) == parse_time("2014-01-01T00:00:00Z")


def test_a_leap_second_has_no_datetime_and_becomes_the_microsecond_before_it():
    assert to_datetime(1262304036.5) == datetime(2016, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def test_the_missing_time_has_no_datetime():
    with pytest.raises(OverflowError):
        to_datetime(MISSING_TIME)
