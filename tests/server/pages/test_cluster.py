"""The page of the cluster, and that there is none without."""

from __future__ import annotations

import asyncio
import json
import re

from mirror.cluster import database as sessions
from tests.clusterlab import cluster
from tests.lab import lab
from tests.waiting import PATIENCE, until


async def test_the_page_tells_which_servers_are_there_and_what_they_share(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "RETURN", 0.1)
    async with cluster(tmp_path, 2) as made:
        one, other = made.mirrors
        found = await one.recnums("hmi.v_45s[2014.01.01_TAI/1h]")
        await made.published()
        page = (await other.get("/cluster")).body.decode()
        assert '<a href="/cluster" aria-current="page">Cluster</a>' in page
        assert re.findall(r'<tr><th scope="row">(m\d)', page) == ["m0", "m1"]
        assert "This one is <b>m1</b>" in page
        assert f'<p class="name">Shared records</p><p class="value">{len(found)}</p>' in page
        assert "Nothing is being fetched." in page
        told = (await other.get("/api/cluster")).json
        assert (told["flights"], told["fetching"], told["rows"]) == (0, [], 1)
        assert await other.running.cluster.may_publish()
        told = (await one.get("/api/cluster")).json
        assert told["owners"] == [{"what": "the tables of Iceberg", "server": "m1"}]
        database = other.running.cluster.database
        database._url = "postgresql://nobody@127.0.0.1:1/nowhere"
        database._lose("ended by a test")
        await until(lambda: not database.connected)
        page = (await other.get("/cluster")).body.decode()
        assert "database unreachable" in page
        assert "only cached data is served" in page


async def test_the_front_page_of_each_shows_the_running_jobs_of_all(tmp_path):
    async with cluster(tmp_path, 2, MIRROR_UPSTREAM__RECORDS_PER_HOUR="1000") as made:
        one, other = made.mirrors
        body = {"data": json.dumps({"ds": "hmi.v_45s[2014.01.01_TAI/3d]"}), "headers": {"Content-Type": "application/json"}}
        fill = (await one.request("POST", "/api/fill", **body)).json["id"]  # it waits for the budget
        async with asyncio.timeout(PATIENCE):
            while fill not in (page := (await other.get("/")).body.decode()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert '<span class="small muted">at m0</span>' in page
        assert "at m1" not in (await one.get("/")).body.decode()
        async with other.session.get(f"{other.url}/api/events") as events:
            async for line in events.content:
                if line.startswith(b"data: ") and (jobs := json.loads(line.removeprefix(b"data: "))["jobs"]):
                    break
        assert [(job["id"], job["server"]) for job in jobs] == [(fill, "m0")]


async def test_a_mirror_that_is_alone_has_no_such_page(tmp_path):
    async with lab(tmp_path) as made:
        assert (await made.get("/cluster")).code == 404
        assert 'href="/cluster"' not in (await made.get("/jobs")).body.decode()
