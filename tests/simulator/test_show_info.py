"""show_info: its text, flag by flag, as NetDRMS' source has it."""

from __future__ import annotations

import pytest

from mirror.errors import BadRequest
from mirror.simulator.archive import Archive
from mirror.simulator.show_info import missing_text, run_show_info
from tests.simulator.small import keyword

TWO = "hmi.V_45s[2014.01.01_00:22:30_TAI/90s]"


@pytest.fixture(scope="module")
def ask(world):
    archive = Archive(world)

    def asked(ds=TWO, **params):
        return run_show_info({"ds": ds, **params}, archive)[0].splitlines()

    return asked


def test_types_and_formats_are_two_more_lines_of_the_header(ask):
    lines = ask(key="T_REC,QUALITY,DATAMEAN,nothing", t="1", r="1")
    assert [line.split("\t") for line in lines[:3]] == [
        ["recnum", "T_REC", "QUALITY", "DATAMEAN", "nothing"],
        ["longlong", "time", "int", "float", "TBD"],
        ["%lld", "%s", "0x%08X", "%f", "TBD"],
    ]
    assert lines[3].split("\t") == [
        "  3770",
        "2014.01.01_00:22:30_TAI",
        "0x00000000",
        "0.005329",
        "InvalidKeyname",
    ]


def test_b_shows_all_versions(ask):
    assert len(ask(key="T_REC", q="1")) == 2
    assert ask(key="T_REC", q="1", b="1", r="1") == [
        "    33\t2014.01.01_00:22:30_TAI",
        "  3770\t2014.01.01_00:22:30_TAI",
        "    34\t2014.01.01_00:23:15_TAI",
        "  3771\t2014.01.01_00:23:15_TAI",
    ]
    assert ask(c="1", b="1") == ["4 records match the query"]


def test_m_prints_all_digits(ask):
    assert ask(key="T_REC,DATAMEAN", q="1", n="1", M="1")[0].startswith(
        "2014.01.01_00:22:30.000000_TAI\t0.00532"
    )


def test_what_is_told_of_storage_comes_before_the_keywords(ask):
    head, line, _ = ask(key="CAMERA", o="1", R="1", x="1", T="1", z="1", I="1")
    assert head.split("\t") == [
        *("online", "retain", "archive", "tapename", "filenum", "size"),
        *("host", "sessionid", "runtime", "jsoc_version", "logdirectory", "CAMERA"),
    ]
    assert line.split("\t")[:5] == ["Y", "2017.03.15", "Pending", "NA", "-9999"]


def test_a_list_has_a_line_a_value(ask):
    lines = ask(key="CAMERA,INSTRUME,nothing", seg="Dopplergram", P="1", d="1", k="1", r="1", n="1")
    assert lines == [
        "# hmi.V_45s[2014.01.01_00:22:30_TAI][2]",
        "## recnum=3770",
        "CAMERA=2",
        'INSTRUME="HMI_FRONT2"',
        "Dopplergram=/SUM30/D400003770/S00000/Dopplergram.fits",
        'Dopplergram_info="m/s, fits, 4096x4096"',
    ]


def test_links_are_shown_and_followed(ask):
    lines = ask("aia.lev1_euv_12s", n="1", K="1", r="1", i="1", link="lev1")
    assert lines == [
        "recnum\tquery\tlev1",
        "90000001\taia.lev1[2014-01-01T00:00:02Z][63300001]\taia.lev1[:#90000001]",
    ]


def test_records_are_found_by_storage_unit(world):
    text, records = run_show_info(
        {"sunum": "5,400000007", "S": "1", "i": "1", "key": "T_REC"}, Archive(world)
    )
    assert text.splitlines() == [
        "sunum\tquery\tT_REC",
        "     5\tNA",
        "400000007\thmi.V_45s[2014.01.01_00:04:30_TAI][2]\t2014.01.01_00:04:30_TAI",
    ]
    assert records == 1


def test_the_series_is_told_without_its_records(ask):
    assert ask("hmi.v_45s", s="1")[0] == "First Record: hmi.V_45s[2014.01.01_00:00:00_TAI][2], Recnum = 1"
    listed = ask("hmi.v_45s", l="1")
    assert listed[:2] == ["Prime Keys are:", "\tT_REC is slotted 'ts_eq' using T_REC_index"]
    assert "All Keywords for series hmi.V_45s:" in listed
    defined = ask("hmi.v_45s", j="1")
    assert "Seriesname:      \thmi.V_45s" in defined
    assert any(line.startswith("Keyword:T_REC, time, ts_eq, record, ") for line in defined)


def test_a_query_is_taken_apart(ask):
    assert ask("hmi.v_45s[$],hmi.m_45s", e="1") == ["SERIES\tFILTER", "hmi.v_45s\t[$]", "hmi.m_45s\tNONE"]


def test_a_whole_series_needs_a_number_and_an_empty_set_says_so(ask):
    with pytest.raises(BadRequest, match="must contain a record-filter"):
        ask("hmi.v_45s", key="T_REC")
    assert len(ask("hmi.v_45s", key="T_REC", n="-2", q="1")) == 2
    assert ask("hmi.v_45s[1990.01.01]", key="T_REC") == [
        "** No records in selected data set, query was hmi.v_45s[1990.01.01] **"
    ]
    assert ask("hmi.v_45s[]", n="1") == ["", "1 records found, no other information requested"]


@pytest.mark.parametrize(
    "type_, form, printed",
    [
        ("int", "%d", "-2147483648"),
        ("int", "0x%08X", "0x80000000"),
        ("short", "%d", "-32768"),
        ("longlong", "%lld", "-9223372036854775808"),
        ("float", "%12.3f", "         nan"),
        ("double", None, "nan"),
        ("string", "%s", ""),
    ],
)
def test_a_missing_value_is_that_of_its_type_in_the_format_of_the_keyword(type_, form, printed):
    assert missing_text(keyword("K", type_), form, [], precise=False) == printed
