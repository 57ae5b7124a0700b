"""What a token may take: bytes in a day, requests in a period. Whoever takes more is asked to come again later.

1. A request is refused before it is processed, or answered whole: what began below a quota is not cut off.
2. Bytes are those that were sent, or those that JSOC had to send for it, whichever are more. Usage keeps them, so they
   survive a restart. The day is that of UTC, as in ``mirror usage``.
3. A rate is a bucket: it holds the requests of a period, and fills evenly, so a burst of all of them is allowed.
4. A user is a token: its sessions of the page and its scripts share one quota.
5. A quota covers all mirrors of a cluster. Each reports what it has granted and reads what the others have, every
   second while it is asked (``Quotas.told``, ``heard``): no request waits for that. What they granted together beyond
   a rate is made up for by waiting; bytes may exceed the quota by what begins within some two seconds. While the
   cluster is away each counts alone.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from mirror.errors import TooMany
from mirror.humanize import day_of, in_words, stamp
from mirror.readthrough.shared import Taken
from mirror.services.access.usage import DAY, Used

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mirror.config.access import Rate
    from mirror.config.loading import Token
    from mirror.services.access.usage import Accounting


#: Seconds without a report of the others after which what each admitted meanwhile is not counted one by one.
GAP = 15.0


class Quotas:
    """Counts; ``now`` gives Unix seconds."""

    def __init__(self, accounting: Accounting, now: Callable[[], float]) -> None:
        self._accounting = accounting
        self._now = now
        self._left: dict[str, tuple[Rate, float, float]] = {}  #: requests that are left, and as of when
        self._given: Counter[str] = Counter()  #: requests that were admitted
        self._others: dict[tuple[str, str], Taken] = {}  #: by token and mirror
        self._used_elsewhere: dict[tuple[str, str], Used] = {}  #: by token and day
        self._heard = -math.inf  #: when the others were heard last
        self._names: set[str] = set()  #: those with quotas that were asked for here

    def check(self, token: Token) -> None:
        """Count a request of a token; TooMany if it may not be answered now."""
        if token.bytes_per_day is not None or token.requests is not None:
            self._names.add(token.name)
        if token.bytes_per_day is not None:
            self._check_bytes(token.name, token.bytes_per_day)
        if token.requests is not None:
            self._check_rate(token.name, token.requests)

    def _check_bytes(self, name: str, most: int) -> None:
        used, now = self._accounting.today(f"token:{name}"), self._now()
        others = self._used_elsewhere.get((name, day_of(now)), Used())
        if max(used.bytes + others.bytes, used.upstream_bytes + others.upstream_bytes) < most:
            return
        again = (now // DAY + 1) * DAY
        raise TooMany(
            f"the quota of token {name} is used up: {in_words(most)} per day; more from {stamp(again)} on", again - now
        )

    def _check_rate(self, name: str, rate: Rate) -> None:
        now, each = self._now(), rate.seconds / rate.requests
        known, left, at = self._left.get(name) or (rate, self._left_elsewhere(name, rate, now), now)
        if known != rate:  # it was edited
            left, at = float(rate.requests), now
        left = _filled(rate, left, now - at)
        if left < 1.0:
            self._left[name] = rate, left, now
            wait = (1.0 - left) * each
            raise TooMany(f"token {name} may send {rate} requests; try again in {max(1, round(wait))} s", wait)
        self._left[name] = rate, left - 1.0, now
        self._given[name] += 1

    def _left_elsewhere(self, name: str, rate: Rate, now: float) -> float:
        """The requests left to a token that has not asked here yet, as far as the others have reported."""
        others = (taken for (who, _), taken in self._others.items() if who == name)
        return min([float(rate.requests), *(_filled(rate, taken.remaining, now - taken.at) for taken in others)])

    # ---- the other mirrors -----------------------------------------------------------------------

    def told(self) -> dict[str, Taken]:
        """What tokens with quotas have taken here."""
        now, found = self._now(), {}
        for name in self._names:
            used, (_, left, at) = self._accounting.today(f"token:{name}"), self._left.get(name, (None, 0.0, 0.0))
            found[name] = Taken(day_of(now), used.bytes, used.upstream_bytes, self._given[name], left, at)
        return found

    def heard(self, others: Mapping[tuple[str, str], Taken]) -> None:
        """What they have taken at the other mirrors, by token and mirror."""
        before, self._others, now = self._others, dict(others), self._now()
        self._used_elsewhere = {}
        for (name, _), taken in others.items():
            key = name, taken.day
            more = Used(bytes=taken.bytes, upstream_bytes=taken.upstream_bytes)
            self._used_elsewhere[key] = self._used_elsewhere.get(key, Used()) + more
        follows = now - self._heard < GAP
        self._heard = now
        for name, (rate, left, at) in tuple(self._left.items()):
            here = _filled(rate, left, now - at)
            if follows:
                given = sum(_more(taken, before.get(key)) for key, taken in others.items() if key[0] == name)
                self._left[name] = rate, here - given, now
            else:  # when these were admitted is not known any more
                self._left[name] = rate, min(here, self._left_elsewhere(name, rate, now)), now


def _filled(rate: Rate, left: float, seconds: float) -> float:
    """The requests that are left after so many seconds more."""
    return min(float(rate.requests), left + max(0.0, seconds) * rate.requests / rate.seconds)


def _more(taken: Taken, before: Taken | None) -> int:
    """The requests that a mirror has admitted since its last report; it may have restarted."""
    known = 0 if before is None else before.requests
    return taken.requests - (known if known <= taken.requests else 0)
