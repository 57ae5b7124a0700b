"""What is asked is decoded as the contract says, or told wrong in one sentence that names the member."""

from __future__ import annotations

import json
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.api.access import AuditQuery
from mirror.api.adoption import AdoptBody
from mirror.api.contract import UNSET, Problem, encoded, plain
from mirror.api.endpoints import ENDPOINTS
from mirror.api.exports import ExportBody, FilesQuery, JobsQuery
from mirror.api.maintenance import CheckBody, PinBody
from mirror.api.reading import from_object, from_query
from mirror.api.search import SearchQuery
from mirror.api.subscriptions import SubscriptionTable
from mirror.errors import BadRequest

FILE = {"path": "/a.fits", "size": 1, "mtime_ns": 2, "inode": 3}


@pytest.mark.parametrize(
    "kind, given, words",
    [
        (SearchQuery, {}, "ds is missing; expected a record set, such as hmi.v_45s[2014.01.01_TAI/1h]"),
        (SearchQuery, {"ds": "  "}, "ds is missing"),
        (SearchQuery, {"ds": "a[$]", "n": "many"}, "n is 'many'; expected a whole number of at most 64 bits"),
        (SearchQuery, {"ds": "a[$]", "n": "9" * 30}, "expected a whole number of at most 64 bits"),
        (FilesQuery, {"ds": "a[$]", "places": "2"}, "places is '2'; expected true or false"),
        (JobsQuery, {"kind": "movie"}, "kind is 'movie'; expected one of export, fill, film, subscription"),
        (AuditQuery, {"n": "0"}, "n is '0'; expected a number above 0"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_expected(kind, given, words):
    with pytest.raises(BadRequest, match=words.replace("[", r"\[").replace("$", r"\$")):
        from_query(given, kind)


@pytest.mark.parametrize(
    "kind, given, words",
    [
        (ExportBody, [], "the body is not a JSON object"),
        (ExportBody, {}, "ds is missing; expected a record set"),
        (ExportBody, {"ds": ""}, "ds is missing"),
        (ExportBody, {"ds": 1}, "ds is 1; expected a text"),
        (ExportBody, {"ds": "a[$]", "sn": 1}, "the member 'sn' is not known; expected some of ds, seg, n"),
        (ExportBody, {"ds": "a[$]", "n": True}, "n is True; expected a whole number"),
        (ExportBody, {"ds": "a[$]", "n": 2**63}, "expected a number of at most 64 bits"),
        (CheckBody, {"scope": "moon"}, "scope is 'moon'; expected one of files, index, all"),
        (CheckBody, {"budget": 0}, "budget is 0; expected a number above 0"),
        (CheckBody, {"restart": "yes"}, "restart is 'yes'; expected true or false"),
        (PinBody, {"ds": "a[$]"}, "owner is missing; expected who the pin is for"),
        (PinBody, {"ds": "a[$]", "owner": "ada", "seconds": "long"}, "seconds is 'long'; expected a number"),
        (AdoptBody, {"files": [FILE, {**FILE, "size": "x"}]}, r"files[1].size is 'x'; expected a whole number"),
        (AdoptBody, {"files": [{**FILE, "path": "a.fits"}]}, "files[0].path is 'a.fits'; expected an absolute path"),
        (AdoptBody, {"files": [{"path": "/a"}]}, "size of files[0] is missing"),
        (AdoptBody, {"files": {}}, "files is {}; expected a list"),
        (AdoptBody, {"files": [1]}, "files[0] is 1; expected an object"),
        (AdoptBody, {"files": [FILE] * 1001}, "expected at most 1000"),
    ],
)
def test_a_wrong_member_is_named_with_what_was_expected(kind, given, words):
    with pytest.raises(BadRequest) as told:
        from_object(given, kind)
    assert words in str(told.value) and len(str(told.value)) < 300


def test_what_is_empty_or_null_is_as_good_as_absent_and_what_is_not_known_is_passed_over_in_a_query():
    assert from_query({"ds": "a[$]", "n": "", "seg": " ", "x": "1"}, SearchQuery) == SearchQuery(ds="a[$]")
    assert from_query({"ds": "a[$]", "n": " +5 "}, SearchQuery).n == 5
    assert from_query({"ds": "a[$]", "where": ""}, SearchQuery).where == ""  # a condition that is no condition
    assert from_object({"ds": "a[$]", "n": None}, ExportBody) == ExportBody(ds="a[$]")
    assert plain(from_object({"series": "hmi.v_45s", "end": None}, SubscriptionTable)) == {"series": "hmi.v_45s"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KINDS = sorted({e.asked for e in ENDPOINTS}, key=lambda kind: kind.__name__)


@given(st.data())
def test_whatever_is_sent_is_taken_or_a_bad_request(data):
    kind = data.draw(st.sampled_from(KINDS))
    names = [*get_type_hints(kind), "other"]
    for read, values in ((from_object, JSON), (from_query, st.text(max_size=8))):
        try:
            read(data.draw(st.dictionaries(st.sampled_from(names), values, max_size=4)), kind)
        except BadRequest:
            continue


@given(st.text(st.characters(exclude_categories=())), st.none() | st.integers(0, 9) | st.just(UNSET))
def test_an_answer_is_json_whatever_its_texts_hold(error, position):
    told = json.loads(encoded(Problem(error=error, position=position)))
    assert told == {"error": error, **({} if position is UNSET else {"position": position})}


def test_every_endpoint_says_what_it_does_and_can_be_decoded():
    for endpoint in ENDPOINTS:
        assert endpoint.text.endswith(".") and endpoint.asked.__doc__ and endpoint.path.startswith("/")
        if endpoint.answer is not bytes:
            msgspec.json.Decoder(endpoint.answer)
    assert len({(e.method, e.path) for e in ENDPOINTS}) == len(ENDPOINTS)
