"""Estimates against what the simulator has: how much, without fetching any of it."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
import pytest_asyncio

from mirror.drms.series import Segment
from mirror.services.estimates import (
    MOST_SETS,
    Estimate,
    duration,
    from_rows,
    from_sample,
    from_structure,
)
from mirror.upstream.client import Exchange
from mirror.upstream.pacing import RECORDS_PER_SECOND, Rates
from mirror.wire.rs_list import RsList, SegmentColumn
from tests.filelab import file_lab, synthetic
from tests.processes import run, serve, simulate
from tests.recorded import WORLD

HOUR = "hmi.V_45s[2014.01.01_TAI/1h]"
#: Record sets of the made-up series, each with the segments of a record.
SETS = [
    (HOUR, 1),
    ("hmi.B_720s[2014.01.01_TAI/3h]", None),
    ("hmi.sharp_720s[500-510][2011.04.01_TAI/10d]", None),
    ("hmi.sharp_cea_720s[][2014.01.01_TAI/24m]", None),
    ("aia.lev1_euv_12s[2014.01.01/10m][171]", 2),
    ("aia.lev1_euv_12s[2014.01.01/3m]", 2),
    ("hmi.M_720s[:#1000-#1999]", 1),
]


@pytest_asyncio.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path, synthetic()) as made:
        yield made


@pytest_asyncio.fixture
async def small(tmp_path):
    """The recorded world, whose files are small."""
    async with file_lab(tmp_path) as made:
        yield made


async def estimate(lab, ds, **more):
    answer = await lab.get("/api/estimate", {"ds": ds, **more})
    assert answer.code == 200, answer.body
    return answer.json


async def nothing_was_fetched(lab):
    """Counts, structures and samples of a few records are all that JSOC was asked for."""
    lists = [
        e for e in await lab.log(op="rs_list") if e["params"].get("key") != "*recnum*"
    ]  # of the test itself
    large = [e for e in lists if e["records"] > 4]
    assert large == []
    assert await lab.log(program="file") == []
    assert await lab.log(program="jsoc_fetch") == []


# ---- against the truth ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ds, segments", SETS)
async def test_records_and_files_are_those_that_jsoc_has(lab, ds, segments):
    told = await estimate(lab, ds, seg="ALL")
    counted = (await lab.get("/cgi-bin/ajax/jsoc_info", {"op": "rs_summary", "ds": ds})).json["count"]
    assert counted > 0
    series = lab.running.status._index.series(ds.partition("[")[0])[0]
    each = len(series.segments)
    assert segments in (None, each)
    assert (told["records"], told["total_records"]) == (counted, counted)
    assert (told["files"], told["total_files"]) == (counted * each, counted * each)
    assert told["bytes"] > 0
    assert told["seconds"] > 0
    assert told["counted"] is True
    await nothing_was_fetched(lab)


async def test_one_count_a_record_set_is_all_that_jsoc_is_asked(lab):
    await estimate(lab, HOUR)
    assert [e["params"]["op"] for e in await lab.log()] == ["series_struct", "rs_summary"]
    for _ in range(20):  # somebody looks at a page again and again
        await estimate(lab, HOUR)
    assert len(await lab.log()) == 2
    lab.clock.forward(minutes=6)
    await estimate(lab, HOUR)
    assert len(await lab.log()) == 3


async def test_many_who_ask_at_once_ask_jsoc_once(lab):
    await asyncio.gather(*(estimate(lab, HOUR) for _ in range(10)))
    assert len(await lab.log(op="rs_summary")) == 1


async def test_of_a_range_that_is_partly_held_the_rest_is_missing(lab):
    first, part = await lab.upstream(HOUR), "hmi.V_45s[2014.01.01_00:15:00_TAI/20m]"
    await lab.ask(part)
    held = len(await lab.upstream(part))
    told = await estimate(lab, HOUR)
    assert (told["records"], told["total_records"]) == (len(first) - held, len(first))
    await lab.ask(HOUR)
    before = len(await lab.log())
    told = await estimate(lab, HOUR)
    assert (told["records"], told["total_records"], told["seconds"]) == (0, len(first), 0.0)
    assert told["text"].startswith("nothing to fetch")
    assert len(await lab.log()) == before, "what is held is counted here"


async def test_records_that_are_held_but_not_vouched_for_are_missing(lab):
    [first, *rest] = await lab.upstream(HOUR)
    await lab.ask(f"hmi.V_45s[:#{first}]")
    told = await estimate(lab, HOUR)
    assert told["records"] == len(rest) + 1


async def test_a_condition_narrows_the_files_and_not_what_a_fill_fetches(lab):
    ds, condition = "hmi.sharp_720s[][2014.01.01_TAI/2h]", "[? QUALITY >= 0 AND NPIX > 20000 ?]"
    matching = len(await lab.upstream(ds + condition))
    whole = len(await lab.upstream(ds))
    assert 0 < matching < whole
    told = await estimate(lab, f"{ds}{condition}{{bitmap,magnetogram}}")
    assert told["total_records"] == whole
    assert (told["files"], told["total_files"]) == (2 * matching, 2 * matching)
    await nothing_was_fetched(lab)


async def test_an_export_is_of_all_segments_and_of_records_that_have_an_image(lab):
    ds = "hmi.M_720s[2014.01.01_TAI/60d]"
    images = len(await lab.upstream(f"{ds}[? quality >= 0 ?]"))
    assert images < len(await lab.upstream(ds))
    told = await estimate(lab, ds, export="1")
    assert (told["files"], told["total_files"]) == (images, images)
    assert (await estimate(lab, ds))["total_files"] == 0, "a record set without segments is of keywords only"


@pytest.mark.parametrize("n", [5, -5, 100_000])
async def test_n_limits_what_there_is(lab, n):
    whole = len(await lab.upstream(HOUR))
    told = await estimate(lab, HOUR, n=str(n), seg="ALL")
    expected = min(abs(n), whole)
    assert (told["records"], told["files"]) == (expected, expected)


async def test_first_and_last_are_found_out_first(lab):
    told = await estimate(lab, "hmi.sharp_720s[][$]", export="1")
    assert told["total_records"] == len(await lab.upstream("hmi.sharp_720s[][$][? quality >= 0 ?]"))


async def test_several_record_sets_are_added_up(lab):
    both = f"{HOUR},hmi.M_720s[2014.01.01_TAI/1h]"
    told = await estimate(lab, both)
    assert told["total_records"] == 80 + 5
    many = ",".join([HOUR] * (MOST_SETS + 1))
    answer = await lab.get("/api/estimate", {"ds": many})
    assert (answer.code, "too many for an estimate" in answer.json["error"]) == (400, True)


async def test_a_large_set_costs_no_more_to_tell_than_a_small_one(lab):
    told = await estimate(lab, "hmi.V_45s", export="1")
    assert told["records"] == told["files"] > 10_000_000
    assert any("without an image" in note for note in told["notes"])
    assert len(await lab.log()) <= 4
    await nothing_was_fetched(lab)


async def test_held_files_tell_the_size_of_those_that_are_missing(small):
    ds = "hmi.sharp_cea_720s[][2014.01.01_TAI/1h]{bitmap}"
    before = await estimate(small, ds)
    done = await small.exported("hmi.sharp_cea_720s[3536][2014.01.01_TAI/1h]{bitmap}")
    after = await estimate(small, ds)
    assert after["files"] == before["files"] - int(done["count"])
    assert (after["bytes"], after["size_from"]) == (17280 * after["files"], "held")
    assert after["held_bytes"] == 17280 * int(done["count"])


async def test_wrong_questions_are_told(lab):
    for ds, code in (("", 400), ("no.such_series", 404), ("hmi.V_45s[", 400), (HOUR + "{nope}", 404)):
        assert (await lab.get("/api/estimate", {"ds": ds})).code == code, ds
    twice = await lab.get("/api/estimate", {"ds": HOUR + "{Dopplergram}", "seg": "Dopplergram"})
    assert (twice.code, "twice" in twice.json["error"]) == (400, True)


# ---- when nobody can tell ------------------------------------------------------------------------------


async def test_while_jsoc_is_away_the_estimate_says_so(lab):
    await lab.ask("hmi.V_45s[2014.01.01_TAI/30m]")
    await lab.faults({"fault": "refuse"})
    told = await estimate(lab, HOUR, seg="ALL")
    assert told["counted"] is False
    assert (told["records"], told["total_records"]) == (40, 80), "as dense as what is held"
    assert any("could not be counted at JSOC" in note for note in told["notes"])
    assert "about 40 of 80 records" in told["text"]
    unknown = await estimate(lab, "hmi.V_45s[2015.01.01_TAI/1d]", seg="ALL")
    assert (unknown["records"], unknown["files"], unknown["bytes"], unknown["seconds"]) == (None,) * 4
    assert any("is not known" in note for note in unknown["notes"])
    assert "not known" in unknown["text"]


async def test_while_the_mirror_is_offline_the_estimate_says_so_and_asks_nothing(lab):
    await lab.ask("hmi.V_45s[2014.01.01_TAI/30m]")
    lab.running.rules.policy = "offline"
    before = len(await lab.log())
    told = await estimate(lab, HOUR)
    assert told["records"] == 40
    assert any("offline" in note for note in told["notes"])
    assert len(await lab.log()) == before


async def test_a_size_that_nothing_tells_is_not_made_up(lab):
    ds = "hmi.v_sht_modes[2010.04.30_TAI-2011.04.30_TAI]{m6}"
    series = await lab.running.search.structure(ds)
    assert from_structure(series, ["m6"]) is None
    assert from_rows(series, [], ["m6"]) is None
    silent = RsList(
        2, keywords=(("*size*", ("NA", "0")),), segments=(SegmentColumn("m6", ("a", "b"), ("", "")),)
    )
    assert from_sample(series, silent, ["m6"]) is None
    unknown = Estimate(3, 3, None, 15.0, 3, 3)
    assert str(unknown) == "to fetch: 3 records, 3 files, of unknown size; about 15 s"


async def test_an_image_without_a_size_has_at_most_its_pixels(lab):
    told = await estimate(lab, "aia.lev1_euv_12s[2014.01.01/1m][171]{image}")
    assert (told["bytes"], told["size_from"]) == (5 * 4096 * 4096 * 4, "structure")
    assert "at most" in told["text"]
    series = await lab.running.search.structure("hmi.V_45s")
    assert series.segments[0] == Segment(
        "Dopplergram", "short", "m/s", "fits", "4096x4096", series.segments[0].note
    )
    assert from_structure(series, ["Dopplergram"]).size == 4096 * 4096 * 2


# ---- time ----------------------------------------------------------------------------------------------


def test_the_time_is_that_of_the_rates_that_were_measured():
    rates = Rates()
    assert rates.for_records(1000) == 1000 / RECORDS_PER_SECOND
    assert rates.measured == (False, False)
    for _ in range(20):
        rates.count_exchange(Exchange("jsoc_info", "ok", "hmi.v_45s", 10_000, 1_000_000, 2.0))
        rates.count_exchange(Exchange("file", "ok", bytes=20_000_000, seconds=4.0))
        rates.count_exchange(Exchange("jsoc_info", "ok", "hmi.v_45s", 1, 100, 9.0))  # tells nothing
        rates.count_exchange(Exchange("file", "broken", bytes=5, seconds=100.0))
    assert rates.for_records(50_000) == pytest.approx(10.0)
    assert rates.for_files(10, 100_000_000) == pytest.approx(20.0)
    assert rates.for_files(10, None) == pytest.approx(40.0)


@pytest.mark.parametrize(
    "seconds, words", [(0, "1 s"), (59.6, "1 min"), (3700, "1 h 1 min"), (200_000, "2 d 7 h")]
)
def test_lengths_of_time_in_words(seconds, words):
    assert duration(seconds) == words


async def test_the_budget_is_part_of_the_time(tmp_path):
    async with file_lab(tmp_path, synthetic(), MIRROR_UPSTREAM__RECORDS_PER_HOUR="1000") as lab:
        told = await estimate(lab, "hmi.V_45s[2014.01.01_TAI/10d]")
        assert told["records"] == 19_200
        assert told["seconds"] == pytest.approx((19_200 - 1000) / 1000 * 3600)
        assert any("the budget spreads it over 18 h" in note for note in told["notes"])


# ---- subscriptions -------------------------------------------------------------------------------------

WISH = {"series": "hmi.sharp_720s", "start": "2014.01.01_TAI", "end": "2014.01.01_02:00_TAI"}


async def of_subscription(lab, **wish):
    return await lab.request(
        "POST", "/api/subscriptions/estimate", data=json.dumps({**WISH, **wish}),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip


async def test_a_subscription_is_estimated_before_it_is_written(lab):
    told = (await of_subscription(lab, segments=["bitmap"], where="NPIX > 20000")).json
    window = "hmi.sharp_720s[][2014.01.01_TAI-2014.01.01_02:00_TAI]"
    assert told["records"] == len(await lab.upstream(window))
    assert told["files"] == len(await lab.upstream(f"{window}[? NPIX > 20000 ?]"))
    assert 0 < told["files"] < told["records"]
    await nothing_was_fetched(lab)
    assert (await lab.get("/api/subscriptions")).json == []


async def test_what_is_wrong_with_a_subscription_is_told_by_its_fields(lab):
    answer = await of_subscription(lab, segments=["nope"], every="sometimes")
    assert answer.code == 400
    assert set(answer.json["fields"]) == {"segments", "every"}
    assert (await of_subscription(lab, start="2050.01.01_TAI", end="now")).json["records"] == 0


# ---- the commands --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A simulator of the recorded world, and a mirror with a configuration in front of it."""
    folder = tmp_path_factory.mktemp("estimates")
    config = folder / "config.toml"
    config.write_text("")
    with simulate(WORLD) as jsoc, serve(jsoc.url, folder / "store", MIRROR_CONFIG=str(config)) as running:
        yield running, config


DS = "hmi.sharp_cea_720s[][2014.01.01_TAI/1h]"


@pytest.mark.parametrize("command", ["export", "fetch"])
def test_a_dry_run_only_tells(mirror, command):
    running, _ = mirror
    done = run("-m", "mirror", command, DS, "--seg", "bitmap", "--dry-run", MIRROR_URL=running.url)
    assert done.returncode == 0, done.stderr
    assert re.match(r"to fetch: 14 records, 14 files, at most [\d.]+ .B; about \d+ s\n", done.stdout)
    told = run("-m", "mirror", command, DS, "--seg", "bitmap", "--dry-run", "--json", MIRROR_URL=running.url)
    assert (json.loads(told.stdout)["records"], json.loads(told.stdout)["files"]) == (14, 14)
    jobs = run("-m", "mirror", "jobs", "--json", MIRROR_URL=running.url)
    assert json.loads(jobs.stdout) == []


def test_a_subscription_is_told_before_it_is_written(mirror):
    running, config = mirror
    arguments = ("-m", "mirror", "subscribe", "hmi.sharp_cea_720s", "--segments", "bitmap",
                 "--start", "2014.01.01_TAI", "--end", "2014.01.01_00:10_TAI")  # fmt: skip
    done = run(*arguments, "--dry-run", MIRROR_URL=running.url)
    assert (done.returncode, done.stdout[:9]) == (0, "to fetch:"), done.stderr
    assert config.read_text() == ""
    written = run(*arguments, MIRROR_URL=running.url)
    assert written.returncode == 0, written.stderr
    lines = written.stderr.splitlines()
    told = next(i for i, line in enumerate(lines) if line.startswith("to fetch:"))
    assert "added subscription" in lines[told + 1]
    assert "[[subscription]]" in config.read_text()


def test_an_export_tells_what_it_is_about_to_fetch(mirror, tmp_path):
    running, _ = mirror
    ds = "hmi.sharp_cea_720s[3536][2014.01.01_TAI/24m]{bitmap}"
    done = run("-m", "mirror", "fetch", ds, "--to", str(tmp_path), MIRROR_URL=running.url)
    assert done.returncode == 0, done.stderr
    assert "to fetch:" in done.stderr
    again = run("-m", "mirror", "export", ds, MIRROR_URL=running.url)
    assert (again.returncode, "to fetch:" in again.stderr) == (0, False), "all of it is held"
