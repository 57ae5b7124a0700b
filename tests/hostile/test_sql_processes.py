"""The processes of statements: what they may do to files and to others, and that one's end is nobody else's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.errors import BadRequest, OutOfTime, TooLarge
from mirror.services.sql.confinement import Confinement
from mirror.services.sql.messages import Question
from mirror.services.sql.worker import Engine
from tests.services.sql.conftest import MEMORY, Sql
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: What a process tries once it is confined, each on a line of its own with what came of it.
TRIES = """
import os, sys
from pathlib import Path
from mirror.services.sql.confinement import Confinement, confine

lake, outside, parent = Path(sys.argv[1]), Path(sys.argv[2]), os.getppid()
tries = {
    "write": lambda: (lake / "a" / "1.parquet").write_text("x"),
    "create": lambda: (lake / "new").write_text("x"),
    "remove": lambda: (lake / "a" / "1.parquet").unlink(),
    "rename": lambda: (lake / "a" / "1.parquet").rename(lake / "b"),
    "folder": lambda: (lake / "c").mkdir(),
    "link": lambda: (lake / "d").symlink_to("/etc/passwd"),
    "beside": lambda: (lake.parent / "new").write_text("x"),
    "secret": lambda: outside.read_text(),
    "signal": lambda: os.kill(parent, 0),
    "environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
    "program": lambda: os.execv("/bin/true", ["true"]),
    "read": lambda: (lake / "a" / "1.parquet").read_text(),
    "import": lambda: __import__("sqlite3"),
}
try:
    print(confine(lake, [Confinement(sys.argv[3])]))
except RuntimeError as error:
    sys.exit(str(error))
for name, act in tries.items():
    if name not in sys.argv[4].split(","):
        continue
    try:
        act()
        print(name, "done", flush=True)
    except OSError as error:
        print(name, "refused", flush=True)
"""
WRITES = ["write", "create", "remove", "rename", "folder", "link", "beside"]


def confined(folder: Path, way: str, tries: list[str]) -> dict[str, str]:
    """What came of these tries in a process that is confined in that way; skips where there is no such way."""
    lake, outside = folder / "store" / "lake", folder / "secret"
    (lake / "a").mkdir(parents=True)
    (lake / "a" / "1.parquet").write_text("1")
    outside.write_text("token")
    for place in (lake, *lake.parents):
        if place.stat().st_uid == os.geteuid():
            place.chmod(place.stat().st_mode | 0o055)
    command = [sys.executable, "-P", "-c", TRIES, str(lake), str(outside), way, ",".join(tries)]
    here = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": here}, timeout=180, check=False)
    if done.returncode:
        pytest.skip(f"this system has no such way: {done.stderr}")
    assert (lake / "a" / "1.parquet").read_text() == "1"
    return dict(line.split() for line in done.stdout.splitlines()[1:])


def test_landlock_leaves_nothing_but_reading_the_lake(tmp_path):
    forbidden = [*WRITES, "secret", "environment", "program"]
    found = confined(tmp_path, "landlock", [*forbidden, "read", "import"])
    assert found == {**dict.fromkeys(forbidden, "refused"), "read": "done", "import": "done"}


@pytest.mark.parametrize("way", ["namespace", "user"])
def test_without_landlock_no_file_of_the_store_can_be_written(tmp_path, way):
    found = confined(tmp_path, way, [*WRITES, "read", "import"])
    assert found == {**dict.fromkeys(WRITES, "refused"), "read": "done", "import": "done"}


def test_where_there_is_no_way_nothing_is_promised(tmp_path):
    assert confined(tmp_path, "none", ["create", "read"]) == {"create": "done", "read": "done"}


# ---- workers --------------------------------------------------------------------------------------

ENDLESS = "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = 7"
#: More than a statement may have, of several kinds.
BOMBS = [
    "SELECT count(DISTINCT hash(a.range, b.range)) FROM range(100000) a, range(1000) b",
    "SELECT list(range) FROM range(300000000)",
    "SELECT length(repeat('x', 1900000000) || repeat('y', 1900000000))",
    "SELECT max(l) FROM (SELECT list_reduce(range(100000000), lambda a, b: a + b) AS l)",
]


@pytest.fixture
async def sql(tmp_path) -> AsyncIterator[Sql]:
    asking = Sql(tmp_path / "lake", places=2)
    yield asking
    await asking.workers.stop()


async def test_the_strongest_way_of_this_system_is_taken_and_said(tmp_path, caplog):
    caplog.set_level("INFO")
    asking = Sql(tmp_path / "lake")
    try:
        await asking.rows("SELECT 1")
    finally:
        await asking.workers.stop()
    [said] = [r for r in caplog.records if "confined" in r.getMessage()]
    assert said.levelname == ("WARNING" if "not confined" in said.getMessage() else "INFO")
    landlock = confined(tmp_path / "try", Confinement.LANDLOCK, ["read"])
    assert landlock and "landlock" in said.getMessage()


async def test_a_process_has_no_more_of_the_environment_than_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("MIRROR_SECRET", "token")
    asking = Sql(tmp_path / "lake")
    try:
        await asking.workers.warm()
        [worker] = asking.workers._spare
        environment = await asyncio.to_thread(Path(f"/proc/{worker.process.pid}/environ").read_bytes)
    finally:
        await asking.workers.stop()
    assert b"token" not in environment and b"PYTHONPATH=" in environment


async def test_whoever_runs_out_of_memory_or_crashes_is_alone_with_it(sql):
    async def modest() -> int:
        """How many statements of somebody else were answered meanwhile."""
        answered = 0
        while not all(task.done() for task in greedy):
            found = await sql.rows("SELECT count(*), sum(recnum) FROM hmi.v_45s")
            assert found == [[1000, 499500]]
            answered += 1
        return answered

    async def bomb(statement: str) -> None:
        with pytest.raises((TooLarge, OutOfTime, BadRequest)):
            await sql.bytes(statement, principal="greedy", seconds=1.5)

    async def all_bombs() -> None:
        for statement in BOMBS:
            await bomb(statement)

    greedy = [asyncio.ensure_future(all_bombs())]
    assert await modest() > 0
    await asyncio.gather(*greedy)


async def test_after_a_statement_without_memory_the_next_begins_in_another_process(sql):
    def processes() -> set[int]:
        return {worker.process.pid for worker in (*sql.workers._spare, *sql.workers._busy)}

    assert await sql.rows("SELECT 1") == [[1]]
    before = processes()
    with pytest.raises(TooLarge):
        await sql.rows(BOMBS[0])
    assert await sql.rows("SELECT 1") == [[1]]
    assert not processes() & before


async def test_a_process_that_grew_is_not_used_for_the_next_statement(tmp_path):
    engine = Engine.start(tmp_path, memory=MEMORY, threads=1)
    assert not engine.has_grown()
    kept = b"x" * (MEMORY // 2 + (20 << 20))
    assert engine.has_grown() and kept
    engine.connection.close()


async def test_a_process_that_is_killed_from_outside_while_it_waits_costs_nobody_an_answer(sql):
    await sql.workers.warm()
    for _ in range(3):
        for worker in sql.workers._spare:
            os.kill(worker.process.pid, signal.SIGKILL)
            await worker.process.wait()
        assert await sql.rows("SELECT count(*) FROM hmi.v_45s") == [[1000]]


async def test_a_lake_that_was_made_again_is_read_by_new_processes(sql):
    assert await sql.rows("SELECT count(*) FROM hmi.v_45s") == [[1000]]
    data = sql.file.read_bytes()
    sql.folder.rename(sql.folder.with_name("old"))
    sql.file.parent.mkdir(parents=True)
    sql.file.write_bytes(data)
    assert await sql.rows("SELECT count(*) FROM hmi.v_45s") == [[1000]]


async def test_while_one_works_another_place_is_made_ready(sql):
    with pytest.raises(OutOfTime):
        await sql.rows(ENDLESS, seconds=0.2)
    await asyncio.wait_for(sql.workers._replacing, PATIENCE)
    assert len(sql.workers._spare) == 1
    async with sql.workers.run(Question("SELECT 1")) as answer:
        assert b"".join([piece async for piece in answer.pieces])
