"""The metrics for Prometheus: made when it asks, from counts that are kept anyway.

The alert rules and the dashboard in ``scripts/service`` use these; a test makes sure that each of their expressions has
data here.
"""

from __future__ import annotations

import math
import platform
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from mirror import __version__
from mirror.api.contract import UNSET
from mirror.metrics import counter, gauge
from mirror.services.subscriptions.manager import gauges
from mirror.upstream.client import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.metrics import Metric
    from mirror.readthrough.downloads import Downloads
    from mirror.services.access.usage import Accounting
    from mirror.services.fills import Fills
    from mirror.services.maintenance.upkeep import Upkeep
    from mirror.services.monitoring.status import Counters, Status, Totals
    from mirror.services.subscriptions.manager import Sync
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.index.index import Index

#: The origins of answers: without JSOC, and with it.
_LOCAL, _ASKED = ("local", "stale"), ("filled", "forwarded")
_STATES = ("ok", "failing", "away", "offline")


@dataclass(frozen=True)
class Measures:
    """Everything that is measured; ``more`` gives what only some mirrors have."""

    status: Status
    counters: Counters
    accounting: Accounting
    index: Index
    blobs: Blobs
    totals: Totals
    fills: Fills
    downloads: Downloads
    sync: Sync
    upkeep: Upkeep
    more: Callable[[], list[Metric]] = list

    async def metrics(self) -> list[Metric]:
        """All of them, as of now."""
        return [
            *self._requests(),
            *self._jsoc(),
            *await self._store(),
            *await self._work(),
            *await self.upkeep.metrics(),
            *gauges(await self.sync.report()),
            *self.more(),
        ]

    def _requests(self) -> list[Metric]:
        t, used = self.counters, self.accounting.since_start
        searches = {plan: t.searches[plan] for plan in (*_LOCAL, *_ASKED)}
        everything = sum(searches.values())
        hits = sum(searches[plan] for plan in _LOCAL)
        build: dict[tuple[str, ...], float] = {(__version__, platform.python_version(), duckdb.__version__): 1}
        return [
            gauge("mirror_build_info", "1, by the versions of the program, Python and DuckDB.", build, "version", "python", "duckdb"),
            gauge("mirror_start_timestamp_seconds", "When the mirror was started.", t.started_at),
            counter("mirror_searches_total", "Searches, by plan: how they were answered.", searches, "plan"),
            gauge("mirror_cache_hit_ratio", "Searches since the start that were answered without JSOC, of all; NaN: none yet.",
                  hits / everything if everything else math.nan),
            gauge("mirror_requests_running", "Requests that are being answered.", self.accounting.active),
            counter("mirror_requests_total", "Requests that were answered, by user.", {who: u.requests for (_, who), u in used.items()}, "user"),
            counter("mirror_sent_bytes_total", "Bytes that were sent, by user.", {who: u.bytes for (_, who), u in used.items()}, "user"),
            counter("mirror_user_upstream_bytes_total", "Bytes that JSOC sent, by the user who asked first.",
                    {who: u.upstream_bytes for (_, who), u in used.items()}, "user"),
            *t.latency.metrics(),
        ]  # fmt: skip

    def _jsoc(self) -> list[Metric]:
        t, upstream = self.counters, self.status.brief().upstream
        budget, wait = upstream.budget, self.status.budget_wait()
        asked: dict[tuple[str, str], float] = {("jsoc_info", outcome): 0 for outcome in OUTCOMES}
        limits = {kind: each.limit for kind, each in (("records", budget.records), ("bytes", budget.bytes))}
        return [
            gauge("mirror_upstream_up", "1 if JSOC is asked and answered last.", int(upstream.state == "ok")),
            gauge("mirror_upstream_state", "1, by state: how JSOC is.", {s: int(s == upstream.state) for s in _STATES}, "state"),
            gauge("mirror_policy", "1, by policy: the one in force.", {self.status.brief().policy: 1}, "policy"),
            counter("mirror_upstream_requests_total", "Requests to JSOC, by program and outcome.", asked | t.requests, "program", "outcome"),
            counter("mirror_upstream_records_total", "Records that JSOC sent, by series.", t.records, "series"),
            counter("mirror_upstream_bytes_total", "Bytes that JSOC sent.", t.upstream_bytes),
            *t.upstream_latency.metrics(),
            gauge("mirror_upstream_running", "Requests to JSOC that run.", upstream.running),
            gauge("mirror_upstream_waiting", "Requests to JSOC that wait for their turn.", upstream.waiting),
            gauge("mirror_upstream_budget_used", "Records that JSOC sent in the last hour, bytes in the last day.",
                  {"records": budget.records.used, "bytes": budget.bytes.used}, "kind"),
            gauge("mirror_upstream_budget_limit", "How many of them there may be; +Inf: any number.",
                  {kind: math.inf if limit is None else limit for kind, limit in limits.items()}, "kind"),
            gauge("mirror_upstream_budget_waiting", "Requests waiting for the budget.", budget.waiting),
            gauge("mirror_upstream_budget_wait_seconds", "Seconds until there is more of it; 0: there is.", wait),
        ]  # fmt: skip

    async def _store(self) -> list[Metric]:
        usage, disk = self.blobs.usage(), await self.status.disk()
        space = {} if disk is UNSET else {"free": disk.free, "total": disk.total}
        return [
            gauge("mirror_blob_bytes", "Bytes of cached files.", usage.held),
            gauge("mirror_files", "Cached files.", await self.totals.files()),
            gauge("mirror_quota_bytes", "Bytes that cached files may have; +Inf: any number.",
                  math.inf if usage.limit is None else usage.limit),
            *(gauge(f"mirror_disk_{name}_bytes", f"Bytes of the disk of the store: {name}.", size) for name, size in space.items()),
            gauge("mirror_records", "Cached records, by series.",
                  {s.name: await self.index.count(s) for s in self.index.all_series()}, "series"),
        ]  # fmt: skip

    async def _work(self) -> list[Metric]:
        fills = Counter(dict.fromkeys(("running", "waiting"), 0))
        fills.update(job.state for job in self.fills.list())
        records = sum(job.records for job in self.fills.list() if not job.ended)
        left = sum(max(0, (job.total or 0) - job.records) for job in self.fills.list() if not job.ended)
        jobs = {"waiting": 0, "staging": 0, "fetching": 0, "failed": 0, **await self.totals.jobs()}
        return [
            gauge("mirror_exports", "Exports, by state.", jobs, "state"),
            gauge("mirror_fills", "Fills, by state.", dict(fills), "state"),
            gauge("mirror_fill_records", "Records that fills under way have fetched.", records),
            gauge("mirror_fill_records_left", "Records that fills under way still fetch, as far as is known.", left),
            gauge("mirror_downloads", "Files that arrive, or wait for that.", len(self.downloads.running())),
        ]  # fmt: skip
