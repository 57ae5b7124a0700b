"""Turns an rs_list answer into rows of the index, as one Arrow table.

Pure but for Arrow. ``batch`` expects the answer to ``fill_request``: every field of the layout.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mirror.drms.timecolumn import parse_printed_times
from mirror.errors import UpstreamBroken
from mirror.storage.index.layout import (
    ABSENT,
    PSEUDO_KEYS,
    SEGMENT_PARTS,
    SEPARATOR,
    Layout,
    Row,
    Tolerance,
    TypedColumn,
    tolerance,
)
from mirror.wire.info import RsListRequest
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.storage.index.layout import Layout
    from mirror.wire.rs_list import RsList, SegmentColumn

MISSING = "MISSING"

#: Texts in place of a time: nothing was stored, or a link does not lead to a record.
_NO_TIMES = frozenset({MISSING, "", "Invalid KeyLink"})

#: Bits of each integer type: hexadecimal formats print two's complement.
_BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
_ARROW = {"SMALLINT": pa.int16(), "INTEGER": pa.int32(), "BIGINT": pa.int64(), "DOUBLE": pa.float64()}

#: Values of a linked segment that does not resolve; the server then omits the segment's parameters.
_NO_SEGMENT = frozenset({"BadSegLink", "InvalidSegName"})


def fill_request(layout: Layout, ds: str, *, n: int | None = None) -> RsListRequest:
    """The request that asks for every field of the layout for the record set ``ds``."""
    keys = (*(k.name for k in layout.keywords), *PSEUDO_KEYS)
    return RsListRequest(
        ds, keys=keys, segments=layout.segments or None, links=layout.links or None, recinfo=True, n=n
    )


def batch(layout: Layout, answer: RsList, keyset: int) -> pa.Table:
    """The rows of an answer: ``recnum, sunum, <typed columns>, _keyset, _raw``, in the answer's order.

    UpstreamBroken if a field is missing, a value cannot be kept, or a time cannot be read.
    """
    try:
        return _rows(layout, answer, keyset)
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise UpstreamBroken(f"a value of the answer cannot be kept: {error}") from error


def _rows(layout: Layout, answer: RsList, keyset: int) -> pa.Table:
    fields = _fields(layout, answer)
    raws = _raws(fields)
    recnums, sunums = (fields[len(layout.keywords) + i] for i in (0, 1))
    typed = {c.name: typed_values(c, f) for c, f in zip(layout.columns, fields, strict=False)}
    for column, texts in zip(layout.columns, fields, strict=False):
        if column.type == "time":
            _check_times(column, texts, typed[column.name])
    return pa.table(
        {
            "recnum": pa.array(map(int, recnums), pa.int64()),
            "sunum": pa.array(map(int, sunums), pa.int64()),
            **typed,
            "_keyset": pa.array([keyset] * answer.count, pa.int32()),
            "_raw": pa.array(raws, pa.string()),
        }
    )


def raw_records(layout: Layout, answer: RsList) -> list[Row]:
    """The records of an answer as the index would give them back, in the answer's order."""
    if not answer.count:
        return []
    fields = _fields(layout, answer)
    positions = {name: i for i, name in enumerate(layout.fields)}
    recnums = fields[positions["*recnum*"]]
    return [Row(int(n), positions, raw) for n, raw in zip(recnums, _raws(fields), strict=True)]


def typed_values(column: TypedColumn, texts: Sequence[str]) -> pa.Array:
    """Wire text as values of the column's type; MISSING and unreadable text become NULL."""
    if column.type in _BITS:
        values: list[Any] = _distinct(texts, lambda text: _integer(text, _BITS[column.type]))
    elif column.type == "time":
        values = list(parse_printed_times(texts))
    elif column.sql_type == "DOUBLE":
        return _floats(texts)
    else:
        values = _distinct(texts, lambda text: None if text == MISSING else from_wire(text))
    return pa.array(values, _ARROW.get(column.sql_type, pa.string()))


def _check_times(column: TypedColumn, texts: Sequence[str], values: pa.Array) -> None:
    """Raise if a text is no time: the server prints every time itself, so such a text comes from elsewhere."""
    if not values.null_count:
        return
    for text, value in zip(texts, values.to_pylist(), strict=True):
        if value is None and text not in _NO_TIMES:
            raise UpstreamBroken(f"{column.keyword} = {text[:60]!r}, which is no time")


def _distinct(texts: Sequence[str], convert: Any) -> list[Any]:
    """Convert each distinct text once: constants and flags repeat across thousands of records."""
    table = {text: convert(text) for text in set(texts)}
    return list(map(table.__getitem__, texts))


def _integer(text: str, bits: int) -> int | None:
    try:
        value = int(text, 16) if text.lower().startswith(("0x", "-0x")) else int(text)
    except ValueError:
        return None
    half = 1 << (bits - 1)
    return value if -half <= value < half else (value + half) % (2 * half) - half


def _floats(texts: Sequence[str]) -> pa.Array:
    """Read many numbers with Arrow: the same doubles, several times as fast. Few, or what it refuses, go one by one."""
    if len(texts) < _FEW:
        return pa.array(map(_float, texts), pa.float64())
    strings = pa.array(texts, pa.string())
    try:
        return pc.cast(pc.if_else(pc.equal(strings, MISSING), None, strings), pa.float64())
    except pa.ArrowInvalid:
        return pa.array(map(_float, texts), pa.float64())


#: Up to this many numbers are read one by one before Arrow has even started.
_FEW = 500


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _raws(fields: list[Sequence[str]]) -> list[str]:
    raws = [SEPARATOR.join(row) for row in zip(*fields, strict=True)]
    if any(raw.count(SEPARATOR) != len(fields) - 1 for raw in raws):
        raise UpstreamBroken("a value holds the control character U+001F, which the index cannot keep")
    return raws


def _fields(layout: Layout, answer: RsList) -> list[Sequence[str]]:
    """One list of wire text per field, in the layout's order."""
    columns = dict(answer.keywords or ())
    fields: list[Sequence[str]] = []
    for name in (*(k.name for k in layout.keywords), *PSEUDO_KEYS):
        if name not in columns:
            raise UpstreamBroken(f"the answer lacks the keyword {name} that was asked for")
        values = columns[name]
        fields.append(list(map(str, values)) if values and isinstance(values[0], int) else values)  # type: ignore[arg-type]
    if answer.recinfo is None:
        raise UpstreamBroken("the answer lacks the record names that were asked for")
    fields.append([name for name, _ in answer.recinfo])
    segments = {s.name: s for s in answer.segments or ()}
    for name in layout.segments:
        fields += _segment_fields(name, segments.get(name), answer.count)
    links = dict(answer.links or ())
    for name in layout.links:
        if name not in links:
            raise UpstreamBroken(f"the answer lacks the link {name} that was asked for")
        fields.append(links[name])
    return fields


def _segment_fields(name: str, segment: SegmentColumn | None, count: int) -> list[Sequence[str]]:
    if segment is None:
        raise UpstreamBroken(f"the answer lacks the segment {name} that was asked for")
    present = [value not in _NO_SEGMENT for value in segment.values]
    return [_aligned(getattr(segment, part), present, name, count) for part in SEGMENT_PARTS]


def _aligned(values: Sequence[str], present: list[bool], name: str, count: int) -> Sequence[str]:
    """One value per record: the server omits those of segments that do not resolve."""
    if len(values) == count:
        return values
    if not values:
        return [ABSENT] * count
    if len(values) != sum(present):
        raise UpstreamBroken(f"segment {name}: {len(values)} parameters for {sum(present)} resolved segments")
    given = iter(values)
    return [next(given) if there else ABSENT for there in present]


#: From this many records on, converting an answer takes noticeable time: some 50 ms.
LARGE = 1_000


async def rows_of(layout: Layout, answers: Sequence[RsList], keyset: int) -> pa.Table | None:
    """The rows of answers, None if there are none. A thread converts large answers, so that searches go on."""
    some = [answer for answer in answers if answer.count]
    if sum(answer.count for answer in some) < LARGE:
        return _converted(layout, some, keyset)
    return await asyncio.to_thread(_converted, layout, some, keyset)


def widened_by(
    layout: Layout, answers: Sequence[RsList], tolerances: Mapping[str, Tolerance]
) -> dict[str, Tolerance]:
    """The tolerances that are wider with the values of these answers than in ``tolerances``, by column."""
    widened: dict[str, Tolerance] = {}
    for texts in (dict(answer.keywords or ()) for answer in answers):
        for column in layout.columns:
            if column.inexact and column.keyword in texts:
                before = widened.get(column.name) or tolerances.get(column.name)
                after = tolerance(column, texts[column.keyword]) | (before or Tolerance())  # type: ignore[arg-type]
                if after != before:
                    widened[column.name] = after
    return widened


def _converted(layout: Layout, answers: Sequence[RsList], keyset: int) -> pa.Table | None:
    tables = [batch(layout, answer, keyset) for answer in answers]
    return pa.concat_tables(tables) if tables else None
