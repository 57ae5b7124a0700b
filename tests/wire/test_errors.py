"""The answer that says what went wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamRefused
from mirror.wire.answer import encode_error, load_answer


@pytest.mark.parametrize(
    "message, data",
    [
        ("series not found", b'{"status":1,"error":"series not found"}\n'),
        (
            "invalid record-set specification `hmi.v_45s[bad`",
            b'{"status":1,"error":"invalid record-set specification `hmi.v_45s[bad`"}\n',
        ),
        (
            'ERROR:  column "bogus" does not exist\n   ^\n',
            b'{"status":1,"error":"ERROR:  column \\"bogus\\" does not exist\\n   ^\\n"}\n',
        ),
    ],
)
def test_an_error_reads_as_the_real_server_writes_it(message: str, data: bytes) -> None:
    assert encode_error(message) == data


@given(st.text(), st.integers(1, 25), st.booleans())
def test_an_error_arrives_whole(message: str, status: int, wire: bool) -> None:
    with pytest.raises(UpstreamRefused) as caught:
        load_answer(encode_error(message, status), wire=wire)
    assert (caught.value.status, caught.value.message) == (status, message)
