"""From a backup to a store: every byte is compared with its hash, and the index comes last.

A folder without an index is not a store yet, so an interrupted restore is simply begun again.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.errors import StorageError, explained
from mirror.services.transfer.backup import generations
from mirror.services.transfer.manifests import (
    INDEX,
    MANIFEST,
    POOL,
    SUMS,
    Backup,
    decode_manifest,
    decode_sums,
)
from mirror.services.transfer.pool import Damaged, Pool, copy_file, hash_of
from mirror.storage.database.database import make_empty
from mirror.storage.database.index_file import contents
from mirror.storage.database.migrations import schema_files
from mirror.storage.disk import Disk
from mirror.storage.files.folders import Folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Damaged files that an error names; the others are counted.
NAMED = 5
#: What refers to records that an empty index does not have.
_OUTDATED = (INDEX, f"{INDEX}.wal", f"{INDEX}.before", "by-record")


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore; ``damaged`` files of the backup were left out."""

    backup: str
    store: str
    made_at: str
    files: int
    size: int
    damaged: list[str]
    replaced: str | None


@dataclass(frozen=True, slots=True)
class Emptied:
    """The result for a store whose index was lost: ``kept`` has the new names of what had to be moved aside."""

    store: str
    contents: list[str]
    kept: list[str]


def begin_empty(store: Path, *, force: bool = False, disk: Disk | None = None) -> Emptied:
    """Give a store whose index is lost an empty one. Its files stay, as files to which no record refers.

    ``force``: also replace an existing index, which is kept under another name, as are the readable tree, whose names
    are all that is left to identify the files, and copies from before. StorageError without a store.
    """
    disk = disk or Disk()
    index = store / INDEX
    if not contents(store) and not index.exists():
        raise StorageError(f"{store} is not a store: it has neither an index nor files")
    with _unused(index, force=force):
        kept = [str(_renamed(disk, store / name)) for name in _OUTDATED if os.path.lexists(store / name)]
        make_empty(index)
    return Emptied(str(store), contents(store), kept)


@dataclass(frozen=True, slots=True)
class _Backup:
    folder: Path
    manifest: Backup
    index: str
    blobs: list[str]
    pool: Pool


def restore(
    backup: Path,
    store: Path,
    *,
    force: bool = False,
    skip_damaged: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    disk: Disk | None = None,
) -> Restored:
    """Make ``store`` what it was when ``backup`` was made; if that is a folder of several backups, the last is used.

    ``force``: also replace an existing index, which is kept under another name. StorageError if a file of the backup is
    damaged, unless ``skip_damaged``; the mirror fetches such files again.
    """
    disk = disk or Disk()
    found = _opened(backup, disk)
    folders = Folders(store, disk)
    disk.make_folder(store)
    with _unused(store / INDEX, force=force):
        damaged = _bring(found, folders, disk, progress, skip_damaged=skip_damaged)
        replaced = _set_aside(store, disk)
        copy_file(disk, found.folder / INDEX, store / INDEX, sha256=found.index)
    manifest = found.manifest
    return Restored(
        str(found.folder), str(store), manifest.made_at, len(found.blobs) - len(damaged), manifest.size,
        damaged, replaced,
    )  # fmt: skip


def _opened(backup: Path, disk: Disk) -> _Backup:
    """The backup with its description checked; nothing else of it was read yet."""
    folder = backup
    if not (backup / MANIFEST).is_file():
        there = generations(backup)
        if not there:
            raise StorageError(
                f"{backup} is not a backup; expected a folder made by `mirror backup`"
            )
        folder = there[-1]
    manifest = decode_manifest(_read(folder / MANIFEST), Backup, str(folder / MANIFEST))
    newest = schema_files()[-1][0]
    if manifest.schema > newest:
        raise StorageError(
            f"{folder} has schema version {manifest.schema}, this program knows {newest}; use a newer jsoc-mirror"
        )
    if hash_of(folder / SUMS)[0] != manifest.sums:
        raise StorageError(f"{folder / SUMS} is damaged: its hash is not the one in {MANIFEST}")
    index, blobs = decode_sums(_read(folder / SUMS), str(folder / SUMS))
    if hash_of(folder / INDEX)[0] != index:
        raise StorageError(
            f"{folder / INDEX} is damaged: its hash is not the one in {SUMS}; use another backup"
        )
    return _Backup(folder, manifest, index, blobs, Pool(folder.parent / POOL, disk))


@contextmanager
def _unused(index: Path, *, force: bool) -> Iterator[None]:
    """Make sure that there is no store yet, or with ``force`` that no mirror owns it, now and until the end."""
    if not os.path.lexists(index):
        yield
        return
    if not force:
        raise StorageError(
            f"{index} already exists; expected an empty folder, or --force to replace that index"
        )
    if not index.is_file():  # a folder, or a broken link: no mirror can own that
        yield
        return
    try:
        fd = os.open(index, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"{index} cannot be opened: {explained(error)}") from error
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StorageError(f"{index} is in use; stop the mirror that owns it first") from error
    try:
        yield
    finally:
        os.close(fd)


def _bring(
    found: _Backup, folders: Folders, disk: Disk, answer: Callable[[int, int], None], *, skip_damaged: bool
) -> list[str]:
    """Put every file of the backup into the store; returns those that are not available."""
    folders.prepare()
    store = Pool(folders.root / "blobs", disk)
    damaged = []
    for number, sha256 in enumerate(found.blobs, start=1):
        if not _is_whole(store, sha256):
            try:
                copy_file(
                    disk, _source(found.pool, sha256), _target(store, disk, sha256), sha256=sha256, seal=True
                )
            except (FileNotFoundError, Damaged):
                damaged.append(sha256)
        answer(number, len(found.blobs))
    if damaged and not skip_damaged:
        raise StorageError(_complaint(found.pool, damaged))
    return damaged


def _is_whole(store: Pool, sha256: str) -> bool:
    """True if the store already has the file: often only the index is lost."""
    return store.size(sha256) is not None and hash_of(store.path(sha256))[0] == sha256


def _source(pool: Pool, sha256: str) -> Path:
    if pool.size(sha256) is None:
        raise FileNotFoundError(pool.path(sha256))
    return pool.path(sha256)


def _target(store: Pool, disk: Disk, sha256: str) -> Path:
    path = store.path(sha256)
    disk.make_folder(path.parent)
    return path


def _complaint(pool: Pool, damaged: Sequence[str]) -> str:
    names = ", ".join(str(pool.path(sha256)) for sha256 in damaged[:NAMED])
    more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    return (
        f"files of the backup are missing or damaged: {names}{more}. Nothing was replaced; with --skip-damaged "
        "all other files are restored, and the mirror fetches these again when requested"
    )


def _set_aside(store: Path, disk: Disk) -> str | None:
    """Rename the existing index; its log must not be taken for that of the new one."""
    there = [store / name for name in (INDEX, f"{INDEX}.wal") if os.path.lexists(store / name)]
    kept = [_renamed(disk, path) for path in there]
    return str(kept[0]) if kept else None


def _renamed(disk: Disk, path: Path) -> Path:
    """Rename something to the next free name, which is returned."""
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.before-{number}")):
        number += 1
    disk.move(path, kept)
    return kept


def _read(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        try:
            return path.read_bytes()
        except PermissionError as error:
            raise StorageError(f"cannot read {path}: {explained(error)}") from error
    raise StorageError(f"{path} is missing")
