"""rs_list with the flag f, one object a record."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamBroken
from mirror.simulator.recset import RecsetRecord, RecsetSegment, decode_recset, encode_recset
from mirror.wire.text import to_wire

WIRE = st.text(max_size=8).map(to_wire)
MAYBE = st.none() | WIRE
ONLINE = st.none() | st.integers(0, 1)
NAMED = st.lists(st.tuples(st.text(max_size=8), MAYBE), max_size=3).map(tuple)
SEGMENTS = st.builds(RecsetSegment, st.text(max_size=8), WIRE, ONLINE, MAYBE, MAYBE, MAYBE, MAYBE)
RECORDS = st.lists(
    st.builds(RecsetRecord, WIRE, NAMED, st.lists(SEGMENTS, max_size=2).map(tuple), NAMED, ONLINE), max_size=3
).map(tuple)


@given(RECORDS)
def test_decode_undoes_encode(records):
    assert decode_recset(encode_recset(records, runtime=0.1)) == records


def test_recorded_answers_begin_as_sent(recorded):
    lines = [line for line in recorded("rs_list") if "recset" in line["response"]]
    assert len(lines) == 2
    for line in lines:
        records = [_from_parsed(record) for record in line["response"]["recset"]]
        encoded = encode_recset(records, runtime=0.01)
        assert encoded.startswith(line["raw_head"].encode("latin-1"))
        assert decode_recset(encoded) == tuple(records)


def test_without_records_it_is_the_empty_answer_of_rs_list():
    assert encode_recset([], runtime=0.003) == b'{"count":0,"runtime":0.003,"status":0}\n'


def test_a_damaged_answer_is_broken(damaged):
    record = RecsetRecord("a[1]", (("T_REC", "x"), ("FOO", None)), (RecsetSegment("s", "BadSegLink"),), (), 0)
    whole = encode_recset([record], runtime=0.1)
    for data in [
        *damaged(whole),
        re.sub(b'"count":1', b'"count":2', whole),
        whole.replace(b"true", b"false"),
    ]:
        with pytest.raises(UpstreamBroken):
            decode_recset(data)


def _from_parsed(record):
    return RecsetRecord(
        to_wire(record["specification"]),
        tuple(_named(keyword, "value") for keyword in record["keywords"]),
        tuple(
            RecsetSegment(**{k: to_wire(v) if isinstance(v, str) else v for k, v in segment.items()})
            for segment in record["segments"]
        ),
        tuple(_named(link, "linkedrec") for link in record["links"]),
        record.get("online"),
    )


def _named(item, what):
    return item["name"], to_wire(item[what]) if what in item else None
