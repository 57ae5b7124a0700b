"""Iceberg tables with the months of the lake: the catalogue, the schema, and the changes, each whole or not at all.

1. A table has its rows by months, as the lake has its files. Its property ``mirror.months`` lists which months it has,
   and the state of each; it changes in the same commit as the rows.
2. A month is replaced whole: its old rows are deleted and its new rows added in one commit. Readers see one or the
   other.
3. The rows of a month are selected by the exact time (``<key>_tai``), by which the lake is cut too; the partitions are
   months of the time in UTC, so that a reader's condition on that finds the files. A file has rows of one month only.
4. Snapshots that nobody reads any more are expired, and the files that only they had are removed.

All of this blocks: call it in a thread.
"""

from __future__ import annotations

import json
import os
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from mirror.errors import ConfigError, StorageError
from mirror.redaction import redacted
from mirror.storage.lake.table import ALL, NONE, bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.types import IcebergType

#: The property that says which months a table has, and the namespace of the tables about the mirror.
MONTHS, ABOUT = "mirror.months", "mirror"
#: Months that are replaced in one commit.
AT_ONCE = 12
#: Iceberg's types that have other names in Spark.
_SPARK = {"long": "bigint", "timestamp": "timestamp_ntz"}
_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what it means, its units in brackets."""

    name: str
    comment: str


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """Where a table lies, its newest metadata, and the types of its columns under Spark's names."""

    location: str
    metadata: str
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Month:
    """A month to be published: its name, a mark of its state, and how its rows are read."""

    name: str
    mark: str
    rows: Callable[[], pa.Table]


@dataclass(frozen=True, slots=True)
class Content:
    """A table as it should be: ``time`` and ``exact`` are its columns of time, None where it has none."""

    name: str
    note: str
    columns: tuple[Column, ...]
    time: str | None
    exact: str | None


def from_file(path: Path) -> Callable[[], pa.Table]:
    """The rows of a file of the lake."""
    return lambda: pq.read_table(path)


def identifier(name: str) -> tuple[str, str]:
    """Namespace and table of a series: ``hmi.v_45s`` is table v_45s of namespace hmi."""
    space, _, table = name.lower().partition(".")
    return (space, table) if table else (ABOUT, space)


class PublishedTables:
    """The tables of one catalogue, whose files are below ``place``."""

    def __init__(self, catalog: SqlCatalog, place: str) -> None:
        self._catalog = catalog
        self.place = place

    @classmethod
    def open(
        cls,
        place: str,
        database: str | None = None,
        endpoint: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> PublishedTables:
        """The tables below ``file:///folder`` or ``s3://bucket/prefix``; ConfigError if they cannot be opened.

        Their catalogue is in the PostgreSQL ``database``, else in ``catalogue.sqlite`` in the folder.
        """
        try:
            from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415
        except ImportError as problem:
            raise ConfigError(
                f"tables of Iceberg need {problem.name}: pip install 'jsoc-mirror[iceberg]', or publish = \"none\""
            ) from problem
        properties = {"warehouse": place, "uri": _catalogue_address(place, database)}
        if place.startswith("s3:"):
            properties |= _s3_properties(endpoint, environ)
        with _translated(place):
            return cls(SqlCatalog(ABOUT, **properties), place)

    def names(self) -> list[str]:
        """The existing tables: ``hmi.v_45s``."""
        with _translated(self.place):
            spaces = self._catalog.list_namespaces()
            return sorted(".".join(table) for space in spaces for table in self._catalog.list_tables(space))

    def table(self, name: str) -> PublishedTable:
        """An existing table; StorageError if there is none."""
        with _translated(name):
            table = self._table(name)
            if table is None:
                raise StorageError(f"{name} is not published any more")
            types = {field.name: _SPARK.get(str(field.field_type), str(field.field_type)) for field in table.schema().fields}
            return PublishedTable(table.location(), table.metadata_location, types)

    def months(self, name: str) -> dict[str, str]:
        """The months that a table has, each with its mark; none if there is no such table."""
        with _translated(name):
            table = self._table(name)
            return {} if table is None else dict(json.loads(table.properties.get(MONTHS, "{}")))

    def replace(self, content: Content, months: Sequence[Month], gone: Sequence[str]) -> int:
        """Replace these months by their current state, and remove those in ``gone``; how many rows were written."""
        written = 0
        with _translated(content.name):
            table = self._table(content.name)
            if table is None and not months:
                return 0
            first = months[0].rows() if months else None
            if first is not None:
                table = self._shaped(table, content, first.schema)
            assert table is not None
            known = dict(json.loads(table.properties.get(MONTHS, "{}")))
            for start in range(0, max(1, len(months)), AT_ONCE):
                some = months[start : start + AT_ONCE]
                leaving = [m for m in gone if m in known] if start == 0 else []
                written += self._commit(table, content, some, leaving, known)
            self._point(table)
        return written

    def expire(self, name: str, before: float) -> int:
        """Remove the snapshots older than a time in Unix seconds, with their files; how many files were removed."""
        with _translated(name):
            table = self._table(name)
            if table is None or table.current_snapshot() is None:
                return 0
            current = table.metadata.current_snapshot_id
            old = [s for s in table.metadata.snapshots if s.timestamp_ms < before * 1000 and s.snapshot_id != current]
            if not old:
                return 0
            kept = [s for s in table.metadata.snapshots if s not in old]
            dead = _files(table, old) - _files(table, kept)
            table.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in old]).commit()
            self._point(table)
            for path in dead:
                with suppress(OSError):  # a file that stays only takes room
                    table.io.delete(path)
            return len(dead)

    def close(self) -> None:
        """Close the catalogue's database."""
        self._catalog.engine.dispose()

    # ---- inside ----------------------------------------------------------------------------------

    def _table(self, name: str) -> Table | None:
        from pyiceberg.exceptions import NoSuchTableError  # noqa: PLC0415

        try:
            return self._catalog.load_table(identifier(name))
        except NoSuchTableError:
            return None

    def _shaped(self, table: Table | None, content: Content, columns: pa.Schema) -> Table:
        """The table with the columns that it should have, created if need be."""
        wanted = _schema(content, columns)
        if table is None:
            space = identifier(content.name)[0]
            self._catalog.create_namespace_if_not_exists(space)
            properties = {**_PROPERTIES, "comment": content.note, MONTHS: "{}"}
            return self._catalog.create_table(
                identifier(content.name), wanted, partition_spec=_spec(content, wanted), properties=properties
            )
        held = {f.name: (f.field_type, f.doc) for f in table.schema().fields}
        other = {f.name for f in wanted.fields if f.name in held and not _is_same(held[f.name][0], f.field_type)}
        if content.time in other:
            raise StorageError(f"{content.name}: the time {content.time} has another type than it was published with")
        gone = [name for name in held if name in other or name not in {f.name for f in wanted.fields}]
        if gone:
            with table.update_schema(allow_incompatible_changes=True) as update:
                for name in gone:
                    update.delete_column(name)
        with table.update_schema() as update:
            for field in wanted.fields:
                if field.name in gone or field.name not in held:
                    update.add_column(field.name, field.field_type, field.doc)
                elif held[field.name][1] != field.doc:
                    update.update_column(field.name, doc=field.doc)
        return table

    def _commit(
        self, table: Table, content: Content, months: Sequence[Month], gone: Sequence[str], known: dict[str, str]
    ) -> int:
        from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415

        shape = schema_to_pyarrow(table.schema(), include_field_ids=False)
        written = 0
        with table.transaction() as transaction:
            for name in gone:
                transaction.delete(_where(content, name))
                known.pop(name, None)
            for month in months:
                rows = _fitted(month.rows(), shape)
                if month.name in known:
                    transaction.overwrite(rows, _where(content, month.name))
                else:
                    transaction.append(rows)
                known[month.name] = month.mark
                written += rows.num_rows
            transaction.set_properties({MONTHS: json.dumps(known)})
        return written

    def _point(self, table: Table) -> None:
        """Record beside the metadata which is the newest, for readers without a catalogue."""
        folder, _, file = table.metadata_location.rpartition("/")
        with table.io.new_output(f"{folder}/version-hint.text").create(overwrite=True) as out:
            out.write(file.removesuffix(".metadata.json").encode())


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Errors of pyiceberg, the catalogue's database and the file system, as StorageError."""
    from pyiceberg.exceptions import CommitFailedException  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for example that a month had no rows
            yield
    except (OSError, SQLAlchemyError, CommitFailedException, pa.ArrowException) as problem:
        said = redacted(" ".join(str(problem).split())[:300])
        raise StorageError(f"{what} cannot be published now: {said or type(problem).__name__}") from problem


def _catalogue_address(place: str, database: str | None) -> str:
    if database is not None:
        separator = "&" if "?" in database else "?"
        address = "postgresql+psycopg://" + database.partition("://")[2]
        return f"{address}{separator}options={quote('-csearch_path=mirror')}"
    folder = Path(unquote(urlsplit(place).path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"[lake] iceberg: {folder} cannot be made: {problem.strerror}") from problem
    return f"sqlite:///{folder}/catalogue.sqlite"


def _s3_properties(endpoint: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    names = {
        "s3.access-key-id": "AWS_ACCESS_KEY_ID",
        "s3.secret-access-key": "AWS_SECRET_ACCESS_KEY",
        "s3.session-token": "AWS_SESSION_TOKEN",
        "s3.region": "AWS_REGION",
    }
    found = {name: environ[variable] for name, variable in names.items() if environ.get(variable)}
    return found if endpoint is None else {"s3.region": "us-east-1", "s3.endpoint": endpoint, **found}


def _where(content: Content, month: str) -> BooleanExpression:
    """The rows of a month, as the lake has them."""
    from pyiceberg.expressions import AlwaysTrue, And, GreaterThanOrEqual, IsNull, LessThan  # noqa: PLC0415

    if content.exact is None or month == ALL:
        return AlwaysTrue()
    # The declared types are pydantic's, not those that are accepted.
    missing: Any = IsNull
    first: Any = GreaterThanOrEqual
    end: Any = LessThan
    span = None if month == NONE else bounds(month)
    if span is None:
        return And(AlwaysTrue(), missing(content.exact))
    return And(first(content.exact, span[0]), end(content.exact, span[1]))


def _schema(content: Content, columns: pa.Schema) -> Schema:
    from pyiceberg.schema import Schema  # noqa: PLC0415
    from pyiceberg.types import NestedField  # noqa: PLC0415

    comments = {column.name: column.comment for column in content.columns}
    fields, number = [], len(columns)
    for at, field in enumerate(columns, 1):
        kind, number = _type(field.type, number)
        fields.append(NestedField(at, field.name, kind, required=False, doc=comments.get(field.name) or None))
    return Schema(*fields)


def _type(kind: pa.DataType, number: int) -> tuple[IcebergType, int]:
    """The Iceberg type, and the last field number that was assigned."""
    from pyiceberg import types  # noqa: PLC0415

    if pa.types.is_list(kind):
        inner, last = _type(kind.value_type, number + 1)
        return types.ListType(element_id=number + 1, element_type=inner, element_required=False), last
    simple: list[tuple[Any, IcebergType]] = [
        (pa.types.is_boolean, types.BooleanType()),
        (lambda k: pa.types.is_integer(k) and k.bit_width < 64 and k != pa.uint32(), types.IntegerType()),
        (pa.types.is_integer, types.LongType()),
        (pa.types.is_float32, types.FloatType()),
        (pa.types.is_floating, types.DoubleType()),
        (pa.types.is_timestamp, types.TimestampType()),
        (lambda _: True, types.StringType()),
    ]
    return next(made for fits, made in simple if fits(kind)), number


def _is_same(held: IcebergType, wanted: IcebergType) -> bool:
    """Equal, except for the numbers of nested fields."""
    return str(held).split(": ")[-1] == str(wanted).split(": ")[-1]


def _spec(content: Content, schema: Schema) -> Any:
    from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec  # noqa: PLC0415
    from pyiceberg.transforms import MonthTransform  # noqa: PLC0415

    if content.time is None:
        return UNPARTITIONED_PARTITION_SPEC
    source = schema.find_field(content.time).field_id
    return PartitionSpec(PartitionField(source, 1000, MonthTransform(), f"{content.time}_month"))


def _fitted(rows: pa.Table, shape: pa.Schema) -> pa.Table:
    """Rows with the columns of the table, in its order and types."""
    arrays = [
        rows.column(field.name).cast(field.type) if field.name in rows.schema.names else pa.nulls(rows.num_rows, field.type)
        for field in shape
    ]
    return pa.Table.from_arrays(arrays, schema=shape)


def _files(table: Table, snapshots: Sequence[Snapshot]) -> set[str]:
    """Every file that snapshots need."""
    found: set[str] = set()
    for snapshot in snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in found:
                found.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
                found |= {entry.data_file.file_path for entry in entries}
    return found
