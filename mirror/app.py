"""Builds a mirror: every part once, by plain constructors, from the store upwards.

``core.Core`` finds and gets data; ``Exporting``, ``Background``, ``Copies`` and ``Browsing`` use it. Nothing runs here
yet: ``mirror.daemon`` starts it. Parts that must stop are put on one stack when they are built, so that the last built
stops first: writers before what they write through, the database last.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from mirror.config.watching import ConfigWatcher
from mirror.core import DATABASE, Core
from mirror.readthrough.first_last import FirstLast
from mirror.readthrough.policy import Rules
from mirror.readthrough.records import Records
from mirror.readthrough.structures import Catalogue
from mirror.server.access.gate import Gate
from mirror.server.api.access import AccessApi
from mirror.server.api.adoption import AdoptionApi
from mirror.server.api.coverage import CoverageApi, FillsApi
from mirror.server.api.datasets import DatasetsApi
from mirror.server.api.document import Document
from mirror.server.api.exports import ExportsApi
from mirror.server.api.freshness import FreshnessApi
from mirror.server.api.images import CutoutsApi, FilmsApi
from mirror.server.api.maintenance import MaintenanceApi
from mirror.server.api.monitoring import ClusterApi, Events, Health, MonitoringApi
from mirror.server.api.news import NewsApi
from mirror.server.api.search import SearchApi
from mirror.server.api.sql import SqlApi
from mirror.server.api.subscriptions import SubscriptionsApi
from mirror.server.api.transfer import TransferApi
from mirror.server.app import build_app
from mirror.server.errors import Suggestions
from mirror.server.jsoc.alternatives import Alternatives
from mirror.server.jsoc.files import FileHandlers, FileResponses
from mirror.server.jsoc.plain_files import PagesOfJsoc
from mirror.server.jsoc.programs import Fetch, Programs
from mirror.server.jsoc.proxy import Proxy
from mirror.server.pages.console import ConsolePages
from mirror.server.pages.jobs import WorkPages
from mirror.server.pages.login import LoginPage
from mirror.server.pages.overview import DatasetPages, Pages
from mirror.server.pages.search import SearchPage
from mirror.server.pages.site import Site
from mirror.server.peers import Peers, RunningElsewhere
from mirror.server.requests import Chain
from mirror.server.usage import counting
from mirror.services.access.audit import Audit, AuditTable
from mirror.services.access.authentication import Authenticator
from mirror.services.access.quotas import Quotas
from mirror.services.adoption.adopt import Adoption
from mirror.services.adoption.inbox import Inbox
from mirror.services.cutouts.cutouts import Cutouts
from mirror.services.cutouts.processing import Processing
from mirror.services.datasets.datasets import Datasets, FileStore, Finding
from mirror.services.datasets.tables import DatasetTable
from mirror.services.exports.assembling import FullPrecision
from mirror.services.exports.content import FileHeaders
from mirror.services.exports.directory import ExportDirectories
from mirror.services.exports.file_list import FileLists, UnitFiles
from mirror.services.exports.job_list import JobList
from mirror.services.exports.jobs import Job, JobParts, Jobs
from mirror.services.exports.making import ExportMaking, WholeRequests
from mirror.services.exports.planning import ExportPlanner
from mirror.services.exports.requests import Exports
from mirror.services.exports.staging import Staging, UpstreamExports
from mirror.services.exports.worker import ExportJobs
from mirror.services.fills import Filling
from mirror.services.films import Films
from mirror.services.iceberg.publisher import Parts, Publisher
from mirror.services.iceberg.tables import PublishedTables
from mirror.services.maintenance.check_files import FileSteps, check_objects
from mirror.services.maintenance.check_index import IndexSteps, LakeSteps
from mirror.services.maintenance.check_plan import CheckTable
from mirror.services.maintenance.checker import Checker
from mirror.services.maintenance.retention import Forgetter, Store
from mirror.services.maintenance.upkeep import Environment, Upkeep
from mirror.services.monitoring.heatmap import CellCounts, HeatMap
from mirror.services.monitoring.measures import Measures
from mirror.services.monitoring.overview import AllJobs, Overview
from mirror.services.monitoring.ranges import Ranges
from mirror.services.monitoring.status import Status, Totals
from mirror.services.news import News
from mirror.services.quicklook.process import RenderProcess
from mirror.services.quicklook.quicklook import Pictures, PicturesAhead, QuickLooks
from mirror.services.quicklook.sun import SunPictures
from mirror.services.search.search import Ages, Search
from mirror.services.search.validation import QueryCheck
from mirror.services.search.whole import WholeAnswers
from mirror.services.sql.jsoc_tables import RecordSets, WhereSearch
from mirror.services.sql.messages import Limits
from mirror.services.sql.mirror_tables import CatalogueTables
from mirror.services.sql.processes import WorkerLimits, Workers
from mirror.services.sql.service import Analytics, SavedQueries
from mirror.services.subscriptions.editing import Subscribing, SubscriptionValidation
from mirror.services.subscriptions.files import SyncFiles
from mirror.services.subscriptions.holdings import SubscriptionHoldings
from mirror.services.subscriptions.manager import Sync
from mirror.services.subscriptions.worker import WorkerParts as SyncParts
from mirror.services.transfer.backup import Backups
from mirror.services.transfer.bundle import Bundles, Sources
from mirror.services.transfer.bundle_contents import ADDRESS, LINKED, LIST, PRECISE, BundleFiles
from mirror.services.transfer.import_ import Importer
from mirror.storage.database.database import if_possible
from mirror.storage.disk import Disk
from mirror.storage.files.eviction import Pins
from mirror.storage.index.changes import Changes
from mirror.storage.lake.lake import Lake
from mirror.upstream.budget import BudgetLimits, asking
from mirror.wire.paths import JSOC_HOSTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from mirror.api.cluster import Cluster as ClusterStatus
    from mirror.cluster.shared import ClusterShared
    from mirror.config.loading import Config
    from mirror.metrics import Metric
    from mirror.server.app import Handlers
    from mirror.services.maintenance.retention import Pins as PeoplesPins

    Sleep = Callable[[float], Awaitable[None]]

LAKE = "lake"
#: Seconds that a request waits for an export that was just taken over.
TAKEN_OVER = 10.0


@dataclass(frozen=True)
class Exporting:
    """Exports, and the files that they are made of."""

    jobs: Jobs
    job_parts: JobParts
    pins: PeoplesPins
    planner: ExportPlanner
    staging: Staging
    worker: ExportJobs
    exports: Exports
    lists: FileLists
    asked: UpstreamExports
    cutter: RenderProcess  #: the process that reads images to cut them


def _share_exports(cluster: ClusterShared, jobs: Jobs, worker: ExportJobs) -> None:
    """Make each export known to the cluster, so that another server can continue it."""
    from mirror.cluster.exports import SharedExport  # noqa: PLC0415

    async def tell(job: Job) -> None:
        await cluster.exports.tell(SharedExport(job.id, job.identity, job.request, job.created, job.upstream_id))

    async def take_over(export: SharedExport) -> None:
        job = Job(export.id, export.identity, export.upstream_id, export.request, "waiting", export.created, export.created, None)
        with asking(f"job:{job.id}"):
            await worker.take_over(job)

    jobs.on_change = tell
    cluster.exports.take_over, cluster.exports.settled = take_over, lambda number: worker.settled(number, TAKEN_OVER)


def exporting(core: Core, stops: AsyncExitStack) -> Exporting:
    """Build what answers jsoc_fetch."""
    c, address = core, core.config.upstream.email
    jobs, job_parts = Jobs(c.database, c.rules.timestamp), JobParts(c.database)
    pins = Pins(c.database, c.rules.timestamp)
    planner = ExportPlanner(c.index, c.catalogue, c.records, c.search)
    asked = UpstreamExports(c.upstream, address, c.sleep, c.shared)
    elsewhere = None if c.shared_files is None else c.shared_files.paths_of
    staging = Staging(asked, c.downloads, c.holdings, c.blobs, job_parts, elsewhere=elsewhere)
    cutter = RenderProcess()
    stops.push_async_callback(cutter.stop)
    here = Processing(c.config.exports.process_here, c.blobs, cutter)
    making = ExportMaking(jobs, planner, c.files, c.assembler, staging, c.adopted, here)
    whole = WholeRequests(jobs, job_parts, planner, asked, staging, c.blobs, pins, c.rules)
    worker = ExportJobs(jobs, making, whole, asked, c.blobs, pins, c.rules, c.sleep)
    stops.push_async_callback(worker.stop)
    if c.cluster is not None:
        _share_exports(c.cluster, jobs, worker)
    answers = lambda: c.rules.may_ask and not c.upstream.pace().open_for  # noqa: E731
    exports = Exports(
        planner, c.holdings, c.adopted, jobs, worker, c.listing, c.rules, c.files, address, answers, c.shared
    )
    contents = None if c.shared_files is None else c.shared_files.contents_of
    lists = FileLists(planner, c.assembler, c.files, c.holdings, c.adopted, c.blobs, contents)
    return Exporting(jobs, job_parts, pins if c.cluster is None else c.cluster.share_pins(pins), planner, staging, worker, exports, lists, asked, cutter)


@dataclass(frozen=True)
class Background:
    """What runs without being asked, and what reports on it."""

    sync: Sync
    checker: Checker
    upkeep: Upkeep
    watch: ConfigWatcher
    forgetter: Forgetter
    status: Status
    ranges: Ranges
    measures: Measures
    adoption: Adoption
    inbox: Inbox
    analytics: Analytics
    publisher: Publisher | None
    news: News
    authenticator: Authenticator
    audit: Audit
    fetching: SyncFiles


def background(
    core: Core,
    exporting: Exporting,
    stops: AsyncExitStack,
    *,
    path: Path | None,
    environ: Mapping[str, str],
    subscriptions_run: bool,
) -> Background:
    """Build subscriptions, checks, the inbox, the watcher of the configuration, SQL.

    The configuration came from ``path`` and ``environ``; subscriptions and the inbox only run with
    ``subscriptions_run``.
    """
    c, storage = core, core.config.storage
    held = SubscriptionHoldings(c.database, c.index)
    fetching = SyncFiles(
        c.index, held, c.holdings, c.files, exporting.staging, c.assembler, c.upstream, c.rules,
        c.config.upstream.email,
    )  # fmt: skip
    parts = SyncParts(
        c.index, c.catalogue, c.filler, fetching, held, c.blobs, c.rules, c.budget, c.sleep, random.random, c.shared
    )
    sync = Sync(parts, active=subscriptions_run)
    lake = Lake(storage.path / LAKE, c.database, c.index, Disk(), c.rules.timestamp)
    objects = None if c.shared_files is None else check_objects(c.shared_files)
    steps = FileSteps(c.blobs, c.files, c.rules, objects), IndexSteps(c.database, c.index, c.filler, c.fills, c.rules)
    checks = *steps, LakeSteps(lake, c.index)
    checker = Checker(CheckTable(c.database), *checks, c.rules.timestamp, time.monotonic)
    around = Environment(
        lambda: c.accounting.active > 0 or bool(c.downloads.running()),
        c.rules.now,
        asyncio.sleep,
        c.budgets.keep,
        partial(_while_idle, core, lake),
    )
    log = storage.path / f"{DATABASE}.wal"
    upkeep = Upkeep(c.config, checker, c.blobs, c.database, log, c.accounting, around)
    authenticator = Authenticator(c.config, c.rules.timestamp)
    news = News(storage.path, Disk(), c.index, Changes(c.database), upkeep.subscriptions, c.config.webhook, c.rules.timestamp)
    watch = ConfigWatcher(path, c.config, environ, _applier(core, exporting.worker, sync, upkeep, authenticator, news), c.rules.timestamp)
    status = Status(
        c.index, c.filler, c.downloads, c.upstream, c.rules, c.tallies, c.blobs, sync, watch, upkeep, Totals(c.database), c.budget,
        storage.path,
    )
    measures = Measures(
        status, c.tallies, c.accounting, c.index, c.blobs, Totals(c.database), c.fills, c.downloads, sync, upkeep,
        _metrics_of(c.cluster),
    )  # fmt: skip
    ranges = Ranges(c.index)
    adoption = Adoption(
        c.catalogue, c.records, c.index, c.files, c.holdings, c.adopted, c.blobs, c.rules,
        tree=storage.readable_tree,
    )  # fmt: skip
    inbox = Inbox(storage.inbox if subscriptions_run else None, adoption, time.monotonic, asyncio.sleep)
    analytics = _analytics(core, lake, status, ranges, sync)
    publisher = _publisher(core, lake, status, ranges, sync, upkeep.is_idle)
    for part in (lake, sync, inbox, news, analytics, upkeep, *(() if publisher is None else (publisher,))):
        stops.push_async_callback(part.stop)
    return Background(
        sync=sync,
        checker=checker,
        upkeep=upkeep,
        watch=watch,
        forgetter=Forgetter(c.database, c.index, c.blobs, upkeep.subscriptions, c.rules.timestamp, DatasetTable(c.database).keeping, c.shared),
        status=status,
        ranges=ranges,
        measures=measures,
        adoption=adoption,
        inbox=inbox,
        analytics=analytics,
        publisher=publisher,
        news=news,
        authenticator=authenticator,
        audit=Audit(AuditTable(c.database), c.rules.timestamp),
        fetching=fetching,
    )


async def _while_idle(core: Core, lake: Lake, may_go_on: Callable[[], bool]) -> None:
    """Work ahead while nobody waits: cut blocks, seal the lake, fold a cluster's journal."""
    may = lambda: may_go_on() and not core.filler.progress()  # noqa: E731
    await if_possible(core.index.cut_ahead(may), "cutting blocks ahead")
    await lake.seal_ahead(may)
    if core.cluster is not None:
        await core.cluster.compaction.go_on(may)


def _publisher(
    core: Core, lake: Lake, status: Status, ranges: Ranges, sync: Sync, is_idle: Callable[[], bool]
) -> Publisher | None:
    """What publishes the lake as Iceberg tables, if configured."""
    c, single, section = core, core.config.lake, core.config.cluster
    parts = Parts(lake, c.index, CatalogueTables(c.index, c.database, status, ranges, sync))
    if c.cluster is not None:
        place = f"{section.objects}/lake"
        if section.publish is None:
            return None
        opened = partial(PublishedTables.open, place, section.database, section.endpoint)
        return Publisher(parts, opened, section.publish, c.rules.timestamp, c.cluster, is_idle=is_idle)
    if single.iceberg is None or single.publish is None:
        return None
    opened = partial(PublishedTables.open, single.iceberg)
    return Publisher(parts, opened, single.publish, c.rules.timestamp, is_idle=is_idle)


def _analytics(core: Core, lake: Lake, status: Status, ranges: Ranges, sync: Sync) -> Analytics:
    c, sql = core, core.config.sql
    workers = Workers(lake.root, WorkerLimits(sql.places, sql.waiting, sql.memory, sql.threads))
    tables = CatalogueTables(c.index, c.database, status, ranges, sync)
    recordsets = RecordSets(c.search, c.records, c.index, lake)
    return Analytics(c.index, lake, workers, tables, recordsets, Limits(sql.seconds, sql.rows, sql.bytes))


def _applier(
    core: Core, jobs: ExportJobs, sync: Sync, upkeep: Upkeep, authenticator: Authenticator, news: News
) -> Callable[[Config], Awaitable[None]]:
    """A function that applies another configuration to a running mirror, as far as possible."""
    last = core.config

    async def apply(wanted: Config) -> None:
        nonlocal last
        # A policy that was set by hand stays, unless the edit is about the policy.
        if wanted.upstream.policy != last.upstream.policy:
            core.rules.configure(wanted.upstream.policy)
        core.rules.rule_for = wanted.freshness_of
        core.plain_files.max_age = wanted.plain_file_age
        core.forwarding.destinations = wanted.access.pass_through
        core.blobs.limit(wanted.storage.quota)
        core.blobs.verified.lasts = wanted.upkeep.verify_after
        limits = BudgetLimits(wanted.upstream.records_per_hour, wanted.upstream.bytes_per_day)
        if limits != core.budget.limits:  # waiting requests may fit in now
            core.budget.configure(limits)
            jobs.try_now()
            sync.try_now()
        upkeep.apply(wanted)
        authenticator.apply(wanted)
        news.webhooks = wanted.webhook
        last = wanted
        await sync.reconcile(wanted.subscription)

    return apply


@dataclass(frozen=True)
class Copies:
    """Copies of the mirror or of parts of it: backups and bundles."""

    backups: Backups
    bundles: Bundles
    importer: Importer


def copies_of(core: Core) -> Copies:
    """Build backups, bundles and their import."""
    c, root = core, core.config.storage.path
    facts = {
        LIST: c.listing.lists,
        ADDRESS: c.listing.addresses,
        PRECISE: c.assembler.precise,
        LINKED: c.assembler.linked.kept,
    }
    bundles = Bundles(
        Sources(c.search, c.extremes, c.records, c.rules),
        _held_only(core),
        c.filler,
        c.index,
        c.database,
        BundleFiles(
            c.index,
            c.files,
            c.holdings,
            c.adopted,
            c.blobs,
            None if c.shared_files is None else c.shared_files.paths_of,
        ),
        c.assembler,
        c.listing,
        facts,
        root,
    )
    tree = c.config.storage.readable_tree
    importer = Importer(c.index, c.files, c.adopted, c.blobs, facts, c.rules.timestamp, tree=tree)
    return Copies(Backups(c.database, root, c.rules.now), bundles, importer)


def _held_only(core: Core) -> Sources:
    """Access to held records only, whatever the policy is."""
    c = core
    offline = Rules("offline", c.rules.rule_for, c.rules.now)
    extremes = FirstLast(c.index, c.upstream, offline)
    records = Records(c.index, c.upstream, c.filler, extremes, offline, c.config.fill)
    catalogue = Catalogue(c.database, c.index, c.upstream, offline)
    return Sources(Search(c.index, catalogue, records), extremes, records, offline)


PICTURES, FILMS = "pictures", "films"


@dataclass(frozen=True)
class Browsing:
    """The parts for browsers; ``subscribing`` is None if there is no config.toml to write to."""

    renderer: RenderProcess  #: the process that makes pictures; cutouts, which are quick, do not wait for these
    pictures: QuickLooks
    films: Films
    ahead: PicturesAhead
    cutouts: Cutouts
    queries: QueryCheck
    saved: SavedQueries
    standing: SubscriptionValidation
    subscribing: Subscribing | None

    def parts(self, core: Core, kept: Background, site: Site, api: SearchApi) -> tuple[Handlers, ...]:
        """The pages of search, SQL and subscriptions, and what their scripts request."""
        return (
            SearchPage(site, api, self.queries, self.pictures),
            ConsolePages(site, self.saved, kept.sync, kept.watch, self.subscribing),
            SqlApi(kept.analytics, self.saved, core.rules.timestamp),
            SubscriptionsApi(kept.sync, self.subscribing, self.standing, core.estimates),
        )


def browsing(
    core: Core,
    exporting: Exporting,
    kept: Background,
    stops: AsyncExitStack,
    *,
    path: Path | None,
    environ: Mapping[str, str],
) -> Browsing:
    """The parts on top of a core; ``path`` is the file of its configuration, ``environ`` overrides it."""
    c, storage = core, core.config.storage
    renderer = RenderProcess()
    stops.push_async_callback(renderer.stop)
    made = Pictures(storage.path / PICTURES, storage.pictures or 0, Disk())
    queries = QueryCheck(c.index, c.catalogue, c.extremes, c.listing, c.rules)
    pictures = QuickLooks(exporting.planner, c.files, c.holdings, c.adopted, c.blobs, made, renderer)
    films = Films(exporting.planner, pictures, storage.path / FILMS, c.rules.timestamp, c.shared.job_number)
    ahead = PicturesAhead(pictures, lambda: c.accounting.active > 0, c.sleep)
    for part in (films, ahead):
        stops.push_async_callback(part.stop)
    kept.fetching.on_picture = ahead.add
    return Browsing(
        renderer=renderer,
        pictures=pictures,
        films=films,
        ahead=ahead,
        cutouts=Cutouts(exporting.planner, c.files, c.adopted, c.blobs, c.assembler, exporting.cutter, c.rules),
        queries=queries,
        saved=SavedQueries(c.database),
        standing=SubscriptionValidation(queries, kept.watch, c.estimates.count),
        subscribing=None if path is None else Subscribing(path, environ),
    )


def application(
    core: Core, making: Exporting, kept: Background, faced: Browsing, health: Health, stops: AsyncExitStack
) -> tuple[web.Application, Events]:
    """The application with everything that answers requests."""
    c, storage = core, core.config.storage
    jsoc = urlsplit(c.config.upstream.url)
    hosts = JSOC_HOSTS | {jsoc.netloc.lower()}
    proxy = Proxy(c.upstream, c.rules, hosts, c.forwarding, by_https=jsoc.scheme == "https")
    whole = WholeAnswers(c.search, c.index, c.rules)
    chain = Chain(c.route, Ages(c.index, c.search, c.rules))
    precise = FullPrecision(c.search, c.records, c.index, c.assembler)
    directories = ExportDirectories(making.jobs, making.planner, making.worker, c.blobs)
    exports = JobList(
        making.jobs, making.job_parts, making.exports, making.worker, c.blobs, making.lists, c.rules.timestamp
    )
    jobs = AllJobs(exports, c.fills, faced.films, kept.sync)
    store = Store(making.lists, c.holdings, c.adopted, making.pins, c.blobs, c.rules.timestamp)
    copies = copies_of(core)
    overview = Overview(
        kept.status, c.accounting, c.blobs, Totals(c.database), Changes(c.database), jobs, storage.path, time.monotonic,
        None if c.cluster is None else RunningElsewhere(c.shared, time.monotonic).jobs,
    )
    events = Events(overview.state)
    contents = FileResponses(c.blobs, FileHeaders(c.database))
    datasets = Datasets(
        DatasetTable(c.database),
        Finding(c.search, c.records, kept.analytics, c.index, c.database, c.rules),
        FileStore(c.files, c.holdings, c.blobs, storage.path),
    )
    pages = PagesOfJsoc(proxy, c.plain_files, contents, c.holdings, making.jobs, c.rules.timestamp)
    api = SearchApi(c.search, WhereSearch(c.search, c.index, kept.analytics), kept.status)
    heatmap = HeatMap(c.index, CellCounts(c.database, c.index), c.rules, kept.upkeep.subscriptions)
    filling = Filling(c.fills, c.estimates)
    suggestions = Suggestions(faced.queries.with_suggestions)
    cluster_status = _status_of(c.cluster, kept.upkeep)
    site = Site(proxy, suggestions, in_cluster=c.cluster is not None)
    peers = None if c.cluster is None else Peers(c.shared)
    parts: tuple[Handlers, ...] = (
        Programs(c.search, c.listing, precise, whole, proxy, chain, c.rules.timestamp),
        Fetch(making.exports, UnitFiles(c.index, c.holdings), proxy, making.asked.turn, c.rules.timestamp, peers),
        FileHandlers(c.files, directories, contents),
        api,
        ExportsApi(
            making.lists, exports, jobs, faced.pictures, SunPictures(c.database, c.index, c.rules.timestamp), c.rules.timestamp,
            peers,
        ),
        CutoutsApi(faced.cutouts, contents),
        DatasetsApi(datasets),
        DatasetPages(site, datasets),
        FillsApi(filling, c.estimates),
        FilmsApi(faced.films),
        CoverageApi(kept.ranges, heatmap, filling),
        FreshnessApi(Changes(c.database), c.rules),
        NewsApi(kept.news, c.rules.timestamp),
        MaintenanceApi(store, kept.checker, kept.forgetter),
        TransferApi(copies.backups, copies.bundles, copies.importer),
        AdoptionApi(kept.adoption, storage.path / "incoming"),
        AccessApi(kept.audit, c.accounting, c.rules.timestamp),
        MonitoringApi(kept.status, kept.measures),
        ClusterApi(cluster_status),
        Document(),
        health,
        *_pages(core, kept, jobs, proxy, site, overview, cluster_status, peers),
        *faced.parts(core, kept, site, api),
        events,
    )
    quotas = Quotas(c.accounting, c.rules.timestamp)
    if c.cluster is not None:
        c.cluster.tallies.quotas = quotas
    gate = Gate(kept.authenticator, kept.audit, proxy, quotas)
    asked = c.config.upstream
    alternatives = Alternatives(asked.alternative, c.rules, asked.email, asked.timeout, c.route.onward)
    stops.push_async_callback(alternatives.close)
    return build_app(parts, gate, proxy, pages, chain, counting(c.accounting, c.tallies.latency), suggestions, site.show_problems, alternatives, peers), events


def _metrics_of(cluster: ClusterShared | None) -> Callable[[], list[Metric]]:
    """The metrics of the cluster; none without one."""
    if cluster is None:
        return list
    from mirror.cluster.status import metrics  # noqa: PLC0415

    return partial(metrics, cluster)


def _status_of(cluster: ClusterShared | None, upkeep: Upkeep) -> Callable[[], Awaitable[ClusterStatus]] | None:
    """What gives the state of the cluster; None without one."""
    if cluster is None:
        return None
    from mirror.cluster.status import status  # noqa: PLC0415

    return lambda: status(cluster, [each.identity for each in upkeep.subscriptions()])


def _pages(
    core: Core,
    kept: Background,
    jobs: AllJobs,
    proxy: Proxy,
    site: Site,
    overview: Overview,
    cluster: Callable[[], Awaitable[ClusterStatus]] | None,
    peers: Peers | None,
) -> tuple[Handlers, ...]:
    """The pages that people see in a browser."""
    c, totals = core, Totals(core.database)
    return (
        site,
        LoginPage(site, kept.authenticator, kept.audit),
        Pages(site, proxy, overview, kept.status, kept.ranges, c.index, c.search, totals),
        WorkPages(site, jobs, kept.checker, c.accounting, overview, cluster, peers),
    )
