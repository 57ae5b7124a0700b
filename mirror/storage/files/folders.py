"""The store's folders: ``blobs/ab/abcdef...``, ``incoming/``, ``quarantine/``, ``by-record/``.

``by-record/<series>/<date>/<name>`` is the readable tree: hard links to the blobs, for people on the same file
system, who read files without HTTP. The files are read-only, since writing to one would change the blob. The tree
is made from the holdings only, and mended at each start.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.errors import StorageError, explained
from mirror.storage.disk import SEALED, digest_of, is_sha256
from mirror.wire.paths import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from mirror.storage.disk import Disk


def link_name(series: str, date: str, name: str) -> str:
    """The name of a file in the tree; StorageError unless each part is a single file or folder name."""
    for part in (series, date, name):
        if not is_plain(part) or part.startswith("."):
            raise StorageError(f"{part!r} cannot be a name in the readable tree; expected a plain file name")
    return f"{series}/{date}/{name}"


class Tree:
    """The links below ``root``; calls may block."""

    def __init__(self, disk: Disk, root: Path, spare: Path) -> None:
        self._disk = disk
        self._root = root
        self._spare = spare  #: a folder on the same file system, swept at each start

    def place(self, name: str, blob: Path) -> None:
        """Give ``blob`` the name, in place of any other file; a reader sees the old one or the new one."""
        target = self._path(name)
        if _is_same(target, blob):
            return
        self._disk.make_folder(target.parent)
        temporary = self._spare / f"{uuid.uuid4().hex}.tmp"
        self._disk.link(blob, temporary)
        self._disk.move(temporary, target)

    def remove(self, names: Iterable[str]) -> None:
        """Remove names, and folders that become empty."""
        for name in names:
            path = self._path(name)
            self._disk.remove(path)
            self._prune(path.parent)

    def mend(self, wanted: Mapping[str, Path]) -> None:
        """Make the tree have exactly the names of ``wanted``, each linked to the blob at that path.

        Files that people put there are left alone. What cannot be linked now is linked at a later start:
        the tree is a convenience, and must not keep a mirror from starting on a full disk.
        """
        for folder, _, files in os.walk(self._root, topdown=False):
            for path in (Path(folder, file) for file in files):
                if path.relative_to(self._root).as_posix() not in wanted and _is_ours(path):
                    self._disk.remove(path)
            self._prune(Path(folder))
        with suppress(StorageError):
            for name, blob in wanted.items():
                self.place(name, blob)

    def extra(self, wanted: Collection[str]) -> list[str]:
        """Our names that are not wanted."""
        found = (Path(folder, file) for folder, _, files in os.walk(self._root) for file in files)
        ours = (path.relative_to(self._root).as_posix() for path in found if _is_ours(path))
        return [name for name in ours if name not in wanted]

    def place_all(self, wanted: Mapping[str, Path]) -> tuple[str, ...]:
        """Place each name that does not lead to its blob, if the blob exists; the names that were placed."""
        wrong = [n for n, blob in wanted.items() if blob.exists() and not _is_same(self._path(n), blob)]
        for name in wrong:
            self.place(name, wanted[name])
        return tuple(wrong)

    def _path(self, name: str) -> Path:
        if not all(is_plain(part) for part in name.split("/")):
            raise StorageError(f"{name!r} leads out of the readable tree")
        return self._root / name

    def _prune(self, folder: Path) -> None:
        while folder != self._root and folder.is_relative_to(self._root):
            with suppress(OSError):  # not empty, which is no failure
                folder.rmdir()
                folder = folder.parent
                continue
            return


def _is_ours(path: Path) -> bool:
    """True for a sealed file; files that people make themselves are writable."""
    with suppress(OSError):
        return stat.S_IFMT(mode := path.lstat().st_mode) == stat.S_IFREG and stat.S_IMODE(mode) == SEALED
    return False


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


#: Refusals that say nothing about the file: this process or machine lacks something, or a share is away.
_PASSING = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN}
)


class Folders:
    """The folders below ``root``; calls may block."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self._blobs = root / "blobs"
        self._quarantine = root / "quarantine"
        self._disk = disk
        self.tree = Tree(disk, root / "by-record", self.incoming)

    def prepare(self) -> None:
        """Make missing folders, and mark them as those of a store."""
        for folder in (self._blobs, self.incoming, self._quarantine, self.root / "by-record"):
            self._disk.make_folder(folder)
        if not self.is_marked():
            os.close(self._disk.create(self.mark))
            self._disk.sync_folder(self._blobs)

    @property
    def mark(self) -> Path:
        """The file that distinguishes an empty store from a folder where its disk is not mounted."""
        return self._blobs / ".mirror"

    def is_marked(self) -> bool:
        """True if this is the folder of a store."""
        return self.mark.exists()

    def blob(self, sha256: str) -> Path:
        """The file of a blob; StorageError unless it is a hash, so that nothing else becomes a path."""
        if not is_sha256(sha256):
            raise StorageError(f"{sha256[:80]!r} names no blob; expected 64 hexadecimal digits")
        return self._blobs / sha256[:2] / sha256

    def take(self, part: Path, sha256: str, size: int) -> bool:
        """Make a part the file of a blob. True if it replaced one, which was damaged."""
        target = self.blob(sha256)
        replaces = target.exists()
        if replaces and self.problem(sha256, size) is None:
            self._disk.remove(part)
            return False
        self._disk.make_folder(target.parent)
        self._disk.move(part, target)
        return replaces

    def remove(self, hashes: Iterable[str], links: Iterable[str]) -> None:
        """Remove the files of blobs, and names in the tree."""
        self.tree.remove(links)
        for sha256 in hashes:
            self._disk.remove(self.blob(sha256))

    def is_lost(self, sha256: str, size: int) -> bool:
        """True if the file of a blob is gone or has another length; it is not read."""
        try:
            return self.blob(sha256).stat().st_size != size
        except FileNotFoundError:
            return True
        except OSError:  # it may only be out of reach now: whoever reads it gets the error
            return False

    def set_aside(self, sha256: str, name: str) -> None:
        """Move the file of a blob into quarantine, if it is there."""
        if self.blob(sha256).exists():
            self._disk.move(self.blob(sha256), self._quarantine / name)

    def sizes(self) -> dict[str, int]:
        """The files that are blobs by name and place, with their sizes; others are left alone."""
        found = {}
        for folder in os.scandir(self._blobs):
            if folder.is_dir(follow_symlinks=False):
                for file in os.scandir(folder):
                    if is_sha256(file.name) and file.name[:2] == folder.name:
                        with suppress(FileNotFoundError):  # it has left the store meanwhile
                            found[file.name] = file.stat(follow_symlinks=False).st_size
        return found

    def free(self) -> int:
        """Bytes that may still be written to the disk."""
        return self._disk.free(self.root)

    def size(self, sha256: str) -> int | None:
        """Bytes in the file of a blob; None if it is not there."""
        try:
            return self.blob(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def strays(self) -> list[str]:
        """Paths, below the folder of blobs, of what is neither a blob nor the mark."""
        found = []
        for folder in os.scandir(self._blobs):
            if not folder.is_dir(follow_symlinks=False):
                found += [folder.name] if folder.name != self.mark.name else []
                continue
            names = (file.name for file in os.scandir(folder))
            found += [f"{folder.name}/{n}" for n in names if not is_sha256(n) or n[:2] != folder.name]
        return sorted(found)

    def problem(
        self, sha256: str, size: int, stopped: Callable[[], bool] = lambda: False, *, needed: bool = False
    ) -> str | None:
        """What is wrong with the content of a blob, by reading all of it; None if nothing is.

        ``needed``: it is read again right after this. Raises ``disk.Stopped`` when told to stop, and StorageError
        if the file may be right, but cannot be read now.
        """
        try:
            digest, length = digest_of(self.blob(sha256), stopped, needed=needed)
        except FileNotFoundError:
            return "its file is gone"
        except OSError as error:
            if error.errno in _PASSING:
                raise StorageError(f"cannot read {self.blob(sha256)}: {explained(error)}") from error
            return f"it cannot be read: {explained(error)}"
        if length != size:
            return f"it has {length} bytes instead of {size}"
        return None if digest == sha256 else f"its bytes have the sha256 {digest}"
