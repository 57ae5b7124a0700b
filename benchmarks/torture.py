"""Kills a busy mirror with SIGKILL again and again, and checks what is left after each kill.

    python benchmarks/torture.py                          # 500 kills
    python benchmarks/torture.py --kills 100 --seed 7 --minutes 10
    python benchmarks/torture.py --only migration --kills 200

``mirror``: a subscription, two clients that search, others that download, export, use SQL (which seals the lake),
adopt and check, with a quota that causes evictions; the mirror is killed at a random moment, also while it starts.
In each life, before new requests, earlier answers must be given again, equal, and every answered range must be as in
the archive; every second life begins offline, so that JSOC cannot be asked, every fourth with a whole check.
``migration``: a store of schema version 2 is killed at random moments while it is migrated. tests/torture.py has the
conditions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
import duckdb
from common import Program, fetch, hardware, run_simulator

from mirror.errors import MirrorError
from tests.oldstore import kill_migration, old_store, rows_of
from tests.processes import Program as Life
from tests.torture import FILES, SEGMENT, SETTINGS, Torture

#: Every how many lives begin with a whole check, or offline.
CHECK_EVERY, OFFLINE_EVERY = 4, 2
#: Seconds of the longest life; most are much shorter.
LONGEST = 8.0


class Lives:
    """The lives of one mirror, one after the other."""

    def __init__(
        self, torture: Torture, simulator: Program, root: Path, dice: random.Random
    ) -> None:
        self._torture = torture
        self._simulator = simulator
        self._root = root
        self._dice = dice
        self.starts: list[float] = []
        self.findings: Counter[str] = Counter()
        self.moments: Counter[str] = Counter()

    async def one(self, number: int) -> None:
        self._subscribe(number)
        mirror = self._born(offline=number % OFFLINE_EVERY == 0)
        if self._dice.random() < 0.2:
            await asyncio.sleep(self._dice.random() * 1.2 * statistics.median(self.starts or [0.5]))
            self.moments["starting"] += 1
        else:
            url = await self._judged(mirror, number)
            people = asyncio.ensure_future(self._torture.live(url))
            await asyncio.sleep(self._dice.random() ** 2 * LONGEST)
            mirror.kill()
            await people
            self.moments["serving"] += 1
        mirror.close()

    async def last(self) -> None:
        """All checks together, at the end."""
        mirror = self._born(offline=True)
        await self._judged(mirror, 0, most=100_000)
        print("stopped in", round(mirror.send(signal.SIGTERM), 2), "s")

    def _born(self, *, offline: bool) -> Life:
        settings = SETTINGS | {
            "MIRROR_UPSTREAM__POLICY": "offline" if offline else "fallback",
            "MIRROR_UPSTREAM__URL": self._simulator.url,
            "MIRROR_STORAGE__PATH": str(self._root / "store"),
            "MIRROR_CONFIG": str(self._root / "config.toml"),
        }
        return Life("serve", **settings)

    async def _judged(self, mirror: Life, number: int, most: int = 20) -> str:
        url = await asyncio.to_thread(mirror.ready)
        self.starts.append(time.monotonic() - mirror.began)
        asked = len(json.loads(fetch(f"{self._simulator.url}/_simulator/log")))
        await self._torture.judge(url, most=most)
        if number % CHECK_EVERY == 0:
            self.findings += await self._torture.judge_check(url)
        entries = json.loads(fetch(f"{self._simulator.url}/_simulator/log"))[asked:]
        ours = [e for e in entries if "R" in e["params"]]
        if ours and number % OFFLINE_EVERY == 0:
            self._torture.problems.append(f"asked while offline: {ours}")
        return url

    def _subscribe(self, number: int) -> None:
        """Two subscriptions, whose windows grow."""
        hours = min(2 + number // 10, 20)
        text = "\n".join(
            f'[[subscription]]\nname = "{name}"\nseries = "{series}"\nstart = "2014.01.03_TAI"\n'
            f'end = "2014.01.03_{hours:02}:00:00_TAI"\n{more}\n'
            for name, series, more in (
                ("files", FILES, f'segments = ["{SEGMENT}"]'),
                ("keywords", "hmi.m_45s", 'every = "1m"'),
            )
        )
        new = self._root / "config.new"
        new.write_text(text)
        new.replace(self._root / "config.toml")


async def torture(kills: int, minutes: float, dice: random.Random, root: Path) -> list[str]:
    ends = time.monotonic() + minutes * 60
    with run_simulator() as simulator:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            people = Torture(session, simulator.url, dice)
            lives = Lives(people, simulator, root, dice)
            number = 0
            for number in range(1, kills + 1):
                before = len(people.problems)
                await lives.one(number)
                if number % 10 == 0:
                    print(f"{number} lives, {people.told.done.total():,} things done", flush=True)
                for problem in people.problems[before:]:
                    print(f"life {number}: {problem[:1000]}", flush=True)
                if time.monotonic() > ends:
                    break
            await lives.last()
        log = json.loads(fetch(f"{simulator.url}/_simulator/log"))
    told = people.told
    held = len({(e["params"]["ds"]) for e in log if "R" in e["params"]})
    sent = sum("R" in e["params"] for e in log)
    starts = sorted(lives.starts)
    rows = {
        "kills": f"{number} ({dict(lives.moments)})",
        "start, median and worst": f"{statistics.median(starts):.2f} s, {starts[-1]:.2f} s",
        "answers that were told and kept": f"{len(told.lists):,} searches, {len(told.files):,} files, "
        f"{len(told.exports)} exports, {len(told.pinned)} pins",
        "done": str(dict(told.done)),
        "requests for records upstream, different ones": f"{sent:,}, {held:,}",
        "store": f"{sum(p.stat().st_size for p in (root / 'store').rglob('*') if p.is_file()) / 1e6:.0f} MB",
        "found by checks": str(dict(lives.findings) or "nothing"),
        "problems": str(len(people.problems)),
    }
    for name, value in rows.items():
        print(f"{name:48} {value}")
    return people.problems


def migration(kills: int, dice: random.Random, root: Path) -> list[str]:
    """Kill the migration of a store of version 2 at random moments; what is left must open and be whole."""
    old = root / "old"
    old_store(old)
    problems, store = [], root / "store"
    shutil.copytree(old, store)
    _, took = kill_migration(store, 60)
    expected = rows_of(store)
    versions: Counter[int | None] = Counter()
    for _ in range(kills):
        shutil.rmtree(store)
        shutil.copytree(old, store)
        try:
            reached, _ = kill_migration(store, dice.random() * 1.2 * took)
            found = rows_of(store)
        except (MirrorError, duckdb.Error) as problem:
            problems.append(f"it does not open any more: {problem}")
            continue
        versions[reached] += 1
        if found != expected:
            problems.append(f"killed at version {reached}: {found} instead of {expected}")
    print(
        f"a migration takes {took * 1e3:.0f} ms; killed at version: {dict(sorted((n, versions[n]) for n in versions if n is not None))}, "
        f"file torn: {versions[None]}; problems {len(problems)}"
    )
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["mirror", "migration"])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the store, which stays")
    options = parser.parse_args()
    print(hardware(), f"seed {options.seed}")
    problems = []
    with tempfile.TemporaryDirectory() as made:
        root = options.keep or Path(made)
        for name in ("mirror", "migration"):
            (root / name).mkdir(parents=True, exist_ok=True)
        if options.only != "migration":
            dice = random.Random(options.seed)
            problems += asyncio.run(torture(options.kills, options.minutes, dice, root / "mirror"))
        if options.only != "mirror":
            dice = random.Random(options.seed)
            problems += migration(options.kills, dice, root / "migration")
    for problem in problems:
        print(problem[:2000])
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
