"""The lake as a DuckDB file, ``lake/catalog.duckdb``: a view of each table, for whatever opens such files.

1. It has no data: a view reads the current files of its table by their absolute paths, since DuckDB resolves relative
   ones from where a program was started.
2. It is never changed, but replaced when files have changed. Whoever has the old one open goes on with that, and the
   files that it names stay for an hour.
3. Every cached series is in it; one without files yet is a view without rows.
4. Any DuckDB from 1.0 on opens it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from mirror.storage.index.layout import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mirror.storage.lake.columns import LakeColumn

CATALOGUE = "catalog.duckdb"
#: The format of the file.
_FORMAT = "v1.0.0"


@dataclass(frozen=True, slots=True)
class CatalogueTable:
    """A table of the lake: ``name`` is the series' in lower case, with ``__old`` for old versions."""

    name: str
    note: str
    columns: tuple[LakeColumn, ...]
    files: tuple[Path, ...]


def write_catalogue(place: Path, tables: Iterable[CatalogueTable]) -> None:
    """Write a new file with a view of each table; duckdb.Error if it cannot be written."""
    with duckdb.connect(config={"threads": 1, "memory_limit": "100MB"}) as connection:
        connection.execute(f"ATTACH {_literal(str(place))} AS made (STORAGE_VERSION '{_FORMAT}')")
        connection.execute("USE made")
        for table in tables:
            schema, _, name = table.name.partition(".")
            full = f"{quoted(schema)}.{quoted(name)}"
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            connection.execute(f"CREATE VIEW {full} AS {_select(table)}")
            connection.execute(f"COMMENT ON VIEW {full} IS {_literal(table.note)}")
        connection.execute("USE memory")
        connection.execute("DETACH made")


def _select(table: CatalogueTable) -> str:
    if table.files:
        return f"SELECT * FROM read_parquet([{', '.join(_literal(str(file)) for file in table.files)}])"
    columns = ", ".join(f"NULL::{c.type} AS {quoted(c.name)}" for c in table.columns)
    return f"SELECT {columns} WHERE false"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
