"""What is written down of a deed: enough to know what was done, and nothing private."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mirror.services.access.audit import LONGEST, about

TOKEN = "ada." + "A" * 43


def test_addresses_of_people_and_secrets_are_left_out():
    told = about(
        json.dumps({"ds": "a.b[1]", "email": "ada@x.org", "deep": [{"Token": "x"}], "odd": TOKEN}).encode()
    )
    assert json.loads(told) == {"ds": "a.b[1]", "email": "...", "deep": [{"Token": "..."}], "odd": "ada.(secret)"}


@given(st.binary() | st.text().map(json.dumps).map(str.encode) | st.just(b"[" * 100_000))
def test_whatever_is_sent_the_text_is_bounded(body):
    assert len(about(body)) <= LONGEST


def test_what_is_no_text_is_written_down_too():
    assert about(b'{"a": "\\ud800"}').encode() == b'{"a": "?"}'
