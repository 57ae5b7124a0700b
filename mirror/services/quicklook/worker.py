"""The process that makes quick looks: ``python -m mirror.services.quicklook.worker``.

It reads orders from stdin, a JSON line each, and writes pictures to stdout: ``P``, or words instead: ``R`` for what was
refused, ``D`` where the file was the end of who read it; the length, and the bytes. It reads no file itself: each
picture is drawn by a process that is forked for it, after all modules are loaded, and gives up everything before it
looks at the first byte (``pictureconfinement``). So a file that kills, or takes over, who reads it costs its own picture.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mirror.errors import MirrorError
from mirror.services.quicklook.colours import Look
from mirror.services.quicklook.confinement import SECONDS, give_up_everything
from mirror.services.quicklook.render import draw, quick_look

#: A picture, or words, follow with so many bytes.
HEAD = struct.Struct(">cI")
PICTURE, REFUSAL, DEATH = b"P", b"R", b"D"
#: Seconds of the clock that a picture may take.
LONGEST = 50.0
#: Bytes of a picture, at most; and what one begins with.
MOST_BYTES, _PNG = 32 << 20, b"\x89PNG\r\n\x1a\n"
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
        kind, body = PICTURE, quick_look(file, Look(**order["look"]), turned=order["turned"], most=order["most"])
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
    if (kind == PICTURE and body.startswith(_PNG)) or (kind == REFUSAL and body):
        return kind, body
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return DEATH, f"a quick look of it took more than {SECONDS} s of the processor".encode()
    how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"code {os.waitstatus_to_exitcode(status)}"
    return DEATH, f"its data were the end of the process that read them ({how})".encode()


def _load() -> None:
    """Load all modules that a picture needs, by making some: the processes that draw cannot open files."""
    try:
        from astropy.io import fits  # noqa: PLC0415  (a mirror may lack it)
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
