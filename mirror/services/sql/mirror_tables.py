"""Tables about the mirror itself, in the schema ``mirror``, made for each statement that reads them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from msgspec.structs import asdict

from mirror.humanize import LAST, utc
from mirror.redaction import redacted
from mirror.services.sql.messages import View
from mirror.storage.lake.columns import lake_columns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mirror.services.monitoring.ranges import Ranges
    from mirror.services.monitoring.status import Status
    from mirror.services.subscriptions.manager import Sync
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.index import Index

_TIME = pa.timestamp("us", tz=None)
_TEXT, _INTEGER, _TRUTH = pa.string(), pa.int64(), pa.bool_()

#: Each table: its description, and its columns with types and meanings.
TABLES: dict[str, tuple[str, dict[str, tuple[pa.DataType, str]]]] = {
    "series": (
        "Cached series",
        {
            "series": (_TEXT, "its name"),
            "note": (_TEXT, "description"),
            "primekeys": (pa.list_(_TEXT), "the keywords that name a record"),
            "records": (_INTEGER, "cached records, newest versions"),
        },
    ),
    "keywords": (
        "Keywords of every cached series",
        {
            "series": (_TEXT, "its series"),
            "keyword": (_TEXT, "its name"),
            "column": (_TEXT, "the column that holds it"),
            "type": (_TEXT, "its DRMS type"),
            "units": (_TEXT, "its units"),
            "note": (_TEXT, "description"),
            "scope": (_TEXT, "variable, constant, or how it is slotted"),
        },
    ),
    "segments": (
        "Segments of every cached series",
        {
            "series": (_TEXT, "its series"),
            "segment": (_TEXT, "its name, and that of the column with its path"),
            "units": (_TEXT, "units of its data"),
            "dims": (_TEXT, "its size, axis 1 first"),
            "protocol": (_TEXT, "how it is stored"),
            "note": (_TEXT, "description"),
        },
    ),
    "coverage": (
        "Ranges that are fully cached",
        {
            "series": (_TEXT, "its series"),
            "restriction": (_TEXT, "which values of the other prime keys; empty: all"),
            "first": (_TEXT, "where the span begins; NULL: without bound"),
            "last": (_TEXT, "where it ends; NULL: without bound"),
            "slots": (_INTEGER, "slots from first to last"),
            "records": (_INTEGER, "cached records in it"),
            "checked_at": (_TIME, "when JSOC last confirmed it, UTC"),
        },
    ),
    "holdings": (
        "Cached files",
        {
            "series": (_TEXT, "its series, in lower case"),
            "recnum": (_INTEGER, "its record"),
            "segment": (_TEXT, "its segment, in lower case"),
            "kind": (_TEXT, "as-is: as archived; fits: an export that was adopted"),
            "path": (_TEXT, "its path at JSOC and at this mirror; NULL for exports"),
            "bytes": (_INTEGER, "its size"),
            "sha256": (_TEXT, "hash of its content, and its name in the store"),
            "kept_at": (_TIME, "when it was cached, UTC"),
        },
    ),
    "jobs": (
        "Exports",
        {
            "job": (_TEXT, "its request id"),
            "state": (_TEXT, "waiting, staging, fetching, done or failed"),
            "created": (_TIME, "when it was requested, UTC"),
            "updated": (_TIME, "when its state last changed, UTC"),
            "files": (_INTEGER, "files it has"),
            "bytes": (_INTEGER, "their size"),
            "error": (_TEXT, "why it failed"),
        },
    ),
    "subscriptions": (
        "Subscriptions",
        {
            "subscription": (_TEXT, "its name"),
            "series": (_TEXT, "its series"),
            "state": (_TEXT, "its current state"),
            "records": (_INTEGER, "cached records of its window"),
            "files": (_INTEGER, "cached files of its window"),
            "bytes": (_INTEGER, "their size"),
        },
    ),
}


def _moment(column: str) -> str:
    """SQL of a time in Unix seconds; NULL for one that has no date."""
    return f"CASE WHEN {column} BETWEEN 0 AND {LAST} THEN make_timestamp(({column} * 1e6)::BIGINT) END"


_HOLDINGS = f"""
    SELECT series, recnum, segment, 'as-is' AS kind,
        '/' || disk || '/D' || sunum || '/S' || lpad(slot::VARCHAR, 5, '0') || '/' || file AS path,
        size AS bytes, h.sha256, {_moment('kept_at')} AS kept_at
    FROM mirror.holdings h JOIN mirror.blobs b ON h.head = b.head AND h.sha256 = b.sha256
    UNION ALL
    SELECT series, recnum, segment, kind, NULL, size, a.sha256, {_moment('kept_at')}
    FROM mirror.adopted a JOIN mirror.blobs b ON a.head = b.head AND a.sha256 = b.sha256
"""
_JOBS = f"""
    SELECT id AS job, state, {_moment('created')} AS created,
        {_moment('updated')} AS updated, count(sha256) AS files,
        coalesce(sum(size), 0)::BIGINT AS bytes, any_value(error) AS error
    FROM mirror.jobs LEFT JOIN mirror.job_files ON job = id GROUP BY id, state, created, updated
"""


class CatalogueTables:
    """Makes these tables."""

    def __init__(
        self, index: Index, database: Database, status: Status, ranges: Ranges, sync: Sync
    ) -> None:
        self._index = index
        self._database = database
        self._status = status
        self._ranges = ranges
        self._sync = sync

    async def view(self, name: str) -> View | None:
        """The table of a name, as of now; None if there is none."""
        if name not in TABLES:
            return None
        table = await self.table(name)
        return await asyncio.to_thread(_view, name, table)

    def empty(self) -> tuple[View, ...]:
        """All of them, without rows."""
        return tuple(_view(name, _schema(name).empty_table()) for name in TABLES)

    async def table(self, name: str) -> pa.Table:
        """The rows of the table of that name, which must be one of ``TABLES``."""
        if name == "holdings":
            return await self._database.read(lambda cursor: _selected(cursor, _HOLDINGS))
        if name == "jobs":
            return _redacted(await self._database.read(lambda cursor: _selected(cursor, _JOBS)), "error")
        rows: Iterable[dict[str, Any]]
        if name == "coverage":
            rows = [{**asdict(line), "checked_at": _utc(line.checked_at)} for line in await self._ranges.ranges(None)]
        elif name == "series":
            rows = map(asdict, await self._status.series())
        elif name == "subscriptions":
            rows = [{**asdict(answer), "subscription": answer.name} for answer in await self._sync.report()]
        else:
            rows = self._keywords() if name == "keywords" else self._segments()
        return await asyncio.to_thread(pa.Table.from_pylist, list(rows), schema=_schema(name))

    def _keywords(self) -> list[dict[str, Any]]:
        rows = []
        for series in self._index.all_series():
            columns = {c.name.lower(): c.name for c in lake_columns(self._index.layout(series), {})}
            rows += [
                {
                    "series": series.name,
                    "keyword": keyword.name,
                    "column": columns.get(keyword.name.lower(), keyword.name),
                    "type": keyword.type,
                    "units": keyword.units,
                    "note": keyword.note,
                    "scope": keyword.recscope,
                }
                for keyword in self._index.layout(series).keywords
            ]
        return rows

    def _segments(self) -> list[dict[str, Any]]:
        return [
            {
                "series": series.name,
                "segment": segment.name,
                "units": segment.units,
                "dims": segment.dims,
                "protocol": segment.protocol,
                "note": segment.note,
            }
            for series in self._index.all_series()
            for segment in series.segments
        ]


def _redacted(table: pa.Table, column: str) -> pa.Table:
    """The table without e-mail addresses in a column of texts: earlier versions stored them."""
    texts = [None if text is None else redacted(text) for text in table.column(column).to_pylist()]
    return table.set_column(table.schema.get_field_index(column), column, pa.array(texts, _TEXT))


def _schema(name: str) -> pa.Schema:
    return pa.schema([(column, kind) for column, (kind, _) in TABLES[name][1].items()])


def _selected(cursor: Cursor, sql: str) -> pa.Table:
    return cursor.sql(sql).to_arrow_table()


def _view(name: str, table: pa.Table) -> View:
    with pa.BufferOutputStream() as out:
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        data = out.getvalue().to_pybytes()
    note, columns = TABLES[name]
    comments = {column: meaning for column, (_, meaning) in columns.items()}
    return View(f"mirror.{name}", "SELECT * FROM given", note, comments, data)


def _utc(seconds: float) -> datetime:
    return utc(seconds).replace(tzinfo=None)
