"""A column in one piece is the same column, to readers and in the answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirror.wire.rs_list import GLUE, Joined, RsList, encode_rs_list
from mirror.wire.text import to_wire

columns = st.lists(st.text(st.sampled_from('ab",\\/\n\x1e'), max_size=6).map(to_wire), min_size=1, max_size=8)


def joined(values):
    texts = [GLUE.join(part).encode("latin-1") for part in (values[:2], values[2:]) if part]
    return Joined([*(text + GLUE.encode() for text in texts[:-1]), texts[-1]], len(values))


@given(columns)
def test_the_values_of_a_joined_column_are_those_it_was_joined_from(values):
    column = joined(values)
    assert list(column) == values
    assert len(column) == len(values)
    assert column == values
    assert column == joined(values)
    assert column[-1] == values[-1]
    assert column[1:] == values[1:]


@given(columns)
def test_a_joined_column_encodes_to_the_same_bytes(values):
    answers = [RsList(len(values), [("K", column)]) for column in (values, joined(values))]
    assert len({encode_rs_list(answer, runtime=0.0) for answer in answers}) == 1


def test_a_column_of_one_empty_value_is_not_an_empty_column():
    assert list(joined([""])) == [""]


def test_columns_of_other_values_or_another_kind_are_not_equal():
    assert joined(["a"]) != joined(["b"])
    assert joined(["a"]) != 7
