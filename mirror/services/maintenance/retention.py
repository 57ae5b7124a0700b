"""What stays in the store and what goes: pins, and eviction. Everything given is plain JSON."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mirror.errors import BadRequest
from mirror.humanize import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.drms.export import ExportRequest
    from mirror.services.exports.file_list import FileLists
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holdings
    from mirror.storage.files.pins import Pin, Pins

#: Blobs whose files are named in an answer; of the rest only the sums are told.
MOST_NAMED = 1000
#: Whose pins people may set and take away; a job's are its own.
PERSON = "person:"


class Store:
    """Pins and eviction for people; ``now`` gives Unix seconds."""

    def __init__(
        self,
        lists: FileLists,
        holdings: Holdings,
        adopted: Adopted,
        pins: Pins,
        blobs: Blobs,
        now: Callable[[], float],
    ) -> None:
        self._lists = lists
        self._holdings = holdings
        self._adopted = adopted
        self._pins = pins
        self._blobs = blobs
        self._now = now

    async def pins(self) -> list[dict[str, Any]]:
        """The pins that hold now, those of one owner for one reason together."""
        groups: defaultdict[tuple[str, str], list[Pin]] = defaultdict(list)
        for pin in await self._pins.pins():
            groups[pin.owner, pin.reason].append(pin)
        return [_group(owner, reason, group) for (owner, reason), group in groups.items()]

    async def pin(
        self, request: ExportRequest, person: str, reason: str, seconds: float | None
    ) -> dict[str, Any]:
        """Hold back from eviction what is held of a request, for good or for so many seconds."""
        blobs, absent = await self._lists.held(request)
        until = None if seconds is None else self._now() + seconds
        await self._pins.pin([b.sha256 for b in blobs], _owner(person), reason, until=until)
        held = {b.sha256: b.size for b in blobs}
        return {"pinned": len(blobs), "bytes": sum(held.values()), "not_held": absent}

    async def unpin(self, request: ExportRequest, person: str) -> dict[str, Any]:
        """Take a person's pins away from what is held of a request."""
        blobs, _ = await self._lists.held(request)
        return {"removed": await self._pins.unpin(_owner(person), [b.sha256 for b in blobs])}

    async def evict(self, need: int | None, *, dry_run: bool) -> dict[str, Any]:
        """Free ``need`` bytes, or say what would go; None, for a dry run only: all that may go."""
        if need is None and not dry_run:
            raise BadRequest("need is missing; expected how many bytes are to be freed")
        usage = self._blobs.usage()
        planned = await self._blobs.evict(usage.held if need is None else need, dry_run=True)
        named = planned.blobs[:MOST_NAMED]
        hashes = [b.sha256 for b in named]
        paths, exports = await self._holdings.paths(hashes), await self._adopted.names(hashes)
        done = planned if dry_run else await self._blobs.evict(need or 0)
        gone = {b.sha256 for b in done.blobs}
        files = [
            {
                "file": ", ".join([*paths.get(b.sha256, []), *exports.get(b.sha256, [])]),
                "size": b.size,
                "last_used": stamp(b.last_used),
                "sha256": b.sha256,
            }
            for b in named
            if b.sha256 in gone
        ]
        usage = self._blobs.usage()
        return {
            "dry_run": dry_run,
            "freed": done.freed,
            "blobs": len(done.blobs),
            "held": usage.held,
            "quota": usage.limit,
            "files": files,
        }


def _owner(person: str) -> str:
    return PERSON + person


def _group(owner: str, reason: str, pins: list[Pin]) -> dict[str, Any]:
    ends = [p.until for p in pins]
    last = None if None in ends else max(end for end in ends if end is not None)
    return {
        "owner": owner,
        "reason": reason,
        "files": len(pins),
        "since": stamp(min(p.since for p in pins)),
        "until": None if last is None else stamp(last),
    }

