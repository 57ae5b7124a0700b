"""What all synthetic series are made with: the clock, the sky, the facts, and parts made from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Facts, Frame
from mirror.simulator.synthetic.design import Design, Timing
from mirror.simulator.synthetic.ephemeris import DAY, Ephemeris
from mirror.simulator.synthetic.noise import Floats, Ints
from mirror.simulator.synthetic.population import Population, Stretches
from mirror.simulator.synthetic.selecting import Axis, Shifted
from mirror.simulator.synthetic.structure import Blueprint

FOREVER = parse_time("2045.01.01_TAI")  #: beyond every clock
LAG = 8 * DAY  #: after which definitive records are there, and their newer versions too
REDONE = 1 << 27  #: what the record numbers of newer versions are higher by
_EARLIEST = parse_time("1996.01.01_TAI")

Functions = Mapping[str, ColumnFunction]


@dataclass(frozen=True)
class Workshop:
    """``now`` tells the time in seconds after 1977.01.01_TAI; it may go on."""

    now: Callable[[], float]
    sky: Ephemeris
    facts: Facts

    def end(self, blueprint: Blueprint, lag: float = LAG) -> Callable[[], int]:
        """The slot at which a series ends at the moment."""
        axis = blueprint.axis
        return lambda: axis.slot(self.now() - lag)

    def stretches(
        self,
        stream: str,
        blueprint: Blueprint,
        *,
        share: float,
        longest: int,
        lost: Iterable[tuple[float, float]] = (),
    ) -> Stretches:
        """Chance stretches on the grid of a series, a day each block, none in quiet spans."""
        axis = blueprint.axis
        return Stretches(
            stream,
            slots=(axis.slot(_EARLIEST), axis.slot(FOREVER)),
            block=round(DAY / axis.step),
            share=share,
            longest=longest,
            never=self.facts.quiet_slots(axis.epoch, axis.step),
            always=[(axis.slot(first), axis.slot(last)) for first, last in lost],
        )

    def gridded(
        self, blueprint: Blueprint, functions: Functions, population: Population, timing: Timing | None = None
    ) -> Design:
        """A series whose records are named by the slots of its population."""
        columns = {**slot_columns(blueprint), **functions}
        axes: dict[str, Axis] = {blueprint.axis.index.lower(): Shifted()}
        return self.design(blueprint, columns, population, timing or on_grid(blueprint), axes)

    def design(
        self,
        blueprint: Blueprint,
        functions: Functions,
        population: Population,
        timing: Timing,
        axes: Mapping[str, Axis],
    ) -> Design:
        """A series with the axes that are told."""
        return Design(
            blueprint,
            population,
            functions,
            timing,
            axes,
            self.sky,
            self.facts.pins(blueprint),
            self.facts.is_quiet,
        )


def on_grid(blueprint: Blueprint) -> Timing:
    """The timing of records that are named by slots; chance goes by the slot."""
    axis = blueprint.axis

    def timing(strand: Ints, slot: Ints) -> tuple[Floats, Ints]:
        return axis.epoch + slot.astype(np.float64) * axis.step, slot

    return timing


def slot_columns(blueprint: Blueprint) -> Functions:
    """The slotted prime key and its index, where the slots of the population are those of the key."""
    axis = blueprint.axis

    def start(frame: Frame) -> Floats:
        return axis.epoch + frame.slot.astype(np.float64) * axis.step

    return {axis.key: start, axis.index: lambda frame: frame.slot}
