"""Chunks of records as objects, by which a server shares what it has committed.

A chunk is a Parquet file of records as in the index, with their claims of coverage in its footer, so that a lost
journal can be made again from the chunks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mirror.cluster.journal import FORMAT, claims_from_json, claims_to_json, space_of
from mirror.coverage.claims import held_parts
from mirror.errors import ObjectDamaged, StorageError
from mirror.storage.index.layout import Tolerance
from mirror.storage.index.merge import ForeignRecords
from mirror.storage.index.records_file import read_footer, read_records, write_records
from mirror.storage.index.select_sql import box_predicate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mirror.coverage.claims import CoverageClaim
    from mirror.coverage.coverage import Box
    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor
    from mirror.storage.index.index import Index

#: The folder of chunks among the objects.
CHUNKS = "chunks"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk on disk; without a ``path`` it has no records, only claims."""

    path: Path | None
    claims: tuple[CoverageClaim, ...]
    rows: int = 0
    sha256: str | None = None
    size: int = 0


def new_key(series: str) -> str:
    """A key that no object has."""
    return f"{CHUNKS}/{series.lower()}/{uuid.uuid4().hex}.parquet"


async def write_chunk(index: Index, series: Series, boxes: Sequence[Box], folder: Path) -> Chunk:
    """Write what this server holds of the boxes to a new file in ``folder``; only what is held is claimed."""
    while True:
        removals = index.removals.number
        claims = tuple(held_parts(index.coverage(series), boxes))
        if not claims or not index.has_records(series):
            return Chunk(None, claims)
        where = " OR ".join(f"({box_predicate(series, box)})" for box, _ in claims)
        path = folder / f"{uuid.uuid4().hex}.parquet"
        footer = {"format": FORMAT, "series": series.name, "space": space_of(series), "claims": claims_to_json(claims)}
        whole = False
        try:
            rows = await index.export(partial(_write, index, series, where, path, footer))
            if removals != index.removals.number:  # something claimed may have been removed meanwhile
                continue
            if not rows:
                return Chunk(None, claims)
            sha256, size = await asyncio.to_thread(_hash, path)
            whole = True
            return Chunk(path, claims, rows, sha256, size)
        finally:
            if not whole:
                path.unlink(missing_ok=True)


def _write(
    index: Index, series: Series, where: str, path: Path, footer: dict[str, object], cursor: Cursor
) -> int:
    layout, view = index.layout(series), index.view(series)
    numbers: set[int] = set()
    for table in (layout.table, layout.old_table):
        found = cursor.execute(f"SELECT DISTINCT _keyset FROM {table} WHERE {where}").fetchall()
        numbers |= {number for (number,) in found}
    fields = {n: sorted(index.keysets[n], key=index.keysets[n].__getitem__) for n in sorted(numbers)}
    tolerances = {} if view is None else {name: (t.absolute, t.relative) for name, t in view.tolerances.items()}
    text = json.dumps(footer | {"keysets": fields, "tolerances": tolerances})
    return write_records(cursor, layout, where, path, text)[0]


def _hash(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest, path.stat().st_size


async def read_chunk(index: Index, series: Series, path: Path, rows: int, claims: Sequence[CoverageClaim]) -> ForeignRecords:
    """The records of a chunk, with key sets of this store; ObjectDamaged if it is invalid."""
    layout = index.layout(series)
    try:
        text = await asyncio.to_thread(read_footer, path)
        footer = json.loads(text or "null")
        numbers = {int(number): tuple(map(str, fields)) for number, fields in footer["keysets"].items()}
        tolerances = {str(name): Tolerance(*map(float, pair)) for name, pair in footer["tolerances"].items()}
        claims_from_json(footer["claims"])
    except (StorageError, ValueError, TypeError, KeyError, AttributeError) as problem:
        raise ObjectDamaged(f"{path.name} is no chunk of {series.name}: {problem}") from problem
    keysets = {n: (await index.keyset(series, fields), fields) for n, fields in numbers.items()}
    try:
        found = await asyncio.to_thread(lambda: list(read_records(path, layout, keysets, rows)))
    except StorageError as problem:
        raise ObjectDamaged(f"{path.name} is no chunk of {series.name}: {problem}") from problem
    # Rows that lack a keyword which the series now has vouch for nothing: they are fetched again.
    used = {number for _, table in found for number in table["_keyset"].unique().to_pylist()}
    whole = all(layout.is_whole(fields) for number, fields in keysets.values() if number in used)
    return ForeignRecords(
        new=tuple(table for old, table in found if not old),
        old=tuple(table for old, table in found if old),
        claims=tuple(claims) if whole else (),
        tolerances={name: t for name, t in tolerances.items() if name in layout.columns_by_name},
    )
