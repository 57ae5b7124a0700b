"""What a process gives up before it reads a file of others: everything but drawing from what it has open.

It starts no program, opens no file, makes no connection where Linux has Landlock (5.13; connections 6.7); it writes no
byte to any file, has bounds on memory and time everywhere, and where the mirror is run by root it is ``nobody``.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from contextlib import suppress
from pathlib import Path

#: Bytes of memory beyond what the process has when it begins, and seconds of the processor.
MEMORY, SECONDS = 2 << 30, 30
_NOBODY = 65_534
_DIES_WITH_PARENT, _NO_NEW_PRIVILEGES = 1, 38
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT, _VERSION_ONLY = 444, 446, 1
#: How many rights over files each version of Landlock knows: the first, and those of later versions.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP, _TCP_FROM = 0b11, 4
_SCOPES, _SCOPES_FROM = 0b11, 6

_libc = ctypes.CDLL(None, use_errno=True)


def give_up_everything(memory: int = MEMORY, seconds: int = SECONDS) -> None:
    """Keep what is open, and nothing else; it cannot be undone. All modules must have been loaded before."""
    if os.geteuid() == 0:
        with suppress(OSError):  # the root of a container may know nobody else
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _libc.prctl(_DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for limit, value in (
        (resource.RLIMIT_AS, _address_space() + memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))
    _close_files()


def _address_space() -> int:
    """Bytes of the addresses that this process uses; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _close_files() -> None:
    """Refuse every file from now on, by rules of Landlock that allow none; nothing where the kernel has none."""
    version = _libc.syscall(_LANDLOCK_CREATE, None, 0, _VERSION_ONLY)
    if version < 1:
        return
    files = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    tcp, scopes = _TCP if version >= _TCP_FROM else 0, _SCOPES if version >= _SCOPES_FROM else 0
    size = 24 if scopes else 16 if tcp else 8  # what each version knows of the structure
    rules = _libc.syscall(_LANDLOCK_CREATE, struct.pack("=QQQ", files, tcp, scopes), ctypes.c_size_t(size), 0)
    if rules >= 0:
        _libc.syscall(_LANDLOCK_RESTRICT, rules, 0)
        os.close(rules)
