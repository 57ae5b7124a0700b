"""The readable tree: ``by-record/<series>/<date>/<name>``, hard links into the blobs.

For people on the same file system, who read files without HTTP. The files are read-only: whoever writes
to one would change the blob. The tree is only ever made from the holdings; at each start it is mended.
"""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.errors import StorageError
from mirror.storage.disk import SEALED
from mirror.storage.files.unit_path import is_plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mirror.storage.disk import Disk


def link_name(series: str, date: str, name: str) -> str:
    """The name of a file in the tree; StorageError unless each part is the name of one file or folder."""
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
        """Give ``blob`` the name, in place of what had it; a reader sees the old file or the new one."""
        target = self._path(name)
        if _is_same(target, blob):
            return
        self._disk.make_folder(target.parent)
        temporary = self._spare / f"{uuid.uuid4().hex}.tmp"
        self._disk.link(blob, temporary)
        self._disk.move(temporary, target)

    def remove(self, names: Iterable[str]) -> None:
        """Remove names, and the folders that are empty then."""
        for name in names:
            path = self._path(name)
            self._disk.remove(path)
            self._prune(path.parent)

    def mend(self, wanted: Mapping[str, Path]) -> None:
        """Make the tree hold the names of ``wanted``, each for the blob at that path, and no other blob.

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
        """The names of ours that are not wanted."""
        found = (Path(folder, file) for folder, _, files in os.walk(self._root) for file in files)
        ours = (path.relative_to(self._root).as_posix() for path in found if _is_ours(path))
        return [name for name in ours if name not in wanted]

    def place_all(self, wanted: Mapping[str, Path]) -> tuple[str, ...]:
        """Place each name whose blob is there and does not have it; those that had to be placed."""
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
            with suppress(OSError):  # not empty: that is the answer, not a failure
                folder.rmdir()
                folder = folder.parent
                continue
            return


def _is_ours(path: Path) -> bool:
    """True for a file that was sealed; what people make themselves can be written to."""
    with suppress(OSError):
        return stat.S_IFMT(mode := path.lstat().st_mode) == stat.S_IFREG and stat.S_IMODE(mode) == SEALED
    return False


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False
