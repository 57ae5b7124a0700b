"""How a file of the lake is written: every column in the encoding that is small and quickly read for its kind.

Whole numbers and times grow evenly, so their differences take next to nothing and need no compression; values
that repeat are numbered in a dictionary; texts are LZ4. Floats that differ are kept as they are: LZ4 would save a
sixth of the file, and make statements over all years up to 1.7 times slower (benchmarks/README.md). pandas, polars
and DuckDB read these encodings, which a test shows; Spark does from 3.5 on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

#: Records in a row group: what a reader skips or takes as a whole. Fewer are skipped more often (the hundred largest
#: of all years are in a few), and cost more where all are read.
ROW_GROUP = 32_768
#: Bytes of different values up to which a dictionary is smaller than the values themselves.
_DICTIONARY = 32_768


def write_file(reader: pa.RecordBatchReader, path: Path) -> None:
    """Write what ``reader`` gives, a row group for each of its batches. OSError if the disk does not take it."""
    first = next(reader, None)
    even = [field.name for field in reader.schema if _is_even(field.type)]
    floats = [field.name for field in reader.schema if pa.types.is_floating(field.type)]
    plain = [name for name in floats if first is not None and _differ(first.column(name))]
    others = [name for name in reader.schema.names if name not in {*even, *plain}]
    with pq.ParquetWriter(
        path,
        reader.schema,
        compression={**dict.fromkeys(others, "lz4"), **dict.fromkeys(even + floats, "none")},
        column_encoding={**dict.fromkeys(even, "DELTA_BINARY_PACKED"), **dict.fromkeys(plain, "PLAIN")},
        use_dictionary=others,
        dictionary_pagesize_limit=_DICTIONARY,
        store_schema=False,
    ) as writer:
        for batch in chain(() if first is None else (first,), reader):
            writer.write_batch(batch, row_group_size=ROW_GROUP)


def _is_even(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind))


def _differ(values: pa.Array) -> bool:
    """True if a dictionary of these values would not be kept: in most columns the other row groups are alike."""
    return bool(len(values.unique()) * values.type.byte_width > _DICTIONARY)


ALL, NONE = "all", "none"
_EPOCH = date(1977, 1, 1)
_DAY = 86_400
#: Months before and after these are one file each: no such data are, but times that were mistyped.
_FIRST, _LAST = date(1900, 1, 1), date(2100, 1, 1)
BEFORE, AFTER = "before", "beyond"


class Print(NamedTuple):
    """How many records there are, and a hash of them; equal for the same records."""

    records: int
    hash: int


def month_of(day: int | None, *, timed: bool) -> str:
    """The month of a day, counted from 1977.01.01."""
    if day is None:
        return NONE if timed else ALL
    if day < (_FIRST - _EPOCH).days:
        return BEFORE
    if day >= (_LAST - _EPOCH).days:
        return AFTER
    return f"{_EPOCH + timedelta(days=day):%Y-%m}"


def bounds(month: str) -> tuple[float, float] | None:
    """First second, and first second after, of a month as DRMS times; None for ``NONE``."""
    if month == NONE:
        return None
    if month == BEFORE:
        return float("-1e300"), _seconds(_FIRST)
    if month == AFTER:
        return _seconds(_LAST), float("1e300")
    first = date.fromisoformat(f"{month}-01")
    return _seconds(first), _seconds((first + timedelta(days=31)).replace(day=1))


def together(parts: Iterable[tuple[str, Print]]) -> dict[str, Print]:
    """The prints of months from those of their days."""
    months: dict[str, Print] = {}
    for month, part in parts:
        whole = months.get(month, Print(0, 0))
        months[month] = Print(whole.records + part.records, whole.hash ^ part.hash)
    return months


def _seconds(day: date) -> float:
    return float((day - _EPOCH).days * _DAY)
