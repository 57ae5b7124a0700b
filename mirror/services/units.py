"""Storage units by number (exp_su), as far as the mirror knows them itself."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mirror.drms.export import StorageUnit, StorageUnits
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.export import UnitsRequest
    from mirror.storage.holdings import Holding, Holdings
    from mirror.storage.index import Index

ONLINE = "Y"


class Units:
    """Answers questions about storage units whose files are held: they are online here, wherever JSOC has them."""

    def __init__(self, index: Index, holdings: Holdings) -> None:
        self._index = index
        self._holdings = holdings

    async def answer(self, request: UnitsRequest) -> StorageUnits | None:
        """The units that are asked for; None if a file of one of them is not held, or nobody knows whose it is."""
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
                path, told = f"/{holding.disk}/D{sunum}", rows[0]["*size*"]
                size = (
                    int(told) if told.isdigit() else sum({h.blob.sha256: h.blob.size for h in held}.values())
                )
                return StorageUnit(sunum, series.name, path, ONLINE, size)
        return None
