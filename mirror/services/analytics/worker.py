"""The process in which statements of users run: ``python -m mirror.services.analytics.worker FOLDER ...``.

It reads questions from stdin, a line each, and writes frames to stdout. It may read files below FOLDER (the
lake) and nothing else, write none, and take so much memory; whoever started it kills it when its time is up.
Nothing here defends the daemon by being clever: what gets past is the death of this process.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import duckdb
import pyarrow as pa

from mirror.drms.errors import BadRequest, Refused, SyntaxProblem
from mirror.services.analytics import functions
from mirror.services.analytics.encoding import encoder
from mirror.services.analytics.frames import Kind, write_frame, write_json
from mirror.services.analytics.question import Question, View
from mirror.services.analytics.statements import check, located, problem

#: Rows in a batch: some megabytes of twenty columns.
BATCH = 50_000
#: What DuckDB may have ready beyond the batch that is being sent, so that it need not wait for the reader.
AHEAD = "32MB"
#: What the process needs beside DuckDB's own memory: code, libraries, stacks of threads, batches on their way.
OVERHEAD = 2 << 30
#: How far behind everybody else statements stand for the processor.
NICE = 10


class TooLarge(Exception):
    """The answer has more rows or bytes than it may."""


@dataclass
class Engine:
    """DuckDB in memory with the views of the lake. ``root`` is the folder that may be read."""

    connection: duckdb.DuckDBPyConnection
    views: dict[str, View] = field(default_factory=dict)

    @classmethod
    def start(cls, root: Path, *, memory: int, threads: int) -> Engine:
        """An engine that can reach nothing but files below ``root``; ``memory`` in bytes."""
        connection = duckdb.connect()
        functions.install(connection)
        for setting in (
            f"SET allowed_directories = ['{str(root).replace(chr(39), chr(39) * 2)}']",
            "SET temp_directory = ''",
            "SET enable_external_access = false",
            f"SET memory_limit = '{memory}B'",
            f"SET threads = {threads}",
            f"SET streaming_buffer_size = '{AHEAD}'",
            "SET GLOBAL errors_as_json = true",
            "SET GLOBAL parquet_metadata_cache = true",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET GLOBAL TimeZone = 'UTC'",
            "SET lock_configuration = true",
        ):
            connection.execute(setting)
        return cls(connection)

    def see(self, views: tuple[View, ...]) -> None:
        """Make the views that a statement may read; those that are as they were stay."""
        for view in views:
            if self.views.get(view.name) == view:
                continue
            schema = view.name.partition(".")[0]
            with self.connection.cursor() as cursor:
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                _create(cursor, view)
                _comment(cursor, view)
            self.views[view.name] = view


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
    kind = "TABLE" if view.data else "VIEW"
    if view.comment:
        cursor.execute(f"COMMENT ON {kind} {view.name} IS {_text(view.comment)}")
    for column, comment in view.comments.items():
        cursor.execute(f"COMMENT ON COLUMN {view.name}.{_name(column)} IS {_text(comment)}")


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def answer(engine: Engine, question: Question, out: BinaryIO) -> None:
    """Run one statement and write its frames; raises what is wrong with it, which may be after some of them."""
    began = time.monotonic()
    with engine.connection.cursor() as cursor:
        check(cursor, question.sql)
        params = question.params if isinstance(question.params, dict) else list(question.params)
        try:
            relation = cursor.sql(question.sql, params=params or None)
        except duckdb.Error as error:
            raise located(cursor, question.sql, params, error) from error
        columns = [(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)]
        reader = relation.to_arrow_reader(BATCH)
        rows, size = _write(reader, columns, question, out)
        reader.close()
    seconds = round(time.monotonic() - began, 6)
    write_json(out, Kind.END, {"rows": rows, "bytes": size, "seconds": seconds})


def _write(
    reader: pa.RecordBatchReader, columns: list[tuple[str, str]], question: Question, out: BinaryIO
) -> tuple[int, int]:
    """Write header and data; how many rows and bytes these were. TooLarge before anything above the limits."""
    encode = encoder(question.form, columns, reader.schema)
    rows = size = 0
    header = False
    for batch in reader:
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
        if not header:  # only now is it known that the statement runs
            write_json(out, Kind.HEADER, {"columns": columns})
            header = True
        write_frame(out, Kind.DATA, piece)
    if not header:
        write_json(out, Kind.HEADER, {"columns": columns})
    last = encode.end()
    write_frame(out, Kind.DATA, last)
    return rows, size + len(last)


def failure(error: Exception, sql: str) -> dict[str, object]:
    """What a FAILURE frame says of an error: of which kind it is, for people, and where."""
    if isinstance(error, MemoryError | duckdb.OutOfMemoryException):
        return {"kind": "large", "message": "the statement needs more memory than it may have"}
    if isinstance(error, TooLarge):
        return {"kind": "large", "message": str(error)}
    found = problem(error, sql) if isinstance(error, duckdb.Error) else error
    if _may_be_of_a_file(error):
        return {"kind": "unreadable", "message": str(found).partition("\n")[0], "broken": is_broken(error)}
    if isinstance(found, SyntaxProblem):
        return {"kind": "bad", "message": found.message, "position": found.position}
    if isinstance(found, Refused):
        return {"kind": "refused", "message": str(found)}
    return {"kind": "bad", "message": str(found) or type(found).__name__}


def _may_be_of_a_file(error: Exception) -> bool:
    """True if DuckDB may say this of a damaged file. Some of these errors are of no class of their own."""
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


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory + OVERHEAD, memory + OVERHEAD))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)


def _limit_work(seconds: float) -> None:
    """End this process after so much more work, should whoever started it be gone and not kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    end = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))


def main(folder: str, memory: str, threads: str) -> None:
    """Answer questions until stdin ends."""
    out, questions = sys.stdout.buffer, sys.stdin.buffer
    # Where there is pandas, pyarrow would spend half a second on importing what nobody needs here.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    _limit(int(memory))
    engine = Engine.start(Path(folder), memory=int(memory), threads=int(threads))
    write_json(out, Kind.READY, {})
    for line in questions:
        question = Question.from_line(line)
        _limit_work(question.limits.seconds * int(threads))
        try:
            engine.see(question.views)
            answer(engine, question, out)
        except (BadRequest, TooLarge, MemoryError, duckdb.Error, ValueError, RuntimeError) as error:
            write_json(out, Kind.FAILURE, failure(error, question.sql))
            if is_broken(error):
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
