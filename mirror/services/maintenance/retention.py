"""What stays in the store and what goes: pins, eviction, and forgetting.

To forget a record set is to delete its files or records, together with every claim that they are cached.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from mirror.api.maintenance import Evicted, EvictedFile, Forgotten, PinGroup, Pinned, Unpinned
from mirror.coverage.claims import numbered, without
from mirror.coverage.coverage import Coverage
from mirror.coverage.plan import Forward, extreme_position, has_where, need
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import BadRequest, Refused, UnknownSeries
from mirror.humanize import counted, stamp
from mirror.readthrough.shared import Alone
from mirror.storage.files.eviction import PERSON
from mirror.storage.index.affected import affected_by_recnums, delete_records
from mirror.storage.index.select_sql import box_predicate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from mirror.config.loading import Subscription
    from mirror.coverage.coverage import Box
    from mirror.drms.export import ExportRequest
    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.readthrough.shared import Shared
    from mirror.services.exports.file_list import FileLists
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.eviction import Pin
    from mirror.storage.files.holdings import Holdings
    from mirror.storage.index.index import Index

    Keeping = Callable[[str, Collection[int] | None], Awaitable[Mapping[str, frozenset[int]]]]

#: Blobs whose files are named in an answer; the others are only summed up.
MOST_NAMED = 1000


class Pins(Protocol):
    """The pins of people: those of this store, or of a cluster. See ``mirror.storage.files.eviction.Pins``."""

    async def pin(self, hashes: Iterable[str], owner: str, reason: str, *, until: float | None = None) -> None:
        """Protect these contents from eviction."""
        ...

    async def unpin(self, owner: str, hashes: Iterable[str] | None = None) -> int:
        """Remove pins; how many."""
        ...

    async def pins(self, owner: str | None = None) -> list[Pin]:
        """The pins in force."""
        ...


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

    async def pins(self) -> list[PinGroup]:
        """The pins in force, those of one owner for one reason together."""
        groups: defaultdict[tuple[str, str], list[Pin]] = defaultdict(list)
        for pin in await self._pins.pins():
            groups[pin.owner, pin.reason].append(pin)
        return [_group(owner, reason, group) for (owner, reason), group in groups.items()]

    async def pin(self, request: ExportRequest, person: str, reason: str, seconds: float | None) -> Pinned:
        """Protect the cached contents of a request from eviction, for good or for so many seconds."""
        held, absent = await self._lists.held(request)
        until = None if seconds is None else self._now() + seconds
        await self._pins.pin(held, _owner(person), reason, until=until)
        return Pinned(pinned=len(held), bytes=sum(held.values()), not_held=absent)

    async def unpin(self, request: ExportRequest, person: str) -> Unpinned:
        """Remove a person's pins from the cached contents of a request."""
        held, _ = await self._lists.held(request)
        return Unpinned(removed=await self._pins.unpin(_owner(person), held))

    async def evict(self, need: int | None, *, dry_run: bool) -> Evicted:
        """Free ``need`` bytes, or say what would go; None, for a dry run only: everything that may go."""
        if need is None and not dry_run:
            raise BadRequest("need is missing; expected the number of bytes to free")
        usage = self._blobs.usage()
        planned = await self._blobs.evict(usage.held if need is None else need, dry_run=True)
        named = planned.blobs[:MOST_NAMED]
        hashes = [b.sha256 for b in named]
        paths, exports = await self._holdings.paths(hashes), await self._adopted.names(hashes)
        done = planned if dry_run else await self._blobs.evict(need or 0)
        gone = {b.sha256 for b in done.blobs}
        files = [
            EvictedFile(
                file=", ".join([*paths.get(b.sha256, []), *exports.get(b.sha256, [])]),
                size=b.size,
                last_used=stamp(b.last_used),
                sha256=b.sha256,
            )
            for b in named
            if b.sha256 in gone
        ]
        usage = self._blobs.usage()
        return Evicted(
            dry_run=dry_run,
            freed=done.freed,
            blobs=len(done.blobs),
            held=usage.held,
            quota=usage.limit,
            files=files,
        )


def _owner(person: str) -> str:
    return PERSON + person


def _group(owner: str, reason: str, pins: list[Pin]) -> PinGroup:
    ends = [p.until for p in pins]
    last = None if None in ends else max(end for end in ends if end is not None)
    return PinGroup(
        owner=owner,
        reason=reason,
        files=len(pins),
        since=stamp(min(p.since for p in pins)),
        until=None if last is None else stamp(last),
    )


@dataclass(frozen=True, slots=True)
class ForgetTarget:
    """The records of a record set: a whole series, or these numbers; ``boxes`` is no longer claimed."""

    series: Series
    recnums: frozenset[int] | None
    boxes: tuple[Box, ...]
    whole: bool = False  #: the whole series is meant, though some records may stay

    def uncover(self, coverage: Coverage) -> Coverage:
        """The claims that remain."""
        if self.recnums is None or self.whole:
            return Coverage()
        return without(coverage, (*self.boxes, numbered(self.recnums)))


class Forgetter:
    """Forgets; ``subscriptions`` gives the configured ones, ``now`` Unix seconds.

    ``keeping`` gives those records of a series that data sets keep, by the names of the sets.
    """

    def __init__(
        self,
        database: Database,
        index: Index,
        blobs: Blobs,
        subscriptions: Callable[[], Iterable[Subscription]],
        now: Callable[[], float],
        keeping: Keeping,
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared or Alone()
        self._keeping = keeping
        self._database = database
        self._index = index
        self._blobs = blobs
        self._subscriptions = subscriptions
        self._now = now

    async def forget(
        self, ds: str, *, files: bool = True, records: bool = True, force: bool = False, dry_run: bool = False
    ) -> Forgotten:
        """Forget the cached files, records, or both, of a record set; nothing is asked upstream.

        Pinned files, and records of data sets, stay unless ``force``. A dry run says what would go. BadRequest or
        Refused for a record set that only JSOC can resolve.
        """
        if not files and not records:
            raise BadRequest("nothing to delete; expected files, records or both")
        removed = [
            await self._one(s, files=files, records=records, force=force, dry_run=dry_run)
            for s in await self._meant(ds)
        ]
        return _sum(removed, dry_run=dry_run)

    async def _one(
        self, meant: ForgetTarget, *, files: bool, records: bool, force: bool, dry_run: bool
    ) -> Forgotten:
        name, now = meant.series.name, self._now()
        keeping = await self._keeping(name, meant.recnums) if records else {}
        kept = frozenset().union(*keeping.values())
        if kept and not force:
            meant = await self._without(meant, kept)
        work = self._blobs.forgetting.plan if dry_run else self._blobs.forgetting.forget
        gone = await work(name, meant.recnums, now, force=force) if files else None
        count = await self._count(meant) if records else 0
        if records and not dry_run:
            boxes = None if meant.recnums is None or meant.whole else (*meant.boxes, numbered(meant.recnums))
            await self._shared.forget(meant.series, boxes)
            await self._index.drop(meant.series, meant.uncover, lambda c: self._delete(c, meant))
        return Forgotten(
            dry_run=dry_run,
            records=count,
            files=gone.files if gone else 0,
            blobs=len(gone.blobs) if gone else 0,
            bytes=sum(blob.size for blob in gone.blobs) if gone else 0,
            pinned=gone.pinned if gone else 0,
            shared=gone.shared if gone else 0,
            kept=0 if force else len(kept),
            warnings=[*self._warnings(name), *_of_data_sets(keeping, force=force)],
        )

    async def _without(self, meant: ForgetTarget, kept: frozenset[int]) -> ForgetTarget:
        """The same without some records; nothing is claimed of its boxes all the same."""
        numbers = meant.recnums
        if numbers is None:
            numbers = await self._index.recnums(meant.series, "TRUE", all_versions=True)
        return replace(meant, recnums=numbers - kept, whole=meant.recnums is None)

    # ---- what is meant ---------------------------------------------------------------------------

    async def _meant(self, ds: str) -> list[ForgetTarget]:
        found = []
        for record_set in parse_query(ds).sets:
            held = self._index.series(record_set.series)
            if held is None:
                raise UnknownSeries(record_set.series)
            series = held[0]
            if not record_set.filters:
                found.append(ForgetTarget(series, None, ()))
            else:
                found.append(await self._chosen(bind(record_set, series, text=ds), ds))
        return found

    async def _chosen(self, selection: Selection, ds: str) -> ForgetTarget:
        boxes = () if extreme_position(selection) is not None else need(selection)
        if extreme_position(selection) is not None or isinstance(boxes, Forward):
            raise Refused(
                f"which records {ds!r} means is known only to JSOC; expected values or ranges of prime keys"
            )
        series = selection.series
        if has_where(selection):
            rows = (await self._index.select(selection)).rows
            numbers = frozenset(row.recnum for row in rows)
            view = self._index.layout(series)
            places = (
                await self._database.read(lambda c: affected_by_recnums(c, view, numbers)) if numbers else None
            )
            return ForgetTarget(series, numbers, places.boxes if places else ())
        predicate = " OR ".join(f"({box_predicate(series, box)})" for box in boxes) or "FALSE"
        return ForgetTarget(series, await self._index.recnums(series, predicate, all_versions=True), boxes)

    # ---- inside ----------------------------------------------------------------------------------

    async def _count(self, meant: ForgetTarget) -> int:
        if meant.recnums is not None:
            return len(meant.recnums)
        return len(await self._index.recnums(meant.series, "TRUE", all_versions=True))

    def _delete(self, cursor: Cursor, meant: ForgetTarget) -> None:
        layout = self._index.layout(meant.series)
        if self._index.view(meant.series) is None:
            return
        delete_records(cursor, layout, meant.recnums)

    def _warnings(self, series: str) -> list[str]:
        """The subscriptions that will fetch the data again."""
        keepers = [w.identity for w in self._subscriptions() if w.series.lower() == series.lower()]
        return [f"the subscription {name} covers {series} and may fetch it again" for name in keepers]


def _of_data_sets(keeping: Mapping[str, frozenset[int]], *, force: bool) -> list[str]:
    def told(count: str, *, one: bool) -> str:
        return f"loses {count}" if force else f"keeps {count}, which {'stays' if one else 'stay'}"

    return [f"the data set {name} {told(counted(len(numbers), 'record'), one=len(numbers) == 1)}" for name, numbers in keeping.items()]


def _sum(removed: list[Forgotten], *, dry_run: bool) -> Forgotten:
    return Forgotten(
        dry_run=dry_run,
        records=sum(each.records for each in removed),
        files=sum(each.files for each in removed),
        blobs=sum(each.blobs for each in removed),
        bytes=sum(each.bytes for each in removed),
        pinned=sum(each.pinned for each in removed),
        kept=sum(each.kept for each in removed),
        shared=sum(each.shared for each in removed),
        warnings=list(dict.fromkeys(text for each in removed for text in each.warnings)),
    )
