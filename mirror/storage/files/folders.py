"""Where the files of the store lie: ``blobs/ab/abcdef...``, ``incoming/``, ``quarantine/``, ``by-record/``."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from mirror.errors import StorageError, explained
from mirror.storage.disk import digest_of, is_sha256
from mirror.storage.files.readable_tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mirror.storage.disk import Disk


#: Refusals that say nothing of the file: of what this process or machine has too little, or a share that is away.
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
        """Make the folders that are not there, and mark them as those of a store."""
        for folder in (self._blobs, self.incoming, self._quarantine, self.root / "by-record"):
            self._disk.make_folder(folder)
        if not self.is_marked():
            os.close(self._disk.create(self.mark))
            self._disk.sync_folder(self._blobs)

    @property
    def mark(self) -> Path:
        """A file that tells an empty store from the folder where its disk should be mounted."""
        return self._blobs / ".mirror"

    def is_marked(self) -> bool:
        """True if this is the folder of a store."""
        return self.mark.exists()

    def blob(self, sha256: str) -> Path:
        """The file of a blob; StorageError for what is no hash, so that nothing else becomes a path."""
        if not is_sha256(sha256):
            raise StorageError(f"{sha256[:80]!r} names no blob; expected 64 hexadecimal digits")
        return self._blobs / sha256[:2] / sha256

    def take(self, part: Path, sha256: str, size: int) -> bool:
        """Make a part the file of a blob. True if it took the place of one, which was damaged."""
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
        """True if the file of a blob is gone, or has another length; by a look at it, not by reading."""
        try:
            return self.blob(sha256).stat().st_size != size
        except FileNotFoundError:
            return True
        except OSError:  # it may be there, and only not be had now: whoever reads it will hear why
            return False

    def set_aside(self, sha256: str, name: str) -> None:
        """Move the file of a blob into quarantine, if it is there."""
        if self.blob(sha256).exists():
            self._disk.move(self.blob(sha256), self._quarantine / name)

    def sizes(self) -> dict[str, int]:
        """The files that are blobs by their name and place, with their sizes; others are left alone."""
        found = {}
        for folder in os.scandir(self._blobs):
            if folder.is_dir(follow_symlinks=False):
                for file in os.scandir(folder):
                    if is_sha256(file.name) and file.name[:2] == folder.name:
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
        """What lies among the blobs and is none, nor the mark, by its path below them."""
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

        ``needed``: it is read again right after this. Raises ``hashing.Stopped`` when it is told to end before that,
        StorageError if the file may well be right, and only cannot be had now.
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
