"""Which slots of a subscription come next, and when it is time to look again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.config.schedule import FIRST_PAUSE, LONGEST_PAUSE
from mirror.coverage.intervals import Steps

if TYPE_CHECKING:
    from mirror.coverage.coverage import Box


def slots_between(first: int, last: int, stride: int, *, anchored: bool) -> Steps | None:
    """Every ``stride``-th slot of a window, counted from its first; None if there is none.

    A window that moves is not ``anchored``: there multiples of the stride count, so that it picks the
    same slots whenever one looks.
    """
    if not anchored and stride > 1:
        first += -first % stride
    if first > last:
        return None
    return Steps(first, first + (last - first) // stride * stride, stride if first + stride <= last else 1)


def newest(boxes: Iterable[Box], slots: int) -> Box | None:
    """The last ``slots`` axis values, at most, of the box that reaches furthest; None if there is no box."""
    box = max(boxes, key=lambda b: max(s.hi for s in b.steps), default=None)
    if box is None:
        return None
    parts: list[Steps] = []
    for steps in sorted(box.steps, key=lambda s: -s.hi):
        part = _tail(steps, slots)
        parts.append(part)
        slots -= len(part)
        if slots <= 0:
            break
    return replace(box, steps=tuple(reversed(parts)))


def _tail(steps: Steps, slots: int) -> Steps:
    return steps if len(steps) <= slots else replace(steps, lo=steps.hi - (slots - 1) * steps.step)


def pause(failures: int, chance: float) -> float:
    """Seconds to leave something alone that failed so often in a row; ``chance`` is spread over 0 to 1."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + 0.5 * chance)


def time_left(files: int, size: int, per_second: float) -> float | None:
    """Seconds that so many files of a typical ``size`` take at a rate; None if nobody can tell."""
    if not files:
        return 0.0
    return files * size / per_second if per_second > 0 and size > 0 else None
