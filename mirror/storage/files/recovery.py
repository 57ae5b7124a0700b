"""What each start does: the rows of files and the files are made to agree, whatever a crash left.

Files that came without their row, or whose rows were deleted first, are taken in as blobs that nothing
refers to: they count against the quota, and are the first to be evicted. Nothing is deleted here but
downloads that were never finished.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.coverage.coverage import AHEAD
from mirror.errors import StorageError
from mirror.storage.database.database import if_possible
from mirror.storage.files.table import (
    Blob,
    all_blobs,
    date_back,
    forget,
    holding_links,
    put_blob,
    put_quarantine,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.storage.database.database import Cursor, Tables
    from mirror.storage.files.folders import Folders
    from mirror.storage.files.parked import ParkedDownloads

#: Seconds for which a part waits to be continued.
PARTS_WAIT = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Repairs:
    """Rows whose file is gone; rows whose file has another length (that one); files without a row."""

    missing: tuple[str, ...]
    damaged: Mapping[str, int]
    unknown: Mapping[str, int]


NOTHING = Repairs((), {}, {})


def repairs(blobs: Iterable[Blob], sizes: Mapping[str, int]) -> Repairs:
    """What to do so that rows and files agree."""
    rows = {blob.sha256: blob.size for blob in blobs}
    return Repairs(
        missing=tuple(sha256 for sha256 in rows if sha256 not in sizes),
        damaged={s: sizes[s] for s, size in rows.items() if s in sizes and sizes[s] != size},
        unknown={s: size for s, size in sizes.items() if s not in rows},
    )


async def make_whole(tables: Tables, folders: Folders, parts: ParkedDownloads, now: float) -> int:
    """Make the store whole; the bytes that it holds then. StorageError if its files are not there at all."""
    blobs = await tables.read(all_blobs)
    sizes = await asyncio.to_thread(_found, folders, parts, now, known=len(blobs))
    todo = repairs(blobs, sizes)
    # A full disk must not keep a store from opening: what cannot be written is found again by the next start, by
    # checks, and by whoever asks for such a file.
    for sha256 in todo.damaged:
        await if_possible(asyncio.to_thread(folders.set_aside, sha256, f"{sha256}.{now:.0f}"), "quarantine")
    if todo != NOTHING:
        await if_possible(tables.write(lambda c: _repair(c, todo, now)), "repair of the store")
    if any(blob.last_used > now + AHEAD for blob in blobs):
        await if_possible(tables.write(lambda c: date_back(c, now)), "repair of dates")
    links = await tables.read(holding_links)
    await asyncio.to_thread(folders.tree.mend, {name: folders.blob(s) for name, s in links.items()})
    return sum(sizes.values()) - sum(todo.damaged.values())


def _found(folders: Folders, parts: ParkedDownloads, now: float, *, known: int) -> dict[str, int]:
    if known and not folders.is_marked():
        raise StorageError(
            f"{folders.root} is not the folder of this store's {known} files: {folders.mark} is not there; "
            f"is its disk mounted? If the files are lost for good, create that file, and start again"
        )
    folders.prepare()
    parts.sweep(now - PARTS_WAIT)
    return folders.sizes()


def _repair(cursor: Cursor, todo: Repairs, now: float) -> None:
    for sha256, size in todo.damaged.items():
        put_quarantine(cursor, sha256, f"its file had {size} bytes at the start", now)
    if todo.missing or todo.damaged:
        forget(cursor, (*todo.missing, *todo.damaged))
    for sha256, size in todo.unknown.items():
        put_blob(cursor, Blob(sha256, size, kept_at=now, verified_at=0.0, last_used=0.0))
