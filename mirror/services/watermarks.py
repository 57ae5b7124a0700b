"""Watermarks: room is made before it is needed, so that downloads seldom wait for an eviction. Pure but for ``keep``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.storage.blobs import Blobs, Usage
    from mirror.storage.room import Eviction

#: What is freed on a disk that is too full, beyond what is asked for: else each new file would evict again.
_AHEAD = 1.1


@dataclass(frozen=True, slots=True)
class Marks:
    """Above ``high`` of the quota, evict down to ``low`` of it; ``keep_free`` bytes of the disk stay free."""

    high: float
    low: float
    keep_free: int | None


def excess(usage: Usage, free: int, marks: Marks) -> int:
    """Bytes that should go now; 0 while all is below its mark."""
    return max(_over_quota(usage, marks), _under_disk(free, marks))


def _over_quota(usage: Usage, marks: Marks) -> int:
    used = usage.held + usage.parked + usage.reserved
    if usage.limit is None or used <= marks.high * usage.limit:
        return 0
    return max(0, used - int(marks.low * usage.limit))


def _under_disk(free: int, marks: Marks) -> int:
    if marks.keep_free is None or free >= marks.keep_free:
        return 0
    return int(marks.keep_free * _AHEAD) - free


async def keep(blobs: Blobs, marks: Marks) -> Eviction | None:
    """Evict what is above the marks; None if nothing is."""
    need = excess(blobs.usage(), await blobs.check.free(), marks)
    return await blobs.evict(min(need, blobs.usage().held)) if need and blobs.usage().held else None
