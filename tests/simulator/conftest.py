"""The recorded world, and a simulator on loopback that serves it."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from mirror.simulator.app import build_app
from mirror.simulator.world import load_world
from tests.wire.conftest import recorded  # noqa: F401

WORLD = Path(__file__).parents[1] / "data" / "world"


@pytest.fixture(scope="session")
def world():
    return load_world(WORLD)


@pytest_asyncio.fixture
async def client(world):
    async with TestClient(TestServer(build_app(world))) as connected:
        yield connected
