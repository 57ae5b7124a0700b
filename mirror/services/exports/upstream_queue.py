"""Export requests upstream: asked in turn, one pending for each address, and polled as JSOC says."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mirror.drms.export import Failed, Finished, Immediate, Pending, StatusRequest
from mirror.errors import UpstreamRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mirror.drms.export import ExportRequest
    from mirror.upstream.client import UpstreamClient

log = logging.getLogger(__name__)

#: Seconds between two looks at a request, at least and at most, whatever JSOC says.
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 60.0
#: Seconds after which a request that is still pending counts as failed.
PATIENCE = 24 * 3600.0
#: Status 6, "no such request", is what JSOC says for a moment before it knows a request.
NOT_YET_KNOWN, TRIES = 6, 5
#: Requests that JSOC lets one host have pending, whatever their addresses.
MOST_PENDING = 10
#: The status of a request that is being worked on; one that stays so has no end.
RUNNING = 1


class UpstreamExports:
    """Asks upstream for exports. ``address`` is for requests that have none; ``sleep`` waits for seconds."""

    def __init__(
        self,
        upstream: UpstreamClient,
        address: str | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.address = address
        self._upstream = upstream
        self._sleep = sleep
        self._all = asyncio.Semaphore(MOST_PENDING)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def busy(self, address: str | None) -> bool:
        """True if a request of that address would have to wait for its turn."""
        return self._all.locked() or self._turn(address).locked()

    @asynccontextmanager
    async def turn(self, address: str | None) -> AsyncIterator[None]:
        """While this is open, no other request of the address is pending."""
        async with self._turn(address), self._all:
            yield

    async def made(
        self, request: ExportRequest, known: str | None, accepted: Callable[[str], Awaitable[None]]
    ) -> Finished:
        """What upstream makes of a request; hold the ``turn`` of its address.

        ``known`` is the id under which it was accepted before, and is asked for anew only if upstream has
        forgotten it; a new id is told to ``accepted``. Raises UpstreamRefused, and what keeps upstream from
        answering: it works on the request all the same.
        """
        if known is not None:
            try:
                return await self._finished(known)
            except UpstreamRefused as problem:
                if problem.status == RUNNING:
                    raise
                log.warning("asked anew request=%s error=%s", known, problem)
        answer = await self._upstream.export(request)
        if isinstance(answer, Failed):
            raise UpstreamRefused(answer.status, answer.error)
        if isinstance(answer, Immediate):
            told = answer.method, answer.protocol, len(answer.files), answer.size
            return Finished("", *told, "", answer.files)
        await accepted(answer.request_id)
        return await self._finished(answer.request_id)

    def _turn(self, address: str | None) -> asyncio.Lock:
        return self._turns[(address or self.address or "").strip().lower()]

    async def _finished(self, request_id: str) -> Finished:
        """The index of a request, once upstream is done with it; UpstreamRefused if it fails, or has no end."""
        waited = 0.0
        unknown = 0
        while waited < PATIENCE:
            answer = await self._upstream.export(StatusRequest(request_id))
            if isinstance(answer, Finished):
                return answer
            wait = SHORTEST_WAIT
            if isinstance(answer, Pending):
                wait = min(max(float(answer.wait), SHORTEST_WAIT), LONGEST_WAIT)
            elif isinstance(answer, Failed):
                unknown += 1
                if answer.status != NOT_YET_KNOWN or unknown > TRIES:
                    raise UpstreamRefused(answer.status, answer.error)
            waited += wait
            await self._sleep(wait)
        raise UpstreamRefused(RUNNING, f"request {request_id} was not done after {PATIENCE / 3600:.0f} hours")
