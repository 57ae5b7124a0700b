"""The design of a synthetic series: all that its rows are computed from, and no rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mirror.simulator.synthetic.columns import ColumnFunction, Frame, Pins
from mirror.simulator.synthetic.ephemeris import Ephemeris
from mirror.simulator.synthetic.noise import Floats, Ints, Mask
from mirror.simulator.synthetic.population import Population
from mirror.simulator.synthetic.selecting import Axis
from mirror.simulator.synthetic.structure import Blueprint

#: For each strand and slot its nominal time, and the number that chance goes by.
Timing = Callable[[Ints, Ints], tuple[Floats, Ints]]


@dataclass(frozen=True)
class Target:
    """Where a link leads: the target's design, and the number of the target's record for each record."""

    design: Design
    recnums: Callable[[Frame], Ints]


@dataclass(frozen=True)
class Design:
    """One series.

    ``functions`` by keyword, ``axes`` by lower-case column, ``targets`` by link. ``is_quiet`` tells at
    which times chance never strikes. ``listed``: the numbers of its population are not in the order of the
    prime keys, and several may be versions of one record; only the evaluator can count them.
    """

    blueprint: Blueprint
    population: Population
    functions: Mapping[str, ColumnFunction]
    timing: Timing
    axes: Mapping[str, Axis]
    sky: Ephemeris
    pins: Pins
    is_quiet: Callable[[Floats], Mask]
    targets: Mapping[str, Target] = field(default_factory=dict)
    listed: bool = False

    def frame(self, recnums: Ints) -> Frame:
        """The frame of some records; the numbers must exist."""
        strand, slot, newer = self.population.located(recnums)
        time, ident = self.timing(strand, slot)
        return Frame(
            self.blueprint,
            self.functions,
            self.sky,
            recnums=recnums,
            strand=strand,
            slot=slot,
            newer=newer,
            time=time,
            ident=ident,
            quiet=self.is_quiet(time),
            pins=self.pins,
        )
