"""The engine of a cluster (Spark, or another that speaks Spark Connect), and the published tables as it sees them.

A session is opened for the statements of one command. The tables that a statement names are views in it, each read from
its location: the engine needs no catalogue, but must be able to read the folder or the bucket. Times are in UTC.
"""

from __future__ import annotations

import re
import socket
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa

from mirror.errors import BadRequest, ClusterAway, ConfigError
from mirror.redaction import redacted
from mirror.services.iceberg.dialect import Known, headings, tables_of, view_of, written_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mirror.drms.series import Series
    from mirror.services.iceberg.tables import PublishedTable, PublishedTables

#: The default port of Spark Connect, and the seconds within which it must answer.
PORT, PATIENCE = 15002, 5.0
#: The longest name of a column that is taken for one.
LONGEST = 60
_MOMENT = pa.timestamp("us")
#: Statements that are answered from the catalogue of the tables: engines know views of this session only.
_ABOUT = re.compile(r"\s*(?:SHOW\s+TABLES|DESC(?:RIBE)?\s+(?:TABLE\s+)?(?P<name>[\w.`]+))\s*;?\s*", re.IGNORECASE)


class Spark:
    """A session at ``sc://host:port``, on these tables; ``structure`` gives a series by its name."""

    def __init__(self, address: str, tables: PublishedTables, structure: Callable[[str], Series]) -> None:
        self._tables, self._structure = tables, structure
        self._names = tables.names()
        self._shown: dict[str, PublishedTable] = {}
        self._session: Any = _session(address)

    def close(self) -> None:
        """Close the session."""
        with suppress(Exception):  # it ends by itself if the engine is not reached
            self._session.stop()

    def run(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
        """The whole answer of a statement; BadRequest with the engine's message if it refuses it."""
        if (about := _ABOUT.fullmatch(sql)) is not None:
            return self._about(about["name"])
        for name in tables_of(sql, self._names):
            if name not in self._shown:
                self._shown[name] = self._show(name)
        types: dict[str, set[str]] = {}
        for table in self._shown.values():
            for column, kind in table.types.items():
                types.setdefault(column.lower(), set()).add(kind)
        views = {name: view_of(name) for name in self._names}
        known = Known(views, {column: frozenset(kinds) for column, kinds in types.items()}, self._structure)
        text = written_out(sql, known)
        with _translated():
            found: pa.Table = self._session.sql(text, args=dict(params) if params else None).toArrow()
        return _in_utc(found if text == sql else _headed(found, headings(sql)))

    def _about(self, name: str | None) -> pa.Table:
        """The list of tables, or the columns of one."""
        if name is None:
            return pa.table({"name": pa.array(self._names, pa.string())})
        wanted = name.replace("`", "").lower()
        if wanted not in self._names:
            raise BadRequest(f"no table {wanted} is published; expected one of those that SHOW TABLES names")
        types = self._tables.table(wanted).types
        return pa.table({"column_name": list(types), "column_type": list(types.values())})

    def _show(self, name: str) -> PublishedTable:
        """Make the view of a table."""
        table = self._tables.table(name)
        try:
            with _translated():
                self._view(table.location, name)
        except BadRequest:
            # Engines that find only their own tables by the folder get the file that describes the table.
            with _translated():
                self._view(table.metadata, name)
        return table

    def _view(self, place: str, name: str) -> None:
        frame = self._session.read.format("iceberg").load(place)
        assert frame.schema is not None  # which asks the engine here, rather than at the first statement
        frame.createOrReplaceTempView(view_of(name))


def _session(address: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pyspark.sql import SparkSession  # noqa: PLC0415  (only who asks a cluster needs it)
    except ImportError as problem:
        raise ConfigError(f"the cluster's engine needs {problem.name}: pip install 'jsoc-mirror[spark]'") from problem
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or PORT
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except OSError as problem:
        # Its own client would retry for ten minutes.
        raise ClusterAway(f'nobody answers at [cluster] spark = "sc://{host}:{port}": {problem.strerror or problem}') from problem
    with _translated():
        return SparkSession.builder.remote(address).config("spark.sql.session.timeZone", "UTC").create()


@contextmanager
def _translated() -> Iterator[None]:
    """The engine's error about a statement, as BadRequest."""
    from grpc import RpcError  # type: ignore[import-untyped]  # noqa: PLC0415
    from pyspark.errors import PySparkException  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (PySparkException, RpcError) as problem:
        said = str(problem).partition("JVM stacktrace")[0].strip() or type(problem).__name__
        raise BadRequest(f"the cluster's engine says: {redacted(said[:2000])}") from problem


def _headed(table: pa.Table, written: list[str] | None) -> pa.Table:
    """With column names as written, where the engine shows the expansion instead."""
    if written is None or len(written) != table.num_columns:
        return table
    names = [own if len(own) <= LONGEST else text for own, text in zip(table.column_names, written, strict=True)]
    return table.rename_columns(names)


def _in_utc(table: pa.Table) -> pa.Table:
    """Times as ``mirror sql`` has them: in UTC, without a time zone."""
    kinds = [_MOMENT if pa.types.is_timestamp(field.type) else field.type for field in table.schema]
    return table.cast(pa.schema([field.with_type(kind) for field, kind in zip(table.schema, kinds, strict=True)]))
