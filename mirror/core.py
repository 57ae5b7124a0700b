"""What every mirror needs to find and get data: the store, the client of JSOC, the read-throughs. ``app`` builds on it."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mirror import __version__
from mirror.readthrough.downloads import Downloads
from mirror.readthrough.files import Files
from mirror.readthrough.filler import Filler
from mirror.readthrough.first_last import FirstLast
from mirror.readthrough.plain_files import PlainFiles, PlainFileTable
from mirror.readthrough.policy import Rules, within
from mirror.readthrough.records import CacheStatus, Records
from mirror.readthrough.shared import Alone
from mirror.readthrough.structures import Catalogue, Listing
from mirror.server.forwarding import Forwarding
from mirror.services.access.usage import Accounting, UsageTable
from mirror.services.estimates import Estimates
from mirror.services.exports.assembling import Assembler
from mirror.services.fills import Fills
from mirror.services.monitoring.status import Counters
from mirror.services.search.search import Search
from mirror.services.subscriptions.holdings import SubscriptionHoldings
from mirror.storage.database.database import Database, KeyedTable, if_possible
from mirror.storage.files.adopted_exports import Adopted
from mirror.storage.files.blobs import Blobs
from mirror.storage.files.holdings import Holdings
from mirror.storage.index.index import Index
from mirror.upstream.budget import Budget, BudgetLimits, BudgetMemory
from mirror.upstream.client import UpstreamClient
from mirror.upstream.pacing import Rates
from mirror.upstream.transport import Route, user_agent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from mirror.cluster.files import SharedFiles
    from mirror.cluster.shared import ClusterShared
    from mirror.config.loading import Config
    from mirror.readthrough.shared import Shared
    from mirror.upstream.client import Exchange
    from mirror.upstream.pacing import Pacer

    Sleep = Callable[[float], Awaitable[None]]

DATABASE = "index.duckdb"


@dataclass(frozen=True)
class Core:
    """What finds and gets data: the store, the client of JSOC, and the two read-throughs."""

    config: Config
    rules: Rules
    database: Database
    index: Index
    tallies: Counters
    accounting: Accounting
    rates: Rates
    budget: Budget
    budgets: BudgetMemory
    route: Route
    upstream: UpstreamClient
    catalogue: Catalogue
    filler: Filler
    fills: Fills
    extremes: FirstLast
    records: Records
    search: Search
    listing: Listing
    blobs: Blobs
    holdings: Holdings
    adopted: Adopted
    downloads: Downloads
    files: Files
    plain_files: PlainFiles
    forwarding: Forwarding
    assembler: Assembler
    estimates: Estimates
    sleep: Sleep
    shared: Shared
    cluster: ClusterShared | None  #: the same as ``shared`` if there is a ``[cluster]``
    shared_files: SharedFiles | None  #: its files


async def open_core(
    config: Config, stops: AsyncExitStack, *, now: Callable[[], datetime], pacer: Pacer | None, sleep: Sleep
) -> Core:
    """The core of a mirror on the store of ``config``; raises StorageError if the store cannot be opened."""
    database = await asyncio.to_thread(Database.open, config.storage.path / DATABASE)
    stops.push_async_callback(asyncio.to_thread, database.close)
    index = await Index.load(database)
    rules = Rules(config.upstream.policy, config.freshness_of, now)
    tallies = Counters(Counter(), Counter(), Counter(), started_at=rules.timestamp())
    accounting, rates = Accounting(UsageTable(database), rules.timestamp), Rates()
    budget = Budget(BudgetLimits(config.upstream.records_per_hour, config.upstream.bytes_per_day), rules.timestamp)
    budgets = BudgetMemory(budget, database, rules.timestamp)
    await budgets.recall()
    await if_possible(accounting.recall(), "usage of today")
    fill = within(config.fill, config.upstream)
    cluster = _of_cluster(config, database, index, budget)
    shared = cluster or Alone()
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
        slot=None if cluster is None else cluster.slot,
    )
    stops.push_async_callback(upstream.close)
    catalogue, listing = Catalogue(database, index, upstream, rules, shared), Listing(database, upstream, rules, shared)
    if cluster is not None:
        stops.push_async_callback(cluster.stop)
        cluster.share(
            {
                "list": listing.lists,
                "address": listing.addresses,
                "absent": catalogue.absent,
                "formats": catalogue.known_formats,
            }
        )
        accounting.elsewhere = cluster.tallies
        await cluster.start()
    filler = Filler(index, upstream, rules, fill, queries=config.upstream.queries, budget=budget, shared=shared)
    extremes = FirstLast(index, upstream, rules)
    records = Records(index, upstream, filler, extremes, rules, fill, shared)
    blobs = await Blobs.open(
        config.storage.path,
        database,
        now=rules.timestamp,
        quota=config.storage.quota,
        verify_after=config.upkeep.verify_after,
    )
    stops.push_async_callback(lambda: if_possible(blobs.note_uses(), "times of use"))
    search = Search(index, catalogue, records, _counter(tallies))
    holdings, shared_files = Holdings(database, blobs), _shared_files(cluster, upstream, database, blobs, sleep)
    downloads = Downloads(blobs, shared_files or upstream, sleep)
    if shared_files is not None:
        stops.push_async_callback(shared_files.stop)
        shared_files.start(holdings)
    stops.push_async_callback(downloads.stop)
    stops.push_async_callback(filler.stop)
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
        fills=Fills(search, extremes, index, filler, rules, database, sleep, shared.job_number),
        extremes=extremes,
        records=records,
        search=search,
        listing=listing,
        blobs=blobs,
        holdings=holdings,
        adopted=Adopted(database, blobs),
        downloads=downloads,
        files=Files(
            blobs,
            holdings,
            downloads,
            rules,
            tree=config.storage.readable_tree,
            elsewhere=None if shared_files is None else shared_files.has,
        ),
        plain_files=PlainFiles(PlainFileTable(database, blobs), downloads, rules, config.plain_file_age),
        forwarding=Forwarding(config.access.pass_through),
        assembler=Assembler(database, index, blobs, upstream, rules),
        estimates=Estimates(index, catalogue, extremes, SubscriptionHoldings(database, index), upstream, rules, rates, budget.spread),
        sleep=sleep,
        shared=shared,
        cluster=cluster,
        shared_files=shared_files,
    )


def _shared_files(
    cluster: ClusterShared | None, upstream: UpstreamClient, database: Database, blobs: Blobs, sleep: Sleep
) -> SharedFiles | None:
    """The files of the cluster, if there is one."""
    if cluster is None:
        return None
    from mirror.cluster.files import SharedFiles  # noqa: PLC0415

    cluster.files = SharedFiles((cluster.database, cluster.objects), upstream, database, blobs, sleep)
    return cluster.files


def _of_cluster(config: Config, store: Database, index: Index, budget: Budget) -> ClusterShared | None:
    """The cluster of ``[cluster]``, not joined yet; None, without any import, if there is none."""
    section = config.cluster
    if section.database is None or section.objects is None:
        return None
    from mirror.cluster.database import ClusterDatabase, name_of_machine  # noqa: PLC0415
    from mirror.cluster.objects import open_objects  # noqa: PLC0415
    from mirror.cluster.shared import ClusterShared  # noqa: PLC0415

    database = ClusterDatabase(section.database, section.name or name_of_machine(), __version__)
    objects = open_objects(section.objects, section.endpoint)
    return ClusterShared(
        index,
        database,
        objects,
        config.storage.path / "cluster",
        state=KeyedTable(store, "cluster_state"),
        queries=config.upstream.queries,
        budget=budget,
    )


def _each(*listeners: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    def tell(exchange: Exchange) -> None:
        for listener in listeners:
            listener(exchange)

    return tell


def _counter(tallies: Counters) -> Callable[[CacheStatus], None]:
    def count(origin: CacheStatus) -> None:
        tallies.searches[origin.name.lower()] += 1

    return count
