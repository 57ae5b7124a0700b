"""Whether the mirror is alive, ready, and has JSOC behind it: three questions that are not one.

A mirror whose JSOC is down is healthy: it answers what it holds. So only ``/healthz/upstream`` fails then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Seconds in which the index must answer.
PATIENCE = 5.0


class Health:
    """The handlers below /healthz. ``look`` reads from the index; ``upstream`` says how JSOC is."""

    def __init__(
        self, look: Callable[[], Awaitable[object]], upstream: Callable[[], str], patience: float = PATIENCE
    ) -> None:
        self._look = look
        self._upstream = upstream
        self._patience = patience
        self._stopping = False

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/healthz", self.ready)
        router.add_get("/healthz/live", self.live)
        router.add_get("/healthz/ready", self.ready)
        router.add_get("/healthz/upstream", self.upstream)

    def stops(self) -> None:
        """From now on the mirror is being stopped: whoever asks shall send people elsewhere."""
        self._stopping = True

    async def healthy(self) -> bool:
        """True if requests can be answered: the index reads, and nothing is being stopped."""
        return not self._stopping and await self._index() == "ok"

    async def live(self, _: web.Request) -> web.Response:
        """200 as long as the process answers at all."""
        return web.json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 if requests can be answered, else 503."""
        index = "stopping" if self._stopping else await self._index()
        told = {"status": "ok" if index == "ok" else "failing", "index": index, "upstream": self._upstream()}
        return web.json_response(told, status=200 if index == "ok" else 503)

    async def upstream(self, _: web.Request) -> web.Response:
        """200 if JSOC answered of late, or is not to be asked; else 503."""
        state = self._upstream()
        return web.json_response({"upstream": state}, status=200 if state in ("ok", "offline") else 503)

    async def _index(self) -> str:
        """The word "ok", or why the index cannot be read."""
        try:
            async with asyncio.timeout(self._patience):
                await self._look()
        except TimeoutError:
            return f"no answer in {self._patience:g} s"
        except Exception as problem:  # noqa: BLE001  (whatever it is, somebody must hear of it)
            return str(problem) or type(problem).__name__
        return "ok"
