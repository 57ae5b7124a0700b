"""Rules of faults: how they are read, whom they hit, when they are used up."""

from __future__ import annotations

import json

import pytest

from mirror.errors import ConfigError
from mirror.simulator.faults import Fault, FaultPlan, damaged, decode_faults

ASKED = {"op": "rs_list", "ds": "hmi.v_45s[$]"}


def kinds(plan, requests, now=0.0):
    found = (plan.take("jsoc_info", params, now) for params in requests)
    return [None if fault is None else fault.kind for fault in found]


def test_a_rule_without_match_hits_every_request_of_every_program():
    plan = FaultPlan([Fault("http500")])
    assert plan.take("show_series", {}, 0.0) == Fault("http500")
    assert kinds(plan, [ASKED, ASKED]) == ["http500", "http500"]


@pytest.mark.parametrize(
    "match, hits",
    [
        ({"program": "jsoc_info"}, True),
        ({"program": "show_info"}, False),
        ({"op": "rs_list"}, True),
        ({"op": "series_struct"}, False),
        ({"ds": r"^HMI\.v"}, True),
        ({"ds": "aia"}, False),
        ({"program": "jsoc_info", "op": "rs_list", "ds": r"\[\$\]"}, True),
    ],
)
def test_a_match_names_the_program_the_operation_and_the_record_set(match, hits):
    (rule,) = decode_faults([{"match": match, "fault": "refuse"}])
    assert rule.matches("jsoc_info", ASKED) is hits


def test_times_uses_a_rule_up_and_the_next_one_takes_over():
    plan = FaultPlan([Fault("refuse", times=2), Fault("http500", times=1)])
    assert kinds(plan, [ASKED] * 4) == ["refuse", "refuse", "http500", None]


def test_skip_lets_the_first_matching_requests_pass():
    plan = FaultPlan([Fault("truncate", skip=2, times=1, op="rs_list")])
    others = {"op": "series_struct", "ds": "x"}
    assert kinds(plan, [ASKED, others, ASKED, ASKED, ASKED]) == [None, None, None, "truncate", None]


def test_an_outage_cuts_every_request_until_it_is_over():
    plan = FaultPlan([Fault("outage", seconds=10.0, times=1, op="rs_list")])
    assert plan.take("show_series", {}, 0.0) is None
    assert kinds(plan, [ASKED], now=1.0) == ["refuse"]
    assert plan.take("show_series", {}, 10.9) == Fault("refuse")
    assert plan.take("show_series", {}, 11.1) is None


def test_replacing_the_rules_ends_an_outage():
    plan = FaultPlan([Fault("outage", seconds=float("inf"), times=1)])
    assert kinds(plan, [ASKED, ASKED]) == ["refuse", "refuse"]
    plan.replace([])
    assert kinds(plan, [ASKED]) == [None]


def test_timeout_slow_and_outage_have_a_duration_of_their_own():
    rules = decode_faults([{"fault": "timeout"}, {"fault": "slow"}, {"fault": "outage"}, {"fault": "slow", "seconds": 2}])
    assert [rule.seconds for rule in rules] == [3600.0, 10.0, float("inf"), 2]


@pytest.mark.parametrize(
    "rules, named",
    [
        ({}, "expected a list"),
        (["refuse"], "fault 1"),
        ([{"fault": "refuse"}, {"fault": "explode"}], "fault 2: fault is 'explode'"),
        ([{"fault": "slow", "second": 1}], "unknown member 'second'"),
        ([{"fault": "slow", "seconds": "1"}], "seconds is '1'"),
        ([{"fault": "slow", "seconds": -1}], "seconds is -1"),
        ([{"fault": "refuse", "times": True}], "times is True"),
        ([{"fault": "refuse", "match": {"dataset": "x"}}], "unknown member 'dataset'"),
        ([{"fault": "refuse", "match": {"ds": "("}}], "expected a regular expression"),
    ],
)
def test_a_bad_rule_is_an_error_that_names_it(rules, named):
    with pytest.raises(ConfigError, match=named.replace("(", r"\(")):
        decode_faults(rules)


def test_a_damaged_answer_is_not_json():
    for body in (b'{"count":0,"runtime":0.001,"status":0}\n', b'{\n\t"count": 3\n}\n', b"plain text"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(damaged(body, Fault("broken_json")))


def test_a_wrong_count_differs_by_delta():
    body = b'{"keywords":[],"count":4,"runtime":0.001,"status":0}\n'
    assert json.loads(damaged(body, Fault("wrong_count", delta=-1)))["count"] == 3
    assert json.loads(damaged(b'{"status":0,"names":[],\n"n":0}', Fault("wrong_count")))["n"] == 1
