"""What goes on at one server of a cluster, and is seen at all: exports, and subscriptions, each with one owner."""

# ruff: noqa: ASYNC110

from __future__ import annotations

import asyncio
import json
import re

from mirror.services.subscriptions.worker import ELSEWHERE
from tests.clusterlab import cluster
from tests.filelab import synthetic
from tests.waiting import PATIENCE, until

FETCH = "/cgi-bin/ajax/jsoc_fetch"
ASKED = {
    "op": "exp_request",
    "ds": "hmi.v_45s[2014.01.01_TAI/3m]{Dopplergram}",
    "method": "url",
    "protocol": "as-is",
    "notify": "lab@example.org",
    "format": "json",
    "process": "n=0|no_op",
}
SUBSCRIBED = """
[[subscription]]
series = "hmi.v_45s"
name = "velocities"
start = "2014.01.01_TAI"
end = "2014.01.01_01:00_TAI"
"""


async def test_an_export_of_one_server_is_followed_at_another(tmp_path):
    async with cluster(tmp_path, 3) as lab:
        one, other, third = lab.mirrors
        made = (await one.get(FETCH, ASKED)).json
        assert str(made["status"]) in ("0", "2"), made  # it may be done already
        number = made["requestid"]
        there = await other.get(FETCH, {"op": "exp_status", "requestid": number})
        here = await one.get(FETCH, {"op": "exp_status", "requestid": number})
        assert there.json["requestid"] == here.json["requestid"] == number
        assert str(there.json["status"]) in ("0", "1", "2")  # a number as long as it is not done
        assert (await third.get(f"/api/jobs/{number}")).json["id"] == number
        assert (await third.get(f"/jobs/{number}")).code == 200
        unknown = (await other.get(f"/api/jobs/{number[:-1]}{(int(number[-1]) + 5) % 10}")).code
        assert unknown == 404
        # Another server makes others, with ids of its own, but not the identical request once more.
        longer = ASKED | {"ds": "hmi.v_45s[2014.01.01_TAI/4m]{Dopplergram}"}
        numbers = [(await mirror.get(FETCH, ASKED)).json["requestid"] for mirror in (other, third, one, other)]
        assert numbers == [number] * 4
        another = (await other.get(FETCH, longer)).json["requestid"]
        assert another not in (number, "")
        assert (await one.get(FETCH, longer)).json["requestid"] == another


async def test_the_identical_request_continues_an_export_whose_server_is_gone(tmp_path):
    async with cluster(tmp_path, 3) as lab:
        one, other, third = lab.mirrors
        number = (await one.get(FETCH, ASKED)).json["requestid"]
        await one.running.export_jobs.idle()
        await one.running.shared_files.uploaded()
        await lab.leave(one)
        answers = [(await mirror.get(FETCH, ASKED)).json for mirror in (other, third, other)]
        assert [answer["requestid"] for answer in answers] == [number] * 3
        await other.running.export_jobs.idle()
        assert int((await status(third, number))["status"]) == 0


async def test_a_request_that_only_jsoc_can_make_is_made_there_once_for_all_servers(tmp_path):
    asked = ASKED | {"ds": "hmi.v_45s[2014.01.01_TAI/45s]{Dopplergram}", "protocol": "mpg"}
    async with cluster(tmp_path, 2, synthetic()) as lab:
        numbers = {(await mirror.get(FETCH, asked)).json["requestid"] for mirror in lab.mirrors}
        assert len(numbers) == 1
        for mirror in lab.mirrors:
            await mirror.running.export_jobs.idle()
        assert len(await lab.mirrors[0].log(program="jsoc_fetch", op="exp_request")) == 1


async def status(mirror, number):
    return (await mirror.get(FETCH, {"op": "exp_status", "requestid": number})).json


async def test_a_fill_of_one_server_is_listed_shown_and_cancelled_at_another(tmp_path):
    async with cluster(tmp_path, 3) as lab:
        _, other, third = lab.mirrors
        body = {"data": json.dumps({"ds": "hmi.v_45s[2014.01.01_TAI/3m]"}), "headers": {"Content-Type": "application/json"}}
        made = [(await mirror.request("POST", "/api/fill", **body)).json["id"] for mirror in lab.mirrors]
        assert len(set(made)) == 3, "no two servers give one number"
        for mirror in lab.mirrors:
            listed = {job["id"]: job.get("server") for job in (await mirror.get("/api/jobs", {"kind": "fill"})).json}
            names = {fill: f"m{n}" for n, fill in enumerate(made)}
            names[made[lab.mirrors.index(mirror)]] = None
            assert listed == names
            page = (await mirror.get("/jobs")).body.decode()
            assert all(fill in page for fill in made)
        assert (await other.get(f"/api/jobs/{made[0]}")).json["id"] == made[0]
        assert (await third.get(f"/jobs/{made[0]}")).code == 200
        ended = await third.request("DELETE", f"/api/jobs/{made[0]}", data="{}", headers=body["headers"])
        assert (ended.code, ended.json["id"]) == (200, made[0])
        unknown = await other.get(f"/api/jobs/{made[0][:-4]}9{made[0][-3:]}")
        assert (unknown.code, "at this mirror" in unknown.json["error"]) == (404, True)
        await lab.leave(other)
        gone = await third.get(f"/api/jobs/{made[1]}")
        assert gone.code == 404
        why = "(is not there now|does not answer)"  # until its session is gone
        said = rf"{made[1]} was made by m1, another mirror of this cluster, which {why}; try again once it is back"
        assert re.fullmatch(said, gone.json["error"])
        assert {job["id"] for job in (await third.get("/api/jobs", {"kind": "fill"})).json} == {made[0], made[2]}


async def test_health_status_and_metrics_say_that_the_objects_are_not_fit_any_more(tmp_path):
    async with cluster(tmp_path, 1) as lab:
        mirror = lab.mirrors[0]
        assert (await mirror.get("/healthz")).json["cluster"] == "ok"
        assert "mirror_cluster_objects_fit 1.0" in (await mirror.get("/metrics")).body.decode()
        lab.shared(0).objects.unfit = "lets objects be overwritten"
        health = await mirror.get("/healthz")
        assert (health.code, health.json["cluster"]) == (200, "lets objects be overwritten"), "requests are answered all the same"
        assert (await mirror.get("/api/cluster")).json["objects_problem"] == "lets objects be overwritten"
        assert "mirror_cluster_objects_fit 0.0" in (await mirror.get("/metrics")).body.decode()


async def test_an_export_whose_server_is_gone_goes_on_at_another(tmp_path):
    async with cluster(tmp_path, 3, synthetic()) as lab:
        one, other, third = lab.mirrors
        number = (await one.get(FETCH, ASKED | {"ds": "hmi.sharp_720s[][2014.02.10_00:00_TAI]{bitmap}", "process": "n=2|no_op"})).json["requestid"]
        await one.running.export_jobs.idle()
        made = await status(one, number)
        await one.running.shared_files.uploaded()
        files = [each["filename"] for each in made["data"]]
        asked = len(await other.log(program="file"))
        await lab.leave(one)
        await status(other, number)
        await other.running.export_jobs.idle()
        there = await status(other, number)
        assert int(there["status"]) == 0
        assert [each["filename"] for each in there["data"]] == files
        # Whoever asks a third one is led to the same, and JSOC is asked for nothing again.
        again = await status(third, number)
        assert (int(again["status"]), again["dir"]) == (0, there["dir"])
        got = await third.get(f"{there['dir']}/{files[0]}")
        assert got.code == 200 and len(got.body) > 1000
        assert len(await other.log(program="file")) == asked
        assert int((await status(other, number.replace("901", "977")))["status"]) not in (0, 1, 2)


async def test_a_subscription_is_worked_on_by_one_server_and_taken_over_when_that_is_gone(tmp_path):
    async with cluster(tmp_path) as lab:
        workers = []
        for mirror in lab.mirrors:
            file = mirror.path / "config.toml"
            file.write_text(SUBSCRIBED)
            mirror.config = file
            await mirror.stop()
            mirror.subscriptions_run = True
            await mirror.start()
            workers.append(mirror.running.sync._workers["velocities"])
            async with asyncio.timeout(PATIENCE):
                while not workers[0].state.passes:
                    await asyncio.sleep(0.02)
        await until(lambda: workers[1].is_elsewhere)
        assert not workers[1].state.passes
        told = (await lab.mirrors[1].get("/api/subscriptions")).json
        assert [(each["state"], each["why"]) for each in told] == [("waiting", ELSEWHERE)]
        asked = await lab.fetched()
        assert asked == len(await lab.mirrors[1].recnums("hmi.v_45s[2014.01.01_TAI-2014.01.01_01:00_TAI]"))
        await lab.mirrors[0].stop()
        async with asyncio.timeout(PATIENCE):
            while not workers[1].state.passes:
                await asyncio.sleep(0.02)
        assert await lab.mirrors[1].fetched() == asked


async def test_who_asks_a_server_for_a_subscription_that_another_works_on_gets_it_done(tmp_path):
    async with cluster(tmp_path) as lab:
        for mirror in lab.mirrors:
            (mirror.path / "config.toml").write_text(SUBSCRIBED)
            mirror.config = mirror.path / "config.toml"
            await mirror.stop()
            mirror.subscriptions_run = True
            await mirror.start()
        async with asyncio.timeout(PATIENCE):
            while not any(w.state.passes for m in lab.mirrors for w in m.running.sync._workers.values()):
                await asyncio.sleep(0.02)
        sync = lab.mirrors[1].running.sync
        before = await sync.once("velocities")
        worker = sync._workers["velocities"]
        async with asyncio.timeout(PATIENCE):
            while worker.state.passes <= before["velocities"]:
                await asyncio.sleep(0.02)
        assert json.dumps(before)
