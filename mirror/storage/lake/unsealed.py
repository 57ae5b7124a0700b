"""Unsealed records, which no file of the lake has yet: the columns that a statement reads are copied for it alone.

Sealing a million records takes ten seconds and more, copying a few of their columns some hundredths of a second.
DuckDB's plan of a statement tells which columns it reads. So the statement is first planned on a *stand-in* of each
such table, which has its name, its columns and three meaningless rows; then the columns are copied, and the table
takes the stand-in's place:

1. No statement ever runs on a stand-in: it is gone before.
2. Reading a column that was not copied is an error, never a value: a mistake about what a statement reads costs
   another attempt, with all columns.
3. The rows of a stand-in, NULL, the smallest and the largest value, give a planner no reason to leave out a column.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mirror.storage.index.layout import quoted
from mirror.storage.lake.columns import select_sql
from mirror.storage.lake.table import where_months

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from mirror.storage.database.database import Cursor
    from mirror.storage.index.layout import Layout
    from mirror.storage.lake.columns import LakeColumn

#: The schema of stand-ins, and of the tables that take their place.
SCHEMA = "unsealed"
#: DuckDB's error when a column is read that was not copied.
NOT_COPIED = "a column of records that came a moment ago is missing; run the statement again"
#: A statement that needs more unsealed values waits until they are sealed: this many take a second, and 1 GB of disk.
MOST_VALUES = 120_000_000
#: Up to this many records are sealed while a statement waits, which takes no longer than a copy.
FEW = 1_000
#: Copied whatever a statement reads, since it may count the records.
_ALWAYS = "recnum"

_EXTREMES: dict[str, tuple[pa.DataType, Any, Any]] = {
    "SMALLINT": (pa.int16(), -(2**15), 2**15 - 1),
    "INTEGER": (pa.int32(), -(2**31), 2**31 - 1),
    "BIGINT": (pa.int64(), -(2**63), 2**63 - 1),
    "DOUBLE": (pa.float64(), float("-inf"), float("inf")),
    "TIMESTAMP": (pa.timestamp("us"), datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001  (of no zone)
    "VARCHAR": (pa.string(), "", "\U0010ffff" * 8),
}


@dataclass(frozen=True, slots=True)
class LakeTable:
    """A table of the lake: ``name`` is the series' in lower case, with ``__old`` for old versions.

    ``files`` have all its records except the ``records`` of the months ``unsealed``.
    """

    name: str
    columns: tuple[LakeColumn, ...]
    files: tuple[str, ...]
    unsealed: tuple[str, ...] = ()
    records: int = 0


@dataclass(frozen=True, slots=True)
class Copied:
    """A table for one statement: ``file`` in the lake (None: none) has these columns of the unsealed months."""

    table: LakeTable
    file: str | None = None
    columns: frozenset[str] = frozenset()


def stand_in(columns: Iterable[LakeColumn]) -> pa.Table:
    """The rows of a stand-in."""
    return pa.table({c.name: pa.array([None, *_EXTREMES[c.type][1:]], _EXTREMES[c.type][0]) for c in columns})


def stand_in_name(table: str) -> str:
    """The SQL name of a table's stand-in, and of the table that takes its place."""
    return f"{quoted(SCHEMA)}.{quoted(table)}"


def chosen(columns: Sequence[LakeColumn], wanted: Collection[str] | None) -> tuple[LakeColumn, ...]:
    """The columns to copy if these are wanted, by their names in lower case; all for None."""
    return tuple(c for c in columns if wanted is None or c.name.lower() in wanted or c.name == _ALWAYS)


def copy(
    cursor: Cursor, table: str, layout: Layout, columns: tuple[LakeColumn, ...], time: str | None, months: Sequence[str], path: Path
) -> None:
    """Write the columns of the records of some months to a Parquet file, in no order."""
    select = select_sql(table, layout, columns, where_months(time, months), ordered=False)
    file = str(path).replace("'", "''")
    cursor.execute(f"COPY ({select}) TO '{file}' (FORMAT parquet, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1)")


def source_sql(copied: Copied, root: Path) -> str:
    """The SELECT that reads all columns of a table of the lake below ``root``."""
    table, parts = copied.table, []
    if table.files:
        parts.append(f"SELECT * FROM {_reading(table.files, root)}")
    if copied.file is not None:
        names = ", ".join(_column(c, c.name in copied.columns) for c in table.columns)
        parts.append(f"SELECT {names} FROM {_reading((copied.file,), root)}")
    return " UNION ALL ".join(parts) or nothing_sql((c.name, c.type) for c in table.columns)


def nothing_sql(columns: Iterable[tuple[str, str]]) -> str:
    """The SELECT of a table without rows, with columns of these names and types."""
    return f"SELECT {', '.join(f'NULL::{kind} AS {quoted(name)}' for name, kind in columns)} WHERE false"


def _column(column: LakeColumn, is_copied: bool) -> str:
    if is_copied:
        return quoted(column.name)
    # Depends on a column, so that no planner computes it beforehand.
    return f"CASE WHEN {_ALWAYS} = {_ALWAYS} THEN error('{NOT_COPIED}') END::{column.type} AS {quoted(column.name)}"


def _reading(files: Iterable[str], root: Path) -> str:
    names = ", ".join("'" + str(root / file).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{names}])"
