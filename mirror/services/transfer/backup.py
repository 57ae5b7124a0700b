"""Backups of a store while it serves: ``DEST/<UTC time>/``, whose files are shared in ``DEST/blobs/``.

The index is copied as of one moment; then its files are linked or copied, if DEST lacks them. Files that were evicted
meanwhile are removed from the copied index, so that a backup never names a file that it does not have. A folder gets
its name when everything in it is synced.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from mirror import __version__
from mirror.api import transfer as api
from mirror.errors import BadRequest, StorageError, UnknownName, explained
from mirror.services.transfer.manifests import (
    INDEX,
    MANIFEST,
    NAME,
    POOL,
    SUMS,
    Backup,
    decode_manifest,
    decode_sums,
    encode_manifest,
    encode_sums,
)
from mirror.services.transfer.pool import (
    UNFINISHED,
    Damaged,
    Pool,
    alone_in,
    blobs_in_copy,
    drop_from_copy,
    hash_of,
    remove_folder,
    sync_file,
    write_file,
)
from mirror.storage.disk import Disk
from mirror.storage.files.eviction import MARGIN
from mirror.storage.files.folders import Folders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.table import Blob

    #: Called with the progress of a long task; what it raises ends the task.
    Report = Callable[[api.Progress], Awaitable[None]]

#: Seconds of work between two reports of progress.
STEP = 0.5


class _Count:
    """The progress of the files."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.linked, self.copied, self.copied_bytes = total, 0, 0, 0, 0
        self.skipped: list[str] = []


class Backups:
    """Makes backups of the store below ``root``; ``now`` gives the present as an aware datetime."""

    def __init__(
        self, database: Database, root: Path, now: Callable[[], datetime], disk: Disk | None = None
    ) -> None:
        self._database = database
        self._disk = disk or Disk()
        self._folders = Folders(root, self._disk)
        self._now = now

    async def make(self, to: Path, report: Report, *, index_only: bool = False, keep: int | None = None) -> api.BackedUp:
        """Make a backup below the folder ``to``; with ``keep`` only the last so many stay there.

        BadRequest for an unsuitable folder, StorageError for errors of the disk; then there is no new backup, and the
        next one reuses what was copied.
        """
        self._check(to, keep)
        await asyncio.to_thread(self._disk.make_folder, to)
        with alone_in(to):
            return await self._make(to, report, index_only=index_only, keep=keep)

    def _check(self, to: Path, keep: int | None) -> None:
        root = self._folders.root.absolute()
        if not to.is_absolute():
            raise BadRequest(f"{to} is not an absolute path; expected where on the mirror's machine to write")
        if to.is_relative_to(root) or root.is_relative_to(to):
            raise BadRequest(
                f"{to} and the store {root} overlap; expected a folder outside the store"
            )
        if keep is not None and keep < 1:
            raise BadRequest(f"keep = {keep}; expected the number of backups to keep, at least 1")

    async def _make(self, to: Path, report: Report, *, index_only: bool, keep: int | None) -> api.BackedUp:
        await asyncio.to_thread(self._sweep, to)
        made_at = self._now()
        folder = to / f".{_free_name(to, made_at)}{UNFINISHED}"
        await asyncio.to_thread(self._check_room, to)
        await asyncio.to_thread(self._disk.make_folder, folder)
        await report(api.Progress(step="index"))
        index = folder / INDEX
        await self._database.copy_to(index)
        blobs = await asyncio.to_thread(blobs_in_copy, index)
        count = _Count(len(blobs))
        if not index_only:
            await self._put_all(Pool(to / POOL, self._disk), blobs, count, report)
        if count.skipped:
            await asyncio.to_thread(drop_from_copy, index, count.skipped)
        skipped = set(count.skipped)
        blobs = [blob for blob in blobs if blob.sha256 not in skipped]
        manifest = await self._finish(folder, made_at, [] if index_only else blobs, index_only=index_only)
        path = to / folder.name.removeprefix(".").removesuffix(UNFINISHED)
        await asyncio.to_thread(self._disk.move, folder, path)
        removed = [] if keep is None else await asyncio.to_thread(self._keep_last, to, keep)
        return api.BackedUp(
            path=str(path),
            files=manifest.files,
            size=manifest.size,
            linked=count.linked,
            copied=count.copied,
            copied_bytes=count.copied_bytes,
            skipped=count.skipped,
            removed=removed,
        )

    async def _put_all(self, pool: Pool, blobs: list[Blob], count: _Count, report: Report) -> None:
        todo = iter(blobs)
        while count.done < count.total:
            await asyncio.to_thread(self._put_some, pool, todo, count)
            word = api.Progress(step="files", done=count.done, total=count.total, bytes=count.copied_bytes)
            await report(word)

    def _put_some(self, pool: Pool, todo: Iterator[Blob], count: _Count) -> None:
        until = time.monotonic() + STEP
        for blob in todo:
            self._put(pool, blob, count)
            count.done += 1
            if time.monotonic() > until:
                return

    def _put(self, pool: Pool, blob: Blob, count: _Count) -> None:
        try:
            put = pool.put(self._folders.blob(blob.sha256), blob.sha256, blob.size)
        except (FileNotFoundError, Damaged):
            count.skipped.append(blob.sha256)
            return
        count.linked += put.new and not put.copied
        count.copied += bool(put.copied)
        count.copied_bytes += put.copied

    async def _finish(
        self, folder: Path, made_at: datetime, blobs: list[Blob], *, index_only: bool
    ) -> Backup:
        """Write the backup's own description, once everything else is synced."""
        schema = await self._database.read(_schema)

        def work() -> Backup:
            sync_file(self._disk, folder / INDEX)
            sums = encode_sums(hash_of(folder / INDEX)[0], [b.sha256 for b in blobs])
            write_file(self._disk, folder / SUMS, sums)
            manifest = Backup(
                made_at.astimezone(UTC).isoformat(timespec="seconds"), f"jsoc-mirror {__version__}", schema,
                len(blobs), sum(b.size for b in blobs), index_only, hash_of(folder / SUMS)[0],
            )  # fmt: skip
            write_file(self._disk, folder / MANIFEST, encode_manifest(manifest))
            self._disk.sync_folder(folder)
            return manifest

        return await asyncio.to_thread(work)

    def _check_room(self, to: Path) -> None:
        size = self._database_size()
        free = self._disk.free(to)
        if size + MARGIN > free:
            raise StorageError(
                f"the disk of {to} is full: the index alone needs {size:,} bytes, and {free:,} are free"
            )

    def _database_size(self) -> int:
        try:
            return (self._folders.root / INDEX).stat().st_size
        except OSError:
            return 0

    def _sweep(self, to: Path) -> None:
        """Remove what an earlier, interrupted backup has left."""
        for path in to.iterdir():
            if path.name.startswith(".") and path.name.endswith(UNFINISHED) and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    def _keep_last(self, to: Path, keep: int) -> list[str]:
        """Remove all but the last backups, and the files that none of these has."""
        there = generations(to)
        gone = there[:-keep]
        for path in gone:
            remove_folder(self._disk, path)
        if gone:
            wanted = {
                sha for path in there[-keep:] for sha in decode_sums(_read(path / SUMS), str(path / SUMS))[1]
            }
            Pool(to / POOL, self._disk).sweep(wanted)
        return [str(path) for path in gone]


def generations(to: Path) -> list[Path]:
    """The backups in a folder, oldest first."""
    try:
        return sorted(
            path for path in to.iterdir() if NAME.fullmatch(path.name) and (path / MANIFEST).is_file()
        )
    except OSError as error:
        raise (UnknownName if isinstance(error, FileNotFoundError) else StorageError)(f"cannot read {to}: {explained(error)}") from error


def describe(to: Path) -> list[api.Backup]:
    """The backups in a folder, newest first; of one whose manifest cannot be read, why."""
    return [_described(path) for path in reversed(generations(to))]


def _described(path: Path) -> api.Backup:
    try:
        manifest = decode_manifest(_read(path / MANIFEST), Backup, str(path / MANIFEST))
    except StorageError as problem:
        return api.Backup(
            backup=str(path), made_at="", program="", schema=0, files=0, size=0, index_only=False, sums="",
            problem=f"cannot be read: {problem}",
        )  # fmt: skip
    return api.Backup(backup=str(path), **asdict(manifest))


def _free_name(to: Path, at: datetime) -> str:
    name = at.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    number = 2
    free = name
    while (to / free).exists():
        free, number = f"{name}-{number}", number + 1
    return free


def _schema(cursor: Cursor) -> int:
    row = cursor.execute("SELECT max(version) FROM schema_version").fetchone()
    return int(row[0]) if row else 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {explained(error)}") from error
