"""Where quick looks and cutouts are made: a process, started when the first is asked for, ended when idle.

It forks those that read files (``worker``), so that files that kill who reads them cost nobody else's picture, and no new
start.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from mirror.errors import BadRequest, MirrorError, OutOfTime, Refused, StorageError
from mirror.services.quicklook.worker import DEATH, FILE, HEAD, PICTURE, UNREAD, WRONG

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

    from mirror.services.quicklook.colours import Look
    from mirror.services.quicklook.cutout import Window

#: Seconds that a picture may take, and seconds without an order after which the process ends.
LONGEST, IDLE = 60.0, 600.0
#: What is raised for its words; Refused for the others, which are true of the file whenever it is read.
_ERRORS: dict[bytes, type[MirrorError]] = {WRONG: BadRequest, UNREAD: StorageError}
#: Bytes that are taken from it at a time: a cutout comes in one or two.
_PIECE = 1 << 20
#: Pictures after which the process is replaced, so that nothing can pile up in it.
WORN = 5000


class RenderProcess:
    """Makes pictures, or cutouts, one after the other; the daemon only passes bytes on."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._orders = 0
        self.deaths = 0  #: processes that a file was the end of
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    async def picture(self, path: Path, look: Look, *, turned: bool, most: int) -> bytes:
        """The PNG of a FITS file, no side with more than ``most`` pixels.

        Refused for what is no image, or ends the process that reads it; OutOfTime if it takes too long.
        """
        return await self._made(PICTURE, {"path": str(path), "look": asdict(look), "turned": turned, "most": most})

    async def cutout(self, path: Path, head: bytes, window: Window, history: str, at: float) -> bytes:
        """The FITS file of a window of a file's image: see ``mirror.services.quicklook.cutout``.

        Refused for what is no image, or ends the process that reads it; BadRequest for a window that does not fit.
        """
        order = {"path": str(path), "head": head.decode("latin-1"), "window": asdict(window), "history": history, "at": at}
        return await self._made(FILE, order)

    async def _made(self, wanted: bytes, order: dict[str, object]) -> bytes:
        """What an order gives, in its turn."""
        async with self._turn:
            self._stay()
            try:
                async with asyncio.timeout(LONGEST):
                    kind, body = await self._ask(json.dumps(order).encode() + b"\n")
            except TimeoutError:
                await self._end()
                raise OutOfTime(f"the picture took longer than {LONGEST:g} s") from None
            except (asyncio.IncompleteReadError, ConnectionError):
                await self._end()
                raise MirrorError("the picture process crashed; is memory low?") from None
            except asyncio.CancelledError:
                await self._end()  # its answer would be taken for the next one's
                raise
            self._rest()
        if kind == DEATH:
            self.deaths += 1
        if kind != wanted:
            raise _ERRORS.get(kind, Refused)(body.decode("utf-8", "replace"))
        return body

    async def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._stay()
        await self._end()
        if self._ending is not None:
            await self._ending

    async def _ask(self, order: bytes) -> tuple[bytes, bytes]:
        if self._process is None or self._orders >= WORN:
            await self._end()
            self._process = await self._start()
        process, self._orders = self._process, self._orders + 1
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order)
        kind, length = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
        return kind, await process.stdout.readexactly(length)

    async def _start(self) -> Process:
        self._orders = 0
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mirror.services.quicklook.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_PIECE,
            start_new_session=True,  # ctrl-C in the daemon's terminal is the daemon's business
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},  # it forks, and needs no threads
        )

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await _kill(process)

    def _rest(self) -> None:
        """End the process once nobody has asked for a while: it has a hundred megabytes, and needs a second to start."""
        self._idle = asyncio.get_running_loop().call_later(IDLE, self._close)

    def _close(self) -> None:
        process = self._process
        if process is not None and not self._turn.locked():
            self._process = None
            self._ending = asyncio.ensure_future(_kill(process))

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


async def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
