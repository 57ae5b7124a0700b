"""Films of another mirror of the cluster: who is asked for one passes the question on."""

from __future__ import annotations

from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request

from mirror.api.contract import UNSET, encoded
from mirror.api.exports import Job, JobsQuery
from mirror.readthrough.shared import Alone, Peer
from mirror.server.peers import FROM_PEER, Peers


class Elsewhere(Alone):
    """Odd numbers are those of another mirror."""

    def __init__(self, address):
        self.address = address

    async def address_of(self, request_id, number):
        return self.address if number % 2 else None


@asynccontextmanager
async def server(shared, name):
    async def answer(request):
        return web.Response(text=f"{name} {request.match_info['id']} {FROM_PEER in request.headers}")

    app = web.Application()
    app.router.add_get("/api/films/{id}", answer)
    app.router.add_delete("/api/jobs/{id}", answer)
    Peers(shared).stand_before(app.router)
    made = TestServer(app)
    await made.start_server()
    try:
        yield f"http://127.0.0.1:{made.port}"
    finally:
        await made.close()


@pytest.mark.parametrize("method, path", [("GET", "/api/films/"), ("DELETE", "/api/jobs/")])
async def test_a_film_is_asked_for_where_it_was_made(method, path):
    async with server(Alone(), "other") as other, server(Elsewhere(other), "this") as here, aiohttp.ClientSession() as session:
        for film, answered in (("FILM_20260101_013", "other FILM_20260101_013 True"), ("FILM_20260101_012", "this FILM_20260101_012 False"),
                               ("FILL_20260101_013", "other FILL_20260101_013 True"), ("FILL_20260101_012", "this FILL_20260101_012 False"),
                               ("FILL_of_nobody", "this FILL_of_nobody False")):  # fmt: skip
            async with session.request(method, f"{here}{path}{film}") as answer:
                assert await answer.text() == answered


def job(job_id, created, kind="fill"):
    return Job(
        id=job_id, kind=kind, by="me", state="done", ready=1, total=1, counted="records", seconds_left=None, bytes=0, ds="x",
        created=created, updated=created, error=None, waits=None, notes=[],
    )  # fmt: skip


async def test_lists_have_the_jobs_of_all_mirrors_that_answer():
    class Several(Alone):
        async def others(self):
            return [Peer("there", address), Peer("refuses", f"{address}/refused"), Peer("gone", "http://127.0.0.1:1")]

    async def theirs(request):
        assert request.headers[FROM_PEER] == "1"
        assert request.headers["Authorization"] == "Bearer x"
        found = [job("FILL_2", "2026-01-02"), job("JSOC_1", "2026-01-04", "export"), job("name", None, "subscription")]
        return web.Response(body=encoded(found))

    app = web.Application()
    app.router.add_get("/api/jobs", theirs)
    made = TestServer(app)
    await made.start_server()
    address = f"http://127.0.0.1:{made.port}"
    own = [job("JSOC_1", "2026-01-03", "export"), job("FILL_1", "2026-01-01"), job("mine", None, "subscription")]
    try:
        request = make_mocked_request("GET", "/api/jobs", headers={"Authorization": "Bearer x"})
        found = await Peers(Several()).jobs(request, own, JobsQuery())
        assert [(one.id, one.server) for one in found] == [("JSOC_1", UNSET), ("FILL_2", "there"), ("FILL_1", UNSET), ("mine", UNSET)]
        assert [one.id for one in await Peers(Several()).jobs(request, own, JobsQuery(n=1))] == ["JSOC_1", "mine"]
        passed_on = make_mocked_request("GET", "/api/jobs", headers={FROM_PEER: "1"})
        assert await Peers(Several()).jobs(passed_on, own, JobsQuery()) == own
    finally:
        await made.close()
