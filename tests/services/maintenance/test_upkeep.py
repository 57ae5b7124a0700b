"""Watermarks, checkpoints, budgets and pauses: the decisions, and that they are obeyed."""

import asyncio
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mirror.humanize import day_of
from mirror.services.maintenance.check_files import few
from mirror.services.maintenance.check_plan import (
    SHARE,
    Budget,
    CheckStep,
    Run,
    advanced,
    begins,
    covers,
    pause,
    steps_of,
)
from mirror.services.maintenance.upkeep import IDLE, MANY_CHANGES, Marks, checkpoint_due, excess
from mirror.storage.database.database import SMALL_LOG
from mirror.storage.files.blobs import Usage
from mirror.storage.files.table import Blob
from mirror.storage.lake.lake import Lake
from tests.filelab import synthetic
from tests.lab import lab

SIZES = st.integers(0, 10**12)
SCOPES = st.sampled_from(["files", "index", "all"])


@given(st.none() | SIZES, st.lists(SIZES, max_size=5))
def test_a_budget_is_what_is_left_of_it(limit, reads):
    budget = Budget(limit)
    for read in reads:
        budget = budget.after(read)
    assert budget.left == (None if limit is None else max(0, limit - sum(reads)))
    assert budget.is_used_up == (limit is not None and sum(reads) >= limit)


@given(SCOPES, st.lists(st.none() | st.text(max_size=3), max_size=30), SIZES)
def test_a_check_goes_through_its_steps_in_order_and_counts_everything(scope, places, size):
    run = Run(1, scope, False, 0.0, None, steps_of(scope)[0], "")
    seen = [run.step]
    done = 0
    for place in places:
        if run.ended_at is not None:
            break
        run, done = advanced(run, CheckStep(place, files=1, bytes=size, records=2), 9.0), done + 1
        seen += [run.step] if run.step != seen[-1] else []
    assert tuple(seen) == steps_of(scope)[: len(seen)]
    assert (run.files, run.bytes, run.records) == (done, done * size, 2 * done)
    assert (run.ended_at is not None) == (places[:done].count(None) == len(steps_of(scope)))


@given(SCOPES, SCOPES)
def test_a_check_is_joined_only_by_who_gets_what_was_asked(running, wanted):
    assert covers(running, wanted) == (set(steps_of(wanted)) <= set(steps_of(running)))


@given(st.floats(0, 1000))
def test_reading_takes_its_share_of_the_time_and_no_more(took):
    assert took <= SHARE * (took + pause(took)) + 1e-9


@given(st.lists(st.integers(0, 100), max_size=8), st.integers(1, 300))
def test_a_piece_keeps_to_its_size_and_is_never_empty(sizes, most):
    blobs = [Blob(str(i), size, 0.0, 0.0, 0.0) for i, size in enumerate(sizes)]
    chosen = few(blobs, most)
    assert chosen == blobs[: len(chosen)]
    assert bool(chosen) == bool(blobs)
    assert len(chosen) <= 1 or sum(b.size for b in chosen) <= most
    assert len(chosen) == len(blobs) or sum(b.size for b in blobs[: len(chosen) + 1]) > most


@given(
    st.builds(
        Usage,
        st.none() | st.integers(1, 1000),
        st.integers(0, 1000),
        st.integers(0, 100),
        st.integers(0, 100),
    ),
    st.integers(0, 1000),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    st.none() | st.integers(1, 1000),
)
def test_what_is_evicted_brings_quota_and_disk_below_their_marks(usage, free, marks, keep_free):
    low, high = marks
    need = excess(usage, free, Marks(high, low, keep_free))
    used = usage.held + usage.parked + usage.reserved
    full = usage.limit is not None and used > high * usage.limit
    tight = keep_free is not None and free < keep_free
    assert (need > 0) <= (full or tight)
    if full:
        assert used - need <= low * usage.limit + 1
    if tight:
        assert free + need >= keep_free


def test_the_log_of_changes_is_folded_in_when_nobody_is_there_and_anyhow_when_it_is_long():
    assert not checkpoint_due(SMALL_LOG - 1, 1e9, busy=False)
    assert checkpoint_due(SMALL_LOG, IDLE, busy=False)
    assert not checkpoint_due(SMALL_LOG, IDLE, busy=True)
    assert not checkpoint_due(SMALL_LOG, IDLE - 1, busy=False)
    assert checkpoint_due(MANY_CHANGES, 0.0, busy=True)


def test_the_next_check_begins_after_its_time_or_when_the_clock_was_set_back():
    assert begins(None, 10.0, 0.0)
    assert not begins(5.0, 10.0, 14.0)
    assert begins(5.0, 10.0, 15.0)
    assert begins(50.0, 10.0, 15.0)
    assert day_of(datetime(2026, 11, 22, 23, 59, tzinfo=UTC).timestamp()) == "2026-11-22"


async def keep(lab, *contents):
    for content in contents:
        async with lab.running.blobs.incoming(len(content)) as sink:
            await sink.write(content)
            await sink.keep()
        lab.clock.forward(seconds=1)


async def test_above_the_high_mark_the_least_used_go_until_the_low_one_is_reached(tmp_path):
    marks = {"MIRROR_STORAGE__QUOTA": "1000", "MIRROR_STORAGE__HIGH": "80%", "MIRROR_STORAGE__LOW": "50%"}
    async with lab(tmp_path, **marks) as made:
        await keep(made, b"a" * 300, b"b" * 300)
        await made.running.upkeep.tick()
        assert made.running.blobs.usage().held == 600
        await keep(made, b"c" * 300)
        await made.running.upkeep.tick()
        assert made.running.blobs.usage().held == 300
        assert "mirror_evicted_ahead_bytes_total 600" in (await made.get("/metrics")).body.decode()


async def test_the_background_check_keeps_to_the_days_budget_and_goes_on_the_next_day(tmp_path):
    async with lab(tmp_path, MIRROR_UPKEEP__CHECK_PER_DAY="500") as made:
        await keep(made, b"a" * 300, b"b" * 300, b"c" * 300)
        made.clock.forward(days=1)
        await made.running.upkeep.check()
        first = (await made.get("/api/status")).json["check"]
        assert (first["files"], first["read_today"], first["ended"]) == (2, 600, None)
        await made.restart()
        await made.running.upkeep.check()
        assert (await made.get("/api/status")).json["check"]["files"] == 2
        made.clock.forward(days=1)
        await made.running.upkeep.check()
        last = (await made.get("/api/status")).json["check"]
        assert (last["files"], last["read_today"]) == (3, 300)
        assert last["ended"] is not None


async def test_without_a_budget_nothing_is_checked_by_itself(tmp_path):
    async with lab(tmp_path, MIRROR_UPKEEP__CHECK_PER_DAY="none") as made:
        await keep(made, b"a" * 300)
        await made.running.upkeep.check()
        assert (await made.get("/api/status")).json["check"]["begun"] is None


async def test_changes_are_folded_into_the_index_while_the_mirror_runs(tmp_path):
    async with lab(tmp_path) as made:
        log = tmp_path / "index.duckdb.wal"
        await keep(made, b"a" * 300)
        assert log.stat().st_size > 0
        await made.running.database.checkpoint()
        assert not log.exists() or log.stat().st_size == 0


async def test_sealing_ends_with_the_month_under_way_once_the_mirror_stops(tmp_path, monkeypatch):
    """A stop does not wait for years of a series, which are sealed after the next start."""
    async with lab(tmp_path, synthetic()) as made:
        await made.ask("hmi.sharp_cea_720s[][2014.01.31_23:36_TAI/1h]")
        made.clock.forward(seconds=IDLE)
        upkeep, written, stopping = made.running.upkeep, [], []
        write = Lake._write

        async def first(self, name, month, *rest):
            written.append(month)
            stopping.append(asyncio.ensure_future(upkeep.stop()))
            await asyncio.sleep(0)  # let it begin
            return await write(self, name, month, *rest)

        monkeypatch.setattr(Lake, "_write", first)
        await upkeep.tick()
        await asyncio.gather(*stopping)
        assert written == ["2014-01"]
