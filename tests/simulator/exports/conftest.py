"""A simulator on loopback over the recorded world, with a clock that tests turn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from mirror.simulator.app import Clock, build_app
from mirror.simulator.exports.recorded import load_exports

WORLD = Path(__file__).parents[2] / "data" / "world"
FETCH = "/cgi-bin/ajax/jsoc_fetch"
ADDRESS = "a@example.com"


class Turned:
    """A clock that stands until it is turned; waiting takes no time and is remembered."""

    def __init__(self, now=1_700_000_000.0):
        self.now, self.waits = now, []

    async def sleep(self, seconds):
        self.waits.append(seconds)

    @property
    def clock(self):
        return Clock(now=lambda: self.now, steady=lambda: self.now, sleep=self.sleep)


class Simulated:
    """A client of the simulator that knows the programs."""

    def __init__(self, client):
        self.client = client

    async def json(self, path, **params):
        response = await self.client.get(path, params=params)
        return json.loads((await response.read()).decode("latin-1"))

    async def request(self, ds, method="url", protocol="fits", **more):
        """An export request by the usual address."""
        params = {"op": "exp_request", "ds": ds, "method": method, "protocol": protocol, "notify": ADDRESS}
        return await self.json(FETCH, **{**params, **more})

    async def status(self, request_id, **more):
        return await self.json(FETCH, op="exp_status", requestid=request_id, **more)

    async def finished(self, ds, **more):
        """The index of an export, after as many polls as it takes."""
        accepted = await self.request(ds, **more)
        assert accepted["status"] == 2, accepted
        for _ in range(3):
            told = await self.status(accepted["requestid"])
            if str(told["status"]) == "0":
                return told
        raise AssertionError(told)

    async def file(self, path, **headers):
        """Code, headers and bytes of a download."""
        response = await self.client.get(path, headers=headers)
        return response.status, response.headers, await response.read()

    async def rs_list(self, ds, **more):
        return await self.json("/cgi-bin/ajax/jsoc_info", op="rs_list", ds=ds, **more)

    async def log(self, program):
        entries = await (await self.client.get("/_simulator/log")).json()
        return [entry for entry in entries if entry["program"] == program]


@pytest.fixture
def turned():
    return Turned()


@pytest_asyncio.fixture
async def start(world, turned):
    """Starts a simulator of the recorded world, or of another one, with these faults."""
    clients = []

    async def started(*faults, series=None, recorded=None, pace=None):
        told = load_exports(WORLD) if recorded is None else recorded
        app = build_app(
            world if series is None else series, faults=faults, clock=turned.clock, pace=pace, recorded=told
        )
        client = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        return Simulated(client)

    yield started
    for client in clients:
        await client.close()
