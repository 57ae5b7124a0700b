"""checkAddress.sh."""

from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BadRequest, UpstreamBroken
from mirror.wire.address import (
    REGISTERED,
    AddressAnswer,
    AddressRequest,
    decode_address,
    decode_address_answer,
    encode_address,
    encode_address_answer,
)
from mirror.wire.params import decode_params, encode_params


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
