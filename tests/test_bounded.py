"""A dictionary of the entries that were used last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirror.bounded import Bounded


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6))), st.integers(1, 4))
def test_the_entries_are_those_that_were_set_or_recalled_last(deeds, most):
    found: Bounded[int, str] = Bounded(most)
    used: list[int] = []
    for sets, key in deeds:
        if sets:
            found[key] = str(key)
        else:
            assert found.recall(key) == (str(key) if key in used else None)
        if sets or key in used:
            used = [*(k for k in used if k != key), key][-most:]
        assert list(found.items()) == [(k, str(k)) for k in used]
