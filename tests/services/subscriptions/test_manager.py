"""Subscriptions at work, in front of a simulator: what they fetch, in which order, and what stops them."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.loading import Subscription
from mirror.config.readers import budget, hours
from mirror.config.schedule import parse_moment
from mirror.errors import BadRequest
from mirror.services.subscriptions.manager import reconcile
from tests.filelab import file_lab
from tests.lab import world

SERIES = "hmi.sharp_cea_720s"
#: Up to 01:00, in slots of 12 minutes, 17 records of three regions, 5 of them of one; a bitmap has 17,280 bytes.
RECORDS, REGION, SIZE = 17, 5, 17280
BITMAPS = Subscription(
    SERIES,
    parse_moment("2014.01.01_TAI"),
    parse_moment("2014.01.01_01:00:00_TAI"),
    name="bitmaps",
    segments=("bitmap",),
)
ONE = replace(BITMAPS, keys=(("HARPNUM", "3536"),))
KEYWORDS = replace(BITMAPS, segments=())


def unix(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest_asyncio.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


async def passed(lab, *wishes):
    """Let these subscriptions work until they rest; the report of each."""
    sync = lab.running.sync
    await sync.reconcile(wishes)
    await sync.once()
    await sync.finished()
    return await sync.report()


async def one_pass(lab, wish):
    [report] = await passed(lab, wish)
    return report


async def paths(lab):
    return [e["params"]["path"] for e in await lab.downloads()]


# ---- what is fetched -----------------------------------------------------------------------------


@pytest.mark.parametrize("wanted, made", [(False, 0), (True, 2 * REGION)])
async def test_pictures_of_new_files_are_made_ahead_where_that_is_wanted(lab, wanted, made):
    report = await one_pass(lab, replace(ONE, pictures=wanted))
    await lab.running.browsing.ahead.finished()
    assert (report.files, len(list((lab.path / "pictures").glob("*/*.png")))) == (REGION, made)
    await one_pass(lab, replace(ONE, pictures=wanted))
    assert not lab.running.browsing.ahead._waiting, "what was there before is not new"


async def test_each_record_and_file_of_the_window_is_fetched_once(lab):
    report = await one_pass(lab, BITMAPS)
    assert (report.state, report.records, report.files) == ("current", RECORDS, RECORDS)
    assert (report.records_wanted, report.files_wanted, report.bytes) == (
        RECORDS,
        RECORDS,
        RECORDS * SIZE,
    )
    assert await lab.fetched() == RECORDS
    fetched = await paths(lab)
    assert len(fetched) == len(set(fetched)) == RECORDS
    assert all(path.endswith("bitmap.fits") for path in fetched)
    asked = len(await lab.log())
    await one_pass(lab, BITMAPS)
    assert len(await lab.log()) == asked, "all is held, and nothing of it is due"


async def test_what_is_held_is_answered_without_asking(lab):
    await one_pass(lab, BITMAPS)
    answer = await lab.ask(f"{SERIES}[][2014.01.01_TAI-2014.01.01_01:00:00_TAI]")
    assert (answer.plan, answer.json["count"]) == ("local", RECORDS)


async def test_the_newest_files_come_first(lab):
    await one_pass(lab, ONE)
    answer = (await lab.ask(f"{SERIES}[3536][2014.01.01/72m]", seg="bitmap")).json
    in_order = answer["segments"][0]["values"]
    assert sorted(await paths(lab)) == sorted(in_order)
    # Two come at a time, so one may be overtaken by a few.
    places = [in_order.index(path) for path in await paths(lab)]
    assert all(
        abs(place - expected) <= 3 for place, expected in zip(places, range(REGION - 1, -1, -1), strict=True)
    )


async def test_records_are_fetched_newest_first_in_pieces(tmp_path):
    async with file_lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="16") as lab:
        report = await one_pass(lab, KEYWORDS)
        assert (report.records, report.files_wanted) == (RECORDS, 0)
        slots = [e["params"]["ds"] for e in await lab.log(op="rs_list")]
        assert len(slots) == 2
        assert slots == sorted(slots, reverse=True)


async def test_prime_keys_restrict_what_is_held(lab):
    assert (await one_pass(lab, ONE)).records == REGION
    assert await lab.fetched() == REGION


async def test_a_step_picks_one_record_each_so_long(lab):
    report = await one_pass(lab, replace(KEYWORDS, step=3600.0))
    assert report.records == await lab.fetched() == 6  # at 00:00 and 01:00


async def test_a_condition_chooses_files_and_not_records(lab):
    report = await one_pass(lab, replace(BITMAPS, where="HARPNUM = 3560 AND QUALITY >= 0"))
    assert report.records == RECORDS
    held = report.files
    assert held == 6
    assert report.files_wanted == held == len(await paths(lab))


async def test_fits_keeps_what_an_export_needs_that_nothing_is_asked_for_it(lab):
    report = await one_pass(lab, replace(ONE, protocol="fits", end=parse_moment("2014.01.01_00:30:00_TAI")))
    assert (report.state, report.files) == ("current", 3)
    asked = len(await lab.log())
    index = await lab.exported(f"{SERIES}[3536][2014.01.01/30m]{{bitmap}}", protocol="fits")
    assert len(index["data"]) == 2
    assert [e["program"] for e in (await lab.log())[asked:] if e["program"] != "checkAddress.sh"] == []


async def test_files_that_somebody_fetched_are_not_fetched_again(lab):
    answer = (await lab.ask(f"{SERIES}[3536][2014.01.01/72m]", seg="bitmap")).json
    for path in answer["segments"][0]["values"][:3]:
        assert (await lab.get(path)).code == 200
    assert (await one_pass(lab, ONE)).files == REGION
    assert len(await paths(lab)) == REGION


# ---- what stops it ----------------------------------------------------------------------------------


async def test_it_goes_on_where_a_failure_or_a_restart_stopped_it(lab):
    await lab.faults({"match": {"program": "file"}, "fault": "outage", "skip": 8})
    report = await one_pass(lab, BITMAPS)
    assert report.state == "failing"
    assert report.why
    came = report.files
    assert 6 <= came <= 8
    await lab.restart()
    await lab.faults()
    assert (await one_pass(lab, BITMAPS)).files == RECORDS
    good = [e["params"]["path"] for e in await lab.downloads() if e["status"] == 200]
    assert max(Counter(good).values()) == 1
    assert await lab.fetched() == RECORDS


async def test_a_file_that_is_gone_is_left_alone_for_a_day(lab):
    await lab.faults({"match": {"program": "file"}, "fault": "gone", "times": 1})
    report = await one_pass(lab, ONE)
    assert (report.state, report.files, report.files_absent) == ("current", REGION - 1, 1)
    assert report.files_wanted == REGION - 1
    asked = len(await lab.downloads())
    assert (await one_pass(lab, ONE)).files_absent == 1
    assert len(await lab.downloads()) == asked
    lab.clock.forward(days=1, seconds=1)
    assert (await one_pass(lab, ONE)).files == REGION


async def test_a_budget_holds_until_its_period_is_over(lab):
    wish = replace(ONE, budget=budget(f"{2 * SIZE + 1}/day"))
    report = await one_pass(lab, wish)
    assert (report.files, report.why) == (2, "budget used up until 2023-11-15T00:00:00Z")
    assert report.seconds_left is None, "the rate does not tell when there is more of the budget"
    assert report.records == REGION, "keywords are no files"
    assert report.budget.used == 2 * SIZE
    await lab.restart()
    assert (await one_pass(lab, wish)).files == 2, "a restart brings no new budget"
    lab.clock.forward(days=1)
    assert (await one_pass(lab, wish)).files == 4


async def test_subscriptions_leave_a_part_of_the_quota_to_people(tmp_path):
    async with file_lab(tmp_path, MIRROR_STORAGE__QUOTA=f"{4 * SIZE}") as lab:
        report = await one_pass(lab, ONE)
        assert (report.state, report.why) == ("waiting", "subscriptions use 80% of the quota")
        assert report.files == 4 == len(await lab.downloads())
        assert report.records == REGION


async def test_a_clock_that_was_set_back_does_not_keep_it_from_looking(lab):
    await one_pass(lab, ONE)
    await lab.restart()
    lab.clock.seconds = unix("2014-01-01T02:00")
    assert (await one_pass(lab, ONE)).last_look == "2014-01-01T02:00:00Z"


async def test_outside_its_hours_nothing_is_asked(lab):
    lab.clock.seconds = unix("2026-01-01T12:00")
    wish = replace(ONE, hours=hours("20:00-06:00 UTC"))
    report = await one_pass(lab, wish)
    assert (report.state, report.why) == ("waiting", "works 20:00-06:00 UTC")
    assert await lab.log() == []
    lab.clock.seconds = unix("2026-01-01T20:00")
    assert (await one_pass(lab, wish)).files == REGION


async def test_while_the_mirror_is_offline_it_waits(lab):
    lab.running.rules.policy = "offline"
    report = await one_pass(lab, ONE)
    assert (report.state, report.why) == ("waiting", "the mirror is offline")
    assert await lab.log() == []
    lab.running.rules.policy = "fallback"
    assert (await one_pass(lab, ONE)).files == REGION


@pytest.mark.parametrize(
    "wish, message",
    [
        (replace(BITMAPS, series="hmi.nothing"), "series 'hmi.nothing' not found"),
        (replace(BITMAPS, segments=("picture",)), "has no segment 'picture'; expected some of"),
        (replace(BITMAPS, keys=(("CAMERA", "1"),)), "'CAMERA' is .* of hmi.sharp_cea_720s"),
        (
            replace(BITMAPS, keys=(("T_REC", "2014"),)),
            "keys names T_REC; expected start, end and step for it",
        ),
        (replace(BITMAPS, where="NOTHING = 1"), "(?i)nothing"),
        (replace(BITMAPS, series="su_test.carr", segments=()), "has no prime key that is a time"),
    ],
)
async def test_what_only_the_series_can_tell_is_told_in_the_status(lab, wish, message):
    report = await one_pass(lab, wish)
    assert report.state == "failing"
    assert re.search(message, report.problem), report.problem


# ---- what is kept -----------------------------------------------------------------------------------


def lasting(**more):
    """The last two hours, whose end goes with the clock."""
    return replace(ONE, start=parse_moment("-2h"), end=parse_moment("now"), every=60.0, **more)


@pytest.mark.parametrize(
    "wish, wanted, in_store",
    [
        (lasting(keep=math.inf), 11, 11),
        (lasting(keep=None), 11, 16),
        (replace(lasting(keep=3600.0), start=parse_moment("-1d")), 6, 6),
    ],
    ids=["window", "forever", "one hour"],
)
async def test_files_that_fell_out_of_the_window_go_if_that_is_wanted(lab, wish, wanted, in_store):
    lab.clock.seconds = unix("2014-01-01T02:47:30")  # 02:48:05 TAI
    assert (await one_pass(lab, wish)).files == wanted
    lab.clock.forward(hours=1)
    assert (await one_pass(lab, wish)).files == wanted
    assert lab.running.blobs.usage().held == in_store * SIZE
    [pins] = (await lab.get("/api/pins")).json
    assert (pins["owner"], pins["files"]) == ("subscription:bitmaps", wanted)
    await passed(lab)
    assert (await lab.get("/api/pins")).json == []


async def test_what_a_person_pinned_stays(lab):
    lab.clock.seconds = unix("2014-01-01T02:47:30")
    wish = lasting(keep=math.inf)
    await one_pass(lab, wish)
    body = {"ds": f"{SERIES}[3536][2014.01.01_01:00:00_TAI]", "seg": "bitmap", "owner": "ada"}
    assert (await lab.request("POST", "/api/pins", json=body)).json["pinned"] == 1
    lab.clock.forward(days=2)
    assert (await one_pass(lab, wish)).files == 0
    assert lab.running.blobs.usage().held == SIZE


async def test_new_data_are_found_at_the_next_look(lab):
    lab.clock.seconds = unix("2014-01-01T02:00")
    wish = replace(lasting(), start=parse_moment("-1d"))
    before = await one_pass(lab, wish)
    lab.clock.forward(minutes=12)
    after = await one_pass(lab, wish)
    assert (after.records, after.files) == (before.records + 1, before.files + 1)
    assert await lab.fetched() == after.records


# ---- many of them --------------------------------------------------------------------------------


async def test_two_subscriptions_of_the_same_data_share_it(lab):
    reports = await passed(lab, ONE, replace(BITMAPS, name="all"))
    assert [r.files for r in reports] == [REGION, RECORDS]
    fetched = await paths(lab)
    assert len(fetched) == len(set(fetched)) == RECORDS
    assert await lab.fetched() <= RECORDS + REGION


async def test_an_unknown_name_is_an_error_that_names_those_there_are(lab):
    await passed(lab, ONE)
    with pytest.raises(BadRequest, match="no subscription 'other'; expected one of: bitmaps"):
        await lab.running.sync.once("other")
    answer = await lab.request("POST", "/api/sync", json={"name": "other"})
    assert (answer.code, "bitmaps" in answer.json["error"]) == (400, True)


async def test_the_api_tells_how_they_do(lab):
    await passed(lab, ONE)
    [report] = (await lab.get("/api/subscriptions")).json
    assert (report["name"], report["files"], report["state"]) == ("bitmaps", REGION, "current")
    assert (await lab.get("/api/status")).json["subscriptions"] == [report]
    metrics = (await lab.get("/metrics")).body.decode()
    assert f'mirror_subscription_files{{name="bitmaps"}} {REGION}.0\n' in metrics
    assert 'mirror_subscription_failing{name="bitmaps"} 0.0\n' in metrics


wishes = st.lists(
    st.builds(
        lambda name, every: replace(ONE, name=name, every=every),
        st.sampled_from("abcd"),
        st.sampled_from([60.0, 3600.0]),
    ),
    unique_by=lambda wish: wish.name,
)


@given(wishes, wishes)
def test_reconciling_leads_from_any_set_of_wishes_to_any_other(before, after):
    current = {wish.identity: wish for wish in before}
    changes = reconcile(current, after)
    for name in changes.stop:
        del current[name]
    assert not {w.identity for w in changes.start} & current.keys()
    assert {w.identity for w in changes.change} <= current.keys()
    current |= {w.identity: w for w in (*changes.start, *changes.change)}
    assert current == {wish.identity: wish for wish in after}
    assert reconcile(current, after) == reconcile({}, ())


def test_the_recorded_world_has_what_these_tests_count_on():
    assert SERIES in {data.structure.name for data in world()}


class Changing:
    """A series without the records numbered ``hidden``."""

    def __init__(self, data):
        self._data = data
        self.structure = data.structure
        self.unit = data.unit
        self.hidden = set()

    def candidates(self, selection, n=None):
        rows = self._data.candidates(selection, None)
        return rows.take(np.nonzero(~np.isin(rows.stored("recnum").values, list(self.hidden)))[0])

    def count(self, selection):
        return None


async def test_of_what_changed_upstream_just_that_is_fetched_with_its_files(tmp_path):
    archive = [Changing(data) for data in world()]
    async with file_lab(tmp_path, archive) as lab:
        for series in archive:
            series.hidden = {45}  # which replaces 44
        assert (await one_pass(lab, BITMAPS)).files == RECORDS
        for series in archive:
            series.hidden = {23}
        lab.clock.forward(days=100)
        report = await one_pass(lab, BITMAPS)
        assert (report.records, report.files) == (RECORDS - 1, RECORDS - 1)
        assert await lab.fetched() == RECORDS + 1
        assert len(await lab.downloads()) == RECORDS + 1
        [pins] = (await lab.get("/api/pins")).json
        assert pins["files"] == RECORDS - 1, "what is not there any more is not held back"
