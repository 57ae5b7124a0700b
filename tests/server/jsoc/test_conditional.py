"""What a request for a file asks for: parts, and conditions in the order of RFC 9110."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.server.jsoc.conditional import Asked, what_is_asked

TAG = "ab12"
MADE = 1_700_000_000.5
BEFORE, THEN, AFTER = (formatdate(MADE + days * 86400, usegmt=True) for days in (-1, 0, 1))


def asked(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return what_is_asked(named, 1000, tag=TAG, modified=MADE)


WHOLE, PART = Asked(200, 0, 1000), Asked(206, 10, 20)


def test_nothing_special_is_the_whole():
    assert asked() == WHOLE


@pytest.mark.parametrize(
    "text, expected",
    [
        ("bytes=0-", Asked(206, 0, 1000)),
        ("bytes=10-19", PART),
        ("bytes=990-5000", Asked(206, 990, 1000)),
        ("bytes=-5", Asked(206, 995, 1000)),
        ("bytes=-5000", Asked(206, 0, 1000)),
        ("bytes=1000-", Asked(416)),
        ("bytes=-0", Asked(416)),
        ("bytes=20-10", Asked(416)),
        *(
            (odd, WHOLE)
            for odd in ("bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=" + "9" * 5000 + "-")
        ),
    ],
)
def test_a_range_is_that_part_and_what_is_none_is_passed_over(text, expected):
    assert asked(Range=text) == expected


@given(st.integers(0, 60), st.integers(0, 80), st.integers(0, 80))
def test_a_range_gives_the_bytes_that_it_names(size, first, last):
    data = bytes(range(size))
    found = what_is_asked({"Range": f"bytes={first}-{last}"}, size, tag=TAG)
    if first < size and first <= last:
        assert data[found.start : found.end] == data[first : last + 1]
    else:
        assert found == Asked(416)


@pytest.mark.parametrize(
    "headers, expected",
    [
        ({"If_None_Match": f'"{TAG}"'}, Asked(304)),
        ({"If_None_Match": f'"x", W/"{TAG}"'}, Asked(304)),
        ({"If_None_Match": "*"}, Asked(304)),
        ({"If_None_Match": '"x"'}, WHOLE),
        ({"If_None_Match": '"x"', "If_Modified_Since": AFTER}, WHOLE),
        ({"If_Modified_Since": THEN}, Asked(304)),
        ({"If_Modified_Since": BEFORE}, WHOLE),
        ({"If_Modified_Since": "nonsense"}, WHOLE),
        ({"If_Match": f'"{TAG}"'}, WHOLE),
        ({"If_Match": f'W/"{TAG}"'}, Asked(412)),
        ({"If_Match": '"x"'}, Asked(412)),
        ({"If_Match": "*", "If_Unmodified_Since": BEFORE}, WHOLE),
        ({"If_Unmodified_Since": BEFORE}, Asked(412)),
        ({"If_Unmodified_Since": THEN}, WHOLE),
        ({"If_Range": f'"{TAG}"', "Range": "bytes=10-19"}, PART),
        ({"If_Range": '"x"', "Range": "bytes=10-19"}, WHOLE),
        ({"If_Range": f'W/"{TAG}"', "Range": "bytes=10-19"}, WHOLE),
        ({"If_Range": THEN, "Range": "bytes=10-19"}, PART),
        ({"If_Range": BEFORE, "Range": "bytes=10-19"}, WHOLE),
        ({"If_None_Match": f'"{TAG}"', "Range": "bytes=10-19"}, Asked(304)),
    ],
)
def test_conditions_compare_tags_before_dates(headers, expected):
    assert asked(**headers) == expected


def test_without_a_tag_conditions_are_passed_over_and_their_ranges_too():
    given_headers = {"If-None-Match": "*", "If-Match": '"x"', "Range": "bytes=10-19"}
    assert what_is_asked(given_headers, 1000) == PART
    assert what_is_asked({"If-Range": f'"{TAG}"', "Range": "bytes=10-19"}, 1000) == WHOLE
