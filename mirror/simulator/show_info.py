"""show_info: the content of a series as text, with all flags of the real program.

The layout follows NetDRMS' public source. Messages that the program would print to its log, which is not visible on the
web, are part of the text.

    c l j s e h          how many records, keywords, the definition, first and last, the parts of a query, help
    key a seg A K        which keywords, segments and links
    r S i o R x T z I    columns before them: numbers, queries, what is told of storage units and sessions
    p P                  directories before the names of files, or alone
    n b M link sunum     the first or last n, all versions, all digits, the record at a link, by storage units
    k q t d              one value a line, no header, types and formats, dimensions
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from mirror.drms.parser import parse_query
from mirror.drms.recordset import RecordSetQuery, Where
from mirror.drms.times import MISSING_TIME, format_time
from mirror.errors import BadRequest, MirrorError, UnknownSeries
from mirror.simulator.archive import Wanted
from mirror.simulator.cells import (
    MISSING,
    keyword_cells,
    keyword_named,
    link_cells,
    record_names,
    segment_cells,
)
from mirror.simulator.evaluate import count, select
from mirror.wire.info import c_int
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.drms.series import Keyword, Segment, Series
    from mirror.simulator.archive import Archive
    from mirror.simulator.base import Rows, SeriesData

NO_DIRECTORY = "**_NO_sudir_**"
_NO_TAPE = ("NA", "-9999")
_LINKED = "link via "
_DEFAULT_FORMATS = {
    "char": "%hhd",
    "short": "%hd",
    "int": "%d",
    "longlong": "%lld",
    "float": "%f",
    "double": "%f",
}
_BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
_USAGE = """\
show_info ds=<record set> {n=<count>} {key=<keywords>} {seg=<segments>} {sunum=<numbers>} {link=<link>}
 and once: c count, l keywords, j definition, s statistics, e parts of the query, h this help
 a record: a A K i I o p P r R S T x z; how: b d k M q t
"""


class Told(BadRequest):
    """The program's output in place of records."""


@dataclass(frozen=True)
class Asking:
    """One call: its parameters, and the archive."""

    params: Mapping[str, str]
    archive: Archive

    def given(self, *flags: str) -> bool:
        """Whether any of the flags is set."""
        return any(self.params.get(flag, "0") not in ("", "0") for flag in flags)

    def names(self, parameter: str) -> list[str]:
        """The names of a list, each once, whatever its case."""
        given = (part.strip() for part in self.params.get(parameter, "").split(",") if part.strip())
        return list({name.lower(): name for name in reversed(list(given))}.values())[::-1]


def run_show_info(params: Mapping[str, str], archive: Archive) -> tuple[str, int]:
    """The output, and how many records it is about; a ``MirrorError`` for what cannot be answered."""
    asking = Asking(params, archive)
    if asking.given("h"):
        return _USAGE, 0
    if params.get("sunum", "-1").strip() not in ("", "-1"):
        return _by_units(asking)
    if not params.get("ds"):
        raise Told("### show_info: the parameter ds is missing; expected a record set, as in ds=hmi.v_45s[$]")
    if asking.given("j", "l", "s"):
        return "".join(f"{line}\n" for line in _of_series(asking)), 0
    query = _query(asking)
    if asking.given("e"):
        return _parts_of(query, asking), 0
    n = c_int(params.get("n", ""))
    if asking.given("c"):
        return _counted(asking, query)
    if not n and not any(each.filters for each in query.sets):
        raise Told(
            "### show_info - the query must contain a record-filter, or the n=num_records or @file argument must "
            "be present."
        )
    wanted = [archive.bind(each, str(query)) for each in query.sets]
    found = [(w, select(w.selection, w.data, n)) for w in wanted]
    total = sum(len(rows) for _, rows in found)
    if not total:
        said = (
            "" if asking.given("q") else f"** No records in selected data set, query was {params['ds']} **\n"
        )
        return said, 0
    return _printed(asking, [_Records(asking, w.data, rows) for w, rows in found], ()), total


def _query(asking: Asking) -> RecordSetQuery:
    """The query; with ``b`` each set sees all versions."""
    query = parse_query(asking.params["ds"])
    if not asking.given("b"):
        return query
    everything = Where("1=1", all_versions=True)
    return RecordSetQuery(tuple(replace(s, filters=(*s.filters, everything)) for s in query.sets))


def _counted(asking: Asking, query: RecordSetQuery) -> tuple[str, int]:
    wanted = [asking.archive.bind(each, str(query)) for each in query.sets]
    total = sum(count(w.selection, w.data) for w in wanted)
    return f"{total}\n" if asking.given("q") else f"{total} records match the query\n", total


def _parts_of(query: RecordSetQuery, asking: Asking) -> str:
    head = "" if asking.given("q") else "SERIES\tFILTER\n"
    filters = [(s.series, str(s).removeprefix(s.series) or "NONE") for s in query.sets]
    return head + "".join(f"{series}\t{text}\n" for series, text in filters)


def _by_units(asking: Asking) -> tuple[str, int]:
    """Records by the numbers of their storage units, of any version; unknown numbers come first."""
    numbers = [c_int(text) for text in asking.params["sunum"].split(",") if text.strip()]
    found: dict[str, list[Rows]] = {}
    unknown: list[int] = []
    for number in numbers:
        owners = [
            (name, rows)
            for name in asking.archive.names
            if len(rows := asking.archive.find(name).unit(number))
        ]
        for name, rows in owners[:1]:
            found.setdefault(name, []).append(rows)
        if not owners:
            unknown.append(number)
    records = [
        _Records(asking, asking.archive.find(name), rows) for name, parts in found.items() for rows in parts
    ]
    total = sum(len(each.rows) for each in records)
    if asking.given("c"):
        return f"{total}\n" if asking.given("q") else f"{total} records match the query\n", total
    return _printed(asking, records, unknown), total


# ---- the records ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """A heading, its type and format, and a value per record; None where a list omits the line."""

    name: str
    type: str
    form: str
    values: Sequence[str | None]
    mark: str = ""  #: before the name in a list


class _Records:
    """Some records of one series, and what to print of them."""

    def __init__(self, asking: Asking, data: SeriesData, rows: Rows) -> None:
        self.asking, self.data, self.rows = asking, data, rows
        self.series: Series = data.structure
        link = asking.params.get("link", "").strip()
        #: What is printed about the record itself is printed about the link's target, if there is one.
        self.told_of = self._at_link(link) if link else [(self.series, rows)]

    def _at_link(self, link: str) -> list[tuple[Series, Rows]]:
        texts = link_cells(self.rows, self.series, link)
        return [self._target(at, from_wire(text)) for at, text in enumerate(texts)]

    def _target(self, at: int, ds: str) -> tuple[Series, Rows]:
        try:
            wanted: Wanted = self.asking.archive.wanted(ds)[0]
            rows = select(wanted.selection, wanted.data, 1)
        except MirrorError:
            rows = None
        return (wanted.structure, rows) if rows else (self.series, self.rows.take(_one(at)))

    def each(self, values: Callable[[Series, Rows], Sequence[str]]) -> list[str]:
        """A value of each record, or of the one at its link."""
        return [value for series, rows in self.told_of for value in values(series, rows)]

    def names(self) -> list[str]:
        return self.each(lambda series, rows: [from_wire(name) for name in record_names(rows, series)])

    # ---- columns ----------------------------------------------------------------------------------

    def columns(self) -> list[_Column]:
        given = self.asking.given
        columns: list[_Column] = []
        for flag, name in (("r", "recnum"), ("S", "sunum")):
            if given(flag):
                columns.append(_Column(name, "longlong", "%lld", self.each(_number(name)), "## "))
        if given("i") and not given("k"):
            columns.append(_Column("query", "string", "%s", self.names()))
        return [*columns, *self.of_storage(), *self.keywords(), *self.files(), *self.links()]

    def of_storage(self) -> Iterator[_Column]:
        """The columns about the storage unit, and about the session that made the record."""
        given = self.asking.given
        for flag, name in (("o", "online"), ("R", "retain"), ("x", "archive")):
            if given(flag):
                yield _Column(name, "string", "%s", self.each(_of_unit(name)), "## ")
        if given("T"):
            for at, (name, type_, form) in enumerate(
                (("tapename", "string", "%s"), ("filenum", "int", "%04d"))
            ):
                values = self.each(partial(_tapes, at))
                yield _Column(name, type_, form, values, "## ")
        if given("z"):
            yield _Column("size", "longlong", "%lld", self.each(_of_unit("size")), "## ")
        if given("I"):
            types = ("string", "longlong", "string", "string", "string")
            for at, name in enumerate(("host", "sessionid", "runtime", "jsoc_version", "logdirectory")):
                values = self.each(partial(_sessions, at))
                yield _Column(name, types[at], "%lld" if types[at] == "longlong" else "%s", values, "## ")

    def keywords(self) -> Iterator[_Column]:
        names = self.series.all_keywords if self.asking.given("a") else self.asking.names("key")
        for name in names:
            keyword = keyword_named(self.series, name)
            if keyword is None:
                yield _Column(name, "TBD", "TBD", ["InvalidKeyname"] * len(self.rows))
                continue
            values = self.values(name, keyword)
            form = self.data.print_format(keyword.name) or _likely_format(keyword, values)
            yield _Column(name, keyword.type, "%s" if keyword.type == "time" else form, values)

    def values(self, name: str, keyword: Keyword) -> list[str | None]:
        """Values as printed, missing ones too: the type's missing value, in the keyword's format."""
        cells = keyword_cells(self.rows, self.series, name, self.asking.given("M"))
        texts = [from_wire(str(cell)) for cell in cells]
        if MISSING in texts or "0x80000000" in texts:
            form = self.data.print_format(keyword.name)
            missing = missing_text(keyword, form, texts, precise=self.asking.given("M"))
            texts = [missing if text in (MISSING, "0x80000000") else text for text in texts]
        if self.asking.given("k") and keyword.type == "string":
            texts = [f'"{text}"' for text in texts]
        # A list omits a keyword behind a link that leads nowhere.
        gone = None if self.asking.given("k") else "InvalidKeyname"
        return [gone if text.strip('"') == "Invalid KeyLink" else text for text in texts]

    def files(self) -> Iterator[_Column]:
        given, path = self.asking.given, self.asking.given("p", "P")
        names = [s.name for s in self.series.segments] if given("A") else self.asking.names("seg")
        if not names:
            if path:
                directories = [from_wire(text) for text in self.rows.pseudo("*recdir*")]
                values = [text if text.startswith("/") else NO_DIRECTORY for text in directories]
                yield _Column("SUDIR", "string", "%s", values)
            return
        for name in names:
            cells = segment_cells(self.rows, self.series.segments, name)
            segment = self.series.segment(name)
            files = [
                self.file(at, from_wire(text), segment, path=path) for at, text in enumerate(cells.paths)
            ]
            protocol = "TBD" if segment is None else _protocol(segment)
            yield _Column(name, protocol, "%s", files)
            if given("d"):
                known = segment is not None
                dims = [_dimensions(segment, from_wire(d)) if known and segment else "" for d in cells.dims]
                yield _Column(f"{name}_info", "string", "%s", dims)

    def file(self, at: int, text: str, segment: Segment | None, *, path: bool) -> str:
        """A path, or the name alone, which an offline file has as well."""
        _, slash, name = text.rpartition("/")
        if slash:
            return text if path else name
        if text != "NoDataDirectory" or segment is None:
            return text
        own = [s for s in self.series.segments if not s.protocol.startswith(_LINKED)]
        if segment in own:
            name = str(self.rows.take(_one(at)).stored(f"sg_{own.index(segment):03d}_file").values[0])
        else:
            name = ""
        return f"{NO_DIRECTORY}/{name}" if path else name

    def links(self) -> Iterator[_Column]:
        for link in self.series.links if self.asking.given("K") else ():
            texts = [from_wire(text) for text in link_cells(self.rows, self.series, link.name)]
            if self.asking.given("k"):
                values = [None if text == "Invalid_Link" else f'"{text}"' for text in texts]
            else:
                values = ["InvalidLink" if text == "Invalid_Link" else text for text in texts]
            yield _Column(link.name, link.kind.lower(), "%s", values)


def _one(at: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.array([at], dtype=np.intp)


def _number(column: str) -> Callable[[Series, Rows], list[str]]:
    return lambda _, rows: [str(number) for number in rows.stored(column).values.tolist()]


def _of_unit(name: str) -> Callable[[Series, Rows], list[str]]:
    """NA for a record without a unit; an offline unit has no retention time."""

    def told(_: Series, rows: Rows) -> list[str]:
        texts = [from_wire(text) for text in rows.pseudo(f"*{name}*")]
        if name == "retain":
            online = rows.pseudo("*online*")
            texts = ["-1" if there == "N" else text for text, there in zip(texts, online, strict=True)]
        units = rows.stored("sunum").values.tolist()
        return [text if unit >= 0 else "NA" for text, unit in zip(texts, units, strict=True)]

    return told


def _tapes(at: int, _: Series, rows: Rows) -> list[str]:
    """Invented: which tape a unit is on, and where on it, follows from its number."""
    archived = rows.pseudo("*archive*")
    units = rows.stored("sunum").values.tolist()
    tapes = [(f"{unit // 1000 % 10**6:06d}S1", f"{unit % 1000:04d}") for unit in units]
    pairs = zip(tapes, units, archived, strict=True)
    return [(tape if unit >= 0 and kept == "Y" else _NO_TAPE)[at] for tape, unit, kept in pairs]


def _sessions(at: int, series: Series, rows: Rows) -> list[str]:
    """Invented: one session per record, at the time at which the record was written."""
    made = series.keyword("DATE")
    if at == 1:
        return [str(number) for number in rows.stored("recnum").values.tolist()]
    if at == 2 and made is not None:
        return [from_wire(time) for time in rows.printed(made.name, False)]
    return [("No host", "", "No time", "No version", "No log available")[at]] * len(rows)


def _likely_format(keyword: Keyword, values: Sequence[str | None]) -> str:
    """The format where it is unknown: the type's own, or hexadecimal if the values are."""
    if keyword.type in _BITS and any(value and value[:2] in ("0x", "0X") for value in values):
        return "0x%08X"
    return _DEFAULT_FORMATS.get(keyword.type, "%s")


def missing_text(keyword: Keyword, form: str | None, texts: Sequence[str], *, precise: bool) -> str:
    """What the program prints for a missing value: the type's missing value in the keyword's format.

    If no format is known, other values show whether it is hexadecimal.
    """
    if keyword.type == "time":
        decimals = 6 if precise else int(form or 0)
        return (
            format_time(MISSING_TIME, keyword.units, decimals) if _is_zone(keyword.units) else keyword.defval
        )
    if keyword.type in _BITS:
        lowest = -(1 << (_BITS[keyword.type] - 1))
        shown = form or ("0x%08X" if any(t[:2] in ("0x", "0X") for t in texts) else "%d")
        if precise:
            shown = "%d"
        if shown[-1] in "xXo":
            lowest += 1 << _BITS[keyword.type]
        return _plain(shown) % lowest
    if keyword.type in ("float", "double"):
        return ("%G" if precise else _plain(form or "%f")) % float("nan")
    return ""


def _plain(form: str) -> str:
    """A C format without the length of the integer, which Python does not have."""
    return form.replace("ll", "").replace("hh", "").replace("h", "").replace("l", "")


def _is_zone(unit: str) -> bool:
    try:
        format_time(0.0, unit, 0)
    except (MirrorError, ValueError, KeyError):
        return False
    return True


def _protocol(segment: Segment) -> str:
    return segment.protocol.partition(" ")[0]


def _dimensions(segment: Segment, dims: str) -> str:
    if segment.protocol.startswith(_LINKED):
        return ""
    return f'"{segment.units}, {segment.protocol}, {dims}"'


# ---- printing -----------------------------------------------------------------------------------------


def _printed(asking: Asking, records: Sequence[_Records], unknown: Sequence[int]) -> str:
    return "".join(f"{line}\n" for line in (_list if asking.given("k") else _table)(asking, records, unknown))


def _table(asking: Asking, records: Sequence[_Records], unknown: Sequence[int]) -> Iterator[str]:
    blocks = [each.columns() for each in records]
    heads = blocks[0] if blocks else _headings(asking)
    if not asking.given("q"):
        yield "\t".join(column.name for column in heads)
        if asking.given("t"):
            yield "\t".join(column.type for column in heads)
            yield "\t".join(column.form for column in heads)
    for number in unknown:
        yield "\t".join(_padded(column, text) for column, text in _nothing_known(asking, number))
    if blocks and not heads:
        yield f"{sum(len(each.rows) for each in records)} records found, no other information requested"
        return
    for columns in blocks:
        padded = [[_padded(column, value or "") for value in column.values] for column in columns]
        yield from map("\t".join, zip(*padded, strict=True))


def _padded(column: _Column, text: str) -> str:
    return f"{text:>6}" if column.name in ("recnum", "sunum") and text != "NA" else text


def _headings(asking: Asking) -> list[_Column]:
    """Of records that do not exist."""
    return [column for column, _ in _nothing_known(asking, -1)]


def _nothing_known(asking: Asking, number: int) -> list[tuple[_Column, str]]:
    """The line for an unknown storage unit."""
    wanted = [("r", "recnum", "NA"), ("S", "sunum", str(number)), ("i", "query", "NA"), ("o", "online", "NA")]
    wanted += [("R", "retain", "NA"), ("x", "archive", "NA")]
    wanted += [("T", "tapename", _NO_TAPE[0]), ("T", "filenum", _NO_TAPE[1]), ("z", "size", "NA")]
    wanted += [
        ("I", name, "ERROR") for name in ("host", "sessionid", "runtime", "jsoc_version", "logdirectory")
    ]
    told = [(_Column(name, "string", "%s", ()), text) for flag, name, text in wanted if asking.given(flag)]
    if asking.given("p", "P"):
        told.append((_Column("SUDIR", "string", "%s", ()), NO_DIRECTORY))
    return told


def _list(asking: Asking, records: Sequence[_Records], unknown: Sequence[int]) -> Iterator[str]:
    blocks: list[list[str]] = []
    for number in unknown:
        told = [
            (column.name, text) for column, text in _nothing_known(asking, number) if column.name != "query"
        ]
        lines = [f"{'' if name == 'SUDIR' else '## '}{name}={text}" for name, text in told]
        blocks.append([f"# sunum={number}", *lines])
    for each in records:
        columns, names = each.columns(), each.names()
        for at, name in enumerate(names):
            values = [
                (column, column.values[at])
                for column in columns
                if column.type != "TBD" or column.form == "%s"
            ]
            lines = [f"{column.mark}{column.name}={value}" for column, value in values if value is not None]
            blocks.append([f"# {name}", *lines])
    yield from chain.from_iterable(([""] if at else []) + lines for at, lines in enumerate(blocks))


# ---- the series ---------------------------------------------------------------------------------------


def _of_series(asking: Asking) -> Iterator[str]:
    """``l``, ``j`` or ``s``: about the series with which the query begins."""
    name = asking.params["ds"].partition("[")[0].partition("{")[0].strip()
    try:
        data = asking.archive.find(name)
    except UnknownSeries as problem:
        raise Told(f"### show_info: series {name} not found.") from problem
    if asking.given("l"):
        return _keywords_of(data.structure)
    return _definition(data) if asking.given("j") else _statistics(data)


def _keywords_of(series: Series) -> Iterator[str]:
    yield "Prime Keys are:" if series.primekeys else "No Prime Keys are defined for this series."
    for key in series.primekeys:
        keyword = series.keyword(key.name)
        scope = keyword.recscope if keyword else ""
        yield f"\t{key.name}" + (f" is slotted '{scope}' using {key.name}_index" if key.slotted else "")
    yield "DB Index Keys are:" if series.dbindex else "DB Index Keys are same as Prime Keys"
    yield from (f"\t{name}" for name in series.dbindex)
    yield f"All Keywords for series {series.name}:"
    for keyword in series.keywords:
        if keyword.name not in series.implicit or keyword.recscope == "index":
            yield f"\t{keyword.name:<10}\t{_origin(keyword)}\t{keyword.note}"
    if series.segments:
        yield f"Segments for series {series.name}:"
        yield from map(_segment_line, series.segments)
    if series.links:
        yield f"Links for series {series.name}:"
        for link in series.links:
            yield f"\t{link.name:<10}\t{link.kind.upper()}\t{link.target}\t{link.note}"


def _origin(keyword: Keyword) -> str:
    if keyword.linkinfo is not None:
        return f"link through {keyword.linkinfo.partition('->')[0]}"
    return f"({keyword.type})" + (", per-segment" if keyword.recscope == "segment" else "")


def _segment_line(segment: Segment) -> str:
    if segment.protocol.startswith(_LINKED):
        return f"\tlink through {segment.protocol.removeprefix(_LINKED)}\t{segment.note}"
    dims = f"\t{segment.dims}" if segment.dims else ""
    return f"\t{segment.name:<10}\t{segment.units:>7}\t{segment.protocol:>7}{dims}\t{segment.note}"


def _definition(data: SeriesData) -> Iterator[str]:
    series = data.structure
    yield "#=====General Series Information====="
    told = [("Seriesname", series.name), ("Author", '"unknown"'), ("Owner", series.owner or "production")]
    told += [
        ("Unitsize", str(series.unitsize)),
        ("Archive", str(series.archive)),
        ("Retention", str(series.retention)),
    ]
    told += [("StagingRetention", str(series.stagingretention or 2)), ("Tapegroup", str(series.tapegroup))]
    told += [("PrimeKeys", ", ".join(key.name for key in series.primekeys))] if series.primekeys else []
    told += [("DBIndex", ", ".join(series.dbindex))] if series.dbindex else []
    yield from (f"{name + ':':<17}\t{value}" for name, value in [*told, ("Description", f'"{series.note}"')])
    yield from ("", "#=====Links=====")
    for link in series.links:
        yield f'Link: {link.name}, {link.target}, {link.kind.lower()}, "{link.note}"'
    yield from ("", "#=====Keywords=====")
    yield from (_keyword_definition(k, data) for k in series.keywords if k.name not in series.implicit)
    yield from ("", "#=====Segments=====")
    yield from map(_segment_definition, series.segments)


def _keyword_definition(keyword: Keyword, data: SeriesData) -> str:
    if keyword.linkinfo is not None:
        link, _, target = keyword.linkinfo.partition("->")
        return f'Keyword:{keyword.name}, link, {link}, {target}, "{keyword.note}"'
    scope = "variable" if keyword.recscope == "segment" else keyword.recscope
    form = data.print_format(keyword.name) or (
        "0" if keyword.type == "time" else _DEFAULT_FORMATS.get(keyword.type, "%s")
    )
    value = f'"{keyword.defval}"' if keyword.type == "string" else keyword.defval
    unit = f'"{form}", "{keyword.units}"' if keyword.units.strip() else f"{form}, none"
    place = "segment" if keyword.recscope == "segment" else "record"
    return f'Keyword:{keyword.name}, {keyword.type}, {scope}, {place}, {value}, {unit}, "{keyword.note}"'


def _segment_definition(segment: Segment) -> str:
    if segment.protocol.startswith(_LINKED):
        link = segment.protocol.removeprefix(_LINKED)
        return f'Data: {segment.name}, link, {link}, {segment.name}, 0, "{segment.note}"'
    varies = segment.dims.upper().startswith("VAR")
    axes = segment.dims.split("x") if segment.dims else []
    sizes = "".join(f", {0 if varies else axis}" for axis in axes)
    told = f"Data: {segment.name}, {'vardim' if varies else 'variable'}, {segment.type}, {len(axes)}{sizes}"
    told += f', "{segment.units}", {segment.protocol}'
    if segment.protocol == "fits":
        told += ', "compress Rice"' + ("" if segment.type in ("float", "double") else f", {0:f}, {1:f}")
    return f'{told}, "{segment.note}"'


def _statistics(data: SeriesData) -> Iterator[str]:
    extent = data.structure.extent
    if extent.max_recnum < 1:
        yield "No records Present"
    else:
        yield f"First Record: {extent.first_record}, Recnum = {extent.first_recnum}"
        yield f"Last Record:  {extent.last_record}, Recnum = {extent.last_recnum}"
        yield f"Last Recnum:  {extent.max_recnum}"
    yield "Has shadow table: no"
