"""The process that makes quick looks: ``python -m mirror.services.pictureworker``.

It reads orders from stdin, a JSON line each, and writes pictures to stdout: ``P`` or, with words instead, ``R``
for what was refused; the length, and the bytes. So neither a large image nor a broken file can hold up those
who search; whoever started it kills it when it takes too long.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from pathlib import Path

from mirror.drms.errors import MirrorError
from mirror.services.colours import Look
from mirror.services.picture import quick_look

#: A picture, or a refusal, follows with so many bytes.
HEAD = struct.Struct(">cI")
PICTURE, REFUSAL = b"P", b"R"
#: Bytes of memory: images are read in strips, so a few hundred megabytes do.
MEMORY = 4 << 30
#: How far behind everybody else pictures stand for the processor.
NICE = 10


def made(line: bytes) -> tuple[bytes, bytes]:
    """What an order gives: its kind, and the bytes."""
    order = json.loads(line)
    look = Look(**order["look"])
    try:
        png = quick_look(Path(order["path"]), look, turned=order["turned"], most=order["most"])
    except MirrorError as problem:
        return REFUSAL, str(problem).encode()
    except MemoryError:
        return REFUSAL, b"that image is too large for a quick look"
    return PICTURE, png


def main() -> None:
    """Make pictures until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        kind, body = made(line)
        out.write(HEAD.pack(kind, len(body)) + body)
        out.flush()


if __name__ == "__main__":
    main()
