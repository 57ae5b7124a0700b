"""What systemd is told of the daemon: that it is ready, alive, or stopping (sd_notify(3)).

Elsewhere, without NOTIFY_SOCKET in the environment, nothing is told to nobody.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager; ``environ`` says where it listens, and how often it wants to hear."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        #: Seconds between two signs of life, None if nobody waits for any: half of what systemd allows.
        self.every = _half(environ.get("WATCHDOG_USEC", ""))

    def tell(self, *states: str) -> None:
        """Send states such as ``READY=1``; that nobody listens is logged, and no reason to stop."""
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
        """Give signs of life for as long as ``healthy`` says so each time; without end."""
        while self.every is not None:
            if await healthy():
                self.tell("WATCHDOG=1")
            await sleep(self.every)


def _half(microseconds: str) -> float | None:
    return int(microseconds) / 2e6 if microseconds.isdigit() and int(microseconds) else None
