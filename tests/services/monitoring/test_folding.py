"""Coverage for people: ranges that repeat at one distance are one line."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.intervals import Span
from mirror.services.monitoring.ranges import _apart, _touched, repeated
from mirror.storage.index import reader
from mirror.storage.index.index import Index
from mirror.storage.index.reader import Occupied
from tests.lab import lab


def spans(*edges):
    return [(Span(lo, hi, 1.0), Occupied(1, lo, hi)) for lo, hi in edges]


def test_ranges_as_long_and_as_far_apart_as_each_other_go_together():
    row = spans((0, 0), (80, 80), (160, 160), (240, 240))
    assert list(repeated(row)) == [row]
    odd = spans((0, 0), (80, 80), (500, 900), (1000, 1000), (1010, 1010), (1020, 1020))
    assert list(repeated(odd)) == [[odd[0]], [odd[1]], [odd[2]], odd[3:]]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), max_size=30))
def test_every_range_is_told_once_in_its_order(steps):
    at, edges = 0, []
    for gap, length in steps:
        edges.append((at + gap, at + gap + length))
        at += gap + length + 1
    given_spans = spans(*edges)
    groups = list(repeated(given_spans))
    assert [span for group in groups for span in group] == given_spans
    for group in groups:
        distances = {b[0].lo - a[0].lo for a, b in pairwise(group)}
        assert len(group) == 1 or (len(group) > 2 and len(distances) == 1)


async def test_a_record_an_hour_is_one_line(tmp_path):
    async with lab(tmp_path) as mirror:
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/1d@1h]")
        every = (await mirror.get("/api/coverage", {"series": "hmi.v_45s"})).json
        (line,) = (await mirror.get("/api/coverage", {"series": "hmi.v_45s", "folded": "1"})).json
        assert len(every) == 23 and all(span["slots"] == 1 for span in every)
        assert (line["every"], line["slots"], line["records"]) == ("1 h", 24, 23), "JSOC has no record of one hour"
        assert (line["first"], line["last"]) == (every[0]["first"], every[-1]["last"])


async def test_slots_of_which_jsoc_has_no_record_are_not_shown_as_cached(tmp_path):
    """The recorded world ends: what lies behind its end is known to be empty, and is not a cached range."""
    async with lab(tmp_path) as mirror:
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/1h],hmi.v_45s[2035.01.01_TAI/1d@1h]")
        found = (await mirror.get("/api/coverage", {"series": "hmi.v_45s"})).json
        assert [(line["first"], line["last"], line["records"]) for line in found] == [
            ("2014.01.01_00:00:00_TAI", "2014.01.01_00:59:15_TAI", 80)
        ]
        assert (await mirror.ask("hmi.v_45s[2035.01.01_TAI/1d@1h]")).plan == "local", "it is known all the same"


# ---- counted once, and only where something changed --------------------------------------------------


async def test_spans_are_counted_again_only_where_records_came(tmp_path, monkeypatch):
    """However much is cached: a fill of one hour has that hour counted."""
    asked = []
    occupied = Index.occupied

    async def noted(self, series, region, spans):
        asked.append(len(spans))
        return await occupied(self, series, region, spans)

    monkeypatch.setattr(Index, "occupied", noted)
    async with lab(tmp_path) as mirror:
        query = {"series": "hmi.v_45s"}
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/1d@1h]")
        before = (await mirror.get("/api/coverage", query)).json
        assert asked == [24]
        assert (await mirror.get("/api/coverage", query)).json == before
        assert (await mirror.get("/api/coverage", query | {"folded": "1"})).code == 200
        await mirror.ask("hmi.v_45s[2014.01.02_TAI/1h]")
        after = (await mirror.get("/api/coverage", query)).json
        assert asked == [24, 1]
        assert [line for line in after if line in before] == before
        (line,) = [line for line in after if line not in before]
        assert (line["first"], line["records"]) == ("2014.01.02_00:00:00_TAI", 79)


async def test_few_spans_and_many_are_counted_alike(tmp_path, monkeypatch):
    async with lab(tmp_path) as mirror:
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/1d@1h],hmi.v_45s[2014.01.02_TAI/2h]")
        index = mirror.running.search._index
        series, _ = index.series("hmi.v_45s")
        ((region, held),) = index.coverage(series)
        spans = list(held)
        wider = [Span(s.lo - 2, s.hi + 2, s.checked_at) for s in spans]
        few = [await index.occupied(series, region, each) for each in (spans, wider, spans[:1])]
        monkeypatch.setattr(reader, "FEW_SPANS", 0)
        assert [await index.occupied(series, region, each) for each in (spans, wider, spans[:1])] == few
        assert sum(found.records for found in few[0]) == 182


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5))), st.integers(0, 30), st.integers(0, 5))
def test_what_a_change_touches(changes, lo, length):
    stretches = [(at, at + more) for at, more in changes]
    wanted = any(begin <= lo + length and end >= lo for begin, end in stretches)
    assert _touched(_apart(stretches), lo, lo + length) is wanted
