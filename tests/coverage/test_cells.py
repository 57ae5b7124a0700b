"""Days and hours of coverage: counted as one would count on fingers."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.axis import Axis, Kind
from mirror.drms.slots import SlotAxis
from mirror.services.monitoring.heatmap import bounds, held_of, states

DAY = 86400


def slotted(step, epoch):
    slots = SlotAxis("T_REC", "T_REC_index", "ts_eq", "time", epoch, step, step, step)
    return Axis("T_REC", "t_rec_index", Kind.SLOTS, "TAI", slots)


edges = st.lists(st.integers(-50, 50), min_size=2, max_size=8, unique=True).map(sorted)
spans = st.lists(
    st.tuples(st.integers(-60, 60), st.integers(0, 20)).map(lambda s: (s[0], s[0] + s[1])), max_size=8
)


@given(edges, spans)
def test_a_cell_holds_what_the_spans_have_of_it(edges, spans):
    union = {x for lo, hi in spans for x in range(lo, hi + 1)}
    expected = [sum(a <= x < b for x in union) for a, b in pairwise(edges)]
    assert held_of(np.asarray(edges), spans).tolist() == expected


@given(
    st.sampled_from([12.0, 45.0, 720.0, 96.0]), st.floats(-1e4, 1e4), st.integers(-9, 9), st.integers(1, 9)
)
def test_cells_begin_with_their_first_slot(step, epoch, first, count):
    axis = slotted(step, epoch)
    found = bounds(axis, first, count, DAY)
    for n, slot in enumerate(found.tolist()):
        assert axis.slots.start(slot) >= (first + n) * DAY - step / 999
        assert axis.slots.start(slot - 1) < (first + n) * DAY


def test_a_day_of_45_seconds_has_1920_slots():
    assert np.diff(bounds(slotted(45.0, 0.0), 13514, 3, DAY)).tolist() == [1920, 1920, 1920]


def test_plain_times_are_counted_in_milliseconds():
    axis = Axis("T_OBS", "t_obs", Kind.MILLISECONDS, "TAI")
    assert np.diff(bounds(axis, 10, 2, 3600)).tolist() == [3_600_000, 3_600_000]


def test_a_series_without_times_has_no_cells():
    assert bounds(Axis("HARPNUM", "harpnum", Kind.NUMBERS), 0, 1, DAY) is None


def test_ends_beyond_all_numbers_are_cut_off():
    assert held_of(np.asarray([0, 10, 20]), [(-(2**62), 2**62)]).tolist() == [10, 10]


def row(text):
    """Cells as a text: f full, h half, a dot for nothing."""
    held = [{"f": 10, "h": 4}.get(c, 0) for c in text]
    return np.full(len(text), 10), np.asarray(held), np.asarray(held)


def test_states_are_full_partial_gap_and_never_asked():
    assert states(*row(".fh..f."), [False] * 7) == "-fpggf-"


def test_a_long_hole_is_no_gap_unless_somebody_wants_it():
    text = "f" + "." * 8 + "f"
    assert states(*row(text), [False] * 10) == "f--------f"
    assert states(*row(text), [True] * 10) == "f" + "g" * 8 + "f"


def test_what_is_held_of_one_wavelength_only_is_held_partly():
    assert states(np.asarray([10]), np.asarray([0]), np.asarray([10]), [False]) == "p"
