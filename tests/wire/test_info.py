"""Requests of jsoc_info, and the answer of rs_summary."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BadRequest, UpstreamBroken, UpstreamRefused
from mirror.wire.info import (
    ALL,
    FLAGS,
    NONE,
    RsListRequest,
    SeriesStructRequest,
    SummaryRequest,
    c_int,
    decode_info,
    decode_summary,
    encode_info,
    encode_summary,
    expand_names,
)

DS = st.text(min_size=1)
NUMBERS = st.none() | st.integers(-(10**6), 10**6).filter(bool)
GIVEN = st.dictionaries(st.sampled_from(FLAGS), st.just("1"))
NAMES = st.none() | st.lists(
    st.text(st.characters(max_codepoint=255, exclude_characters=","), min_size=1), max_size=4
).map(tuple)


@given(
    st.builds(SeriesStructRequest, DS, GIVEN)
    | st.builds(SummaryRequest, DS, NUMBERS, GIVEN)
    | st.builds(RsListRequest, DS, NAMES, NAMES, NAMES, st.booleans(), NUMBERS, GIVEN, st.none() | st.text())
)
def test_decode_undoes_encode(request_):
    assert decode_info(encode_info(request_)) == request_


def test_the_request_of_drms_is_read():
    params = {
        "op": "rs_list",
        "ds": "hmi.v_45s[$]",
        "key": "T_REC, CAMERA",
        "seg": "",
        "R": "1",
        "n": "-5",
        "M": "1",
    }
    assert decode_info(params) == RsListRequest(
        "hmi.v_45s[$]", keys=("T_REC", " CAMERA"), segments=(), recinfo=True, n=-5, flags={"M": "1"}
    )


def test_requests_can_be_keys():
    assert len({decode_info({"op": "rs_list", "ds": "a", "f": "1"}), RsListRequest("a")}) == 2


def test_what_the_program_does_not_know_is_passed_over():
    params = {"op": "rs_list", "ds": "a[1]", "bogus": "1", "uid": "u1", "userhandle": "h1"}
    assert decode_info(params) == RsListRequest("a[1]", userhandle="h1")


@pytest.mark.parametrize("value, given", [("1", True), ("x", True), ("0", False), ("", False)])
def test_a_flag_is_given_unless_it_is_0(value, given):
    request = decode_info({"op": "rs_list", "ds": "a", "R": value})
    assert isinstance(request, RsListRequest)
    assert request.recinfo is given


@pytest.mark.parametrize(
    "key, names",
    [
        ("", ()),
        ("T_REC%2CCAMERA", ("T_REC", "CAMERA")),
        (",,T_REC,,", ("T_REC",)),
        (" T_REC", (" T_REC",)),
        ("T_REC,**NONE**", ("T_REC", NONE)),
    ],
)
def test_names_are_split_as_the_server_splits_them(key, names):
    request = decode_info({"op": "rs_list", "ds": "a", "key": key})
    assert isinstance(request, RsListRequest)
    assert request.keys == names


@pytest.mark.parametrize(
    "names, meant",
    [
        (None, []),
        ((), []),
        ((ALL, "b"), ["a", "b", "b"]),
        (("x", ALL), ["x", "a", "b"]),
        (("x", NONE, "y"), []),
        ((ALL, NONE), []),
        (("x", "x"), ["x", "x"]),
    ],
)
def test_all_and_none_stand_for_names(names, meant):
    assert expand_names(names, ("a", "b")) == meant


@pytest.mark.parametrize(
    "text, number",
    [("", 0), ("abc", 0), ("1e1", 1), (" \t-3x", -3), ("+7", 7), ("--1", 0), ("2.9", 2), ("٣", 0)],
)
def test_numbers_are_read_by_atoi(text, number):
    assert c_int(text) == number


def test_n_of_0_is_no_limit():
    assert decode_info({"op": "rs_summary", "ds": "a", "n": "0"}) == SummaryRequest("a")


@pytest.mark.parametrize(
    "params, message",
    [
        ({}, "op is missing; expected one of series_struct, rs_summary, rs_list"),
        ({"op": "RS_LIST", "ds": "a"}, "'RS_LIST' is unknown; expected one of"),
        ({"op": "rs_list"}, "ds is missing; expected a series or a record set"),
        ({"op": "series_struct", "ds": ""}, "ds is missing"),
    ],
)
def test_what_cannot_be_a_request_is_refused_with_what_was_expected(params, message):
    with pytest.raises(BadRequest, match=message):
        decode_info(params)


def test_recorded_summaries_come_back_byte_for_byte(recorded):
    lines = [line for line in recorded("rs_summary") if "raw_head" in line]
    assert len(lines) > 30
    for line in lines:
        data = line["raw_head"].encode("latin-1")
        runtime = float(re.search(r'"runtime": ([0-9.]+)', line["raw_head"])[1])
        assert encode_summary(decode_summary(data), runtime=runtime) == data
        assert decode_summary(data) == line["response"]["count"]


@given(st.integers(0, 10**12), st.floats(0, 1000))
def test_a_summary_survives_the_wire(count, runtime):
    assert decode_summary(encode_summary(count, runtime=runtime)) == count


def test_a_damaged_summary_is_broken(damaged):
    for data in [*damaged(encode_summary(3, runtime=0.007)), b'{"count":"3","status":0}', b'{"status":0}']:
        with pytest.raises(UpstreamBroken):
            decode_summary(data)


def test_a_refused_summary_keeps_its_message():
    with pytest.raises(UpstreamRefused, match="series not found"):
        decode_summary(b'{"status":1,"error":"series not found"}\n')
