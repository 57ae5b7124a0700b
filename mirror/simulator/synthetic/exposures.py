"""Series of single exposures in a line: aia.lev1 and iris.lev1.

Slots of their populations are the exposures themselves, in the order of time; the prime keys are their
time and their sequence number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mirror.drms.recordset import FloatRange, IntRange, Term
from mirror.simulator.synthetic.noise import Floats, Ints
from mirror.simulator.synthetic.population import Span

_MARGIN = 40  # exposures looked at on either side of where one should be

#: The value of a key, never falling from one exposure to the next.
KeyOf = Callable[[Ints], Floats]


@dataclass(frozen=True)
class Line:
    """Exposures in cycles: exposure i is number i % len(offsets) of cycle i // len(offsets).

    ``start``: the time of cycle 0; ``period``: seconds a cycle; ``offsets``: when in a cycle, ascending.
    """

    start: float
    period: float
    offsets: Floats

    def times(self, exposures: Ints) -> Floats:
        """When each exposure is due."""
        cycle, place = np.divmod(exposures, len(self.offsets))
        # To a hundredth of a second, which is what is stored.
        return np.rint((self.start + cycle * self.period + self.offsets[place]) * 100.0) / 100.0

    def timing(self, _strand: Ints, exposures: Ints) -> tuple[Floats, Ints]:
        """The timing of a design: chance goes by the exposure."""
        return self.times(exposures), exposures

    def about(self, time: float) -> int:
        """An exposure within a cycle of a time."""
        return int((time - self.start) / self.period * len(self.offsets))


@dataclass(frozen=True)
class Grown:
    """The axis of a key that grows along a line; ``to_time`` turns a value of the key into a time."""

    line: Line
    key_of: KeyOf
    to_time: Callable[[float], float]
    steps: bool = False

    def span(self, term: Term) -> Span | None:
        """The exposures whose key has a value of the term; steps are left to the evaluator."""
        if not isinstance(term, FloatRange | IntRange):
            return None
        beyond = isinstance(term, FloatRange) and term.open_end
        low = -(1 << 60) if term.first is None else self._first(float(term.first), beyond=False)
        high = 1 << 60 if term.last is None else self._first(float(term.last), beyond=not beyond)
        return Span(low, high)

    def _first(self, value: float, *, beyond: bool) -> int:
        """The first exposure whose key is at least (``beyond``: above) a value."""
        guess = self.line.about(self.to_time(value))
        margin = _MARGIN + 2 * len(self.line.offsets)
        near = np.arange(guess - margin, guess + margin, dtype=np.int64)
        return int(near[0]) + int(
            np.searchsorted(self.key_of(near), value, side="right" if beyond else "left")
        )
