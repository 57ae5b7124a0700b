"""Checks of a store's files: at each start, and while it is in use.

``make_whole`` makes rows and files agree at each start, whatever a crash left. Files without a row, since it was
not written yet or was deleted first, become blobs that nothing refers to: they count against the quota, and are
the first to be evicted. Only downloads that were never finished are deleted.

``FileCheck`` compares rows with files, links and parts in a store in use, where downloads and evictions go on. What
it finds is only a candidate until it has looked again while nobody changes blobs. The rule of
``mirror.storage.files.blobs`` holds at any moment.

``mend_references`` mends, in one transaction, rows that refer to blobs: holdings, adopted exports, files of jobs, pins.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.concurrency import to_the_end
from mirror.coverage.coverage import AHEAD
from mirror.errors import NotHeld, StorageError
from mirror.storage.database.database import if_possible
from mirror.storage.disk import Stopped
from mirror.storage.files.table import (
    Blob,
    all_blobs,
    date_back,
    due_blobs,
    find_blob,
    forget,
    holding_links,
    lost_exports,
    lost_files,
    put_blob,
    put_quarantine,
    set_all_verified,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from mirror.storage.database.database import Cursor, Tables
    from mirror.storage.files.eviction import Evictor
    from mirror.storage.files.folders import Folders
    from mirror.storage.files.parked import ParkedDownloads
    from mirror.storage.files.table import Lost, Verdict


#: Seconds for which a part waits to be continued.
PARTS_WAIT = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Repairs:
    """Rows without a file; rows whose file has another length (given here); files without a row."""

    missing: tuple[str, ...]
    damaged: Mapping[str, int]
    unknown: Mapping[str, int]


NOTHING = Repairs((), {}, {})


def repairs(blobs: Iterable[Blob], sizes: Mapping[str, int]) -> Repairs:
    """What must be repaired so that rows and files agree."""
    rows = {blob.sha256: blob.size for blob in blobs}
    return Repairs(
        missing=tuple(sha256 for sha256 in rows if sha256 not in sizes),
        damaged={s: sizes[s] for s, size in rows.items() if s in sizes and sizes[s] != size},
        unknown={s: size for s, size in sizes.items() if s not in rows},
    )


async def make_whole(tables: Tables, folders: Folders, parts: ParkedDownloads, now: float) -> int:
    """Make rows and files agree; the bytes that the store then holds. StorageError if all its files are missing."""
    blobs = await tables.read(all_blobs)
    sizes = await asyncio.to_thread(_found, folders, parts, now, known=len(blobs))
    todo = repairs(blobs, sizes)
    # A full disk must not keep a store from opening: what cannot be written now is found again at the next start, by
    # checks, and by requests for such a file.
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


_NO_BLOB = "sha256 NOT IN (SELECT sha256 FROM mirror.blobs)"
_NO_HASH = "NOT regexp_full_match(sha256, '[0-9a-f]{64}')"
_HEAD = "TRY_CAST('0x' || sha256[:15] AS BIGINT)"


@dataclass(frozen=True, slots=True)
class Reference:
    """A mended row: its kind, which one, what was wrong, and the files that are lost with it."""

    kind: str
    place: str
    problem: str
    lost: Lost | None = None


def mend_references(cursor: Cursor) -> list[Reference]:
    """Mend wrong references; what was found. Takes most of a second for a million rows."""
    return [*_blobs(cursor), *_holdings(cursor), *_plain_files(cursor), *_jobs(cursor), *_pins(cursor)]


def _blobs(cursor: Cursor) -> list[Reference]:
    found = [
        Reference("file", sha256, "its row names no hash; the row was removed")
        for (sha256,) in cursor.execute(f"SELECT sha256 FROM mirror.blobs WHERE {_NO_HASH}").fetchall()
    ]
    cursor.execute(f"DELETE FROM mirror.blobs WHERE {_NO_HASH}")
    twice = "SELECT sha256 FROM mirror.blobs GROUP BY sha256 HAVING count(*) > 1"
    for (sha256,) in cursor.execute(twice).fetchall():
        keep = "SELECT max(rowid) FROM mirror.blobs WHERE sha256 = ?"
        cursor.execute(f"DELETE FROM mirror.blobs WHERE sha256 = ? AND rowid < ({keep})", [sha256, sha256])
        found.append(Reference("file", sha256, "it had more than one row; one was kept"))
    for table in ("blobs", "holdings", "adopted", "plain_files"):
        wrong = f"{'FALSE' if table == 'blobs' else _NO_HASH} OR head <> {_HEAD}"
        rows = cursor.execute(
            f"SELECT DISTINCT sha256 FROM mirror.{table} WHERE NOT ({_NO_HASH}) AND ({wrong})"
        )
        hashes = [row[0] for row in rows.fetchall()]
        found += [Reference("file", s, f"its number in {table} was wrong; it was set right") for s in hashes]
        if hashes:
            cursor.execute(
                f"UPDATE mirror.{table} SET head = {_HEAD} WHERE list_contains(?, sha256)", [hashes]
            )
    return found


def _holdings(cursor: Cursor) -> list[Reference]:
    lost = lost_files(cursor, _NO_BLOB) + lost_exports(cursor, _NO_BLOB)
    for table in ("holdings", "adopted"):
        cursor.execute(f"DELETE FROM mirror.{table} WHERE {_NO_BLOB}")
    return [Reference("holding", _named(x), "it refers to a file that is not in the store", x) for x in lost]


def _plain_files(cursor: Cursor) -> list[Reference]:
    rows = cursor.execute(f"SELECT path FROM mirror.plain_files WHERE {_NO_BLOB}").fetchall()
    cursor.execute(f"DELETE FROM mirror.plain_files WHERE {_NO_BLOB}")
    return [Reference("plain file", path, "it refers to a file that is not in the store") for (path,) in rows]


def _jobs(cursor: Cursor) -> list[Reference]:
    lost = f"sha256 IS NOT NULL AND {_NO_BLOB}"
    rows = cursor.execute(f"SELECT job, name FROM mirror.job_files WHERE {lost}").fetchall()
    cursor.execute(f"UPDATE mirror.job_files SET sha256 = NULL, size = NULL WHERE {lost}")
    found = [
        Reference("export file", f"{job}/{name}", "it refers to a file that is not in the store")
        for job, name in rows
    ]
    orphaned = "job NOT IN (SELECT id FROM mirror.jobs)"
    rows = cursor.execute(
        f"SELECT job, count(*) FROM mirror.job_files WHERE {orphaned} GROUP BY job"
    ).fetchall()
    cursor.execute(f"DELETE FROM mirror.job_files WHERE {orphaned}")
    return found + [
        Reference("export file", job, f"{n} files of an export that is not there") for job, n in rows
    ]


def _pins(cursor: Cursor) -> list[Reference]:
    rows = cursor.execute(f"SELECT owner, sha256 FROM mirror.pins WHERE {_NO_HASH}").fetchall()
    cursor.execute(f"DELETE FROM mirror.pins WHERE {_NO_HASH}")
    return [Reference("pin", owner, f"it names {sha256[:80]!r}, which is no hash") for owner, sha256 in rows]


def _named(lost: Lost) -> str:
    if not lost.in_archive:
        return lost.name
    if lost.record is None:
        return f"D{lost.file.sunum}/S{lost.file.slot:05d}/{lost.file.file}"
    series, recnum, segment = lost.record
    return f"{series}[:#{recnum}]{{{segment}}}"


#: Threads that hash: enough to keep a disk, or two processors, busy.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Links:
    """What was wrong in the readable tree: names that did not lead to their blob, and names of nothing."""

    placed: tuple[str, ...]
    removed: tuple[str, ...]


class FileCheck:
    """Checks and mends the files of a store; ``verify_one`` is ``Blobs.verify``."""

    def __init__(
        self,
        tables: Tables,
        folders: Folders,
        parts: ParkedDownloads,
        room: Evictor,
        now: Callable[[], float],
        verify_one: Callable[[str], Awaitable[Verdict]],
    ) -> None:
        self._tables = tables
        self._folders = folders
        self._parts = parts
        self._room = room
        self._now = now
        self._verify_one = verify_one
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the reading threads; what they had not finished counts as unchecked."""
        self._stopped.set()

    async def free(self) -> int:
        """Bytes that may still be written to the disk."""
        return await asyncio.to_thread(self._folders.free)

    # ---- contents --------------------------------------------------------------------------------

    async def due(self, before: float, n: int) -> list[Blob]:
        """The next ``n`` blobs whose hash was last verified before ``before``, oldest check first."""
        now = self._now()
        return await self._tables.read(lambda c: due_blobs(c, before, now, n))

    async def verify(self, blobs: Sequence[Blob]) -> list[Verdict]:
        """Read these blobs, two at a time; damaged ones go into quarantine, and are returned."""
        shares = [blobs[i::THREADS] for i in range(THREADS) if blobs[i::THREADS]]
        results = await asyncio.gather(*(asyncio.to_thread(self._sound, share) for share in shares))
        sound, suspect = ([s for result in results for s in result[i]] for i in (0, 1))
        at = self._now()
        if sound:
            await self._tables.write(lambda c: set_all_verified(c, sound, at))
        verdicts = [await self._judged(sha256) for sha256 in suspect]
        return [v for v in verdicts if v is not None and v.problem is not None]

    def _sound(self, blobs: Sequence[Blob]) -> tuple[list[str], list[str]]:
        """The hashes of the blobs that are right, and of those that are not."""
        sound: list[str] = []
        suspect: list[str] = []
        for blob in blobs:
            try:
                problem = self._folders.problem(blob.sha256, blob.size, self._stopped.is_set)
            except Stopped:
                break
            (sound if problem is None else suspect).append(blob.sha256)
        return sound, suspect

    async def _judged(self, sha256: str) -> Verdict | None:
        try:
            return await self._verify_one(sha256)
        except NotHeld:  # evicted meanwhile
            return None

    # ---- rows and files --------------------------------------------------------------------------

    async def disagreements(self) -> Repairs:
        """Where rows and files disagree, as far as one look at a store in use can tell."""
        blobs = await self._tables.read(all_blobs)
        sizes = await asyncio.to_thread(self._folders.sizes)
        found = repairs(blobs, sizes)
        # Files that came while the folders were read have their rows by now.
        rows = {blob.sha256 for blob in await self._tables.read(all_blobs)}
        return Repairs(
            tuple(s for s in found.missing if s in rows),
            {s: n for s, n in found.damaged.items() if s in rows},
            {s: n for s, n in found.unknown.items() if s not in rows},
        )

    async def take_in(self, sha256: str) -> str | None:
        """Make a file without a row a blob if its hash is its name; otherwise move it into quarantine.

        What is wrong with it, "" if nothing is; None if it is in order by now.
        """
        return await to_the_end(self._take_in(sha256))

    async def _take_in(self, sha256: str) -> str | None:
        async with self._room.changing:
            known = await self._tables.read(lambda c: find_blob(c, sha256))
            size = await asyncio.to_thread(self._folders.size, sha256)
            if known is not None or size is None:
                return None
            problem = await asyncio.to_thread(self._folders.problem, sha256, size)
            at = self._now()
            if problem is None:
                blob = Blob(sha256, size, kept_at=at, verified_at=at, last_used=0.0)
                await self._tables.write(lambda c: put_blob(c, blob))
                self._room.quota.held += size
                return ""
            await asyncio.to_thread(self._folders.set_aside, sha256, f"{sha256}.{at:.0f}")
            await self._tables.write(lambda c: put_quarantine(c, sha256, problem, at))
            return problem

    async def strays(self) -> list[str]:
        """Paths of other things among the blobs, which are left alone."""
        return await asyncio.to_thread(self._folders.strays)

    # ---- around them -----------------------------------------------------------------------------

    async def references(self) -> list[Reference]:
        """Mend references to missing blobs, and impossible rows; what was found."""
        return await to_the_end(self._references())

    async def _references(self) -> list[Reference]:
        async with self._room.changing:
            found = await self._tables.write(mend_references)
        if found:
            self._room.departures.advance()
        links = [r.lost.link for r in found if r.lost is not None and r.lost.link is not None]
        await asyncio.to_thread(self._folders.tree.remove, links)
        return found

    async def links(self) -> Links:
        """Make the readable tree agree with the holdings."""
        wanted = await self._tables.read(holding_links)
        extra = await asyncio.to_thread(self._folders.tree.extra, wanted)
        placed = await to_the_end(self._placed())
        # A new holding gets its link before its row: read the rows again, so that no new link is removed.
        wanted = await self._tables.read(holding_links)
        gone = [name for name in extra if name not in wanted]
        await asyncio.to_thread(self._folders.tree.remove, gone)
        return Links(placed, tuple(gone))

    async def _placed(self) -> tuple[str, ...]:
        async with self._room.changing:
            wanted = await self._tables.read(holding_links)
            blobs = {name: self._folders.blob(sha256) for name, sha256 in wanted.items()}
            return await asyncio.to_thread(self._folders.tree.place_all, blobs)

    async def parts(self) -> list[str]:
        """Remove parked parts that differ from their marks; their keys."""
        spoiled = await asyncio.to_thread(self._parts.drop_spoiled)
        self._room.count_parked()
        return spoiled
