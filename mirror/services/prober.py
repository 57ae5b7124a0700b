"""Asking whether JSOC is back, so that no person has to be the first to find out.

The circuit breaker lets one request through after each pause. Without a probe that would be somebody's
search, which waits for a server that may never answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.drms.errors import MirrorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.engine.policy import Rules
    from mirror.upstream.client import UpstreamClient
    from mirror.upstream.pacing import Pace

#: Seconds between two looks at how JSOC is doing; a probe never follows another sooner.
LOOK = 5.0
#: Asked for its structure: a light question, and whatever JSOC says to it, it is there.
SERIES = "hmi.v_45s"


def pause(pace: Pace, *, may_ask: bool) -> float | None:
    """Seconds until it is to be asked: None if there is no need, as JSOC answered last or is not to be asked."""
    return pace.open_for if may_ask and pace.failures else None


class Prober:
    """Probes upstream while it does not answer; ``sleep`` waits for seconds."""

    def __init__(
        self, upstream: UpstreamClient, rules: Rules, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._upstream = upstream
        self._rules = rules
        self._sleep = sleep

    async def run(self) -> None:
        """Look after upstream for ever."""
        while True:
            await self._sleep(LOOK)
            await self.look()

    async def look(self) -> bool:
        """Ask once if it is time, after the rest of the pause; True if upstream answers, or was not asked."""
        rest = pause(self._upstream.pace(), may_ask=self._rules.may_ask)
        if rest is None:
            return True
        if rest:
            await self._sleep(rest)
        try:
            await self._upstream.series_struct(SERIES)
        except MirrorError:  # the circuit has noted it, and status tells
            return not self._upstream.pace().failures
        return True
