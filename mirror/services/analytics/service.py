"""A statement of a user, from its text to its answer: which tables it reads, sealed as of now, and where it runs."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mirror.drms.errors import NotHeld, StorageError, SyntaxProblem, TooLarge
from mirror.engine.policy import Wish
from mirror.services.analytics.functions import slot_views
from mirror.services.analytics.jsoccalls import Call, Rewritten, find_calls, rewritten
from mirror.services.analytics.question import Limits, Question, View
from mirror.services.analytics.recordsets import lake_sql
from mirror.services.analytics.workers import Unreadable
from mirror.storage.layout import quoted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from mirror.drms.series import Series
    from mirror.services.analytics.question import Form, Params
    from mirror.services.analytics.recordsets import RecordSets, RecordTable
    from mirror.services.analytics.workers import Answer, Workers
    from mirror.services.fills import Fills
    from mirror.storage.index import Index
    from mirror.storage.lake import Lake, LakeTable


class Catalogue(Protocol):
    """Tables about the mirror itself, in the schema ``mirror``."""

    def views(self, sql: str) -> Awaitable[tuple[View, ...]]:
        """Those that a statement mentions."""
        ...


@dataclass(frozen=True, slots=True)
class _Meant:
    """A statement as a worker reads it, with the views that it may read, and the tables of its record sets."""

    text: Rewritten
    views: tuple[View, ...]
    tables: tuple[RecordTable, ...]
    series: tuple[Series, ...]  #: all whose files it may read


@dataclass(frozen=True, slots=True)
class _Reading:
    """How record sets are read: for a ``search``, which begins no fill, and of which a ``few`` are wanted; or for SQL."""

    wish: Wish
    search: bool = False
    few: bool = False


#: What is told who has a part of an answer already.
_MENDED = "a file of the lake was damaged, and is written anew; expected the statement once more"


class Analytics:
    """Answers SQL over everything that is held."""

    def __init__(
        self,
        index: Index,
        lake: Lake,
        workers: Workers,
        catalogue: Catalogue,
        recordsets: RecordSets,
        fills: Fills,
        limits: Limits,
    ) -> None:
        self._index = index
        self._lake = lake
        self._workers = workers
        self._catalogue = catalogue
        self._recordsets = recordsets
        self._fills = fills
        self.limits = limits

    @asynccontextmanager
    async def ask(
        self, sql: str, params: Params = (), form: Form = "json", *, asker: str = "", fill: bool = False
    ) -> AsyncIterator[Answer]:
        """The answer to a statement, as it comes, with all records that are held at this moment.

        The record sets of ``jsoc()`` are fetched first as far as they are missing, if ``fill`` or the call says so.
        Raises what ``Workers.run`` raises, StorageError if the lake cannot be written, and what a search raises:
        NotHeld if a record set is not held and not to be fetched, or if so much of it is to be fetched that a fill was
        begun for that.
        """
        reading = _Reading(Wish.USUAL if fill else Wish.HELD)
        async with self._answered(sql, params, form, reading, asker) as (_, answer):
            yield answer

    async def read(
        self, sql: str, form: Form, wish: Wish, asker: str = "", *, few: bool = False
    ) -> tuple[RecordTable, bytes]:
        """The whole answer to a statement with a call of ``jsoc()``, and the table of the first.

        TooLarge if more is missing than people wait for, or than a chunk, if only a ``few`` records are wanted.
        """
        async with self._answered(sql, (), form, _Reading(wish, search=True, few=few), asker) as (meant, answer):
            return meant.tables[0], b"".join([piece async for piece in answer.pieces])

    def running(self) -> list[int]:
        """The process ids of the workers that have a statement."""
        return self._workers.running()

    async def warm(self) -> None:
        """Have a process ready, so that the first statement need not wait for one to start."""
        await self._workers.warm()

    async def stop(self) -> None:
        """End all statements."""
        await self._workers.stop()

    @asynccontextmanager
    async def _answered(
        self, sql: str, params: Params, form: Form, reading: _Reading, asker: str
    ) -> AsyncIterator[tuple[_Meant, Answer]]:
        """An answer; a damaged file of the lake costs a second try, or an error if some was told already."""
        meant = await self._meant(sql, reading)
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(self._run(meant, params, form, asker))
            except Unreadable:
                await self._lake.mend(meant.series)
                again = await self._meant(sql, reading)
                if again.views == meant.views:  # it was not the lake
                    raise
                meant = again
                answer = await stack.enter_async_context(self._run(meant, params, form, asker))
            try:
                yield meant, answer
            except Unreadable:
                if await self._lake.mend(meant.series):
                    raise StorageError(_MENDED) from None
                raise

    @asynccontextmanager
    async def _run(self, meant: _Meant, params: Params, form: Form, asker: str) -> AsyncIterator[Answer]:
        question = Question(meant.text.sql, params, form, meant.views, self.limits)
        try:
            async with self._workers.run(question, asker) as answer:
                yield answer
        except SyntaxProblem as problem:
            raise meant.text.problem(problem) from None

    async def _meant(self, sql: str, reading: _Reading) -> _Meant:
        """A statement with tables in the place of its record sets, and all the tables that it may read."""
        calls = find_calls(sql)
        tables = [await self._record_table(sql, n, call, reading) for n, call in enumerate(calls, 1)]
        text = rewritten(sql, calls, tuple(table.name for table in tables))
        mentioned = [series for series in self._index.all_series() if mentions(sql, series.name)]
        views = (*await self._views(sql, mentioned), *(view for table in tables for view in table.views))
        return _Meant(text, views, tuple(tables), (*mentioned, *(table.series for table in tables)))

    async def _record_table(self, sql: str, number: int, call: Call, reading: _Reading) -> RecordTable:
        wish = reading.wish
        if call.fill is not None:
            wish = Wish.USUAL if call.fill else Wish.HELD
        try:
            return await self._recordsets.table(number, call.recordset, wish, few=reading.few)
        except SyntaxProblem as problem:
            position = problem.position if problem.text == call.recordset else 0
            raise SyntaxProblem(
                problem.message, text=sql, position=call.place(position), expected=problem.expected
            ) from None
        except NotHeld as problem:
            raise _with_advice(problem, wish) from None
        except TooLarge as problem:
            if reading.search:
                raise
            fill = await self._fills.start(call.recordset, "SQL")
            raise NotHeld(
                f"{problem}; it is being fetched as {fill.id}: expected the statement again when `mirror jobs {fill.id}` "
                f"says that it is done",
                (call.recordset,),
            ) from None

    async def _views(self, sql: str, mentioned: list[Series]) -> tuple[View, ...]:
        """The tables that a statement may mean: every series whose name stands somewhere in it."""
        views = [*await self._catalogue.views(sql), *slot_views(sql, mentioned)]
        for series in mentioned:
            views += [_view(series, table, self._lake.root) for table in await self._lake.tables(series)]
        return tuple(views)


def _with_advice(problem: NotHeld, wish: Wish) -> NotHeld:
    """What is not held, with the way to get it if only the statement does not ask for it."""
    if wish is not Wish.HELD:
        return problem
    return NotHeld(
        f"{problem}; expected fill, or jsoc('...', fill := true), to fetch it first", problem.missing
    )


def mentions(sql: str, name: str) -> bool:
    """True if a qualified name stands in a statement, quoted or not, in any case."""
    return name.lower() in sql.lower().replace('"', "")


def _view(series: Series, table: LakeTable, root: Path) -> View:
    namespace, _, name = table.name.partition(".")
    comments = {c.name: c.comment for c in table.columns if c.comment}
    return View(f"{quoted(namespace)}.{quoted(name)}", lake_sql(table, root), series.note, comments)
