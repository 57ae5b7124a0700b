"""The process that makes quick looks: ``python -m mirror.services.quicklook.worker``.

It reads orders from stdin, a JSON line each, and writes pictures (``P``) or FITS files (``F``) to stdout, or words
instead: ``R`` for what was refused, ``W`` for an order that does not fit the image, ``D`` where the file was the end of
who read it; the length, and the bytes. It reads no file itself: each picture is drawn by a process that is forked for it, after all modules are loaded, and gives up everything before it
looks at the first byte. So a file that kills, or takes over, who reads it costs its own picture.

What a process gives up before it reads a file of others: everything but drawing from what it has open.

It starts no program, opens no file, makes no connection where Linux has Landlock (5.13; connections 6.7); it writes no
byte to any file, has bounds on memory and time everywhere, and where the mirror is run by root it is ``nobody``.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mirror.errors import BadRequest, MirrorError, Refused
from mirror.services.quicklook.colours import Look
from mirror.services.quicklook.cutout import Window, cutout
from mirror.services.quicklook.render import draw, quick_look

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


#: A picture, or words, follow with so many bytes.
HEAD = struct.Struct(">cI")
PICTURE, FILE, REFUSAL, WRONG, DEATH = b"P", b"F", b"R", b"W", b"D"
#: Seconds of the clock that a picture may take.
LONGEST = 50.0
#: Bytes of a picture or file, at most; and what one begins with.
MOST_BYTES, _PNG, _FITS = 160 << 20, b"\x89PNG\r\n\x1a\n", b"SIMPLE  ="
#: How far behind everybody else pictures stand for the processor.
NICE = 10


def made(line: bytes) -> tuple[bytes, bytes]:
    """What an order gives: its kind, and the bytes."""
    order = json.loads(line)
    try:
        with Path(order["path"]).open("rb") as file:
            return _drawn_by_another(file, order)
    except OSError as problem:
        return REFUSAL, f"it cannot be read: {problem.strerror}".encode()


def _drawn_by_another(file: BinaryIO, order: dict[str, Any]) -> tuple[bytes, bytes]:
    """Have a process of its own draw the picture, and see how it ends."""
    came, goes = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(came)
            _draw(file, order, goes)
        finally:
            os._exit(0)
    os.close(goes)
    try:
        answer = _read(came, time.monotonic() + LONGEST)
    finally:
        os.close(came)
        os.kill(child, signal.SIGKILL)  # it has nothing more to say; it may have ended, but waits for this one
        status = os.waitpid(child, 0)[1]
    return _judged(answer, status)


def _draw(file: BinaryIO, order: dict[str, Any], goes: int) -> None:
    """In the child: give everything up, draw, and write the picture or why there is none."""
    give_up_everything()
    try:
        if "window" in order:
            window = Window(**order["window"])
            kind, body = FILE, cutout(file, order["head"], window, order["history"], order["at"])
        else:
            kind, body = PICTURE, quick_look(file, Look(**order["look"]), turned=order["turned"], most=order["most"])
    except BadRequest as problem:
        kind, body = REFUSAL if isinstance(problem, Refused) else WRONG, str(problem).encode()
    except MirrorError as problem:
        kind, body = REFUSAL, str(problem).encode()
    except MemoryError:
        kind, body = REFUSAL, b"that image is too large for a quick look"
    with os.fdopen(goes, "wb") as out:
        out.write(kind + body)


def _read(fd: int, until: float) -> bytes | None:
    """All that comes before the end; None if that takes too long, or is too much."""
    data = bytearray()
    while select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
        piece = os.read(fd, 1 << 16)
        if not piece:
            return bytes(data)
        data += piece
        if len(data) > MOST_BYTES:
            break
    return None


def _judged(answer: bytes | None, status: int) -> tuple[bytes, bytes]:
    """What a process said, as far as that can be: it may not have been itself in the end."""
    if answer is None:
        return DEATH, f"a quick look of it took longer than {LONGEST:g} s".encode()
    kind, body = answer[:1], answer[1:]
    if (kind == PICTURE and body.startswith(_PNG)) or (kind == FILE and body.startswith(_FITS)):
        return kind, body
    if kind in (REFUSAL, WRONG) and body:
        return kind, body
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return DEATH, f"a quick look of it took more than {SECONDS} s of the processor".encode()
    how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"code {os.waitstatus_to_exitcode(status)}"
    return DEATH, f"its data were the end of the process that read them ({how})".encode()


def _load() -> None:
    """Load all modules that a picture needs, by making some: the processes that draw cannot open files."""
    try:
        from astropy.io import fits  # noqa: PLC0415  (a mirror may lack it)
        from astropy.wcs import WCS  # noqa: PLC0415
    except ImportError:
        return  # each order says so
    values = np.arange(64, dtype=np.int16).reshape(8, 8)
    hdus = [fits.CompImageHDU(values, compression_type=kind, tile_shape=(1, 8)) for kind in ("RICE_1", "GZIP_1", "GZIP_2")]
    for hdu in (fits.ImageHDU(values), fits.CompImageHDU(values.astype(np.float32)), *hdus):
        whole = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole)
        with fits.open(io.BytesIO(whole.getvalue()), memmap=False) as read:
            drawn = draw(np.asarray(read[1].section[0:8, 0:8], dtype=np.float32), Look("grey"), turned=False)
            assert drawn.startswith(_PNG)
    WCS({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec"}).all_world2pix([[0.0, 0.0]], 0)


def main() -> None:
    """Make pictures until stdin ends."""
    os.nice(NICE)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _load()
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        kind, body = made(line)
        out.write(HEAD.pack(kind, len(body)) + body)
        out.flush()


if __name__ == "__main__":
    main()
