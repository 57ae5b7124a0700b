"""show_info as tab-separated text."""

import pytest

from mirror.drms.series import Keyword
from mirror.errors import BadRequest, Refused, UpstreamBroken
from mirror.wire.info import ALL, RsListRequest
from mirror.wire.rs_list import RsList, SegmentColumn
from mirror.wire.show_info import (
    ShowInfoRequest,
    decode_formats,
    decode_show_info,
    encode_show_count,
    encode_show_info,
    has_missing_texts,
    only_jsoc_prints,
    show_info_query,
)

DS = "hmi.V_45s[2014.01.01_TAI/90s]"
QUERIES = ["hmi.V_45s[2014.01.01_00:00:00_TAI][2]", "hmi.V_45s[2014.01.01_00:00:45_TAI][2]"]
COLUMNS = {
    "*recnum*": [1, 2],
    "*sunum*": [400000001, 400000002],
    "*recdir*": [r"\/SUM41\/D400000001\/S00000", ""],
    "TELESCOP": [r"SDO\/HMI", r"SDO\/HMI"],
    "WAVELNTH": [" 6173.0", "MISSING"],
    "FOO": ["Invalid KeyLink", "Invalid KeyLink"],
}
KEYWORDS = {
    "TELESCOP": Keyword("TELESCOP", "string", "variable", "", "", ""),
    "WAVELNTH": Keyword("WAVELNTH", "float", "variable", "", "", ""),
}
SEGMENT = SegmentColumn(
    "Dopplergram",
    [r"\/SUM41\/D400000001\/S00000\/Dopplergram.fits", "NoDataDirectory"],
    ["4096x4096", "4096x4096"],
)


def printed(**params):
    """What is printed for these parameters, where rs_list answers what it is asked for."""
    request = decode_show_info({"ds": DS, **params})
    query = show_info_query(request)
    answer = RsList(
        2,
        keywords=[(name, COLUMNS[name]) for name in query.keys or ()],
        segments=[SEGMENT for _ in query.segments or ()],
        recinfo=[(name, 0) for name in QUERIES] if query.recinfo else None,
    )
    return encode_show_info(request, answer, keyword=KEYWORDS.get).decode("latin-1")


def test_a_table_has_a_header_and_a_line_a_record():
    assert printed(key="TELESCOP,WAVELNTH,FOO") == (
        "TELESCOP\tWAVELNTH\tFOO\nSDO/HMI\t 6173.0\tInvalidKeyname\nSDO/HMI\t    nan\tInvalidKeyname\n"
    )


def test_quiet_leaves_the_header_out():
    assert printed(key="TELESCOP", q="1") == "SDO/HMI\nSDO/HMI\n"


def test_numbers_come_first_in_six_places_and_then_the_query():
    assert printed(key="TELESCOP", r="1", S="1", i="1") == (
        "recnum\tsunum\tquery\tTELESCOP\n"
        f"     1\t400000001\t{QUERIES[0]}\tSDO/HMI\n"
        f"     2\t400000002\t{QUERIES[1]}\tSDO/HMI\n"
    )


def test_a_segment_is_a_file_name_and_with_p_a_path():
    assert printed(seg="Dopplergram") == "Dopplergram\nDopplergram.fits\n**_NO_sudir_**\n"
    assert printed(seg="Dopplergram", P="1") == (
        "Dopplergram\n/SUM41/D400000001/S00000/Dopplergram.fits\n**_NO_sudir_**\n"
    )


@pytest.mark.parametrize("flag", ["p", "P"])
def test_a_path_without_segments_is_that_of_the_record(flag):
    assert printed(**{flag: "1"}) == "SUDIR\n/SUM41/D400000001/S00000\n**_NO_sudir_**\n"


def test_a_list_has_a_value_a_line_and_quotes_strings():
    assert printed(k="1", r="1", key="TELESCOP,WAVELNTH,FOO", seg="Dopplergram", P="1") == (
        f"# {QUERIES[0]}\n"
        "## recnum=1\n"
        'TELESCOP="SDO/HMI"\n'
        "WAVELNTH= 6173.0\n"
        "Dopplergram=/SUM41/D400000001/S00000/Dopplergram.fits\n"
        "\n"
        f"# {QUERIES[1]}\n"
        "## recnum=2\n"
        'TELESCOP="SDO/HMI"\n'
        "WAVELNTH=    nan\n"
        "Dopplergram=**_NO_sudir_**\n"
    )


def test_asking_for_nothing_tells_how_many_there_are():
    assert printed() == "\n2 records found, no other information requested\n"


def test_without_records_it_says_so_unless_quiet():
    assert encode_show_info(ShowInfoRequest(DS), RsList(0)) == (
        f"** No records in selected data set, query was {DS} **\n".encode()
    )
    assert encode_show_info(ShowInfoRequest(DS, quiet=True), RsList(0)) == b""


def test_a_count_is_a_sentence_or_a_number():
    assert (
        encode_show_count(decode_show_info({"ds": "hmi.V_45s", "c": "1"}), 81)
        == b"81 records match the query\n"
    )
    assert encode_show_count(decode_show_info({"ds": DS, "c": "1", "q": "1"}), 81) == b"81\n"


def test_all_keywords_and_all_segments_are_asked_for_by_flags():
    request = decode_show_info({"ds": "hmi.V_45s", "n": "-2", "a": "1", "A": "1", "r": "1"})
    assert show_info_query(request) == RsListRequest(
        "hmi.V_45s", keys=("*recnum*", ALL), segments=(ALL,), n=-2
    )


def test_all_segments_can_be_named_so_that_each_record_has_its_own():
    request = decode_show_info({"ds": DS, "A": "1"})
    assert show_info_query(request, segments=["image", "fulldisk"]).segments == ("image", "fulldisk")


def test_segments_that_cannot_be_told_apart_are_refused():
    request = decode_show_info({"ds": DS, "A": "1"})
    answer = RsList(2, segments=[SegmentColumn("fulldisk", [r"\/SUM1\/x"], ["1x1"])])
    with pytest.raises(Refused, match="'fulldisk' of some records does not resolve"):
        encode_show_info(request, answer)


@pytest.mark.parametrize(
    "names, served",
    [
        ("T_REC,CAMERA", True),
        (" T_REC, CAMERA ,", True),
        ("**ALL**", False),
        ("T_REC,**NONE**", False),
        ("T_REC,*recnum*", False),
        ("T_REC,CAMERA,t_rec", False),
    ],
)
def test_marked_and_repeated_names_are_left_to_the_program(names, served):
    assert only_jsoc_prints({"ds": DS, "key": names}) is not served
    assert only_jsoc_prints({"ds": DS, "seg": names}) is not served


def test_names_have_no_blanks_around_them():
    assert decode_show_info({"ds": DS, "key": " T_REC, CAMERA ,"}).keys == ("T_REC", "CAMERA")


def test_a_series_without_segments_has_a_directory_alone():
    request = decode_show_info({"ds": DS, "A": "1", "P": "1"}).without_all_segments()
    assert show_info_query(request).keys == ("*recdir*",)
    named = decode_show_info({"ds": DS, "seg": "image"})
    assert named.without_all_segments() == named


def test_a_missing_text_is_told_from_a_missing_number():
    keywords = {name: Keyword(name, kind, "variable", "", "", "") for name, kind in (("S", "string"), ("I", "int"))}
    assert has_missing_texts(RsList(1, keywords=[("S", ["MISSING"])]), keywords.get)
    assert not has_missing_texts(RsList(1, keywords=[("I", ["MISSING"]), ("S", [""])]), keywords.get)


@pytest.mark.parametrize("params", [{}, {"ds": ""}, {"ds": "hmi.V_45s"}, {"ds": "hmi.V_45s", "n": "0"}])
def test_a_request_must_limit_its_records(params):
    with pytest.raises(BadRequest, match="expected"):
        decode_show_info(params)


@pytest.mark.parametrize("flag", ["j", "l", "t", "z"])
def test_flags_that_are_not_served_are_refused_by_name(flag):
    with pytest.raises(Refused, match=f"show_info with {flag} "):
        decode_show_info({"ds": DS, flag: "1"})


@pytest.mark.parametrize(
    "type_, unit, values, printed",
    [
        ("float", "m", ["MISSING", "1.5"], ["nan", "1.5"]),
        ("double", "m", ["MISSING", "   1.5"], ["   nan", "   1.5"]),
        ("int", "", ["MISSING", "7"], ["-2147483648", "7"]),
        ("int", "", ["MISSING", "0x00000400"], ["0x80000000", "0x00000400"]),
        ("longlong", "", ["MISSING"], ["-9223372036854775808"]),
        ("short", "", ["MISSING"], ["-32768"]),
        ("time", "TAI", ["MISSING", "2014.01.01_00:00:45_TAI"], ["-4712.01.01_11:59:28_TAI", "2014.01.01_00:00:45_TAI"]),
        ("time", "UTC", ["MISSING", "2014.01.01_00:00:45.12_UTC"], ["-4712.01.01_11:59:27.82_UTC", "2014.01.01_00:00:45.12_UTC"]),
        ("string", "", ["MISSING", "a"], ["MISSING", "a"]),
    ],
)  # fmt: skip
def test_a_missing_number_is_printed_as_the_type_and_the_values_beside_it_tell(type_, unit, values, printed):
    keyword = Keyword("X", type_, "variable", "", unit, "")
    answer = RsList(len(values), keywords=[("X", values)])
    text = encode_show_info(ShowInfoRequest(DS, keys=("X",), quiet=True), answer, keyword={"X": keyword}.get)
    assert text.decode().splitlines() == printed


@pytest.mark.parametrize(
    "type_, unit, form, printed",
    [
        ("float", "m", "%f", "nan"),
        ("double", "m", "%10.3f", "       nan"),
        ("double", "m", "%010.3f", "       nan"),
        ("double", "m", "%-6g|", "nan   |"),
        ("int", "", "%d", "-2147483648"),
        ("int", "", "%12d", " -2147483648"),
        ("int", "", "0x%08X", "0x80000000"),
        ("int", "", "%#x", "0x80000000"),
        ("longlong", "", "0x%016llx", "0x8000000000000000"),
        ("short", "", "%hd", "-32768"),
        ("char", "", "%hhd", "-128"),
        ("int", "", "%s", "-2147483648"),  # no format of a number: as its type tells
        ("int", "", "%n%n", "-2147483648"),
        ("time", "TAI", "0", "-4712.01.01_11:59:28_TAI"),
        ("time", "TAI", "3", "-4712.01.01_11:59:27.816_TAI"),
    ],
)
def test_a_missing_number_is_printed_by_the_format_that_was_told(type_, unit, form, printed):
    keyword = Keyword("X", type_, "variable", "", unit, "")
    answer = RsList(1, keywords=[("X", ["MISSING"])])
    asked = ShowInfoRequest(DS, keys=("X",), quiet=True)
    text = encode_show_info(asked, answer, keyword={"X": keyword}.get, formats={"x": form})
    assert text.decode() == f"{printed}\n"


def test_formats_are_read_from_what_the_program_tells():
    told = b"T_REC\tQUALITY\tT_OBS\ntime\tint\ttime\n%s\t0x%08X\t%s\n2014.01.01_TAI\t0x00000000\t2014.01.01_00:00:00.12_TAI\n"
    assert decode_formats(told) == {"t_rec": "0", "quality": "0x%08X", "t_obs": "2"}
    assert decode_formats(b"** No records in selected data set, query was a.b[:#$] **\n") == {}
    for strange in (b"", b"### show_info: series a.b not found.\n", b"T_REC\tX\ntime\n%s\n"):
        with pytest.raises(UpstreamBroken, match="no formats"):
            decode_formats(strange)


@pytest.mark.parametrize("given", ["t", "l", "sunum", "b", "M", "link", "z", "x"])
def test_what_is_not_known_is_jsocs_to_print(given):
    assert only_jsoc_prints({"ds": DS, given: "1"})
    assert only_jsoc_prints({"ds": DS, "key": "T_REC", "n": "many"})
    assert not only_jsoc_prints({"ds": DS, "key": "T_REC", "t": "0", "n": "3x", "P": "1", "r": "1"})
