"""From cached records to the columns that a client asked for. Pure.

Follows the server's rules for names: found in any case, echoed as typed, never trimmed; for an unknown name every
record has a fixed word instead of an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mirror.errors import NotHeld, Refused
from mirror.storage.index.blocks import AT_ONCE, BlockRows, cut
from mirror.storage.index.layout import (
    ABSENT,
    NAME_FIELD,
    SEGMENT_PARTS,
    SEPARATOR,
    Layout,
    Row,
    link_field,
    segment_field,
)
from mirror.wire.info import ALL, RsListRequest, expand_names
from mirror.wire.rs_list import Joined, RsList, SegmentColumn

INVALID_KEY = "Invalid KeyLink"
INVALID_SEGMENT = "InvalidSegName"
INVALID_LINK = "Invalid_Link"
UNRESOLVED_SEGMENT = "BadSegLink"
#: Values of one answer: some 300 MB of JSON.
MOST_VALUES = 25_000_000
NUMBERS = frozenset({"*recnum*", "*sunum*"})


@dataclass(frozen=True, slots=True)
class FoundRecords:
    """The records of one set of a query, with the segments that its braces name (None: no braces)."""

    layout: Layout
    rows: Sequence[Row]
    braces: tuple[str, ...] | None = None


def answer(request: RsListRequest, parts: Sequence[FoundRecords]) -> RsList:
    """The answer of rs_list made from the records of ``parts``, set after set.

    Refused for ``**ALL**`` over several sets, as by the server.
    """
    _refuse_all_of_several(request, parts)
    tables = [_Table(part) for part in parts if part.rows]
    count = sum(table.count for table in tables)
    if not count:
        return RsList(0)
    first = parts[0].layout.series
    keys = expand_names(request.keys, first.all_keywords)
    if count * len(keys) > MOST_VALUES:
        raise Refused(
            f"{len(keys):,} keywords of {count:,} records are more than {MOST_VALUES:,} values; "
            "expected fewer keywords, or fewer records"
        )
    links = expand_names(request.links, [x.name for x in first.links])
    for table in tables:
        named = (*keys, NAME_FIELD) if request.recinfo else keys
        table.prepare(named, expand_names(request.segments, _braced(parts[0])), links)
    segments = _segments(request, parts, tables)
    recinfo = None
    if request.recinfo:
        names = [name for table in tables for name in table.field(NAME_FIELD)]
        recinfo = list(zip(names, _online(segments, request, tables, count), strict=True))
    return RsList(
        count,
        keywords=[(name, _keyword(name, tables)) for name in keys],
        segments=[_filled(column) for column in segments],
        links=[(name, _joined([t.link(name) for t in tables])) for name in links],
        recinfo=recinfo,
    )


class _Table:
    """The records of one part, cut into fields once."""

    def __init__(self, part: FoundRecords) -> None:
        self.layout = part.layout
        self.braces = part.braces
        self.count = len(part.rows)
        self._rows = part.rows
        self._columns: dict[str, Sequence[str]] = {}

    def prepare(self, keys: Iterable[str], segments: Iterable[str], links: Iterable[str]) -> None:
        """Make all these columns at once, as far as each of the records has them."""
        found = (self.layout.series.segment(name) for name in segments)
        names = {
            *filter(None, map(self._keyword_field, keys)),
            *(segment_field(segment.name, part) for segment in found if segment for part in SEGMENT_PARTS),
            *(link_field(link.name) for name in links if (link := self.layout.series.link(name))),
        }
        if isinstance(self._rows, BlockRows):
            known = self._rows.fields(names)
            self._columns |= zip(known, self._rows.columns(known), strict=True)
            return
        positions = self._rows[0].fields
        known = [name for name in names if name in positions]
        if self.count * len(known) > FEW and all(row.fields is positions for row in self._rows):
            columns = field_columns([row.raw for row in self._rows], [positions[name] for name in known])
            self._columns |= zip(known, columns, strict=True)

    @cached_property
    def _cells(self) -> list[list[str]]:
        return [row.raw.split(SEPARATOR) for row in self._rows]

    def field(self, name: str) -> Sequence[str]:
        """One field of every record; NotHeld where a record was cached before the field existed."""
        if name not in self._columns:
            self._columns[name] = self._column(name)
        return self._columns[name]

    def _column(self, name: str) -> Sequence[str]:
        if name not in self.layout.fields:
            return ["MISSING"] * self.count
        places = [row.fields.get(name) for row in self._rows]
        if lacking := places.count(None):
            raise NotHeld(
                f"{lacking:,} of {self.count:,} records were cached before {self.layout.series.name} had {_plain(name)}, "
                "and JSOC cannot be asked now; leave it out, or let the mirror contact JSOC"
            )
        return [cells[i] for i, cells in zip(places, self._cells, strict=True) if i is not None]

    def keyword(self, name: str) -> Sequence[str]:
        """Wire text of a keyword or pseudo-key as typed."""
        field = self._keyword_field(name)
        if field is None:
            return [INVALID_KEY] * self.count
        return self.field(field)

    def _keyword_field(self, name: str) -> str | None:
        known = self.layout.fields_by_name.get(name)
        if known is not None:
            return known
        keyword = self.layout.series.keyword(name)
        return None if keyword is None else self.layout.aliases.get(keyword.name.lower(), keyword.name)

    def segment(self, name: str) -> list[Sequence[str]] | None:
        """The five lists of a segment, one value a record; None if unknown."""
        segment = self.layout.series.segment(name)
        if segment is None:
            return None
        return [self.field(segment_field(segment.name, part)) for part in SEGMENT_PARTS]

    def link(self, name: str) -> Sequence[str]:
        """Wire text of a link."""
        link = self.layout.series.link(name)
        return [INVALID_LINK] * self.count if link is None else self.field(link_field(link.name))


def _plain(field: str) -> str:
    """What people call a field: a keyword, or a segment in braces."""
    return field[: field.rfind("}") + 1] or field


_Lists = tuple[str, list[Sequence[str]]]


def _refuse_all_of_several(request: RsListRequest, parts: Sequence[FoundRecords]) -> None:
    asked = (request.keys, request.segments, request.links)
    if len(parts) > 1 and any(names is not None and ALL in names for names in asked):
        raise Refused(f"{ALL} over several record sets; expected names, or a record set of one series")


def _keyword(name: str, tables: list[_Table]) -> Sequence[str | int]:
    values = tables[0].keyword(name) if len(tables) == 1 else _joined([table.keyword(name) for table in tables])
    return list(map(int, values)) if name in NUMBERS else values


def _joined(columns: list[Sequence[str]]) -> Sequence[str]:
    return columns[0] if len(columns) == 1 else [value for column in columns for value in column]


def _segments(request: RsListRequest, parts: Sequence[FoundRecords], tables: list[_Table]) -> list[_Lists]:
    """Each requested segment with its five lists, one value per record.

    ``**ALL**`` leaves out records in which a linked segment does not resolve: those are ABSENT here.
    """
    everything = _braced(parts[0])
    columns: list[_Lists] = []
    for asked in request.segments or ():
        for name in expand_names((asked,), everything):
            lists = [_segment(table, name, hide=asked == ALL) for table in tables]
            columns.append((name, [_joined(list(column)) for column in zip(*lists, strict=True)]))
    return columns if expand_names(request.segments, everything) else []


def _braced(part: FoundRecords) -> list[str]:
    """The segments that ``**ALL**`` stands for: those named in braces, or all if none of these exists."""
    names = [s.name for s in part.layout.series.segments]
    wanted = {name.strip().lower() for name in part.braces or ()}
    return [name for name in names if name.lower() in wanted] or names


def _segment(table: _Table, name: str, *, hide: bool) -> list[Sequence[str]]:
    lists = table.segment(name)
    if lists is None:
        absent = [ABSENT] * table.count
        return [[INVALID_SEGMENT] * table.count, ["NA"] * table.count, absent, absent, absent]
    if not hide or UNRESOLVED_SEGMENT not in lists[0]:
        return lists
    kept = [value != UNRESOLVED_SEGMENT for value in lists[0]]
    return [[v if keep else ABSENT for v, keep in zip(column, kept, strict=True)] for column in lists]


def _filled(column: _Lists) -> SegmentColumn:
    name, lists = column
    return SegmentColumn(
        name, *([v for v in part if v != ABSENT] if ABSENT in part else part for part in lists)
    )


def _online(segments: list[_Lists], request: RsListRequest, tables: list[_Table], count: int) -> list[int]:
    """1 for a record if the path of its last shown segment is one of the storage units'."""
    last = [ABSENT] * count
    for _, (values, *_rest) in segments:
        last = [value if value != ABSENT else before for value, before in zip(values, last, strict=True)]
    return [int(value.startswith("\\/SUM")) for value in last]


#: Up to so many values are cut one by one: starting to cut many at a time takes longer.
FEW = 50


def field_columns(raws: Sequence[str], positions: Sequence[int]) -> list[Joined]:
    """The fields at ``positions`` of their key set, each for all records, of which there is at least one.

    All at once they cost little more than one of them.
    """
    blocks = [raws[i : i + AT_ONCE] for i in range(0, len(raws), AT_ONCE)]
    cuts = [cut(block, positions).pieces(0, len(block), go_on=block is not blocks[-1]) for block in blocks]
    return [Joined(pieces, len(raws)) for pieces in zip(*cuts, strict=True)]
