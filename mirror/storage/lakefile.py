"""How a file of the lake is written: every column in the encoding that is small and quickly read for its kind.

Whole numbers and times grow evenly, so their differences take next to nothing and need no compression; values
that repeat are numbered in a dictionary; all else is LZ4. With zstd over everything files are a quarter smaller,
and statements over all years spend half of their time on it (benchmarks/README.md). pandas, polars and DuckDB read
these encodings, which a test shows; Spark does from 3.5 on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

#: Records in a row group: what a reader skips or takes as a whole.
ROW_GROUP = 65_536
#: Bytes of different values up to which a dictionary is smaller than the values themselves.
_DICTIONARY = 32_768


def write_file(reader: pa.RecordBatchReader, path: Path) -> None:
    """Write what ``reader`` gives, a row group for each of its batches. OSError if the disk does not take it."""
    even = [field.name for field in reader.schema if _is_even(field.type)]
    others = [field.name for field in reader.schema if not _is_even(field.type)]
    with pq.ParquetWriter(
        path,
        reader.schema,
        compression={**dict.fromkeys(even, "none"), **dict.fromkeys(others, "lz4")},
        column_encoding=dict.fromkeys(even, "DELTA_BINARY_PACKED"),
        use_dictionary=others,
        dictionary_pagesize_limit=_DICTIONARY,
        store_schema=False,
    ) as writer:
        for batch in reader:
            writer.write_batch(batch, row_group_size=ROW_GROUP)


def _is_even(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind))
