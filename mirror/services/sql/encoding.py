"""Batches of a result as bytes in the requested form; never more than a batch in memory.

arrow     an Arrow IPC stream
parquet   one Parquet file, a row group a batch
csv       with a header, RFC 4180; lists and the like as JSON
json      {"columns": [{"name", "type"}], "rows": [[...]]}; times as ISO 8601, other kinds as text
"""

from __future__ import annotations

import io
import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.services.sql.messages import Form


class Encoder(Protocol):
    """Turns batches into bytes; the results of all calls in order are the answer."""

    def batch(self, batch: pa.RecordBatch) -> bytes:
        """The bytes of one more batch."""

    def end(self) -> bytes:
        """The bytes after the last."""


def encoder(form: Form, columns: Sequence[tuple[str, str]], schema: pa.Schema) -> Encoder:
    """The encoder of a form; ``columns`` are names and DuckDB types."""
    if form == "json":
        return _Json(columns)
    return _Written(form, schema)


class _Written:
    """A form that pyarrow writes: into memory, which is passed on after each batch."""

    def __init__(self, form: Form, schema: pa.Schema) -> None:
        self._out = _Tap()
        self._texts = {i for i, field in enumerate(schema) if _needs_text(form, field.type)}
        for i in self._texts:
            schema = schema.set(i, pa.field(schema.field(i).name, pa.string()))
        self._schema = schema
        self._writer = _WRITERS[form](self._out, schema)

    def batch(self, batch: pa.RecordBatch) -> bytes:
        columns = [_texts(c) if i in self._texts else c for i, c in enumerate(batch.columns)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        return self._out.taken()

    def end(self) -> bytes:
        self._writer.close()
        return self._out.taken()


class _Tap(io.RawIOBase):
    """A file that only grows at its end, and drops what was taken from it."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


_WRITERS: dict[str, Any] = {
    "arrow": pa.ipc.new_stream,
    "parquet": pa.parquet.ParquetWriter,
    "csv": pyarrow.csv.CSVWriter,
}


def _needs_text(form: Form, kind: pa.DataType) -> bool:
    """True for types that a form cannot express: an interval in a file, anything with parts in CSV."""
    return form != "arrow" and (pa.types.is_interval(kind) or (form == "csv" and _has_parts(kind)))


def _has_parts(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind))


def _texts(column: pa.Array) -> pa.Array:
    """The values as JSON, texts unchanged."""
    plain = _values(column)
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in plain], pa.string())


class _Json:
    """Rows as lists, in the order of the columns."""

    def __init__(self, columns: Iterable[tuple[str, str]]) -> None:
        named = [{"name": name, "type": kind} for name, kind in columns]
        self._next = f'{{"columns": {json.dumps(named)}, "rows": ['

    def batch(self, batch: pa.RecordBatch) -> bytes:
        rows = zip(*map(_values, batch.columns), strict=True)
        text = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
        piece, self._next = self._next + text, ",\n" if text else self._next
        return piece.encode() if text else b""

    def end(self) -> bytes:
        begun = self._next if self._next.startswith("{") else ""
        return f"{begun}]}}\n".encode()


def _values(column: pa.Array) -> list[Any]:
    """The values of a column as JSON has them."""
    try:
        return [_plain(value) for value in column.to_pylist()]
    except (OverflowError, ValueError):  # a time beyond the calendar of Python
        return [_of_scalar(value) for value in column]


def _of_scalar(value: pa.Scalar) -> Any:
    """The same of one value, which may be such a time or have some in it."""
    try:
        return _plain(value.as_py())
    except (OverflowError, ValueError):
        if isinstance(value, pa.TimestampScalar | pa.Date32Scalar):
            return _beyond(value)
        if isinstance(value, pa.UnionScalar):
            return _of_scalar(value.value)
        if isinstance(value, pa.StructScalar):
            return {name: _of_scalar(part) for name, part in value.items()}
        if isinstance(value, pa.MapScalar):
            return [[_of_scalar(part) for _, part in pair.items()] for pair in value.values]
        return [_of_scalar(part) for part in value.values]  # a list of some kind: nothing else has times in it


def _beyond(value: pa.Scalar) -> str:
    """A time in ISO 8601, whatever its year; DuckDB's infinities are the largest number and its opposite."""
    date_only = isinstance(value, pa.Date32Scalar)
    if abs(value.value) == (2**31 if date_only else 2**63) - 1:
        return "infinity" if value.value > 0 else "-infinity"
    text = str(np.datetime64(value.value, "D" if date_only else value.type.unit))
    whole, _, part = text.partition(".")
    if whole.startswith("-"):
        year, rest = whole[1:].split("-", 1)
        whole = f"-{year:0>4}-{rest}"
    return whole + (f".{part}" if part.strip("0") else "") + ("+00:00" if not date_only and value.type.tz else "")


def _plain(value: Any) -> Any:
    """A value as JSON has it; NaN and infinities, which JSON lacks, are null and text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else (None if math.isnan(value) else str(value))
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, pa.MonthDayNano):
        return f"P{value.months}M{value.days}DT{Decimal(value.nanoseconds).scaleb(-9).normalize():f}S"
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Decimal):  # a sum of integers is one
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)
