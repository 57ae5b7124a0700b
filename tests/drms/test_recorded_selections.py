"""Binding, held against the recorded answers of the real server software."""

from typing import Any

import pytest

from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import BadRequest
from tests.drms.naive import World, answer, worlds
from tests.recorded import lines


def recorded() -> list[dict[str, Any]]:
    found = [line for name in ("queries", "random") for line in lines(name)]
    return [line for line in found if line["op"] in ("rs_list", "rs_summary") and "ds" in line["params"]]


def failed(line: dict[str, Any]) -> bool:
    return line["http"] != 200 or bool(line["response"].get("status"))


def has_where(line: dict[str, Any]) -> bool:
    return any(mark in line["params"]["ds"] for mark in ("[?", "[!"))


def limit(line: dict[str, Any]) -> int:
    return int(line["params"].get("n") or "0") if line["params"].get("n") != "1e1" else 1


#: Refused by the parameters beside the record set: by other parts of the server than this one.
BEYOND = ("fits", "n-multi")
#: ``**ALL**`` of two series, which is refused for the keywords and not for the records.
MIXED = "hmi.v_45s[2014.01.01_TAI/90s],hmi.m_45s[2014.01.01_TAI/90s]"
#: rs_summary with n= counts 0 records of a series that does not exist; this is not for ``bind`` to know.
UNKNOWN_BUT_COUNTED = "hmi.nosuch[1]"
ANSWERED = [line for line in recorded() if not failed(line)]
FAILED = [line for line in recorded() if failed(line) and line["tag"] not in BEYOND]


def identities(rows: list[tuple[World, int]]) -> dict[str, list[Any]]:
    """Record numbers and prime keys as printed."""
    names = {"*recnum*"}.union(*({p.name for p in world.series.primekeys} for world, _ in rows))
    return {
        name: [world.printed[name][row] for world, row in rows]
        for name in names
        if all(name in world.printed for world, _ in rows)
    }


def test_every_answered_query_without_a_condition_gives_the_recorded_records():
    checked = 0
    for line in ANSWERED:
        ds = line["params"]["ds"].rstrip("\0")
        if has_where(line) or ds == UNKNOWN_BUT_COUNTED:
            continue
        rows = answer(ds, limit(line))
        assert len(rows) == line["response"]["count"], ds
        ours = identities(rows)
        for column in line["response"].get("keywords", []):
            assert (
                column["values"] == ours.get(column["name"], column["values"]) or line["tag"] == "maxprec"
            ), ds
        checked += 1
    assert checked > 900


def test_every_answered_query_with_a_condition_binds_unless_the_condition_is_beyond_a_whitelist():
    refused = {"hmi.v_45s[? exists (select 1 from pg_class) and recnum<3 ?]"}
    for line in filter(has_where, ANSWERED):
        ds = line["params"]["ds"]
        if ds in refused:
            with pytest.raises(BadRequest):
                answer(ds, 0)
            continue
        for record_set in parse_query(ds).sets:
            bind(record_set, worlds()[record_set.series.lower()].series, text=ds, zero_steps=True)


def test_every_query_that_the_server_refused_or_died_of_raises():
    for line in FAILED:
        ds = line["params"]["ds"]
        if ds != MIXED:
            with pytest.raises(BadRequest):
                answer(ds, limit(line))
