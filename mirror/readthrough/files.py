"""The read-through for files: from the store, or fetched once from the archive and kept.

A missing file is first tried at its ``/SUM`` path, which needs no export request and no address. Search,
export, sync and the command line all get files here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.concurrency import Bounded
from mirror.errors import NotHeld, Refused
from mirror.storage.files.folders import link_name
from mirror.storage.files.holdings import Holding
from mirror.upstream.pacing import Priority
from mirror.wire.paths import UnitFile, disk_of, unit_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from mirror.readthrough.downloads import Download, Downloads
    from mirror.readthrough.policy import Rules
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holdings, RecordSegment
    from mirror.storage.files.table import Blob


#: Files that are expected at a time; of further ones, only the path is known when they come.
MOST_EXPECTED = 100_000


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A file of a record: its place in the archive, its record and segment, and its day.

    ``day`` is the folder in the readable tree, ``YYYYMMDD``; None keeps the file out of the tree.
    """

    path: str
    record: RecordSegment | None = None
    day: str | None = None


class Files:
    """Files of storage units. ``elsewhere`` says whether one can be had without asking JSOC."""

    def __init__(
        self,
        blobs: Blobs,
        holdings: Holdings,
        downloads: Downloads,
        rules: Rules,
        *,
        tree: bool = True,
        elsewhere: Callable[[UnitFile], Awaitable[bool]] | None = None,
    ) -> None:
        self._blobs = blobs
        self._holdings = holdings
        self._downloads = downloads
        self._rules = rules
        self._tree = tree
        self._elsewhere = elsewhere
        self._expected: Bounded[UnitFile, SegmentFile] = Bounded(MOST_EXPECTED)

    def expect(self, files: Iterable[SegmentFile]) -> None:
        """Remember which records these files belong to, for requests by path only."""
        for wanted in files:
            file = unit_file(wanted.path)
            if file is not None:
                self._expected[file] = wanted

    async def held(self, path: str) -> Holding | None:
        """The holding of a path, whatever its disk; None if it is not held."""
        file = unit_file(path)
        return None if file is None else await self._holdings.at(file)

    async def open(
        self, wanted: SegmentFile, priority: Priority = Priority.PEOPLE
    ) -> Holding | Download:
        """The file if it is held, else its download, which is running then.

        Refused if the path is not one of the archive's, NotHeld if upstream may not be asked.
        """
        file = unit_file(wanted.path)
        if file is None:
            raise Refused(f"{wanted.path!r} is not a file of the archive; expected /SUMn/Dn/Sn/name")
        holding = await self._look_up(file)
        if holding is not None:
            return holding
        if not self._rules.may_ask and (self._elsewhere is None or not await self._elsewhere(file)):
            raise NotHeld(f"{wanted.path} is not cached, and the mirror is offline", (wanted.path,))
        known = wanted if wanted.record else self._expected.get(file, wanted)
        return self._downloads.start(wanted.path, lambda blob: self.note(known, file, blob), priority)

    async def has_left(self, hashes: Sequence[str]) -> bool:
        """True if one of these contents has left the store; waits for an eviction under way."""
        await self._blobs.settled()
        return any([await self._blobs.find(sha256) is None for sha256 in hashes])

    async def _look_up(self, file: UnitFile) -> Holding | None:
        """The holding of a file, with its bytes verified.

        Looked up again if a download ended meanwhile, since that may have brought it.
        """
        while True:
            before = self._downloads.ends.number
            holding = await self._holdings.at(file)
            if holding is not None and not await self._blobs.is_sound(holding.blob):
                continue  # it was set aside, and is no longer held
            if holding is not None or self._downloads.ends.number == before:
                return holding

    async def get(self, wanted: SegmentFile, priority: Priority = Priority.PEOPLE) -> Blob:
        """The content of a file, fetched if need be; raises what kept it from coming."""
        found = await self.open(wanted, priority)
        blob = found.blob if isinstance(found, Holding) else await found.kept()
        file = unit_file(wanted.path)
        known = isinstance(found, Holding) and found.record == wanted.record
        if file is not None and wanted.record is not None and not known:
            # The first request may have known only the path, not the record.
            await self.note(wanted, file, blob)
        return blob

    async def note(self, wanted: SegmentFile, file: UnitFile, blob: Blob) -> None:
        """Remember which record's file a blob is."""
        link = self._link(wanted, file)
        await self._holdings.add(
            file, blob, disk=disk_of(wanted.path) or "SUM0", record=wanted.record, link=link
        )

    def _link(self, wanted: SegmentFile, file: UnitFile) -> str | None:
        record = wanted.record
        if not self._tree or record is None or wanted.day is None:
            return None
        return link_name(record.series, wanted.day, f"{record.recnum}.{file.file.rpartition('/')[2]}")
