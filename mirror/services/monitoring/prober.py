"""Asking whether JSOC is back, so that no person has to be the first to find out.

The circuit breaker lets one request through after each pause. Without a probe that would be somebody's
search, which waits for a server that may never answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import MirrorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.readthrough.policy import Rules
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
    """Probes upstream while it does not answer; ``sleep`` waits for seconds.

    ``back`` is called once it can be asked after a time in which it could not: it was away, or the mirror offline.
    """

    def __init__(
        self,
        upstream: UpstreamClient,
        rules: Rules,
        sleep: Callable[[float], Awaitable[object]],
        back: Callable[[], None],
    ) -> None:
        self._upstream = upstream
        self._rules = rules
        self._sleep = sleep
        self._back = back

    async def run(self) -> None:
        """Look after upstream for ever."""
        away = False
        while True:
            await self._sleep(LOOK)
            down = self._upstream.pace().failures > 0
            here = await self.look() and self._rules.may_ask
            if here and (away or down):
                self._back()
            away = not here

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
