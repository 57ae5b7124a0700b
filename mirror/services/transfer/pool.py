"""Copies of a store on another disk: the index as of one moment, and the files that it tells of.

The rule: whatever has its final name is whole. Files come under another name, are synced, and renamed;
a folder of a backup is renamed when everything in it is there. What a crash leaves is swept by the next.
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
#: Endings of what is not whole yet.
UNFINISHED = ".unfinished"


class Damaged(StorageError):
    """A file whose bytes are not those that its name promises; ``path`` is the file."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path} is damaged: {problem}")


@dataclass(frozen=True, slots=True)
class Put:
    """How a file came to its place: ``copied`` bytes, or 0 for one that was linked or there already."""

    new: bool
    copied: int


class Pool:
    """Files by their content below ``root``: ``ab/abcdef...``, named by sha256, shared by all who refer to them.

    ``seal``: make them read-only. Some file systems of portable disks cannot. Calls may block.
    """

    def __init__(self, root: Path, disk: Disk, *, seal: bool = True) -> None:
        self.root = root
        self._disk = disk
        self._seal = seal

    def path(self, sha256: str) -> Path:
        """Where the file of that content lies; StorageError for what is no hash."""
        if not is_sha256(sha256):
            raise StorageError(f"{sha256[:80]!r} names no file; expected 64 hexadecimal digits")
        return self.root / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """The length of a file that is there; None for one that is not, or is no ordinary file."""
        path = self.path(sha256)
        with suppress(OSError):
            found = path.lstat()
            return found.st_size if path.is_file() and not path.is_symlink() else None
        return None

    def put(self, source: Path, sha256: str, size: int, *, link: bool = True) -> Put:
        """Have the file here: it is left as it is, linked, or copied with its hash checked.

        Damaged if the source is not what ``sha256`` says, FileNotFoundError if it is not there.
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
        """Remove all files but ``wanted``, and what was left unfinished; the bytes that are free then."""
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
        """True if one file could be given both names, which only one file system allows."""
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
    """Copy a file so that ``target`` is whole or not there; its sha256. Damaged if it is not the one given."""
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
    with suppress(OSError):  # a portable disk may know no modes
        os.fchmod(fd, 0o644)
    disk.sync(path, fd)


def _piece(disk: Disk, fd: int, source: Path, at: int) -> bytes:
    try:
        return disk.read(source, fd, PIECE, at)
    except StorageError as error:
        raise Damaged(source, str(error)) from error


def write_file(disk: Disk, path: Path, data: bytes) -> None:
    """Write a small file in place of any that is there: a crash leaves the old or the new one."""
    temporary = path.with_name(path.name + UNFINISHED)
    fd = disk.create(temporary)
    try:
        disk.write(temporary, fd, data, 0)
        disk.sync(temporary, fd)
    finally:
        os.close(fd)
    disk.move(temporary, path)


def hash_of(path: Path) -> tuple[str, int]:
    """The sha256 and the length of a file; StorageError if it cannot be read or is no ordinary file."""
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
    """Make a file that somebody else wrote last."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        disk.sync(path, fd)
    finally:
        os.close(fd)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other programs from writing to the same folder meanwhile; StorageError if one does already."""
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
        # Some network disks know no locks; then nothing keeps two programs apart but their users.


def blobs_in_copy(index: Path) -> list[Blob]:
    """The blobs that a copy of an index tells of."""
    with _opened(index) as cursor:
        return all_blobs(cursor)


def drop_from_copy(index: Path, hashes: Iterable[str]) -> None:
    """Let a copy of an index tell nothing of these blobs: they left the store before they were copied."""
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
    """Remove a folder with all that is in it: first its name, so that nobody takes the rest for whole."""
    gone = folder.with_name(f".{folder.name.lstrip('.')}{UNFINISHED}")
    if gone != folder:
        shutil.rmtree(gone, ignore_errors=True)
        disk.move(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
