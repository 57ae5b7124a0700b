"""Pictures made ahead: of files that came for a subscription which says ``pictures = true``.

One at a time, the newest file first, by a process that stands behind everybody else; while people are being served, one in
twenty seconds. What waits is bounded, and forgotten at the end
of the mirror; whatever was not made ahead is made when it is asked for. Pictures that were made leave like all others.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mirror.concurrency import Bounded
from mirror.drms.export import ExportRequest
from mirror.errors import MirrorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.quicklook.quicklook import QuickLooks

log = logging.getLogger(__name__)

#: Files that may wait, those that came first are forgotten; and the sizes that pages show.
MOST, SHOWN = 2000, (512, 256)
#: Seconds until it is looked again whether somebody is being served, and how often at most: a page that is open is served
#: all the time.
PAUSE, PAUSES = 1.0, 20


class PicturesAhead:
    """Makes them in the background; ``is_busy`` says whether people are being served, ``sleep`` waits for seconds."""

    def __init__(
        self, quicklooks: QuickLooks, is_busy: Callable[[], bool], sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._quicklooks = quicklooks
        self._is_busy = is_busy
        self._sleep = sleep
        self._waiting: Bounded[str, None] = Bounded(MOST)
        self._task: asyncio.Task[None] | None = None
        self._problem = ""

    def add(self, file: RequestedFile) -> None:
        """A file has come that pictures are wanted of."""
        self._waiting[f"{file.record}{{{file.segment}}}"] = None
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._work())

    async def finished(self) -> None:
        """Return when nothing waits any more."""
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        """End all work."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            for _ in range(PAUSES):
                if not self._is_busy():
                    break
                await self._sleep(PAUSE)
            address, _ = self._waiting.popitem()
            try:
                for size in SHOWN:
                    found = await self._quicklooks.find(ExportRequest(address), 1, most=size)
                    await self._quicklooks.png(found)
            except MirrorError as problem:
                self._say(address, str(problem))
            except Exception:
                log.exception("picture failed record=%s", address)

    def _say(self, address: str, problem: str) -> None:
        """Once, however many files have it."""
        if problem != self._problem:
            log.info("no picture made ahead record=%s error=%s", address, problem)
        self._problem = problem
