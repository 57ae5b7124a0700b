"""The design of a synthetic series: everything from which its rows are computed, without rows; and how designs are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.synthetic.columns import ColumnFunction, Facts, Frame, Pins
from mirror.simulator.synthetic.ephemeris import DAY, Ephemeris
from mirror.simulator.synthetic.noise import Floats, Ints, Mask
from mirror.simulator.synthetic.population import Population, Stretches
from mirror.simulator.synthetic.selecting import Axis, Shifted
from mirror.simulator.synthetic.structure import Blueprint

FOREVER = parse_time("2045.01.01_TAI")  #: beyond every clock
LAG = 8 * DAY  #: after which definitive records are there, and their newer versions too
REDONE = 1 << 27  #: by how much the record numbers of newer versions are higher
#: Pixels per side of images of the whole disk.
FULL = 4096
_EARLIEST = parse_time("1996.01.01_TAI")

Functions = Mapping[str, ColumnFunction]

#: For each strand and slot its nominal time, and the number on which chance depends.
Timing = Callable[[Ints, Ints], tuple[Floats, Ints]]


@dataclass(frozen=True)
class Target:
    """Where a link leads: the target's design, and the number of the target's record for each record."""

    design: Design
    recnums: Callable[[Frame], Ints]


@dataclass(frozen=True)
class Design:
    """One series.

    ``functions`` by keyword, ``axes`` by lower-case column, ``targets`` by link. ``is_quiet`` says at which times
    chance never strikes. ``listed``: the numbers of its population are not in the order of the prime keys, and several
    may be versions of one record; only the evaluator can count them.
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


# ---- making designs --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workshop:
    """``now`` gives the time in seconds after 1977.01.01_TAI; it may advance."""

    now: Callable[[], float]
    sky: Ephemeris
    facts: Facts
    side: int | None = None  #: pixels a side of images of the whole disk; None: as the instruments have them
    _made: dict[tuple[str, float, float], Stretches] = field(default_factory=dict)

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
        """Random stretches on the grid of a series, a day per block, none in quiet spans."""
        axis = blueprint.axis
        key = stream, axis.epoch, axis.step
        if key in self._made:  # the series of a cadence share them
            return self._made[key]
        self._made[key] = Stretches(
            stream,
            slots=(axis.slot(_EARLIEST), axis.slot(FOREVER)),
            block=round(DAY / axis.step),
            share=share,
            longest=longest,
            never=self.facts.quiet_slots(axis.epoch, axis.step),
            always=[(axis.slot(first), axis.slot(last)) for first, last in lost],
        )
        return self._made[key]

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
        """A series with the given axes."""
        if self.side is not None:
            blueprint, functions = smaller(blueprint, functions, self.side)
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
    """The timing of records that are named by slots; chance depends on the slot."""
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


# ---- smaller images --------------------------------------------------------------------------------


def smaller(blueprint: Blueprint, functions: Functions, side: int) -> tuple[Blueprint, Functions]:
    """A series whose images of the whole disk have ``side`` pixels per side, with keywords that point to the same places."""
    series, whole = blueprint.series, f"{FULL}x{FULL}"
    # The images of the slotted series of AIA are those of aia.lev1, and so is their pointing.
    of_disk = any(s.dims == whole for s in series.segments) or series.name.startswith("aia.lev1")
    if not of_disk or series.keyword("CRPIX1") is None:
        return blueprint, functions
    every = FULL / side
    segments = tuple(replace(s, dims=s.dims.replace(whole, f"{side}x{side}")) for s in series.segments)
    pointing = {
        **{name: _changed(blueprint, functions, name, lambda v: (v - 0.5) / every + 0.5) for name in ("CRPIX1", "CRPIX2")},
        "CDELT1": _changed(blueprint, functions, "CDELT1", lambda v: v * every),
        "CDELT2": lambda frame: frame["CDELT1"],
    }
    return replace(blueprint, series=replace(series, segments=segments)), {**functions, **pointing}


def _changed(
    blueprint: Blueprint, functions: Functions, name: str, change: Callable[[Floats], Floats]
) -> ColumnFunction:
    """A column of numbers, changed."""
    if name in functions:
        return lambda frame: change(functions[name](frame))
    typical = blueprint.typical[name]
    middle = float(typical.value or 0.0)
    return lambda frame: change(frame.around(name, middle, typical.spread))
