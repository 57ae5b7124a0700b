"""From a user's statement to its answer: the tables that it turns out to read are as of now, and it runs in another process.

Also saved statements, whose names do not differ in case only.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mirror.errors import MirrorError, NotHeld, StorageError, SyntaxProblem
from mirror.humanize import near
from mirror.readthrough.policy import CacheDemand
from mirror.services.sql.functions import slot_view
from mirror.services.sql.jsoc_tables import lake_sql, stand_ins
from mirror.services.sql.messages import Limits, Missing, Question, Supply, View
from mirror.services.sql.processes import Unreadable, Unsupplied
from mirror.storage.index.layout import quoted
from mirror.storage.lake.unsealed import nothing_sql, source_sql, stand_in_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable
    from pathlib import Path

    from mirror.drms.series import Series
    from mirror.services.sql.jsoc_tables import RecordSets, RecordTable
    from mirror.services.sql.messages import Form, Params
    from mirror.services.sql.processes import Answer, Workers
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.index import Index
    from mirror.storage.lake.columns import LakeColumn
    from mirror.storage.lake.lake import Lake
    from mirror.storage.lake.unsealed import Copied, LakeTable

#: The schema of tables about the mirror itself.
ITSELF = "mirror"
#: The most characters of a record set in a statement: the daemon parses it.
LONGEST_RECORD_SET = 32_768


class Catalogue(Protocol):
    """Tables about the mirror itself, in the schema ``mirror``."""

    def view(self, name: str) -> Awaitable[View | None]:
        """The table of a name, as of now; None if there is none."""
        ...

    def empty(self) -> tuple[View, ...]:
        """All of them, without rows."""
        ...


@dataclass(frozen=True, slots=True)
class _Reading:
    """How record sets are read; ``few``: only some of their records are needed in the end."""

    demand: CacheDemand
    few: bool = False


#: DuckDB's errors about a missing table and a missing column, and a table's name in a statement.
_TABLE_LACKS = re.compile(r"Table with name (\S+) does not exist!")
_COLUMN_LACKS = re.compile(r'Referenced column "([^"]+)" not found')
_QUALIFIED = re.compile(r'(?:"[^"]+"|\w+)(?:\s*\.\s*(?:"[^"]+"|\w+))*')
#: The error for a client that already has part of an answer.
_MENDED = "a damaged file of the lake was rewritten; run the statement again"


class Analytics:
    """Answers SQL over everything that is cached."""

    def __init__(
        self,
        index: Index,
        lake: Lake,
        workers: Workers,
        catalogue: Catalogue,
        recordsets: RecordSets,
        limits: Limits,
    ) -> None:
        self._index = index
        self._lake = lake
        self._workers = workers
        self._catalogue = catalogue
        self._recordsets = recordsets
        self.limits = limits

    @asynccontextmanager
    async def ask(
        self, sql: str, params: Params = (), form: Form = "json", *, principal: str = "", fill: bool = False
    ) -> AsyncIterator[Answer]:
        """The answer to a statement, as it comes, with all records that are cached at this moment.

        Missing records of ``jsoc()`` are fetched first, if ``fill`` or the call says so. Raises what ``Workers.run``
        raises, StorageError if the lake cannot be written, and what a search raises: NotHeld if a record set is not
        cached and must not be fetched, TooLarge if too much of it is missing to wait for.
        """
        question = self._question(sql, params, form)
        reading = _Reading(CacheDemand.DEFAULT if fill else CacheDemand.ONLY_IF_CACHED)
        async with self._answered(question, reading, principal) as (_, answer):
            yield answer

    async def read(
        self,
        sql: str,
        form: Form,
        demand: CacheDemand,
        principal: str = "",
        condition: tuple[int, int] | None = None,
        *,
        few: bool = False,
    ) -> tuple[RecordTable, bytes]:
        """The whole answer to a statement with a call of ``jsoc()``, and the table of the first.

        ``condition`` is where the statement has a condition that somebody else wrote. TooLarge if too much is missing
        to wait for, or more than a chunk if only a ``few`` records are needed.
        """
        question = self._question(sql, (), form, condition)
        reading = _Reading(demand, few)
        async with self._answered(question, reading, principal) as (supplied, answer):
            return supplied.tables[0], b"".join([piece async for piece in answer.pieces])

    async def numbered(self, sql: str, principal: str = "") -> tuple[list[Series], bytes]:
        """The whole answer to a statement as an Arrow stream, and the series that it read; jsoc() fetches what is missing."""
        reading = _Reading(CacheDemand.DEFAULT)
        async with self._answered(self._question(sql, (), "arrow"), reading, principal) as (supplied, answer):
            data = b"".join([piece async for piece in answer.pieces])
            return supplied.series, data

    def running(self) -> list[int]:
        """The process ids of the workers that have a statement."""
        return self._workers.running()

    async def warm(self) -> None:
        """Have a process ready, so that the first statement need not wait for one to start."""
        await self._workers.warm()

    async def stop(self) -> None:
        """End all statements."""
        await self._workers.stop()

    def _question(
        self, sql: str, params: Params, form: Form, condition: tuple[int, int] | None = None
    ) -> Question:
        schemas = {ITSELF, *(_parts(series.name)[0] for series in self._index.all_series())}
        return Question(sql, params, form, (), self.limits, condition, tuple(sorted(schemas)))

    @asynccontextmanager
    async def _answered(
        self, question: Question, reading: _Reading, principal: str
    ) -> AsyncIterator[tuple[_Supplied, Answer]]:
        """An answer; a damaged file of the lake causes a second try, or an error if part of the answer was sent already."""
        supplied = self._nothing_supplied(reading)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._used_up, supplied)
            try:
                answer = await stack.enter_async_context(self._run(question, supplied, principal))
            except Unreadable:
                if not await self._may_be_of_the_lake(supplied):
                    raise
                supplied = self._nothing_supplied(reading)
                stack.push_async_callback(self._used_up, supplied)
                answer = await stack.enter_async_context(self._run(question, supplied, principal))
            try:
                yield supplied, answer
            except Unreadable:
                if await self._lake.mend(supplied.series):
                    raise StorageError(_MENDED) from None
                raise

    def _nothing_supplied(self, reading: _Reading) -> _Supplied:
        return _Supplied(
            self._index, self._lake, self._catalogue, self._recordsets, reading
        )

    @asynccontextmanager
    async def _run(self, question: Question, supplied: _Supplied, principal: str) -> AsyncIterator[Answer]:
        try:
            async with self._workers.run(question, principal, supplied.supply) as answer:
                yield answer
        except SyntaxProblem as problem:
            raise self._suggesting(problem, supplied) from problem.__cause__

    def _suggesting(self, problem: SyntaxProblem, supplied: _Supplied) -> SyntaxProblem:
        """An error about a table or column that does not exist, with similar names.

        DuckDB compares with its own tables, since it knows no others, and with columns of its own choice.
        """
        if found := _COLUMN_LACKS.match(problem.message):
            columns = {c.name for _, tables in supplied.lake for table in tables for c in table.columns}
            if not (alike := near(found[1], columns)):
                return problem
            return SyntaxProblem(
                f"there is no column {found[1]}; did you mean {' or '.join(alike)}?", text=problem.text, position=problem.position
            )
        found = _TABLE_LACKS.match(problem.message)
        if not found:
            return problem
        named = _QUALIFIED.match(problem.text, problem.position)
        name = named[0].replace('"', "") if named else found[1]
        known = [s.name.lower() for s in self._index.all_series() if self._index.has_records(s)]
        if name.lower() in known:
            return SyntaxProblem(
                f"'{name}' in quotes is the name of a file", text=problem.text, position=problem.position,
                expected=f"the table without quotes, {name.lower()}",
            )  # fmt: skip
        alike = near(name, [*known, *(view.name.replace('"', "") for view in self._catalogue.empty())])
        lists = "one of the series of which records are cached, which FROM mirror.series lists"
        return SyntaxProblem(
            f"there is no table {name}" + (f"; did you mean {' or '.join(alike)}?" if alike else ""),
            text=problem.text, position=problem.position, expected="" if alike else lists,
        )  # fmt: skip

    async def _may_be_of_the_lake(self, supplied: _Supplied) -> bool:
        """True if a file that a statement was given is damaged, or is no longer the current one."""
        damaged = await self._lake.mend(supplied.series)
        return damaged or any([await self._lake.as_of_now(s) != given for s, given in supplied.lake])

    async def _used_up(self, supplied: _Supplied) -> None:
        """After a statement: delete its copies, and seal for the next one, which does not wait for it."""
        await self._lake.remove_copies(supplied.copies)
        for series in supplied.unsealed.values():
            self._lake.seal_soon(series)


class _Supplied:
    """What one statement has been given so far."""

    def __init__(
        self, index: Index, lake: Lake, catalogue: Catalogue, recordsets: RecordSets, reading: _Reading
    ) -> None:
        self._index = index
        self._lake = lake
        self._catalogue = catalogue
        self._recordsets = recordsets
        self._reading = reading
        self._names: set[str] = set()  #: of tables, as they were requested
        self.lake: list[tuple[Series, tuple[LakeTable, ...]]] = []
        self.tables: list[RecordTable] = []  #: those of its record sets
        self.unsealed: dict[str, Series] = {}  #: by the SQL name of each stand-in
        self.copies: list[Copied] = []

    @property
    def series(self) -> list[Series]:
        """All series whose files it may read."""
        found = [*(series for series, _ in self.lake), *(table.series for table in self.tables)]
        return list({series.name: series for series in found}.values())

    async def supply(self, missing: Missing) -> Supply:
        """What a worker needs; empty if it does not exist. Unsupplied if it is not available."""
        try:
            if missing.calls:
                return await self._of_record_sets(missing.calls)
            if missing.slots:
                return Supply((slot_view(self._index.all_series()),))
            if missing.rows:
                return await self._of_rows(dict(missing.rows))
            if missing.listing:
                return Supply(await asyncio.to_thread(self._listed, self._index.all_series()))
            return await self._of_name(missing.table)
        except MirrorError as problem:
            raise Unsupplied(problem) from problem

    async def _of_name(self, name: str) -> Supply:
        """Every table of a name, in any schema; nothing the second time."""
        if name in self._names:
            return Supply()
        self._names.add(name)
        itself = await self._catalogue.view(name)
        views = [] if itself is None else [itself]
        for series in self._index.all_series():
            table = _parts(series.name)[1]
            if name in (table, f"{table}__old"):
                tables = await self._lake.as_of_now(series)
                self.lake.append((series, tables))
                views += self._stand_ins(series, tables)
                views += [_view(series, found, self._lake.root) for found in tables]
        return Supply(tuple(views))

    def _stand_ins(self, series: Series, tables: tuple[LakeTable, ...]) -> list[View]:
        views = list(stand_ins(tables))
        self.unsealed |= dict.fromkeys((view.name for view in views), series)
        return views

    async def _of_rows(self, wanted: dict[str, tuple[str, ...] | None]) -> Supply:
        """What replaces stand-ins: these columns of what is not sealed."""
        views: list[View] = []
        for series in {self.unsealed[name].name: self.unsealed[name] for name in wanted}.values():
            names = {name: stand_in_name(name) for name in (series.name.lower(), f"{series.name.lower()}__old")}
            copies = await self._lake.copied(series, {n: wanted[at] for n, at in names.items() if at in wanted})
            self.copies += copies
            views += [
                View(names[each.table.name], source_sql(each, self._lake.root))
                for each in copies
                if names[each.table.name] in wanted
            ]
        return Supply(tuple(views))

    async def _of_record_sets(self, calls: tuple[tuple[str, bool | None], ...]) -> Supply:
        for number, (recordset, fill) in enumerate(calls):
            demand = self._reading.demand if fill is None else CacheDemand.DEFAULT if fill else CacheDemand.ONLY_IF_CACHED
            try:
                self.tables.append(table := await self._record_table(number, recordset, demand))
                self._stand_ins(table.series, table.lake)
            except SyntaxProblem as problem:
                position = problem.position if problem.text == recordset else 0
                raise Unsupplied(problem, number, position) from None
        return Supply(tuple(view for table in self.tables for view in table.views))

    async def _record_table(self, number: int, recordset: str, demand: CacheDemand) -> RecordTable:
        if len(recordset) > LONGEST_RECORD_SET:
            raise SyntaxProblem(
                f"the record set has {len(recordset):,} characters",
                text=recordset,
                position=0,
                expected=f"at most {LONGEST_RECORD_SET:,}: several calls, or a condition on the series' table",
            )
        try:
            return await self._recordsets.table(number + 1, recordset, demand, few=self._reading.few)
        except NotHeld as problem:
            raise _with_advice(problem, demand) from None

    def _listed(self, series: Iterable[Series]) -> tuple[View, ...]:
        """The existing tables without rows, except those that were supplied."""
        listed = [view for view in self._catalogue.empty() if view.name.partition(".")[2] not in self._names]
        given = {each.name for each, _ in self.lake}
        for each in series:
            if each.name not in given and self._index.has_records(each):
                columns = self._lake.columns(each)
                name = each.name.lower()
                listed += [_empty(each, table, columns) for table in (name, f"{name}__old")]
        return tuple(listed)


def _with_advice(problem: NotHeld, demand: CacheDemand) -> NotHeld:
    """An error about missing data, with the way to fetch them if only the statement does not ask for it."""
    if demand is not CacheDemand.ONLY_IF_CACHED:
        return problem
    return NotHeld(
        f"{problem}; to fetch it first ask with fill (--fill), or write jsoc('...', fill := true)", problem.missing
    )


def _parts(name: str) -> tuple[str, str]:
    """The schema and the table of a series, in lower case."""
    schema, _, table = name.lower().partition(".")
    return schema, table


def _sql_name(table: str) -> str:
    schema, name = _parts(table)
    return f"{quoted(schema)}.{quoted(name)}"


def _view(series: Series, table: LakeTable, root: Path) -> View:
    return View(_sql_name(table.name), lake_sql(table, root), series.note, _comments(table.columns))


def _empty(series: Series, table: str, columns: tuple[LakeColumn, ...]) -> View:
    sql = nothing_sql((c.name, c.type) for c in columns)
    return View(_sql_name(table), sql, series.note, _comments(columns))


def _comments(columns: tuple[LakeColumn, ...]) -> dict[str, str]:
    return {c.name: c.comment for c in columns if c.comment}


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A statement with its name, who saved it, and when, in Unix seconds."""

    name: str
    sql: str
    saved_by: str
    saved_at: float


class SavedQueries:
    """The saved statements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[SavedQuery]:
        """All of them, by name."""
        sql = "SELECT name, sql, saved_by, saved_at FROM mirror.queries ORDER BY lower(name)"
        rows = await self._database.read(lambda cursor: cursor.execute(sql).fetchall())
        return [SavedQuery(*row) for row in rows]

    async def save(self, query: SavedQuery) -> None:
        """Save a statement; replaces one of the same name."""

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.queries WHERE lower(name) = lower(?)", [query.name])
            values = [query.name, query.sql, query.saved_by, query.saved_at]
            cursor.execute("INSERT INTO mirror.queries VALUES (?, ?, ?, ?)", values)

        await self._database.write(work)

    async def remove(self, name: str) -> bool:
        """Delete a statement; False if there is none of that name."""
        sql = "DELETE FROM mirror.queries WHERE lower(name) = lower(?) RETURNING 1"
        return bool(await self._database.write(lambda cursor: cursor.execute(sql, [name]).fetchall()))
