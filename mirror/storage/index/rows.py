"""Turns an rs_list answer into rows of the index, as one Arrow table.

Pure but for Arrow. ``batch`` expects the answer to ``fill_request``: every field of the layout.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
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
    from collections.abc import Callable, Mapping, Sequence

    from mirror.storage.index.layout import Layout
    from mirror.wire.rs_list import RsList, SegmentColumn

MISSING = "MISSING"

#: Up to so many values are converted one by one before Arrow has even started.
_FEW = 500
#: Records that are joined at a time: an array has room for 2 GB of text.
_JOINED_AT_ONCE = 50_000
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
    recnums, sunums = (fields[len(layout.keywords) + i] for i in (0, 1))
    texts = list(map(_texts, fields)) if answer.count >= _FEW else None
    raws = pa.array(_raws(fields), pa.string()) if texts is None else _joined(texts)
    typed: dict[str, pa.Array] = {}
    for i, (column, values) in enumerate(zip(layout.columns, fields, strict=False)):
        typed[column.name] = typed_values(column, values, None if texts is None else texts[i])
        if column.type == "time":
            _check_times(column, values, typed[column.name])
    return pa.table(
        {
            "recnum": pa.array(map(int, recnums), pa.int64()),
            "sunum": pa.array(map(int, sunums), pa.int64()),
            **typed,
            "_keyset": pa.repeat(pa.scalar(keyset, pa.int32()), answer.count),
            "_raw": raws,
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


def typed_values(column: TypedColumn, values: Sequence[str], texts: pa.StringArray | None = None) -> pa.Array:
    """Wire text as values of the column's type; MISSING and unreadable text become NULL.

    ``texts`` are the same as ``values``, if they are an array already.
    """
    if column.type == "time":
        return pa.array(parse_printed_times(values), pa.float64())
    kind = _ARROW.get(column.sql_type, pa.string())
    read: Callable[[str], Any] = _float if column.sql_type == "DOUBLE" else _string
    if column.type in _BITS:
        read = partial(_integer, bits=_BITS[column.type])
    if len(values) < _FEW:
        return pa.array(map(read, values), kind)
    texts = _texts(values) if texts is None else texts
    if column.sql_type == "DOUBLE":
        return _floats(texts)
    # Each distinct text is read once: constants and flags repeat across thousands of records.
    distinct = texts.dictionary_encode()
    return pa.array(map(read, distinct.dictionary.to_pylist()), kind).take(distinct.indices)


def _texts(values: Sequence[str]) -> pa.StringArray:
    """The values as an array. Where all are alike, as in most fields, one is enough to make it."""
    if values[0] == values[-1] and values.count(values[0]) == len(values):
        return pa.repeat(pa.scalar(values[0], pa.string()), len(values))
    return pa.array(values, pa.string())


def _check_times(column: TypedColumn, texts: Sequence[str], values: pa.Array) -> None:
    """Raise if a text is no time: the server prints every time itself, so such a text comes from elsewhere."""
    if not values.null_count:
        return
    for text, value in zip(texts, values.to_pylist(), strict=True):
        if value is None and text not in _NO_TIMES:
            raise UpstreamBroken(f"{column.keyword} = {text[:60]!r}, which is no time")


def _integer(text: str, bits: int) -> int | None:
    try:
        value = int(text, 16) if text.lower().startswith(("0x", "-0x")) else int(text)
    except ValueError:
        return None
    half = 1 << (bits - 1)
    return value if -half <= value < half else (value + half) % (2 * half) - half


def _floats(texts: pa.StringArray) -> pa.Array:
    """Many numbers, as ``_float`` reads them. What Arrow refuses, goes one by one."""
    with suppress(pa.ArrowInvalid):
        return texts.cast(pa.float64())
    with suppress(pa.ArrowInvalid):
        return pc.if_else(pc.equal(texts, MISSING), None, texts).cast(pa.float64())
    return pa.array(map(_float, texts.to_pylist()), pa.float64())


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _string(text: str) -> str | None:
    return None if text == MISSING else from_wire(text)


def _raws(fields: list[Sequence[str]]) -> list[str]:
    raws = [SEPARATOR.join(row) for row in zip(*fields, strict=True)]
    if any(raw.count(SEPARATOR) != len(fields) - 1 for raw in raws):
        raise _unkeepable()
    return raws


def _joined(fields: list[pa.StringArray]) -> pa.ChunkedArray:
    """The same of many records: arrays are joined in a fifth of the time."""
    count = len(fields[0])
    chunks = []
    for start in range(0, count, _JOINED_AT_ONCE):
        raws = pc.binary_join_element_wise(*(field.slice(start, _JOINED_AT_ONCE) for field in fields), SEPARATOR)
        separators = np.count_nonzero(np.frombuffer(raws.buffers()[2], np.uint8) == ord(SEPARATOR))
        if separators != len(raws) * (len(fields) - 1):
            raise _unkeepable()
        chunks.append(raws)
    return pa.chunked_array(chunks)


def _unkeepable() -> UpstreamBroken:
    return UpstreamBroken("a value holds the control character U+001F, which the index cannot keep")


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
