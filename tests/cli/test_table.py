"""Tables for people: they fit the screen, nothing in them is obeyed, and drawing one costs little."""

from __future__ import annotations

import csv
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.support.output import NARROW, Column, drawn, fitted

SHORT = Column("T_REC", ["2014.01.01_00:00:00_TAI", "2014.01.01_00:00:45_TAI"], numeric=False)
NUMBERS = Column("DATAMEAN", ["1.5", "-3313.25"], numeric=True)


def test_numbers_stand_to_the_right_and_names_above_them():
    assert drawn([SHORT, NUMBERS], None).lines == [
        " T_REC                     DATAMEAN",
        " ──────────────────────────────────",
        " 2014.01.01_00:00:00_TAI        1.5",
        " 2014.01.01_00:00:45_TAI   -3313.25",
    ]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(10, 200))
def test_what_is_shown_fits_and_no_column_grows(widths, room):
    shown = fitted(widths, room)
    assert 1 <= len(shown) <= len(widths)
    assert 1 + sum(shown) + 3 * (len(shown) - 1) <= max(room, 4)
    assert all(1 <= new <= old for new, old in zip(shown, widths, strict=False))


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40))
def test_a_table_that_fits_is_whole(widths):
    assert fitted(widths, 1 + sum(widths) + 3 * (len(widths) - 1)) == widths == fitted(widths, None)


def test_long_values_are_cut_before_columns_are_left_out():
    about = Column("about", ["x" * 300], numeric=False)
    found = drawn([Column("who", ["ada"], numeric=False), about, Column("code", ["200"], numeric=True)], 80)
    assert found.hidden == 0
    assert found.lines[-1].endswith("x…    200") and max(map(len, found.lines)) == 80
    many = [Column(f"KEY{n}", ["1" * NARROW], numeric=True) for n in range(80)]
    assert drawn(many, 80).hidden == 80 - 3


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "a\tb", "a\x07b"])
def test_a_value_is_one_line_and_gives_the_terminal_no_orders(text):
    lines = drawn([Column("x", [text], numeric=False)], None).lines
    assert len(lines) == 3 and all(line.isprintable() for line in lines)


def test_wide_characters_count_twice():
    lines = drawn([Column("x", ["日本", "ab"], numeric=False), Column("y", ["1", "2"], numeric=True)], None).lines
    assert lines[2:] == [" 日本   1", " ab     2"]


def test_a_large_table_costs_little_more_than_csv():
    columns = [Column(f"KEY{n}", [f"{n + row:.6f}" for row in range(1000)], numeric=True) for n in range(80)]

    def seconds(work):
        begun = time.thread_time()
        work()
        return time.thread_time() - begun

    rows = list(zip(*(c.values for c in columns), strict=True))
    as_csv = min(seconds(lambda: csv.writer(io.StringIO()).writerows(rows)) for _ in range(3))
    as_table = min(seconds(lambda: drawn(columns, None)) for _ in range(3))
    assert as_table < 20 * as_csv + 0.05, "most of what a search costs is not its table"
