"""The files of a record set as people ask for them: their names, where they are, and how to get them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.api.exports import FileState, ListedFile
from mirror.drms.export import StorageUnit, StorageUnits
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import NotHeld
from mirror.readthrough.policy import CacheDemand
from mirror.services.exports.segment_files import FileLocation, RequestedFile
from mirror.wire.paths import UnitFile, unit_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from mirror.drms.export import ExportRequest, UnitsRequest
    from mirror.readthrough.files import Files
    from mirror.readthrough.records import CacheStatus
    from mirror.services.exports.assembling import Assembler
    from mirror.services.exports.planning import ExportPlanner, Plan
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holding, Holdings, RecordSegment
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index

    #: Finds files that only other mirrors of a cluster have: the sha256 and size of each. A file is given with its path
    #: at JSOC, "" where that is not known.
    Elsewhere = Callable[[Mapping[RecordSegment, str]], Awaitable[dict[RecordSegment, tuple[str, int]]]]

_STATES: dict[FileLocation, FileState] = {
    FileLocation.ONLINE: "online",
    FileLocation.OFFLINE: "offline",
    FileLocation.NOWHERE: "nowhere",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """The files of a request, in its order; ``origin`` and ``checked_at`` are those of its records."""

    files: list[ListedFile]
    origin: CacheStatus
    checked_at: float | None


class FileLists:
    """Lists files, and makes sure that files that were fetched by path only are recorded as their record's."""

    def __init__(
        self,
        planner: ExportPlanner,
        assembler: Assembler,
        files: Files,
        holdings: Holdings,
        adopted: Adopted,
        blobs: Blobs,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._planner = planner
        self._assembler = assembler
        self._files = files
        self._holdings = holdings
        self._adopted = adopted
        self._blobs = blobs

    async def of(
        self, request: ExportRequest, demand: CacheDemand = CacheDemand.DEFAULT, *, places: bool = False
    ) -> Listed:
        """The archived files of an export request, in its order.

        With ``places`` the client is going to use them: cached ones count as used.
        """
        plan = await self._planner.plan(request, demand)
        held = await self._held(plan)
        self._files.expect(w.source for w in plan.files if w.path)
        names = await self._assembler.file_names(plan, plan.files)
        files = [
            self._listed(w, name, held.get(w.owner), places=places)
            for w, name in zip(plan.files, names, strict=True)
        ]
        return Listed(files, plan.origin, plan.checked_at)

    async def held(self, request: ExportRequest) -> tuple[dict[str, int], int]:
        """The contents of these files, each with its size, adopted exports too; and how many are cached nowhere.

        In a cluster, a file of any of its mirrors counts as cached.
        """
        plan = await self._planner.plan(request)
        held = await self._held(plan)
        wanted = {w.owner: w.path for w in plan.files}
        adopted = await self._adopted.of_records(plan.series.name, [row.recnum for row in plan.rows])
        exports = {owner: blob for owner, blob in adopted.items() if owner in wanted}
        contents = {b.sha256: b.size for b in (*(h.blob for h in held.values()), *exports.values())}
        missing = {owner: path for owner, path in wanted.items() if owner not in held and owner not in exports}
        there = await self._elsewhere(missing) if self._elsewhere is not None and missing else {}
        return contents | dict(there.values()), len(missing) - len(there)

    def place(self, blob: Blob) -> str | None:
        """Where the content lies on this machine, which counts as a use of it; None if it is gone."""
        try:
            with self._blobs.reading(blob) as path:
                return str(path.absolute())
        except NotHeld:
            return None

    def _listed(self, wanted: RequestedFile, name: str, holding: Holding | None, *, places: bool) -> ListedFile:
        if holding is None:
            return ListedFile(
                record=wanted.record,
                segment=wanted.segment,
                name=name,
                state=_STATES[wanted.place],
                path=wanted.path,
            )
        blob = holding.blob
        place = self.place(blob) if places else None
        return ListedFile(
            record=wanted.record,
            segment=wanted.segment,
            name=name,
            state="held",
            path=holding.path,
            size=blob.size,
            sha256=blob.sha256,
            place=place,
        )

    async def _held(self, plan: Plan) -> dict[RecordSegment, Holding]:
        """The cached files of a plan; files that were fetched by path only are recorded as the records' now."""
        recnums = [row.recnum for row in plan.rows]
        found = await self._holdings.of_records(plan.series.name, recnums)
        held = {h.record: h for h in found if h.record is not None}
        rest = [w for w in plan.files if w.owner not in held and w.path]
        by_path = await self._holdings.at_all(_unit_files(rest))
        for wanted in rest:
            file = unit_file(wanted.path)
            if file is not None and file in by_path:
                await self._files.note(wanted.source, file, by_path[file].blob)
                held[wanted.owner] = by_path[file]
        wanted_owners = {w.owner for w in plan.files}
        return {owner: holding for owner, holding in held.items() if owner in wanted_owners}


def _unit_files(files: Sequence[RequestedFile]) -> list[UnitFile]:
    return [file for file in (unit_file(w.path) for w in files) if file is not None]


ONLINE = "Y"


class UnitFiles:
    """Answers questions about storage units whose files are cached: they are online here, wherever JSOC has them."""

    def __init__(self, index: Index, holdings: Holdings) -> None:
        self._index = index
        self._holdings = holdings

    async def answer(self, request: UnitsRequest) -> StorageUnits | None:
        """The requested units; None if a file of one of them is not cached, or its record is not known."""
        files: defaultdict[int, list[Holding]] = defaultdict(list)
        for holding in await self._holdings.of_units(request.sunums):
            files[holding.file.sunum].append(holding)
        units = [await self._unit(sunum, files[sunum]) for sunum in request.sunums]
        known = tuple(unit for unit in units if unit is not None)
        if len(known) < len(units):
            return None
        return StorageUnits(known, request.method, request.protocol.text, request.by_number)

    async def _unit(self, sunum: int, held: Sequence[Holding]) -> StorageUnit | None:
        for holding in held:
            record = holding.record
            known = None if record is None else self._index.series(record.series)
            if record is None or known is None:
                continue
            series = known[0]
            record_set = parse_query(f"{series.name}[:#{record.recnum}]").sets[0]
            rows = (await self._index.select(bind(record_set, series))).rows
            # A linked file lies in the unit of another record, whose size this one does not tell.
            if rows and rows[0]["*sunum*"] == str(sunum):
                path, sizes = f"/{holding.disk}/D{sunum}", rows[0]["*size*"]
                size = (
                    int(sizes) if sizes.isdigit() else sum({h.blob.sha256: h.blob.size for h in held}.values())
                )
                return StorageUnit(sunum, series.name, path, ONLINE, size)
        return None
