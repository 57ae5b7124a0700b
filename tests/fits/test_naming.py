"""FITS names and comments from DRMS names and notes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.fits.keyword import (
    Note,
    comment_text,
    fits_name,
    has_unit,
    is_structural,
    read_note,
    stem_of,
)


@pytest.mark.parametrize(
    "note, parts",
    [
        ("[DATE-OBS] start", Note("DATE-OBS", "", "start")),
        ("  [X] leading blanks", Note("X", "", "leading blanks")),
        ("[X:integer] cast", Note("X", "integer", "cast")),
        ("[X]", Note("X", "", "")),
        ("[:float] no name", Note("", "float", "no name")),
        ("[] empty", Note(None, "", "[] empty")),
        ("[MAP D] blank", Note(None, "", "[MAP D] blank")),
        ("plain", Note(None, "", "plain")),
        ("", Note(None, "", "")),
    ],
)
def test_the_parts_of_a_note(note, parts):
    assert read_note(note) == parts


@pytest.mark.parametrize(
    "name, note, fits",
    [
        ("DATE__OBS", "[DATE-OBS] start", "DATE-OBS"),
        ("DATE__OBS", "start", "DATEOBS"),
        ("T_REC_epoch", "", "TRECEPOC"),
        ("lower", "", "LOWER"),
        ("A__B", "", "A__B"),
        ("LONGKEYWORDNAME", "", "LONGKEYW"),
        ("MAP3", "[lowmap] x", "MAP3"),
        ("MAP4", "[TOOLONGNAME] x", "MAP4"),
        ("CAST6", "[X:bogus] x", "CAST6"),
        ("CAST1", "[CASTINT:integer] x", "CASTINT"),
        ("CASTC", "[:float] x", "CASTC"),
        ("REC_NUMBER", "[RECNUM] x", "RECNUM"),
        ("HISTORY__", "", "_HISTORY"[:8]),
    ],
)
def test_the_fits_name_of_a_keyword(name, note, fits):
    assert fits_name(name, read_note(note), per_segment=False) == fits


def test_a_segments_own_keyword_loses_its_number_where_the_name_is_cut():
    assert fits_name("DATAMIN_001", Note(None, "", ""), per_segment=True) == "DATAMIN"
    assert fits_name("LONGPERSEG_001", Note(None, "", ""), per_segment=True) == "LONGPERS"
    assert fits_name("ABC_001", Note(None, "", ""), per_segment=True) == "ABC_001"


@pytest.mark.parametrize(
    "name, note, comment",
    [
        ("X", "short - long", "short"),
        ("X", "dash--double and-single", "dash-double and"),
        ("X", "ends with dash-", "ends with dash"),
        ("X", "-starts", ""),
        ("X", "", ""),
        ("LONGNAMED", "", ""),
        ("LONGNAMED", "short - long", "short {LONGNAMED}"),
        ("LONGNAMED", "note", "note {LONGNAMED}"),
        ("LONGNAMED", "[MAPPED]", " {LONGNAMED}"),
    ],
)
def test_the_comment_of_a_keyword(name, note, comment):
    read = read_note(note)
    assert comment_text(name, fits_name(name, read, per_segment=False), note, read.words) == comment


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80), st.text(max_size=40))
def test_every_name_and_note_give_a_valid_name(name, note):
    assert len(fits_name(name, read_note(note), per_segment=False)) <= 8


@pytest.mark.parametrize(
    "name, stem", [("CRPIX1", "crpix"), ("CRPIX", "crpix"), ("PC1_1", "pc1_1"), ("DATE", "date")]
)
def test_the_stem_of_a_name_is_without_its_index(name, stem):
    assert stem_of(name) == stem


@pytest.mark.parametrize("unit", ["none", "NONE", " n/a ", "na", "", "  ", None])
def test_ways_to_say_that_there_is_no_unit(unit):
    assert not has_unit(unit)


def test_names_that_describe_the_file_are_structural():
    assert all(is_structural(name) for name in ("NAXIS", "NAXIS12", "pcount", "TTYPE1", "ZTILE2", "XTENSION"))
    assert not any(is_structural(name) for name in ("BZERO", "TTYPE", "ZNAME", "T_REC", "NAXISX"))
