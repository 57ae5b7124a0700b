from mirror.coverage.axis import Kind, coverage_axis
from tests.drms.naive import worlds


def test_the_axis_is_the_first_slotted_key_or_the_first_time_or_the_first_integer():
    axes = {name: coverage_axis(world.series) for name, world in worlds().items()}
    told = {name: axis and (axis.key, axis.kind) for name, axis in axes.items()}
    assert told["hmi.sharp_720s"] == ("T_REC", Kind.SLOTS)
    assert told["su_test.latslot"] == ("LAT", Kind.SLOTS)
    assert told["su_test.nokeyidx"] == ("OBS", Kind.MILLISECONDS)
    assert told["su_test.zoo"] == ("NUM", Kind.NUMBERS)
    assert told["su_test.noprime"] is None
