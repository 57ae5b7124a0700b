"""Quick looks: the picture of a record's first image, of the file that the mirror holds or fetches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.errors import NotHeld, Refused, UnknownName
from mirror.drms.export import ExportRequest
from mirror.engine.files import SegmentFile
from mirror.services.colours import look_of
from mirror.services.picture import quick_look
from mirror.services.wanted import Wanted, Where
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.engine.files import Files
    from mirror.services.exportplan import ExportPlanner, Plan
    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob
    from mirror.storage.holdings import Holdings
    from mirror.storage.layout import Row

#: A record whose camera is turned by more than this, in degrees, is shown turned by 180.
_UPSIDE_DOWN = 90.0
#: Axes of an image; a linked segment does not tell its own, and may be one.
_PLANE = 2


@dataclass(frozen=True, slots=True)
class QuickLook:
    """A PNG, and whose it is: the record's query, the segment, and the name of the archived file."""

    png: bytes
    record: str
    segment: str
    file: str


class QuickLooks:
    """Makes quick looks, one at a time: each keeps a processor busy for a second."""

    def __init__(self, planner: ExportPlanner, files: Files, holdings: Holdings, blobs: Blobs) -> None:
        self._planner = planner
        self._files = files
        self._holdings = holdings
        self._blobs = blobs
        self._turn = asyncio.Lock()

    async def of(self, request: ExportRequest, number: int) -> QuickLook:
        """The picture of the ``number``-th record of a request, counted from 1.

        Of the segments asked for, else of the first of the series that is an image. UnknownName if there
        is no such record or image, NotHeld if its file is on tape.
        """
        plan = await self._planner.plan(request, images_only=False)
        if not 1 <= number <= len(plan.rows):
            raise UnknownName(f"there is no record {number} of {request.ds}; expected 1 to {len(plan.rows)}")
        row = plan.rows[number - 1]
        wanted = _first_image(plan, row.recnum)
        blob = await self._content(wanted)
        look = look_of(plan.series.name, wanted.segment, _wavelength(plan, row))
        async with self._turn:
            with self._blobs.reading(blob) as path:
                png = await asyncio.to_thread(quick_look, path, look, turned=_turned(plan, row))
        return QuickLook(png, wanted.record, wanted.segment, wanted.file)

    async def _content(self, wanted: Wanted) -> Blob:
        held = await self._holdings.of(wanted.owner)
        if held is not None:
            return held.blob
        if wanted.place is not Where.ONLINE:
            hint = "; `mirror fetch` has it brought back" if wanted.place is Where.OFFLINE else ""
            name = f"{wanted.record}{{{wanted.segment}}}"
            raise NotHeld(f"the file of {name} is not to be had: {wanted.place.value}{hint}", (name,))
        return await self._files.get(SegmentFile(wanted.path, wanted.owner, wanted.day))


def _first_image(plan: Plan, recnum: int) -> Wanted:
    mine = [w for w in plan.files if w.owner.recnum == recnum]
    shapes = {s.name: s.dims.count("x") + 1 if s.dims else _PLANE for s in plan.series.segments}
    images = [w for w in mine if w.file.lower().endswith(".fits") and shapes[w.segment] == _PLANE]
    if not images:
        names = ", ".join(w.segment for w in mine) or "none"
        raise Refused(f"{plan.series.name} has no segment that is an image; its segments are: {names}")
    there = [w for w in images if w.place is not Where.NOWHERE]
    return (there or images)[0]


def _wavelength(plan: Plan, row: Row) -> int | None:
    value = _number(plan, row, "WAVELNTH")
    return None if value is None else round(value)


def _turned(plan: Plan, row: Row) -> bool:
    angle = _number(plan, row, "CROTA2")
    return angle is not None and abs((angle + 180) % 360 - 180) > _UPSIDE_DOWN


def _number(plan: Plan, row: Row, name: str) -> float | None:
    """The value of a keyword; None if it is missing, no number, or not there."""
    keyword = plan.series.keyword(name)
    if keyword is None or keyword.name not in row.fields:
        return None
    try:
        return float(from_wire(row[keyword.name]))
    except ValueError:
        return None
