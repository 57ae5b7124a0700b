"""Films of another mirror of the cluster: who is asked for one passes the question on."""

from __future__ import annotations

from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.readthrough.shared import Alone
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
                               ("FILL_20260101_013", "this FILL_20260101_013 False")):  # fmt: skip
            async with session.request(method, f"{here}{path}{film}") as answer:
                assert await answer.text() == answered
