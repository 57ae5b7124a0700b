"""Cutting gaps into requests of a good size. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.coverage.intervals import Steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.coverage.coverage import Box

#: Ranges in one bracket; more would make the server's SQL long.
MAX_RANGES = 100


def chunks(box: Box, slots: int) -> Iterator[Box]:
    """The box in parts of at most ``slots`` axis values and ``MAX_RANGES`` ranges each, in order.

    A box with an open end is one part: it has no number of slots.
    """
    if not box.bounded:
        yield box
        return
    part: list[Steps] = []
    room = slots
    for steps in box.steps:
        rest: Steps | None = steps
        while rest is not None:
            head, rest = _head(rest, room)
            part.append(head)
            room -= len(head)
            if room == 0 or len(part) == MAX_RANGES:
                yield replace(box, steps=tuple(part))
                part, room = [], slots
    if part:
        yield replace(box, steps=tuple(part))


def head_and_rest(box: Box, slots: int) -> tuple[Box, Box | None]:
    """The first of the chunks of a box, and what is left, None if nothing is."""
    head = next(chunks(box, slots))
    if not box.bounded:
        return head, None
    whole = len(head.steps) - 1  # the last of its ranges may be the beginning of one
    last, steps = head.steps[-1], box.steps[whole:]
    _, cut = _head(steps[0], len(last))
    rest = ((cut,) if cut else ()) + steps[1:]
    return head, replace(box, steps=rest) if rest else None


def halves(box: Box) -> tuple[Box, Box] | None:
    """The box cut in two, or None if it is a single slot or has an open end."""
    if not box.bounded or box.slots() < 2:
        return None
    parts = tuple(chunks(box, -(-box.slots() // 2)))
    first, rest = parts[0], parts[1:]
    return first, replace(box, steps=tuple(s for part in rest for s in part.steps))


def _head(steps: Steps, room: int) -> tuple[Steps, Steps | None]:
    if len(steps) <= room:
        return steps, None
    last = steps.lo + (room - 1) * steps.step
    return replace(steps, hi=last), replace(steps, lo=last + steps.step)
