"""What other sites have browsers send here is told by headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.server.access.refusals import is_from_elsewhere, is_of_browser, is_our_name, local_path

HOST = {"Host": "mirror:8040"}


@pytest.mark.parametrize(
    "headers, elsewhere",
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Origin": "http://mirror:8040"}, False),
        ({"Origin": "http://mirror:8041"}, True),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://[evil"}, True),
    ],
)
def test_a_browser_says_where_a_request_comes_from(headers, elsewhere):
    assert is_from_elsewhere(HOST | headers) is elsewhere
    assert is_of_browser(HOST | headers) is bool(headers)


@pytest.mark.parametrize(
    "host, ours",
    [
        ("localhost", True), ("localhost:8040", True), ("127.0.0.1:8040", True), ("[::1]:8040", True),
        ("10.1.2.3", True), ("LocalHost.", True), ("mirror.lab", True), ("MIRROR.lab:8040", True),
        ("evil.example", False), ("mirror.lab.evil.example", False), ("127.0.0.1.evil.example", False),
        ("", False), ("[", False), (":", False), ("a.sdo.lab", True),
    ],
)  # fmt: skip
def test_only_addresses_and_our_names_are_ours(host, ours):
    assert is_our_name(host, ("mirror.lab", "*.sdo.lab")) is ours


@given(st.text(max_size=30))
def test_a_way_on_never_leaves_this_site(text):
    path = local_path(text)
    assert path.startswith("/") and not path.startswith(("//", "/\\")) and "\n" not in path
    assert local_path("/search?ds=a[1]") == "/search?ds=a[1]"
