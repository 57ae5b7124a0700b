"""What a mirror is made of: every part built once, by plain constructors, from the store upwards.

``core`` is what every mirror needs to find and get data; ``Exporting``, ``Keeping`` and ``Carrying`` are what it
does with them. Nothing here runs yet; ``mirror.daemon`` starts and stops it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.engine.catalogue import Catalogue
from mirror.engine.downloads import Downloads
from mirror.engine.extremes import Extremes
from mirror.engine.files import Files
from mirror.engine.filler import Filler
from mirror.engine.policy import Rules, within
from mirror.engine.records import Origin, Records
from mirror.services.accounting import Accounting
from mirror.services.adoptinbox import Inbox
from mirror.services.adopting import Adoption
from mirror.services.analytics.catalogue import CatalogueTables
from mirror.services.analytics.question import Limits
from mirror.services.analytics.recordsets import RecordSets
from mirror.services.analytics.service import Analytics
from mirror.services.analytics.workers import Powers, Workers
from mirror.services.assembling import Assembler
from mirror.services.audit import Audit
from mirror.services.backup import Backups
from mirror.services.budgetmemory import BudgetMemory
from mirror.services.bundle import Bundles, Way
from mirror.services.bundlefiles import BundleFiles
from mirror.services.check import Checker
from mirror.services.checkfiles import FileSteps
from mirror.services.checkindex import IndexSteps
from mirror.services.checklake import LakeSteps
from mirror.services.configwatch import ConfigWatch
from mirror.services.doors import Doors
from mirror.services.estimates import Estimates
from mirror.services.exportjobs import ExportJobs
from mirror.services.exportmaking import ExportMaking
from mirror.services.exportplan import ExportPlanner
from mirror.services.exports import Exports
from mirror.services.filelist import FileLists
from mirror.services.fills import Fills
from mirror.services.forget import Forgetter
from mirror.services.importing import Importer
from mirror.services.listing import Listing
from mirror.services.rates import Rates
from mirror.services.search import Search
from mirror.services.staging import Staging
from mirror.services.status import Status, Tallies
from mirror.services.sync import Sync
from mirror.services.syncfiles import SyncFiles
from mirror.services.syncworker import Parts as SyncParts
from mirror.services.upkeep import Surroundings, Upkeep
from mirror.services.upstreamexports import UpstreamExports
from mirror.services.wholerequests import WholeRequests
from mirror.storage.adopted import Adopted
from mirror.storage.audittable import AuditTable
from mirror.storage.blobs import Blobs
from mirror.storage.checktable import CheckTable
from mirror.storage.database import Database
from mirror.storage.disk import Disk
from mirror.storage.holdings import Holdings
from mirror.storage.index import Index
from mirror.storage.jobparts import JobParts
from mirror.storage.jobs import Jobs
from mirror.storage.lake import Lake
from mirror.storage.pins import Pins
from mirror.storage.standing import Standing
from mirror.storage.totals import Totals
from mirror.storage.usagetable import UsageTable
from mirror.upstream.budget import Budget, BudgetLimits
from mirror.upstream.client import UpstreamClient
from mirror.upstream.route import Route
from mirror.upstream.transport import user_agent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from mirror.config import Config
    from mirror.upstream.client import Exchange
    from mirror.upstream.pacing import Pacer

    Sleep = Callable[[float], Awaitable[None]]

DATABASE = "index.duckdb"
LAKE = "lake"


@dataclass(frozen=True)
class Core:
    """Finding and getting data: the store, the way upstream, and the two read-throughs."""

    config: Config
    rules: Rules
    database: Database
    index: Index
    tallies: Tallies
    accounting: Accounting
    rates: Rates
    budget: Budget
    budgets: BudgetMemory
    route: Route
    upstream: UpstreamClient
    catalogue: Catalogue
    filler: Filler
    fills: Fills
    extremes: Extremes
    records: Records
    search: Search
    listing: Listing
    blobs: Blobs
    holdings: Holdings
    adopted: Adopted
    downloads: Downloads
    files: Files
    assembler: Assembler
    estimates: Estimates
    sleep: Sleep


async def open_core(
    config: Config, *, now: Callable[[], datetime], pacer: Pacer | None, sleep: Sleep
) -> Core:
    """The core of a mirror on the store of ``config``; raises StorageError if the store cannot be had."""
    database = await asyncio.to_thread(Database.open, config.storage.path / DATABASE)
    index = await Index.load(database)
    rules = Rules(config.upstream.policy, config.freshness_of, now)
    tallies = Tallies(Counter(), Counter(), Counter(), started_at=rules.timestamp())
    accounting, rates = Accounting(UsageTable(database), rules.timestamp), Rates()
    budget = Budget(BudgetLimits(config.upstream.records_per_hour, config.upstream.bytes_per_day), rules.timestamp)
    budgets = BudgetMemory(budget, index, rules.timestamp)
    await budgets.recall()
    fill = within(config.fill, config.upstream)
    route = Route(secrets.token_hex(4), config.upstream.token)
    upstream = UpstreamClient(
        config.upstream.url,
        timeout=config.upstream.timeout,
        queries=config.upstream.queries,
        agent=user_agent(config.upstream.email),
        on_request=_each(tallies.count_exchange, accounting.count_exchange, rates.count_exchange),
        pacer=pacer,
        allowed=lambda: rules.may_ask,
        onward=route.onward,
        budget=budget,
        structure=lambda name: None if (held := index.series(name)) is None else held[0],
    )
    catalogue = Catalogue(index, upstream, rules)
    filler = Filler(index, upstream, rules, fill, queries=config.upstream.queries, budget=budget)
    extremes = Extremes(index, upstream, rules)
    records = Records(index, upstream, filler, extremes, rules, fill)
    blobs = await Blobs.open(
        config.storage.path,
        database,
        now=rules.timestamp,
        quota=config.storage.quota,
        verify_after=config.upkeep.verify_after,
    )
    search = Search(index, catalogue, records, _counter(tallies))
    holdings, downloads = Holdings(database, blobs), Downloads(blobs, upstream, sleep)
    return Core(
        config=config,
        rules=rules,
        database=database,
        index=index,
        tallies=tallies,
        accounting=accounting,
        rates=rates,
        budget=budget,
        budgets=budgets,
        route=route,
        upstream=upstream,
        catalogue=catalogue,
        filler=filler,
        fills=Fills(search, extremes, index, filler, rules, database, sleep),
        extremes=extremes,
        records=records,
        search=search,
        listing=Listing(index, upstream, rules),
        blobs=blobs,
        holdings=holdings,
        adopted=Adopted(database, blobs),
        downloads=downloads,
        files=Files(blobs, holdings, downloads, rules, tree=config.storage.readable_tree),
        assembler=Assembler(index, blobs, upstream, rules),
        estimates=Estimates(index, catalogue, extremes, Standing(database, index), upstream, rules, rates, budget.spread),
        sleep=sleep,
    )


@dataclass(frozen=True)
class Exporting:
    """Exports, and the files that they are made of."""

    jobs: Jobs
    job_parts: JobParts
    pins: Pins
    planner: ExportPlanner
    staging: Staging
    worker: ExportJobs
    exports: Exports
    lists: FileLists


def exporting(core: Core) -> Exporting:
    """What answers jsoc_fetch."""
    c, address = core, core.config.upstream.email
    jobs, job_parts = Jobs(c.database, c.rules.timestamp), JobParts(c.database)
    pins = Pins(c.database, c.rules.timestamp)
    planner = ExportPlanner(c.index, c.catalogue, c.records, c.search)
    asked = UpstreamExports(c.upstream, address, c.sleep)
    staging = Staging(asked, c.downloads, c.holdings, c.blobs, job_parts)
    making = ExportMaking(jobs, planner, c.files, c.assembler, staging, c.adopted)
    whole = WholeRequests(jobs, job_parts, planner, asked, staging, c.blobs, pins, c.rules)
    worker = ExportJobs(jobs, making, whole, asked, c.blobs, pins, c.rules, c.sleep)
    answers = lambda: c.rules.may_ask and not c.upstream.pace().open_for  # noqa: E731
    exports = Exports(
        planner, c.holdings, c.adopted, jobs, worker, c.listing, c.rules, c.files, address, answers
    )
    lists = FileLists(planner, c.assembler, c.files, c.holdings, c.adopted, c.blobs)
    return Exporting(jobs, job_parts, pins, planner, staging, worker, exports, lists)


@dataclass(frozen=True)
class Keeping:
    """What goes on without being asked, and what tells of it."""

    sync: Sync
    checker: Checker
    upkeep: Upkeep
    watch: ConfigWatch
    forgetter: Forgetter
    status: Status
    adoption: Adoption
    inbox: Inbox
    analytics: Analytics
    doors: Doors
    audit: Audit


def keeping(
    core: Core, exporting: Exporting, *, path: Path | None, environ: Mapping[str, str], standing_wishes: bool
) -> Keeping:
    """Subscriptions, checks, the inbox, the watch over the configuration, SQL.

    ``path`` and ``environ`` are where the configuration came from; subscriptions and the inbox are only worked
    on with ``standing_wishes``.
    """
    c, storage = core, core.config.storage
    standing = Standing(c.database, c.index)
    fetching = SyncFiles(
        c.index, standing, c.holdings, c.files, exporting.staging, c.assembler, c.upstream, c.rules,
        c.config.upstream.email,
    )  # fmt: skip
    parts = SyncParts(
        c.index, c.catalogue, c.filler, fetching, standing, c.blobs, c.rules, c.budget, c.sleep, random.random
    )
    sync = Sync(parts, active=standing_wishes)
    lake = Lake(storage.path / LAKE, c.database, c.index, Disk(), c.rules.timestamp)
    steps = FileSteps(c.blobs, c.files, c.rules), IndexSteps(c.database, c.index, c.filler, c.fills, c.rules)
    looks = *steps, LakeSteps(lake, c.index)
    checker = Checker(CheckTable(c.database), *looks, c.rules.timestamp, time.monotonic)
    around = Surroundings(
        lambda: c.accounting.active > 0 or bool(c.downloads.running()), c.rules.now, asyncio.sleep, c.budgets.keep
    )
    log = storage.path / f"{DATABASE}.wal"
    upkeep = Upkeep(c.config, checker, c.blobs, c.database, log, c.accounting, around)
    doors = Doors(c.config, c.rules.timestamp)
    watch = ConfigWatch(path, c.config, environ, _applier(core, exporting.worker, sync, upkeep, doors), c.rules.timestamp)
    status = Status(
        c.index, c.filler, c.upstream, c.rules, c.tallies, c.blobs, sync, watch, upkeep, Totals(c.database), c.budget
    )
    adoption = Adoption(
        c.catalogue, c.records, c.index, c.files, c.holdings, c.adopted, c.blobs, c.rules,
        tree=storage.readable_tree,
    )  # fmt: skip
    return Keeping(
        sync=sync,
        checker=checker,
        upkeep=upkeep,
        watch=watch,
        forgetter=Forgetter(c.database, c.index, c.blobs, upkeep.subscriptions, c.rules.timestamp),
        status=status,
        adoption=adoption,
        inbox=Inbox(storage.inbox if standing_wishes else None, adoption, time.monotonic, asyncio.sleep),
        analytics=_analytics(core, lake, status, sync),
        doors=doors,
        audit=Audit(AuditTable(c.database), c.rules.timestamp),
    )


def _analytics(core: Core, lake: Lake, status: Status, sync: Sync) -> Analytics:
    c, sql = core, core.config.sql
    workers = Workers(lake.root, Powers(sql.places, sql.waiting, sql.memory, sql.threads))
    tables = CatalogueTables(c.index, c.database, status, sync)
    recordsets = RecordSets(c.search, c.records, c.index, lake)
    return Analytics(c.index, lake, workers, tables, recordsets, Limits(sql.seconds, sql.rows, sql.bytes))


def _applier(
    core: Core, jobs: ExportJobs, sync: Sync, upkeep: Upkeep, doors: Doors
) -> Callable[[Config], Awaitable[None]]:
    """What makes another configuration hold in a running mirror, as far as that is possible."""
    last = core.config

    async def apply(wanted: Config) -> None:
        nonlocal last
        # A policy that was set by hand stays, unless it is this that was edited.
        if wanted.upstream.policy != last.upstream.policy:
            core.rules.configure(wanted.upstream.policy)
        core.rules.rule_for = wanted.freshness_of
        core.blobs.limit(wanted.storage.quota)
        core.blobs.verified.lasts = wanted.upkeep.verify_after
        limits = BudgetLimits(wanted.upstream.records_per_hour, wanted.upstream.bytes_per_day)
        if limits != core.budget.limits:  # what waits for more may have it now
            core.budget.configure(limits)
            jobs.try_now()
            sync.try_now()
        upkeep.apply(wanted)
        doors.apply(wanted)
        last = wanted
        await sync.reconcile(wanted.subscription)

    return apply


@dataclass(frozen=True)
class Carrying:
    """Copies of the mirror, or of parts of it, to keep and to carry away."""

    backups: Backups
    bundles: Bundles
    importer: Importer


def carrying(core: Core) -> Carrying:
    """Backups, bundles and their import."""
    c, root = core, core.config.storage.path
    bundles = Bundles(
        Way(c.search, c.extremes, c.records, c.rules),
        _held_only(core),
        c.filler,
        c.index,
        c.database,
        BundleFiles(c.index, c.files, c.holdings, c.adopted, c.blobs),
        c.assembler,
        c.listing,
        root,
    )
    tree = c.config.storage.readable_tree
    importer = Importer(c.index, c.files, c.adopted, c.blobs, c.rules.timestamp, tree=tree)
    return Carrying(Backups(c.database, root, c.rules.now), bundles, importer)


def _held_only(core: Core) -> Way:
    """The way to records that are held, whatever the policy is."""
    c = core
    offline = Rules("offline", c.rules.rule_for, c.rules.now)
    extremes = Extremes(c.index, c.upstream, offline)
    records = Records(c.index, c.upstream, c.filler, extremes, offline, c.config.fill)
    catalogue = Catalogue(c.index, c.upstream, offline)
    return Way(Search(c.index, catalogue, records), extremes, records, offline)


def _each(*listeners: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    def tell(exchange: Exchange) -> None:
        for listener in listeners:
            listener(exchange)

    return tell


def _counter(tallies: Tallies) -> Callable[[Origin], None]:
    def count(origin: Origin) -> None:
        tallies.searches[origin.name.lower()] += 1

    return count
