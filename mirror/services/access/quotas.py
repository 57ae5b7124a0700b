"""What a token may take: bytes in a day, requests in a period. Whoever takes more is asked to come again later.

1. A request is refused before anything works on it, or answered whole: what was begun below a quota is not cut off.
2. Bytes are those that were sent, or those that JSOC had to send for it, whichever are more; usage has them, so that they
   count over a restart. The day is that of UTC, as in ``mirror usage``.
3. A rate is a bucket: it holds the requests of a period, and fills evenly. So a burst of all of them is fine.
4. A user is a token: its sessions of the page and its scripts take of the same. Each mirror of a cluster counts for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import TooMany
from mirror.humanize import in_words, stamp
from mirror.services.access.usage import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.config.access import Rate
    from mirror.config.loading import Token
    from mirror.services.access.usage import Accounting


class Quotas:
    """Counts; ``now`` gives Unix seconds."""

    def __init__(self, accounting: Accounting, now: Callable[[], float]) -> None:
        self._accounting = accounting
        self._now = now
        self._left: dict[str, tuple[Rate, float, float]] = {}  #: requests that are left, and as of when

    def check(self, token: Token) -> None:
        """Count a request of a token; TooMany if it may not be answered now."""
        if token.bytes_per_day is not None:
            self._check_bytes(token.name, token.bytes_per_day)
        if token.requests is not None:
            self._check_rate(token.name, token.requests)

    def _check_bytes(self, name: str, most: int) -> None:
        used = self._accounting.today(f"token:{name}")
        if max(used.bytes, used.upstream_bytes) < most:
            return
        now = self._now()
        again = (now // DAY + 1) * DAY
        raise TooMany(
            f"the quota of token {name} is used up: {in_words(most)} per day; more from {stamp(again)} on", again - now
        )

    def _check_rate(self, name: str, rate: Rate) -> None:
        now, each = self._now(), rate.seconds / rate.requests
        known, left, at = self._left.get(name, (rate, float(rate.requests), now))
        if known != rate:  # it was edited
            left, at = float(rate.requests), now
        left = min(float(rate.requests), left + max(0.0, now - at) / each)
        if left < 1.0:
            self._left[name] = rate, left, now
            wait = (1.0 - left) * each
            raise TooMany(f"token {name} may send {rate} requests; try again in {max(1, round(wait))} s", wait)
        self._left[name] = rate, left - 1.0, now
