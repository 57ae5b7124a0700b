"""series_struct."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.series import Extent, Keyword, Link, PrimeKey, Segment, Series
from mirror.errors import UpstreamBroken, UpstreamRefused
from mirror.wire.structure import decode_series_struct, encode_series_struct
from mirror.wire.text import tabbed

TEXT = st.text(max_size=12)
SEGMENTS = st.builds(Segment, TEXT, TEXT, TEXT, st.sampled_from(["fits", "generic"]), TEXT, TEXT)
LINKED = st.builds(Segment, TEXT, TEXT, st.just(""), st.just("link via MDATA"), st.just(""), TEXT)
RECORDS = st.text(min_size=1).filter(lambda name: name != "NA")
NUMBERS = st.integers(0, 2**63)
EXTENTS = st.just(Extent(max_recnum=0)) | st.builds(Extent, RECORDS, NUMBERS, RECORDS, NUMBERS, NUMBERS)
SERIES = st.builds(
    Series,
    name=st.just("su_test.any"),
    note=TEXT,
    retention=st.integers(),
    unitsize=st.integers(),
    archive=st.integers(),
    tapegroup=st.integers(),
    primekeys=st.lists(st.builds(PrimeKey, TEXT, st.booleans(), st.none() | TEXT), max_size=3).map(tuple),
    dbindex=st.lists(TEXT, max_size=3).map(tuple),
    keywords=st.lists(
        st.builds(Keyword, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, st.none() | TEXT), max_size=4
    ).map(tuple),
    segments=st.lists(SEGMENTS | LINKED, max_size=3).map(tuple),
    links=st.lists(st.builds(Link, TEXT, TEXT, TEXT, TEXT), max_size=3).map(tuple),
    extent=EXTENTS,
    stagingretention=st.none() | st.integers(),
    owner=st.none() | TEXT,
)


@given(SERIES)
def test_decode_undoes_encode(series):
    assert decode_series_struct(encode_series_struct(series, runtime=0.1), name_hint="su_test.any") == series


def test_every_recorded_structure_comes_back_byte_for_byte(worlds):
    assert len(worlds) == 20
    for name, world in worlds.items():
        data = world["series_struct"].encode("latin-1")
        series = decode_series_struct(data, name_hint=name)
        assert encode_series_struct(series, runtime=_runtime(data)) == data, name


def test_recorded_answers_begin_and_end_as_sent(recorded):
    lines = recorded("series_struct")
    assert len(lines) > 15
    for line in lines:
        head = line["raw_head"].encode("latin-1")
        series = decode_series_struct(_compact(line["response"]), name_hint=line["params"]["ds"])
        assert encode_series_struct(series, runtime=0.01).startswith(head)


def test_the_records_tell_the_series_own_case(worlds):
    data = worlds["hmi.V_45s"]["series_struct"].encode("latin-1")
    assert decode_series_struct(data, name_hint="HMI.v_45S[$]{Dopplergram}").name == "hmi.V_45s"


def test_without_records_the_name_is_as_asked(worlds):
    data = worlds["su_test.noprime"]["series_struct"].encode("latin-1")
    assert decode_series_struct(data, name_hint="su_test.NoPrime").name == "su_test.NoPrime"


def test_a_series_without_records_says_na(worlds):
    data = worlds["su_test.carr"]["series_struct"].encode("latin-1")
    empty = replace(decode_series_struct(data, name_hint="su_test.carr"), extent=Extent())
    encoded = encode_series_struct(empty, runtime=0)
    assert b'"FirstRecord": "NA",\n\t\t"FirstRecnum": "NA"' in encoded
    assert b'"MaxRecnum": 0\n' in encoded
    assert decode_series_struct(encoded, name_hint="su_test.carr").extent == Extent(max_recnum=0)


def test_a_linked_segment_has_neither_units_nor_dims(worlds):
    data = worlds["hmi.sharp_720s"]["series_struct"].encode("latin-1")
    segment = decode_series_struct(data, name_hint="hmi.sharp_720s").segment("fulldisk")
    assert segment == Segment("fulldisk", "int", "", "link via MDATA", "", "full-disk magnetogram")


def test_a_damaged_structure_is_broken(worlds, damaged):
    data = worlds["su_test.zoo"]["series_struct"].encode("latin-1")
    for broken in damaged(data):
        with pytest.raises(UpstreamBroken):
            decode_series_struct(broken, name_hint="su_test.zoo")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"retention": 10', '"retention": "10"', "'retention': expected int, found str"),
        ('"keywords": [', '"keyword": [', "'keywords': expected list, found nothing"),
        ('"type": "string"', '"type": null', "'type': expected str, found NoneType"),
        ('"slotted": 0', '"slotted": 7', "'slotted': expected 0 or 1"),
        ('"FirstRecnum": 12', '"FirstRecnum": []', "'FirstRecnum': expected int, found list"),
    ],
)
def test_a_structure_of_another_shape_is_broken_and_says_where(worlds, old, new, message):
    text = worlds["su_test.zoo"]["series_struct"]
    assert old in text
    with pytest.raises(UpstreamBroken, match=message):
        decode_series_struct(text.replace(old, new, 1).encode("latin-1"), name_hint="su_test.zoo")


def test_an_unknown_series_is_a_refusal():
    with pytest.raises(UpstreamRefused, match="series not found"):
        decode_series_struct(b'{"status":1,"error":"series not found"}\n', name_hint="hmi.nosuch")


def test_the_layout_indents_objects_and_not_lists():
    assert tabbed({"a": ["1", "2"], "b": [], "c": [{"d": "3"}, {"e": "4"}]}) == (
        '{\n\t"a": [1,\n\t2],\n\t"b": [],\n\t"c": [{\n\t\t"d": 3\n\t},\n\t{\n\t\t"e": 4\n\t}]\n}'
    )


def _runtime(data):
    return float(re.search(rb'"runtime": ([0-9.]+)', data)[1])


def _compact(answer):
    return json.dumps(answer, ensure_ascii=False).encode("latin-1")
