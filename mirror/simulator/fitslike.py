"""rs_list with the flag f: one object per record, names and values as in a FITS header.

The real program crashes on requests that we refuse here: everything at once, implicit keywords, segments behind a
static link. Floats and doubles have all their digits, times three decimals. All values are wire text. A keyword or
link that cannot be followed is ``"invalid":true``; a segment then has only a path, which says why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.times import format_time, is_missing_time
from mirror.errors import Refused
from mirror.simulator.cells import (
    BAD_SEGMENT_LINK,
    keyword_named,
    link_cells,
    online,
    record_names,
    segment_cells,
)
from mirror.wire.info import ALL, expand_names
from mirror.wire.text import from_wire, name_to_wire, to_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.series import Keyword
    from mirror.simulator.answer import Part
    from mirror.wire.info import RsListRequest

_FITS_NAME = re.compile(r"\[([A-Z0-9_-]{1,8})[\]:]")
_ABSENT = ("MISSING", "Invalid KeyLink")
_DECIMALS = 3

Cells = tuple[str, "Sequence[str | None]"]

Named = tuple[tuple[str, str | None], ...]  #: names, each with its value, None if it is invalid


@dataclass(frozen=True, slots=True)
class RecsetSegment:
    """A segment of one record; None means that the member is absent."""

    name: str
    path: str
    online: int | None = None
    dims: str | None = None
    cparms: str | None = None
    bzero: str | None = None
    bscale: str | None = None


@dataclass(frozen=True, slots=True)
class RecsetRecord:
    """One record; ``online`` is there if the request had R=1."""

    specification: str
    keywords: Named = ()
    segments: tuple[RecsetSegment, ...] = ()
    links: Named = ()
    online: int | None = None


def fits_records(request: RsListRequest, parts: Sequence[Part]) -> list[RecsetRecord]:
    """The records of all sets, in order; Refused for what crashes the real program."""
    return [record for part in parts for record in _records(request, part)]


def _records(request: RsListRequest, part: Part) -> list[RecsetRecord]:
    keywords = _keywords(request, part)
    links = [(name, _links(part, name)) for name in expand_names(request.links, ())]
    segments = [_segments(part, name) for name in expand_names(request.segments, ())]
    return [
        RecsetRecord(
            name,
            tuple((key, cells[at]) for key, cells in keywords),
            tuple(cells[at] for cells in segments),
            tuple((link, cells[at]) for link, cells in links),
            _online([cells[at] for cells in segments]) if request.recinfo else None,
        )
        for at, name in enumerate(record_names(part.rows, part.series))
    ]


def _online(segments: Sequence[RecsetSegment]) -> int:
    """1 if any of the segments is online; without the flag f only the last one counts."""
    return int(any(segment.online for segment in segments))


# ---- keywords -----------------------------------------------------------------------------------


def _keywords(request: RsListRequest, part: Part) -> list[Cells]:
    """Columns by FITS name; of several with one name the first is kept."""
    if ALL in (request.keys or ()):
        raise Refused(f"the flag f and {ALL} do not go together; expected the names of keywords")
    columns: dict[str, Sequence[str | None]] = {}
    for name in expand_names(request.keys, ()):
        keyword = keyword_named(part.series, name)
        if keyword is None:
            columns.setdefault(name, [None] * len(part.rows))
        else:
            columns.setdefault(_fits_name(keyword), _values(part, keyword))
    return list(columns.items())


def _fits_name(keyword: Keyword) -> str:
    """The name in brackets in the note, else the keyword's own."""
    found = _FITS_NAME.match(keyword.note)
    return found[1] if found else keyword.name


def _values(part: Part, keyword: Keyword) -> Sequence[str | None]:
    if keyword.name in part.series.implicit:
        raise Refused(f"the flag f does not go with the implicit keyword {keyword.name}")
    texts = part.rows.printed(keyword.name, True)
    if keyword.constant or keyword.linkinfo is not None or keyword.type not in {"float", "double", "time"}:
        return [None if text in _ABSENT else text for text in texts]
    numbers = part.rows.stored(keyword.name.lower()).values.tolist()
    return [_value(keyword, number) for number in numbers]


def _value(keyword: Keyword, number: float) -> str | None:
    if math.isnan(number) or (keyword.type == "time" and is_missing_time(number)):
        return None
    if keyword.type != "time":
        return _number(number, 9 if keyword.type == "float" else 17)
    text = format_time(number, keyword.units, _DECIMALS)
    return to_wire(text.removesuffix("Z") if keyword.units == "ISO" else text)


def _number(number: float, digits: int) -> str:
    """A number as FITS has it: always with a point."""
    text = f"{number:.{digits}G}"
    return text if "." in text or "E" in text or not math.isfinite(number) else f"{text}."


# ---- segments and links ---------------------------------------------------------------------------


def _segments(part: Part, name: str) -> list[RecsetSegment]:
    static = {link.name for link in part.series.links if link.kind == "STATIC"}
    segment = part.series.segment(name)
    if segment is not None and static & set(segment.protocol.split()):
        raise Refused(f"the flag f does not go with segment {name}, which lies behind a static link")
    cells = segment_cells(part.rows, part.segments, name)
    nothing: Sequence[str | None] = [None] * len(part.rows)
    columns = (cells.paths, cells.dims, cells.cparms or nothing, cells.bzeros or nothing, cells.bscales or nothing)
    return [_segment(name, *row) for row in zip(*columns, strict=True)]


def _segment(
    name: str, path: str | None, dims: str | None, cparms: str | None, bzero: str | None, bscale: str | None
) -> RecsetSegment:
    if path is None or path in (BAD_SEGMENT_LINK, "InvalidSegName"):
        return RecsetSegment(name, path or BAD_SEGMENT_LINK)
    scale = (None if text is None else _number(float(from_wire(text)), 17) for text in (bzero, bscale))
    return RecsetSegment(name, path, int(online(path)), dims, cparms, *scale)


def _links(part: Part, name: str) -> Sequence[str | None]:
    return [None if cell == "Invalid_Link" else cell for cell in link_cells(part.rows, part.series, name)]


# ---- encoding ------------------------------------------------------------------------------------


def encode_recset(records: Iterable[RecsetRecord], *, runtime: float) -> bytes:
    """The bytes of the real server for these records; without records it is the empty answer of rs_list."""
    encoded = [_record(record) for record in records]
    recset = f'"recset":[{",".join(encoded)}],' if encoded else ""
    return f'{{{recset}"count":{len(encoded)},"runtime":{runtime:.3f},"status":0}}\n'.encode("latin-1")


def _record(record: RecsetRecord) -> str:
    keywords = ",".join(_named(name, "value", value) for name, value in record.keywords)
    links = ",".join(_named(name, "linkedrec", value) for name, value in record.links)
    online = "" if record.online is None else f',"online":{record.online}'
    return (
        f'{{"specification":"{record.specification}","keywords":[{keywords}],'
        f'"segments":[{",".join(map(_encoded_segment, record.segments))}],"links":[{links}]{online}}}'
    )


def _named(name: str, what: str, value: str | None) -> str:
    fields = '"invalid":true' if value is None else f'"{what}":"{value}"'
    return f'{{"name":"{name_to_wire(name)}",{fields}}}'


def _encoded_segment(segment: RecsetSegment) -> str:
    online = "" if segment.online is None else f',"online":{segment.online}'
    fields = [(part, getattr(segment, part)) for part in ("path", "dims", "cparms", "bzero", "bscale")]
    texts = "".join(f',"{part}":"{text}"' for part, text in fields if text is not None)
    return f'{{"name":"{name_to_wire(segment.name)}"{online}{texts}}}'
