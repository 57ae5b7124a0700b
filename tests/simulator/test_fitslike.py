"""rs_list with the flag f, one object a record."""

from hypothesis import given
from hypothesis import strategies as st

from mirror.simulator.fitslike import RecsetRecord, RecsetSegment, encode_recset
from mirror.wire.answer import load_answer
from mirror.wire.text import from_wire, to_wire

WIRE = st.text(max_size=8).map(to_wire)
MAYBE = st.none() | WIRE
ONLINE = st.none() | st.integers(0, 1)
NAMED = st.lists(st.tuples(st.text(max_size=8), MAYBE), max_size=3).map(tuple)
SEGMENTS = st.builds(RecsetSegment, st.text(max_size=8), WIRE, ONLINE, MAYBE, MAYBE, MAYBE, MAYBE)
RECORDS = st.lists(
    st.builds(RecsetRecord, WIRE, NAMED, st.lists(SEGMENTS, max_size=2).map(tuple), NAMED, ONLINE), max_size=3
).map(tuple)


@given(RECORDS)
def test_what_is_encoded_tells_the_records(records):
    assert decoded(encode_recset(records, runtime=0.1)) == records


def test_recorded_answers_begin_as_sent(recorded):
    lines = [line for line in recorded("rs_list") if "recset" in line["response"]]
    assert len(lines) == 2
    for line in lines:
        records = [_from_parsed(record) for record in line["response"]["recset"]]
        encoded = encode_recset(records, runtime=0.01)
        assert encoded.startswith(line["raw_head"].encode("latin-1"))
        assert decoded(encoded) == tuple(records)


def test_without_records_it_is_the_empty_answer_of_rs_list():
    assert encode_recset([], runtime=0.003) == b'{"count":0,"runtime":0.003,"status":0}\n'


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


def decoded(data):
    """The records of an answer, whose values stay as they are on the wire."""
    return tuple(
        RecsetRecord(
            record["specification"],
            tuple((from_wire(k["name"]), k.get("value")) for k in record["keywords"]),
            tuple(RecsetSegment(**{**s, "name": from_wire(s["name"])}) for s in record["segments"]),
            tuple((from_wire(k["name"]), k.get("linkedrec")) for k in record["links"]),
            record.get("online"),
        )
        for record in load_answer(data, wire=True).get("recset", ())
    )
