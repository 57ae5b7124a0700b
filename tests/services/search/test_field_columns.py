"""Fields of many records are cut out of their raws column by column."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.services.search import columns
from mirror.services.search.columns import field_columns
from mirror.storage.index.layout import SEPARATOR
from mirror.wire.text import to_wire

values = st.text(st.characters(max_codepoint=255, exclude_characters="\x1f"), max_size=5).map(to_wire)


@st.composite
def records(draw):
    width = draw(st.integers(1, 6))
    return draw(st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=7))


@given(records(), st.data())
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_any_choice_of_fields_comes_as_columns_of_all_records(block, rows, data):
    positions = data.draw(st.lists(st.integers(0, len(rows[0]) - 1), min_size=1, max_size=8))
    with mock.patch.object(columns, "AT_ONCE", block):
        found = field_columns([SEPARATOR.join(row) for row in rows], positions)
    assert [list(column) for column in found] == [[row[p] for row in rows] for p in positions]
