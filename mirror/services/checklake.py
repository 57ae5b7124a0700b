"""The step of a check that is about the lake. What is damaged is written anew, from the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.services.checkplan import Piece
from mirror.storage.checktable import Finding

if TYPE_CHECKING:
    from mirror.storage.index import Index
    from mirror.storage.lake import Lake
    from mirror.storage.laketable import Sealed


class LakeSteps:
    """Checks the files of the lake. The step takes the file that was checked last, and gives a piece."""

    def __init__(self, lake: Lake, index: Index) -> None:
        self._lake = lake
        self._index = index

    async def lake(self, place: str, _since: float, most: int) -> Piece:
        """Read the files after ``place``: at least one, if there is any, and no more than ``most`` bytes."""
        findings: list[Finding] = []
        read = files = 0
        for row in sorted(await self._lake.files(), key=lambda row: row.file):
            if row.file <= place:
                continue
            if files and read + row.bytes > most:
                return Piece(place, tuple(findings), files=files, bytes=read)
            problem = await self._lake.verify(row)
            if problem is not None:
                findings.append(await self._anew(row, problem))
            place, files, read = row.file, files + 1, read + row.bytes
        return Piece(None, tuple(findings), files=files, bytes=read)

    async def _anew(self, row: Sealed, problem: str) -> Finding:
        found = self._index.series(row.table.removesuffix("__old"))
        if found is None:  # such a file is of no use to anybody
            return Finding("lake", row.file, problem, "repaired", "removed; nobody knows that series")
        await self._lake.tables(found[0])
        return Finding("lake", row.file, problem, "repaired", "written anew")
