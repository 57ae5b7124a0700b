"""The requests of jsoc_fetch."""

from __future__ import annotations

import contextlib
from urllib.parse import quote_plus, urlencode

import pytest
from drms.json import HttpJsonClient
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.export import (
    METHODS,
    PROTOCOLS,
    ExportRequest,
    Protocol,
    RepeatRequest,
    StatusRequest,
    UnitsRequest,
    parse_process,
)
from mirror.errors import BadRequest, UpstreamBroken
from mirror.wire.export import (
    REGISTERED,
    AddressAnswer,
    AddressRequest,
    decode_address,
    decode_address_answer,
    decode_fetch,
    encode_address,
    encode_address_answer,
    encode_fetch,
    wanted_format,
)
from mirror.wire.params import decode_params, encode_params

DRMS = HttpJsonClient("jsoc")


def from_drms(*args, **kwargs):
    """What the drms client sends, as we read it."""
    return decode_fetch(decode_params(DRMS._exp_request_url(*args, **kwargs).partition("?")[2]))


def test_an_export_of_the_drms_client_is_read():
    request = from_drms(
        "hmi.v_45s[2014]{Dopplergram}", "a@example.com", filenamefmt="{T_REC:A}.{segment}", n=3
    )
    assert request == ExportRequest(
        "hmi.v_45s[2014]{Dopplergram}",
        method="url_quick",
        filenamefmt="{T_REC:A}.{segment}",
        notify="a@example.com",
        requester="a",
        process=parse_process("n=3"),
    )


def test_processing_by_the_drms_client_is_read():
    cutout = {"t_ref": "2011-02-15T00:00:00", "t": 0, "locunits": "arcsec", "x": -114.8, "width": 1085}
    request = from_drms("a.b[1]", "a@b.org", protocol="fits", process={"im_patch": cutout})
    assert (request.method, request.protocol, request.process.limit) == ("url", Protocol("fits"), 0)
    (step,) = request.process.steps
    assert step.name == "im_patch"
    assert dict(step.arguments)["x"] == "-114.8"
    assert request.alters_data


def test_drawing_by_the_drms_client_is_read():
    request = from_drms("a.b[1]", "a@b.org", protocol="jpg", protocol_args={"ct": "aia_171.lut", "min": 1})
    assert request.protocol == Protocol("jpg,CT=aia_171.lut,scaling=MINMAX,size=1,min=1")


def test_the_programs_own_spelling_of_process_and_requester_is_read():
    params = {"op": "exp_request", "ds": "a.b[1]", "process": "n=0|no_op", "requestor": "me", "seg": "x, y,"}
    request = decode_fetch(params | {"o": "1", "max_recs": "12", "sizeratio": "0.25", "method": "url-tar"})
    assert (request.process, request.requester) == (parse_process("n=0|no_op"), "me")
    assert (request.segments, request.allow_staging, request.max_recs) == (("x", "y"), True, 12)
    assert (request.sizeratio, request.method) == (0.25, "url-tar")


def test_parameters_that_are_not_given_have_the_programs_defaults():
    assert decode_fetch({"op": "exp_request", "ds": "a.b[1]", "notify": "", "seg": ""}) == ExportRequest(
        "a.b[1]"
    )


def test_an_uploaded_file_is_a_list_of_record_sets():
    upload = "# mine\r\nhmi.v_45s[1]\r\n\r\nhmi.v_45s[2]\n"
    assert (
        decode_fetch({"op": "exp_request", "ds": "*file*", "file": upload}).ds == "hmi.v_45s[1],hmi.v_45s[2]"
    )


def test_storage_units_are_read_from_either_parameter():
    assert decode_fetch({"op": "exp_su", "sunum": "4, 5"}) == UnitsRequest((4, 5))
    params = {"op": "exp_su", "ds": "7", "requestid": "NOASYNCREQUEST", "formatvar": "dataobj"}
    assert decode_fetch(params) == UnitsRequest((7,), online_only=True, by_number=True)


@pytest.mark.parametrize(
    "params, expected",
    [
        ({}, "op is missing; expected one of exp_request, exp_status, exp_repeat, exp_su"),
        ({"op": "nonsense"}, "'nonsense' is unknown"),
        ({"op": "exp_status"}, "RequestID must be provided"),
        ({"op": "exp_status", "requestid": "bogus"}, "Bad RequestID 'bogus' provided"),
        ({"op": "exp_repeat", "requestid": "../../etc"}, "Bad RequestID"),
        ({"op": "exp_request"}, "ds is missing"),
        ({"op": "exp_request", "ds": "*file*", "file": "# nothing\n"}, "ds is missing"),
        (
            {"op": "exp_request", "ds": "a.b[1]", "method": "ftp"},
            "'ftp' is not served; expected one of url_quick",
        ),
        (
            {"op": "exp_request", "ds": "a.b[1]", "protocol": "tiff,x"},
            "'tiff' is unknown; expected one of as-is",
        ),
        ({"op": "exp_request", "ds": "a.b[1]", "sizeratio": "0"}, "sizeratio '0'"),
        ({"op": "exp_request", "ds": "a.b[1]", "sizeratio": "nan"}, "sizeratio"),
        ({"op": "exp_request", "ds": "a.b[1]", "sizeratio": "much"}, "sizeratio 'much'"),
        ({"op": "exp_su"}, "no SUs in sunum or ds"),
        ({"op": "exp_su", "sunum": "1,,2"}, "no SUs in sunum or ds"),
        ({"op": "exp_su", "sunum": "-1"}, "no SUs in sunum or ds"),
    ],
)
def test_what_cannot_be_a_request_is_refused_with_what_was_expected(params, expected):
    with pytest.raises(BadRequest, match=expected):
        decode_fetch(params)


@pytest.mark.parametrize(
    "given_, expected", [(None, "json"), ("json", "json"), ("txt", "txt"), ("html", "txt")]
)
def test_every_format_that_is_not_json_is_text(given_, expected):
    assert wanted_format({} if given_ is None else {"format": given_}) == expected


text = st.text(st.characters(max_codepoint=255, exclude_characters="\0"), min_size=1)
names = st.text("abcXYZ_09", min_size=1)
requests = st.builds(
    ExportRequest,
    text.filter(lambda ds: not ds.startswith("*file*")),
    method=st.sampled_from(METHODS),
    protocol=st.builds("{},{}".format, st.sampled_from(PROTOCOLS), text).map(Protocol),
    filenamefmt=text,
    notify=st.none() | text,
    requester=st.none() | text,
    process=st.one_of(st.just(""), text, st.builds("n={}|{}".format, st.integers(), text)).map(parse_process),
    segments=st.none() | st.lists(names, min_size=1).map(tuple),
    sizeratio=st.floats(1e-6, 1e6),
    max_recs=st.none() | st.integers(-(10**9), 10**9).filter(bool),
    allow_staging=st.booleans(),
    format=st.sampled_from(["json", "txt"]),
)
ids = st.builds(
    "JSOC_{:08d}_{}{}".format, st.integers(0, 10**8 - 1), st.integers(0, 10**9), st.sampled_from(["", "_IN"])
)
units = st.builds(
    UnitsRequest,
    st.lists(st.integers(0, 10**17), min_size=1).map(tuple),
    method=st.sampled_from(METHODS),
    notify=st.none() | text,
    online_only=st.booleans(),
    by_number=st.booleans(),
)


@given(st.one_of(requests, units, st.builds(StatusRequest, ids), st.builds(RepeatRequest, ids)))
def test_a_request_survives_the_way_to_the_server(request):
    sent = encode_params(encode_fetch(request))
    assert decode_fetch(decode_params(sent)) == request


@given(
    st.dictionaries(
        st.sampled_from(["op", "ds", "method", "protocol", "sunum", "requestid", "process=n"]), text
    )
)
def test_parameters_of_any_kind_are_read_or_refused(params):
    with contextlib.suppress(BadRequest):
        assert encode_fetch(decode_fetch(params))


@given(st.builds(AddressRequest, st.text(), st.booleans()))
def test_a_request_survives_the_wire_quoted_twice(request_):
    assert decode_address(decode_params(encode_params(encode_address(request_)))) == request_


@pytest.mark.parametrize("address", ["some.body+sun@example.com", "not-valid", ""])
def test_the_request_of_drms_is_read(address):
    query = urlencode({"address": quote_plus(address), "checkonly": "1"})
    assert decode_address(decode_params(query)) == AddressRequest(address)


def test_without_an_address_it_is_refused():
    with pytest.raises(BadRequest, match="address is missing"):
        decode_address({"checkonly": "1"})


@given(st.builds(AddressAnswer, st.integers(-9, 9), st.text()))
def test_an_answer_survives_the_wire(answer):
    assert decode_address_answer(encode_address_answer(answer)) == answer


def test_an_answer_reads_as_the_script_prints_it():
    assert encode_address_answer(AddressAnswer(REGISTERED, "Email address is valid and registered.")) == (
        b'{"status": 2, "msg": "Email address is valid and registered."}\n'
    )


def test_a_damaged_answer_is_broken(damaged):
    for data in damaged(encode_address_answer(AddressAnswer(REGISTERED, "yes"))):
        with pytest.raises(UpstreamBroken):
            decode_address_answer(data)
