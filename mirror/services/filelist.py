"""The files of a record set as people ask for them: their names, where they are, and how to get them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mirror.drms.errors import NotHeld
from mirror.services.wanted import Wanted, Where
from mirror.storage.unitfile import UnitFile, unit_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.export import ExportRequest
    from mirror.engine.files import Files
    from mirror.engine.records import Origin
    from mirror.services.assembling import Assembler
    from mirror.services.exportplan import ExportPlanner, Plan
    from mirror.storage.adopted import Adopted
    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob
    from mirror.storage.holdings import Holding, Holdings, RecordSegment

State = Literal["held", "online", "offline", "nowhere"]

_STATES: dict[Where, State] = {
    Where.ONLINE: "online",
    Where.OFFLINE: "offline",
    Where.NOWHERE: "nowhere",
}


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a record: ``name`` is what filenamefmt makes of it, ``path`` where this mirror serves it.

    ``path`` is "" unless it is held, or online at JSOC. ``size`` and ``sha256`` are known of what is held;
    ``place`` is where it lies on the machine of the mirror, for who asked for that.
    """

    record: str
    segment: str
    name: str
    state: State
    path: str
    size: int | None = None
    sha256: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The files of a request, in its order; ``origin`` and ``checked_at`` are those of its records."""

    files: list[ListedFile]
    origin: Origin
    checked_at: float | None


class FileLists:
    """Lists files, and sees to it that what is fetched by path only is known as its record's."""

    def __init__(
        self,
        planner: ExportPlanner,
        assembler: Assembler,
        files: Files,
        holdings: Holdings,
        adopted: Adopted,
        blobs: Blobs,
    ) -> None:
        self._planner = planner
        self._assembler = assembler
        self._files = files
        self._holdings = holdings
        self._adopted = adopted
        self._blobs = blobs

    async def of(self, request: ExportRequest, *, places: bool = False) -> Listed:
        """The archived files that an export request is about, in its order.

        With ``places`` whoever asks is going to use them: what is held counts as used.
        """
        plan = await self._planner.plan(request)
        held = await self._held(plan)
        self._files.expect(w.source for w in plan.files if w.path)
        names = await self._assembler.file_names(plan, plan.files)
        files = [
            self._listed(w, name, held.get(w.owner), places=places)
            for w, name in zip(plan.files, names, strict=True)
        ]
        return Listed(files, plan.origin, plan.checked_at)

    async def held(self, request: ExportRequest) -> tuple[list[Blob], int]:
        """What is held of these files, adopted exports of them too; and how many files are not held at all."""
        plan = await self._planner.plan(request)
        held = await self._held(plan)
        owners = {w.owner for w in plan.files}
        adopted = await self._adopted.of_records(plan.series.name, [row.recnum for row in plan.rows])
        exports = {owner: blob for owner, blob in adopted.items() if owner in owners}
        blobs = {b.sha256: b for b in (*(h.blob for h in held.values()), *exports.values())}
        return list(blobs.values()), len(owners - held.keys() - exports.keys())

    def place(self, blob: Blob) -> str | None:
        """Where the content lies on this machine, which counts as a use of it; None if it is gone."""
        try:
            with self._blobs.reading(blob) as path:
                return str(path.absolute())
        except NotHeld:
            return None

    def _listed(self, wanted: Wanted, name: str, holding: Holding | None, *, places: bool) -> ListedFile:
        if holding is None:
            return ListedFile(wanted.record, wanted.segment, name, _STATES[wanted.place], wanted.path)
        blob = holding.blob
        place = self.place(blob) if places else None
        return ListedFile(
            wanted.record, wanted.segment, name, "held", holding.path, blob.size, blob.sha256, place
        )

    async def _held(self, plan: Plan) -> dict[RecordSegment, Holding]:
        """What is held of a plan; files that were fetched by path only are noted as the records' now."""
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


def _unit_files(files: Sequence[Wanted]) -> list[UnitFile]:
    return [file for file in (unit_file(w.path) for w in files) if file is not None]
