"""Fills: begun by whoever says so, cut into chunks, shared chunk by chunk, listed, cancelled, continued."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace

import pytest

from mirror.errors import StorageError, UpstreamRefused
from tests.hostile.test_proportion import watched
from tests.lab import lab, recnums
from tests.waiting import PATIENCE, until

JSON = {"Content-Type": "application/json"}
DAY = "hmi.v_45s[2014.01.01_TAI/6h]"
SMALL = {"MIRROR_FILL__CHUNK_RECORDS": "100"}


async def begin(mirror, ds, **more):
    return await mirror.request("POST", "/api/fill", data=json.dumps({"ds": ds, **more}), headers=JSON)


async def ended(mirror, begun):
    assert begun.code == 202, begun.body
    async with asyncio.timeout(PATIENCE):
        return await mirror.running.fills.ended(begun.json["id"])


def held_up(mirror, ds):
    """Requests for records that contain this text wait until the event is set; what was asked, in order."""
    upstream, go, asked = mirror.running.upstream, asyncio.Event(), []
    ask = upstream.rs_list

    async def rs_list(request, priority=0):
        asked.append(request.ds)
        if ds(request.ds):
            await go.wait()
        return await ask(request, priority)

    upstream.rs_list = rs_list
    return go, asked


@pytest.mark.parametrize(
    "ds",
    [DAY, "hmi.v_45s[]", "hmi.v_45s", "aia.lev1_euv_12s[][171]", "hmi.sharp_720s[3563]", "hmi.sharp_720s[3560-3570]", "hmi.v_sht_modes[]",
     "su_test.zoo", "su_test.nokeyidx[]", "hmi.v_45s[:#1-#500]", "hmi.v_45s[1977.01.01-2030.01.01]",
     "hmi.v_45s[2014.01.01_TAI/2h],hmi.M_720s[2014.01.01_TAI/6h]", "hmi.v_45s[2014.01.01_TAI/6h@90s]", "hmi.v_45s[$]"],
)  # fmt: skip
async def test_a_fill_fetches_each_record_once_and_no_more_than_a_chunk_at_a_time(tmp_path, ds):
    with watched() as asked:
        async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="500") as mirror:
            expected = await mirror.upstream(ds)
            asked.clear()
            job = await ended(mirror, await begin(mirror, ds))
            assert (job.state, job.error) == ("done", None)
            chunks = [e.records for e in asked if e.params.get("op") == "rs_list" and "R" in e.params]
            assert max(chunks) <= 500
            assert sum(chunks) == job.records == len(set(expected))
            await mirror.faults({"fault": "outage"})
            assert await mirror.recnums(ds) == expected


async def test_a_large_series_without_an_axis_is_refused_with_a_reason(tmp_path):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="2") as mirror:
        answer = await begin(mirror, "su_test.noprime")
        assert answer.code == 403
        assert "no prime key along which" in answer.json["error"]
        assert "expected a series of at most 2" in answer.json["error"]
        assert mirror.running.fills.list() == ()
        answer = await mirror.ask("su_test.noprime")
        assert (answer.plan, recnums(answer)) == ("forwarded", await mirror.upstream("su_test.noprime"))


@pytest.mark.parametrize("ds", ["su_test.noprime", DAY])
async def test_the_same_fill_begun_at_one_time_runs_once_and_a_full_disk_does_not_end_it(tmp_path, monkeypatch, ds):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="500") as mirror:

        async def full(_):
            raise StorageError("the disk is full")

        monkeypatch.setattr(mirror.running.fills._tables, "write", full)
        one, other = await asyncio.gather(begin(mirror, ds), begin(mirror, ds))
        job = await ended(mirror, one)
        assert (other.json["id"], job.state, job.error) == (job.id, "done", None)
        assert await mirror.recnums(ds) == await mirror.upstream(ds)


@pytest.mark.parametrize(
    "ds, code, words",
    [
        ("hmi.v_45s[", 400, "expected"),
        ("hmi.nothing[]", 404, "not found"),
        ("hmi.v_45s[1977.01.01-2030.01.01@90s]", 403, "too many separate slots"),
        ("", 400, "ds is missing"),
    ],
)
async def test_what_cannot_be_filled_is_said_at_once(tmp_path, ds, code, words):
    async with lab(tmp_path) as mirror:
        answer = await begin(mirror, ds)
        assert (answer.code, words in answer.json["error"]) == (code, True), answer.body


async def test_the_size_is_said_before_and_nothing_is_fetched_for_that(tmp_path):
    async with lab(tmp_path) as mirror:
        answer = await begin(mirror, DAY, dry_run=True)
        assert (answer.code, answer.json["slots"]) == (200, 480)
        assert answer.json["estimate"]["records"] == len(await mirror.upstream(DAY))
        assert await mirror.fetched() == 0
        assert mirror.running.fills.list() == ()


async def test_whoever_needs_little_of_a_fill_does_not_wait_for_it(tmp_path):
    """Within a chunk that is on its way, in one that is not yet, and outside of the range."""
    async with lab(tmp_path, **SMALL) as mirror:
        go, asked = held_up(mirror, _long)
        job = await begin(mirror, DAY)
        await until(lambda: any(map(_long, asked)))
        for ds in ("hmi.v_45s[2014.01.01_00:00:00_TAI]", "hmi.v_45s[2014.01.01_05:00:00_TAI/1m]", "hmi.M_720s[2014.01.01_TAI/12m]"):
            async with asyncio.timeout(PATIENCE):
                assert await mirror.recnums(ds) == await mirror.upstream(ds), ds
        assert mirror.running.fills.get(job.json["id"]).records == 0
        go.set()
        assert (await ended(mirror, job)).state == "done"
        assert await mirror.recnums(DAY) == await mirror.upstream(DAY)


def _ranges(ds):
    """The slots that a request of the mirror asks for."""
    bracket = re.search(r"T_REC_index=([\d,-]+)\]", ds)
    parts = [part.partition("-") for part in bracket[1].split(",")] if bracket else []
    return [(int(first), int(last or first)) for first, _, last in parts]


def _long(ds):
    """Whether a request is for a chunk of the fill, and not for a few slots."""
    return sum(last - first + 1 for first, last in _ranges(ds)) >= 10


def _covers(ds, slot):
    return any(first <= slot <= last for first, last in _ranges(ds))


async def test_whoever_needs_a_chunk_waits_for_that_alone(tmp_path):
    async with lab(tmp_path, **SMALL) as mirror:
        first = int(await _index(mirror, "hmi.v_45s[2014.01.01_00:00:00_TAI]"))
        wanted = "hmi.v_45s[2014.01.01_00:00_TAI/7m]"  # a piece of the fill
        expected = await mirror.upstream(wanted)
        go, asked = held_up(mirror, lambda ds: _long(ds) and not _covers(ds, first))
        mine, _ = held_up(mirror, lambda ds: _covers(ds, first))
        job = (await begin(mirror, DAY)).json["id"]
        await until(lambda: any(map(_long, asked)))
        person = asyncio.ensure_future(mirror.ask(wanted))
        await until(lambda: any(not f.may_end for f in mirror.running.filler._flights["hmi.v_45s"]))
        mine.set()
        async with asyncio.timeout(PATIENCE):
            assert recnums(await person) == expected
        assert not mirror.running.fills.get(job).ended
        go.set()
        await until(lambda: mirror.running.fills.get(job).ended)


async def test_an_error_of_a_chunk_reaches_only_those_who_need_it(tmp_path):
    async with lab(tmp_path, **SMALL) as mirror:
        bad = "hmi.v_45s[2014.01.01_03:00_TAI/10m]"
        upstream, failing = mirror.running.upstream, [True]
        ask = upstream.rs_list
        first = int(await _index(mirror, "hmi.v_45s[2014.01.01_00:00:00_TAI]")) + 240

        async def rs_list(request, priority=0):
            if failing[0] and _covers(request.ds, first):
                raise UpstreamRefused(1, "a fault of this part")
            return await ask(request, priority)

        upstream.rs_list = rs_list
        job = (await begin(mirror, DAY)).json["id"]
        await until(lambda: mirror.running.fills.get(job).error)
        assert "a fault of this part" in (await mirror.get(f"/api/jobs/{job}")).json["error"]
        good = "hmi.v_45s[2014.01.01_05:00_TAI/30m]"
        assert await mirror.recnums(good) == await mirror.upstream(good)
        assert "a fault of this part" in (await mirror.ask(bad)).json["error"]
        failing[0] = False
        assert await mirror.recnums(bad) == await mirror.upstream(bad)
        await until(lambda: mirror.running.fills.try_now() or mirror.running.fills.get(job).ended)
        assert mirror.running.fills.get(job).state == "done"
        assert await mirror.recnums(DAY) == await mirror.upstream(DAY)


async def _index(mirror, ds):
    answer = await mirror.session.get(
        mirror.simulator.make_url("/cgi-bin/ajax/jsoc_info"), params={"op": "rs_list", "ds": ds, "key": "T_REC_index"}
    )
    return (await answer.json(content_type=None))["keywords"][0]["values"][0]


async def test_a_fill_goes_on_when_jsoc_is_back_and_says_why_it_waits(tmp_path):
    async with lab(tmp_path, **SMALL) as mirror:
        await mirror.running.search.structure("hmi.v_45s")
        await mirror.faults({"fault": "outage"})
        job = (await begin(mirror, DAY)).json["id"]
        await until(lambda: mirror.running.fills.get(job).state == "waiting")
        assert mirror.running.fills.get(job).error
        await mirror.faults()
        mirror.running.fills.try_now()
        async with asyncio.timeout(PATIENCE):
            assert (await mirror.running.fills.ended(job)).state == "done"
        assert await mirror.recnums(DAY) == await mirror.upstream(DAY)


async def test_a_cancelled_fill_stops_within_a_chunk_and_keeps_what_came(tmp_path):
    with watched() as asked:
        async with lab(tmp_path, latency=5.0, **SMALL) as mirror:
            first = int(await _index(mirror, "hmi.v_45s[2014.01.01_00:00:00_TAI]"))
            go, _ = held_up(mirror, lambda ds: _long(ds) and not any(_covers(ds, first + n) for n in range(100)))
            job = (await begin(mirror, DAY)).json["id"]
            await until(lambda: mirror.running.fills.get(job).records > 50)
            answer = await mirror.request("DELETE", f"/api/jobs/{job}", data="{}", headers=JSON)
            assert (answer.code, answer.json["state"]) == (200, "cancelled")
            before = len(asked)
            go.set()
            await until(lambda: not mirror.running.filler.progress())
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(asked) <= before + 2, "what was on its way may come"
            held = sum(s["records"] for s in (await mirror.get("/api/series")).json)
            assert 50 < held <= 400
            assert (await mirror.request("DELETE", f"/api/jobs/{job}", data="{}", headers=JSON)).json["state"] == "cancelled"
            again = await ended(mirror, await begin(mirror, DAY))
            assert again.records == len(await mirror.upstream(DAY)) - held


async def test_another_who_needs_a_chunk_of_a_cancelled_fill_still_gets_it(tmp_path):
    async with lab(tmp_path, **SMALL) as mirror:
        go, asked = held_up(mirror, _long)
        job = (await begin(mirror, DAY)).json["id"]
        await until(lambda: len([ds for ds in asked if _long(ds)]) == 2)
        wanted = "hmi.v_45s[2014.01.01_00:00_TAI/10m]"
        person = asyncio.ensure_future(mirror.ask(wanted))
        await until(lambda: any(not f.may_end for f in mirror.running.filler._flights["hmi.v_45s"]))
        await mirror.running.fills.cancel(job)
        go.set()
        async with asyncio.timeout(PATIENCE):
            assert recnums(await person) == await mirror.upstream(wanted)
        assert len([ds for ds in asked if _long(ds)]) == 2, "nobody asked again"


async def test_fills_go_on_after_a_restart_and_ended_ones_are_remembered(tmp_path):
    async with lab(tmp_path, latency=5.0, **SMALL) as mirror:
        small = await ended(mirror, await begin(mirror, "hmi.v_45s[2014.01.01_TAI/1h]"))
        job = (await begin(mirror, DAY)).json["id"]
        await until(lambda: mirror.running.fills.get(job).records > 50)
        before = await mirror.fetched()
        await mirror.restart()
        assert mirror.running.fills.get(small.id).state == "done"
        async with asyncio.timeout(PATIENCE):
            assert (await mirror.running.fills.ended(job)).state == "done"
        assert await mirror.recnums(DAY) == await mirror.upstream(DAY)
        # The two pieces that were on their way may come a second time.
        assert await mirror.fetched() <= len(await mirror.upstream(DAY)) + 200
        assert before > 50


async def test_an_export_that_ends_while_it_is_cancelled_has_ended(tmp_path, monkeypatch):
    """Its last write was under way, and is seen only after the state was read."""
    async with lab(tmp_path) as mirror:
        body = json.dumps({"ds": "hmi.v_45s[2014.01.02_TAI/3m]"})
        export = (await mirror.request("POST", "/api/jobs", data=body, headers=JSON)).json
        jobs = mirror.running.export_jobs._jobs
        done, read = await jobs.get(export["id"]), jobs.get
        async with asyncio.timeout(PATIENCE):
            while not done.finished:
                done = await read(export["id"])
        found = iter([done, replace(done, state="fetching")])

        async def earlier(job_id):
            return next(found, None) or await read(job_id)

        monkeypatch.setattr(jobs, "get", earlier)
        ended = await mirror.request("DELETE", f"/api/jobs/{export['id']}", data="{}", headers=JSON)
        assert ended.json["state"] == "done", ended.json


async def test_jobs_of_every_kind_are_listed_and_cancelled_by_one_command(tmp_path):
    subscription = '[[subscription]]\nname = "velocity"\nseries = "hmi.v_45s"\nstart = "2014.01.01_TAI"\nend = "2014.01.02_TAI"\n'
    async with lab(tmp_path, config=subscription, **SMALL) as mirror:
        go, asked = held_up(mirror, _long)
        fill = (await begin(mirror, DAY)).json
        await until(lambda: len([ds for ds in asked if _long(ds)]) == 2)
        body = json.dumps({"ds": "hmi.v_45s[2014.01.02_TAI/3m]"})
        export = (await mirror.request("POST", "/api/jobs", data=body, headers=JSON)).json
        listed = (await mirror.get("/api/jobs")).json
        assert {job["id"]: job["kind"] for job in listed} == {
            fill["id"]: "fill", export["id"]: "export", "velocity": "subscription",
        }  # fmt: skip
        common = {"id", "kind", "state", "ds", "ready", "total", "counted", "seconds_left", "bytes", "created", "error", "waits"}
        assert all(common <= job.keys() for job in listed)
        assert [j["id"] for j in (await mirror.get("/api/jobs", {"kind": "fill"})).json] == [fill["id"]]
        assert (await mirror.get("/api/jobs", {"kind": "cake"})).code == 400
        for job in listed:
            page = await mirror.get(f"/jobs/{job['id']}")
            assert page.code == 200, job
            assert job["id"].encode() in page.body
        page = (await mirror.get("/jobs")).body
        assert all(job["id"].encode() in page for job in listed)
        ended = await mirror.request("DELETE", f"/api/jobs/{export['id']}", data="{}", headers=JSON)
        assert ended.json["state"] in ("failed", "done")
        refused = await mirror.request("DELETE", "/api/jobs/velocity", data="{}", headers=JSON)
        assert (refused.code, "mirror subscribe --remove velocity" in refused.json["error"]) == (403, True)
        assert (await mirror.request("DELETE", "/api/jobs/FILL_1", data="{}", headers=JSON)).code == 404
        await mirror.running.fills.cancel(fill["id"])
        go.set()


async def test_an_export_that_is_cancelled_has_failed_and_fetches_no_more(tmp_path):
    async with lab(tmp_path) as mirror:
        await mirror.faults({"fault": "timeout", "match": {"program": "file"}})
        mirror.running.export_jobs.hold = 0  # the first answer comes before its work has begun
        body = json.dumps({"ds": "hmi.v_45s[2014.01.01_TAI/1h]"})
        job = (await mirror.request("POST", "/api/jobs", data=body, headers=JSON)).json["id"]
        answer = await mirror.request("DELETE", f"/api/jobs/{job}", data="{}", headers=JSON)
        assert (answer.json["state"], answer.json["error"]) == ("failed", "cancelled")
        again = (await mirror.request("POST", "/api/jobs", data=body, headers=JSON)).json["id"]
        assert again != job


async def test_the_same_fill_is_begun_once_and_too_many_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mirror.services.fills.MOST", 2)
    async with lab(tmp_path, **SMALL) as mirror:
        go, _ = held_up(mirror, _long)
        first, second = (await begin(mirror, DAY)).json["id"], (await begin(mirror, DAY)).json["id"]
        assert first == second
        assert (await begin(mirror, "hmi.v_45s[2014.01.01_TAI/20h]")).code == 202
        answer = await begin(mirror, "hmi.v_45s[2014.01.01_TAI/10h]")
        assert (answer.code, "2 fills are running already" in answer.json["error"]) == (429, True)
        for job in mirror.running.fills.list():
            await mirror.running.fills.cancel(job.id)
        go.set()
