"""What the mirror has and how it is doing, for people and the API.

``Totals`` counts the rows of the store, ``Counters`` events since the start. ``Prober`` asks whether JSOC is back: the
circuit breaker lets one request through after each pause, and without a probe that would be somebody's search, which
would wait for a server that may never answer.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from mirror.api import monitoring as api
from mirror.api.monitoring import FileProgress, FillProgress
from mirror.api.search import SeriesLine
from mirror.errors import MirrorError
from mirror.humanize import stamp
from mirror.metrics import Timings
from mirror.services.access.usage import ITSELF
from mirror.storage.database.database import Tables
from mirror.storage.files.holdings import fingerprint
from mirror.upstream.budget import DAY, HOUR

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from mirror.config.watching import ConfigWatcher
    from mirror.readthrough.downloads import Download, Downloads
    from mirror.readthrough.filler import Filler, Progress
    from mirror.readthrough.policy import Rules
    from mirror.services.maintenance.upkeep import Upkeep
    from mirror.services.subscriptions.manager import Sync
    from mirror.storage.database.database import Database
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.index.index import Index
    from mirror.upstream.budget import Budget
    from mirror.upstream.client import Exchange, UpstreamClient
    from mirror.upstream.pacing import Pace

#: Seconds within which the system must say how full a disk is.
DISK_PATIENCE = 2.0


class Totals:
    """Counts rows of the store."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)
        self._by_series: tuple[tuple[int, int], dict[str, tuple[int, int]]] | None = None

    async def files(self) -> int:
        """How many blobs there are."""
        row = await self._tables.read(lambda c: c.execute("SELECT count(*) FROM mirror.blobs").fetchone())
        return int(row[0]) if row else 0

    async def adopted(self) -> int:
        """How many adopted exports there are."""
        row = await self._tables.read(lambda c: c.execute("SELECT count(*) FROM mirror.adopted").fetchone())
        return int(row[0]) if row else 0

    async def jobs(self) -> dict[str, int]:
        """How many exports there are in each state."""
        sql = "SELECT state, count(*) FROM mirror.jobs GROUP BY state ORDER BY state"
        return dict(await self._tables.read(lambda c: c.execute(sql).fetchall()))

    async def by_series(self) -> dict[str, tuple[int, int]]:
        """Segment files and their bytes of each series, by lower-case name; shared files count for each series."""
        sql = (
            "SELECT series, count(*), sum(size)::BIGINT FROM mirror.holdings JOIN mirror.blobs USING (head, sha256) "
            "WHERE series IS NOT NULL GROUP BY series"
        )
        state = await self._tables.read(fingerprint)
        if self._by_series is None or self._by_series[0] != state:
            found = await self._tables.read(lambda c: c.execute(sql).fetchall())
            self._by_series = state, {name: (count, size) for name, count, size in found}
        return self._by_series[1]


@dataclass
class Counters:
    """Counts since the start."""

    searches: Counter[str]
    requests: Counter[tuple[str, str]]
    records: Counter[str]
    upstream_bytes: int = 0
    started_at: float = field(default=0.0)
    latency: Timings = field(
        default_factory=lambda: Timings("mirror_request_seconds", "Time to answer requests, by program.", "program", "jsoc_info")
    )
    upstream_latency: Timings = field(
        default_factory=lambda: Timings(
            "mirror_upstream_request_seconds", "Time that JSOC took for requests, by program.", "program", "jsoc_info"
        )
    )

    def count_exchange(self, exchange: Exchange) -> None:
        """Count one attempt at a request upstream."""
        self.requests[exchange.program, exchange.outcome] += 1
        self.upstream_bytes += exchange.bytes
        if exchange.seconds:
            self.upstream_latency(exchange.program, exchange.seconds)
        if exchange.records:
            self.records[exchange.series] += exchange.records


class Status:
    """Describes the mirror, as the API returns it."""

    def __init__(
        self,
        index: Index,
        filler: Filler,
        downloads: Downloads,
        upstream: UpstreamClient,
        rules: Rules,
        tallies: Counters,
        blobs: Blobs,
        sync: Sync,
        watch: ConfigWatcher,
        upkeep: Upkeep,
        totals: Totals,
        budget: Budget,
        root: Path,
    ) -> None:
        self._budget = budget
        self._root = root
        self._totals = totals
        self._upkeep = upkeep
        self._sync = sync
        self._watch = watch
        self._index = index
        self._filler = filler
        self._downloads = downloads
        self._upstream = upstream
        self._rules = rules
        self._tallies = tallies
        self._blobs = blobs

    async def series(self) -> list[SeriesLine]:
        """The known series, each with its prime keys and how many records are cached; unreadable ones come first."""
        unreadable = [
            SeriesLine(series=u.name, records=0, primekeys=[], keywords=0, segments=[], note=f"cannot be read: {u.why}")
            for u in self._index.unreadable_series()
        ]
        return unreadable + [
            SeriesLine(
                series=s.name,
                records=await self._index.count(s),
                primekeys=[k.name for k in s.primekeys],
                keywords=len(s.all_keywords),
                segments=[x.name for x in s.segments],
                note=s.note,
            )
            for s in self._index.all_series()
        ]

    async def status(self) -> api.Status:
        """The state of the mirror."""
        brief, slow = self.brief(), await self.slow()
        return api.Status(**msgspec.structs.asdict(brief), **msgspec.structs.asdict(slow), disk=await self.disk())

    async def disk(self) -> api.Disk | msgspec.UnsetType:
        """How full the disk of the store is; unset if the system does not say in time."""
        try:
            async with asyncio.timeout(DISK_PATIENCE):
                found = await asyncio.to_thread(shutil.disk_usage, self._root)
        except OSError:  # also a timeout, as with a file server that is away
            return msgspec.UNSET
        usage = self._blobs.usage()
        return api.Disk(free=found.free, total=found.total, cached=usage.held, quota=usage.limit)

    def brief(self) -> api.Brief:
        """The part of the status that is in memory."""
        pace = self._upstream.pace()
        return api.Brief(
            policy=self._rules.policy,
            configured_policy=self._rules.configured,
            uptime_seconds=round(self._rules.timestamp() - self._tallies.started_at),
            series=len(self._index.all_series()),
            searches=dict(self._tallies.searches),
            upstream=api.Upstream(
                state=self.upstream_state(),
                running=pace.running,
                waiting=pace.waiting,
                requests=sum(self._tallies.requests.values()),
                failed=sum(n for (_, outcome), n in self._tallies.requests.items() if outcome not in ("ok", "refused")),
                refused=sum(n for (_, outcome), n in self._tallies.requests.items() if outcome == "refused"),
                bytes=self._tallies.upstream_bytes,
                budget=self._budgets(),
            ),
            fills=fill_progress(self._filler.progress(), self.now()),
            downloads=file_progress(self._downloads.running(), asyncio.get_running_loop().time()),
            config=self._watch.status(),
        )

    def _budgets(self) -> api.UpstreamBudget:
        """The used budget towards JSOC; ``until``: when there is more, None while there is some."""
        budget, used, hold = self._budget, self._budget.used(), self._budget.hold()
        return api.UpstreamBudget(
            records=api.Used(used=used.records, limit=budget.limits.records, seconds=round(HOUR)),
            bytes=api.Used(used=used.bytes, limit=budget.limits.bytes, seconds=round(DAY)),
            waiting=budget.waiting,
            until=None if hold is None else stamp(hold.until),
            why="" if hold is None else str(hold),
        )

    async def slow(self) -> api.Slow:
        """The part of the status that is read from the database."""
        return api.Slow(
            records=sum([await self._index.count(s) for s in self._index.all_series()]),
            subscriptions=await self._sync.report(),
            check=await self._upkeep.state(),
            files=await self._files(),
            jobs=await self._totals.jobs(),
        )

    async def _files(self) -> api.StoredFiles:
        """Cached files."""
        usage = self._blobs.usage()
        return api.StoredFiles(
            count=await self._totals.files(),
            adopted=await self._totals.adopted(),
            bytes=usage.held,
            quota=usage.limit,
        )

    def budget_wait(self) -> int:
        """Seconds until there is more of the budget towards JSOC; 0 while there is."""
        hold = self._budget.hold()
        return 0 if hold is None else round(max(0.0, hold.until - self.now()))

    def now(self) -> float:
        """The present in Unix seconds."""
        return self._rules.timestamp()

    def upstream_state(self) -> api.UpstreamState:
        """One of "ok", "failing" (recently), "away" (left alone for a while), "offline" (not to be asked)."""
        if not self._rules.may_ask:
            return "offline"
        pace = self._upstream.pace()
        return "away" if pace.open_for else "failing" if pace.failures else "ok"


#: Seconds between two looks at JSOC's state, and at least between two probes.
LOOK = 5.0
#: The probe asks for the structure of this series: a light query, and any answer shows that JSOC is there.
SERIES = "hmi.v_45s"


def pause(pace: Pace, *, may_ask: bool) -> float | None:
    """Seconds until the next probe: None if none is needed, since JSOC answered last or must not be asked."""
    return pace.open_for if may_ask and pace.failures else None


class Prober:
    """Probes upstream while it does not answer; ``sleep`` waits for seconds.

    ``back`` is called once upstream can be asked again after it was away, or the mirror offline.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        rules: Rules,
        sleep: Callable[[float], Awaitable[object]],
        back: Callable[[], None],
    ) -> None:
        self._upstream = upstream
        self._rules = rules
        self._sleep = sleep
        self._back = back

    async def run(self) -> None:
        """Watch upstream for ever."""
        away = False
        while True:
            await self._sleep(LOOK)
            down = self._upstream.pace().failures > 0
            here = await self.look() and self._rules.may_ask
            if here and (away or down):
                self._back()
            away = not here

    async def look(self) -> bool:
        """Probe once if it is time, after the remaining pause; True if upstream answers, or was not asked."""
        rest = pause(self._upstream.pace(), may_ask=self._rules.may_ask)
        if rest is None:
            return True
        if rest:
            await self._sleep(rest)
        try:
            await self._upstream.series_struct(SERIES)
        except MirrorError:  # the circuit breaker has counted it, and the status shows it
            return not self._upstream.pace().failures
        return True


# ---- who is fetching what ------------------------------------------------------------------------
# Who is fetching what from JSOC now, and how long it will take. Pure.


def fill_progress(progress: Mapping[str, Progress], now: float) -> list[FillProgress]:
    """The series that are being fetched; ``now`` in Unix seconds."""
    return [
        FillProgress(
            series=name, done=p.done, total=p.total, who=[who or ITSELF for who in p.who],
            seconds_left=None if (left := p.seconds_left(now)) is None else round(left),
        )
        for name, p in progress.items()
    ]  # fmt: skip


def file_progress(running: Iterable[Download], now: float) -> list[FileProgress]:
    """The files that are being fetched, each under the first who asked for it; ``now`` by the clock of the event loop."""
    by_who: dict[str, list[Download]] = defaultdict(list)
    for download in running:
        by_who[next(iter(download.who)) or ITSELF].append(download)
    return [_files(who, files, now) for who, files in by_who.items()]


def _files(who: str, files: Sequence[Download], now: float) -> FileProgress:
    arriving = [d for d in files if d.begun_at is not None]
    known = [d for d in files if d.size is not None]
    size, written = sum(d.size or 0 for d in known), sum(d.written for d in files)
    # Waiting files of unknown size are assumed to be as large as the others.
    still = size / len(known) * len(files) - written if known else None
    began = min((d.begun_at for d in arriving if d.begun_at is not None), default=now)
    fresh = sum(d.written - d.resumed for d in arriving)
    left = round(still * (now - began) / fresh) if still is not None and fresh > 0 and now > began else None
    return FileProgress(
        who=who, files=len(files), arriving=len(arriving), bytes=written, size=size, seconds_left=left
    )
