"""Tells systemd about the daemon: that it is ready, alive, or stopping (sd_notify(3)).

Without NOTIFY_SOCKET in the environment, nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)


class Notifier:
    """Notifies the service manager; ``environ`` says where it listens, and how often it expects a sign of life."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        #: Seconds between two signs of life: half of what systemd allows. None if it expects none.
        self.every = _half(environ.get("WATCHDOG_USEC", ""))

    def tell(self, *states: str) -> None:
        """Send states such as ``READY=1``; if nobody listens, that is logged, but no reason to stop."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.connect(self._address.replace("@", "\0", 1))
                out.sendall("\n".join(states).encode())
        except OSError as problem:
            log.warning("the service manager was not told states=%s error=%s", ",".join(states), problem)

    async def keep_alive(
        self,
        healthy: Callable[[], Awaitable[bool]],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Send signs of life for ever, each time only if ``healthy`` says so."""
        while self.every is not None:
            if await healthy():
                self.tell("WATCHDOG=1")
            await sleep(self.every)


def _half(microseconds: str) -> float | None:
    return int(microseconds) / 2e6 if microseconds.isdigit() and int(microseconds) else None
