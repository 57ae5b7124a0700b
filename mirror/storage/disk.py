"""The only way in which the store changes files, and where errors of the system become messages for people.

Every change goes through ``Disk._do``, where a full disk, a read-only file system or a damaged sector becomes
a StorageError that names the file and what to do. Tests inject faults there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from mirror.errors import StorageError, explained

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
    )
    from pathlib import Path


T = TypeVar("T")

#: The mode of complete files: everybody may read, nobody write.
SEALED = 0o444

#: Bytes that the kernel copies in one call, and its errors when it cannot, mostly between two file systems.
_AT_A_TIME = 1 << 30
_NO_COPY_IN_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class Disk:
    """Durable operations on files: unless stated otherwise, a crash does not undo one that has returned.

    What the system refuses is raised as StorageError; only FileExistsError passes, as an answer.
    """

    def create(self, path: Path) -> int:
        """Open a new empty file for reading and writing, in place of any other; only we have access."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return self._do("create", path, lambda: os.open(path, flags, 0o600))

    def open(self, path: Path) -> int:
        """Open an existing file of ours for reading and writing, even if it was sealed."""
        self._do("open", path, lambda: path.chmod(0o600))
        return self._do("open", path, lambda: os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def read(self, path: Path, fd: int, count: int, at: int) -> bytes:
        """Up to ``count`` bytes from an offset; none at the end of the file."""
        return self._do("read", path, lambda: os.pread(fd, count, at))

    def write(self, path: Path, fd: int, data: bytes | memoryview, at: int) -> None:
        """Write all of ``data`` at an offset; it lasts only after ``sync``."""
        view = memoryview(data)
        while view:
            done = self._do("write", path, lambda v=view, a=at: os.pwrite(fd, v, a))  # type: ignore[misc]
            view, at = view[done:], at + done

    def truncate(self, path: Path, fd: int, length: int) -> None:
        """Cut an open file to a length; it lasts only after ``sync``."""
        self._do("shorten", path, lambda: os.ftruncate(fd, length))

    def seal(self, path: Path, fd: int) -> None:
        """Make an open file read-only for everybody, and sync it."""
        self._do("protect", path, lambda: os.fchmod(fd, SEALED))
        self.sync(path, fd)

    def sync(self, path: Path, fd: int) -> None:
        """Make what was written to an open file durable."""
        self._do("sync", path, lambda: os.fsync(fd))

    def move(self, source: Path, target: Path) -> None:
        """Rename a file, in place of any other with that name; atomic even in a crash."""
        self._do("rename", target, lambda: source.rename(target))
        self.sync_folder(target.parent)
        if source.parent != target.parent:
            self.sync_folder(source.parent)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Not durable: the tree of links is mended at each start."""
        self._do("link", target, lambda: os.link(source, target))

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file; the copies share their blocks where the file system supports it."""
        self._do("write", target, lambda: _copy(source, target))

    def remove(self, path: Path) -> None:
        """Remove a name, if it exists. Not durable: leftovers are swept."""
        self._do("remove", path, lambda: path.unlink(missing_ok=True))

    def make_folder(self, path: Path) -> None:
        """Make a folder, and those above it."""
        if path.is_dir():
            return
        if path.parent != path:
            self.make_folder(path.parent)
        try:
            self._do("create", path, path.mkdir)
        except FileExistsError as error:
            if not path.is_dir():
                raise StorageError(f"{path} is not a folder") from error
        self.sync_folder(path.parent)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        self._do("sync", path, lambda: _sync_folder(path))

    def free(self, path: Path) -> int:
        """Bytes that this user may still write to the disk of ``path``."""
        found = self._do("look at", path, lambda: os.statvfs(path))
        return found.f_bavail * found.f_frsize

    def _do(self, what: str, path: Path, call: Callable[[], T]) -> T:
        try:
            return call()
        except FileExistsError:
            raise
        except OSError as error:
            raise StorageError(f"cannot {what} {path}: {explained(error)}") from error


def _copy(source: Path, target: Path) -> None:
    to = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb", buffering=0) as file, os.fdopen(to, "wb", buffering=0) as copy:
        try:
            while os.copy_file_range(file.fileno(), copy.fileno(), _AT_A_TIME):
                pass
        except (OSError, AttributeError) as error:  # macOS has no such call
            if isinstance(error, OSError) and error.errno not in _NO_COPY_IN_KERNEL:
                raise
            file.seek(0)
            copy.truncate(0)
            copy.seek(0)
            shutil.copyfileobj(file, copy, 1 << 20)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


#: Large enough that Python's overhead vanishes beside the hash, small enough for a processor's cache.
BLOCK = 1 << 20
#: Bytes that were read are dropped from the system's cache in pieces of this size.
_GIVEN_BACK = 16 << 20


class Stopped(Exception):
    """Reading was stopped by its caller."""


def digest_of(
    path: Path, stopped: Callable[[], bool] = lambda: False, *, needed: bool = False
) -> tuple[str, int]:
    """The sha256 of a file and its length, by reading all of it; raises OSError, or Stopped if told to stop.

    ``needed``: it will be read again right after this, and stays in the system's cache.
    """
    digest, buffer, at = hashlib.sha256(), memoryview(bytearray(BLOCK)), 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        keep = needed or _is_cached(fd, buffer)
        _advise(fd, 0, "SEQUENTIAL")
        while count := os.preadv(fd, [buffer], at):
            digest.update(buffer[:count])
            at += count
            if not keep and at % _GIVEN_BACK < count:
                _advise(fd, at, "DONTNEED")
            if stopped():
                raise Stopped
        if not keep:
            _advise(fd, 0, "DONTNEED")
    finally:
        os.close(fd)
    return digest.hexdigest(), at


def _advise(fd: int, length: int, how: str) -> None:
    """Advise the system how the first bytes of a file (0: all) are read; not on macOS."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, length, getattr(os, f"POSIX_FADV_{how}"))


def _is_cached(fd: int, buffer: memoryview) -> bool:
    """True if the file was read recently: its beginning can be had without the disk."""
    with suppress(OSError, AttributeError):  # not cached, or a file system that cannot tell
        return os.preadv(fd, [buffer[:1]], 0, os.RWF_NOWAIT) > 0
    return False


_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    """True for a possible blob name: 64 hexadecimal digits in lower case."""
    return _SHA256.fullmatch(text) is not None
