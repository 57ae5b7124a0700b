"""Answers of many records are converted by Arrow, those of few one by one: both must give the same rows."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.errors import UpstreamBroken
from mirror.storage.index import rows
from mirror.storage.index.layout import Layout, TypedColumn
from mirror.storage.index.rows import batch, typed_values
from tests.storage.archive import SERIES, Record, answer

KINDS = ("char", "short", "int", "longlong", "float", "double", "time", "string")
TEXTS = st.one_of(
    st.sampled_from(["MISSING", "", "nan", "-nan", "inf", "Invalid KeyLink", "0x80000000", "-1", "a\\/b", " 6173.0", "1e400"]),
    st.sampled_from(["1.5", "1977.01.01_00:00:00_TAI", "1_000", "+5", "5 ", "0x1p3", "\\u00e9", "1e", "infinity"]),
    st.integers(-(2**64), 2**64).map(str),
    st.floats().map(str),
    st.text(st.characters(codec="latin-1", exclude_characters='\\"\x1f', exclude_categories=("Cc",)), max_size=5),
)


#: From this many on they are many here.
FEW = 12


@pytest.fixture(scope="module", autouse=True)
def few():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rows, "_FEW", FEW)
        yield


def of_few(column, values):
    return pa.concat_arrays([typed_values(column, [value]) for value in values])


@given(st.sampled_from(KINDS), st.lists(TEXTS, min_size=1, max_size=6))
@settings(max_examples=200)
def test_many_values_are_read_as_few_are(kind, texts):
    column = TypedColumn("x", kind, "X")
    expected = pa.concat_arrays([of_few(column, texts)] * FEW)
    assert str(typed_values(column, texts * FEW).to_pylist()) == str(expected.to_pylist())  # nan is not nan


@given(st.lists(st.tuples(TEXTS, st.sampled_from(["1.5", "MISSING", "nan"])), min_size=1, max_size=6))
@settings(max_examples=50)
def test_many_records_become_the_rows_that_few_become(values):
    records = [Record(i, i % 7, name=values[i % len(values)][0], value=values[i % len(values)][1]) for i in range(FEW)]
    layout = Layout(SERIES)
    many = batch(layout, answer(records), 3)
    few = pa.concat_tables(batch(layout, answer([record]), 3) for record in records)
    assert str(many.sort_by("recnum").to_pydict()) == str(few.sort_by("recnum").to_pydict())
    assert many.schema == few.schema


@pytest.mark.parametrize("count", [1, FEW])
def test_a_value_with_the_separator_is_refused(count, monkeypatch):
    monkeypatch.setattr(rows, "_JOINED_AT_ONCE", 5)
    records = [Record(i, i) for i in range(count - 1)] + [Record(count, count, name="a\x1fb")]
    with pytest.raises(UpstreamBroken, match="U\\+001F"):
        batch(Layout(SERIES), answer(records), 1)
