"""exp_su: storage units by number, and whether they are online."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.drms.errors import BadRequest
from mirror.drms.export import StorageUnit, StorageUnits
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.drms.export import UnitsRequest
    from mirror.simulator.archive import Archive
    from mirror.simulator.base import Rows

_USUAL_SIZE = 16_000_000


def storage_units(
    request: UnitsRequest, archive: Archive, recorded: Mapping[int, StorageUnit]
) -> StorageUnits:
    """The units, recorded ones as they were; BadRequest if one is offline: by number none is brought online."""
    units = tuple(recorded.get(sunum) or _unit(sunum, archive) for sunum in request.sunums)
    if any(unit.status == "N" for unit in units):
        raise BadRequest("User denies required full export")
    return StorageUnits(units, request.method, request.protocol.text, request.by_number)


def _unit(sunum: int, archive: Archive) -> StorageUnit:
    for name in archive.names:
        rows = archive.find(name).unit(sunum)
        if len(rows):
            return _told(sunum, name, rows)
    return StorageUnit(sunum)


def _told(sunum: int, series: str, rows: Rows) -> StorageUnit:
    directory = from_wire(rows.pseudo("*recdir*")[0])
    if not directory.startswith("/SUM"):
        return StorageUnit(sunum, series, "NA", "N", _size(rows))
    return StorageUnit(sunum, series, directory.rpartition("/S")[0], "Y", _size(rows))


def _size(rows: Rows) -> int:
    sizes = [int(size) for size in rows.pseudo("*size*") if size.isdigit()]
    return sum(sizes) or _USUAL_SIZE
