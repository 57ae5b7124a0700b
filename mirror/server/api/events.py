"""Live news for pages: one small loop that tells all who listen how the mirror is, at most once a second.

The loop runs while somebody listens. Whoever reads slowly misses states, and gets the latest.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.errors import MirrorError, TooMany

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

#: Who may listen at a time: each is an open connection.
MOST = 100
#: Seconds between two looks, and after which a silent connection is told that all is well.
PERIOD, HEARTBEAT = 1.0, 15.0
#: Members of the state that change by themselves and are no news.
_NO_NEWS = ("uptime_seconds",)


class Events:
    """The handler of /api/events. ``state`` gives what is told; ``sleep`` is the pause between two looks."""

    def __init__(
        self,
        state: Callable[[], Awaitable[dict[str, Any]]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most: int = MOST,
    ) -> None:
        self._state = state
        self._sleep = sleep
        self._most = most
        self._listeners: set[asyncio.Event] = set()
        self._latest = (0, "")
        self._loop: asyncio.Task[None] | None = None
        self._stopping = False

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the events."""
        router.add_get("/api/events", self.events)

    def stop(self) -> None:
        """Let everybody who listens go: the mirror is being stopped."""
        self._stopping = True
        self._wake()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """``text/event-stream`` of events ``status``, whose data is the state as JSON."""
        if len(self._listeners) >= self._most:
            raise TooMany(f"{self._most} pages listen already; expected fewer, try again later")
        woken = asyncio.Event()
        self._listeners.add(woken)
        try:
            return await self._tell(request, woken)
        finally:
            self._listeners.discard(woken)

    async def _tell(self, request: web.Request, woken: asyncio.Event) -> web.StreamResponse:
        headers = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        told = self._run()
        with suppress(ConnectionError):  # the page was closed
            while not self._stopping:
                number, text = self._latest
                if number > told:
                    told = number
                    await response.write(f"event: status\ndata: {text}\n\n".encode())
                elif not await _within(woken, HEARTBEAT):
                    await response.write(b": all is well\n\n")
                woken.clear()
        return response

    def _run(self) -> int:
        """Begin to look; the number of the state that need not be told: an old one, if nobody looked of late."""
        if self._loop is not None and not self._loop.done():
            return 0
        self._loop = asyncio.ensure_future(self._look())
        return self._latest[0]

    async def _look(self) -> None:
        """Look for news as long as anybody listens."""
        before: dict[str, Any] | None = None
        while self._listeners and not self._stopping:
            try:
                state = await self._state()
            except MirrorError as problem:
                log.warning("state cannot be told problem=%s", problem)
            else:
                news = {name: value for name, value in state.items() if name not in _NO_NEWS}
                if news != before:
                    before = news
                    self._latest = (self._latest[0] + 1, json.dumps(state))
                    self._wake()
            await self._sleep(PERIOD)

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.set()


async def _within(woken: asyncio.Event, seconds: float) -> bool:
    """True if it happens in time."""
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return False
    return True
