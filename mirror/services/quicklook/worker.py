"""The process that makes quick looks: ``python -m mirror.services.quicklook.worker``.

It reads orders from stdin, a JSON line each, and writes pictures (``P``) or FITS files (``F``) to stdout, or words
instead: ``R`` for what was refused, ``W`` for an order that does not fit the image, ``D`` where the file was the end of
who read it, ``U`` where it could not be opened; the length, and the bytes. It reads no file itself: that is done by processes that are forked after all
modules are loaded, and give up everything before they look at the first byte.

- A picture takes a process of its own, which is small beside what the picture takes. So a file that kills, or takes
  over, who reads it costs its own picture.
- Cutouts are small, and many are asked for: one process makes them one after the other (``Cutter``). It is ended after
  so many, when it has grown, and by every file that it could not read: a file that kills it costs its own cutout, and one that
  took it over could falsify the next ones until then, and nothing else.

What a process gives up before it reads a file of others: everything but drawing from what it has open.

It starts no program, opens no file, makes no connection where Linux has Landlock (5.13; connections 6.7); it writes no
byte to any file, has bounds on memory and time everywhere, and where the mirror is run by root it is ``nobody``.
"""

from __future__ import annotations

import ctypes
import fcntl
import io
import json
import math
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
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


def give_up_everything() -> None:
    """Keep what is open but for stdin and stdout, and nothing else; it cannot be undone.

    All modules must have been loaded before. Time of the processor can be given again (``_allow``).
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for mine in (0, 1):  # orders of others, and where answers to them go
        os.dup2(nothing, mine)
    os.close(nothing)
    if os.geteuid() == 0:
        with suppress(OSError):  # the root of a container may know nobody else
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _libc.prctl(_DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for limit, value in (
        (resource.RLIMIT_AS, _address_space() + MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))
    _allow(SECONDS)
    _close_files()


def _allow(seconds: int) -> None:
    """So many seconds of the processor more, from now on."""
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _address_space(process: int | str = "self") -> int:
    """Bytes of the addresses that a process uses; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[0]) * resource.getpagesize()
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
PICTURE, FILE, REFUSAL, WRONG, DEATH, UNREAD = b"P", b"F", b"R", b"W", b"D", b"U"
#: Seconds of the clock that a picture may take.
LONGEST = 50.0
#: Bytes of a picture or file, at most; and what one begins with.
MOST_BYTES, _PNG, _FITS = 160 << 20, b"\x89PNG\r\n\x1a\n", b"SIMPLE  ="
#: Bytes that the way to the mirror holds: a cutout need not wait for its reader then.
_PIPE = 1 << 20
#: How far behind everybody else pictures stand for the processor.
NICE = 10


def made(line: bytes, cutter: Cutter) -> tuple[bytes, bytes | memoryview]:
    """What an order gives: its kind, and the bytes."""
    order = json.loads(line)
    try:
        with Path(order["path"]).open("rb") as file:
            return cutter.cut(file, line) if "window" in order else _drawn_by_another(file, order)
    except OSError as problem:
        return UNREAD, f"it cannot be read: {problem.strerror}".encode()


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
    kind, body = _outcome(file, order)
    with os.fdopen(goes, "wb") as out:
        out.write(kind + body)


def _outcome(file: BinaryIO, order: dict[str, Any]) -> tuple[bytes, bytes]:
    """What an order gives, by who has given up everything."""
    try:
        if "window" in order:
            return FILE, cutout(file, order["head"], Window(**order["window"]), order["history"], order["at"])
        return PICTURE, quick_look(file, Look(**order["look"]), turned=order["turned"], most=order["most"])
    except BadRequest as problem:
        return REFUSAL if isinstance(problem, Refused) else WRONG, str(problem).encode()
    except MirrorError as problem:
        return REFUSAL, str(problem).encode()
    except MemoryError:
        return REFUSAL, b"that image is too large for a quick look"


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
    if _is_one(kind, body):
        return kind, body
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return DEATH, f"a quick look of it took more than {SECONDS} s of the processor".encode()
    how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"code {os.waitstatus_to_exitcode(status)}"
    return DEATH, f"its data were the end of the process that read them ({how})".encode()


def _is_one(kind: bytes, body: bytes | memoryview) -> bool:
    """Whether this is one of the answers that there are."""
    begins = {PICTURE: _PNG, FILE: _FITS}.get(kind)
    return bytes(body[: len(begins)]) == begins if begins else kind in (REFUSAL, WRONG) and bool(body)


# ---- cutouts -----------------------------------------------------------------------------------------------------

#: Cutouts after which the process that makes them is replaced, and bytes by which it may have grown.
REUSED, GROWN = 200, 256 << 20
_LENGTH = struct.Struct(">I")
#: Bytes of memory for answers that stay in use: the next cutout needs them again.
_KEPT = 8 << 20


@dataclass(frozen=True, slots=True)
class _Child:
    """A process that makes cutouts, the way to it, and the bytes of addresses that it had when it began.

    It leaves what it makes in ``area``, memory that both have: a megabyte would go through the socket in many pieces.
    """

    process: int
    socket: socket.socket
    area: mmap.mmap
    size: int

    @classmethod
    def begin(cls) -> _Child:
        area = mmap.mmap(-1, MOST_BYTES)
        ours, theirs = socket.socketpair()
        process = os.fork()
        if not process:
            try:
                ours.close()
                _serve(theirs, area)
            finally:
                os._exit(0)
        theirs.close()
        return cls(process, ours, area, _address_space(process))

    def end(self) -> int:
        """End it; how it ended. Its last answer is still there."""
        self.socket.close()
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        return os.waitpid(self.process, 0)[1]

    def has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def ask(self, file: BinaryIO, line: bytes) -> tuple[bytes, memoryview] | None:
        """The kind and bytes of an answer, no kind if it ends before; None if it takes too long, or is too much.

        The bytes change with the next answer.
        """
        until = time.monotonic() + LONGEST
        try:
            self.socket.settimeout(LONGEST)
            socket.send_fds(self.socket, [_LENGTH.pack(len(line))], [file.fileno()])
            self.socket.sendall(line)
            head = self._receive(HEAD.size, until)
        except TimeoutError:
            return None
        except ConnectionError:
            head = bytearray()
        kind, length = HEAD.unpack(head) if len(head) == HEAD.size else (b"", 0)
        return None if length > MOST_BYTES else (kind, memoryview(self.area)[:length])

    def tidy(self, length: int) -> None:
        """Give the memory of a large answer back, once it has been read."""
        if length > _KEPT and hasattr(mmap, "MADV_REMOVE"):
            self.area.madvise(mmap.MADV_REMOVE, 0, length)

    def _receive(self, count: int, until: float) -> bytearray:
        """So many bytes, or those before the end."""
        data, have = bytearray(count), 0
        while have < count:
            self.socket.settimeout(max(1e-3, until - time.monotonic()))
            more = self.socket.recv_into(memoryview(data)[have:])
            if not more:
                return data[:have]
            have += more
        return data


class Cutter:
    """One process that makes one cutout after the other, forked when the first is asked for and whenever it is needed again."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._cut = self._length = 0

    @property
    def process(self) -> int | None:
        """Its number, None while there is none."""
        return None if self._child is None else self._child.process

    def cut(self, file: BinaryIO, line: bytes) -> tuple[bytes, bytes | memoryview]:
        """What the order in ``line`` for an open file gives: its kind, and the bytes, which change with the next one."""
        if self._child is not None:
            self._child.tidy(self._length)
            if self._cut >= REUSED or self._child.has_ended():
                self.end()
        if self._child is None:
            self._child, self._cut = _Child.begin(), 0
        child, self._cut = self._child, self._cut + 1
        answer = child.ask(file, line)
        if answer is not None and answer[0] in (FILE, WRONG) and _is_one(*answer):
            self._length = len(answer[1])
            if _address_space(child.process) > child.size + GROWN:
                self.end()
            return answer
        return _judged(None if answer is None else b"".join(answer), self.end())

    def end(self) -> int:
        """End the process; how it ended, 0 if there is none."""
        child, self._child = self._child, None
        return 0 if child is None else child.end()


def _serve(orders: socket.socket, area: mmap.mmap) -> None:
    """In the child: give everything up, and make cutouts until nobody is there any more."""
    give_up_everything()
    with orders, orders.makefile("rb") as more:
        while True:
            head, files, _, _ = socket.recv_fds(orders, _LENGTH.size, 1)
            if not head:
                return
            _allow(SECONDS)
            order = json.loads(more.read(_LENGTH.unpack(head)[0]))
            with os.fdopen(files[0], "rb") as file:
                kind, body = _outcome(file, order)
            length = len(body)
            if length <= MOST_BYTES:
                area[:length] = body
            orders.sendall(HEAD.pack(kind, length))


def _load() -> None:
    """Load all modules that a picture needs, by making some: the processes that draw cannot open files."""
    from astropy.io import fits  # noqa: PLC0415  (the daemon reads this module, and needs none of them)
    from astropy.wcs import WCS  # noqa: PLC0415

    try:
        import PIL.Image  # noqa: F401, PLC0415
    except ImportError:  # cutouts do not need it; each order of a picture says so, without looking for it again
        sys.modules["PIL"] = None  # type: ignore[assignment]
    values = np.arange(64, dtype=np.int16).reshape(8, 8)
    hdus = [fits.CompImageHDU(values, compression_type=kind, tile_shape=(1, 8)) for kind in ("RICE_1", "GZIP_1", "GZIP_2")]
    for hdu in (fits.ImageHDU(values), fits.CompImageHDU(values.astype(np.float32)), *hdus):
        whole = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole)
        with fits.open(io.BytesIO(whole.getvalue()), memmap=False) as read:
            pixels = np.asarray(read[1].section[0:8, 0:8], dtype=np.float32)
            with suppress(Refused):  # there is no Pillow
                assert draw(pixels, Look("grey"), turned=False).startswith(_PNG)
    WCS({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec"}).all_world2pix([[0.0, 0.0]], 0)


def main() -> None:
    """Make pictures until stdin ends."""
    os.nice(NICE)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _load()
    with suppress(OSError):  # more than a user may have
        fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, _PIPE)
    out, cutter = sys.stdout.buffer, Cutter()
    for line in sys.stdin.buffer:
        kind, body = made(line, cutter)
        out.write(HEAD.pack(kind, len(body)))
        out.write(body)
        out.flush()


if __name__ == "__main__":
    main()
