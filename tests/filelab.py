"""A lab for files and exports: a mirror in front of a simulator that serves the recorded exports too.

The simulator's clock stands until a test moves it, and the mirror's pauses take no time: they are only
written down, in ``pauses``. ``gate`` holds the simulator back while it sends slowly.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.test_utils import TestServer

from mirror.config.loading import load_config
from mirror.daemon import build
from mirror.drms.times import parse_time
from mirror.services.exports.cutting import FIRST_PAUSE
from mirror.simulator.app import Clock as SimulatorClock
from mirror.simulator.app import build_app
from mirror.simulator.exports.ledger import Pace
from mirror.simulator.exports.recorded import load_exports
from mirror.simulator.synthetic import synthetic_series
from mirror.upstream.pacing import Circuit, Pacer
from tests import emptystore
from tests.lab import AJAX, RUNNER, Lab, world
from tests.recorded import WORLD
from tests.waiting import PATIENCE, PAUSE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from mirror.simulator.base import SeriesData
    from mirror.simulator.exports.recorded import RecordedExports

FETCH = AJAX + "jsoc_fetch"
ADDRESS = "a@example.com"


@dataclass
class FileLab(Lab):
    """A lab that also asks jsoc_fetch; ``pauses`` are the seconds that the mirror would have waited.

    Pauses between two tries of an export, from ``held_from`` seconds on, last until ``later``.
    """

    pauses: list[float] = field(default_factory=list)
    held_from: float = FIRST_PAUSE
    held: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    gate_after: int = 0
    simulator_now: float = 1_700_000_000.0
    hold: float = 0.0  #: seconds for which the first answer waits for the files

    async def at_the_gate(self, seconds: float) -> None:
        """The simulator's own pauses: none, or until the gate opens, once ``gate_after`` of them are over."""
        self.gate_after -= 1
        if self.gate_after < 0:
            await self.gate.wait()

    async def start(self, **environ: str) -> None:
        self.environ |= environ
        config = load_config(None, self.environ)
        emptystore.lay(config.storage.path)
        pacer = Pacer(config.upstream.queries, circuit=Circuit(threshold=1_000_000), chance=lambda: 0.0)
        self.mirror = await build(config, now=self.clock, pacer=pacer, sleep=self._pause)
        self.mirror.export_jobs.hold = self.hold
        self.server = TestServer(self.mirror.app)
        await self.server.start_server(**RUNNER)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await (self.held.wait() if seconds >= self.held_from else asyncio.sleep(0))

    async def later(self) -> None:
        """The next try of all exports that pause, until they end or pause again."""
        pausing = [(work, task, len(self.pauses)) for work, task in self.running.export_jobs._tasks.values() if work.paused.is_set()]
        self.held.set()
        self.held = asyncio.Event()
        await until(lambda: all(not work.paused.is_set() or task.done() or len(self.pauses) > n for work, task, n in pausing))
        await self.working()

    async def export(self, ds: str, method: str = "url", protocol: str = "as-is", **more: str) -> Any:
        """The first answer to an export request by the usual address."""
        params = {"op": "exp_request", "ds": ds, "method": method, "protocol": protocol, "notify": ADDRESS}
        return (await self.get(FETCH, {**params, **more})).json

    async def export_status(self, request_id: str, **more: str) -> Any:
        return (await self.get(FETCH, {"op": "exp_status", "requestid": request_id, **more})).json

    async def ended(self, request_id: str) -> Any:
        """What exp_status says once the request is done or has failed."""
        async with asyncio.timeout(PATIENCE):
            while True:
                await self.working()
                told = await self.export_status(request_id)
                if str(told["status"]) not in ("1", "2"):
                    return told
                await asyncio.sleep(PAUSE)

    async def working(self) -> None:
        """Return once the mirror works on no export."""
        async with asyncio.timeout(PATIENCE):
            await self.running.export_jobs.idle()

    async def exported(self, ds: str, method: str = "url", protocol: str = "as-is", **more: str) -> Any:
        """The index of an export that must succeed."""
        accepted = await self.export(ds, method, protocol, **more)
        assert str(accepted["status"]) in ("0", "2"), accepted
        told = await self.ended(accepted["requestid"])
        assert told["status"] == "0", told
        return told

    async def settled(self) -> None:
        """Return once no download is under way: the last byte may reach clients before its file is noted."""
        while running := self.running.downloads.running():
            await asyncio.wait([download.blob for download in running], timeout=PATIENCE)
            await asyncio.sleep(0)

    def blob_files(self) -> dict[str, Path]:
        """The files of the store, by their hash."""
        return {p.name: p for p in (self.path / "blobs").glob("*/*") if p.is_file()}

    async def original(self, path: str) -> bytes:
        """A file as the simulator has it, asked for past the mirror."""
        async with self.session.get(self.simulator.make_url(path)) as response:
            assert response.status == 200, path
            return await response.read()

    async def downloads(self, path: str = "/SUM") -> list[dict[str, Any]]:
        """The downloads that the simulator was asked for below a path."""
        return [e for e in await self.log(program="file") if e["params"]["path"].startswith(path)]


@asynccontextmanager
async def file_lab(
    path: Path,
    series: Sequence[SeriesData] | None = None,
    *,
    recorded: RecordedExports | None = None,
    pace: Pace | None = None,
    **environ: str,
) -> AsyncIterator[FileLab]:
    """A lab with its store below ``path``; by default of the recorded world, whose exports are done at once."""
    told = load_exports(WORLD) if recorded is None else recorded
    made: FileLab
    clock = SimulatorClock(now=lambda: made.simulator_now, sleep=lambda seconds: made.at_the_gate(seconds))
    app = build_app(world() if series is None else series, clock=clock, pace=pace or Pace(), recorded=told)
    simulator = TestServer(app)
    await simulator.start_server(**RUNNER)
    settings = {
        "MIRROR_UPSTREAM__URL": f"http://127.0.0.1:{simulator.port}",
        "MIRROR_STORAGE__PATH": str(path),
        **environ,
    }
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        made = FileLab(path, simulator, session, settings)
        made.gate.set()
        try:
            await made.start()
            yield made
        finally:
            await made.stop(last=True)
            await simulator.close()


@cache
def _synthetic(now: float) -> tuple[SeriesData, ...]:
    return tuple(synthetic_series(lambda: now))


def synthetic(now: float | None = None) -> list[SeriesData]:
    """The made-up series as of a certain day; made once for all tests: what a simulator changes is its own."""
    return list(_synthetic(parse_time("2026.10.01_TAI") if now is None else now))
