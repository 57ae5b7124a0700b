"""File names read backwards: what the naming of JSOC, drms and sunpy writes is read as what it was made of."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.series import PrimeKey
from mirror.drms.times import format_time, parse_time
from mirror.fits.filenames import NamedFile, file_name
from mirror.services.adoption.names import KeyValue, plain_name, read_name, series_in_name, time_in_name
from tests.services.adoption.cases import SERIES, keyword

#: What drms (and sunpy with it) asks for.
DRMS = "{seriesname}.{HARPNUM}.{T_REC:A}.{segment}"
SECONDS = st.integers(int(parse_time("1996.01.01_TAI")), int(parse_time("2035.01.01_TAI"))).map(float)
SEGMENTS = st.sampled_from([s.name for s in SERIES.segments])
ENDINGS = st.sampled_from(["", " (1)", ".1", ".12"])


def named(template, series, segment, recnum, printed):
    return file_name(template, NamedFile(series, recnum, f"{segment}.fits", printed), itertools.count())


@given(SEGMENTS, st.integers(1, 10**18 - 1), ENDINGS)
def test_names_of_the_default_format_are_read_back(segment, recnum, ending):
    name = named(None, SERIES, segment, recnum, {}) + ending
    (reading,) = read_name(name, SERIES)
    assert (reading.segment, reading.recnum, reading.keys) == (segment, recnum, {})
    assert series_in_name(name) == SERIES.name


@given(SEGMENTS, st.integers(1, 99999), SECONDS, st.sampled_from(["TAI", "ISO", "UTC"]))
def test_names_by_prime_keys_are_read_back(segment, harp, seconds, zone):
    timed = [replace(k, units=zone) if k.name == "T_REC" else k for k in SERIES.keywords]
    series = replace(SERIES, keywords=tuple(timed))
    printed = {"HARPNUM": str(harp), "T_REC": format_time(seconds, zone, 0)}
    (reading,) = read_name(named(DRMS, series, segment, 1, printed), series)
    assert (reading.segment, reading.recnum) == (segment, None)
    assert reading.keys == {"HARPNUM": KeyValue(harp), "T_REC": KeyValue(seconds, 0.5)}


@given(SECONDS, st.sampled_from(["TAI", "ISO"]))
def test_times_without_any_marks_are_read_as_drms_writes_them(seconds, zone):
    text = format_time(seconds, zone, 0).translate({ord(c): None for c in ".:-"})
    assert time_in_name(text, zone) == KeyValue(seconds, 0.5)


@given(st.text(alphabet="abcHMI._-0123456789 ()TAIZ", max_size=60))
def test_any_text_is_read_or_not_and_nothing_breaks(text):
    for reading in read_name(f"hmi.Sharp_720s.{text}", SERIES):
        assert reading.segment in {s.name for s in SERIES.segments}
    series_in_name(text)


@pytest.mark.parametrize(
    "name",
    ["image.fits", "hmi.Sharp_720s.magnetogram.fits", "hmi.Sharp_720s.377.latest.magnetogram.fits",
     "hmi.Sharp_720s_nrt.377.20140101_000000_TAI.Br.fits", "hmi.Sharp_720s.377.20140101_000000_TAI.Bz.fits"],
)  # fmt: skip
def test_what_a_name_does_not_say_is_not_read_out_of_it(name):
    assert read_name(name, SERIES) == ()


def test_a_number_alone_may_be_a_record_or_a_prime_key():
    single = replace(SERIES, primekeys=(PrimeKey("HARPNUM", slotted=False),))
    readings = read_name("hmi.Sharp_720s.377.Br.fits", single)
    assert {(r.recnum, tuple(r.keys)) for r in readings} == {(377, ()), (None, ("HARPNUM",))}


def test_case_and_ending_do_not_matter():
    (reading,) = read_name("HMI.sharp_720s.7.br.FITS", SERIES)
    assert (reading.segment, reading.recnum) == ("Br", 7)
    assert plain_name("x.fits") == plain_name("x.FIT") == plain_name("x (3).fits") == "x"


def test_names_of_the_vso_are_read():
    series = replace(
        SERIES,
        name="hmi.m_45s",
        primekeys=(PrimeKey("T_REC", slotted=True), PrimeKey("CAMERA", slotted=False)),
        keywords=(*SERIES.keywords, keyword("CAMERA", "int")),
    )
    name = "hmi_m_45s_2014_01_01_00_01_30_tai_magnetogram.fits"
    assert series_in_name(name) == "hmi.m_45s"
    (reading,) = read_name(name, series)
    assert reading.segment == "magnetogram"
    assert reading.keys == {"T_REC": KeyValue(parse_time("2014.01.01_00:01:30_TAI"), 0.5)}
    assert series_in_name("aia_lev1_171a_2014_01_01t00_00_11_34z_image_lev1.fits") == "aia.lev1"


def test_a_day_alone_is_known_to_the_day():
    assert time_in_name("20140101", "TAI") == KeyValue(parse_time("2014.01.01_TAI"), 86400.0)
    assert time_in_name("notatime", "TAI") is None
