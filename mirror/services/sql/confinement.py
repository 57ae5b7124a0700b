"""What a process for statements gives up before it reads the first: writing files, reaching others, other people's files.

Linux has several ways; the strongest that this kernel and user allow is used, and its name is reported:

landlock       No file is written, made, renamed or removed anywhere. Read are only the lake, and the folders of Python and
               of shared libraries. No program is started. As far as the kernel knows how, no TCP connection is made or
               taken, and no signal or abstract socket reaches a process outside.
namespace      All file systems are read-only, in a mount namespace of this process alone.
user           The user is ``nobody``, to whom the store does not belong. Only where the mirror is run by root.
none           Nothing beyond the limits of DuckDB and the size of files (RLIMIT_FSIZE): see ``worker``.

All of this applies to the process and to threads that it starts later, so it is done before libraries are loaded that
start threads. None of it can be undone.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Confinement(StrEnum):
    """The ways, strongest first."""

    LANDLOCK = "landlock"
    NAMESPACE = "namespace"
    USER = "user"
    NONE = "none"


#: Numbers of system calls, which are the same on every architecture that Linux got after 2011.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT, _MOUNT_SETATTR = 444, 445, 446, 442
_VERSION_ONLY = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
#: How many rights over files each version of landlock knows: the first, and those of later versions.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP = 0b11  #: binding and connecting, from version 4 on
_SCOPES = 0b11  #: abstract sockets and signals, from version 6 on
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_PRIVATE, _RECURSIVE = 1 << 18, 1 << 14
_AT_FDCWD, _AT_RECURSIVE, _READ_ONLY = -100, 0x8000, 1
_NOBODY = 65_534
#: What libraries read in addition to their own folders.
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")
_SYSTEM_STATE = ("/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/sys/devices/system/cpu", "/sys/fs/cgroup")


class _Unavailable(Exception):
    """This kernel or user does not have this way."""


def confine(folder: Path, ways: Iterable[Confinement] = tuple(Confinement)) -> Confinement:
    """Give up everything but reading ``folder`` and what Python needs; the first of ``ways`` that is available.

    RuntimeError if not even the last is available, which cannot happen if that is ``NONE``.
    """
    for way in ways:
        with suppress(_Unavailable):
            if way is not Confinement.NONE and sys.platform != "linux":
                raise _Unavailable  # the numbers below mean something else there
            _WAYS[way](folder)
            return way
    raise RuntimeError(f"none of {', '.join(ways)} is available here")


# ---- landlock -------------------------------------------------------------------------------------


def _landlock(folder: Path) -> None:
    version = _call(_LANDLOCK_CREATE, None, 0, _VERSION_ONLY)
    files = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    rules = struct.pack("=QQQ", files, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24  # what each version knows of the structure
    ruleset = _call(_LANDLOCK_CREATE, rules, size, 0)
    try:
        for path in (folder, *_read_by_python()):
            _allow_reading(ruleset, path)
        _no_new_privileges()
        _call(_LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: Path) -> None:
    """Allow reading a file, or a folder with everything below it; nothing if it does not exist."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _READ_FILE | _READ_FOLDER if path.is_dir() else _READ_FILE
        _call(_LANDLOCK_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)


def _read_by_python() -> Iterator[Path]:
    """The folders of modules and shared libraries. A module at the root of the file system adds nothing."""
    modules = (sys.prefix, sys.base_prefix, *sys.path, *os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    for name in (*modules, *_SYSTEM, *_SYSTEM_STATE):
        if name and (path := Path(name).absolute()) != Path("/"):
            yield path


# ---- a mount namespace ----------------------------------------------------------------------------


def _namespace(_: Path) -> None:
    """Make every mount read-only, for this process alone. A child tries it first: doing half of it cannot be undone."""
    _tried(_mounts_read_only)
    _mounts_read_only()


def _mounts_read_only() -> None:
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _call_c("unshare", _NEW_MOUNTS)
    else:
        _call_c("unshare", _NEW_USERS | _NEW_MOUNTS)
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        except OSError as error:
            raise _Unavailable from error
    _call_c("mount", b"none", b"/", None, _PRIVATE | _RECURSIVE, None)
    attributes = struct.pack("=QQQQ", _READ_ONLY, 0, 0, 0)
    _call(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, len(attributes))
    _no_new_privileges()


# ---- another user ---------------------------------------------------------------------------------


def _user(folder: Path) -> None:
    if os.geteuid() != 0 or not _open_to_all(folder):
        raise _Unavailable
    _tried(_become_nobody)
    _become_nobody()


def _become_nobody() -> None:
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError as error:
        raise _Unavailable from error
    _no_new_privileges()


def _open_to_all(folder: Path) -> bool:
    """True if anybody may read a folder, and the folders of Python's modules."""
    modules = [Path(name) for name in (sys.prefix, *sys.path) if name and Path(name).is_dir()]
    return all(
        path.stat().st_mode & 0o001
        for place in (folder, *modules)
        for path in (place, *place.absolute().parents)
    ) and bool(folder.stat().st_mode & 0o004)


# ---- system calls ---------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """A system call by its number; _Unavailable for what the kernel refuses."""
    return _answered(_libc.syscall(ctypes.c_long(number), *map(_word, arguments)))


def _call_c(name: str, *arguments: int | bytes | None) -> int:
    """The same of a function of the C library."""
    return _answered(getattr(_libc, name)(*map(_word, arguments)))


def _word(argument: int | bytes | None) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _answered(result: int) -> int:
    if result < 0:
        raise _Unavailable(os.strerror(ctypes.get_errno()))
    return result


def _no_new_privileges() -> None:
    _call_c("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _tried(step: Callable[[], None]) -> None:
    """Raise _Unavailable unless ``step`` works in a child of this process."""
    child = os.fork()
    if not child:
        try:
            step()
        except BaseException:  # noqa: BLE001  (whatever it is: this child says only yes or no)
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise _Unavailable


_WAYS: dict[Confinement, Callable[[Path], None]] = {
    Confinement.LANDLOCK: _landlock,
    Confinement.NAMESPACE: _namespace,
    Confinement.USER: _user,
    Confinement.NONE: lambda _: None,
}
