"""A file of the lake: what is written is what every usual reader reads, and it is small."""

from __future__ import annotations

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.storage.lake.table import ROW_GROUP, write_file

SCHEMA = pa.schema(
    [
        pa.field("recnum", pa.int64()),
        pa.field("QUALITY", pa.int32()),
        pa.field("T_REC", pa.timestamp("us")),
        pa.field("DATAMEAN", pa.float64()),
        pa.field("HISTORY", pa.string()),
    ]
)
INT32, INT64 = 2**31, 2**63
ROWS = st.lists(
    st.tuples(
        st.integers(-INT64, INT64 - 1),
        st.none() | st.integers(-INT32, INT32 - 1),
        st.none() | st.datetimes(),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.text(),
    ),
    max_size=50,
)


def written(path, table):
    write_file(table.to_reader(ROW_GROUP), path)
    return path


@settings(max_examples=60)
@given(ROWS)
def test_every_reader_reads_what_was_written(tmp_path_factory, rows):
    columns = list(zip(*rows, strict=True)) or [[] for _ in SCHEMA]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
    path = written(tmp_path_factory.mktemp("lake") / "x.parquet", table)
    expected = [tuple(row.values()) for row in table.to_pylist()]
    assert [tuple(row.values()) for row in pq.read_table(path).to_pylist()] == expected
    assert pl.read_parquet(path).rows() == expected
    with duckdb.connect() as connection:
        assert connection.execute("FROM read_parquet(?)", [str(path)]).fetchall() == expected


def test_numbers_and_times_that_grow_evenly_take_next_to_nothing(tmp_path):
    many = 3 * ROW_GROUP + 7
    table = pa.table({"recnum": pa.array(range(many)), "T_REC": pa.array(range(0, 45_000_000 * many, 45_000_000), pa.timestamp("us"))})
    path = written(tmp_path / "x.parquet", table)
    assert path.stat().st_size < many / 2
    told = pq.read_metadata(path)
    assert [told.row_group(i).num_rows for i in range(told.num_row_groups)] == [ROW_GROUP] * 3 + [7]


def test_values_that_repeat_are_numbered(tmp_path):
    many = ROW_GROUP
    table = pa.table({"TELESCOP": ["SDO/HMI"] * many, "CDELT1": [0.5, 0.25] * (many // 2)})
    path = written(tmp_path / "x.parquet", table)
    assert path.stat().st_size < many / 2


def test_floats_that_differ_are_kept_as_they_are_and_others_are_numbered(tmp_path):
    many = 2 * ROW_GROUP
    table = pa.table({"DATAMEAN": [n / 7 for n in range(many)], "CRPIX1": [n % 100 + 0.5 for n in range(many)]})
    told = pq.read_metadata(written(tmp_path / "x.parquet", table)).row_group(1)
    differ, repeat = told.column(0), told.column(1)
    assert (differ.compression, differ.total_uncompressed_size // ROW_GROUP) == ("UNCOMPRESSED", 8)
    assert not differ.has_dictionary_page
    assert repeat.has_dictionary_page
    assert repeat.total_compressed_size < ROW_GROUP
