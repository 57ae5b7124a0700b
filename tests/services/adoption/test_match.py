"""Which record a file is of: what agrees is placed, and nothing else is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.services.adoption.match import Match, Placed, Unplaced, claim_of, place
from tests.services.adoption.cases import SERIES, bare, header, record

RECORD = record()
OTHERS = [record(recnum=200, slot=1), record(recnum=300, harp=378)]
NAME = "hmi.Sharp_720s.377.20140101_000000_TAI.magnetogram.fits"
PATH = "/SUM9/D5100/S00000/magnetogram.fits"


def placed(evidence, name="image.fits", path=None, candidates=(RECORD, *OTHERS), complete=True):
    claim = claim_of(evidence, name, path, SERIES)
    if isinstance(claim, Unplaced):
        return claim
    return place(claim, evidence, SERIES, candidates, complete=complete)


def where(found):
    assert isinstance(found, Placed), found
    return found.record.recnum, found.segment, found.kind


def test_an_export_says_in_its_header_all_that_is_needed():
    assert where(placed(header(RECORD))) == (100, "magnetogram", "fits")


def test_an_old_export_without_drms_id_is_placed_by_its_record_number_and_name():
    old = header(RECORD, "Br", DRMS_ID=None, HEADSUM=None, T_REC="2014.01.01_00:00:00_TAI")
    assert where(placed(old, NAME.replace("magnetogram", "Br"))) == (100, "Br", "fits")
    assert isinstance(placed(old), Unplaced)  # nothing tells which segment


def test_an_archived_file_is_placed_by_its_name_if_its_record_has_one_version():
    assert where(placed(bare(header(RECORD)), NAME)) == (100, "magnetogram", "as-is")


def test_an_archived_file_of_a_record_with_two_versions_has_no_place():
    again = record(recnum=150, date="2015-01-05T17:46:00Z")
    found = placed(bare(header(RECORD)), NAME, candidates=[RECORD, again])
    assert found == Unplaced("it may be of any of 2 versions of the record: #100, #150")


def test_an_archived_file_whose_versions_are_not_known_waits():
    found = placed(bare(header(RECORD)), NAME, complete=False)
    assert isinstance(found, Unplaced)
    assert found.for_now


def test_an_archived_file_at_the_path_of_its_storage_unit_is_placed_on_whatever_disk():
    found = placed(bare(header(RECORD)), "magnetogram.fits", PATH, complete=False)
    assert where(found) == (100, "magnetogram", "as-is")


def test_the_number_tells_two_versions_apart():
    again = record(recnum=150, date="2015-01-05T17:46:00Z")
    assert where(placed(header(again), candidates=[RECORD, again]))[0] == 150


def test_a_name_that_says_nothing_is_no_evidence():
    for name in ("image.fits", "my hmi data (2).fits", "hmi.Sharp_720s.latest.fits"):
        assert where(placed(header(RECORD), name))[0] == 100


def test_a_file_without_any_record_is_told_what_was_looked_for():
    found = placed(header(record(recnum=900)), candidates=[])
    assert found == Unplaced("no such record: hmi.Sharp_720s[:#900]")


def test_what_a_program_wrote_anew_is_not_taken():
    astropy = header(RECORD, **{"(first comment)": "conforms to FITS standard"})
    assert "rewritten by a program" in placed(astropy).reason


def test_keywords_without_a_record_number_are_not_enough():
    unnumbered = header(RECORD, RECNUM=None, DRMS_ID=None, HEADSUM=None)
    assert "none that says which record" in placed(unnumbered, NAME).reason


#: One change each, which makes a good header a bad one.
CONFLICTS = {
    "another number": {"RECNUM": "101"},
    "another number in DRMS_ID": {"DRMS_ID": "hmi.Sharp_720s:101:magnetogram"},
    "both of another record": {"RECNUM": "200", "DRMS_ID": "hmi.Sharp_720s:200:magnetogram"},
    "an unknown segment": {"DRMS_ID": "hmi.Sharp_720s:100:Bz"},
    "another patch": {"HARPNUM": "378"},
    "another time": {"T_REC": "2014.01.01_00:12:00.000_TAI"},
    "another date of making": {"DATE": "2016-01-05T17:46:00.000"},
    "another flux": {"USFLUX": "1.2346E+21"},
    "another content": {"CONTENT": "a patch, rotated"},
    "another value under a short name": {"LONGKEYW": "8"},
    "another scale": {"BSCALE": "1."},
}


@pytest.mark.parametrize("change", CONFLICTS.values(), ids=CONFLICTS.keys())
def test_a_header_that_contradicts_the_record_is_not_placed(change):
    assert isinstance(placed(header(RECORD, **change)), Unplaced)


NAMES = [
    "hmi.Sharp_720s.378.20140101_000000_TAI.magnetogram.fits",
    "hmi.Sharp_720s.377.20140101_001200_TAI.magnetogram.fits",
    "hmi.Sharp_720s.377.20140101_000000_TAI.Br.fits",
    "hmi.Sharp_720s.101.magnetogram.fits",
    "hmi.Sharp_720s.100.Br.fits",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_contradicts_the_header_is_not_overruled(name):
    assert isinstance(placed(header(RECORD), name), Unplaced)


@given(
    st.sampled_from([RECORD, *OTHERS]), st.sampled_from([RECORD, *OTHERS]), st.sampled_from([RECORD, *OTHERS]),
    st.sampled_from(["magnetogram", "Br"]), st.sampled_from(["magnetogram", "Br"]), st.booleans(),
)  # fmt: skip
def test_evidence_of_different_files_is_never_placed(by_header, by_name, by_path, told, named, exported):
    evidence = header(by_header, told) if exported else bare(header(by_header, told))
    time = by_name.texts["T_REC"].replace(".", "").replace(":", "")
    name = f"hmi.Sharp_720s.{by_name.texts['HARPNUM']}.{time}.{named}.fits"
    path = by_path.segments[named].path
    found = placed(evidence, name, path)
    agree = by_name is by_path and (not exported or (by_header is by_name and told == named))
    assert isinstance(found, Placed) == agree
    if agree:
        assert where(found)[:2] == (by_name.recnum, named)


@given(st.integers(-2, 2), st.integers(-2, 2), st.sampled_from([16, 32, -32]))
def test_an_image_of_another_shape_is_never_placed(wider, higher, bits):
    evidence = replace(header(RECORD), dims=(210 + wider, 109 + higher), bitpix=bits)
    assert isinstance(placed(evidence), Placed) == ((wider, higher, bits) == (0, 0, 32))


def test_missing_values_and_rounding_are_no_contradiction():
    assert where(placed(header(RECORD, USFLUX="", DATE=None)))[0] == 100
    assert where(placed(header(RECORD, USFLUX="1.2344999E+21")))[0] == 100
    assert where(placed(header(RECORD, USFLUX="nan")))[0] == 100


def test_a_claim_without_number_takes_only_what_has_its_keys():
    claim = claim_of(bare(header(RECORD)), NAME, None, SERIES)
    assert isinstance(claim, Match)
    assert isinstance(place(claim, bare(header(RECORD)), SERIES, OTHERS, complete=True), Unplaced)
