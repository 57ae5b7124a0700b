"""What all decoders share."""

import pytest

from mirror.errors import UpstreamBroken, UpstreamRefused
from mirror.wire.answer import load_answer, load_object, member, objects, strings


def test_a_broken_answer_is_reported_with_its_size_and_both_ends():
    with pytest.raises(UpstreamBroken, match=r"2002 bytes: b'\{\"note.*aaa'"):
        load_object(b'{"note":"' + b"a" * 1993)


@pytest.mark.parametrize(
    "data", [b'{"x":NaN}', b'{"x":Infinity}', b'{"x":1}}', b'{"x":' + b"9" * 5000 + b"}"]
)
def test_what_is_not_quite_json_is_broken(data):
    with pytest.raises(UpstreamBroken, match="not a JSON answer"):
        load_object(data)


def test_bytes_are_latin1():
    assert load_object(b'{"name":"h\xc3\xa9"}') == {"name": "hÃ©"}


def test_a_status_other_than_0_is_a_refusal_with_the_message_of_either_name():
    with pytest.raises(UpstreamRefused, match="status 4: no such address"):
        load_answer(b'{"status":4,"error":"no such address"}')
    with pytest.raises(UpstreamRefused, match="status 1: format"):
        load_answer(b'{"status":1,"errmsg":"format"}')


def test_a_status_that_is_no_number_is_broken():
    with pytest.raises(UpstreamBroken, match="'status': expected int, found str"):
        load_answer(b'{"status":"0"}')


@pytest.mark.parametrize(
    "members, kind, message",
    [
        ({}, str, "'x': expected str, found nothing"),
        ({"x": None}, str, "'x': expected str, found NoneType"),
        ({"x": True}, int, "'x': expected int, found bool"),
        ({"x": 1.5}, int, "'x': expected int, found float"),
    ],
)
def test_a_member_of_another_type_is_named(members, kind, message):
    with pytest.raises(UpstreamBroken, match=message):
        member(members, "x", kind)


def test_null_in_a_list_means_that_it_is_empty():
    assert strings({"x": [None]}, "x") == []
    assert objects({"x": [None]}, "x") == []


@pytest.mark.parametrize("read", [strings, objects])
def test_lists_hold_one_kind(read):
    with pytest.raises(UpstreamBroken, match="'x': expected a list of"):
        read({"x": [1]}, "x")
