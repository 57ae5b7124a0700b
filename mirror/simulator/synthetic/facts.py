"""What the online suites of drms and sunpy rely on, read from ``data/_suites.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.noise import Floats, Ints, Mask
from mirror.simulator.synthetic.structure import Blueprint, load_facts


@dataclass(frozen=True)
class Pins:
    """Values of some records that are known: ``members`` by slot."""

    slots: Ints  #: ascending
    members: tuple[dict[str, Any], ...]

    def apply(self, name: str, slot: Ints, values: NDArray[Any]) -> None:
        """Puts what is known of a column in its place in ``values``."""
        for at, members in zip(self.slots.tolist(), self.members, strict=True):
            if name in members:
                values[slot == at] = members[name]


@dataclass(frozen=True)
class Facts:
    """The whole file; times are seconds after 1977.01.01_TAI."""

    quiet: tuple[tuple[float, float], ...]
    records: dict[str, dict[str, dict[str, Any]]]
    harps: dict[int, tuple[float, int]]
    crowd_first: float
    crowd_slots: int
    crowd_records: tuple[int, ...]

    def quiet_slots(self, epoch: float, step: float) -> list[tuple[int, int]]:
        """The quiet spans as first and last slots of a grid."""
        return [(int((a - epoch) // step), int((b - epoch) // step) + 1) for a, b in self.quiet]

    def is_quiet(self, times: Floats) -> Mask:
        """Whether each time lies in a quiet span."""
        starts, stops = (np.array(ends) for ends in zip(*self.quiet, strict=True))
        span = np.searchsorted(starts, times, side="right") - 1
        return (span >= 0) & (times <= stops[np.maximum(span, 0)])

    def pins(self, blueprint: Blueprint) -> Pins:
        """What is known of the records of a series, which has slots if there is anything."""
        known = self.records.get(blueprint.series.name, {})
        slots = np.array([blueprint.axis.slot(parse_time(text)) for text in known], dtype=np.int64)
        return Pins(slots, tuple(known.values()))


def load_suite_facts() -> Facts:
    """The facts of the file that is shipped."""
    told = load_facts("suites")
    crowd = told["crowd"]
    return Facts(
        tuple(sorted((parse_time(a), parse_time(b)) for a, b in told["quiet"])),
        told["records"],
        {int(number): (parse_time(first), length) for number, (first, length) in told["harps"].items()},
        parse_time(crowd["first"]),
        crowd["slots"],
        tuple(crowd["records"]),
    )
