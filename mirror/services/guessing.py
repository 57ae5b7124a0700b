"""Patience with those who send tokens that are none: longer and longer pauses for an address."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING

from mirror.drms.errors import TooMany

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.access import Address

#: Wrong tokens in a row that cost nothing: people mistype.
FREE = 5
#: Seconds of the first pause, which doubles with each further one, and of the longest.
FIRST, LONGEST = 1.0, 300.0
#: Seconds after which an address begins anew.
FORGIVEN = 900.0
#: Addresses that are remembered.
MOST = 10_000

Source = IPv4Network | IPv6Network | None


@dataclass(frozen=True, slots=True)
class Failures:
    """How many there were in a row, and when the last was, in Unix seconds."""

    count: int = 0
    last: float = 0.0


def pause(failures: Failures, now: float) -> float:
    """Seconds until the next attempt is looked at; 0: now."""
    if failures.count < FREE or now - failures.last > FORGIVEN:
        return 0.0
    length = min(LONGEST, FIRST * 2.0 ** min(failures.count - FREE, 20))
    return max(0.0, failures.last + length - now)


def source_of(address: Address | None) -> Source:
    """What counts as one guesser: an IPv4 address, or the /64 of one host's IPv6 addresses."""
    if address is None:
        return None
    return ip_network((address, 64 if isinstance(address, IPv6Address) else 32), strict=False)


class Guessing:
    """The failures of addresses; ``now`` gives Unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures: dict[Source, Failures] = {}

    def admit(self, address: Address | None) -> None:
        """Pass if the address may try now; TooMany otherwise."""
        left = pause(self._failures.get(source_of(address), Failures()), self._now())
        if left:
            raise TooMany(f"too many wrong tokens came from this address; try again in {left:.0f} s")

    def failed(self, address: Address | None) -> None:
        """A wrong token came."""
        source, now = source_of(address), self._now()
        before = self._failures.pop(source, Failures())
        count = 0 if now - before.last > FORGIVEN else before.count
        while len(self._failures) >= MOST:
            self._failures.pop(next(iter(self._failures)))
        self._failures[source] = Failures(count + 1, now)

    def succeeded(self, address: Address | None) -> None:
        """A right one came."""
        self._failures.pop(source_of(address), None)
