"""rs_list, one list a keyword."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamBroken, UpstreamRefused
from mirror.wire.rs_list import RsList, SegmentColumn, decode_rs_list, encode_rs_list
from mirror.wire.text import to_wire

WIRE = st.text(max_size=8).map(to_wire)
NAMES = st.text(max_size=8)


@st.composite
def answers(draw):
    """Answers as the decoder gives them: lists of tuples, columns of one kind, None for what is absent."""
    count = draw(st.integers(1, 4))

    def column(values):
        return st.lists(values, min_size=count, max_size=count)

    def maybe(items):
        return draw(st.none() | st.lists(items, max_size=3))

    def segment(name, files, *parameters):
        return SegmentColumn(name, *([pair[i] for pair in files] for i in (0, 1)), *parameters)

    some = st.lists(WIRE, max_size=count)
    files = st.lists(st.tuples(WIRE, WIRE), max_size=count)
    return RsList(
        count,
        keywords=maybe(st.tuples(NAMES, column(WIRE) | column(st.integers()))),
        segments=maybe(st.builds(segment, NAMES, files, some, some, some)),
        links=maybe(st.tuples(NAMES, column(WIRE))),
        recinfo=draw(st.none() | column(st.tuples(WIRE, st.integers(0, 1)))),
    )


@given(answers(), st.floats(0, 1000))
def test_decode_undoes_encode(answer, runtime):
    assert decode_rs_list(encode_rs_list(answer, runtime=runtime)) == answer


@given(answers())
def test_the_answer_is_what_json_makes_of_it(answer):
    members = json.loads(encode_rs_list(answer, runtime=0.5).decode("latin-1"))
    assert list(members)[-3:] == ["count", "runtime", "status"]
    for (name, wire), told in zip(answer.keywords or (), members.get("keywords", ()), strict=True):
        assert told["name"] == name
        assert told["values"] == [json.loads(f'"{v}"') if isinstance(v, str) else v for v in wire]


def _segment(values, dims, cparms=""):
    lists = f'"values":[{values}],"dims":[{dims}],"cparms":[{cparms}],"bzeros":[],"bscales":[]'
    return f'"count":1,"segments":[{{"name":"s",{lists}}}]'


def test_recorded_short_answers_come_back_byte_for_byte(recorded):
    whole = [line["raw_head"] for line in recorded("rs_list") if line.get("raw_head", "").endswith("}\n")]
    assert len(whole) > 150
    for text in whole:
        if not text.startswith('{"recset"'):
            data = text.encode("latin-1")
            assert encode_rs_list(decode_rs_list(data), runtime=_runtime(text)) == data


def test_recorded_long_answers_begin_as_sent_and_say_the_same(recorded):
    for line in recorded("rs_list"):
        if "recset" in line["response"]:
            continue
        encoded = encode_rs_list(_from_parsed(line["response"]), runtime=0.01)
        assert encoded.startswith(_until_runtime(line.get("raw_head", "")))
        assert _parsed(encoded) == line["response"]
        again = decode_rs_list(encoded)
        assert encode_rs_list(again, runtime=0.01) == encoded


def test_whole_series_survive_the_wire(worlds):
    for world in worlds.values():
        encoded = encode_rs_list(_from_parsed(world["answer"]), runtime=0.01)
        assert _parsed(encoded) == world["answer"]
        assert encode_rs_list(decode_rs_list(encoded), runtime=0.01) == encoded


def test_without_records_only_the_count_is_told():
    asked = RsList(0, keywords=[("T_REC", [])], segments=(), links=(), recinfo=())
    data = encode_rs_list(asked, runtime=0.0123)
    assert data == b'{"count":0,"runtime":0.012,"status":0}\n'
    assert decode_rs_list(data) == RsList(0)


def test_what_was_not_asked_for_is_an_empty_list_and_recinfo_is_absent():
    assert encode_rs_list(RsList(4), runtime=0.009) == (
        b'{"keywords":[],"segments":[],"links":[],"count":4,"runtime":0.009,"status":0}\n'
    )


def test_names_are_echoed_and_values_are_escaped_already():
    answer = RsList(1, keywords=[(" A/B", [r"SDO\/HMI"]), ("*recnum*", [7])], recinfo=[("[:#7]", 0)])
    assert encode_rs_list(answer, runtime=0).startswith(
        b'{"recinfo":[{"name":"[:#7]","online":0}],"keywords":[{"name":" A/B","values":["SDO\\/HMI"]},'
        b'{"name":"*recnum*","values":[7]}],"segments":[],'
    )


def test_a_damaged_answer_is_broken(worlds, damaged):
    answer = _from_parsed(worlds["su_test.zoo"]["answer"])
    for data in damaged(encode_rs_list(answer, runtime=0.01)):
        with pytest.raises(UpstreamBroken):
            decode_rs_list(data)


@given(st.data())
def test_any_damage_to_one_byte_is_an_answer_or_an_error_of_ours(data):
    whole = bytearray(encode_rs_list(data.draw(answers()), runtime=0.01))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        answer = decode_rs_list(bytes(whole))
    except (UpstreamBroken, UpstreamRefused):
        return
    assert all(len(values) == answer.count for _, values in answer.keywords or () if answer.count)


@pytest.mark.parametrize(
    "members, message",
    [
        ('"keywords":[]', "'count': expected int, found nothing"),
        ('"count":"2"', "'count': expected int, found str"),
        ('"count":2,"keywords":[{"name":"A","values":["1"]}]', "'A': 1 values, but 2 records announced"),
        ('"count":1,"keywords":[{"name":"A","values":["1","2"]}]', "'A': 2 values, but 1 records announced"),
        ('"count":2,"keywords":[{"name":"A","values":["1",2]}]', "'A': expected values of one kind"),
        ('"count":1,"keywords":[{"name":"A","values":[true]}]', "'A': expected values of one kind"),
        ('"count":1,"keywords":[{"name":"A","values":[null]}]', "'A': expected values of one kind"),
        ('"count":1,"keywords":[{"name":"A"}]', "'values': expected list, found nothing"),
        ('"count":1,"keywords":{}', "'keywords': expected list, found dict"),
        ('"count":1,"keywords":["A"]', "'keywords': expected a list of objects"),
        ('"count":1,"links":[{"name":"L","values":[]}]', "'L': 0 values, but 1 records announced"),
        ('"count":1,"links":[{"name":"L","values":[1]}]', "'values': expected a list of strings"),
        ('"count":1,"recinfo":[]', "'recinfo': 0 values, but 1 records announced"),
        ('"count":1,"recinfo":[{"name":"x","online":"1"}]', "'online': expected int, found str"),
        (_segment('"p"', ""), "'s': 1 values, but 0 dims"),
        (_segment('"p","q"', '"1","1"'), "'s': more values than the 1 records"),
        (_segment('"p"', '"1"', '"a","b"'), "'s': more values than the 1 records"),
    ],
)
def test_an_answer_of_another_shape_is_broken_and_says_where(members, message):
    with pytest.raises(UpstreamBroken, match=message):
        decode_rs_list(f'{{{members},"runtime":0.01,"status":0}}'.encode())


def test_an_error_of_the_server_is_a_refusal():
    with pytest.raises(UpstreamRefused, match=r"status 1:  jsoc_info: series not found\.") as caught:
        decode_rs_list(b'{"status":1,"error":" jsoc_info: series not found."}\n')
    assert caught.value.message == " jsoc_info: series not found."


# ---- helpers --------------------------------------------------------------------------------------


def _from_parsed(answer):
    """The answer whose parsed JSON is known: values are escaped as the server escapes them."""
    if answer["count"] == 0:
        return RsList(0)
    recinfo = answer.get("recinfo")
    return RsList(
        answer["count"],
        keywords=[(k["name"], _wire(k["values"])) for k in answer["keywords"]],
        segments=[
            SegmentColumn(s["name"], *(_wire(s[part]) for part in list(s)[1:])) for s in answer["segments"]
        ],
        # The server does not escape links; there is no slash in any recorded one.
        links=[(link["name"], _wire(link["values"])) for link in answer["links"]],
        recinfo=None if recinfo is None else [(to_wire(info["name"]), info["online"]) for info in recinfo],
    )


def _wire(values):
    return [to_wire(value) if isinstance(value, str) else value for value in values]


def _parsed(data):
    members = json.loads(data.decode("latin-1"))
    del members["runtime"]
    return members


def _runtime(text):
    return float(re.search(r'"runtime":([0-9.]+)', text)[1])


def _until_runtime(head):
    return head.partition('"runtime"')[0].encode("latin-1")
