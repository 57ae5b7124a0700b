"""The only way by which the store changes files, and the place where the system's refusals get words.

Every change goes through one door, ``Disk._do``: a full disk, a read-only file system or a damaged
sector there becomes a StorageError that names the file and what to do. Tests put faults behind that door.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, TypeVar

from mirror.drms.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

#: The mode of files that are whole: everybody may read, nobody write.
SEALED = 0o444

#: Bytes that the kernel copies in one call, and how it says that it cannot, between two file systems mostly.
_AT_A_TIME = 1 << 30
_NO_COPY_IN_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

_FULL = "the disk is full; free some space on it, or evict files from the store"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the disk quota of this user is used up; free some space, or evict files from the store",
    errno.EROFS: "the file system is read-only; has the disk failed, or been mounted so?",
    errno.EACCES: "permission denied; the store must belong to the user who runs the mirror",
    errno.EPERM: "not permitted; the store must belong to the user who runs the mirror",
    errno.EIO: "the disk reports an input/output error; look at its health",
    errno.EXDEV: "source and target lie on different file systems; the store must lie on one",
    errno.EMLINK: "too many hard links to one file",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.ENFILE: "too many open files on this machine",
    errno.ENAMETOOLONG: "the name is too long for the file system",
}


def explained(error: OSError) -> str:
    """What a refusal of the system means here, in words."""
    return _ADVICE.get(error.errno or 0) or error.strerror or str(error)


class Disk:
    """Operations on files that last: when one returns, a crash does not undo it, unless it says so.

    What the system refuses is raised as StorageError; only FileExistsError passes, as an answer.
    """

    def create(self, path: Path) -> int:
        """Open a new empty file in place of any that is there; reading and writing, for us alone."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return self._do("create", path, lambda: os.open(path, flags, 0o600))

    def open(self, path: Path) -> int:
        """Open a file of ours that is there, for reading and writing, even if it was sealed."""
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
        """Make an open file read-only for everybody, and everything about it last."""
        self._do("protect", path, lambda: os.fchmod(fd, SEALED))
        self.sync(path, fd)

    def sync(self, path: Path, fd: int) -> None:
        """Make what was written to an open file last."""
        self._do("sync", path, lambda: os.fsync(fd))

    def move(self, source: Path, target: Path) -> None:
        """Give a file its new name, in place of what had it: before a crash or after, never half."""
        self._do("rename", target, lambda: source.rename(target))
        self.sync_folder(target.parent)
        if source.parent != target.parent:
            self.sync_folder(source.parent)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. It need not last: the tree of links is mended at each start."""
        self._do("link", target, lambda: os.link(source, target))

    def copy(self, source: Path, target: Path) -> None:
        """A new file with the bytes of another; they share their blocks where the file system can do that."""
        self._do("write", target, lambda: _copy(source, target))

    def remove(self, path: Path) -> None:
        """Remove a name; nothing happens if it is not there. It need not last: leftovers are swept."""
        self._do("remove", path, lambda: path.unlink(missing_ok=True))

    def make_folder(self, path: Path) -> None:
        """A folder, with those above it."""
        if path.is_dir():
            return
        if path.parent != path:
            self.make_folder(path.parent)
        try:
            self._do("create", path, path.mkdir)
        except FileExistsError as error:
            if not path.is_dir():
                raise StorageError(f"{path} is no folder; expected one there, and nothing else") from error
        self.sync_folder(path.parent)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder last."""
        self._do("sync", path, lambda: _sync_folder(path))

    def free(self, path: Path) -> int:
        """Bytes that this user may still write on the disk of ``path``."""
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
        except OSError as error:
            if error.errno not in _NO_COPY_IN_KERNEL:
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
