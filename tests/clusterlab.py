"""Several mirrors of one cluster in front of one simulator, all in this process, with a real PostgreSQL behind them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.cluster import check as mark
from mirror.cluster import database as sessions
from mirror.cluster import objects as stores
from tests.lab import Lab, lab
from tests.servers import database
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from mirror.cluster.shared import ClusterShared
    from mirror.simulator.base import SeriesData


@dataclass
class ClusterLab:
    """The mirrors of a cluster; the first one's ``log`` is that of all."""

    path: Path
    address: str
    mirrors: list[Lab]

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    def shared(self, number: int) -> ClusterShared:
        """What a mirror knows of the others."""
        found = self.mirrors[number].running.cluster
        assert found is not None
        return found

    async def published(self) -> None:
        """Return when all mirrors have published what they committed."""
        for number in range(len(self.mirrors)):
            async with asyncio.timeout(PATIENCE):
                await self.shared(number).published()

    async def join(self, name: str, **environ: str) -> Lab:
        """One more mirror, with a store of its own."""
        first = self.mirrors[0]
        settings = first.environ | {
            "MIRROR_STORAGE__PATH": str(self.path / name),
            "MIRROR_CLUSTER__NAME": name,
            **environ,
        }
        (self.path / name).mkdir(exist_ok=True)
        made = replace(first, path=self.path / name, environ=settings, mirror=None, server=None)
        await made.start()
        await announce(made)
        self.mirrors.append(made)
        return made

    async def leave(self, mirror: Lab) -> None:
        """A mirror stops in good order."""
        await mirror.stop()
        self.mirrors.remove(mirror)

    async def fetched(self) -> int:
        """How many whole records JSOC has sent to all of them."""
        return await self.mirrors[0].fetched()


#: Seconds for which a busy machine may give a server no turn. In tests nobody is gone, and nothing away, because of that.
BUSY = 120.0


@contextmanager
def patient() -> Iterator[None]:
    """Wait for PostgreSQL and the objects as long as tests may take; what tries an absence sets what it needs inside of this."""
    kept = {name: getattr(sessions, name) for name in ("SILENCE", "ANSWER", "READY", "PATIENCE", "CONNECTING")}
    first, probe = stores.FIRST, mark.probe
    for name in kept:
        setattr(sessions, name, BUSY)
    stores.FIRST = BUSY
    mark.probe = _fit  # what a store must do is tried in tests/cluster/test_objects.py, and costs much for each mirror
    try:
        yield
    finally:
        for name, seconds in kept.items():
            setattr(sessions, name, seconds)
        stores.FIRST, mark.probe = first, probe


@asynccontextmanager
async def cluster(
    path: Path, count: int = 2, series: Sequence[SeriesData] | None = None, *, latency: float = 0.0, **environ: str
) -> AsyncIterator[ClusterLab]:
    """So many mirrors, named m0 and on."""
    address = database()
    folder = path / "objects"
    folder.mkdir()
    settings = {
        "MIRROR_CLUSTER__DATABASE": address,
        "MIRROR_CLUSTER__OBJECTS": f"file://{folder}",
        "MIRROR_CLUSTER__NAME": "m0",
        **environ,
    }
    async with AsyncExitStack() as stack:
        stack.enter_context(patient())
        first = await stack.enter_async_context(lab(path / "m0", series, latency=latency, **settings))
        made = ClusterLab(path, address, [first])
        await announce(first)
        try:
            for number in range(1, count):
                await made.join(f"m{number}")
            yield made
        finally:
            for mirror in made.mirrors:
                if mirror is not first:
                    await mirror.stop(last=True)


async def _fit(_: object) -> None:
    """A folder can do all that is needed."""


async def announce(mirror: Lab) -> None:
    """Tell the others where a mirror answers, as ``mirror serve`` does."""
    assert mirror.running.cluster is not None
    assert mirror.server is not None
    await mirror.running.cluster.announce("127.0.0.1", mirror.server.port or 0)
