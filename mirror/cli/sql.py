"""``mirror sql``: statements over everything that is cached, from the command line, a file, or a prompt."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import click
import msgspec

from mirror.api.contract import plain
from mirror.api.sql import SQL, SqlAnswer, SqlQuery
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import one_of, remark, show, table_options
from mirror.cli.support.parameters import GivenPath, NewFile
from mirror.config.loading import load_config
from mirror.humanize import counted

if TYPE_CHECKING:
    from mirror.drms.series import Series
    from mirror.services.iceberg.spark import Spark

#: Commands of other SQL shells that list tables, or the columns of one.
_COMMANDS = frozenset({r"\d", r"\dt", r"\d+", ".tables", ".schema", ".describe"})
#: The columns of EXPLAIN: drawings of several lines each.
_PLAN = ["explain_key", "explain_value"]
_TABLES = "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables ORDER BY name"


@click.command
@click.argument("statement", required=False)
@click.option(
    "-f", "--file", "source", type=click.File("r", encoding="utf-8"), help="Read statements from a file."
)
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE",
              help="Value for $NAME; numbers, true, false and null are recognized.")  # fmt: skip
@one_of("--json", "form", "json", help="Print JSON: columns with types, and rows.")
@one_of("--csv", "form", "csv", help="Print CSV with a header line.")
@click.option("--parquet", "parquet", type=NewFile(), help="Write a Parquet file.")
@click.option("--arrow", "arrow", type=NewFile(), help="Write an Arrow IPC stream.")
@table_options
@click.option("--fill", is_flag=True, help="Fetch missing records of jsoc() first.")
@click.option(
    "--wait", is_flag=True, help="Fetch missing records of jsoc() first, however many, with a progress bar."
)
@click.option("--on", type=click.Choice(["cluster"]), help="Run it on the engine at [cluster] spark, over the published tables.")
@click.option(
    "--config",
    "path",
    envvar="MIRROR_CONFIG",
    type=GivenPath(path_type=Path),
    help="The configuration whose [cluster] is meant by --on.  [env: MIRROR_CONFIG]",
)
@url_option
def sql(
    statement: str | None,
    source: Any,
    params: tuple[str, ...],
    fill: bool,
    wait: bool,
    form: str | None,
    parquet: Path | None,
    arrow: Path | None,
    on: str | None,
    path: Path | None,
    daemon: Daemon,
) -> None:
    """Run SQL on all cached keywords.

    Each cached series is a table, each keyword a column; times are in UTC. The schema "mirror" has tables of
    series, keywords, coverage, files and exports. jsoc('...') is the table of a record set, which must be
    fully cached, or is fetched with --fill. The dialect is DuckDB's.

    With --on cluster the statement runs on the engine at [cluster] spark instead, over what is published as Iceberg
    tables. The dialect is Spark's there; jsoc_time, jsoc_seconds, slot, quality_bit and quality_bits are the same.

    \b
        mirror sql 'SELECT count(*) FROM hmi.v_45s WHERE quality = 0'
        mirror sql 'SELECT * FROM hmi.sharp_720s WHERE usflux > $u' -p u=5e22 --parquet strong.parquet
        mirror sql 'DESCRIBE hmi.v_45s' --csv
        mirror sql "SELECT avg(datamean) FROM jsoc('hmi.v_45s[2014.01.01/1d]')" --fill
        mirror sql "FROM jsoc('hmi.v_45s[2014.01.01/90d]') SELECT count(*)" --wait
        mirror sql -f monthly.sql --csv > monthly.csv
        echo 'FROM mirror.series' | mirror sql
        mirror sql                               interactive prompt with completion
        mirror sql --on cluster 'SELECT year(t_rec), avg(datamean) FROM hmi.v_45s GROUP BY 1'
    """
    outputs = [name for name, given in (("--parquet", parquet), ("--arrow", arrow), (f"--{form}", form)) if given]
    if len(outputs) > 1:
        raise click.UsageError(f"{outputs[1]} cannot be combined with {outputs[0]}")
    if statement is not None and source is not None:
        raise click.UsageError("-f cannot be combined with a STATEMENT")
    with ExitStack() as stack:
        engine: Engine = Here(daemon)
        if on is not None:
            if fill or wait:
                raise click.UsageError("--fill and --wait are for jsoc(), which is not there with --on cluster")
            engine = stack.enter_context(OnCluster(daemon, path))
        text = _text(statement, source)
        if text is None:
            from mirror.cli.support.prompt import prompt  # noqa: PLC0415  (only a prompt needs its library)

            prompt(daemon, lambda typed: run(engine, _question(engine.spelled_out(typed), {}, fill), form))
            return
        file, kind = (parquet, "parquet") if parquet else (arrow, "arrow")
        _run_all(engine, text, dict(map(_param, params)), Output(form, kind, file), fill=fill, wait=wait)


def _text(statement: str | None, source: Any) -> str | None:
    """The statements that are given in one of three ways; None: they will be typed."""
    try:
        text: str | None = statement or (source.read() if source else None)
        return sys.stdin.read() if text is None and not sys.stdin.isatty() else text
    except UnicodeDecodeError as problem:
        raise click.ClickException(f"{source.name if source else 'standard input'} is no text in UTF-8: {problem.reason}") from problem


@dataclass(frozen=True, slots=True)
class Output:
    """What becomes of an answer: it is written to ``file`` in a ``kind``, or printed, in a ``form`` if not as a table."""

    form: str | None
    kind: str
    file: Path | None


def _run_all(engine: Engine, text: str, given: dict[str, Any], output: Output, *, fill: bool, wait: bool) -> None:
    """Run the statements of a text, one after the other; ``given`` are the values of its parameters."""
    if not text.strip():
        raise click.UsageError("missing STATEMENT; expected SQL as an argument, in a file (-f), or on standard input")
    statements = [engine.spelled_out(each) for each in _split(text)]
    for name in given:
        if f"{engine.marker}{name}" not in text:
            raise click.UsageError(f"-p {name}: no statement has a {engine.marker}{name}")
    if output.file is not None and len(statements) > 1:
        raise click.UsageError(f"--{output.kind} writes the answer of one statement; found {len(statements)}")
    for number, each in enumerate(statements):
        if wait:
            _fill_record_sets(engine.daemon, each)
        # DuckDB rejects a value that a statement does not name.
        named = given if len(statements) == 1 else {n: v for n, v in given.items() if f"{engine.marker}{n}" in each}
        question = _question(each, named, fill or wait)
        if output.file is not None:
            _write(engine, question, output.kind, output.file)
            continue
        if number and output.form is None:
            click.echo()
        run(engine, question, output.form)


class Engine(Protocol):
    """Runs statements; ``daemon`` is the mirror for all other questions, ``marker`` begins parameters."""

    daemon: Daemon
    marker: str

    def spelled_out(self, typed: str) -> str:
        """A statement for a command of other shells."""
        ...

    def ask(self, question: SqlQuery) -> SqlAnswer:
        """The answer to a statement."""
        ...

    def stream(self, question: SqlQuery, kind: str) -> AbstractContextManager[Any]:
        """The answer as a stream, in one of the forms of /api/sql."""
        ...


class Here:
    """The mirror itself."""

    marker = "$"

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def spelled_out(self, typed: str) -> str:
        """See ``Engine``."""
        return spelled_out(typed)

    def ask(self, question: SqlQuery) -> SqlAnswer:
        """See ``Engine``."""
        return self.daemon.ask(SQL, question)

    def stream(self, question: SqlQuery, kind: str) -> AbstractContextManager[Any]:
        """See ``Engine``."""
        return self.daemon.stream(SQL.path, {"format": kind}, question)


class OnCluster:
    """The engine at [cluster] spark of a configuration; while it is entered."""

    marker = ":"

    def __init__(self, daemon: Daemon, path: Path | None) -> None:
        self.daemon = daemon
        self._section, self._lake = (config := load_config(path, os.environ)).cluster, config.lake
        self._stack = ExitStack()
        self._spark: Spark | None = None

    def __enter__(self) -> Self:
        from mirror.services.iceberg.spark import Spark  # noqa: PLC0415  (for --on alone, as is the next)
        from mirror.services.iceberg.tables import PublishedTables  # noqa: PLC0415

        section = self._section
        if section.spark is None:
            raise click.ClickException('[cluster] spark is not set; expected an address such as "sc://spark.example.org:15002"')
        if section.database is not None:
            tables = PublishedTables.open(f"{section.objects}/lake", section.database, section.endpoint)
        elif self._lake.iceberg is not None:
            tables = PublishedTables.open(self._lake.iceberg)
        else:
            raise click.ClickException("no tables are published; expected [lake] iceberg, or [cluster] database and objects")
        self._stack.callback(tables.close)
        self._spark = Spark(section.spark, tables, self._structure)
        self._stack.callback(self._spark.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def spelled_out(self, typed: str) -> str:
        """See ``Engine``."""
        return "SHOW TABLES" if (written := spelled_out(typed)) == _TABLES else written

    def _structure(self, name: str) -> Series:
        """A series as the mirror knows it, for slot()."""
        from mirror.wire.structure import decode_series_struct  # noqa: PLC0415

        with self.daemon.stream("/cgi-bin/ajax/jsoc_info", {"op": "series_struct", "ds": name}) as answer:
            return decode_series_struct(answer.read(), name_hint=name)

    def ask(self, question: SqlQuery) -> SqlAnswer:
        """See ``Engine``."""
        with self.stream(question, "json") as answer:
            return msgspec.json.decode(answer.read(), type=SqlAnswer)

    @contextmanager
    def stream(self, question: SqlQuery, kind: str) -> Iterator[Any]:
        """See ``Engine``."""
        from mirror.services.sql.encoding import encoder  # noqa: PLC0415

        assert self._spark is not None
        params = question.params if isinstance(question.params, dict) else None
        table = self._spark.run(question.query, params)
        columns = [(field.name, str(field.type)) for field in table.schema]
        made = encoder(cast("Any", kind), columns, table.schema)
        yield io.BytesIO(b"".join([*map(made.batch, table.to_batches()), made.end()]))


def _split(text: str) -> list[str]:
    """The statements of a text; a single one is the text itself, so that errors show it as it was written."""
    if ";" not in text:
        return [text]
    from mirror.services.sql.statements import split_statements  # noqa: PLC0415  (loads DuckDB)

    found = split_statements(text)
    return found if len(found) > 1 else [text]


def spelled_out(typed: str) -> str:
    """A statement for a command of other SQL shells: ``\\d``, ``.tables``, ``.schema NAME``."""
    word, _, name = typed.strip().rstrip(";").partition(" ")
    if word not in _COMMANDS:
        return typed
    return f"DESCRIBE {name.strip()}" if name.strip() else _TABLES


def _fill_record_sets(daemon: Daemon, statement: str) -> None:
    """Fetch what is missing of the record sets of a statement, however much, and wait for it."""
    from mirror.cli.fill import fill_and_wait  # noqa: PLC0415  (only for --wait, as is the next)
    from mirror.services.sql.jsoc_calls import find_calls  # noqa: PLC0415

    for call in find_calls(statement):
        fill_and_wait(daemon, call.recordset)


def _question(statement: str, params: Mapping[str, Any], fill: bool) -> SqlQuery:
    """The body of a request to /api/sql."""
    return SqlQuery(query=statement, params=dict(params) or None, fill=fill)


def run(engine: Engine, question: SqlQuery, form: str | None) -> None:
    """Run a statement and print its answer: as a table, or as ``form``, which is JSON or CSV."""
    if form == "csv":
        with engine.stream(question, "csv") as answer:
            while piece := answer.read(1 << 16):
                try:
                    sys.stdout.buffer.write(piece)
                except BrokenPipeError:  # not of the connection to the mirror: whoever reads the output has enough
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still buffered
                    raise SystemExit(1) from None
        return
    reply = engine.ask(question)
    if form == "json":
        click.echo(json.dumps(plain(reply), ensure_ascii=False))
        return
    names = [column.name for column in reply.columns]
    if names == _PLAN:
        for row in reply.rows:
            click.echo(str(row[1]).rstrip())
        return
    show({"columns": names, "rows": reply.rows}, "table")
    remark(counted(len(reply.rows), "row"))


def _write(engine: Engine, question: SqlQuery, kind: str, file: Path) -> None:
    """Write an answer to a file, which gets its name only once it is whole."""
    part = file.with_name(f".{file.name}.part")
    try:
        with engine.stream(question, kind) as answer, part.open("wb") as out:
            shutil.copyfileobj(answer, out, 1 << 20)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    remark(f"{file}: {file.stat().st_size:,} bytes")


def _param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise click.BadParameter(f"{text!r}; expected NAME=VALUE", param_hint="--param")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
