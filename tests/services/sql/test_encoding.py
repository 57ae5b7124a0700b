"""The four forms of an answer."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.services.sql.encoding import encoder
from mirror.services.sql.messages import FORMS, Limits, Missing, Question, Supply, View

ROWS = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1) | st.none(),
        st.floats(allow_nan=True) | st.none(),
        st.text(st.characters(exclude_categories=["Cs"])) | st.none(),
    ),
    max_size=20,
)
SCHEMA = pa.schema([("i", pa.int64()), ("f", pa.float64()), ("s", pa.string())])


def encoded(form: str, table: pa.Table, size: int = 3) -> bytes:
    columns = [(f.name, str(f.type).upper()) for f in table.schema]
    made = encoder(form, columns, table.schema)  # type: ignore[arg-type]
    return b"".join([*(made.batch(b) for b in table.to_batches(max_chunksize=size)), made.end()])


def table_of(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [[], [], []]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


@given(ROWS)
def test_arrow_and_parquet_hold_every_value(rows):
    table = table_of(rows)
    assert (
        pa.ipc.open_stream(encoded("arrow", table)).read_all().to_pylist().__repr__()
        == table.to_pylist().__repr__()
    )
    found = pa.parquet.read_table(io.BytesIO(encoded("parquet", table)))
    assert repr(found.to_pylist()) == repr(table.to_pylist())


@given(ROWS)
def test_json_is_json_whatever_the_values(rows):
    told = json.loads(encoded("json", table_of(rows)), parse_constant=pytest.fail)
    assert [c["name"] for c in told["columns"]] == ["i", "f", "s"]
    assert [[i, s] for i, _, s in told["rows"]] == [[i, s] for i, _, s in rows]


@given(ROWS)
def test_csv_has_a_line_of_names_and_one_a_row(rows):
    text = encoded("csv", table_of(rows)).decode()
    lines = list(csv.reader(io.StringIO(text, newline="")))
    assert lines[0] == ["i", "f", "s"]
    assert [line[2] for line in lines[1:]] == [s or "" for _, _, s in rows]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1, 2], None]),
        pa.array([{"a": 1}, None]),
        pa.array([b"\x00\xff", None]),
        pa.array([pa.MonthDayNano([1, 2, 3]), None]),
        pa.array([timedelta(seconds=1), None]),
        pa.array([datetime(2014, 1, 1), None]),  # noqa: DTZ001
        pa.array([None, None], pa.null()),
        pa.array([1, None], pa.decimal128(38, 0)),
        pa.array([True, None]),
    ],
    ids=lambda values: str(values.type),
)
def test_every_kind_of_value_has_a_form(form, values):
    assert encoded(form, pa.table({"x": values}))


@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_interval_is_written_as_iso_8601(form):
    values = pa.array([pa.MonthDayNano([1, 2, 3_500_000_000]), pa.MonthDayNano([0, 4, 0])])
    text = encoded(form, pa.table({"x": values})).decode()
    assert "P1M2DT3.5S" in text
    assert "P0M4DT0S" in text


@given(st.text(), st.lists(st.integers() | st.text() | st.none()), st.binary(), st.none() | st.tuples(st.integers(), st.integers()))
def test_a_question_survives_its_way_to_the_worker(sql, params, data, condition):
    views = (View("a.b", "SELECT 1", "c", {"x": "y"}, data), View("a.c", "() AS 1", macro=True))
    question = Question(sql, tuple(params), "csv", views, Limits(seconds=0.5), condition, ("hmi",))
    assert Question.read(io.BytesIO(question.to_bytes())) == question


@given(st.binary(), st.booleans(), st.none() | st.tuples(st.integers(), st.integers()))
def test_a_supply_survives_its_way_to_the_worker(data, given_up, problem):
    supply = Supply((View("a.b", "SELECT 1", data=data), View("a.c", "SELECT 2")), given_up, problem)
    assert Supply.read(io.BytesIO(supply.to_bytes())) == supply


@given(st.text(), st.lists(st.tuples(st.text(), st.none() | st.booleans())), st.booleans())
def test_what_is_missing_survives_its_way_to_the_daemon(table, calls, slots):
    missing = Missing(table, tuple(calls), slots=slots, listing=not slots)
    assert Missing.of(json.loads(json.dumps(missing.to_json()))) == missing


@pytest.mark.parametrize(
    "value, kind, text",
    [
        (2**63 - 1, pa.timestamp("us"), "infinity"),
        (1 - 2**63, pa.timestamp("us"), "-infinity"),
        (2**31 - 1, pa.date32(), "infinity"),
        (9_223_286_400_000_000_000, pa.timestamp("us"), "294244-04-24T00:00:00"),
        (253_402_300_800, pa.timestamp("s", "UTC"), "10000-01-01T00:00:00+00:00"),
        (253_402_300_800_500, pa.timestamp("ms"), "10000-01-01T00:00:00.500"),
        (3_000_000, pa.date32(), "10183-09-21"),
        (-1_000_000, pa.date32(), "-0768-02-04"),
    ],
)
def test_times_beyond_the_calendar_of_python_are_text_too(value, kind, text):
    number = pa.int32() if kind == pa.date32() else pa.int64()
    times = pa.array([value, 0, None], number).cast(kind)
    lists = pa.array([[value], [0], None], pa.list_(number)).cast(pa.list_(kind))
    table = pa.table({"t": times, "l": lists, "s": pa.StructArray.from_arrays([times], ["x"])})
    [first, usual, nothing] = json.loads(encoded("json", table))["rows"]
    assert first == [text, [text], {"x": text}]
    assert (usual[0][:10], nothing[:2]) == ("1970-01-01", [None, None])
    assert list(csv.reader(io.StringIO(encoded("csv", table).decode())))[1][1] == json.dumps([text])


def test_times_beyond_the_calendar_are_text_within_whatever_holds_them():
    beyond = pa.array([2**63 - 1], pa.int64()).cast(pa.timestamp("us"))
    pairs = pa.MapArray.from_arrays([0, 1], beyond, pa.array([1]))
    fixed = pa.FixedSizeListArray.from_arrays(beyond, 1)
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [beyond])
    [row] = json.loads(encoded("json", pa.table({"m": pairs, "f": fixed, "u": union})))["rows"]
    assert row == [[["infinity", 1]], ["infinity"], "infinity"]
