"""The process in which users' statements run; ``processes`` starts it.

It reads questions from stdin, and writes frames to stdout. The daemon kills it when its time is up.

1. DuckDB finds what a statement reads. A question comes without tables; each table that DuckDB does not find is
   requested from the daemon, which gives it as of now. None is left from an earlier question: all are dropped after
   each.
2. A statement runs in a read-only transaction, on a connection of its own, and is rolled back. What it can leave behind
   (temporary tables, variables) is gone with the connection.
3. After each question but a SELECT that ended well the engine is inspected, and replaced if anything is in it that was
   not there at the start. It is replaced in any case if it is unknown which functions a statement called.
4. A table may be a stand-in for data that are not in files yet. A statement is only planned on it: the columns that
   the plan reads are requested, it is replaced, and the statement planned again (see ``mirror.storage.lake.unsealed``).
5. Between questions DuckDB keeps the footers of files that it read, and nothing that a statement made.
6. A process that ran out of memory, or has grown much, reports that it ends with this answer, and is replaced: no
   statement begins with less memory because of another.
7. Nothing here tries to defend the daemon against a statement that gets past these rules: it only reaches this process,
   which is confined and can be killed.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import duckdb
import pyarrow as pa

from mirror.drms.where.exact import quote
from mirror.errors import BadRequest, Refused, SyntaxProblem
from mirror.services.sql import functions
from mirror.services.sql.encoding import encoder
from mirror.services.sql.jsoc_calls import find_calls, rewritten
from mirror.services.sql.messages import Kind, Missing, Question, Rows, Supply, View, write_frame, write_json
from mirror.services.sql.statements import (
    Forbidden,
    check,
    check_condition,
    columns_read,
    is_indirect,
    lists_tables,
    missing,
    probed,
    problem,
)
from mirror.storage.index.layout import quoted
from mirror.storage.lake.unsealed import NOT_COPIED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.services.sql.jsoc_calls import Rewritten

#: Rows in a batch: some megabytes of twenty columns.
BATCH = 50_000
#: The bytes that DuckDB may have ready beyond the batch that is being sent, so that it need not wait for the reader.
AHEAD = "32MB"
#: What the process needs in addition to DuckDB's memory: code, libraries, stacks of threads, batches under way.
OVERHEAD = 2 << 30
#: The niceness of a statement's process.
NICE = 10
#: What is in an engine at the start, in addition to empty schemas.
_LEFT = """
    SELECT (SELECT count(*) FROM duckdb_databases() WHERE NOT internal) - 1
        + (SELECT count(*) FROM duckdb_tables())
        + (SELECT count(*) FROM duckdb_views() WHERE NOT internal)
        + (SELECT count(*) FROM duckdb_types() WHERE NOT internal)
        + (SELECT count(*) FROM duckdb_sequences())
"""


class Trace(Enum):
    """What a statement can have left in an engine."""

    NONE = auto()
    VISIBLE = auto()  #: tables and the like, which can be listed
    UNKNOWN = auto()


class TooLarge(Exception):
    """The answer has more rows or bytes than it may."""


class _NotCopied(Exception):
    """A statement reads a column of a stand-in that its plan did not show."""


class GivenUp(Exception):
    """The daemon cannot supply what the statement needs; ``position`` is the place in the statement, or None."""

    def __init__(self, position: int | None) -> None:
        self.position = position
        super().__init__()


@dataclass
class Engine:
    """DuckDB in memory with the tables of one question. ``root`` is the folder that may be read."""

    root: Path
    memory: int
    threads: int
    connection: duckdb.DuckDBPyConnection = field(init=False)
    forbidden: Forbidden = field(init=False)
    stand_ins: dict[str, View] = field(default_factory=dict)  #: those on which a statement must not be run, by name
    _size: int = 0  #: of the process at its start
    _views: list[View] = field(default_factory=list)
    _schemas: set[str] = field(default_factory=set)
    _passing: list[str] = field(default_factory=list)  #: schemas that are dropped after the question

    @classmethod
    def start(cls, root: Path, *, memory: int, threads: int) -> Engine:
        """An engine that can reach nothing but files below ``root``; ``memory`` in bytes."""
        engine = cls(root, memory, threads)
        engine.connect()
        engine.forbidden = Forbidden.of(engine.connection)
        engine._size = _resident()
        return engine

    def has_grown(self) -> bool:
        """True if the process has taken much of the memory that the next statement may need."""
        return _resident() - self._size > self.memory / 2

    def connect(self) -> None:
        """Begin again with only what there is at the start."""
        connection = duckdb.connect()
        functions.install(connection)
        for setting in (
            f"SET allowed_directories = [{quote(str(self.root))}]",
            "SET temp_directory = ''",
            "SET enable_external_access = false",
            "SET python_enable_replacements = false",
            f"SET memory_limit = '{self.memory}B'",
            f"SET threads = {self.threads}",
            f"SET streaming_buffer_size = '{AHEAD}'",
            "SET GLOBAL errors_as_json = true",
            "SET GLOBAL parquet_metadata_cache = true",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET GLOBAL TimeZone = 'UTC'",
            "SET lock_configuration = true",
        ):
            connection.execute(setting)
        self.connection = connection
        self._views, self._schemas, self._passing, self.stand_ins = [], set(), [], {}

    def know(self, schemas: tuple[str, ...]) -> None:
        """Create these schemas, which stay: they are empty except while a question is answered."""
        for schema in schemas:
            if schema not in self._schemas:
                self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
                self._schemas.add(schema)

    def see(self, views: tuple[View, ...], *, comments: bool = False) -> None:
        """Make tables that a statement may read, with their comments if it may ask for them.

        A stand-in is replaced by a later view of the same name.
        """
        for view in views:
            if (before := self.stand_ins.pop(view.name, None)) is not None:
                self.connection.execute(f"DROP {_kind(before)} {view.name}")
                self._views.remove(before)
            if view.stand_in:
                self.stand_ins[view.name] = view
            self._views.append(view)
            schema = view.name.partition(".")[0].strip('"')
            if schema not in (*self._schemas, *self._passing, "main"):
                self.connection.execute(f"CREATE SCHEMA {quoted(schema)}")
                self._passing.append(schema)
            _create(self.connection, view)
            if comments:
                _comment(self.connection, view)

    def comment(self) -> None:
        """Add the comments to all tables."""
        for view in self._views:
            _comment(self.connection, view)

    def forget(self, trace: Trace) -> None:
        """Be as at the start: without the tables of a question, in a new engine if anything else may be left."""
        if trace is Trace.UNKNOWN or not self._dropped(look=trace is Trace.VISIBLE):
            with suppress(duckdb.Error):
                self.connection.close()
            self.connect()

    def _dropped(self, *, look: bool) -> bool:
        """Drop the tables of a question; False if that fails, or with ``look`` if anything else is there."""
        try:
            for view in reversed(self._views):
                self.connection.execute(f"DROP {_kind(view)} IF EXISTS {view.name}")
            for schema in self._passing:
                self.connection.execute(f"DROP SCHEMA {quoted(schema)} CASCADE")
            self._views, self._passing, self.stand_ins = [], [], {}
            return not look or self.connection.execute(_LEFT).fetchall() == [(0,)]
        except duckdb.Error:
            return False


def _kind(view: View) -> str:
    return "MACRO" if view.macro else "TABLE" if view.data else "VIEW"


def _create(cursor: duckdb.DuckDBPyConnection, view: View) -> None:
    if view.macro:
        cursor.execute(f"CREATE OR REPLACE MACRO {view.name}{view.sql}")
        return
    if not view.data:
        cursor.execute(f"CREATE OR REPLACE VIEW {view.name} AS {view.sql}")
        return
    cursor.register("given", pa.ipc.open_stream(view.data).read_all())
    cursor.execute(f"CREATE OR REPLACE TABLE {view.name} AS {view.sql}")
    cursor.unregister("given")


def _comment(cursor: duckdb.DuckDBPyConnection, view: View) -> None:
    if view.comment and not view.macro:
        cursor.execute(f"COMMENT ON {_kind(view)} {view.name} IS {quote(view.comment)}")
    for column, comment in view.comments.items():
        cursor.execute(f"COMMENT ON COLUMN {view.name}.{quoted(column)} IS {quote(comment)}")


@contextmanager
def _read_only(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """A transaction that can change nothing, and is rolled back."""
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    try:
        yield
    finally:
        with suppress(duckdb.Error):
            cursor.execute("ROLLBACK")


class _Asked:
    """One question in an engine; ``questions`` and ``out`` lead to the daemon."""

    def __init__(self, engine: Engine, question: Question, questions: BinaryIO, out: BinaryIO) -> None:
        self._engine = engine
        self._question = question
        self._questions = questions
        self._out = out
        self._copied: list[str] = []  #: the stand-ins that were replaced
        self._params = question.params if isinstance(question.params, dict) else list(question.params)

    def answer(self) -> str:
        """Run the statement and write its frames; returns DuckDB's class of the statement.

        Raises what is wrong with it, possibly after some of the frames.
        """
        began = time.monotonic()
        engine, question = self._engine, self._question
        if question.condition is not None:
            _check_condition(question.sql, *question.condition)
        with engine.connection.cursor() as cursor:
            kind = check(cursor, question.sql, engine.forbidden)
            engine.know(question.schemas)
            engine.see(question.views)
            text = self._with_record_sets(cursor)
            try:
                rows, size = self._run(cursor, text.sql)
            except SyntaxProblem as error:
                raise text.problem(error) from error.__cause__
        seconds = round(time.monotonic() - began, 6)
        end = {"rows": rows, "bytes": size, "seconds": seconds, "last": engine.has_grown()}
        write_json(self._out, Kind.END, end)
        return kind

    def _with_record_sets(self, cursor: duckdb.DuckDBPyConnection) -> Rewritten:
        """The statement with the calls of jsoc() replaced by tables."""
        sql = self._question.sql
        calls = find_calls(sql)
        names = tuple(f'"jsoc {number}".jsoc' for number in range(1, len(calls) + 1))
        text = rewritten(sql, calls, names)
        if calls:
            check(cursor, text.sql, self._engine.forbidden)
            supply = self._ask(Missing(calls=tuple((call.recordset, call.fill) for call in calls)))
            if supply.problem is not None:
                number, position = supply.problem
                raise GivenUp(calls[number].place(position))
            self._take(supply)
        return text

    def _run(self, cursor: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, int]:
        """Run a statement, requesting each table that DuckDB does not find until it finds all."""
        listed = not lists_tables(sql)
        while True:
            with _read_only(cursor):
                relation, error = self._planned(cursor, sql)
                rows = () if relation is None else self._rows_of(cursor, sql)
                if relation is not None and listed and not rows:
                    try:
                        return self._send(relation)
                    except _NotCopied:
                        rows = tuple(dict.fromkeys(self._copied).items())
            if error is not None:
                self._find(cursor, sql, error)
            elif rows:
                self._copied += [name for name, _ in rows]
                self._take(self._ask(Missing(rows=rows)))
            else:  # only now: a table without rows must not be found where its rows are read
                self._engine.comment()
                self._engine.see(self._ask(Missing(listing=True)).views, comments=True)
                listed = True

    def _rows_of(self, cursor: duckdb.DuckDBPyConnection, sql: str) -> Rows:
        """The existing stand-ins, each with the columns that the statement reads of it."""
        names = tuple(self._engine.stand_ins)
        found = columns_read(cursor, sql, self._params, names) if names else {}
        return tuple((name, None if found is None else found.get(name, ())) for name in names)

    def _find(self, cursor: duckdb.DuckDBPyConnection, sql: str, error: duckdb.Error) -> None:
        """Request what DuckDB does not find; raises its error about the statement if it is something else."""
        needed = missing(error)
        if needed is not None and self._take(self._ask(needed)):
            return
        with _read_only(cursor):
            found, offset = probed(cursor, sql, self._params, error)
        again = missing(found)
        if again in (None, needed) or not self._take(self._ask(again)):
            raise problem(found, sql, offset=offset) from error

    def _planned(
        self, cursor: duckdb.DuckDBPyConnection, sql: str
    ) -> tuple[duckdb.DuckDBPyRelation | None, duckdb.Error | None]:
        try:
            return cursor.sql(sql, params=self._params or None), None
        except duckdb.Error as error:
            return None, error

    def _ask(self, needed: Missing) -> Supply:
        write_json(self._out, Kind.MISSING, needed.to_json())
        return Supply.read(self._questions)

    def _take(self, supply: Supply) -> bool:
        """Make the supplied tables; False if none of them is new."""
        if supply.given_up:
            raise GivenUp(None)
        self._engine.see(supply.views)
        return bool(supply.views)

    def _send(self, relation: duckdb.DuckDBPyRelation) -> tuple[int, int]:
        columns = [(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)]
        reader, first = self._begun(relation)
        try:
            batches = () if first is None else chain((first,), reader)
            return _write(iter(batches), columns, reader.schema, self._question, self._out)
        finally:
            reader.close()

    def _begun(self, relation: duckdb.DuckDBPyRelation) -> tuple[pa.RecordBatchReader, pa.RecordBatch | None]:
        """The running result with its first batch; _NotCopied if a column is missing for it."""
        try:
            reader = relation.to_arrow_reader(BATCH)
            return reader, next(reader, None)
        except duckdb.Error as error:
            if NOT_COPIED in str(error) and self._copied:
                raise _NotCopied from error
            raise


def _check_condition(sql: str, start: int, end: int) -> None:
    """``check_condition`` for a part of a statement, with places in the whole."""
    try:
        check_condition(sql[start:end])
    except SyntaxProblem as error:
        raise SyntaxProblem(
            error.message, text=sql, position=start + error.position, expected=error.expected
        ) from None


def _write(
    batches: Iterator[pa.RecordBatch], columns: list[tuple[str, str]], schema: pa.Schema, question: Question, out: BinaryIO
) -> tuple[int, int]:
    """Write header and data; the number of rows and bytes. TooLarge before exceeding a limit."""
    encode = encoder(question.form, columns, schema)
    rows = size = 0
    header = False
    for batch in batches:
        rows += batch.num_rows
        if rows > question.limits.rows:
            raise TooLarge(
                f"more than {question.limits.rows:,} rows; expected fewer: aggregate, or add LIMIT"
            )
        piece = encode.batch(batch)
        size += len(piece)
        if size > question.limits.bytes:
            raise TooLarge(
                f"more than {question.limits.bytes:,} bytes; expected less: aggregate, or add LIMIT"
            )
        if not header:  # only now it is known that the statement runs
            write_json(out, Kind.HEADER, {"columns": columns})
            header = True
        write_frame(out, Kind.DATA, piece)
    if not header:
        write_json(out, Kind.HEADER, {"columns": columns})
    last = encode.end()
    write_frame(out, Kind.DATA, last)
    return rows, size + len(last)


def failure(error: Exception, sql: str, *, grown: bool = False) -> dict[str, object]:
    """The FAILURE frame for an error: its kind, the text for people, the place; and whether it is the last."""
    foreseen = isinstance(error, BadRequest | TooLarge | GivenUp | MemoryError | duckdb.Error | ValueError | RuntimeError)
    last = is_broken(error) or grown or not foreseen
    if isinstance(error, GivenUp):
        return {"kind": "given up", "message": "", "position": error.position, "last": last}
    if isinstance(error, TooLarge):
        return {"kind": "large", "message": str(error), "last": last}
    if isinstance(_cause(error), MemoryError | duckdb.OutOfMemoryException):
        return {"kind": "large", "message": "the statement needs more memory than it may have", "last": True}
    found = problem(error, sql) if isinstance(error, duckdb.Error) else error
    if _may_be_of_a_file(error):
        return {"kind": "unreadable", "message": str(found).partition("\n")[0], "last": last}
    if isinstance(found, SyntaxProblem):
        message, expected = found.message, found.expected
        return {
            "kind": "bad",
            "message": message,
            "expected": expected,
            "position": found.position,
            "last": last,
        }
    kind = "refused" if isinstance(found, Refused) else "bad"
    text = str(found) or type(found).__name__
    return {"kind": kind, "message": text if foreseen else f"internal error in this statement: {text}", "last": last}


def _may_be_of_a_file(error: Exception) -> bool:
    """True if DuckDB may raise this for a damaged file. Some of these errors have no class of their own."""
    cause = _cause(error)
    if isinstance(cause, duckdb.InvalidInputException):
        return "parquet" in str(cause).lower()
    return (
        type(cause) is duckdb.Error
        or isinstance(cause, (duckdb.IOException, duckdb.SerializationException))
        or is_broken(error)
    )


def is_broken(error: Exception) -> bool:
    """True if DuckDB refuses everything after this error."""
    return isinstance(_cause(error), (duckdb.InternalException, duckdb.FatalException))


def _cause(error: Exception) -> BaseException | None:
    return error.__cause__ if isinstance(error, BadRequest) else error


def _limit_work(seconds: float) -> None:
    """End this process after so much more work, in case the daemon is gone and does not kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    end = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))


def _resident() -> int:
    """Bytes of memory that this process uses; 0 where that is unknown."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def limit(memory: int) -> None:
    """Limit the process to ``memory`` for DuckDB and what the process itself needs; write no file."""
    resource.setrlimit(resource.RLIMIT_AS, (memory + OVERHEAD, memory + OVERHEAD))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)


def respond(engine: Engine, question: Question, questions: BinaryIO, out: BinaryIO) -> bool:
    """Answer a question, or report what is wrong with it; False if no other can be answered after it."""
    _limit_work(question.limits.seconds * engine.threads)
    trace = Trace.UNKNOWN if is_indirect(question.sql) else Trace.VISIBLE
    try:
        kind = _Asked(engine, question, questions, out).answer()
        if kind == "SELECT" and trace is Trace.VISIBLE:
            trace = Trace.NONE
    except Exception as error:  # noqa: BLE001  (whatever it is, the daemon would take silence for a lack of memory)
        payload = failure(error, question.sql, grown=engine.has_grown())
        write_json(out, Kind.FAILURE, payload)
        if payload["last"]:
            return False
    engine.forget(trace)
    return True


def serve(root: Path, memory: int, threads: int, confinement: str) -> None:
    """Answer questions until stdin ends, or one of them was the last."""
    out, questions = sys.stdout.buffer, sys.stdin.buffer
    engine = Engine.start(root, memory=memory, threads=threads)
    write_json(out, Kind.READY, {"confinement": confinement})
    while (question := Question.read(questions)) is not None:
        if not respond(engine, question, questions, out):
            return
