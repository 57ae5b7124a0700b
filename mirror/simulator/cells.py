"""The printed cells of records of one series: a column of wire text for each requested name.

An unknown name is answered too, with a text that says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mirror.simulator.base import SegmentCells
from mirror.wire.text import to_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.recordset import RecordSet
    from mirror.drms.series import Keyword, Segment, Series
    from mirror.simulator.base import Rows

MISSING = "MISSING"
BAD_SEGMENT_LINK = "BadSegLink"
NUMBERS = ("*recnum*", "*sunum*")  #: pseudo keywords that are answered as numbers
PSEUDO = ("*size*", "*online*", "*retain*", "*archive*", "*recdir*", "*logdir*", "*dirmtime*")
_ONLINE = to_wire("/SUM")


def keyword_cells(rows: Rows, series: Series, name: str, precise: bool) -> Sequence[str | int]:
    """A keyword in any case, or a pseudo keyword as typed; ``precise`` as the flag M=1 prints it."""
    if name in NUMBERS:
        numbers: list[int] = rows.stored(name.strip("*")).values.tolist()
        return numbers
    if name in PSEUDO:
        return rows.pseudo(name)
    if name == "*spec*":
        return record_names(rows, series)
    keyword = keyword_named(series, name)
    if keyword is None:
        return ["Invalid KeyLink"] * len(rows)
    return _quality(name, rows.printed(keyword.name, precise))


_OF_SEGMENT = re.compile(r"(.+)\[([0-9]+)\]")


def keyword_named(series: Series, name: str) -> Keyword | None:
    """The keyword of a record by its name in any case; ``DATAMIN[1]`` is ``DATAMIN_001``.

    For one of which each segment has its own, the bare name, as in a FITS header, is that of the first segment.
    """
    numbered = _OF_SEGMENT.fullmatch(name)
    found = series.keyword(f"{numbered[1]}_{int(numbered[2]):03d}" if numbered else name)
    if found is not None and found.recscope == "segment" and found in series.keywords:
        return series.keyword(f"{name}_000")
    return found


def _quality(name: str, cells: Sequence[str]) -> Sequence[str]:
    """A missing QUALITY is printed in hex if the name was typed in upper case."""
    if name != "QUALITY" or MISSING not in cells:
        return cells
    return ["0x80000000" if cell == MISSING else cell for cell in cells]


def record_names(rows: Rows, series: Series) -> Sequence[str]:
    """``hmi.V_45s[2014.01.01_00:00:00_TAI][2]``; ``[:#5]`` in a series without prime keys."""
    keywords = [series.keyword(key.name) for key in series.primekeys]
    columns = [_key_cells(rows, keyword) for keyword in keywords if keyword is not None]
    if not columns:
        return [f"[:#{recnum}]" for recnum in rows.stored("recnum").values.tolist()]
    return [series.name + "".join(f"[{cell}]" for cell in cells) for cells in zip(*columns, strict=True)]


def _key_cells(rows: Rows, keyword: Keyword) -> Sequence[str]:
    """A prime key as record names show it: a missing one by its value."""
    cells = rows.printed(keyword.name, False)
    if MISSING not in cells:
        return cells
    instead = to_wire(keyword.defval)
    return [instead if cell == MISSING else cell for cell in cells]


def chosen_segments(series: Series, record_set: RecordSet) -> list[Segment]:
    """The segments of a record set: those in its braces, or all if the braces name none of them."""
    named = {name.lower() for name in record_set.segments or ()}
    chosen = [segment for segment in series.segments if segment.name.lower() in named]
    return chosen or list(series.segments)


def segment_cells(rows: Rows, chosen: Sequence[Segment], name: str) -> SegmentCells:
    """A segment in any case, one of those of the record set."""
    segment = next((s for s in chosen if s.name.lower() == name.lower()), None)
    if segment is None:
        return SegmentCells(["InvalidSegName"] * len(rows), ["NA"] * len(rows))
    return rows.segment(segment.name)


def link_cells(rows: Rows, series: Series, name: str) -> Sequence[str]:
    """A link in any case: the query of the record at its end."""
    link = series.link(name)
    return ["Invalid_Link"] * len(rows) if link is None else rows.link(link.name)


def online(path: str) -> bool:
    """True if the wire text of a segment's path says that its file is online."""
    return path.startswith(_ONLINE)
