"""Spans in words: times for people, counts of slots, restrictions."""

from __future__ import annotations

import pytest

from mirror.coverage.coverage import Between, Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import RECNUMS
from mirror.coverage.wording import NAMED_SPANS, describe
from tests.lab import world

SERIES = {s.structure.name: s.structure for s in world()}
V45, EUV, SHARP = "hmi.V_45s", "aia.lev1_euv_12s", "hmi.sharp_720s"


@pytest.mark.parametrize(
    "name, box, words",
    [
        (
            V45,
            Box(Region((None,)), (Steps(14726400, 14726479),)),
            "T_REC 2014.01.01_00:00:00_TAI to 2014.01.01_00:59:15_TAI (80 slots)",
        ),
        (V45, Box(Region((None,)), (Steps(14726400, 14726400),)), "T_REC 2014.01.01_00:00:00_TAI"),
        (V45, Box(Region((None,)), (Steps(MIN, 14726400),)), "T_REC up to 2014.01.01_00:00:00_TAI"),
        (V45, Box(Region((None,)), (Steps(14726400, MAX),)), "T_REC from 2014.01.01_00:00:00_TAI on"),
        (V45, Box(Region((None,)), (Steps(MIN, MAX),)), "all of T_REC"),
        (
            V45,
            Box(Region((Between(MIN, 5),)), (Steps(14726400, 14726400),)),
            "T_REC 2014.01.01_00:00:00_TAI, CAMERA up to 5",
        ),
        (
            V45,
            Box(Region((Between(5, MAX),)), (Steps(14726400, 14726400),)),
            "T_REC 2014.01.01_00:00:00_TAI, CAMERA from 5 on",
        ),
        (V45, Box(Region((Between(2, 2),), True), (Steps(MIN, MAX),)), "all of T_REC, CAMERA=2 all versions"),
        (V45, Box(RECNUMS, (Steps(5, 9), Steps(11, 11))), "records 5 to 9; records 11"),
        (
            V45,
            Box(Region((None,)), (Steps(14726400, 14726480, 80),)),
            "T_REC 2014.01.01_00:00:00_TAI to 2014.01.01_01:00:00_TAI (every 80th, 2 in all)",
        ),
    ],
)
def test_a_span_is_told_as_people_read_it(name, box, words):
    assert describe(SERIES[name], [box]) == words


def test_of_many_spans_the_first_are_named_and_the_rest_is_counted():
    box = Box(RECNUMS, tuple(Steps(n, n) for n in range(0, 40, 2)))
    told = describe(SERIES[V45], [box])
    assert told.count("records") == NAMED_SPANS
    assert told.endswith("; and 15 more")
