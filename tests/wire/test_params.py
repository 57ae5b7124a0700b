"""Query strings and form bodies."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BadRequest
from mirror.wire.params import decode_body, decode_params, encode_params, unescape_again

LATIN1 = st.text(st.characters(min_codepoint=1, max_codepoint=255))


@given(st.dictionaries(LATIN1.filter(bool), LATIN1))
def test_decode_undoes_encode(params: dict[str, str]) -> None:
    assert decode_params(encode_params(params)) == params
    assert decode_params(encode_params(params).encode("ascii")) == params


def test_what_drms_sends_is_read():
    sent = {
        "op": "rs_list",
        "ds": "hmi.v_45s[? QUALITY & 1024 = 0 AND MISSVALS % 2 = 0 ?]",
        "key": "T_REC,*recnum*",
    }
    assert decode_params(urlencode(sent)) == sent


@pytest.mark.parametrize(
    "query, params",
    [
        ("", {}),
        ("&&a=1&", {"a": "1"}),
        ("a", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("process%3Dn=0", {"process=n": "0"}),
        ("a=1&a=2", {"a": "2"}),
        ("a=x+y%2Bz", {"a": "x y+z"}),
        ("a=100%&b=%zz%4", {"a": "100%", "b": "%zz%4"}),
        ("a=%e9%C3%A9", {"a": "éÃ©"}),
        ("ds=x[? a;b ?]", {"ds": "x[? a;b ?]"}),
    ],
)
def test_query_strings_are_read_as_the_server_reads_them(query, params):
    assert decode_params(query) == params


def test_raw_bytes_are_latin1():
    assert decode_params(b"a=\xe9") == {"a": "é"}


def test_what_follows_a_nul_is_not_there_as_for_a_c_program():
    assert decode_params("ds=hmi%00x&n%00=1") == {"ds": "hmi", "n": "1"}


def test_what_is_not_latin1_is_refused_with_its_place():
    with pytest.raises(BadRequest, match=r"'\\u2600' at 3 is not Latin-1"):
        decode_params("ds=☀")


def test_what_is_not_latin1_cannot_be_sent():
    with pytest.raises(BadRequest, match="not Latin-1"):
        encode_params({"ds": "☀"})


def test_a_form_body_is_read_like_a_query_string():
    assert decode_body(b"op=rs_list&ds=a%5B1%5D\r\n") == {"op": "rs_list", "ds": "a[1]"}
    kind = "application/x-www-form-urlencoded; charset=UTF-8"
    assert decode_body(b"a=1", kind) == {"a": "1"}


def test_a_multipart_body_is_read():
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="ds"\r\n\r\nhmi.v_45s[? a=\xe9 ?]\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="n"\r\n\r\n5\r\n--xyz--\r\n'
    )
    assert decode_body(body, "multipart/form-data; boundary=xyz") == {"ds": "hmi.v_45s[? a=é ?]", "n": "5"}


@pytest.mark.parametrize(
    "kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=☀"]
)
def test_other_bodies_are_refused(kind):
    with pytest.raises(BadRequest):
        decode_body(b"{}", kind)


@given(
    st.binary(), st.sampled_from(["", "multipart/form-data; boundary=b", "multipart/form-data; boundary="])
)
def test_any_bytes_are_parameters_or_a_bad_request(body, kind):
    try:
        params = decode_body(b"--b\r\n" + body, kind)
    except BadRequest:
        return
    assert all(isinstance(value, str) for value in params.values())


def test_names_of_keywords_are_decoded_once_more():
    assert unescape_again("T_REC%2CCAMERA") == "T_REC,CAMERA"
    assert unescape_again("50%") == "50%"
