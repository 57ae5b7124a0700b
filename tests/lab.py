"""A whole mirror in front of a simulator, both in this process on loopback, for tests that ask over HTTP.

Nothing here sleeps: the mirror's pacer and its downloads repeat at once, and its clock stands still until a test moves it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from aiohttp import web_app
from aiohttp.test_utils import TestServer
from yarl import URL

from mirror.config.loading import load_config
from mirror.daemon import build
from mirror.server.connections import BoundedRunner, Most
from mirror.simulator.app import build_app
from mirror.simulator.world import load_world
from mirror.upstream.pacing import Circuit, Pacer
from mirror.wire.params import encode_params
from tests import emptystore
from tests.recorded import WORLD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from mirror.daemon import Mirror
    from mirror.simulator.base import SeriesData

AJAX = "/cgi-bin/ajax/"
JSOC_INFO = AJAX + "jsoc_info"
#: What the simulator takes: more than the mirror ever sends.
RUNNER = {"max_line_size": 4 * 2**20, "max_field_size": 4 * 2**20}


class BoundedServer(TestServer):
    """A server whose connections are bounded as those of ``mirror serve``."""

    most = Most(total=2000, of_address=500)

    async def _make_runner(self, **options: Any) -> BoundedRunner:
        return BoundedRunner(self.app, self.most, **options)


@cache
def world() -> list[SeriesData]:
    """The recorded world, read once for all tests."""
    made = list(load_world(WORLD))
    gc.freeze()  # it stays as long as the process: nobody is to look at its hundred thousand objects again
    return made


class Answer(NamedTuple):
    """What came back over HTTP."""

    code: int
    plan: str | None  #: the header X-Mirror
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body.decode("latin-1"))

    @property
    def told(self) -> Any:
        """The answer without what differs from one time to the next."""
        return {k: v for k, v in self.json.items() if k != "runtime"}


@dataclass
class Clock:
    """The time of the mirror, in Unix seconds."""

    seconds: float = 1_700_000_000.0

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def forward(self, **delta: float) -> None:
        self.seconds += timedelta(**delta).total_seconds()


@dataclass
class Lab:
    """A simulator and a mirror in front of it; ``ask`` asks the mirror, ``log`` what it asked."""

    path: Path
    simulator: TestServer
    session: aiohttp.ClientSession
    environ: dict[str, str]
    clock: Clock = field(default_factory=Clock)
    mirror: Mirror | None = None
    server: TestServer | None = None
    config: Path | None = None  #: the mirror's config.toml
    subscriptions_run: bool = False  #: whether subscriptions are worked on
    place: socket.socket | None = None  #: where the mirror is to listen at its next start; None: where the system says

    @property
    def running(self) -> Mirror:
        assert self.mirror is not None
        return self.mirror

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.port}"

    async def start(self, **environ: str) -> None:
        """Start the mirror on what its store holds; settings as in the environment."""
        self.environ |= environ
        config = load_config(self.config, self.environ)
        emptystore.lay(config.storage.path)
        patient = Circuit(threshold=1_000_000)
        pacer = Pacer(config.upstream.queries, circuit=patient, chance=lambda: 0.0)
        self.mirror = await build(
            config,
            now=self.clock,
            pacer=pacer,
            path=self.config,
            environ=self.environ,
            subscriptions_run=self.subscriptions_run,
        )
        self.mirror.downloads._sleep = lambda _: asyncio.sleep(0)
        taken, self.place = self.place, None
        self.server = BoundedServer(self.mirror.app, **({} if taken is None else {"socket_factory": lambda *_: taken}))
        await self.server.start_server()

    def reserve(self) -> int:
        """A port that nobody else gets until the mirror listens there, from its next start on."""
        self.place = socket.socket()
        self.place.bind(("127.0.0.1", 0))
        return self.place.getsockname()[1]

    async def stop(self, *, last: bool = False) -> None:
        """Stop the mirror in good order; the ``last`` time what it has written need not be folded into the file."""
        if self.server is not None:
            await self.server.close()
        if self.mirror is not None:
            if last:
                await self.mirror.database.read(lambda cursor: cursor.execute("PRAGMA disable_checkpoint_on_shutdown"))
            await self.mirror.close()
        self.server = self.mirror = None
        # aiohttp remembers the handlers of a thousand requests, and with them the whole mirrors that they belong to.
        web_app._cached_build_middleware.cache_clear()

    async def restart(self, **environ: str) -> None:
        await self.stop()
        await self.start(**environ)

    async def ask(
        self, ds: str, key: str | None = "*recnum*", *, op: str = "rs_list", **params: str
    ) -> Answer:
        """An operation of jsoc_info."""
        names = {} if key is None or op != "rs_list" else {"key": key}
        return await self.get(JSOC_INFO, {"op": op, "ds": ds, **names, **params})

    async def recnums(self, ds: str, **params: str) -> list[int]:
        """The record numbers that the mirror answers; the answer must be good."""
        return recnums(await self.ask(ds, **params))

    async def upstream(self, ds: str) -> list[int]:
        """The record numbers that the simulator itself answers."""
        params = {"op": "rs_list", "ds": ds, "key": "*recnum*"}
        async with self.session.get(self.simulator.make_url(JSOC_INFO), params=params) as response:
            answer = Answer(response.status, None, await response.read(), response.headers)
        return recnums(answer)

    async def get(self, path: str, params: Mapping[str, str] | str = "", **options: Any) -> Answer:
        return await self.request("GET", path, params, **options)

    async def request(
        self, method: str, path: str, params: Mapping[str, str] | str = "", **options: Any
    ) -> Answer:
        query = params if isinstance(params, str) else encode_params(params)
        url = URL(self.url + path + (f"?{query}" if query else ""), encoded=True)
        async with self.session.request(method, url, **options) as response:
            plan = response.headers.get("X-Mirror")
            return Answer(response.status, plan, await response.read(), dict(response.headers))

    async def faults(self, *rules: Mapping[str, Any]) -> None:
        """What shall go wrong upstream from now on; no rules: nothing."""
        async with self.session.post(self.simulator.make_url("/_simulator/faults"), json=rules) as response:
            assert response.status == 200, await response.text()

    async def reprocess(self, ds: str) -> list[int]:
        """Give each record of a query a new version upstream; their new numbers."""
        url = self.simulator.make_url("/_simulator/reprocess")
        async with self.session.post(url, json={"ds": ds}) as response:
            assert response.status == 200, await response.text()
            return [number for numbers in (await response.json()).values() for number in numbers]

    async def log(self, *, op: str | None = None, program: str | None = None) -> list[dict[str, Any]]:
        """What the simulator was asked so far, of one operation or program if it is named."""
        async with self.session.get(self.simulator.make_url("/_simulator/log")) as response:
            entries = await response.json()
        return [e for e in entries if op in (None, e["params"].get("op")) and program in (None, e["program"])]

    async def fetched(self) -> int:
        """How many records upstream has sent whole, with all of their keywords."""
        return sum(e["records"] for e in await self.log(op="rs_list") if "R" in e["params"])


def recnums(answer: Answer) -> list[int]:
    told = answer.json
    assert told["status"] == 0, told
    return told["keywords"][0]["values"] if told["count"] else []


async def sql(mirror: Lab, statement: str, **told: object) -> Answer:
    """The answer of /api/sql to a statement; ``told`` are members beside it, such as params."""
    body = json.dumps({"query": statement, **told})
    return await mirror.request("POST", "/api/sql", data=body, headers={"Content-Type": "application/json"})


async def rows(mirror: Lab, statement: str, **told: object) -> list[list[Any]]:
    """The rows of that answer, which must be good."""
    answer = await sql(mirror, statement, **told)
    assert answer.code == 200, answer.body
    return answer.json["rows"]


@asynccontextmanager
async def lab(
    path: Path,
    series: Sequence[SeriesData] | None = None,
    *,
    latency: float = 0.0,
    config: str | None = None,
    **environ: str,
) -> AsyncIterator[Lab]:
    """A lab whose store is below ``path``; by default the simulator serves the recorded world.

    ``config`` is the text of a config.toml beside the store.
    """
    simulator = TestServer(build_app(world() if series is None else series, latency=latency))
    await simulator.start_server(**RUNNER)
    settings = {
        "MIRROR_UPSTREAM__URL": f"http://127.0.0.1:{simulator.port}",
        "MIRROR_STORAGE__PATH": str(path),
        **environ,
    }
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        made = Lab(path, simulator, session, settings)
        if config is not None:
            made.config = path / "config.toml"
            made.config.write_text(config)
        try:
            await made.start()
            yield made
        finally:
            await made.stop(last=True)
            await simulator.close()
