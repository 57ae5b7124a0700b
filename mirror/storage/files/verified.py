"""Which files of the store were seen to have the bytes that they should, by this process and not long ago.

A file is read whole before it is sent for the first time, and again when it has changed in any way that the system
tells, or after ``lasts`` seconds: a disk that loses a bit tells nobody. In between to look costs one ``stat``.
Nothing of this is written down, so that it costs no write, and a crash loses nothing: the next start looks again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Files that are remembered: some ten megabytes.
MOST = 50_000
#: What changes with a file: its inode, length, and when content and inode were last changed.
Stamp = tuple[int, int, int, int]


def stamp_of(path: Path | str) -> Stamp:
    """How a file is now; raises OSError."""
    found = os.stat(path)  # noqa: PTH116  (this is done for every answer, and a text is quicker)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Verified:
    """Remembers looks at whole files, each for ``lasts`` seconds. ``now`` gives seconds that only ever grow."""

    def __init__(self, now: Callable[[], float], lasts: float) -> None:
        self._now = now
        self.lasts = lasts
        self._seen: dict[str, tuple[str, Stamp, float]] = {}

    def holds(self, sha256: str) -> bool:
        """True if the file was seen to be right not long ago, and is as it was then."""
        seen = self._seen.get(sha256)
        if seen is None or self._now() - seen[2] >= self.lasts:
            return False
        try:
            return stamp_of(seen[0]) == seen[1]
        except OSError:
            return False

    def note(self, sha256: str, path: Path, stamp: Stamp) -> None:
        """The file, which was so, was read just now, and is right."""
        self._seen.pop(sha256, None)
        self._seen[sha256] = str(path), stamp, self._now()
        while len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]

    def forget(self, sha256: str) -> None:
        """Look again before it is next sent."""
        self._seen.pop(sha256, None)
