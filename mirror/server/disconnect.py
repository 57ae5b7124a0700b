"""Clients that hang up: what they asked for, and nobody else waits for, ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

#: Seconds between two looks.
LOOK = 0.2


class HungUp(ConnectionResetError):
    """The client is gone: nobody reads what would be answered."""


@asynccontextmanager
async def while_connected(request: web.Request, *, look: float = LOOK) -> AsyncIterator[None]:
    """Do what is inside for as long as the client is there; HungUp once it is not.

    Who writes notices that anyway; this is for the time before there is anything to write.
    """
    try:
        async with asyncio.timeout(None) as scope:
            watch = asyncio.create_task(_watch(request, scope, look))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError:
        if scope.expired():
            raise HungUp("the client hung up") from None
        raise


async def _watch(request: web.Request, scope: asyncio.Timeout, look: float) -> None:
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110  (it tells nobody)
        await asyncio.sleep(look)
    scope.reschedule(asyncio.get_running_loop().time())
