"""Frames between the daemon and a worker: pieces of an answer, each preceded by its kind and length.

An answer is HEADER, any number of DATA, then END; or FAILURE in place of what is left. Before it there may be any
number of MISSING, each of which is answered before anything else is sent.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import struct
from contextlib import suppress
from enum import IntEnum
from io import FileIO
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = struct.Struct("<BI")
#: The size of a pipe in bytes, and of a read from it: the most that Linux allows any user.
PIPE = 1 << 20


class Kind(IntEnum):
    """What a frame contains; all but DATA is JSON."""

    READY = 0  #: the worker can be asked: {"confinement"}
    HEADER = 1  #: {"columns": [{"name", "type"}]}
    DATA = 2  #: bytes of the answer in its form
    END = 3  #: {"rows", "bytes", "seconds", "last"}
    FAILURE = 4  #: {"kind", "message", "position", "last"}
    MISSING = 5  #: what a statement needs: a ``Missing``


class Frame(NamedTuple):
    """A piece of an answer."""

    kind: Kind
    payload: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The JSON of a frame that has some."""
        document: dict[str, Any] = json.loads(self.payload)
        return document


def write_frame(out: BinaryIO, kind: Kind, payload: bytes | memoryview) -> None:
    """Write one frame."""
    out.write(_HEAD.pack(kind, len(payload)))
    out.write(payload)


def write_json(out: BinaryIO, kind: Kind, payload: Mapping[str, object]) -> None:
    """Write a frame of JSON at once."""
    write_frame(out, kind, json.dumps(payload).encode())
    out.flush()


class Pipe:
    """The daemon's end of a worker's output: nothing is read before it is needed, or copied afterwards."""

    def __init__(self) -> None:
        reading_end, self.writing_end = os.pipe()
        os.set_blocking(reading_end, False)
        self._file = FileIO(reading_end)
        with suppress(PermissionError):  # this user has too many large pipes already; small ones are only slower
            fcntl.fcntl(reading_end, fcntl.F_SETPIPE_SZ, PIPE)

    def given_away(self) -> None:
        """Close the writing end, which the worker now has, so that its death ends the pipe."""
        os.close(self.writing_end)

    def close(self) -> None:
        """Stop reading."""
        self._file.close()

    async def head(self) -> tuple[Kind, int]:
        """Kind and length of the next frame; EOFError if the worker ended."""
        kind, size = _HEAD.unpack(await self.whole(_HEAD.size))
        return Kind(kind), size

    async def frame(self) -> Frame:
        """The whole next frame."""
        kind, size = await self.head()
        return Frame(kind, await self.whole(size))

    async def whole(self, size: int) -> bytes:
        """Exactly so many bytes; EOFError if there are fewer."""
        pieces = []
        while size:
            pieces.append(await self.some(size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    async def some(self, size: int) -> bytes:
        """The bytes that are available, at most ``size``; EOFError at the end."""
        await asyncio.sleep(0)  # so that a quick worker and a quick reader let other tasks run
        while (piece := self._file.read(min(size, PIPE))) is None:
            await self._readable()
        if not piece:
            raise EOFError
        return piece

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._file, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._file)
