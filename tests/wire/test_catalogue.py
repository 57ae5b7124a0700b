"""show_series and showextseries."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BadRequest, SyntaxProblem, UpstreamBroken, UpstreamRefused
from mirror.wire.catalogue import (
    CatalogueRequest,
    SeriesEntry,
    decode_catalogue,
    decode_show_series,
    decode_showextseries,
    encode_catalogue,
    encode_show_series,
    encode_showextseries,
    select_series,
)

KEYS = st.lists(st.text("ABC_xyz019", min_size=1), max_size=3).map(tuple)
ENTRIES = st.lists(st.builds(SeriesEntry, st.text(), KEYS, st.text()), max_size=5).map(tuple)


@given(ENTRIES)
def test_show_series_survives_the_wire(entries):
    assert decode_show_series(encode_show_series(entries)) == entries


@given(ENTRIES)
def test_showextseries_survives_the_wire(entries):
    with_notes = tuple(SeriesEntry(entry.name, note=entry.note) for entry in entries)
    assert decode_showextseries(encode_showextseries(entries, info=True)) == with_notes
    names = tuple(SeriesEntry(entry.name) for entry in entries)
    assert decode_showextseries(encode_showextseries(entries, info=False)) == names


@given(st.builds(CatalogueRequest, st.none() | st.text(), st.booleans(), st.none() | st.text()))
def test_requests_survive_the_wire(request_):
    assert decode_catalogue(encode_catalogue(request_)) == request_


def test_recorded_lists_begin_as_sent(recorded):
    lines = recorded("show_series")
    assert len(lines) == 10
    for line in lines:
        encoded = encode_show_series(_entries(line))
        assert encoded.startswith(line["raw_head"].encode("latin-1"))
        assert json.loads(encoded) == line["response"]


def test_recorded_filters_select_what_the_server_selected(recorded):
    lines = recorded("show_series")
    everything = next(_entries(line) for line in lines if not line["params"])
    for line in lines:
        assert select_series(reversed(everything), line["params"].get("filter")) == _entries(line)


def test_the_recorded_extended_list_begins_as_sent(recorded):
    (line,) = recorded("showextseries")
    encoded = encode_showextseries(map(SeriesEntry, line["response"]["seriesList"]), info=False)
    assert encoded.startswith(line["raw_head"].encode("latin-1"))


def test_a_filter_after_not_selects_the_others():
    entries = [SeriesEntry("hmi.V_45s"), SeriesEntry("aia.lev1")]
    assert select_series(entries, "NOT hmi") == [SeriesEntry("aia.lev1")]
    assert select_series(entries, "^HMI") == [SeriesEntry("hmi.V_45s")]
    assert select_series(entries, "") == [SeriesEntry("aia.lev1"), SeriesEntry("hmi.V_45s")]


@pytest.mark.parametrize(
    "pattern, position", [("(", 0), ("NOT hmi[", 7), ("*", 0), ("a{2,1}", 0), ("NOT a{9999}", 4), ("^hmi.[mv]_", 5)]
)
def test_a_filter_that_is_no_expression_is_refused_with_its_place(pattern, position):
    with pytest.raises(SyntaxProblem, match="filter") as caught:
        select_series([SeriesEntry("a")], pattern)
    assert caught.value.position == position


@pytest.mark.parametrize("pattern", ["a" * 201, "a{9999}", r"(\pL{100}){10}"])
def test_a_filter_that_is_too_large_is_refused(pattern):
    with pytest.raises(BadRequest, match="the filter"):
        select_series([SeriesEntry("a" * 60)], pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "((a*))*b", "a?" * 60 + "a" * 60, ".*" * 60 + "b", "NOT (a|aa)+b"])
def test_a_filter_that_would_backtrack_for_ever_is_answered(pattern):
    entries = [SeriesEntry("a" * 60 + str(n)) for n in range(1000)]
    assert len(select_series(entries, pattern)) in (0, 1000)


@given(st.text(st.sampled_from(r"hmi.v_(|)*+?{}[]^$\1")))
def test_any_filter_selects_or_is_refused(pattern):
    with contextlib.suppress(BadRequest):
        assert len(select_series([SeriesEntry("hmi.v_45s")], pattern)) <= 1


def test_a_damaged_list_is_broken(damaged):
    entries = [SeriesEntry("hmi.V_45s", ("T_REC", "CAMERA"), "note")]
    for data in damaged(encode_show_series(entries)):
        with pytest.raises(UpstreamBroken):
            decode_show_series(data)
    for data in damaged(encode_showextseries(entries, info=True)):
        with pytest.raises(UpstreamBroken):
            decode_showextseries(data)


def test_a_list_of_another_length_than_announced_is_broken():
    with pytest.raises(UpstreamBroken, match="0 series, but 7 announced"):
        decode_show_series(b'{"status":0,"names":[],"n":7}')


@pytest.mark.parametrize("item", ["7", '{"a":{},"b":{}}', '{"a":"x"}', '{"a":{"description":1}}'])
def test_an_extended_list_of_something_else_is_broken(item):
    with pytest.raises(UpstreamBroken):
        decode_showextseries(f'{{"errMsg":"","seriesList":[{item}]}}'.encode())


def test_what_the_extended_list_complains_of_is_a_refusal():
    with pytest.raises(UpstreamRefused, match="Unable to parse arguments"):
        decode_showextseries(b'{"errMsg":"Unable to parse arguments.","seriesList":[]}')


def _entries(line):
    return [
        SeriesEntry(n["name"], tuple(n["primekeys"].split(", ")) if n["primekeys"] else (), n["note"])
        for n in line["response"]["names"]
    ]
