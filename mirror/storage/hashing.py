"""Hashing whole files at the speed of the disk, without pushing what others read out of the page cache."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Large enough that Python costs nothing beside the hash, small enough to stay in a processor's cache.
BLOCK = 1 << 20
#: Read bytes are given back to the system in pieces of this size.
_GIVEN_BACK = 16 << 20


class Stopped(Exception):
    """Whoever reads was told to end."""


def digest_of(
    path: Path, stopped: Callable[[], bool] = lambda: False, *, needed: bool = False
) -> tuple[str, int]:
    """The sha256 of a file and its length, by reading all of it; raises OSError, and Stopped when told to.

    ``needed``: it is read once more right after this, and stays in memory for that.
    """
    digest, buffer, at = hashlib.sha256(), memoryview(bytearray(BLOCK)), 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        keep = needed or _is_cached(fd, buffer)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := os.preadv(fd, [buffer], at):
            digest.update(buffer[:count])
            at += count
            if not keep and at % _GIVEN_BACK < count:
                os.posix_fadvise(fd, 0, at, os.POSIX_FADV_DONTNEED)
            if stopped():
                raise Stopped
        if not keep:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return digest.hexdigest(), at


def _is_cached(fd: int, buffer: memoryview) -> bool:
    """True if others read the file of late: its beginning comes without the disk."""
    with suppress(OSError, AttributeError):  # not cached, or a file system that cannot tell
        return os.preadv(fd, [buffer[:1]], 0, os.RWF_NOWAIT) > 0
    return False
