"""The answers of jsoc_fetch."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.export import (
    CONTACT,
    ERRORS,
    ExportFile,
    Failed,
    Finished,
    Immediate,
    Pending,
    StorageUnit,
    StorageUnits,
)
from mirror.errors import UpstreamBroken, UpstreamRefused
from mirror.wire.export import content_type, decode_answer, decode_units, encode_answer
from tests.recorded import DATA, lines

LINES = [line for line in lines("exports") if line["http"] == 200]
JSON = [line for line in LINES if line["response"] is not None]
TRACES = [
    (path.parent.name, step)
    for path in sorted(Path(DATA / "exports").glob("*/trace.json"))
    for step in json.loads(path.read_text())
]


def decode(line):
    decoder = decode_units if line["params"].get("op") == "exp_su" else decode_answer
    return decoder((json.dumps(line["response"]) + "\n").encode())


@pytest.mark.parametrize("line", JSON, ids=lambda line: line["tag"])
def test_recorded_answers_are_decoded_and_encoded_to_the_same_bytes(line):
    if line["params"].get("op") == "exp_su" and line["response"]["status"]:
        with pytest.raises(UpstreamRefused, match=line["response"]["error"]):
            decode(line)
        return
    encoded = encode_answer(decode(line))
    assert json.dumps(json.loads(encoded)) == json.dumps(line["response"])  # in this order
    assert encoded.startswith(line["raw_head"].encode("latin-1"))


def body(response):
    return response.partition("\n\n")[2].encode("latin-1")


def wants_json(step):
    return step["params"].get("format", "json") == "json"


@pytest.mark.parametrize("export, step", [found for found in TRACES if wants_json(found[1])])
def test_every_step_of_a_recorded_export_is_decoded_and_encoded_to_the_same_bytes(export, step):
    answer = decode_answer(body(step["response"]))
    assert encode_answer(answer) == body(step["response"])
    assert content_type() in step["response"]


# index.json tells nothing of processing, so that text is compared where index.txt is read.
@pytest.mark.parametrize(
    "export, step",
    [found for found in TRACES if not wants_json(found[1]) and "# PROCESSING" not in found[1]["response"]],
)
def test_every_step_of_a_recorded_export_is_told_as_text_too(export, step):
    twins = [other["response"] for name, other in TRACES if name == export and wants_json(other)]
    assert body(step["response"]) in [encode_answer(decode_answer(body(twin)), "txt") for twin in twins]
    assert content_type("txt") in step["response"]


@pytest.mark.parametrize(
    "line", [line for line in LINES if line["response"] is None], ids=lambda line: line["tag"]
)
def test_recorded_text_is_encoded_to_the_same_bytes(line):
    same = {"txt": "quick", "status-txt": "status-0"}[line["tag"]]
    twin = next(other for other in JSON if other["tag"] == same)
    assert encode_answer(decode(twin), "txt") == line["raw_head"].encode("latin-1")


def test_errors_are_told_as_text_too():
    assert encode_answer(Failed(4, "no"), "txt") == b"status=4\nerror=no\n"
    void = Failed(3, "much", "VOID", "url", "fits", wait=0, rcount=7, size=9)
    text = encode_answer(void, "txt")
    assert text == b"# JSOC Data Export Failure.\nstatus=3\nsize=9\ncount=7\nrequestid=VOID\nwait=0\n"
    gone = Failed(5, ERRORS[5], "JSOC_20140101_001", "url", "fits", contact=CONTACT)
    assert encode_answer(gone, "txt").endswith(f'error="{ERRORS[5]}"\ncontact={CONTACT}\n'.encode())


def test_a_request_that_is_too_large_has_members_of_its_own():
    void = Failed(3, "much", "VOID", "url", "fits", wait=0, rcount=7, size=9)
    assert list(json.loads(encode_answer(void)))[:5] == ["requestid", "method", "protocol", "wait", "status"]
    assert decode_answer(encode_answer(void)) == void


def test_units_are_told_in_all_forms():
    units = (StorageUnit(5, "hmi.lev1", "/SUM1/D5", "Y", 12), StorageUnit(6))
    assert json.loads(encode_answer(StorageUnits(units, by_number=True)))["data"]["6"]["sustatus"] == "I"
    assert encode_answer(StorageUnits(units), "txt").endswith(
        b"5\thmi.lev1\t/SUM1/D5\tY\t12\n6\tNA\tNA\tI\t0\n"
    )


def test_numbers_that_are_strings_are_read():
    answer = {"status": "2", "requestid": "JSOC_20140101_001", "wait": "10", "size": "3", "rcount": 1.0}
    assert decode_answer(json.dumps(answer).encode()) == Pending("JSOC_20140101_001", "", "", 10, 1, 3)


def test_the_id_of_a_movie_has_another_name():
    answer = {"status": 2, "reqid": "JSOC_20140101_001", "wait": 1}
    assert decode_answer(json.dumps(answer).encode()).request_id == "JSOC_20140101_001"


FILES = [{"record": "a.b[1]{s}", "filename": "/SUM1/D1/S00000/s.fits"}]
QUICK = {"rcount": 1, "count": 1, "size": 1, "dir": "", "data": FILES, "requestid": "", "status": 0}
DONE = {"requestid": "JSOC_20140101_001", "method": "url", "protocol": "fits", "count": "1", "size": "1"}
DONE |= {"dir": "/SUM1/D2/S00000", "status": "0", "data": [{"record": "a.b[1]", "filename": "s.fits"}]}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"status": None},
        {"status": "fine"},
        {"status": 0},
        {"status": 2},
        {"status": 2, "requestid": "../../etc/passwd"},
        {"status": 2, "requestid": 7},
        QUICK | {"count": 2},
        QUICK | {"data": "none"},
        QUICK | {"data": [{"record": "a.b[1]"}]},
        QUICK | {"data": [{"record": "a.b[1]", "filename": "/SUM1/../etc/passwd"}]},
        QUICK | {"data": [{"record": "a.b[1]", "filename": "SUM1/D1/s.fits"}]},
        DONE | {"count": "2"},
        DONE | {"dir": "/SUM1/../.."},
        DONE | {"dir": "SUM1/D2"},
        DONE | {"requestid": "x/y"},
        DONE | {"tarfile": "/x/../y"},
        DONE | {"data": [{"record": "a.b[1]", "filename": "../s.fits"}]},
        DONE | {"data": [{"record": "a.b[1]", "filename": "/etc/passwd"}]},
        DONE | {"data": [{"record": "a.b[1]", "filename": "a\nb"}]},
        {name: value for name, value in DONE.items() if name != "data"},
    ],
)
def test_an_answer_that_is_none_is_broken(answer):
    with pytest.raises(UpstreamBroken):
        decode_answer(json.dumps(answer).encode())


def test_the_answers_that_the_broken_ones_are_made_of_are_whole():
    assert isinstance(decode_answer(json.dumps(QUICK).encode()), Immediate)
    assert isinstance(decode_answer(json.dumps(DONE).encode()), Finished)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 0, "count": 2, "data": [], "method": "url", "protocol": "as-is"},
        {"status": 0, "count": 1, "data": {"5": "gone"}, "method": "url", "protocol": "as-is"},
        {"status": 0, "count": 0, "data": [], "method": "url"},
    ],
)
def test_an_answer_that_tells_no_units_is_broken(answer):
    with pytest.raises(UpstreamBroken):
        decode_units(json.dumps(answer).encode())


@pytest.mark.parametrize("tag", ["quick", "url", "status-0", "status-4", "exp_su-off"])
def test_an_answer_that_arrives_damaged_is_broken(tag, damaged):
    line = next(line for line in JSON if line["tag"] == tag)
    decoder = decode_units if tag.startswith("exp_su") else decode_answer
    for data in damaged(encode_answer(decode(line))):
        with pytest.raises(UpstreamBroken):
            decoder(data)


text = st.text(st.characters(max_codepoint=255))
named = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='/\\"'), min_size=1)
count = st.integers(0, 10**9)
ids = st.builds("JSOC_{:08d}_{:03d}".format, st.integers(0, 10**8 - 1), count)
names = named.filter(lambda name: name != "..")
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
quick = st.builds(
    Immediate,
    count,
    count,
    st.lists(st.builds(ExportFile, text, paths), min_size=1).map(tuple),
    method=text,
    protocol=text,
)
pending = st.builds(
    Pending, ids, text, text, st.integers(-(10**9), 10**9), count, count, status=st.sampled_from([1, 2])
)
failed = st.builds(
    Failed,
    st.sampled_from([3, 4, 5, 6, 7, 25]),
    text,
    st.just("VOID") | ids,
    text,
    text,
    wait=count,
    rcount=count,
    size=count,
)


@given(st.one_of(quick, pending, failed, st.builds(Failed, st.just(4), text)))
def test_an_answer_survives_the_way_to_the_client(answer):
    assert decode_answer(encode_answer(answer)) == answer


units = st.builds(StorageUnit, count, named, paths, st.sampled_from("YNXI"), count)


@given(
    st.builds(
        StorageUnits, st.lists(units, unique_by=lambda u: u.sunum).map(tuple), text, text, st.booleans()
    )
)
def test_units_survive_the_way_to_the_client(answer):
    assert decode_units(encode_answer(answer)) == answer


@given(
    st.binary()
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.dictionaries(st.sampled_from(list(DONE)), st.none() | text | count | st.lists(text)),
    )
)
def test_bytes_of_any_kind_are_decoded_or_broken(data):
    for decoder in (decode_answer, decode_units):
        with contextlib.suppress(UpstreamBroken, UpstreamRefused):
            assert decoder(data)
