"""The daemon: everything built in one place by plain constructors, started, and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from mirror.engine.catalogue import Catalogue
from mirror.engine.downloads import Downloads
from mirror.engine.extremes import Extremes
from mirror.engine.files import Files
from mirror.engine.filler import Filler
from mirror.engine.policy import Rules
from mirror.engine.records import Origin, Records
from mirror.logs import Requests
from mirror.notify import Notifier
from mirror.server.api import Api
from mirror.server.app import LARGEST_LINE, build_app
from mirror.server.cgi import Programs
from mirror.server.fetch import Fetch
from mirror.server.files import FileHandlers
from mirror.server.filesapi import FilesApi
from mirror.server.health import Health
from mirror.server.pages import Pages
from mirror.server.proxy import JSOC_HOSTS, Proxy
from mirror.services.assembling import Assembler
from mirror.services.exportdir import ExportDirectories
from mirror.services.exportjobs import ExportJobs
from mirror.services.exportplan import ExportPlanner
from mirror.services.exports import Exports
from mirror.services.filelist import FileLists
from mirror.services.joblist import JobList
from mirror.services.listing import Listing
from mirror.services.quicklook import QuickLooks
from mirror.services.search import Search
from mirror.services.staging import Staging
from mirror.services.status import Status, Tallies
from mirror.services.store import Store
from mirror.storage.blobs import Blobs
from mirror.storage.database import Database
from mirror.storage.holdings import Holdings
from mirror.storage.index import Index
from mirror.storage.jobs import Jobs
from mirror.storage.pins import Pins
from mirror.upstream.client import UpstreamClient
from mirror.upstream.transport import user_agent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.config import Config
    from mirror.upstream.pacing import Pacer

log = logging.getLogger(__name__)

DATABASE = "index.duckdb"
#: Seconds that running requests get to end when the daemon stops.
GRACE = 3.0


@dataclass(frozen=True)
class Mirror:
    """A mirror that runs: its application, and what must be closed in the end."""

    app: web.Application
    search: Search
    status: Status
    health: Health
    rules: Rules
    database: Database
    upstream: UpstreamClient
    filler: Filler
    downloads: Downloads
    export_jobs: ExportJobs
    blobs: Blobs

    async def close(self) -> None:
        """Stop fetching, and write everything down; what is committed stays."""
        await self.export_jobs.stop()
        await self.filler.stop()
        await self.downloads.stop()
        await self.blobs.note_uses()
        await self.upstream.close()
        await asyncio.to_thread(self.database.close)


async def build(
    config: Config,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    pacer: Pacer | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Mirror:
    """A mirror on the store of ``config``; raises StorageError if the store cannot be had.

    ``now``, ``pacer`` and ``sleep`` stand for the clock, for the patience with upstream, and for the pauses
    between attempts at a file and looks at a request.
    """
    database = await asyncio.to_thread(Database.open, config.storage.path / DATABASE)
    index = await Index.load(database)
    rules = Rules(config.upstream.policy, config.freshness_of, now)
    tallies = Tallies(Counter(), Counter(), Counter(), started_at=rules.timestamp())
    upstream = UpstreamClient(
        config.upstream.url,
        timeout=config.upstream.timeout,
        queries=config.upstream.queries,
        agent=user_agent(config.upstream.email),
        on_request=tallies.count_exchange,
        pacer=pacer,
    )
    catalogue = Catalogue(index, upstream, rules)
    filler = Filler(index, upstream, rules, config.fill)
    extremes = Extremes(index, upstream, rules)
    records = Records(index, upstream, filler, extremes, rules, config.fill)
    search = Search(index, catalogue, records, upstream, rules, _counter(tallies))
    listing = Listing(index, upstream, rules)
    blobs = await Blobs.open(config.storage.path, database, now=rules.timestamp, quota=config.storage.quota)
    holdings, jobs, pins = (
        Holdings(database, blobs),
        Jobs(database, rules.timestamp),
        Pins(database, rules.timestamp),
    )
    downloads = Downloads(blobs, upstream, sleep)
    files = Files(blobs, holdings, downloads, rules, tree=config.storage.readable_tree)
    planner = ExportPlanner(index, catalogue, records, search)
    staging = Staging(upstream, downloads, holdings, config.upstream.email, sleep)
    assembler = Assembler(index, blobs, upstream, rules)
    worker = ExportJobs(jobs, planner, files, assembler, staging, blobs, pins, upstream, rules)
    exports = Exports(planner, holdings, jobs, worker, listing, rules, config.upstream.email)
    lists = FileLists(planner, assembler, files, holdings, blobs)
    status = Status(index, filler, upstream, rules, tallies, blobs)
    health = Health(lambda: database.read(lambda c: c.execute("SELECT 1").fetchone()), status.upstream_state)
    proxy = Proxy(upstream, rules, JSOC_HOSTS | {urlsplit(config.upstream.url).netloc.lower()})
    parts = (
        Programs(search, listing, proxy),
        Fetch(exports, proxy),
        FileHandlers(files, ExportDirectories(jobs, planner, worker, blobs), blobs),
        Api(search, status),
        FilesApi(
            lists,
            JobList(jobs, exports, worker, blobs, lists),
            Store(lists, holdings, pins, blobs, rules.timestamp),
            QuickLooks(planner, files, holdings, blobs),
        ),
        health,
        Pages(status, proxy),
    )
    app = build_app(parts, proxy)
    await worker.resume()
    return Mirror(app, search, status, health, rules, database, upstream, filler, downloads, worker, blobs)


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
) -> None:
    """Run a mirror until ``stopped`` returns; ``ready`` gets its address once it accepts requests.

    ``notifier`` tells the service manager that it is ready, alive, and stopping.
    """
    notifier = notifier or Notifier({})
    mirror = await build(config)
    stop = asyncio.ensure_future(stopped())
    alive = asyncio.ensure_future(notifier.keep_alive(mirror.health.healthy))
    runner = _runner(mirror.app, config)
    try:
        await runner.setup()
        site = web.TCPSite(runner, config.server.host, config.server.port)
        await site.start()
        address = f"http://{config.server.host}:{runner.addresses[0][1]}"
        ready(address)
        notifier.tell("READY=1", f"STATUS=answering at {address}")
        log.info("ready address=%s store=%s", address, config.storage.path)
        await stop
    finally:
        log.info("stopping")
        notifier.tell("STOPPING=1")
        mirror.health.stops()
        stop.cancel()
        await runner.cleanup()
        alive.cancel()
        await mirror.close()


def _runner(app: web.Application, config: Config) -> web.AppRunner:
    return web.AppRunner(
        app,
        max_line_size=LARGEST_LINE,
        max_field_size=LARGEST_LINE,
        shutdown_timeout=GRACE,
        access_log=logging.getLogger("mirror.requests") if config.log.requests else None,
        access_log_class=Requests,
    )


def _counter(tallies: Tallies) -> Callable[[Origin], None]:
    def count(origin: Origin) -> None:
        tallies.searches[origin.name.lower()] += 1

    return count
