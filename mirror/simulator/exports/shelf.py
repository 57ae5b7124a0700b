"""The files of the archive by path: ``/SUM1/D2/S00003/image.fits``.

A recorded world may have files of its own, plain or gzipped: in its folder ``D2/S00003/image.fits``, and what the real
exporter made of it, ``exported/SERIES.RECNUM.SEGMENT.fits``. Other files are made
(``mirror.simulator.exports.archived``).
"""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from mirror.drms.export import StorageUnit, StorageUnits
from mirror.errors import BadRequest
from mirror.simulator.exports.archived import ArchivedFile, make_file, templates
from mirror.simulator.exports.ledger import Kept
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mirror.drms.export import UnitsRequest
    from mirror.drms.series import Segment, Series
    from mirror.simulator.archive import Archive
    from mirror.simulator.base import Rows, SegmentCells
    from mirror.simulator.synthetic.scenes import Scene

    #: What a segment's file shows, for the first of some rows; None if that does not depend on the record.
    Scenes = Callable[[Segment, Rows], Scene | None]

LINKED = "link via "
_PATH = re.compile(r"/SUM[0-9]+/D([0-9]{1,18})/S([0-9]{5})/([^/\0]+)")
_KEPT_BYTES = 100_000_000


class Shelf:
    """Finds files and reads them; recent ones are cached. Threads may share it."""

    def __init__(self, archive: Archive, folder: Path | None = None, scenes: Scenes = lambda _, __: None) -> None:
        self._archive, self._folder, self._scenes = archive, folder, scenes
        self._lock = Lock()
        self._kept: Kept[bytes] = Kept(_KEPT_BYTES)

    def find(self, path: str) -> ArchivedFile | None:
        """The file of that path; None if there is none, or it is not online under exactly this path."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        sunum, place, name = int(found[1]), int(found[2]), found[3]
        for data in map(self._archive.find, self._archive.names):
            rows = data.unit(sunum)
            if len(rows):
                rows = rows.take(np.flatnonzero(rows.stored("slotnum").values == place))
                segment = self._segment(data.structure, rows, name)
                if segment is not None:
                    return self._file(rows, segment, path, (sunum, place, name))
        return None

    def _file(
        self, rows: Rows, segment: Segment, path: str, identity: tuple[int, int, str]
    ) -> ArchivedFile | None:
        """The file of the first record that has this path."""
        cells = rows.segment(segment.name)
        paths = [from_wire(cell) for cell in cells.paths]
        if path not in paths:
            return None
        at = paths.index(path)
        return ArchivedFile(
            *identity,
            segment,
            _shape(cells.dims[at]),
            bzero=_number(cells, "bzeros", at, 0.0),
            bscale=_number(cells, "bscales", at, 1.0),
            compressed="compress" in ((cells.cparms[at] if cells.cparms else None) or ""),
            is_line=cells.dims[at].isdigit(),
            scene=self._scenes(segment, rows.take(np.array([at]))),
        )

    def _segment(self, series: Series, rows: Rows, name: str) -> Segment | None:
        """The segment whose file has that name, in the first of these records."""
        for at, segment in enumerate(series.segments if len(rows) else ()):
            if not segment.protocol.startswith(LINKED) and file_name(rows, at) == name:
                return segment
        return None

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None if it is not there."""
        file = self.find(path)
        if file is None:
            return self._of_no_record(path)
        with self._lock:
            return self._kept.get(file, lambda: self._brought_along(file) or _made().read(file))

    def _of_no_record(self, path: str) -> bytes | None:
        """A file of the world in a unit whose records it does not have: links lead to it."""
        found = _PATH.fullmatch(path)
        if found is None or any(len(self._archive.find(n).unit(int(found[1]))) for n in self._archive.names):
            return None
        return self._recorded(f"D{int(found[1])}", f"S{found[2]}", found[3])

    def exported(self, series: str, recnum: int, segment: str) -> bytes | None:
        """The recorded file of an export with protocol ``fits``, None if there is none."""
        return self._recorded("exported", f"{series}.{recnum}.{segment}.fits")

    def _brought_along(self, file: ArchivedFile) -> bytes | None:
        return self._recorded(f"D{file.sunum}", f"S{file.place:05d}", file.name)

    def _recorded(self, *path: str) -> bytes | None:
        if self._folder is None:
            return None
        plain = self._folder.joinpath(*path)
        packed = plain.with_name(f"{plain.name}.gz")
        if packed.is_file():
            return gzip.decompress(packed.read_bytes())
        return plain.read_bytes() if plain.is_file() else None


class _Made:
    """Files that are made when they are first wanted, and kept. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: Kept[bytes] = Kept(_KEPT_BYTES)

    def read(self, file: ArchivedFile) -> bytes:
        with self._lock:
            return self._kept.get(file, lambda: make_file(file, templates()))


@cache
def _made() -> _Made:
    """Those of all archives of this process: what is made depends on nothing but the file."""
    return _Made()


def file_name(rows: Rows, segment: int) -> str:
    """The name of the file of a segment, by its position in the structure, in the first of the rows."""
    return str(rows.stored(f"sg_{segment:03d}_file").values[0])


def _shape(dims: str) -> tuple[int, int]:
    """Rows and columns of ``4096x4096``; further axes are stacked as rows."""
    sizes = [int(size) for size in dims.split("x") if size.isdigit()] or [1]
    return max(1, int(np.prod(sizes[1:]))), max(1, sizes[0])


def _number(cells: SegmentCells, member: str, at: int, instead: float) -> float:
    texts = getattr(cells, member)
    text = None if texts is None else texts[at]
    try:
        return float(from_wire(text or ""))
    except ValueError:
        return instead


_USUAL_SIZE = 16_000_000


def storage_units(
    request: UnitsRequest, archive: Archive, recorded: Mapping[int, StorageUnit]
) -> StorageUnits:
    """The units, recorded ones as recorded; BadRequest if one is offline: none is brought online by number."""
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
