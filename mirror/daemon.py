"""The daemon: starts a mirror with its handlers, and stops it in order."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import resource
import signal
import sys
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from aiohttp import web

from mirror.app import Browsing, application, background, browsing, exporting
from mirror.config.loading import check_access
from mirror.core import DATABASE, open_core
from mirror.listening import bind, refused, url_of
from mirror.logs import REQUESTS
from mirror.server.api.monitoring import Events, Health
from mirror.server.connections import BoundedRunner, Most
from mirror.server.usage import Requests
from mirror.services.monitoring.status import Prober
from mirror.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from mirror.cluster.files import SharedFiles
    from mirror.cluster.shared import ClusterShared
    from mirror.config.loading import Config
    from mirror.config.watching import ConfigWatcher
    from mirror.readthrough.downloads import Downloads
    from mirror.readthrough.filler import Filler
    from mirror.readthrough.policy import Rules
    from mirror.services.adoption.adopt import Adoption
    from mirror.services.adoption.inbox import Inbox
    from mirror.services.exports.worker import ExportJobs
    from mirror.services.fills import Fills
    from mirror.services.iceberg.publisher import Publisher
    from mirror.services.maintenance.upkeep import Upkeep
    from mirror.services.monitoring.measures import Measures
    from mirror.services.monitoring.status import Status
    from mirror.services.news import News
    from mirror.services.search.search import Search
    from mirror.services.sql.service import Analytics
    from mirror.services.subscriptions.manager import Sync
    from mirror.storage.database.database import Database
    from mirror.storage.files.blobs import Blobs
    from mirror.upstream.budget import Budget
    from mirror.upstream.client import UpstreamClient
    from mirror.upstream.pacing import Pacer

__all__ = ["DATABASE", "Mirror", "build", "serve", "stop_signal"]

log = logging.getLogger(__name__)

#: Seconds for which a thread may hold the interpreter: shorter than Python's default, so that people's questions do not
#: wait at each step for a thread that reads or keeps a large answer.
TURN = 0.001
#: Thresholds of Python's cycle collector, high enough that the objects of a large answer are not scanned again and
#: again while it is read, which took longer than the reading.
CYCLES = (20_000, 20, 20)
#: Arenas of malloc. By default glibc takes eight per processor, each with freed memory that no other thread gets.
#: M_ARENA_MAX is its parameter -8.
ARENAS, M_ARENA_MAX = 2, -8
#: Seconds after the start before a process for future SQL statements is started.
WARM_AFTER = 10.0
#: Seconds that running requests get to end when the daemon stops, and again after they were cancelled.
GRACE = 1.0
#: File descriptors that are requested, and how many of them clients' connections leave for everything else.
MOST_DESCRIPTORS, RESERVED = 65_536, 512
#: Hosts that stand for every address of this machine.
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104
#: Where the address to listen at is configured, for messages.
LISTEN = "[server] host and port in config.toml, or MIRROR_SERVER__HOST and MIRROR_SERVER__PORT"


@dataclass(frozen=True)
class Mirror:
    """A running mirror: its application, and what must be closed in the end."""

    app: web.Application
    events: Events
    health: Health
    rules: Rules
    search: Search
    status: Status
    measures: Measures
    database: Database
    upstream: UpstreamClient
    budget: Budget
    filler: Filler
    fills: Fills
    downloads: Downloads
    export_jobs: ExportJobs
    blobs: Blobs
    sync: Sync
    watch: ConfigWatcher
    adoption: Adoption
    inbox: Inbox
    analytics: Analytics
    upkeep: Upkeep
    news: News
    browsing: Browsing
    cluster: ClusterShared | None  #: the other mirrors, if there are any
    shared_files: SharedFiles | None  #: the files that they share
    publisher: Publisher | None  #: publishes the lake as Iceberg tables
    stops: AsyncExitStack  #: every part that must stop, the last built first

    def go_on(self) -> None:
        """Continue what waited for upstream, which can be asked again."""
        self.export_jobs.try_now()
        self.sync.try_now()
        self.fills.try_now()

    async def close(self) -> None:
        """Stop fetching, and write everything down; what is committed stays."""
        await self.stops.aclose()


async def build(
    config: Config,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    pacer: Pacer | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    subscriptions_run: bool = False,
) -> Mirror:
    """A mirror on the store of ``config``; raises StorageError if the store cannot be opened.

    ``now`` is the clock, ``pacer`` paces requests to upstream, ``sleep`` makes the pauses between attempts at a file
    and looks at a request. ``path`` is the file of ``config``, whose edits are followed, and ``environ`` overrides it.
    Subscriptions only run with ``subscriptions_run``.
    """
    async with AsyncExitStack() as stops:  # a failure below stops what was built before it
        core = await open_core(config, stops, now=now, pacer=pacer, sleep=sleep)
        making = exporting(core, stops)
        kept = background(core, making, stops, path=path, environ=environ or {}, subscriptions_run=subscriptions_run)
        health = Health(
            lambda: core.database.read(lambda c: c.execute("SELECT 1").fetchall()), kept.status.upstream_state,
            disk=kept.status.disk,
            cluster=None if core.cluster is None else core.cluster.problem,
        )
        faced = browsing(core, making, kept, stops, path=path, environ=environ or {})
        stops.push_async_callback(core.filler.stop)  # before everything but fills: it brings what others write
        stops.push_async_callback(core.fills.stop)
        app, events = application(core, making, kept, faced, health, stops)
        await making.worker.resume()
        await core.fills.resume()
        faced.films.resume()
        await kept.sync.reconcile(config.subscription)
        await kept.inbox.start()
        await core.database.rest()
        mirror = Mirror(
            app=app,
            events=events,
            health=health,
            rules=core.rules,
            search=core.search,
            status=kept.status,
            measures=kept.measures,
            database=core.database,
            upstream=core.upstream,
            budget=core.budget,
            filler=core.filler,
            fills=core.fills,
            downloads=core.downloads,
            export_jobs=making.worker,
            blobs=core.blobs,
            sync=kept.sync,
            watch=kept.watch,
            adoption=kept.adoption,
            inbox=kept.inbox,
            analytics=kept.analytics,
            upkeep=kept.upkeep,
            news=kept.news,
            browsing=faced,
            cluster=core.cluster,
            shared_files=core.shared_files,
            publisher=kept.publisher,
            stops=stops.pop_all(),
        )
        if mirror.cluster is not None:
            mirror.cluster.on_back = mirror.go_on
        return mirror


async def stop_signal() -> None:
    """Return at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()


async def serve(
    config: Config,
    *,
    ready: Callable[[str], None],
    stopped: Callable[[], Awaitable[None]] = stop_signal,
    notifier: Notifier | None = None,
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    subscriptions_run: bool = False,
    shared_port: bool = False,
) -> None:
    """Run a mirror until ``stopped`` returns; ``ready`` gets its address once it accepts requests.

    ConfigError if other computers would be admitted and nothing says which, or if nobody can listen at that address.

    With ``shared_port`` others listen at that address as well: see ``mirror.processes``.

    ``notifier`` tells the service manager that it is ready, alive, and stopping; the rest is as for ``build``.
    """
    check_access(config)
    sys.setswitchinterval(TURN)
    gc.set_threshold(*CYCLES)
    _share_freed_memory()
    notifier = notifier or Notifier({})
    host, port = config.server.host, config.server.port
    sockets = bind(host, port, LISTEN, shared=shared_port)  # before a store is opened, or JSOC is asked
    # Of several mirrors at one port, each also has an address of its own, where the others reach it.
    own = bind("127.0.0.1", 0, LISTEN) if shared_port else []
    async with AsyncExitStack() as running:
        with ExitStack() as unused:
            for made in (*sockets, *own):
                unused.callback(made.close)
            mirror = await build(config, path=path, environ=environ, subscriptions_run=subscriptions_run)
            unused.pop_all()
        gc.collect()
        gc.freeze()  # modules, routes and parts stay: the cycle collector need not look at them again
        running.push_async_callback(mirror.close)

        def in_background(work: Awaitable[object]) -> asyncio.Future[object]:
            task = asyncio.ensure_future(work)
            running.callback(task.cancel)
            return task

        in_background(mirror.watch.run())
        in_background(Prober(mirror.upstream, mirror.rules, asyncio.sleep, mirror.go_on).run())
        in_background(notifier.keep_alive(mirror.health.healthy))
        runner = _runner(mirror.app, config)
        running.push_async_callback(runner.cleanup)
        stop = in_background(stopped())
        running.callback(_stopping, mirror, notifier)
        await runner.setup()
        for made in (*sockets, *own):
            await _listen(web.SockSite(runner, made), host, port)
        address = url_of(host, runner.addresses[0][1])
        ready(address)
        if mirror.cluster is not None:
            here = ("127.0.0.1", own[0].getsockname()[1]) if own else (None if host in EVERYWHERE else host, runner.addresses[0][1])
            await mirror.cluster.announce(*here)
        mirror.upkeep.start()
        mirror.news.start()
        if mirror.publisher is not None:
            mirror.publisher.start()
        in_background(_later(mirror.analytics.warm, WARM_AFTER))
        notifier.tell("READY=1", f"STATUS=answering at {address}")
        log.info("ready address=%s store=%s", address, config.storage.path)
        await stop


async def _later(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    await asyncio.sleep(seconds)
    await work()


def _stopping(mirror: Mirror, notifier: Notifier) -> None:
    """Announce that no more requests are taken, before running ones are ended."""
    log.info("stopping")
    notifier.tell("STOPPING=1")
    mirror.health.stops()
    mirror.events.stop()


async def _listen(site: web.SockSite, host: str, port: int) -> None:
    try:
        await site.start()
    except OSError as problem:  # somebody else has begun to listen since the socket was bound
        raise refused(host, port, LISTEN, problem) from problem


def _runner(app: web.Application, config: Config) -> web.AppRunner:
    server = config.server
    room = free_descriptors(limit_of_descriptors())
    if room < server.connections:
        log.warning("fewer connections than configured connections=%d wanted=%d", room, server.connections)
    return BoundedRunner(
        app,
        Most(min(server.connections, room), server.connections_per_address),
        shutdown_timeout=GRACE,
        access_log=logging.getLogger(REQUESTS) if config.log.requests else None,
        access_log_class=Requests,
    )


def _share_freed_memory() -> None:
    """Let memory freed by one thread serve the others: a fill's peak is 100 to 200 MB lower, in the same time."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool gives nothing back to others


def limit_of_descriptors() -> int:
    """How many files and sockets this process may have open, after raising the limit as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def free_descriptors(limit: int) -> int:
    """How many of them clients' connections may take: the rest is for files, and for connections just accepted."""
    return max(limit - max(min(RESERVED, limit // 2), 0), 1)
