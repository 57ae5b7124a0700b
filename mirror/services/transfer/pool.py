"""Copies of a store on another disk: the index as of one moment, and its files.

The rule: whatever has its final name is whole. Files are written under another name, synced, and renamed; a backup's
folder is renamed when everything in it is there. The next run removes what a crash leaves.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from mirror.errors import StorageError, explained
from mirror.storage.database.connection import Memory
from mirror.storage.disk import is_sha256
from mirror.storage.files.table import all_blobs, forget

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from mirror.storage.disk import Disk
    from mirror.storage.files.table import Blob

PIECE = 1 << 20
#: Endings of unfinished files.
UNFINISHED = ".unfinished"


class Damaged(StorageError):
    """A file whose bytes do not match its name; ``path`` is the file."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path} is damaged: {problem}")


@dataclass(frozen=True, slots=True)
class Put:
    """How a file was put: ``copied`` bytes, or 0 if it was linked or already there."""

    new: bool
    copied: int


class Pool:
    """Files by their content below ``root``: ``ab/abcdef...``, named by sha256, shared by all that refer to them.

    ``seal``: make them read-only, which some file systems of portable disks cannot. Calls may block.
    """

    def __init__(self, root: Path, disk: Disk, *, seal: bool = True) -> None:
        self.root = root
        self._disk = disk
        self._seal = seal

    def path(self, sha256: str) -> Path:
        """The path of the file with that content; StorageError for an invalid hash."""
        if not is_sha256(sha256):
            raise StorageError(f"{sha256[:80]!r} names no file; expected 64 hexadecimal digits")
        return self.root / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """The length of a file; None if it does not exist, or is not an ordinary file."""
        path = self.path(sha256)
        with suppress(OSError):
            found = path.lstat()
            return found.st_size if path.is_file() and not path.is_symlink() else None
        return None

    def put(self, source: Path, sha256: str, size: int, *, link: bool = True) -> Put:
        """Put the file here: an existing one is kept, otherwise it is linked, or copied with its hash checked.

        Damaged if the source does not match ``sha256``, FileNotFoundError if it does not exist.
        """
        if self.size(sha256) == size:
            return Put(new=False, copied=0)
        target = self.path(sha256)
        self._disk.make_folder(target.parent)
        if link and source.stat().st_size == size and self._linked(source, target):
            return Put(new=True, copied=0)
        copy_file(self._disk, source, target, sha256=sha256, size=size, seal=self._seal)
        return Put(new=True, copied=size)

    def sweep(self, wanted: Collection[str]) -> int:
        """Remove all files except ``wanted``, and unfinished ones; returns the freed bytes."""
        freed = 0
        for path in self._files():
            if path.name not in wanted:
                freed += path.lstat().st_size
                self._disk.remove(path)
        return freed

    def _files(self) -> Iterator[Path]:
        """The files that are ours by name and place."""
        for folder in self.root.iterdir() if self.root.is_dir() else ():
            if len(folder.name) == 2 and folder.is_dir() and not folder.is_symlink():
                for path in folder.iterdir():
                    name = path.name.removesuffix(UNFINISHED)
                    if is_sha256(name) and name[:2] == folder.name:
                        yield path

    def _linked(self, source: Path, target: Path) -> bool:
        """True if the file could be linked, which is possible only within one file system."""
        with suppress(OSError):
            if source.stat().st_dev != target.parent.stat().st_dev:
                return False
        self._disk.remove(target)  # of another length: damaged
        try:
            self._disk.link(source, target)
        except (StorageError, FileExistsError):
            return False
        self._disk.sync_folder(target.parent)
        return True


def copy_file(
    disk: Disk,
    source: Path,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    seal: bool = False,
) -> str:
    """Copy a file so that ``target`` is whole or absent; its sha256. Damaged if it is not the given one."""
    temporary = target.with_name(target.name + UNFINISHED)
    disk.remove(temporary)
    with source.open("rb", buffering=0) as file:
        fd = disk.create(temporary)
        try:
            found, length = _pour(disk, file.fileno(), source, temporary, fd)
            _insist_on(source, found == (sha256 or found) and length == (length if size is None else size))
            _make_last(disk, temporary, fd, seal=seal)
        except BaseException:
            with suppress(StorageError):
                disk.remove(temporary)
            raise
        finally:
            os.close(fd)
    disk.move(temporary, target)
    return found


def _pour(disk: Disk, source_fd: int, source: Path, target: Path, fd: int) -> tuple[str, int]:
    digest, at = hashlib.sha256(), 0
    while piece := _piece(disk, source_fd, source, at):
        digest.update(piece)
        disk.write(target, fd, piece, at)
        at += len(piece)
    return digest.hexdigest(), at


def _insist_on(source: Path, right: bool) -> None:
    if not right:
        raise Damaged(source, "its bytes are not those that its name promises")


def _make_last(disk: Disk, path: Path, fd: int, *, seal: bool) -> None:
    if seal:
        disk.seal(path, fd)
        return
    with suppress(OSError):  # a portable disk may have no modes
        os.fchmod(fd, 0o644)
    disk.sync(path, fd)


def _piece(disk: Disk, fd: int, source: Path, at: int) -> bytes:
    try:
        return disk.read(source, fd, PIECE, at)
    except StorageError as error:
        raise Damaged(source, str(error)) from error


def write_file(disk: Disk, path: Path, data: bytes) -> None:
    """Write a small file, replacing an existing one: a crash leaves the old or the new one."""
    temporary = path.with_name(path.name + UNFINISHED)
    fd = disk.create(temporary)
    try:
        disk.write(temporary, fd, data, 0)
        disk.sync(temporary, fd)
    finally:
        os.close(fd)
    disk.move(temporary, path)


def hash_of(path: Path) -> tuple[str, int]:
    """The sha256 and the length of a file; StorageError if it cannot be read or is not an ordinary file."""
    try:
        if path.is_symlink() or not path.is_file():
            raise StorageError(f"{path} is missing, or no ordinary file")
        with path.open("rb", buffering=0) as file:
            digest, length = hashlib.sha256(), 0
            while piece := file.read(PIECE):
                digest.update(piece)
                length += len(piece)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {explained(error)}") from error
    return digest.hexdigest(), length


def sync_file(disk: Disk, path: Path) -> None:
    """Sync a file that another program wrote."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        disk.sync(path, fd)
    finally:
        os.close(fd)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other programs from writing to the same folder meanwhile; StorageError if one already does."""
    try:
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {explained(error)}") from error
    try:
        _lock(fd, folder)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, folder: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise StorageError(f"another program is writing to {folder}; wait until it has ended") from error
        # Some network disks have no locks; then only the users can keep two programs apart.


def blobs_in_copy(index: Path) -> list[Blob]:
    """The blobs that a copy of an index names."""
    with _opened(index) as cursor:
        return all_blobs(cursor)


def drop_from_copy(index: Path, hashes: Iterable[str]) -> None:
    """Remove these blobs from a copy of an index: they left the store before they were copied."""
    with _opened(index) as cursor:
        cursor.begin()
        forget(cursor, hashes)
        cursor.commit()


@contextmanager
def _opened(index: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        connection = duckdb.connect(str(index))
    except duckdb.Error as error:
        raise StorageError(f"{index} cannot be opened: {error}") from error
    try:
        Memory.WRITING.set(connection)
        yield connection
    except duckdb.Error as error:
        raise StorageError(f"{index} cannot be read: {error}") from error
    finally:
        connection.close()


def remove_folder(disk: Disk, folder: Path) -> None:
    """Remove a folder with everything in it: first its name, so that nobody takes a remnant for a whole one."""
    gone = folder.with_name(f".{folder.name.lstrip('.')}{UNFINISHED}")
    if gone != folder:
        shutil.rmtree(gone, ignore_errors=True)
        disk.move(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
