"""A clock that was wrong: nothing is taken for fresh that was said to be checked after now, and nobody waits for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.coverage import AHEAD, Freshness
from mirror.coverage.intervals import Span
from tests.filelab import file_lab
from tests.lab import lab
from tests.services.subscriptions.test_manager import BITMAPS, RECORDS

YEAR = 365.0
SPAN = "hmi.v_45s[2014.01.01_TAI/30m]"


@given(st.floats(AHEAD * 1.01, 1e10), st.integers(0, 100), st.integers(0, 100))
def test_a_check_dated_after_now_is_none(ahead, lo, settled):
    fresh = Freshness(1.7e9, 6e5, 8e6, settled)
    span = Span(lo, lo + 10, 1.7e9 + ahead)
    assert sum(hi - lo + 1 for lo, hi in fresh.stale(span)) == 11


@given(st.floats(0, AHEAD))
def test_clocks_that_differ_by_less_than_a_day_cost_nothing(ahead):
    assert list(Freshness(1.7e9, 6e5, 8e6, 5).stale(Span(0, 10, 1.7e9 + ahead))) == []


async def test_after_a_year_ahead_by_mistake_held_data_are_checked_again_and_not_fetched(tmp_path):
    async with lab(tmp_path) as made:
        made.clock.forward(days=YEAR)
        found = await made.recnums(SPAN)
        made.clock.forward(days=-YEAR)
        fetched = await made.fetched()
        answer = await made.ask(SPAN)
        assert (answer.plan, answer.json["keywords"][0]["values"]) == ("filled", found)
        assert await made.fetched() == fetched
        assert (await made.ask(SPAN)).plan == "local"


async def test_structures_and_lists_dated_after_now_are_asked_for_again(tmp_path):
    async with lab(tmp_path) as made:
        made.clock.forward(days=YEAR)
        await made.ask("hmi.v_45s", op="series_struct")
        await made.get("/cgi-bin/ajax/show_series")
        made.clock.forward(days=-YEAR)
        before = len(await made.log())
        await made.ask("hmi.v_45s", op="series_struct")
        await made.get("/cgi-bin/ajax/show_series")
        assert len(await made.log()) == before + 2


@pytest.mark.parametrize("days", [YEAR, -YEAR])
async def test_a_subscription_looks_again_whichever_way_the_clock_jumps(tmp_path, days):
    async with file_lab(tmp_path) as made:
        wish = replace(BITMAPS, budget=None)
        sync = made.running.sync
        await sync.reconcile([wish])
        await sync.once()
        await sync.finished()
        made.clock.forward(days=days)
        await made.restart()
        before = len(await made.log())
        sync = made.running.sync
        await sync.reconcile([wish])
        await sync.once()
        await sync.finished()
        [report] = await sync.report()
        assert (report.state, report.records, report.files) == ("current", RECORDS, RECORDS)
        assert len(await made.log()) > before
        assert len(await made.downloads()) == RECORDS


async def test_files_used_in_a_wrong_year_are_not_the_last_to_go(tmp_path):
    async with file_lab(tmp_path) as made:
        made.clock.forward(days=YEAR)
        early = await _held(made, b"a" * 1000)
        made.clock.forward(days=-YEAR, hours=1)
        await made.restart()
        made.clock.forward(hours=1)
        late = await _held(made, b"b" * 1000)
        await made.running.blobs.evict(1)
        assert set(made.blob_files()) == {late}
        assert early != late


async def test_a_job_that_pauses_goes_on_after_a_restart_in_an_earlier_year(tmp_path):
    async with file_lab(tmp_path) as made:
        await made.faults({"match": {"program": "file"}, "fault": "refuse"})
        accepted = (await made.export("hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}"))["requestid"]
        await made.working()
        await made.faults()
        made.clock.forward(days=-YEAR)
        await made.restart()
        assert (await made.ended(accepted))["count"] == "1"


async def _held(made, content: bytes) -> str:
    """Keep a file, and use it now."""
    async with made.running.blobs.incoming(len(content)) as sink:
        await sink.write(content)
        blob = await sink.keep()
    with made.running.blobs.reading(blob):
        pass
    await made.running.blobs.note_uses()
    return blob.sha256
