"""Record sets as tables of the lake: what ``jsoc('hmi.v_45s[2014.01.01/1d]')`` reads; and searches with a condition in SQL.

The same code as for a search decides what is cached, fetches what is missing, and finds what a condition leaves open.
Exact key values select from the lake directly; everything else is decided in the index, and the record numbers are
passed along. A search with a condition gives those records of a record set for which it is true, printed as a search
prints them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror.errors import BadRequest, SyntaxProblem
from mirror.readthrough.records import CacheStatus, Located, Read
from mirror.services.search.columns import FoundRecords
from mirror.services.sql.messages import View, checked_sql
from mirror.storage.index.layout import quoted
from mirror.storage.index.select_sql import exact_sql
from mirror.storage.lake.columns import lake_columns
from mirror.storage.lake.unsealed import Copied, nothing_sql, source_sql, stand_in, stand_in_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.readthrough.policy import CacheDemand
    from mirror.readthrough.records import Records
    from mirror.services.search.search import Found, Search
    from mirror.services.sql.service import Analytics
    from mirror.storage.index.index import Index
    from mirror.storage.lake.lake import Lake
    from mirror.storage.lake.unsealed import LakeTable
    from mirror.wire.info import RsListRequest
    from mirror.wire.rs_list import RsList


@dataclass(frozen=True, slots=True)
class Pick:
    """Records of one series: those of the newest (or all) versions that satisfy ``where``, or have the ``numbers``."""

    where: str
    all_versions: bool
    numbers: pa.Array | None = None


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A table ``name`` with the records of a record set, made by ``views``. The other fields are as in ``Read``."""

    name: str
    views: tuple[View, ...]
    series: Series
    lake: tuple[LakeTable, ...]  #: the tables that they are read from
    segments: tuple[str, ...] | None
    origin: CacheStatus
    checked_at: float | None = None


class RecordSets:
    """Makes tables of record sets."""

    def __init__(self, search: Search, records: Records, index: Index, lake: Lake) -> None:
        self._search = search
        self._records = records
        self._index = index
        self._lake = lake

    async def table(self, number: int, ds: str, demand: CacheDemand, *, few: bool = False) -> RecordTable:
        """The table of a record set: the ``number``-th of a statement. Several sets of one series follow each other.

        Raises what ``Records.locate`` raises, and BadRequest for sets of several series.
        """
        return await self._index.removals.steady(lambda: self._table(number, ds, demand, few=few))

    async def _table(self, number: int, ds: str, demand: CacheDemand, *, few: bool) -> RecordTable:
        selections = await self._search.selections(ds, demand)
        series = _series(selections)
        reads = [await self._records.locate(s, demand, few=few) for s in selections]
        picks = [await self._pick(r) for r in reads]
        lake = await self._lake.as_of_now(series)  # last, so that everything picked is in it
        schema = quoted(f"jsoc {number}")
        sql = " UNION ALL BY NAME ".join(
            pick_sql(p, self._sources(series, lake), f"{schema}.numbers{i}") for i, p in enumerate(picks)
        )
        numbers = [
            _numbers(f"{schema}.numbers{i}", p.numbers) for i, p in enumerate(picks) if p.numbers is not None
        ]
        checked = [r.checked_at for r in reads if r.checked_at is not None]
        table = View(f"{schema}.jsoc", sql, f"The records of {ds}")
        segments = selections[0].source.segments
        return RecordTable(
            table.name,
            (*stand_ins(lake), *numbers, table),
            series,
            lake,
            segments,
            max(r.origin for r in reads),
            min(checked, default=None),
        )

    async def _pick(self, read: Located | Read) -> Pick:
        """Which records these are. Numbers apply to every version: a record may be replaced meanwhile."""
        if isinstance(read, Read):
            return Pick(
                "TRUE", all_versions=True, numbers=pa.array([row.recnum for row in read.rows], pa.int64())
            )
        where, whole = exact_sql(read.selection, self._same_columns(read.selection.series))
        if whole:
            return Pick(where, read.selection.all_versions)
        return Pick(where, all_versions=True, numbers=await self._index.numbers(read.selection))

    def _same_columns(self, series: Series) -> frozenset[str]:
        """The columns of the index that the lake has unchanged, under the same names."""
        columns = lake_columns(self._index.layout(series), {})
        return frozenset(c.name.lower() for c in columns if c.sql.strip('"') == c.name.lower())

    def _sources(self, series: Series, lake: tuple[LakeTable, ...]) -> tuple[str, str]:
        """The SQL that reads the newest versions of a series, and the older ones."""
        if lake:
            return lake_sql(lake[0], self._lake.root), lake_sql(lake[1], self._lake.root)
        none = nothing_sql((c.name, c.type) for c in lake_columns(self._index.layout(series), {}))
        return none, none


def _series(selections: list[Selection]) -> Series:
    names = dict.fromkeys(s.series.name for s in selections)
    if len(names) > 1:
        raise BadRequest(
            f"the record set names {len(names)} series, {', '.join(names)}; expected one, and several calls for several"
        )
    return selections[0].series


def pick_sql(pick: Pick, sources: tuple[str, str], numbers: str) -> str:
    """The SELECT of a pick; ``sources`` read the newest versions and the older, ``numbers(n)`` is a table."""
    newest, old = sources
    source = f"({newest} UNION ALL BY NAME {old})" if pick.all_versions else f"({newest})"
    chosen = "" if pick.numbers is None else f" AND recnum IN (SELECT n FROM {numbers})"
    return f"SELECT * FROM {source} WHERE {pick.where}{chosen}"


def lake_sql(table: LakeTable, root: Path) -> str:
    """The SELECT that reads a table of the lake below ``root``; or its stand-in if it is not sealed."""
    return f"SELECT * FROM {stand_in_name(table.name)}" if table.records else source_sql(Copied(table), root)


def stand_ins(tables: Iterable[LakeTable]) -> Iterator[View]:
    """The stand-ins of those tables that are not sealed."""
    for table in tables:
        if table.records:
            data = _stream(stand_in(table.columns))
            yield View(stand_in_name(table.name), "SELECT * FROM given", data=data, stand_in=True)


def _numbers(name: str, numbers: pa.Array) -> View:
    return View(name, "SELECT n FROM given", data=_stream(pa.table({"n": numbers})))


def _stream(table: pa.Table) -> bytes:
    with pa.BufferOutputStream() as out:
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        data: bytes = out.getvalue().to_pybytes()
    return data


class WhereSearch:
    """Answers searches with a condition."""

    def __init__(self, search: Search, index: Index, analytics: Analytics) -> None:
        self._search = search
        self._index = index
        self._analytics = analytics

    async def rs_list(self, request: RsListRequest, where: str, demand: CacheDemand, principal: str = "") -> Found[RsList]:
        """As ``Search.rs_list``, for the records for which ``where`` is true; ``n`` applies to these.

        SyntaxProblem points into ``where``, or into the record set.
        """
        checked_sql(where, what="condition")
        before = f"SELECT recnum FROM jsoc('{request.ds.replace(chr(39), chr(39) * 2)}') WHERE (\n"
        try:
            place = (len(before), len(before) + len(where))
            table, data = await self._analytics.read(
                f"{before}{where}\n)", "arrow", demand, principal, place, few=bool(request.n)
            )
        except SyntaxProblem as problem:
            raise _moved(problem, request.ds, before, where) from None
        return await self._listed(request, table, data)

    async def _listed(self, request: RsListRequest, table: RecordTable, data: bytes) -> Found[RsList]:
        numbers = pa.ipc.open_stream(io.BytesIO(data)).read_all()["recnum"].combine_chunks()
        rows = await self._index.rows(table.series, numbers, request.n)
        part = FoundRecords(self._index.layout(table.series), rows, table.segments)
        return self._search.found(request, [part], table.origin, table.checked_at)


def _moved(problem: SyntaxProblem, ds: str, before: str, where: str) -> SyntaxProblem:
    """A problem with the statement as a problem with the client's part of it."""
    text, position = where, problem.position - len(before)
    if position < 0:
        quoted = before.partition("'")[2][: problem.position - before.index("'") - 1]
        text, position = ds, len(quoted.replace("''", "'"))
    return SyntaxProblem(problem.message, text=text, position=position, expected=problem.expected)
