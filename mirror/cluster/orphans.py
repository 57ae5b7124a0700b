"""Chunks that no row of the journal names, as after PostgreSQL was restored from an older backup.

The footer of each chunk has its series and claims, so that its row can be written again. What the journal says already,
or what was given up since the chunk was checked, is not taken up again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.cluster.chunks import CHUNKS
from mirror.cluster.journal import (
    FORMAT,
    Entry,
    add_entry,
    claims_from_json,
    dropped,
    lock_series,
    note_spent,
    rows_of,
    series_rows,
    write_entry,
)
from mirror.coverage.coverage import Coverage
from mirror.errors import ClusterAway, ObjectStoreError, StorageError
from mirror.storage.index.records_file import count_records, read_footer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mirror.cluster.database import ClusterDatabase
    from mirror.cluster.objects import Objects
    from mirror.coverage.claims import CoverageClaim

log = logging.getLogger(__name__)

#: The first half of the advisory lock of the server that takes them up for all.
ORPHANS = 0x6A736F13
#: Seconds between two looks at whether another server has finished.
LOOK = 0.5


class Orphans:
    """Takes chunks up again; ``folder`` is for objects that are being downloaded."""

    def __init__(self, database: ClusterDatabase, objects: Objects, folder: Path) -> None:
        self._database = database
        self._objects = objects
        self._folder = folder
        self._unusable: set[str] = set()
        self.adopted = 0  #: rows that were written again

    async def after_restore(self) -> None:
        """After PostgreSQL was restored: return when a server, perhaps this one, has taken up what it lacks."""
        while not await self._database.lock("%s, 0", (ORPHANS,)):  # noqa: ASYNC110  (nobody tells of it)
            await asyncio.sleep(LOOK)
        try:
            await self.adopt()
        finally:
            with suppress(ClusterAway):
                await self._database.on_session("SELECT pg_advisory_unlock(%s, 0)", (ORPHANS,))

    async def adopt(self) -> int:
        """Write the missing rows of chunks; how many. ClusterAway or ObjectStoreError if that is impossible now."""
        there = {key: size async for key, size in self._objects.list(CHUNKS)}
        async with self._database.transaction() as cursor:
            await cursor.execute("SELECT object FROM journal WHERE object IS NOT NULL UNION SELECT object FROM spent")
            known = {row[0] for row in await cursor.fetchall()}
        by_series: dict[str, list[str]] = defaultdict(list)
        for key in sorted(there.keys() - known - self._unusable):
            by_series[key.split("/")[1]].append(key)
        before = self.adopted
        for name, keys in by_series.items():
            await self._series(name, keys)
        if self.adopted > before:
            log.info("took up chunks that the journal did not know rows=%d", self.adopted - before)
        return self.adopted - before

    async def _series(self, name: str, keys: Sequence[str]) -> None:
        async with self._database.transaction() as cursor:
            found_rows = await series_rows(cursor, name)
        rows = rows_of(found_rows)
        told: dict[str, Coverage] = defaultdict(Coverage)
        for row, space, _ in rows:
            for each in (space,) if row.kind != "drop" else tuple(told):
                told[each] = add_entry(told[each], row)
        drops = [(row, at) for row, _, at in rows if row.kind == "drop"]
        for key in keys:
            found = await self._read(name, key)
            if found is None:
                continue
            entry, space = found
            left = _left(entry, drops)
            claims = () if left is None else tuple(left.news(told[space], left.boxes))
            async with self._database.transaction() as cursor:
                await lock_series(cursor, name)
                if claims:
                    entry = replace(entry, claims=claims)
                    await write_entry(cursor, name, space, entry)
                else:
                    await note_spent(cursor, [key])
            if claims:
                self.adopted += 1
                told[space] = add_entry(told[space], entry)

    async def _read(self, name: str, key: str) -> tuple[Entry, str] | None:
        """The row of a chunk, and its key space; None if it cannot be used."""
        path = self._folder / key.rpartition("/")[2]
        try:
            await self._objects.get_to(key, path)
        except (ObjectStoreError, StorageError) as problem:
            log.warning("a chunk that no row names cannot be read object=%s problem=%r", key, str(problem))
            return None
        try:
            return await asyncio.to_thread(_row_of, path, name, key, self._database.name)
        except (StorageError, ValueError, TypeError, KeyError, AttributeError) as problem:
            self._unusable.add(key)
            log.warning("a chunk that no row names cannot be used object=%s problem=%r", key, str(problem))
        finally:
            path.unlink(missing_ok=True)
        return None


def _row_of(path: Path, name: str, key: str, server: str) -> tuple[Entry, str]:
    footer = json.loads(read_footer(path) or "null")
    if footer["format"] > FORMAT or footer["series"].lower() != name:
        raise ValueError(f"it is of the form {footer['format']} and of {footer['series']}")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    claims = claims_from_json(footer["claims"])
    entry = Entry(0, "content", claims, None, key, sha256, path.stat().st_size, count_records(path), server)
    return entry, str(footer["space"])


def _left(entry: Entry, drops: Sequence[tuple[Entry, float]]) -> Entry | None:
    """A row without what was given up after its check."""
    claims: list[CoverageClaim] = []
    for claim in entry.claims:
        one: Entry | None = replace(entry, claims=(claim,))
        for gone, at in drops:
            if one is not None and at > claim[1]:
                one = dropped(one, gone)
        claims += [] if one is None else one.claims
    return replace(entry, claims=tuple(claims)) if claims else None
