"""The API of the mirror's state: status, metrics, live events for pages, and health.

Events come from one small loop that runs while somebody listens, and sends the state to all listeners at most once a
second. A slow reader misses states, and gets the latest. Health is three separate questions: whether the mirror is
alive, ready, and can reach JSOC. A mirror whose JSOC is down is healthy, since it serves its cache; only
``/healthz/upstream`` fails then.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from aiohttp import web
from msgspec.structs import replace

from mirror.api import monitoring as api
from mirror.api.cluster import ALONE, CLUSTER, Cluster
from mirror.api.contract import UNSET, Nothing, UnsetType, encoded
from mirror.errors import MirrorError, TooMany
from mirror.metrics import exposition
from mirror.server.endpoints import Reply, serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mirror.services.monitoring.measures import Measures
    from mirror.services.monitoring.status import Status

log = logging.getLogger(__name__)

#: Listeners at a time: each is an open connection.
MOST = 100
#: Seconds between two looks at the state, and after which a silent connection gets a sign of life.
PERIOD, HEARTBEAT = 1.0, 15.0
#: Seconds within which the index must answer.
PATIENCE = 5.0


class MonitoringApi:
    """The handlers of /api/status and /metrics."""

    def __init__(self, status: Status, measures: Measures) -> None:
        self._status = status
        self._measures = measures

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.STATUS, self.status)
        serve(router, api.METRICS, self.metrics)

    async def status(self, _: web.Request, __: Nothing) -> api.Status:
        """The state of the mirror."""
        return await self._status.status()

    async def metrics(self, request: web.Request, _: Nothing) -> web.Response:
        """Counters for Prometheus."""
        text, kind = exposition(await self._measures.metrics(), request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": kind})


class Events:
    """The handler of /api/events. ``sleep`` is the pause between two looks.

    ``state`` gives the state to send, by the headers of the one who began to listen last.
    """

    def __init__(
        self,
        state: Callable[[Mapping[str, str]], Awaitable[api.State]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most: int = MOST,
    ) -> None:
        self._state = state
        self._sleep = sleep
        self._most = most
        self._listeners: set[asyncio.Event] = set()
        self._latest = (0, "")
        self._loop: asyncio.Task[None] | None = None
        self._stopping = False
        self._headers: Mapping[str, str] = {}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the events."""
        serve(router, api.EVENTS, self.events)

    def stop(self) -> None:
        """End all connections: the mirror is being stopped."""
        self._stopping = True
        self._wake()

    async def events(self, request: web.Request, _: Nothing) -> web.StreamResponse:
        """``text/event-stream`` of events ``status``, whose data is the state as JSON."""
        if len(self._listeners) >= self._most:
            raise TooMany(f"{self._most} pages are already connected; try again later")
        woken, self._headers = asyncio.Event(), request.headers
        self._listeners.add(woken)
        try:
            return await self._tell(request, woken)
        finally:
            self._listeners.discard(woken)

    async def _tell(self, request: web.Request, woken: asyncio.Event) -> web.StreamResponse:
        headers = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        answer = self._run()
        with suppress(ConnectionError):  # the page was closed
            while not self._stopping:
                number, text = self._latest
                if number > answer:
                    answer = number
                    await response.write(f"event: status\ndata: {text}\n\n".encode())
                elif not await _within(woken, HEARTBEAT):
                    await response.write(b": all is well\n\n")
                woken.clear()
        return response

    def _run(self) -> int:
        """Start the loop; the number of a state that need not be sent: an old one, if the loop was not running."""
        if self._loop is not None and not self._loop.done():
            return 0
        self._loop = asyncio.ensure_future(self._look())
        return self._latest[0]

    async def _look(self) -> None:
        """Look for changes as long as anybody listens."""
        before: api.State | None = None
        while self._listeners and not self._stopping:
            try:
                state = await self._state(self._headers)
            except MirrorError as problem:
                log.warning("state cannot be told problem=%s", problem)
            except Exception:  # those who listen would wait for the next for ever
                log.exception("state cannot be told")
            else:
                news = replace(state, uptime_seconds=0)  # which always changes, and is not news
                if news != before:
                    before = news
                    self._latest = (self._latest[0] + 1, encoded(state).decode())
                    self._wake()
            await self._sleep(PERIOD)

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.set()


async def _within(woken: asyncio.Event, seconds: float) -> bool:
    """True if it finishes in time."""
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return False
    return True


class Health:
    """The handlers below /healthz.

    ``look`` reads from the index; ``upstream`` says how JSOC is, ``disk`` how full the disk is, ``cluster`` what is wrong with
    what mirrors share, "" if nothing is.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[object]],
        upstream: Callable[[], api.UpstreamState],
        patience: float = PATIENCE,
        *,
        disk: Callable[[], Awaitable[api.Disk | UnsetType]] | None = None,
        cluster: Callable[[], str] | None = None,
    ) -> None:
        self._cluster = cluster
        self._look = look
        self._upstream = upstream
        self._patience = patience
        self._disk = disk
        self._stopping = False

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.HEALTH, self.ready)
        serve(router, api.LIVE, self.live)
        serve(router, api.READY, self.ready)
        serve(router, api.UPSTREAM, self.upstream)

    def stops(self) -> None:
        """The mirror is being stopped from now on, so that load balancers send clients elsewhere."""
        self._stopping = True

    async def healthy(self) -> bool:
        """True if requests can be answered: the index is readable, and the mirror is not being stopped."""
        return not self._stopping and await self._index() == "ok"

    async def live(self, _: web.Request, __: Nothing) -> api.Alive:
        """200 as long as the process answers at all."""
        return api.Alive(status="ok")

    async def ready(self, _: web.Request, __: Nothing) -> Reply[api.Ready]:
        """200 if requests can be answered, else 503."""
        index = "stopping" if self._stopping else await self._index()
        disk = UNSET if self._disk is None else await self._disk()
        status: Literal["ok", "failing"] = "ok" if index == "ok" else "failing"
        cluster = UNSET if self._cluster is None else self._cluster() or "ok"
        answer = api.Ready(status=status, index=index, upstream=self._upstream(), disk=disk, cluster=cluster)
        return Reply(answer, status=200 if index == "ok" else 503)

    async def upstream(self, _: web.Request, __: Nothing) -> Reply[api.UpstreamHealth]:
        """200 if JSOC responded recently, or is not to be contacted; else 503."""
        state = self._upstream()
        return Reply(api.UpstreamHealth(upstream=state), status=200 if state in ("ok", "offline") else 503)

    async def _index(self) -> str:
        """"ok", or why the index cannot be read."""
        try:
            async with asyncio.timeout(self._patience):
                await self._look()
        except TimeoutError:
            return f"no answer in {self._patience:g} s"
        except Exception as problem:  # noqa: BLE001  (whatever it is, somebody must hear of it)
            return str(problem) or type(problem).__name__
        return "ok"


class ClusterApi:
    """The handler of /api/cluster; without a ``status`` this mirror is alone."""

    def __init__(self, status: Callable[[], Awaitable[Cluster]] | None) -> None:
        self._status = status

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it at its path."""
        serve(router, CLUSTER, self.cluster)

    async def cluster(self, _: web.Request, __: Nothing) -> Cluster:
        """The other mirrors, and what they share."""
        return ALONE if self._status is None else await self._status()
