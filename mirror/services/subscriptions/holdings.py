"""What a subscription has and lacks, determined from records and holdings; and the little that is stored about it.

Nothing is ever marked as done: what is missing is determined each time, so that an evicted file or a reprocessed record
is missing again, and one that somebody else fetched is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.coverage.axis import coverage_axis
from mirror.drms.recordset import Selection
from mirror.storage.database.database import Tables
from mirror.storage.index.layout import Row, column_name, quoted
from mirror.storage.index.select_sql import selected_sql

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.index import Index
    from mirror.storage.index.reader import View

#: The prefix of the owners of subscriptions' pins.
OWNER = "subscription:"
#: Files from whose sizes those of others are estimated.
SAMPLE = 10_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What a subscription is about now: its records, those of them whose files it wants, and which files.

    Both selections are without ``^`` and ``$``; ``segments`` are names in lower case, none: no files.
    ``precise``: the values of these records are wanted at full precision too.
    """

    name: str
    records: Selection
    files: Selection | None
    segments: tuple[str, ...]
    precise: bool = False

    @property
    def owner(self) -> str:
        """The owner of its files' pins."""
        return OWNER + self.name


@dataclass(frozen=True, slots=True)
class Lacking:
    """Records whose files are not all cached, newest first; for the ``undecided`` the condition is not decided here."""

    rows: list[Row]
    undecided: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many records there are, how many of them have files wanted, and how much of these files is cached."""

    records: int = 0
    with_files: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What must survive a restart: the last look, the bytes fetched in a period of the budget, and the size of a file."""

    looked: float = 0.0
    period: float = 0.0
    used: int = 0
    typical: int = 0


class SubscriptionHoldings:
    """The subscriptions' side of a store."""

    def __init__(self, database: Database, index: Index) -> None:
        self._tables = Tables(database)
        self._index = index

    async def lacking(self, scope: Scope, spare: Collection[int], n: int) -> Lacking:
        """The newest ``n`` records that lack a file, except the record numbers in ``spare``."""
        view = self._view(scope)
        if view is None or scope.files is None:
            return Lacking([])
        found, undecided = selected_sql(view.layout, scope.files, view.tolerances)
        complete, values = _complete(scope)
        sql = (
            f"SELECT recnum, _keyset, _raw, {undecided} FROM ({found}) WHERE recnum NOT IN ({complete}) "
            f"AND recnum NOT IN (SELECT unnest(?::BIGINT[])) ORDER BY {_newest(scope)} LIMIT ?"
        )
        values = [*values, list(spare), n]
        rows = await self._tables.read(lambda c: c.execute(sql, values).fetchall())
        made = [Row(recnum, view.keysets[keyset], raw) for recnum, keyset, raw, _ in rows]
        return Lacking(made, frozenset(row[0] for row in rows if row[3]))

    async def newest(self, selection: Selection) -> int | None:
        """The last axis value of the cached records, or None."""
        view, axis = self._index.view(selection.series), coverage_axis(selection.series)
        if view is None or axis is None:
            return None
        found, _ = selected_sql(view.layout, selection, view.tolerances)
        sql = f"SELECT max({quoted(column_name(axis.column))}) FROM ({found})"
        row = await self._tables.read(lambda c: c.execute(sql).fetchone())
        return None if row is None or row[0] is None else int(row[0])

    async def tally(self, scope: Scope) -> Tally:
        """The progress of a subscription."""
        view = self._view(scope)
        if view is None:
            return Tally()
        every, _ = selected_sql(view.layout, scope.records, view.tolerances)
        records = await self._count(f"SELECT count(*) FROM ({every})", [])
        if scope.files is None:
            return Tally(records[0])
        files, _ = selected_sql(view.layout, scope.files, view.tolerances)
        wanted = await self._count(f"SELECT count(*) FROM ({files})", [])
        held, values = _held(scope, files)
        count, size = await self._count(
            f"SELECT count(*), coalesce(sum(size), 0)::BIGINT FROM (SELECT DISTINCT recnum, segment, size FROM ({held}))",
            values,
        )
        return Tally(records[0], wanted[0], count, size)

    async def typical(self, series: str, segments: Collection[str]) -> float | None:
        """The average bytes of a cached file of these segments of a series; None if none is cached."""
        sql = (
            "SELECT avg(size) FROM (SELECT b.size FROM mirror.holdings h "
            "JOIN mirror.blobs b ON h.head = b.head AND h.sha256 = b.sha256 "
            f"WHERE h.series = ? AND h.segment IN (SELECT unnest(?::VARCHAR[])) LIMIT {SAMPLE})"
        )
        values = [series.lower(), [name.lower() for name in segments]]
        row = await self._tables.read(lambda c: c.execute(sql, values).fetchone())
        return None if row is None or row[0] is None else float(row[0])

    # ---- pins ------------------------------------------------------------------------------------

    async def pin(self, scope: Scope, now: float) -> list[str]:
        """Pin the cached files of the scope, and nothing else; returns the hashes that were unpinned."""
        view = self._view(scope)
        wanted, values = "SELECT NULL::VARCHAR AS sha256 LIMIT 0", list[Any]()
        if view is not None and scope.files is not None:
            files, _ = selected_sql(view.layout, scope.files, view.tolerances)
            held, values = _held(scope, files)
            wanted = f"SELECT DISTINCT sha256 FROM ({held})"

        def work(cursor: Cursor) -> list[str]:
            gone = _let_go(cursor, scope.owner, f"sha256 NOT IN ({wanted})", values)
            sql = (
                f"INSERT INTO mirror.pins SELECT sha256, ?, ?, ?, NULL FROM ({wanted}) "
                "WHERE sha256 NOT IN (SELECT sha256 FROM mirror.pins WHERE owner = ?)"
            )
            reason = f"kept by the subscription {scope.name}"
            cursor.execute(sql, [scope.owner, reason, now, *values, scope.owner])
            return gone

        return await self._tables.write(work)

    async def pinned(self) -> int:
        """Bytes of all files that subscriptions pin."""
        sql = (
            "SELECT coalesce(sum(size), 0)::BIGINT FROM mirror.blobs WHERE sha256 IN "
            "(SELECT sha256 FROM mirror.pins WHERE starts_with(owner, ?))"
        )
        return (await self._count(sql, [OWNER]))[0]

    async def release(self, names: Iterable[str]) -> None:
        """Remove all subscriptions but these: their pins, and what was stored about them."""
        kept = list(names)

        def work(cursor: Cursor) -> None:
            owners = [OWNER + name for name in kept]
            sql = "DELETE FROM mirror.pins WHERE starts_with(owner, ?) AND owner NOT IN (SELECT unnest(?::VARCHAR[]))"
            cursor.execute(sql, [OWNER, owners])
            cursor.execute(
                "DELETE FROM mirror.subscriptions WHERE name NOT IN (SELECT unnest(?::VARCHAR[]))", [kept]
            )

        await self._tables.write(work)

    # ---- memory ----------------------------------------------------------------------------------

    async def remembered(self, name: str) -> Memory:
        """What is stored about a subscription."""
        sql = "SELECT looked, period, used, typical FROM mirror.subscriptions WHERE name = ?"
        row = await self._tables.read(lambda c: c.execute(sql, [name]).fetchone())
        return Memory() if row is None else Memory(*row)

    async def remember(self, name: str, memory: Memory) -> None:
        """Store this instead."""

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.subscriptions WHERE name = ?", [name])
            row = [name, memory.looked, memory.period, memory.used, memory.typical]
            cursor.execute("INSERT INTO mirror.subscriptions VALUES (?, ?, ?, ?, ?)", row)

        await self._tables.write(work)

    # ---- inside ----------------------------------------------------------------------------------

    def _view(self, scope: Scope) -> View | None:
        return self._index.view(scope.records.series)

    async def _count(self, sql: str, values: list[Any]) -> tuple[int, ...]:
        row = await self._tables.read(lambda c: c.execute(sql, values).fetchone())
        return row or (0, 0)


def _complete(scope: Scope) -> tuple[str, list[Any]]:
    """The numbers of records that have all that is wanted, whatever the selection; with values to bind."""
    series = scope.records.series.name.lower()
    sql = (
        "SELECT recnum FROM mirror.holdings WHERE series = ? AND segment IN (SELECT unnest(?::VARCHAR[])) "
        "GROUP BY recnum HAVING count(DISTINCT segment) = ?"
    )
    values: list[Any] = [series, list(scope.segments), len(scope.segments)]
    if scope.precise:
        sql += (
            " INTERSECT SELECT split_part(key, ':', 2)::BIGINT FROM mirror.precise_keywords "
            "WHERE starts_with(key, ?)"
        )
        values += [f"{series}:"]
    return sql, values


def _held(scope: Scope, files: str) -> tuple[str, list[Any]]:
    """The holdings of the files that are wanted of the records of a statement."""
    sql = (
        "SELECT h.recnum, h.segment, h.sha256, b.size FROM mirror.holdings h "
        "JOIN mirror.blobs b ON h.head = b.head AND h.sha256 = b.sha256 "
        f"WHERE h.series = ? AND h.segment IN (SELECT unnest(?::VARCHAR[])) AND h.recnum IN (SELECT recnum FROM ({files}))"
    )
    return sql, [scope.records.series.name.lower(), list(scope.segments)]


def _let_go(cursor: Cursor, owner: str, where: str, values: list[Any]) -> list[str]:
    """Delete pins of an owner; their hashes."""
    found = cursor.execute(
        f"SELECT sha256 FROM mirror.pins WHERE owner = ? AND {where}", [owner, *values]
    ).fetchall()
    gone = [row[0] for row in found]
    if gone:
        sql = "DELETE FROM mirror.pins WHERE owner = ? AND sha256 IN (SELECT unnest(?::VARCHAR[]))"
        cursor.execute(sql, [owner, gone])
    return gone


def _newest(scope: Scope) -> str:
    axis = coverage_axis(scope.records.series)
    order = [] if axis is None else [f"{quoted(column_name(axis.column))} DESC"]
    return ", ".join([*order, "recnum DESC"])
