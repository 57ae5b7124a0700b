"""What a request demands of freshness: the header Cache-Control, read once, and what answers say of age.

``no-cache``: check with JSOC what this request reads. ``only-if-cached``: do not ask JSOC, and answer 504 if
something is missing. Heeded are these two words only: ``max-age=0``, which browsers send when a page is
loaded again, and ``Pragma``, which old programs send unasked, are no demands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "X-Mirror"


def demand_of(headers: Mapping[str, str]) -> CacheDemand:
    """The demand of a request with these headers (names in any case)."""
    words = {word.strip().lower() for word in headers.get("Cache-Control", "").split(",")}
    if "only-if-cached" in words:
        return CacheDemand.ONLY_IF_CACHED
    return CacheDemand.REVALIDATE if "no-cache" in words else CacheDemand.DEFAULT


def cache_headers(origin: CacheStatus, checked_at: float | None, now: float) -> dict[str, str]:
    """The headers that say how an answer came about, and how old it is if it should have been checked."""
    headers = {HEADER: origin.name.lower()}
    if origin is CacheStatus.STALE:
        headers["Warning"] = '110 jsoc-mirror "Response is Stale"'
        if checked_at is not None:
            headers["Age"] = str(max(0, round(now - checked_at)))
    return headers
