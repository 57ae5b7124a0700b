"""The lake follows what is cached, whether or not somebody asks for it in SQL."""

from __future__ import annotations

import json

import pytest

from tests.lab import Lab, lab

HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"


@pytest.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(HOUR)
        yield made


def listed(mirror: Lab) -> dict[str, int]:
    """The records of each table in the manifest."""
    manifest = mirror.path / "lake" / "manifest.json"
    tables = json.loads(manifest.read_text())["tables"] if manifest.exists() else {}
    return {name: sum(file["records"] for file in files) for name, files in tables.items()}


async def idle(mirror: Lab) -> None:
    """Let some time pass, at the end of which upkeep looks."""
    mirror.clock.forward(minutes=11)
    await mirror.running.upkeep.tick()


async def test_what_is_cached_is_in_the_manifest_though_nobody_asked_for_it_in_sql(mirror):
    await idle(mirror)
    assert listed(mirror) == {"hmi.v_45s": 80}
    await mirror.ask("hmi.v_45s[2014.01.01_TAI/2h]")
    await idle(mirror)
    assert listed(mirror)["hmi.v_45s"] >= 160


async def test_nothing_is_written_while_somebody_is_served(mirror):
    for _ in range(3):
        await mirror.running.upkeep.tick()
    assert listed(mirror) == {}
