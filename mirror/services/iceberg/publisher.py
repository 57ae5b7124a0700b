"""Publishes the lake at intervals: the months that have changed, and the tables about the mirror.

In a cluster one server publishes: the one with the advisory lock for it. It first takes over what the others have.

People come first: reading, converting and compressing months takes a processor, so a scheduled publication waits before
each step until nobody uses the mirror. In all it waits no longer than until the next one would be due.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mirror.concurrency import end
from mirror.errors import MirrorError
from mirror.services.iceberg.tables import ABOUT, Column, Content, Month, PublishedTables, from_file
from mirror.services.sql.mirror_tables import TABLES
from mirror.storage.index.layout import quoted
from mirror.storage.lake.columns import time_column, utc
from mirror.storage.lake.table import ALL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from mirror.drms.series import Series
    from mirror.services.sql.mirror_tables import CatalogueTables
    from mirror.storage.index.index import Index
    from mirror.storage.lake.columns import LakeColumn
    from mirror.storage.lake.lake import Lake
    from mirror.storage.lake.table import Sealed

log = logging.getLogger(__name__)

#: Seconds after the start until the first publication.
FIRST = 30.0
#: Seconds between two checks whether the mirror is idle, and months that are written in one step.
LOOK, STEP = 1.0, 2
#: Seconds for which a snapshot can be read after it was replaced.
SNAPSHOTS_STAY = 86_400.0
#: The tables about the mirror that are published with the series.
CATALOGUE = ("series", "keywords", "segments")


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes in a table: months to write, each with its mark, and months to remove."""

    write: tuple[tuple[Sealed, str], ...]
    gone: tuple[str, ...]


def mark_of(row: Sealed) -> str:
    """Equal for months with equal records and columns."""
    return f"{row.shape}:{row.print.records}:{row.print.hash:x}"


def plan(published: Mapping[str, str], rows: Sequence[Sealed]) -> Plan:
    """The changes that make a table with these marks match the lake's files."""
    marks = {row.month: mark_of(row) for row in rows}
    write = tuple((row, marks[row.month]) for row in rows if published.get(row.month) != marks[row.month])
    return Plan(write, tuple(month for month in published if month not in marks))


class Others(Protocol):
    """The other mirrors of a cluster: ``mirror.cluster.shared.ClusterShared``."""

    async def may_publish(self) -> bool:
        """Whether this server is the one that publishes."""
        ...

    async def gather(self) -> None:
        """Take over what the others have."""
        ...


class Alone:
    """A mirror that publishes only its own data."""

    async def may_publish(self) -> bool:
        """Always: nobody else would."""
        return True

    async def gather(self) -> None:
        """Nothing: there are no others."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is published."""

    lake: Lake
    index: Index
    catalogue: CatalogueTables


class Publisher:
    """Publishes every ``every`` seconds; ``opened`` gives the tables, ``now`` Unix seconds.

    ``others`` decides whether this server publishes, and takes over what the others have; ``is_idle`` says whether
    nobody uses the mirror.
    """

    def __init__(
        self,
        parts: Parts,
        opened: Callable[[], PublishedTables],
        every: float,
        now: Callable[[], float],
        others: Others | None = None,
        *,
        is_idle: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._parts = parts
        self._opened = opened
        self._every = every
        self._now = now
        self._others = others or Alone()
        self._is_idle = is_idle
        self._sleep = sleep
        self._stopping = False
        self._patience = 0.0  #: seconds for which this publication may still wait
        self._tables: PublishedTables | None = None
        self._editions: dict[str, int] = {}  #: of the series whose published state is current
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.problem = ""  #: why nothing is published now
        self.published_at: float | None = None

    def start(self) -> None:
        """Publish from now on."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it, once what is being committed is."""
        self._stopping = True
        if self._task is not None:
            await end(self._task)
        async with self._turn:
            if self._tables is not None:
                await asyncio.to_thread(self._tables.close)

    async def _run(self) -> None:
        pause = min(FIRST, self._every)
        while True:
            await asyncio.sleep(pause)
            pause = self._every
            try:
                await asyncio.shield(asyncio.ensure_future(self.publish(patience=self._every)))
                self.problem = ""
            except MirrorError as problem:
                if str(problem) != self.problem:
                    log.warning("tables of Iceberg are not published problem=%r", str(problem))
                self.problem = str(problem)
            except Exception:
                log.exception("tables of Iceberg are not published")
                self.problem = "internal error; see the mirror's log"

    async def publish(self, *, patience: float = 0.0) -> int:
        """Publish what has changed; how many rows were written. 0 if another server does it.

        Its steps wait for at most ``patience`` seconds in all until the mirror is idle.
        """
        async with self._turn:
            if not await self._others.may_publish():
                return 0
            self._patience = patience
            if not await self._give_way():
                return 0
            await self._others.gather()
            if self._tables is None:
                self._tables = await asyncio.to_thread(self._opened)
            written = 0
            for series in self._parts.index.all_series():
                if self._parts.index.has_records(series):
                    if not await self._give_way():
                        return written
                    written += await self._series(self._tables, series)
            for name in CATALOGUE:
                written += await self._about(self._tables, name)
            self.published_at = self._now()
            if written:
                log.info("published tables of Iceberg place=%s rows=%d", self._tables.place, written)
            return written

    async def _give_way(self) -> bool:
        """Return when nobody uses the mirror, or after the longest wait; False if it is being stopped."""
        while self._patience > 0.0 and not self._is_idle() and not self._stopping:
            self._patience -= LOOK
            await self._sleep(LOOK)
        return not self._stopping

    async def _series(self, tables: PublishedTables, series: Series) -> int:
        name, edition = series.name.lower(), self._parts.index.version(series)
        if self._editions.get(name) == edition:
            return 0
        columns: tuple[LakeColumn, ...] = ()
        for table in await self._parts.lake.tables(series):
            columns = table.columns
        rows = await self._parts.lake.files(series)
        written = 0
        for table_name, note in ((name, series.note), (f"{name}__old", f"old versions: {series.note}")):
            mine = [row for row in rows if row.table == table_name]
            published = await asyncio.to_thread(tables.months, table_name)
            wanted = plan(published, mine)
            if wanted.write or wanted.gone:
                content = _content(table_name, note, series, columns)
                months = [Month(row.month, mark, from_file(self._parts.lake.root / row.file)) for row, mark in wanted.write]
                for start in range(0, max(1, len(months)), STEP):
                    if not await self._give_way():
                        return written
                    leaving = wanted.gone if start == 0 else ()
                    written += await asyncio.to_thread(tables.replace, content, months[start : start + STEP], leaving)
            await asyncio.to_thread(tables.expire, table_name, self._now() - SNAPSHOTS_STAY)
        self._editions[name] = edition
        return written

    async def _about(self, tables: PublishedTables, name: str) -> int:
        """Publish a table about the mirror, whole, if it has changed."""
        rows = await self._parts.catalogue.table(name)
        mark = hashlib.sha256(str(rows.to_pylist()).encode()).hexdigest()
        full = f"{ABOUT}.{name}"
        if (await asyncio.to_thread(tables.months, full)).get(ALL) == mark:
            return 0
        note, columns = TABLES[name]
        described = tuple(Column(column, meaning) for column, (_, meaning) in columns.items())
        content = Content(full, note, described, None, None)
        written = await asyncio.to_thread(tables.replace, content, [Month(ALL, mark, lambda: rows)], ())
        await asyncio.to_thread(tables.expire, full, self._now() - SNAPSHOTS_STAY)
        return written


def _content(name: str, note: str, series: Series, columns: Sequence[LakeColumn]) -> Content:
    """A table of a series; its time is the one by whose months the lake is cut."""
    key = time_column(series)
    described = tuple(Column(column.name, column.comment) for column in columns)
    if key is None:
        return Content(name, note, described, None, None)
    source = quoted(key)
    time = next(c.name for c in columns if c.type == "TIMESTAMP" and c.sql == utc(source))
    exact = next(c.name for c in columns if c.type == "DOUBLE" and c.sql == source)
    return Content(name, note, described, time, exact)
