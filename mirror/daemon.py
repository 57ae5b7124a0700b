"""The daemon: a mirror with its handlers, started, and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from mirror.composition import DATABASE, Core, Exporting, Keeping, carrying, exporting, keeping, open_core
from mirror.config import check_doors
from mirror.facing import Facing, facing
from mirror.listening import bind, refused, url_of
from mirror.logs import REQUESTS, Requests
from mirror.notify import Notifier
from mirror.server.accounts import counting
from mirror.server.adoptapi import AdoptApi
from mirror.server.api import Api
from mirror.server.app import build_app
from mirror.server.auditapi import AuditApi
from mirror.server.backupapi import BackupApi
from mirror.server.cgi import Programs
from mirror.server.chain import Chain
from mirror.server.connections import BoundedRunner, Most
from mirror.server.contents import Contents
from mirror.server.coverageapi import CoverageApi
from mirror.server.estimateapi import EstimateApi
from mirror.server.events import Events
from mirror.server.fetch import Fetch
from mirror.server.files import FileHandlers
from mirror.server.filesapi import FilesApi
from mirror.server.freshnessapi import FreshnessApi
from mirror.server.gate import Gate
from mirror.server.health import Health
from mirror.server.loginpage import LoginPage
from mirror.server.pages import Pages
from mirror.server.proxy import JSOC_HOSTS, Proxy
from mirror.server.sqlapi import SqlApi
from mirror.server.upkeepapi import UpkeepApi
from mirror.server.web import Web
from mirror.server.workpages import WorkPages
from mirror.services.ages import Ages
from mirror.services.alljobs import AllJobs
from mirror.services.analytics.sifting import Sifter
from mirror.services.exportdir import ExportDirectories
from mirror.services.filling import Filling
from mirror.services.heatmap import HeatMap
from mirror.services.joblist import JobList
from mirror.services.overview import Overview
from mirror.services.precise import Precise
from mirror.services.prober import Prober
from mirror.services.store import Store
from mirror.services.units import Units
from mirror.storage.cellcounts import CellCounts
from mirror.storage.changes import Changes
from mirror.storage.fronts import Fronts
from mirror.storage.tables import if_possible
from mirror.storage.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from mirror.config import Config
    from mirror.engine.downloads import Downloads
    from mirror.engine.filler import Filler
    from mirror.engine.policy import Rules
    from mirror.server.app import Part
    from mirror.services.adoptinbox import Inbox
    from mirror.services.adopting import Adoption
    from mirror.services.analytics.service import Analytics
    from mirror.services.configwatch import ConfigWatch
    from mirror.services.exportjobs import ExportJobs
    from mirror.services.fills import Fills
    from mirror.services.search import Search
    from mirror.services.status import Status
    from mirror.services.sync import Sync
    from mirror.services.upkeep import Upkeep
    from mirror.storage.blobs import Blobs
    from mirror.storage.database import Database
    from mirror.upstream.budget import Budget
    from mirror.upstream.client import UpstreamClient
    from mirror.upstream.pacing import Pacer

__all__ = ["DATABASE", "Mirror", "build", "serve", "told_to_stop"]

log = logging.getLogger(__name__)

#: Seconds for which a thread keeps the interpreter from the others: people's questions do not wait, at each of their
#: steps, for a usual turn of a thread that reads or keeps a large answer.
TURN = 0.001
#: Seconds that running requests get to end when the daemon stops, and as long again once they were cancelled.
GRACE = 1.0
#: Descriptors that are asked for, and those of them that connections of clients leave to everything else.
MOST_DESCRIPTORS, RESERVED = 65_536, 512
#: Where it is said at which address to listen.
LISTEN = "[server] host and port in config.toml, or MIRROR_SERVER__HOST and MIRROR_SERVER__PORT"


@dataclass(frozen=True)
class Mirror:
    """A mirror that runs: its application, and what must be closed in the end."""

    app: web.Application
    events: Events
    health: Health
    rules: Rules
    search: Search
    status: Status
    database: Database
    upstream: UpstreamClient
    budget: Budget
    filler: Filler
    fills: Fills
    downloads: Downloads
    export_jobs: ExportJobs
    blobs: Blobs
    sync: Sync
    watch: ConfigWatch
    adoption: Adoption
    inbox: Inbox
    analytics: Analytics
    upkeep: Upkeep
    facing: Facing

    def go_on(self) -> None:
        """Upstream can be asked again: so do what waited for that."""
        self.export_jobs.try_now()
        self.sync.try_now()
        self.fills.try_now()

    async def close(self) -> None:
        """Stop fetching, and write everything down; what is committed stays."""
        await self.fills.stop()
        await self.filler.stop()  # first: what it brings stands before everything that others write down
        await self.upkeep.stop()
        await self.facing.studio.stop()
        await self.analytics.stop()
        await self.inbox.stop()
        await self.sync.stop()
        await self.export_jobs.stop()
        await self.filler.stop()
        await self.downloads.stop()
        await if_possible(self.blobs.note_uses(), "times of use")
        await self.upstream.close()
        await asyncio.to_thread(self.database.close)


async def build(
    config: Config,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    pacer: Pacer | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    standing_wishes: bool = False,
) -> Mirror:
    """A mirror on the store of ``config``; raises StorageError if the store cannot be had.

    ``now``, ``pacer`` and ``sleep`` stand for the clock, for the patience with upstream, and for the pauses
    between attempts at a file and looks at a request. ``path`` is the file of ``config``, whose edits are
    followed, and ``environ`` what overrides it. Subscriptions are only worked on with ``standing_wishes``.
    """
    core = await open_core(config, now=now, pacer=pacer, sleep=sleep)
    making = exporting(core)
    kept = keeping(core, making, path=path, environ=environ or {}, standing_wishes=standing_wishes)
    health = Health(
        lambda: core.database.read(lambda c: c.execute("SELECT 1").fetchall()), kept.status.upstream_state
    )
    faced = facing(core, making, kept, path=path, environ=environ or {})
    app, events = _app(core, making, kept, faced, health)
    await making.worker.resume()
    await core.fills.resume()
    await kept.sync.reconcile(config.subscription)
    await kept.inbox.start()
    await core.database.rest()
    return Mirror(
        app=app,
        events=events,
        health=health,
        rules=core.rules,
        search=core.search,
        status=kept.status,
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
        facing=faced,
    )


def _app(
    core: Core, making: Exporting, kept: Keeping, faced: Facing, health: Health
) -> tuple[web.Application, Events]:
    """Everything that answers requests."""
    c, storage = core, core.config.storage
    proxy = Proxy(c.upstream, c.rules, JSOC_HOSTS | {urlsplit(c.config.upstream.url).netloc.lower()})
    chain = Chain(c.route, Ages(c.index, c.search, c.rules))
    precise = Precise(c.search, c.records, c.index, c.assembler)
    directories = ExportDirectories(making.jobs, making.planner, making.worker, c.blobs)
    exports = JobList(
        making.jobs, making.job_parts, making.exports, making.worker, c.blobs, making.lists, c.rules.timestamp
    )
    jobs = AllJobs(exports, c.fills, kept.sync)
    store = Store(making.lists, c.holdings, c.adopted, making.pins, c.blobs, c.rules.timestamp)
    copies = carrying(core)
    overview = Overview(
        kept.status, c.accounting, c.blobs, Totals(c.database), Changes(c.database), jobs, storage.path, time.monotonic
    )
    events = Events(overview.state)
    api = Api(c.search, Sifter(c.search, c.index, kept.analytics), kept.status)
    site = Web(proxy)
    parts: tuple[Part, ...] = (
        Programs(c.search, c.listing, precise, proxy, chain, c.rules.timestamp),
        Fetch(making.exports, Units(c.index, c.holdings), proxy, c.rules.timestamp),
        FileHandlers(c.files, directories, Contents(c.blobs, Fronts(c.database))),
        api,
        FilesApi(making.lists, exports, jobs, store, faced.pictures, c.rules.timestamp),
        BackupApi(copies.backups, copies.bundles, copies.importer),
        EstimateApi(c.estimates),
        FreshnessApi(Changes(c.database), c.rules),
        SqlApi(kept.analytics),
        UpkeepApi(kept.checker, kept.forgetter, c.accounting),
        AdoptApi(kept.adoption, storage.path / "incoming"),
        AuditApi(kept.audit, c.rules.timestamp),
        health,
        *_pages(core, kept, jobs, proxy, site, overview),
        *faced.parts(core, kept, site, api),
        events,
    )
    gate = Gate(kept.doors, kept.audit, proxy)
    return build_app(parts, gate, proxy, chain, counting(c.accounting)), events


def _pages(
    core: Core, kept: Keeping, jobs: AllJobs, proxy: Proxy, site: Web, overview: Overview
) -> tuple[Part, ...]:
    """What people see in a browser, and the API of it."""
    c, totals = core, Totals(core.database)
    heatmap = HeatMap(c.index, CellCounts(c.database, c.index), c.rules, kept.upkeep.subscriptions)
    return (
        site,
        LoginPage(site, kept.doors, kept.audit),
        Pages(site, proxy, overview, kept.status, c.index, c.search, totals),
        WorkPages(site, jobs, kept.checker, c.accounting, overview),
        CoverageApi(heatmap, Filling(c.fills, c.estimates)),
    )


async def told_to_stop() -> None:
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
    stopped: Callable[[], Awaitable[None]] = told_to_stop,
    notifier: Notifier | None = None,
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    standing_wishes: bool = False,
) -> None:
    """Run a mirror until ``stopped`` returns; ``ready`` gets its address once it accepts requests.

    ConfigError if others than this computer would be let in, and nothing says whom, and if nobody can listen
    at that address.

    ``notifier`` tells the service manager that it is ready, alive, and stopping; the rest is as for ``build``.
    """
    check_doors(config)
    sys.setswitchinterval(TURN)
    notifier = notifier or Notifier({})
    host, port = config.server.host, config.server.port
    sockets = bind(host, port, LISTEN)  # before a store is opened, or JSOC is asked
    try:
        mirror = await build(config, path=path, environ=environ, standing_wishes=standing_wishes)
    except BaseException:
        for made in sockets:
            made.close()
        raise
    watching = asyncio.ensure_future(mirror.watch.run())
    probing = asyncio.ensure_future(Prober(mirror.upstream, mirror.rules, asyncio.sleep, mirror.go_on).run())
    stop = asyncio.ensure_future(stopped())
    alive = asyncio.ensure_future(notifier.keep_alive(mirror.health.healthy))
    warming: asyncio.Future[None] | None = None
    runner = _runner(mirror.app, config)
    try:
        await runner.setup()
        for made in sockets:
            await _listen(web.SockSite(runner, made), host, port)
        address = url_of(host, runner.addresses[0][1])
        ready(address)
        mirror.upkeep.start()
        warming = asyncio.ensure_future(mirror.analytics.warm())
        notifier.tell("READY=1", f"STATUS=answering at {address}")
        log.info("ready address=%s store=%s", address, config.storage.path)
        await stop
    finally:
        log.info("stopping")
        notifier.tell("STOPPING=1")
        mirror.health.stops()
        mirror.events.stop()
        stop.cancel()
        await runner.cleanup()
        alive.cancel()
        if warming is not None:
            warming.cancel()
        watching.cancel()
        probing.cancel()
        await mirror.close()


async def _listen(site: web.SockSite, host: str, port: int) -> None:
    try:
        await site.start()
    except OSError as problem:  # somebody else began to listen since the socket was bound
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


def limit_of_descriptors() -> int:
    """How many files and sockets this process may have open, after asking for as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a bound of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def free_descriptors(limit: int) -> int:
    """How many of them connections of clients may take: the rest is for files, and for what is just accepted."""
    return max(limit - max(min(RESERVED, limit // 2), 0), 1)
