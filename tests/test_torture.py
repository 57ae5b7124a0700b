"""A mirror with everybody at it, killed at any moment: it starts, and nothing that was told is lost. The short version.

benchmarks/torture.py is the long one.
"""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import ExitStack

import aiohttp
import pytest

from tests import processes
from tests.oldstore import INDEX, kill_migration, old_store, rows_of, version_of
from tests.torture import SETTINGS, Torture

KILLS = 4


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_whatever_was_told_before_a_kill_is_answered_after_it(tmp_path):
    dice = random.Random(5)
    settings = {**SETTINGS, "MIRROR_STORAGE__PATH": str(tmp_path / "store")}
    with processes.program("simulate", "--port", "0") as simulator, ExitStack() as lives:
        settings["MIRROR_UPSTREAM__URL"] = simulator.url
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            people = Torture(session, simulator.url, dice)
            for _ in range(KILLS):
                mirror = lives.enter_context(processes.started("serve", **settings))
                url = await asyncio.to_thread(mirror.ready)
                await people.judge(url, most=10)
                living = asyncio.ensure_future(people.live(url))
                while not people.told.done["search"]:  # noqa: ASYNC110  (on a busy machine, too, something must have been told)
                    await asyncio.sleep(0.01)
                await asyncio.wait([living], timeout=0.2 + dice.random())
                mirror.kill()
                await living
            mirror = lives.enter_context(processes.started("serve", **settings))
            url = await asyncio.to_thread(mirror.ready)
            await people.judge(url)
            found = await people.judge_check(url)
            mirror.send(signal.SIGTERM)
    assert people.problems == []
    assert not any("lost" in kind or "open" in kind or "missing" in kind for kind in found)
    assert people.told.done["search"] > 0


def test_a_migration_that_is_killed_goes_on_at_the_next_start(tmp_path):
    old_store(tmp_path)
    before = version_of(tmp_path)
    content = (tmp_path / INDEX).read_bytes()
    _, took = kill_migration(tmp_path, 60)
    expected, newest = rows_of(tmp_path), version_of(tmp_path)
    assert before < newest
    for n in range(6):
        (tmp_path / INDEX).write_bytes(content)
        (tmp_path / f"{INDEX}.wal").unlink(missing_ok=True)
        kill_migration(tmp_path, took * n / 6)
        assert rows_of(tmp_path) == expected
        assert version_of(tmp_path) == newest
