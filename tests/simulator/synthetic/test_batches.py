"""A record holds the same, to the last bit, alone and in whatever range it is asked with."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.synthetic.test_columns import SAMPLES

MOST = 16  # records of a range: more than a processor computes in one step
PSEUDO = ("*size*", "*online*", "*retain*", "*archive*", "*recdir*", "*dirmtime*")


def asked(archive, name, recnums):
    """Everything that is told of some records when they are asked for by number: a row for each number."""
    series = archive.find(name).structure
    rows = archive.select(f"{name}[:{','.join(f'#{number}' for number in recnums)}]")
    varying = (keyword for keyword in series.record_keywords if not keyword.constant)
    columns = [rows.printed(keyword.name, precise=True) for keyword in varying]
    columns += [rows.pseudo(pseudo) for pseudo in PSEUDO] + [rows.link(link.name) for link in series.links]
    for segment in series.segments:
        told = rows.segment(segment.name)
        columns += [told.paths, told.dims, *filter(None, (told.cparms, told.bzeros, told.bscales))]
    numbers = rows.stored("recnum").values.tolist()
    return dict(zip(numbers, zip(*columns, strict=True), strict=True))


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=2, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_record_is_the_same_alone_in_a_range_and_in_a_larger_one(archive, name, data):
    numbers = archive.select(name + SAMPLES[name]).stored("recnum").values.tolist()
    first = data.draw(st.integers(0, len(numbers) - 1))
    larger = asked(archive, name, numbers[first : first + MOST])
    start = data.draw(st.integers(0, len(larger) - 1))
    range_of_it = numbers[first : first + MOST][start : start + data.draw(st.integers(1, MOST))]
    one = data.draw(st.sampled_from(range_of_it))
    assert asked(archive, name, range_of_it) == {number: larger[number] for number in range_of_it}
    assert asked(archive, name, [one]) == {one: larger[one]}
