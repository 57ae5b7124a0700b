"""Pictures that were made, in a folder of at most some size: those used longest ago go first.

They can always be made again. So nothing here is noted in the database, nothing has to last, and a folder
that is deleted does no harm. Behind a picture's last byte its sha256 is kept: one that was damaged is made again.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from mirror.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.storage.disk import Disk

_SUFFIX = ".png"
#: Bytes of a hash.
_SUM = hashlib.sha256().digest_size


class Pictures:
    """The pictures below ``root``, ``limit`` bytes of them at most. Calls may block."""

    def __init__(self, root: Path, limit: int, disk: Disk) -> None:
        self._root = root
        self._limit = limit
        self._disk = disk
        self._sizes: OrderedDict[str, int] | None = None
        self._held = 0
        self._lock = threading.Lock()

    def find(self, key: str) -> bytes | None:
        """The picture of that key (hexadecimal digits), or None."""
        with self._lock:
            sizes = self._known()
            if key not in sizes:
                return None
            body = _body(self._place(key))
            if body is None:
                self._held -= sizes.pop(key)
                return None
            sizes.move_to_end(key)
            return body

    def keep(self, key: str, body: bytes) -> None:
        """Keep a picture; one that cannot be written is not worth an error."""
        if len(body) > self._limit:
            return
        with self._lock, suppress(StorageError):
            self._write(self._place(key), body + hashlib.sha256(body).digest())
            sizes = self._known()
            self._held += len(body) - sizes.pop(key, 0)
            sizes[key] = len(body)
            while self._held > self._limit:
                oldest, size = sizes.popitem(last=False)
                self._held -= size
                self._disk.remove(self._place(oldest))

    def _write(self, place: Path, body: bytes) -> None:
        self._disk.make_folder(place.parent)
        part = place.with_suffix(".part")
        fd = self._disk.create(part)
        try:
            self._disk.write(part, fd, body, 0)
        finally:
            os.close(fd)
        self._disk.move(part, place)

    def _place(self, key: str) -> Path:
        return self._root / key[:2] / f"{key}{_SUFFIX}"

    def _known(self) -> OrderedDict[str, int]:
        """The keys with their sizes, that used last at the end; read from the folder when first needed."""
        if self._sizes is None:
            files = sorted(self._files(), key=lambda f: f[1])
            self._sizes = OrderedDict((key, size) for key, _, size in files)
            self._held = sum(self._sizes.values())
        return self._sizes

    def _files(self) -> list[tuple[str, float, int]]:
        found = []
        for path in self._root.glob(f"??/*{_SUFFIX}"):
            at = path.stat()
            found.append((path.stem, at.st_mtime, max(0, at.st_size - _SUM)))
        return found


def _body(place: Path) -> bytes | None:
    """The picture in a file; None if there is none, or not as it was written."""
    try:
        data = place.read_bytes()
    except OSError:
        return None
    return data[:-_SUM] if hashlib.sha256(data[:-_SUM]).digest() == data[-_SUM:] else None
