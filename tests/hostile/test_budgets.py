"""The budget towards JSOC: what waits when it is used up, what never does, and how it goes on."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.loading import Subscription, load_config
from mirror.config.schedule import parse_moment
from mirror.errors import ConfigError, OverBudget
from mirror.upstream import budget as budgets
from mirror.upstream.budget import DAY, HOUR, Budget, BudgetLimits, Need, Period, asking
from mirror.upstream.pacing import Claim, Priority, unattended
from tests.filelab import file_lab, synthetic
from tests.lab import lab as plain_lab
from tests.waiting import PATIENCE, until

SUBSCRIPTION, PEOPLE = Priority.SUBSCRIPTION, Priority.PEOPLE


class Time:
    """A clock that a test moves."""

    def __init__(self):
        self.seconds = 1_700_000_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Time()


def made(clock, records=None, size=None):
    return Budget(BudgetLimits(records, size), clock)


async def turns():
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


# ---- a period ------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 1000)), max_size=40),
    st.integers(0, 20_000),
    st.integers(0, 5000),
)
def test_a_period_forgets_nothing_too_early_and_nothing_much_too_late(events, later, most):
    period, truth, now = Period(HOUR), [], 1e9
    for pause, amount in events:
        now += pause
        period.add(amount, now)
        truth.append((now, amount))
    now += later
    used = period.used(now)
    assert used >= sum(amount for at, amount in truth if now - at < HOUR)
    assert used <= sum(amount for at, amount in truth if now - at <= HOUR + HOUR / budgets.PARTS)
    again = Period(HOUR)
    again.restore(json.loads(json.dumps(period.parts())))
    assert again.used(now) == used
    until = period.until(most, now)
    assert (until == now) == (used <= most)
    assert period.used(until) <= most


def test_a_clock_that_is_set_back_frees_nothing_and_holds_nothing_for_good():
    period = Period(HOUR)
    period.add(10, 1e9 + 30 * DAY)
    assert period.used(1e9) == 10
    assert period.used(1e9 + HOUR + 61) == 0


# ---- whose turn it is ----------------------------------------------------------------------------------


async def taken(budget, claim, need, order=None, name=""):
    async with budget.turn(claim, need):
        budget.count(need.records, need.bytes, claim)
        if order is not None:
            order.append(name)


async def test_what_nobody_waits_for_waits_until_the_hour_moves_on(clock):
    budget = made(clock, records=100)
    await taken(budget, Claim(SUBSCRIPTION), Need(80))
    late = asyncio.ensure_future(taken(budget, Claim(SUBSCRIPTION), Need(25)))
    await turns()
    assert (late.done(), budget.waiting) == (False, 1)
    assert "80 of 100 records in an hour" in str(budget.hold())
    clock.seconds += 3500
    budget.look()
    await turns()
    assert not late.done()
    clock.seconds += 200
    budget.look()
    await late
    assert (budget.waiting, budget.used().records) == (0, 25)


async def test_people_do_not_wait_and_are_counted(clock):
    budget = made(clock, records=100)
    for _ in range(5):
        with asking("ada"):
            claim = Claim()
            async with budget.turn(claim, Need(80)):
                budget.check(claim)
                budget.count(80, 1000, claim)
    assert budget.used() == Need(400, 5000)


async def test_many_that_begin_together_do_not_exceed_the_limit(clock):
    budget, running = made(clock, records=100), []

    async def one():
        claim = Claim(SUBSCRIPTION)
        async with budget.turn(claim, Need(24)):
            running.append(claim)
            await asyncio.sleep(0)
            budget.count(24, 0, claim)

    tasks = [asyncio.ensure_future(one()) for _ in range(20)]
    for rounds in range(1, 5):
        await turns()
        assert len(running) == 4 * rounds, "four of 24 fit into 100"
        clock.seconds += HOUR + 61
        budget.look()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert budget.waiting == 0


async def test_what_is_larger_than_the_limit_goes_too_though_people_always_use_some(clock):
    budget = made(clock, records=100)
    await taken(budget, Claim(SUBSCRIPTION), Need(5000))
    second = asyncio.ensure_future(taken(budget, Claim(SUBSCRIPTION), Need(5000)))
    await turns()
    assert not second.done()
    clock.seconds += HOUR - 300
    budget.count(70, 0, Claim())
    clock.seconds += 361
    budget.look()
    await second


async def test_the_first_of_the_highest_priority_is_next(clock):
    budget, order = made(clock, records=100), []
    budget.count(100, 0, Claim())
    tasks = []
    for name, priority in (
        ("spare", Priority.SPARE),
        ("a", SUBSCRIPTION),
        ("b", SUBSCRIPTION),
        ("soon", Priority.SOON),
    ):
        tasks.append(asyncio.ensure_future(taken(budget, Claim(priority), Need(100), order, name)))
        await turns()
    for _ in tasks:
        clock.seconds += HOUR + 61
        budget.look()
        await turns()
        budget.count(100, 0, Claim())
    assert order == ["soon", "a", "b", "spare"]


async def test_whoever_needs_what_waits_lets_it_go(clock):
    budget, claim = made(clock, records=100), Claim(SUBSCRIPTION)
    await taken(budget, Claim(SUBSCRIPTION), Need(100))
    waits = asyncio.ensure_future(taken(budget, claim, Need(50)))
    await turns()
    claim.raise_to(PEOPLE)
    await waits
    assert budget.waiting == 0


async def test_who_gives_up_waiting_leaves_nothing_behind(clock):
    budget = made(clock, records=100)
    await taken(budget, Claim(SUBSCRIPTION), Need(100))
    first, second = (asyncio.ensure_future(taken(budget, Claim(SUBSCRIPTION), Need(100))) for _ in range(2))
    await turns()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert budget.waiting == 1
    clock.seconds += HOUR + 61
    budget.look()
    await second


async def test_files_that_wait_do_not_hold_up_records(clock):
    budget = made(clock, records=1000, size=100)
    await taken(budget, Claim(SUBSCRIPTION), Need(0, 90))
    waits = asyncio.ensure_future(taken(budget, Claim(SUBSCRIPTION), Need(0, 90)))
    await turns()
    await taken(budget, Claim(SUBSCRIPTION), Need(10))
    assert not waits.done()
    waits.cancel()


async def test_other_limits_hold_at_once(clock):
    budget = made(clock, records=100)
    await taken(budget, Claim(SUBSCRIPTION), Need(100))
    waits = asyncio.ensure_future(taken(budget, Claim(SUBSCRIPTION), Need(100)))
    await turns()
    budget.configure(BudgetLimits(None, None))
    await waits
    assert budget.hold() is None


async def test_a_large_question_is_refused_with_the_moment_and_a_small_one_is_not(clock):
    budget = made(clock, records=100)
    budget.count(100, 0, Claim(SUBSCRIPTION))
    with asking("ada"):
        claim = Claim()
        budget.check(claim)
        budget.count(budgets.SMALL_RECORDS, 0, claim)
        with pytest.raises(OverBudget, match="more is available from 2023-11-14 2"):
            budget.check(claim)
    with asking("ada"):
        budget.check(Claim())


async def test_a_person_cannot_take_a_day_of_bytes_in_small_questions(clock):
    budget = made(clock, size=100)
    budget.count(0, 100, Claim(SUBSCRIPTION))
    for _ in range(budgets.PERSON_BYTES // 50_000_000):
        with asking("ada"):
            budget.check(Claim())
            budget.count(0, 50_000_000, Claim())
    with asking("ada"), pytest.raises(OverBudget):
        budget.check(Claim())
    with asking("bob"):
        budget.check(Claim())


async def test_what_is_asked_unattended_is_not_a_person(clock):
    budget = made(clock, records=100)
    budget.count(100, 0, Claim(SUBSCRIPTION))
    with asking("ada"), unattended():
        claim = Claim()
    assert claim.priority is SUBSCRIPTION
    claim.raise_to(PEOPLE)
    assert claim.priority is PEOPLE


# ---- a whole mirror ------------------------------------------------------------------------------------

MANY = "hmi.V_45s[2014.01.01_TAI/288m]"
#: Records of that, and how many come in an hour; a fill fetches them in pieces of 100.
ALL, HOURLY = 384, 200
ELSEWHERE = "hmi.V_45s[2014.03.01_TAI/5m]"
CONFIG = "[upstream]\nrecords_per_hour = {}\n"


@pytest_asyncio.fixture
async def lab(tmp_path):
    """A mirror whose JSOC sends so many records per hour."""
    async with plain_lab(tmp_path, synthetic(), config=CONFIG.format(HOURLY), MIRROR_FILL__CHUNK_RECORDS="1000") as running:
        yield running


async def spent(lab):
    """Have a fill of many records begin, and use up the hour."""
    answer = await lab.request(
        "POST",
        "/api/fill",
        data=json.dumps({"ds": MANY}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.code == 202, answer.body
    await waiting(lab)


async def waiting(lab):
    """Return once nothing comes any more: a fill has two pieces on their way, and both wait for the budget."""
    await until(lambda: lab.running.budget.waiting >= 2)


def held(lab):
    """How many slots of it are held completely."""
    index = lab.running.search._index
    found = index.series("hmi.V_45s")
    spans = [span for _, spans in index.coverage(found[0]) for span in spans.within(14726400, 14726400 + ALL - 1)]
    return sum(min(span.hi, 14726400 + ALL - 1) - max(span.lo, 14726400) + 1 for span in spans)


def next_hour(lab):
    lab.clock.forward(hours=1, minutes=2)
    lab.running.budget.look()


async def test_a_fill_stops_at_the_limit_and_goes_on_in_the_next_hour(lab):
    await spent(lab)
    first = await lab.fetched()
    assert 0 < first <= HOURLY
    for _ in range(3):  # nothing comes as long as the hour does not move on
        lab.running.budget.look()
        await turns()
    assert await lab.fetched() == first
    next_hour(lab)
    await until(lambda: held(lab) > first)
    await until(lambda: held(lab) == ALL or next_hour(lab))
    assert await lab.fetched() == ALL


async def test_small_questions_pass_inside_and_outside_of_what_waits(lab):
    await spent(lab)
    for ds in (
        ELSEWHERE,
        "hmi.V_45s[2014.01.01_04:40_TAI/5m]",
        "hmi.M_720s[2014.01.01_TAI/1h]",
        "hmi.V_45s[$]",
    ):
        async with asyncio.timeout(PATIENCE):
            assert await lab.recnums(ds) == await lab.upstream(ds)
    assert lab.running.budget.hold() is not None


async def test_a_large_question_of_a_person_is_refused_with_what_to_do(lab, monkeypatch):
    monkeypatch.setattr(budgets, "SMALL_RECORDS", 300)
    await spent(lab)
    before = await lab.fetched()
    answer = await lab.ask("hmi.V_45s[2015.01.01_TAI/3d]")
    assert answer.json["status"] != 0
    assert "the budget for JSOC is used up" in answer.json["error"]
    assert "more is available from" in answer.json["error"]
    assert await lab.fetched() - before <= 300 + 3 * 1000 < 3 * 1920, (
        "what was asked side by side, and no more"
    )
    api = await lab.get("/api/search", {"ds": "hmi.V_45s[2015.02.01_TAI/3d]", "key": "T_REC"})
    assert api.code == 503


async def test_what_was_checked_long_ago_is_answered_although_no_check_may_be_made(lab, monkeypatch):
    ds = "hmi.V_45s[2014.02.01_TAI/30m]"
    answer = await lab.recnums(ds)
    lab.clock.forward(days=200)
    monkeypatch.setattr(budgets, "SMALL_RECORDS", 0)
    lab.running.budget.count(1000, 0, Claim(SUBSCRIPTION))
    told = await lab.ask(ds)
    assert (told.plan, told.json["keywords"][0]["values"]) == ("stale", answer)


async def test_an_edit_of_the_configuration_lets_it_go(lab):
    await spent(lab)
    lab.config.write_text(CONFIG.format('"none"'))
    await lab.running.watch.reload()
    await until(lambda: held(lab) == ALL)
    status = (await lab.get("/api/status")).json
    assert status["upstream"]["budget"]["records"]["limit"] is None
    assert status["config"]["waiting_for_restart"] == []


async def test_status_and_metrics_show_what_is_used_and_until_when(lab):
    await spent(lab)
    fetched = await lab.fetched()
    told = (await lab.get("/api/status")).json["upstream"]["budget"]
    assert told["records"] == {"used": told["records"]["used"], "limit": HOURLY, "seconds": 3600}
    assert fetched <= told["records"]["used"] <= fetched + 10  # the first and the last record count too
    assert told["bytes"]["limit"] == 10**12
    assert told["bytes"]["used"] > 0
    assert told["waiting"] >= 1
    assert told["until"].startswith("2023-11-14T23:1")
    lines = (await lab.get("/metrics")).body.decode().splitlines()
    assert f'mirror_upstream_budget_used{{kind="records"}} {told["records"]["used"]}.0' in lines
    assert 'mirror_upstream_budget_limit{kind="records"} 200.0' in lines
    [seconds] = [line for line in lines if line.startswith("mirror_upstream_budget_wait_seconds")]
    assert 3500 < float(seconds.split()[1]) <= 3660


async def test_what_was_used_counts_after_a_restart(lab):
    await spent(lab)
    budget = lab.running.budget
    await lab.stop()  # an answer that is on its way counts too
    used = budget.used()
    await lab.start()
    now = lab.running.budget.used()
    assert now.records == used.records > 0
    assert used.bytes <= now.bytes < used.bytes + 1000  # a fill that goes on may have counted already
    lab.clock.forward(hours=2)
    assert lab.running.budget.used().records == 0


async def test_a_mirror_stops_at_once_while_something_waits(lab):
    await spent(lab)
    async with asyncio.timeout(PATIENCE):
        await lab.stop()


async def test_a_subscription_rests_and_goes_on(tmp_path):
    settings = {"MIRROR_UPSTREAM__RECORDS_PER_HOUR": "1000"}
    wish = Subscription(
        "hmi.V_45s",
        parse_moment("2014.01.01_TAI"),
        parse_moment("2014.01.01_12:00_TAI"),
        name="half",
        every=60.0,
    )
    async with plain_lab(tmp_path, synthetic(), **settings) as lab:
        sync = lab.running.sync
        lab.running.budget.count(1000, 0, Claim(SUBSCRIPTION))
        await sync.reconcile([wish])
        await sync.once()
        await sync.finished()
        [report] = await sync.report()
        assert (report.state, report.records) == ("waiting", 0)
        assert "budget for JSOC is used up" in report.why
        assert "more is available from" in report.why
        assert await lab.fetched() == 0
        for _ in range(3):
            lab.clock.forward(hours=1, minutes=2)
            await sync.once()
            await sync.finished()
        [report] = await sync.report()
        assert (report.state, report.records) == ("current", 961)


# ---- files ---------------------------------------------------------------------------------------------

SHARPS = "hmi.sharp_cea_720s[][2014.01.01_TAI/1h]{bitmap}"
ONE = "hmi.sharp_cea_720s[3563][2014.01.01_TAI/12m]{bitmap}"


@pytest_asyncio.fixture
async def files(tmp_path, monkeypatch):
    """A mirror whose day of bytes is used up; a question may still take some files."""
    monkeypatch.setattr(budgets, "SMALL_BYTES", 60_000)
    async with file_lab(tmp_path, MIRROR_UPSTREAM__BYTES_PER_DAY="200KB") as running:
        running.running.budget.count(0, 200_000, Claim(SUBSCRIPTION))
        yield running


async def test_a_small_export_and_a_file_by_its_path_pass(files):
    done = await files.exported(ONE)
    assert done["count"] == "1"
    [path] = [e["params"]["path"] for e in await files.downloads()]
    other = path.replace("bitmap", "magnetogram")
    assert (await files.get(other)).code == 200


async def test_a_large_export_waits_until_there_is_more_and_goes_on(files):
    accepted = await files.export(SHARPS)
    assert accepted["status"] == 2
    await files.working()
    job = (await files.get(f"/api/jobs/{accepted['requestid']}")).json
    assert "the budget for JSOC is used up" in job["waits"]["why"]
    assert job["waits"]["next_try"] > "2023-11-15T22"
    assert 0 < job["ready"] < job["total"]
    for _ in range(3):  # more than a day's bytes
        files.clock.forward(days=1, hours=2)
        await files.later()
    done = await files.ended(accepted["requestid"])
    assert done["status"] == "0"


async def test_waiting_for_the_budget_never_makes_an_export_fail(files):
    accepted = (await files.export(SHARPS))["requestid"]
    for _ in range(10):
        await files.working()
        assert (await files.get(f"/api/jobs/{accepted}")).json["state"] != "failed"
        files.clock.forward(days=2)
        files.running.budget.count(0, 10**9, Claim(SUBSCRIPTION))
        await files.later()
    await files.working()
    job = (await files.get(f"/api/jobs/{accepted}")).json
    assert job["state"] != "failed"


async def test_downloads_of_a_subscription_wait(files):
    wish = Subscription(
        "hmi.sharp_cea_720s", parse_moment("2014.01.01_TAI"), parse_moment("2014.01.01_01:00:00_TAI"),
        name="bitmaps", segments=("bitmap",),
    )  # fmt: skip
    sync = files.running.sync
    await sync.reconcile([wish])
    await sync.once()
    await sync.finished()
    [report] = await sync.report()
    assert (report.state, report.files) == ("waiting", 0)
    assert await files.downloads() == []
    for _ in range(4):  # more than a day's bytes
        files.clock.forward(hours=25)
        await sync.once()
        finished = asyncio.ensure_future(sync.finished())
        while not finished.done():  # it may have to wait for the budget more than once
            await until(lambda task=finished: task.done() or files.running.budget.waiting)
            files.clock.forward(hours=25)
            files.running.budget.look()
            await until(lambda task=finished: task.done() or not files.running.budget.waiting)
        await finished
    [report] = await sync.report()
    assert (report.state, report.files) == ("current", 17)


async def test_what_a_client_gets_from_jsoc_past_the_mirror_counts(files):
    used = files.running.budget.used().bytes
    answer = await files.get("/some/page.html")
    assert answer.code in (200, 404)
    assert files.running.budget.used().bytes >= used + len(answer.body)


# ---- configuration -------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["records_per_hour = 0", "records_per_hour = -5", 'records_per_hour = "many"',
                                  "bytes_per_day = 0", 'bytes_per_day = "1 parsec"'])  # fmt: skip
def test_a_limit_that_cannot_be_is_refused(tmp_path, line):
    file = tmp_path / "config.toml"
    file.write_text(f"[upstream]\n{line}\n")
    with pytest.raises(ConfigError, match="none"):
        load_config(file, {})


def test_limits_may_be_left_out_or_taken_away(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[upstream]\nrecords_per_hour = "none"\nbytes_per_day = "50GB"\n')
    upstream = load_config(file, {}).upstream
    assert (upstream.records_per_hour, upstream.bytes_per_day) == (None, 50_000_000_000)
    usual = load_config(None, {}).upstream
    assert (usual.records_per_hour, usual.bytes_per_day) == (5_000_000, 10**12)
