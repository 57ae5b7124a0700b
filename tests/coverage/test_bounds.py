"""What conditions say of prime keys: bounds that hold every record which satisfies them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.bounds import implied_terms
from mirror.drms.parser import parse_query
from mirror.drms.recordset import IntRange, Text
from mirror.drms.selection import bind
from mirror.drms.times import parse_time
from tests.lab import world
from tests.storage.archive import SERIES


def implied(text, series=SERIES):
    return implied_terms(bind(parse_query(f"{series.name}[? {text} ?]").sets[0], series))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("k = 377", {"K": (IntRange(377, 377),)}),
        ("377 = K and value > 1", {"K": (IntRange(377, 377),)}),
        ("k in (1, 2) and k > 1", {"K": (IntRange(2, 2),)}),
        ("k between 3 and 5", {"K": (IntRange(3, 5),)}),
        ("k > 2.5 and k < 7.5", {"K": (IntRange(3, 7),)}),
        ("(k = 1 and w = 2) or (k = 5 and w = 2)", {"K": (IntRange(1, 1), IntRange(5, 5)), "W": (IntRange(2, 2),)}),
        ("(k = 1 and w = 2) or k = 5", {"K": (IntRange(1, 1), IntRange(5, 5))}),
        ("k = 1 or value > 2", {}),
        ("not (k = 1)", {}),
        ("k <> 1", {}),
        ("k + 1 = 2", {}),
        ("name = 'a'", {"NAME": (Text("a"),)}),
        ("k not in (1, 2)", {}),
    ],
)
def test_bounds_of_a_condition(text, expected):
    assert implied(text) == expected


def test_the_bound_of_a_contradiction_holds_nothing():
    (term,) = implied("k = 1 and k = 2")["K"]
    assert term.first > term.last


def test_a_time_bounds_slots_around_it():
    series = next(d.structure for d in world() if d.structure.name == "hmi.sharp_720s")
    at = parse_time("2014.01.01_TAI")
    (term,) = implied(f"t_rec = {at:.0f}", series)["T_REC"]
    assert (term.first, term.last) == (920400, 920400)
    (term,) = implied("T_REC > $(2014.01.01_TAI) AND T_REC < $(2014.01.01_02:00_TAI)", series)["T_REC"]
    assert (term.first, term.last) == (920400, 920410)
    assert implied("t_rec_index = 5", series) == {"T_REC": (IntRange(5, 5),)}


ATOMS = st.builds(
    lambda key, op, value: (f"{key} {op} {value}", key, op, value),
    st.sampled_from(["k", "w"]),
    st.sampled_from(["=", "<", "<=", ">", ">=", "<>"]),
    st.integers(-3, 3),
)
TREES = st.recursive(
    ATOMS,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    max_leaves=6,
)
OPERATORS = {
    "=": int.__eq__, "<>": int.__ne__, "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__
}  # fmt: skip


def said(tree):
    return tree[0] if len(tree) == 4 else f"({said(tree[1])} {tree[0]} {said(tree[2])})"


def holds(tree, k, w):
    if len(tree) == 4:
        return OPERATORS[tree[2]]({"k": k, "w": w}[tree[1]], tree[3])
    first, second = holds(tree[1], k, w), holds(tree[2], k, w)
    return (first and second) if tree[0] == "and" else (first or second)


@given(TREES)
def test_whatever_satisfies_a_condition_lies_within_its_bounds(tree):
    bounds = implied(said(tree))
    for k in range(-5, 6):
        for w in range(-5, 6):
            if holds(tree, k, w):
                assert all(any(_within(t, {"K": k, "W": w}[key]) for t in terms) for key, terms in bounds.items())


def _within(term, value):
    return (term.first is None or term.first <= value) and (term.last is None or value <= term.last)
