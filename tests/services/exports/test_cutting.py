"""How requests are cut to size, and when a job is tried again: decisions only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.export import ExportRequest, Protocol, parse_process
from mirror.drms.exportrules import record_sets
from mirror.drms.parser import parse_query
from mirror.errors import BadRequest, NotHeld, UpstreamBroken, UpstreamRefused, UpstreamUnreachable
from mirror.services.exports.cutting import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PATIENCE,
    as_asked_upstream,
    check_divisible,
    cut,
    given_up,
    is_too_large,
    next_try,
    part_request,
    passes,
    smaller,
    staging_request,
)

SIZES = st.lists(st.integers(0, 50), max_size=60)


@given(SIZES, st.integers(1, 10), st.integers(1, 100))
def test_pieces_keep_the_order_and_stay_below_both_limits(sizes, most, most_bytes):
    items = list(enumerate(sizes))
    pieces = cut(items, most, lambda item: item[1], most_bytes)
    assert [item for piece in pieces for item in piece] == items
    for piece in pieces:
        assert 1 <= len(piece) <= most
        assert len(piece) == 1 or sum(size for _, size in piece) <= most_bytes


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=20), min_size=1, max_size=5))
def test_what_was_refused_and_what_follows_is_asked_for_in_halves(parts):
    refused, *rest = parts
    pieces = smaller(refused, rest)
    assert [n for piece in pieces for n in piece] == [n for part in parts for n in part]
    assert max(map(len, pieces)) <= max(1, len(refused) // 2)


def test_pauses_grow_to_ten_minutes_and_end_after_a_day():
    trouble, pauses, now = None, [], 1000.0
    while (after := next_try(trouble, "no answer", now)) is not None:
        pauses.append(after.next_at - now)
        assert (after.why, after.tries, after.waited) == ("no answer", len(pauses), sum(pauses))
        trouble, now = after, after.next_at
    assert pauses[:4] == [FIRST_PAUSE, 30.0, 60.0, 120.0]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE == 600.0
    assert PATIENCE - LONGEST_PAUSE < sum(pauses) <= PATIENCE == 86400
    assert given_up(trouble, "no answer") == f"gave up after {len(pauses) + 1} attempts in 24 hours: no answer"


def test_what_may_be_over_later_is_told_from_what_is_final():
    over_later = UpstreamUnreachable("x"), UpstreamBroken("x"), UpstreamRefused(7, "too many pending"), NotHeld("x")
    for problem in over_later:
        assert passes(problem)
    for problem in (UpstreamRefused(4, "no"), UpstreamRefused(404, "gone"), BadRequest("x")):
        assert not passes(problem)
    assert is_too_large(UpstreamRefused(3, ""))
    assert is_too_large(
        UpstreamRefused(4, "Can not open RecordSet 30000 is too many records in one request.")
    )
    assert not is_too_large(UpstreamRefused(4, "no such series"))


def test_a_part_has_the_steps_the_names_and_the_segments_of_the_whole():
    ds = "hmi.M_720s[2020.10.17/1d][? quality < 5 ?]{magnetogram}"
    steps = "n=5|rebin,scale=0.25|im_patch,x=1"
    whole = ExportRequest(
        ds, "url-tar", Protocol("jpg,size=2"), "{recnum}", "a@b.c", process=parse_process(steps), max_recs=5
    )
    part = part_request(whole, record_sets(whole), [7, 9])
    assert part.ds == "hmi.M_720s[:#7,#9][? quality >= 0 or quality < 0 ?]{magnetogram}"
    assert (part.method, part.limit, part.process.steps) == ("url", 0, whole.process.steps)
    assert (part.protocol, part.filenamefmt, part.notify) == (whole.protocol, whole.filenamefmt, whole.notify)
    assert len(parse_query(part.ds).sets) == 1
    named = ExportRequest("hmi.M_720s[$]", segments=("magnetogram",))
    assert part_request(named, record_sets(named), [7]).ds == "hmi.M_720s[:#7]{magnetogram}"
    assert part_request(named, record_sets(named), [7]).segments is None


@pytest.mark.parametrize(
    "request_, why",
    [
        (ExportRequest("a.b[1]", protocol=Protocol("mp4")), "a movie"),
        (ExportRequest("a.b[1]", filenamefmt="{#:%05d}.jpg"), "counts the files"),
        (ExportRequest("a.b[1]{x},a.b[2]{y}"), "different segments"),
    ],
)
def test_what_cannot_be_divided_is_said_with_what_upstream_said(request_, why):
    with pytest.raises(UpstreamRefused, match="100 GB") as raised:
        check_divisible(request_, record_sets(request_), "more than 100 GB")
    assert raised.value.status == 3
    assert why in raised.value.message


def test_many_files_are_brought_back_as_a_tar_file():
    one = staging_request("hmi.m_720s", [3, 4], ["magnetogram"], "a@b.c", tar=True)
    assert (one.ds, one.method, one.allow_staging) == ("hmi.m_720s[:#3,#4]{magnetogram}", "url-tar", True)
    assert as_asked_upstream(one).method == "url"
