import numpy as np

from mirror.simulator.synthetic.noise import around, below, uniform

NUMBERS = np.arange(100_000)


def test_chance_depends_on_the_number_alone():
    backwards = uniform(NUMBERS[::-1], "x")[::-1]
    assert np.array_equal(uniform(NUMBERS, "x"), backwards)
    assert uniform(np.array([77]), "x")[0] == uniform(NUMBERS, "x")[77]


def test_streams_do_not_go_together():
    assert abs(np.corrcoef(uniform(NUMBERS, "a"), uniform(NUMBERS, "b"))[0, 1]) < 0.01


def test_chance_is_even():
    counts, _ = np.histogram(uniform(NUMBERS, "x"), bins=10, range=(0.0, 1.0))
    assert counts.min() > 9_700
    assert counts.max() < 10_300


def test_values_stay_within_their_spread():
    values = around(NUMBERS, "x", 5.0, 2.0)
    assert values.min() >= 3.0
    assert values.max() <= 7.0
    assert abs(values.mean() - 5.0) < 0.01
    assert set(below(NUMBERS, "x", 3).tolist()) == {0, 1, 2}


def test_the_values_of_a_stream_never_change():
    # Written down once: recorded answers and demonstrations rely on them.
    assert uniform(np.array([0, 1, 14726401]), "DATAMIN").round(9).tolist() == [
        0.73233002,
        0.226247143,
        0.869752932,
    ]
