"""The evaluator against a naive one, and the server's rules that no recorded query shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.recordset import (
    Extreme,
    IntRange,
    KeyFilter,
    RecnumFilter,
    RecnumRange,
    RecordSet,
    Selection,
)
from mirror.errors import Refused
from mirror.simulator.evaluate import MOST_RECORDS, count, record_limit, select
from tests.simulator.small import Memory, series

SMALL = series(keys=("K", "C"), keywords=(("K", "int"), ("C", "int")))
KEYS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), min_size=1, max_size=30)


def memory(keys):
    return Memory(SMALL, {"k": [k for k, _ in keys], "c": [c for _, c in keys], "recnum": list(range(1, len(keys) + 1))})


def selection(*filters):
    return Selection(SMALL, RecordSet("lab.small"), filters)


def recnums(rows):
    return rows.stored("recnum").values.tolist()


def newest(keys):
    """Record numbers of the newest record of each tuple, in prime-key order."""
    by_key = {key: recnum for recnum, key in enumerate(keys, start=1)}
    return [by_key[key] for key in sorted(by_key)]


@given(KEYS)
def test_without_filters_the_newest_record_of_each_tuple_is_there_in_order(keys):
    assert recnums(select(selection(), memory(keys))) == newest(keys)


@given(KEYS, st.integers(0, 6), st.integers(0, 6), st.integers(1, 4))
def test_a_range_with_a_step_counts_from_its_first(keys, first, last, step):
    each = KeyFilter("K", "K", (IntRange(first, last, step),))
    wanted = [n for n in newest(keys) if first <= keys[n - 1][0] <= last and (keys[n - 1][0] - first) % step == 0]
    assert recnums(select(selection(each), memory(keys))) == wanted


@given(KEYS, st.integers(1, 4))
def test_with_an_open_start_steps_count_from_the_first_record_there_is(keys, step):
    each = KeyFilter("K", "K", (IntRange(None, None, step),))
    lowest = min(k for k, _ in keys)
    wanted = [n for n in newest(keys) if (keys[n - 1][0] - lowest) % step == 0]
    assert recnums(select(selection(each), memory(keys))) == wanted


@given(KEYS, st.booleans())
def test_an_extreme_is_that_of_what_the_earlier_filters_leave(keys, last):
    pick = max if last else min
    first = KeyFilter("C", "C", (IntRange(2, 3),))
    both = selection(first, KeyFilter("K", "K", (Extreme(last),)))
    left = [k for k, c in keys if c >= 2]
    wanted = [n for n in newest(keys) if left and keys[n - 1][1] >= 2 and keys[n - 1][0] == pick(left)]
    assert recnums(select(both, memory(keys))) == wanted


@given(KEYS, st.integers(1, 30), st.integers(1, 30))
def test_record_numbers_see_every_version(keys, first, last):
    chosen = selection(RecnumFilter((RecnumRange(first, last),)))
    wanted = sorted((n for n in range(1, len(keys) + 1) if first <= n <= last), key=lambda n: (keys[n - 1], n))
    assert recnums(select(chosen, memory(keys))) == wanted


@given(KEYS, st.integers(-5, 5))
def test_n_takes_the_first_or_the_last_and_0_takes_all(keys, n):
    everything = newest(keys)
    wanted = everything if n == 0 else everything[:n] if n > 0 else everything[n:]
    assert recnums(select(selection(), memory(keys), n)) == wanted
    assert count(selection(), memory(keys), n) == len(wanted)


def test_a_step_of_0_is_an_error_only_where_a_record_would_be_selected():
    data = memory([(1, 1), (2, 1)])
    with pytest.raises(Refused, match="division by zero"):
        select(selection(KeyFilter("K", "K", (IntRange(1, 2, 0),))), data)
    assert len(select(selection(KeyFilter("K", "K", (IntRange(5, 9, 0),))), data)) == 0


def test_the_limit_is_75000_records_and_less_for_wide_series():
    assert record_limit(SMALL) == MOST_RECORDS
    wide = series(keywords=[(f"K{n}", "int") for n in range(200)], segments=[f"s{n}" for n in range(30)])
    assert 10_000 < record_limit(wide) < 20_000


def test_the_limit_of_the_recorded_sharps_is_the_measured_one(world):
    sharp = next(each for each in world if each.structure.name == "hmi.sharp_720s")
    assert abs(record_limit(sharp.structure) - 14_940) < 100
