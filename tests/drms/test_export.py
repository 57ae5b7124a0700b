import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.export import (
    ExportRequest,
    Process,
    ProcessStep,
    Protocol,
    RequestId,
    parse_process,
    parse_request_id,
)
from mirror.errors import BadRequest


@pytest.mark.parametrize(
    "text, limit, steps",
    [
        ("", 0, ()),
        ("n=0", 0, ()),
        ("n=-12|no_op", -12, ()),
        ("n=3x|rebin,scale=0.25", 3, (ProcessStep("rebin", (("scale", "0.25"),)),)),
        ("n=", 0, ()),
        ("n=|no_op", 0, ()),
        ("resize,do_stretchmarks", 0, (ProcessStep("resize", (("do_stretchmarks", None),)),)),
        ("n=0|im_patch,t=0,x=-1.5|", 0, (ProcessStep("im_patch", (("t", "0"), ("x", "-1.5"))),)),
        ("n=0| a |b,,c= d", 0, (ProcessStep("a"), ProcessStep("b", (("c", " d"),)))),
    ],
)
def test_a_process_is_a_limit_and_steps(text, limit, steps):
    assert parse_process(text) == Process(text, limit, steps)


@given(st.text())
def test_any_process_text_is_read_without_an_error_and_kept(text):
    assert parse_process(text).text == text


def test_a_protocol_is_known_by_what_stands_before_its_comma():
    protocol = Protocol("FITS,compress Rice")
    assert (protocol.name, protocol.options, protocol.as_is) == ("fits", "compress Rice", False)
    assert str(protocol) == "FITS,compress Rice"
    assert Protocol().as_is
    assert Protocol("su-as-is").as_is


@pytest.mark.parametrize(
    "request_, alters",
    [
        (ExportRequest("s[]"), False),
        (ExportRequest("s[]", protocol=Protocol("fits,compress Rice")), False),
        (ExportRequest("s[]", process=parse_process("n=0|no_op")), False),
        (ExportRequest("s[]", process=parse_process("n=0|rebin,scale=0.5")), True),
        (ExportRequest("s[]", protocol=Protocol("jpg,CT=grey.sao")), True),
    ],
)
def test_only_processing_and_drawing_alter_data(request_, alters):
    assert request_.alters_data is alters


def test_the_limit_of_the_process_goes_before_max_recs():
    assert ExportRequest("s[]", max_recs=5).limit == 5
    assert ExportRequest("s[]", max_recs=5, process=parse_process("n=-2")).limit == -2
    assert ExportRequest("s[]").limit == 0


@pytest.mark.parametrize(
    "text",
    ["JSOC_20140101_001", "JSOC_20261122_010_IN", "JSOC_20261122_1234_X_IN", "JSOC_20261122_001_SU"],
)
def test_request_ids_are_read_and_written(text):
    assert str(parse_request_id(text)) == text


def test_a_request_id_has_three_digits_at_least():
    assert str(RequestId("20140101", 7)) == "JSOC_20140101_007"
    assert parse_request_id("JSOC_20140101_7").number == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bogus",
        "JSOC_2014_1",
        "JSOC_20140101_",
        "JSOC_20140101_1/../../etc",
        "../JSOC_20140101_1",
        "JSOC_20140101_1\n",
        "JSOC_20140101_1_ZZ",
        "JSOC_２０１４0101_1",
    ],
)
def test_what_is_not_a_request_id_is_refused(text):
    with pytest.raises(BadRequest, match="JSOC_20140101_123"):
        parse_request_id(text)
