"""The folder ``incoming/``: new parts, parts that wait to be continued, and leftovers of a crash.

A part that may be continued is named by the hash of its key, and has a mark beside it once it is parked.
The mark is written when the bytes that it describes are durable, and removed before they change.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mirror.errors import StorageError
from mirror.storage.files.incoming import ParkedDownload

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.storage.disk import Disk

_PART, _MARK, _TEMPORARY = ".part", ".mark", ".tmp"


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known about a parked part: its first ``length`` bytes are good, and have that hash."""

    key: str
    length: int
    sha256: str
    validator: str | None


class ParkedDownloads:
    """The parts of a store. All calls but ``parked`` may block; those that find and remove parked parts take turns."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._parked: dict[str, int] = {}
        self._turn = threading.Lock()

    @property
    def parked(self) -> int:
        """Bytes of the parts that wait to be continued."""
        return sum(self._parked.copy().values())

    def open(self, key: str | None) -> tuple[ParkedDownload, str | None]:
        """A part to write to, and its validator: the part parked under ``key`` if it is good, else a new one."""
        if key is None:
            return ParkedDownload.create(self._disk, self._folder / f"{uuid.uuid4().hex}{_TEMPORARY}"), None
        with self._turn:
            return self._open(key, self._path(key))

    def _open(self, key: str, path: Path) -> tuple[ParkedDownload, str | None]:
        self._parked.pop(path.name, None)
        mark = self._mark(path)
        if mark is not None and mark.key == key:
            part = ParkedDownload.reopen(self._disk, path, mark.length, mark.sha256)
            if part is not None:
                return part, mark.validator
        self._disk.remove(_mark_of(path))
        self._disk.remove(path)
        return ParkedDownload.create(self._disk, path), None

    def take_in(self, source: Path, length: int, sha256: str, *, link: bool) -> ParkedDownload | None:
        """A new part with the content of a file of this machine: a copy, or with ``link`` a second name of it.

        None unless the file has that length and hash.
        """
        path = self._folder / f"{uuid.uuid4().hex}{_TEMPORARY}"
        try:
            (self._disk.link if link else self._disk.copy)(source, path)
            whole = path.stat().st_size == length
            part = ParkedDownload.reopen(self._disk, path, length, sha256) if whole else None
        except BaseException:
            self._disk.remove(path)
            raise
        if part is None:
            self._disk.remove(path)
        return part

    def park(self, part: ParkedDownload, key: str, validator: str | None) -> None:
        """Let a part wait to be continued; if that fails, nothing of it stays."""
        try:
            with self._turn:
                self._park(part, key, validator)
        except StorageError:
            self.drop(part)
            raise

    def _park(self, part: ParkedDownload, key: str, validator: str | None) -> None:
        part.settle()
        mark = Mark(key, part.length, part.sha256, validator)
        temporary = part.path.with_suffix(_TEMPORARY)
        self._write(temporary, json.dumps(asdict(mark)).encode())
        self._disk.move(temporary, _mark_of(part.path))
        part.close()
        self._parked[part.path.name] = part.length

    def begin_again(self, part: ParkedDownload) -> None:
        """Empty a part; its mark is removed first, since it describes bytes that will be gone."""
        self._disk.remove(_mark_of(part.path))
        self._disk.sync_folder(self._folder)
        part.restart()

    def done(self, part: ParkedDownload) -> None:
        """Close a part whose file has become a blob."""
        part.close()
        self._disk.remove(_mark_of(part.path))

    def drop(self, part: ParkedDownload) -> None:
        """Close a part and remove it."""
        part.close()
        self._disk.remove(_mark_of(part.path))
        self._disk.remove(part.path)

    def drop_parked(self) -> None:
        """Remove all parked parts."""
        with self._turn:
            for name in list(self._parked):
                self._remove(name)

    def drop_spoiled(self) -> list[str]:
        """Remove parked parts that differ from their marks; their keys, or names."""
        found = []
        for name in list(self._parked):
            with self._turn:
                if name in self._parked and (spoiled := self._spoiled(self._folder / name)):
                    self._remove(name)
                    found.append(spoiled)
        return found

    def _remove(self, name: str) -> None:
        self._disk.remove(_mark_of(self._folder / name))
        self._disk.remove(self._folder / name)
        del self._parked[name]

    def _spoiled(self, path: Path) -> str | None:
        """The key (or, without one, the name) of a part that differs from its mark; None if it does not."""
        mark = self._mark(path)
        if mark is None or not path.is_file():
            return path.name
        part = ParkedDownload.reopen(self._disk, path, mark.length, mark.sha256)
        if part is None:
            return mark.key
        part.close()
        return None

    def sweep(self, oldest: float) -> None:
        """Find the parked parts; remove leftovers of a crash, and what was parked before the time ``oldest``."""
        for path in sorted(self._folder.iterdir()):
            if path.is_dir() and not path.is_symlink():  # none of ours
                continue
            mark = self._mark(path) if path.suffix == _PART else None
            if path.suffix == _MARK and path.with_suffix(_PART).exists():
                continue
            if mark is not None and _mark_of(path).stat().st_mtime >= oldest and path == self._path(mark.key):
                self._parked[path.name] = path.stat().st_size
                continue
            self._disk.remove(path)
            if path.suffix == _PART:
                self._disk.remove(_mark_of(path))

    def _path(self, key: str) -> Path:
        return self._folder / (hashlib.sha256(key.encode()).hexdigest()[:40] + _PART)

    def _mark(self, path: Path) -> Mark | None:
        """The mark of a part; None if it is missing or unreadable."""
        try:
            return Mark(**json.loads(_mark_of(path).read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {_mark_of(path)}: {error.strerror}") from error
        except (ValueError, TypeError):
            return None

    def _write(self, path: Path, data: bytes) -> None:
        part = ParkedDownload.create(self._disk, path)
        try:
            part.write(data)
            part.settle()
        finally:
            part.close()


def _mark_of(path: Path) -> Path:
    return path.with_suffix(_MARK)
