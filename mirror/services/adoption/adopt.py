"""Adopting files that people already have: find each file's record, verify it, keep it.

Nothing is kept that was not verified, and nothing is removed here: the owner removes the originals once they are
reported as cached. A crash leaves a file adopted or not: the row that names its record comes last, and a blob without
one is evicted first.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from mirror.api.adoption import AdoptOutcome
from mirror.errors import NotHeld, StorageError, UnknownSeries, UpstreamError
from mirror.services.adoption.find import Finder, candidate, no_owner, not_found, wanted_by
from mirror.services.adoption.match import Placed, Unplaced, claim_of, place
from mirror.services.adoption.names import read_name, series_in_name
from mirror.services.adoption.scan import Look, look, read_through
from mirror.services.exports.segment_files import RequestedFile, requested_files
from mirror.storage.files.adopted_exports import export_link
from mirror.storage.files.holdings import RecordSegment
from mirror.wire.paths import unit_file

if TYPE_CHECKING:
    from mirror.drms.series import Series
    from mirror.readthrough.files import Files
    from mirror.readthrough.policy import Rules
    from mirror.readthrough.records import Records
    from mirror.readthrough.structures import Catalogue
    from mirror.services.adoption.find import Found
    from mirror.services.adoption.match import Candidate, Match
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holdings
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout

How = Literal["copy", "link"]
State = Literal["placed", "held", "rejected", "later"]
#: Files that are read concurrently.
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Item:
    """A file to adopt. ``name`` and ``unit`` (its ``/SUM`` path) are those of its origin."""

    path: Path
    name: str | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A file with its place, and what the archive has there."""

    seen: Look
    placed: Placed
    wanted: RequestedFile


class Adoption:
    """Adopts files; ``tree`` says whether they also get names in the readable tree."""

    def __init__(
        self,
        catalogue: Catalogue,
        records: Records,
        index: Index,
        files: Files,
        holdings: Holdings,
        adopted: Adopted,
        blobs: Blobs,
        rules: Rules,
        *,
        tree: bool = True,
    ) -> None:
        self._catalogue = catalogue
        self._finder = Finder(index, records)
        self._index = index
        self._files = files
        self._holdings = holdings
        self._adopted = adopted
        self._blobs = blobs
        self._rules = rules
        self._tree = tree

    async def adopt(
        self, items: Sequence[Item], how: How = "copy", *, dry_run: bool = False, compare: bool = False
    ) -> list[AdoptOutcome]:
        """Adopt files together; an outcome for each, in order. With ``compare`` cached files are read too.

        Adopting many at a time is cheap: JSOC is asked once for all records of a series.
        """
        looks = await asyncio.to_thread(_look_at, items)
        places = await self._places(looks)
        taken = await self._taken([p for p in places if isinstance(p, _Place)])
        room = asyncio.Semaphore(AT_ONCE)
        first: dict[tuple[RecordSegment, str], asyncio.Future[AdoptOutcome]] = {}  #: of each place

        async def one(item: Item, found: _Place | Unplaced) -> AdoptOutcome:
            if isinstance(found, Unplaced):
                return _unplaced(item, found)
            key = found.wanted.owner, found.placed.kind
            if (earlier := first.get(key)) is not None and (done := await earlier).state in ("placed", "held"):
                async with room:
                    return await self._again(found, done, compare=compare)
            first[key] = mine = asyncio.get_running_loop().create_future()
            outcome = _unplaced(item, Unplaced("it was not looked at"))
            try:
                async with room:
                    outcome = await self._settled(found, taken.get(key), how, dry_run=dry_run, compare=compare)
            finally:
                mine.set_result(outcome)
            return outcome

        return list(await asyncio.gather(*map(one, items, places)))

    # ---- where it belongs ------------------------------------------------------------------------

    async def _places(self, looks: Sequence[Look | Unplaced]) -> list[_Place | Unplaced]:
        """The place of each file, or why it has none; one question for all of a series."""
        found: list[_Place | Unplaced] = [x if isinstance(x, Unplaced) else _nameless(x) for x in looks]
        groups: dict[str, list[int]] = {}
        for i, seen in enumerate(looks):
            name = None if isinstance(seen, Unplaced) else seen.header.series or series_in_name(seen.name)
            if name is not None:
                groups.setdefault(name.lower(), []).append(i)
            elif isinstance(seen, Look) and seen.unit is not None:
                for series in await self._owners(seen.unit):
                    groups.setdefault(series.name.lower(), []).append(i)
        for name, members in groups.items():
            group = [(i, seen) for i in members if isinstance(seen := looks[i], Look)]
            for (i, _), answer in zip(group, await self._placed(name, [s for _, s in group]), strict=True):
                found[i] = answer
        return found

    async def _owners(self, unit: str) -> list[Series]:
        """The series that have a cached record in the storage unit of a path."""
        file = unit_file(unit)
        condition = f"sunum = {file.sunum}" if file is not None else "FALSE"
        return [s for s in self._index.all_series() if await self._index.recnums(s, condition)]

    async def _placed(self, name: str, looks: Sequence[Look]) -> list[_Place | Unplaced]:
        try:
            series = await self._catalogue.series(name)
        except UnknownSeries:
            return [Unplaced(f"no series {name!r}") for _ in looks]
        except (UpstreamError, NotHeld) as problem:
            why = f"the structure of {name} is not cached, and JSOC could not be contacted: {problem}"
            return [Unplaced(why, for_now=True) for _ in looks]
        claims = [await self._claim(seen, series) for seen in looks]
        found = await self._finder.find(series, [c for c in claims if not isinstance(c, Unplaced)])
        # Comparing some hundred keywords per file takes long enough to delay other answers.
        return await asyncio.to_thread(_decided, looks, claims, self._index.layout(series), found)

    async def _claim(self, seen: Look, series: Series) -> Match | Unplaced:
        """What a file says about itself; a name that is plainly of another series counts against it."""
        named = series_in_name(seen.name)
        if named is not None and named.lower() != series.name.lower():
            try:
                other = await self._catalogue.series(named)
            except UnknownSeries:  # the name means something else
                other = series
            except (UpstreamError, NotHeld) as problem:
                why = f"whether its name is that of a file of {named} cannot be told now: {problem}"
                return Unplaced(why, for_now=True)
            if other is not series and read_name(seen.name, other):
                return Unplaced(f"its name is that of a file of {other.name}, its header says {series.name}")
        return claim_of(seen.header, seen.name, seen.unit, series)

    async def _taken(self, places: Sequence[_Place]) -> dict[tuple[RecordSegment, str], Blob]:
        """What is held already of these places, by record and kind."""
        by_series: dict[str, set[int]] = {}
        for p in places:
            by_series.setdefault(p.wanted.owner.series, set()).add(p.wanted.owner.recnum)
        taken: dict[tuple[RecordSegment, str], Blob] = {}
        for series, recnums in by_series.items():
            for holding in await self._holdings.of_records(series, recnums):
                if holding.record is not None:
                    taken[holding.record, "as-is"] = holding.blob
            exports = await self._adopted.of_records(series, recnums)
            taken |= {(record, "fits"): blob for record, blob in exports.items()}
        files = {f: p for p in places if p.placed.kind == "as-is" and (f := unit_file(p.wanted.path))}
        for file, holding in (await self._holdings.at_all(files)).items():
            taken[files[file].wanted.owner, "as-is"] = holding.blob
        return taken

    # ---- keeping ---------------------------------------------------------------------------------

    async def _settled(
        self, found: _Place, before: Blob | None, how: How, *, dry_run: bool, compare: bool
    ) -> AdoptOutcome:
        """The outcome for a file that has a place: read, and kept if the place is free."""
        outcome = _outcome(found, "placed" if before is None else "held")
        if before is not None and not compare:
            return replace(outcome, sha256=before.sha256)
        sha256 = await asyncio.to_thread(read_through, found.seen)
        if isinstance(sha256, Unplaced):
            return _unplaced(Item(found.seen.path), sha256)
        outcome = replace(outcome, sha256=sha256)
        if before is not None:
            return replace(outcome, same=before.sha256 == sha256)
        if dry_run:
            return outcome
        try:
            done = await self._kept(found, sha256, how)
        except StorageError as problem:
            return _unplaced(Item(found.seen.path), Unplaced(str(problem), for_now=True))
        return replace(outcome, how=done, same=True)

    async def _again(self, found: _Place, done: AdoptOutcome, *, compare: bool) -> AdoptOutcome:
        """The outcome for a second file of a place that one of the same run has taken: it is cached already."""
        outcome = replace(_outcome(found, "held"), sha256=done.sha256)
        if not compare:
            return outcome
        sha256 = await asyncio.to_thread(read_through, found.seen)
        if isinstance(sha256, Unplaced):
            return _unplaced(Item(found.seen.path), sha256)
        return replace(outcome, same=sha256 == done.sha256)

    async def _kept(self, found: _Place, sha256: str, how: How) -> str:
        if how == "link":
            mode = found.seen.path.stat().st_mode
            try:
                return await self._taken_in(found, sha256, link=True)
            except StorageError:  # another file system, or somebody else's file: copy it
                with suppress(OSError):
                    found.seen.path.chmod(mode & 0o7777)
        return await self._taken_in(found, sha256, link=False)

    async def _taken_in(self, found: _Place, sha256: str, *, link: bool) -> str:
        path, size = found.seen.path, found.seen.stamp.size
        async with self._blobs.taking(path, size, sha256, link=link) as sink:
            blob = await sink.keep(size=size)
            await self._note(found, blob)
        return "linked" if link else "copied"

    async def _note(self, found: _Place, blob: Blob) -> None:
        """Record which file a blob is; from here on it is adopted."""
        wanted, file = found.wanted, unit_file(found.wanted.path)
        if found.placed.kind == "as-is":
            if file is None:
                raise StorageError(f"{wanted.path!r} is not a path of the archive")
            await self._files.note(wanted.source, file, blob)
            return
        link = export_link(wanted.owner, wanted.segment, wanted.day) if self._tree else None
        now = self._rules.timestamp()
        await self._adopted.add(wanted.owner, blob, name=found.seen.name, link=link, now=now)


def _decided(
    looks: Sequence[Look], claims: Sequence[Match | Unplaced], layout: Layout, found: Found
) -> list[_Place | Unplaced]:
    """The place of each file among the records that were found."""
    candidates = {recnum: candidate(layout, row) for recnum, row in found.rows.items()}
    return [
        claim if isinstance(claim, Unplaced) else _placed_one(seen, claim, layout, found, candidates)
        for seen, claim in zip(looks, claims, strict=True)
    ]


def _placed_one(
    seen: Look, claim: Match, layout: Layout, found: Found, candidates: Mapping[int, Candidate]
) -> _Place | Unplaced:
    series = layout.series
    mine = wanted_by(claim, series, candidates)
    if not mine:
        return not_found(claim, series, found.problem)
    placed = place(claim, seen.header, series, mine, complete=found.problem is None)
    if isinstance(placed, Unplaced):
        return placed
    (wanted,) = requested_files(layout, [found.rows[placed.record.recnum]], (placed.segment,))
    return _Place(seen, placed, wanted)


def _nameless(seen: Look) -> Unplaced:
    if seen.unit is not None:
        return no_owner(seen.unit)
    return Unplaced("neither header nor file name identifies its series")


def _look_at(items: Sequence[Item]) -> list[Look | Unplaced]:
    return [look(item.path, item.name, unit=item.unit) for item in items]


def _outcome(found: _Place, state: State) -> AdoptOutcome:
    placed = found.placed
    size = found.seen.stamp.size
    return AdoptOutcome(
        path=os.fspath(found.seen.path),
        state=state,
        record=placed.record.name,
        segment=placed.segment,
        kind=placed.kind,
        size=size,
    )


def _unplaced(item: Item, why: Unplaced) -> AdoptOutcome:
    return AdoptOutcome(
        path=os.fspath(item.path), state="later" if why.for_now else "rejected", reason=why.reason
    )
