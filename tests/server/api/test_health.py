"""Alive, ready, and JSOC behind it: told apart."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mirror.api.monitoring import Disk
from mirror.server.api.monitoring import Health


async def fine() -> None:
    pass


async def broken() -> None:
    raise OSError("the disk is gone")


async def stuck() -> None:
    await asyncio.Event().wait()


async def asked(health: Health, path: str) -> tuple[int, dict[str, str]]:
    app = web.Application()
    health.add_to(app.router)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get(path)
        return answer.status, json.loads(await answer.text())


@pytest.mark.parametrize("state", ["ok", "failing", "away", "offline"])
async def test_a_mirror_without_jsoc_is_alive_and_ready(state):
    health = Health(fine, lambda: state)
    assert await asked(health, "/healthz") == (200, {"status": "ok", "index": "ok", "upstream": state})
    assert await asked(health, "/healthz/live") == (200, {"status": "ok"})
    code = 200 if state in {"ok", "offline"} else 503
    assert await asked(health, "/healthz/upstream") == (code, {"upstream": state})


@pytest.mark.parametrize("look, why", [(broken, "the disk is gone"), (stuck, "no answer in 0.01 s")])
async def test_a_mirror_that_cannot_read_its_index_is_alive_and_not_ready(look, why):
    health = Health(look, lambda: "ok", patience=0.01)
    assert await asked(health, "/healthz") == (503, {"status": "failing", "index": why, "upstream": "ok"})
    assert await asked(health, "/healthz/live") == (200, {"status": "ok"})
    assert not await health.healthy()


async def test_whoever_asks_is_told_how_full_the_disk_is():
    async def disk() -> Disk:
        return Disk(free=3, total=10, cached=2, quota=None)

    health = Health(fine, lambda: "ok", disk=disk)
    told = {"status": "ok", "index": "ok", "upstream": "ok", "disk": {"free": 3, "total": 10, "cached": 2, "quota": None}}
    assert await asked(health, "/healthz") == (200, told)


async def test_a_mirror_that_stops_is_not_ready():
    health = Health(fine, lambda: "ok")
    assert await health.healthy()
    health.stops()
    assert (await asked(health, "/healthz/ready"))[0] == 503
    assert not await health.healthy()
