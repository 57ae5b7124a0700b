"""Publishes what the lake has, now and then: which months have changed, and the tables about the mirror.

Of the servers of a cluster one publishes: whoever has the advisory lock for it. It takes over first what the others have.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mirror.errors import MirrorError
from mirror.services.iceberg.tables import ABOUT, Column, Content, Month, PublishedTables, from_file
from mirror.services.sql.mirror_tables import TABLES
from mirror.storage.index.layout import quoted
from mirror.storage.lake.columns import time_column, utc
from mirror.storage.lake.table import ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mirror.drms.series import Series
    from mirror.services.sql.mirror_tables import CatalogueTables
    from mirror.storage.index.index import Index
    from mirror.storage.lake.columns import LakeColumn
    from mirror.storage.lake.lake import Lake
    from mirror.storage.lake.table import Sealed

log = logging.getLogger(__name__)

#: Seconds after the start until the first publication.
FIRST = 1.0
#: Seconds for which a snapshot can be read after it was replaced.
SNAPSHOTS_STAY = 86_400.0
#: The tables about the mirror that are published with the series.
CATALOGUE = ("series", "keywords", "segments")


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a table changes: months to be written, each with its mark, and months that it has no more."""

    write: tuple[tuple[Sealed, str], ...]
    gone: tuple[str, ...]


def mark_of(row: Sealed) -> str:
    """Equal for months with equal records and columns."""
    return f"{row.shape}:{row.print.records}:{row.print.hash:x}"


def plan(published: Mapping[str, str], rows: Sequence[Sealed]) -> Plan:
    """What makes a table that has months with these marks be as the lake's files are."""
    marks = {row.month: mark_of(row) for row in rows}
    write = tuple((row, marks[row.month]) for row in rows if published.get(row.month) != marks[row.month])
    return Plan(write, tuple(month for month in published if month not in marks))


class Others(Protocol):
    """The other mirrors of a cluster: ``mirror.cluster.shared.ClusterShared``."""

    async def may_publish(self) -> bool:
        """Whether it is this server that publishes."""
        ...

    async def gather(self) -> None:
        """Take over what the others have."""
        ...


class Alone:
    """A mirror that publishes what it has itself."""

    async def may_publish(self) -> bool:
        """Nobody else would."""
        return True

    async def gather(self) -> None:
        """There is nothing else."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is published."""

    lake: Lake
    index: Index
    catalogue: CatalogueTables


class Publisher:
    """Publishes every ``every`` seconds; ``opened`` gives the tables, ``now`` Unix seconds.

    ``others`` says whether it is this server that publishes, and takes over what the others have.
    """

    def __init__(
        self,
        parts: Parts,
        opened: Callable[[], PublishedTables],
        every: float,
        now: Callable[[], float],
        others: Others | None = None,
    ) -> None:
        self._parts = parts
        self._opened = opened
        self._every = every
        self._now = now
        self._others = others or Alone()
        self._tables: PublishedTables | None = None
        self._editions: dict[str, int] = {}  #: of the series that are published as they are
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.problem = ""  #: why nothing is published now
        self.published_at: float | None = None

    def start(self) -> None:
        """Publish from now on."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it, once what is being committed is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        async with self._turn:
            if self._tables is not None:
                await asyncio.to_thread(self._tables.close)

    async def _run(self) -> None:
        pause = min(FIRST, self._every)
        while True:
            await asyncio.sleep(pause)
            pause = self._every
            try:
                await asyncio.shield(asyncio.ensure_future(self.publish()))
                self.problem = ""
            except MirrorError as problem:
                if str(problem) != self.problem:
                    log.warning("tables of Iceberg are not published problem=%r", str(problem))
                self.problem = str(problem)

    async def publish(self) -> int:
        """Publish what has changed; how many rows were written. Nothing where another server does it."""
        async with self._turn:
            if not await self._others.may_publish():
                return 0
            await self._others.gather()
            if self._tables is None:
                self._tables = await asyncio.to_thread(self._opened)
            written = 0
            for series in self._parts.index.all_series():
                if self._parts.index.has_records(series):
                    written += await self._series(self._tables, series)
            for name in CATALOGUE:
                written += await self._about(self._tables, name)
            self.published_at = self._now()
            if written:
                log.info("published tables of Iceberg place=%s rows=%d", self._tables.place, written)
            return written

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
                written += await asyncio.to_thread(tables.replace, content, months, wanted.gone)
            await asyncio.to_thread(tables.expire, table_name, self._now() - SNAPSHOTS_STAY)
        self._editions[name] = edition
        return written

    async def _about(self, tables: PublishedTables, name: str) -> int:
        """A table about the mirror, whole, if it is another than before."""
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
